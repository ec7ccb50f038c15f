//! The functions of a head that is trained.

use std::fmt::Debug;

use dpo_kernel::c::*;
use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{Head, HeadGrads, HeadScratch, Hidden, HiddenMut, head_grads};
use dpo_kernel::{Dispatch, Element, Error};

use super::HeadCall;
use super::head::{
    GradsMemory, HeadMemory, Structs, doubles, is_f32, place_of, states_of, stride_of, view,
    view_mut,
};
use super::memory::{Due, Memory, Ranges, Written, says_size};
use super::report::{refusal, report_of, unknown, unused};
use super::same::Same;
use super::structs::{dispatch_of, for_element};

/// The number of the gradients' type, that of f32 for those of a bias alone.
fn type_of(of: &dpo_head_mut) -> Due<i32> {
    if !matches!(of.mode, 0 | 1) {
        return Err(unknown(DPO_BUFFER_HEAD_GRADS, of.mode));
    }
    match (of.weights.is_null() && of.len == 0, of.bias.is_null()) {
        (true, true) => Err(refusal(DPO_ERROR_NULL, DPO_BUFFER_HEAD_GRADS, [0, 0])),
        (true, false) if (of.stride, of.r#type) == (0, 0) => Ok(1),
        (true, false) => Err(unused(DPO_BUFFER_HEAD_GRADS)),
        (false, _) if (1..=3).contains(&of.r#type) => Ok(of.r#type),
        (false, _) => Err(unknown(DPO_BUFFER_TYPE, of.r#type)),
    }
}

/// Where gradients of a head go.
struct Place<G> {
    of: dpo_head_mut,
    shape: (usize, usize),
    weights: Option<Memory<G>>,
    bias: Option<Memory<f32>>,
}

/// What is there.
struct Own<G> {
    weights: Option<Vec<G>>,
    bias: Option<Vec<f32>>,
}

/// The same, to be written.
enum Grads<'a, G> {
    OfWeights(HeadGrads<'a, G>),
    OfBias(HeadGrads<'a, f32>),
}

impl<G: Element + Same + Debug + 'static> Place<G> {
    fn of(of: &dpo_head_mut, head: &dpo_head, ranges: &mut Ranges) -> Due<Self> {
        let is_there = !of.weights.is_null() || of.len != 0;
        let write = |ranges: &mut Ranges| {
            ranges.write(of.weights.cast::<G>(), of.len, DPO_BUFFER_HEAD_GRADS)
        };
        let weights = if is_there { Some(write(ranges)?) } else { None };
        let bias = ranges.write_if(of.bias, head.vocab, DPO_BUFFER_HEAD_GRADS)?;
        Ok(Self { of: *of, shape: (head.vocab, head.hidden), weights, bias })
    }

    fn get(&self) -> Own<G> {
        Own { weights: self.weights.map(|of| of.get()), bias: self.bias.map(|of| of.get()) }
    }

    fn grads<'a>(&self, own: &'a mut Own<G>) -> Due<Grads<'a, G>> {
        let ((vocab, hidden), is_added) = (self.shape, self.of.mode == 1);
        let bias = own.bias.as_deref_mut();
        let Some(weights) = &mut own.weights else {
            let grads = HeadGrads::of_bias(bias.unwrap());
            return Ok(Grads::OfBias(if is_added { grads.added() } else { grads }));
        };
        let stride = stride_of(hidden, self.of.stride);
        let grads = HeadGrads::of_weights_with_stride(weights, vocab, hidden, stride);
        let mut grads = grads.map_err(report_of)?;
        if let Some(bias) = bias {
            grads = grads.with_bias(bias);
        }
        Ok(Grads::OfWeights(if is_added { grads.added() } else { grads }))
    }

    /// By plain words: a tile, the larger of two products, and sums in f32 of what is not.
    fn numbers<E: Element>(&self, head: &dyn Head<E>, rows: usize) -> usize {
        let (vocab, hidden) = self.shape;
        let is_wide = self.weights.is_none() || size_of::<G>() == 4;
        let sums = if is_wide { 0 } else { vocab.min(512).saturating_mul(hidden) };
        let tile = rows.div_ceil(12).saturating_mul(12 * 528);
        tile.saturating_add(head.numbers().max(128 * 32 + 15)).saturating_add(sums)
    }

    fn becomes(&self, due: Own<G>, w: &mut Vec<Written>) {
        let weights = self.weights.zip(due.weights);
        w.extend(weights.map(|(to, due)| to.becomes("gradients of the weights", due)));
        let bias = self.bias.zip(due.bias);
        w.extend(bias.map(|(to, due)| to.becomes("gradients of the bias", due)));
    }
}

impl<G: Element> Grads<'_, G> {
    fn run<E: Element>(
        self,
        dispatch: Dispatch,
        states: Hidden<'_, E>,
        head: &dyn Head<E>,
        batch: &GradBatch<'_>,
        to: HiddenMut<'_, f32>,
        scratch: HeadScratch<'_>,
    ) -> Result<(), Error> {
        match self {
            Self::OfWeights(of) => head_grads(dispatch, states, head, batch, to, of, scratch),
            Self::OfBias(of) => head_grads(dispatch, states, head, batch, to, of, scratch),
        }
    }
}

pub fn scratch_len(
    head: *const dpo_head,
    d_head: *const dpo_head_mut,
    rows: usize,
    out: *mut usize,
    w: &mut Vec<Written>,
) -> Due<()> {
    let (of, d_head) = (says_size(head)?, says_size(d_head)?);
    for_element!(of.r#type, V => {
        let mut ranges = Ranges::default();
        let head = HeadMemory::<V>::of(&of, &mut ranges)?;
        for_element!(type_of(&d_head)?, G => {
            let place = Place::<G>::of(&d_head, &of, &mut ranges)?;
            let out = ranges.write(out, 1, DPO_BUFFER_OUT)?;
            ranges.are_apart()?;
            let head = head.get();
            let head = head.head()?;
            place.grads(&mut place.get())?;
            let numbers = place.numbers::<f32>(&head, rows);
            w.push(out.becomes("doubles", vec![doubles(rows, numbers)?]));
            Ok(())
        })
    })
}

