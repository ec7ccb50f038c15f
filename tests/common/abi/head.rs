//! The functions of the head.

use dpo_kernel::c::*;
use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    Head, HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, head_token_log_probs,
    hidden_grads, hidden_grads_in_place,
};
use dpo_kernel::{Element, Error, bf16, f16};

use super::memory::{Due, Memory, Ranges, Written, says_size};
use super::report::{report_of, unknown, unused};
use super::stages::TokenMemory;
use super::structs::{LayoutMemory, dispatch_of, for_element, transform_of, unscored_of};
use super::{Call, HeadCall, Tokens};

pub(super) fn stride_of(hidden: usize, stride: usize) -> usize {
    if stride == 0 { hidden } else { stride }
}

/// The buffers of a head.
pub(super) struct HeadMemory<W> {
    of: dpo_head,
    weights: Memory<W>,
    bias: Option<Memory<f32>>,
}

/// A head, with what it borrows.
pub(super) struct OwnHead<W> {
    of: dpo_head,
    weights: Vec<W>,
    bias: Option<Vec<f32>>,
}

impl<W: Element> HeadMemory<W> {
    pub(super) fn of(of: &dpo_head, ranges: &mut Ranges) -> Due<Self> {
        let weights = ranges.read(of.weights.cast::<W>(), of.len, DPO_BUFFER_HEAD_WEIGHTS)?;
        let bias = ranges.read_if(of.bias, of.vocab, DPO_BUFFER_HEAD_BIAS)?;
        Ok(Self { of: *of, weights, bias })
    }

    pub(super) fn get(&self) -> OwnHead<W> {
        let bias = self.bias.map(|bias| bias.get());
        OwnHead { of: self.of, weights: self.weights.get(), bias }
    }
}

impl<W: Element> OwnHead<W> {
    pub(super) fn head(&self) -> Due<Linear<'_, W>> {
        let dpo_head { vocab, hidden, stride, transform, panels, .. } = self.of;
        let stride = stride_of(hidden, stride);
        let head = Linear::with_stride(&self.weights, vocab, hidden, stride).map_err(report_of)?;
        let head = match &self.bias {
            Some(bias) => head.with_bias(bias).map_err(report_of)?,
            None => head,
        };
        let head = head.with_transform(transform_of(transform)?);
        Ok(if panels == 0 { head } else { head.with_panels(panels) })
    }
}

pub(super) fn states_of<E: Element>(of: &dpo_hidden, ranges: &mut Ranges) -> Due<Memory<E>> {
    if of.reserved != 0 {
        return Err(unused(DPO_BUFFER_HIDDEN));
    }
    ranges.read(of.data.cast(), of.len, DPO_BUFFER_HIDDEN)
}

pub(super) fn place_of<E: Element>(of: &dpo_hidden_mut, ranges: &mut Ranges) -> Due<Memory<E>> {
    if of.reserved != 0 {
        return Err(unused(DPO_BUFFER_HIDDEN_GRADS));
    }
    ranges.write(of.data.cast(), of.len, DPO_BUFFER_HIDDEN_GRADS)
}

pub(super) fn view<'a, E: Element>(of: &dpo_hidden, data: &'a [E]) -> Due<Hidden<'a, E>> {
    let stride = stride_of(of.hidden, of.stride);
    Hidden::with_stride(data, of.rows, of.hidden, stride).map_err(report_of)
}

pub(super) fn view_mut<'a, E: Element>(
    of: &dpo_hidden_mut,
    data: &'a mut [E],
) -> Due<HiddenMut<'a, E>> {
    let stride = stride_of(of.hidden, of.stride);
    HiddenMut::with_stride(data, of.rows, of.hidden, stride).map_err(report_of)
}

pub(super) fn is_f32(number: i32) -> Due<()> {
    if number == 1 { Ok(()) } else { Err(unknown(DPO_BUFFER_TYPE, number)) }
}