pub fn grads(
    dispatch: dpo_dispatch,
    call: HeadCall,
    grads: *const dpo_grads,
    (d_hidden, d_head): (*const dpo_hidden_mut, *const dpo_head_mut),
    w: &mut Vec<Written>,
) -> Due<()> {
    let call = Structs::of(call)?;
    let (grads, d_hidden) = (says_size(grads)?, says_size(d_hidden)?);
    let d_head = says_size(d_head)?;
    for_element!(call.states.r#type, E => {
        let mut ranges = Ranges::default();
        let states = states_of::<E>(&call.states, &mut ranges)?;
        for_element!(call.head.r#type, V => {
            let head = HeadMemory::<V>::of(&call.head, &mut ranges)?;
            let of = GradsMemory::of(&grads, &call.layout, &mut ranges)?;
            is_f32(d_hidden.r#type)?;
            let hidden = place_of::<f32>(&d_hidden, &mut ranges)?;
            for_element!(type_of(&d_head)?, G => {
                let place = Place::<G>::of(&d_head, &call.head, &mut ranges)?;
                call.scratch(&mut ranges, w)?;
                ranges.are_apart()?;
                let states = states.get();
                let states = view(&call.states, &states)?;
                let head = head.get();
                let head = &head.head()? as &dyn Head<E>;
                let mut layout = of.layout.get(w);
                let layout = layout.layout()?;
                let dispatch = dispatch_of(dispatch)?;
                let (norms, coefficients) = (of.norms.get(), of.coefficients.get());
                let batch =
                    GradBatch::new(&layout, &norms, &coefficients).with_unscored(of.unscored);
                let (mut of_hidden, mut own) = (hidden.get(), place.get());
                let to = view_mut(&d_hidden, &mut of_hidden)?;
                let to_head = place.grads(&mut own)?;
                let numbers = place.numbers(head, call.scratch.rows);
                let mut scratch = call.own_scratch_of(numbers)?;
                let scratch = scratch.get();
                let result = to_head.run(dispatch, states, head, &batch, to, scratch);
                w.push(hidden.becomes("hidden gradients", of_hidden));
                place.becomes(own, w);
                result.map_err(report_of)
            })
        })
    })
}