/// Doubles of a scratch: rows where they lie, and two numbers in each.
pub(super) fn doubles(rows: usize, numbers: usize) -> Due<usize> {
    if rows == 0 {
        let (buffer, expected, found) = (Buffer::HeadRows, 1, 0);
        return Err(report_of(Error::Length { buffer, expected, found }));
    }
    Ok((rows.saturating_mul(size_of::<HeadRow>() / 8)).saturating_add(numbers.div_ceil(2)))
}

pub fn scratch_len(
    head: *const dpo_head,
    rows: usize,
    out: *mut usize,
    w: &mut Vec<Written>,
) -> Due<()> {
    let head = says_size(head)?;
    for_element!(head.r#type, V => {
        let mut ranges = Ranges::default();
        let head = HeadMemory::<V>::of(&head, &mut ranges)?;
        let out = ranges.write(out, 1, DPO_BUFFER_OUT)?;
        ranges.are_apart()?;
        let head = head.get();
        let numbers = HeadScratch::numbers::<f32, _>(&head.head()?, rows);
        w.push(out.becomes("doubles", vec![doubles(rows, numbers)?]));
        Ok(())
    })
}

/// The structs of a call, copied.
pub(super) struct Structs {
    pub(super) states: dpo_hidden,
    pub(super) head: dpo_head,
    pub(super) layout: dpo_layout,
    pub(super) scratch: dpo_head_scratch,
}

impl Structs {
    pub(super) fn of(call: HeadCall) -> Due<Self> {
        Ok(Self {
            states: says_size(call.states)?,
            head: says_size(call.head)?,
            layout: says_size(call.layout)?,
            scratch: says_size(call.scratch)?,
        })
    }

    pub(super) fn scratch(&self, ranges: &mut Ranges, w: &mut Vec<Written>) -> Due<()> {
        let dpo_head_scratch { numbers, len, .. } = self.scratch;
        let numbers = ranges.write(numbers, len, DPO_BUFFER_HEAD_NUMBERS)?;
        w.push(numbers.becomes_anything());
        Ok(())
    }

    /// A scratch of Rust, if that of C is long enough.
    fn own_scratch<E: Element, W: Element>(&self, head: &Linear<'_, W>) -> Due<OwnScratch> {
        let head: &dyn Head<E> = head;
        self.own_scratch_of(HeadScratch::numbers(head, self.scratch.rows))
    }

    /// The same of so many numbers.
    pub(super) fn own_scratch_of(&self, numbers: usize) -> Due<OwnScratch> {
        let dpo_head_scratch { len, rows, .. } = self.scratch;
        let expected = doubles(rows, numbers)?;
        if len < expected {
            let (buffer, found) = (Buffer::HeadNumbers, len);
            return Err(report_of(Error::Length { buffer, expected, found }));
        }
        Ok(OwnScratch { rows: vec![HeadRow::NEW; rows], numbers: vec![f32::NAN; numbers] })
    }
}

impl Call {
    /// The memory that a head works in, which holds anything even after a refusal.
    pub(super) fn scratch(&self) -> Option<std::ops::Range<usize>> {
        let (Self::HeadTokenLogProbs(_, HeadCall { scratch, .. }, _)
        | Self::HeadForward(_, HeadCall { scratch, .. }, ..)
        | Self::HiddenGradsInPlace(_, HeadCall { scratch, .. }, ..)
        | Self::HiddenGrads(_, HeadCall { scratch, .. }, ..)
        | Self::HeadGrads(_, HeadCall { scratch, .. }, ..)) = *self
        else {
            return None;
        };
        let dpo_head_scratch { numbers, len, .. } = says_size(scratch).ok()?;
        let start = numbers.addr();
        Some(start..start.saturating_add(len.saturating_mul(8)))
    }
}

pub(super) struct OwnScratch {
    rows: Vec<HeadRow>,
    numbers: Vec<f32>,
}

impl OwnScratch {
    pub(super) fn get(&mut self) -> HeadScratch<'_> {
        HeadScratch::new(&mut self.rows, &mut self.numbers)
    }
}

pub fn forward(
    dispatch: dpo_dispatch,
    call: HeadCall,
    to: Tokens,
    sums: Option<*const dpo_hidden_mut>,
    w: &mut Vec<Written>,
) -> Due<()> {
    let call = Structs::of(call)?;
    let sums = sums.map(says_size).transpose()?;
    let rows = call.layout.rows;
    for_element!(call.states.r#type, E => {
        let mut ranges = Ranges::default();
        let states = states_of::<E>(&call.states, &mut ranges)?;
        for_element!(call.head.r#type, V => {
            let head = HeadMemory::<V>::of(&call.head, &mut ranges)?;
            let layout = LayoutMemory::of(&call.layout, &mut ranges)?;
            let out = TokenMemory::of(&to, rows, &mut ranges)?;
            let sums = match &sums {
                Some(of) => {
                    is_f32(of.r#type)?;
                    Some((of, place_of::<f32>(of, &mut ranges)?))
                }
                None => None,
            };
            call.scratch(&mut ranges, w)?;
            ranges.are_apart()?;
            let states = states.get();
            let states = view(&call.states, &states)?;
            let head = head.get();
            let head = head.head()?;
            let mut layout = layout.get(w);
            let layout = layout.layout()?;
            let dispatch = dispatch_of(dispatch)?;
            let mut due = sums.map(|(_, memory)| memory.get());
            let place = match (sums, &mut due) {
                (Some((of, _)), Some(due)) => Some(view_mut(of, due)?),
                _ => None,
            };
            let mut scratch = call.own_scratch::<E, V>(&head)?;
            let scratch = scratch.get();
            let result = out.becomes(w, |out| match place {
                Some(sums) => head_forward(dispatch, states, &head, &layout, out, sums, scratch),
                None => head_token_log_probs(dispatch, states, &head, &layout, out, scratch),
            });
            if let (Some((_, memory)), Some(due)) = (sums, due) {
                w.push(memory.becomes("sums", due));
            }
            result
        })
    })
}

/// The buffers of a backward beside sums and gradients.
pub(super) struct GradsMemory {
    pub(super) layout: LayoutMemory,
    pub(super) norms: Memory<dpo_row_norm>,
    pub(super) coefficients: Memory<f64>,
    pub(super) unscored: dpo_kernel::gradient::Unscored,
}

impl GradsMemory {
    pub(super) fn of(grads: &dpo_grads, layout: &dpo_layout, ranges: &mut Ranges) -> Due<Self> {
        if grads.reserved != 0 {
            return Err(unused(DPO_BUFFER_BACKWARD));
        }
        let (own, rows) = (LayoutMemory::of(layout, ranges)?, layout.rows);
        let norms = ranges.read(grads.norms, rows, DPO_BUFFER_ROW_NORMS)?;
        let coefficients = ranges.read(grads.coefficients, rows, DPO_BUFFER_TOKEN_COEFFICIENTS)?;
        let unscored = unscored_of(grads.unscored, DPO_BUFFER_BACKWARD)?;
        Ok(Self { layout: own, norms, coefficients, unscored })
    }
}

pub fn grads_in_place(
    dispatch: dpo_dispatch,
    call: HeadCall,
    grads: *const dpo_grads,
    sums: *const dpo_hidden_mut,
    w: &mut Vec<Written>,
) -> Due<()> {
    let call = Structs::of(call)?;
    let (grads, sums) = (says_size(grads)?, says_size(sums)?);
    for_element!(call.states.r#type, E => {
        let mut ranges = Ranges::default();
        let states = states_of::<E>(&call.states, &mut ranges)?;
        for_element!(call.head.r#type, V => {
            let head = HeadMemory::<V>::of(&call.head, &mut ranges)?;
            let of = GradsMemory::of(&grads, &call.layout, &mut ranges)?;
            is_f32(sums.r#type)?;
            let place = place_of::<f32>(&sums, &mut ranges)?;
            call.scratch(&mut ranges, w)?;
            ranges.are_apart()?;
            let states = states.get();
            let states = view(&call.states, &states)?;
            let head = head.get();
            let head = head.head()?;
            let mut layout = of.layout.get(w);
            let layout = layout.layout()?;
            let dispatch = dispatch_of(dispatch)?;
            let (norms, coefficients) = (of.norms.get(), of.coefficients.get());
            let batch =
                GradBatch::new(&layout, &norms, &coefficients).with_unscored(of.unscored);
            let mut due = place.get();
            let to = view_mut(&sums, &mut due)?;
            let mut scratch = call.own_scratch::<E, V>(&head)?;
            let result =
                hidden_grads_in_place(dispatch, states, &head, &batch, to, scratch.get());
            w.push(place.becomes("hidden gradients", due));
            result.map_err(report_of)
        })
    })
}

pub fn grads(
    dispatch: dpo_dispatch,
    call: HeadCall,
    grads: *const dpo_grads,
    (sums, out): (*const dpo_hidden, *const dpo_hidden_mut),
    w: &mut Vec<Written>,
) -> Due<()> {
    let call = Structs::of(call)?;
    let (grads, sums, out) = (says_size(grads)?, says_size(sums)?, says_size(out)?);
    let of = (&call, &grads, &sums, &out);
    match (call.states.r#type, out.r#type) {
        (1, 1) => grads_of::<f32, f32>(dispatch, of, w),
        (2, 2) => grads_of::<f16, f16>(dispatch, of, w),
        (3, 3) => grads_of::<bf16, bf16>(dispatch, of, w),
        (2, 1) => grads_of::<f16, f32>(dispatch, of, w),
        (3, 1) => grads_of::<bf16, f32>(dispatch, of, w),
        (1..=3, other) | (other, _) => Err(unknown(DPO_BUFFER_TYPE, other)),
    }
}

fn grads_of<E, O>(
    dispatch: dpo_dispatch,
    (call, grads, sums, out): (&Structs, &dpo_grads, &dpo_hidden, &dpo_hidden_mut),
    w: &mut Vec<Written>,
) -> Due<()>
where
    E: Element,
    O: Element + super::Same + std::fmt::Debug + 'static,
{
    is_f32(sums.r#type)?;
    let mut ranges = Ranges::default();
    let states = states_of::<E>(&call.states, &mut ranges)?;
    for_element!(call.head.r#type, V => {
        let head = HeadMemory::<V>::of(&call.head, &mut ranges)?;
        let of = GradsMemory::of(grads, &call.layout, &mut ranges)?;
        let from = states_of::<f32>(sums, &mut ranges)?;
        let place = place_of::<O>(out, &mut ranges)?;
        call.scratch(&mut ranges, w)?;
        ranges.are_apart()?;
        let states = states.get();
        let states = view(&call.states, &states)?;
        let head = head.get();
        let head = head.head()?;
        let mut layout = of.layout.get(w);
        let layout = layout.layout()?;
        let dispatch = dispatch_of(dispatch)?;
        let (norms, coefficients) = (of.norms.get(), of.coefficients.get());
        let batch = GradBatch::new(&layout, &norms, &coefficients).with_unscored(of.unscored);
        let (from, mut due) = (from.get(), place.get());
        let (from, to) = (view(sums, &from)?, view_mut(out, &mut due)?);
        let mut scratch = call.own_scratch::<E, V>(&head)?;
        let result = hidden_grads(dispatch, states, &head, &batch, from, to, scratch.get());
        w.push(place.becomes("hidden gradients", due));
        result.map_err(report_of)
    })
}
