//! The structs of the header, turned into arguments of the Rust functions.

use dpo_kernel::c::*;
use dpo_kernel::gradient::Unscored;
use dpo_kernel::{
    Arithmetic, Dispatch, Element, Layout, Level, Logits, LogitsMut, Reference, SequenceLogProb,
    Span, Targets, Transform,
};

use super::memory::{Due, Memory, Ranges, Written};
use super::report::{refusal, report_of, unknown, unused};

/// Runs a body for an element type by its number.
macro_rules! for_element {
    ($number:expr, $element:ident => $body:expr) => {
        match $number {
            1 => {
                type $element = f32;
                $body
            }
            2 => {
                type $element = dpo_kernel::f16;
                $body
            }
            3 => {
                type $element = dpo_kernel::bf16;
                $body
            }
            other => Err(unknown(DPO_BUFFER_TYPE, other)),
        }
    };
}
pub(super) use for_element;

pub fn dispatch_of(of: dpo_dispatch) -> Due<Dispatch> {
    let level = match of.level {
        0 => Level::detect(),
        1 => Level::Baseline,
        2 => Level::Avx2,
        3 => Level::Avx512,
        other => return Err(unknown(DPO_BUFFER_DISPATCH, other)),
    };
    let with = |arithmetic| Dispatch::new(level, arithmetic).map_err(report_of);
    match of.arithmetic {
        0 => with(Arithmetic::Fused).or_else(|_| with(Arithmetic::Portable)),
        1 => with(Arithmetic::Fused),
        2 => with(Arithmetic::Portable),
        other => Err(unknown(DPO_BUFFER_DISPATCH, other)),
    }
}

pub fn transform_of(of: dpo_transform) -> Due<Transform> {
    let scale = if of.scale == 0.0 { 1.0 } else { of.scale };
    let temperature = if of.temperature == 0.0 { 1.0 } else { of.temperature };
    let softcap = (of.softcap != 0.0).then_some(of.softcap);
    Transform::new(scale, softcap, temperature).map_err(report_of)
}

pub fn unscored_of(number: i32, subject: i32) -> Due<Unscored> {
    match number {
        0 => Ok(Unscored::Keep),
        1 => Ok(Unscored::Zero),
        other => Err(unknown(subject, other)),
    }
}

/// The buffers of a layout.
#[derive(Debug)]
pub struct LayoutMemory {
    targets: Memory<u32>,
    ignore: u32,
    spans: Memory<Span>,
    vocab: usize,
    order: Option<Memory<usize>>,
}

/// A layout, with what it borrows.
#[derive(Debug)]
pub struct OwnLayout {
    targets: Vec<u32>,
    ignore: u32,
    spans: Vec<Span>,
    vocab: usize,
    order: Option<Vec<usize>>,
}

impl LayoutMemory {
    pub fn of(of: &dpo_layout, ranges: &mut Ranges) -> Due<Self> {
        if of.vocab == 0 {
            return Err(refusal(DPO_ERROR_EMPTY_VOCABULARY, 0, [0, 0]));
        }
        let targets = ranges.read(of.targets, of.rows, DPO_BUFFER_TARGETS)?;
        let ignore = match of.given {
            0 if of.ignore == 0 => (-100_i32).cast_unsigned(),
            0 => return Err(unused(DPO_BUFFER_LAYOUT)),
            1 => of.ignore,
            other => return Err(unknown(DPO_BUFFER_LAYOUT, other.cast_signed())),
        };
        let spans = ranges.read(of.spans, of.count, DPO_BUFFER_SPANS)?;
        let order = ranges.write_if(of.order, of.count, DPO_BUFFER_SPAN_ORDER)?;
        Ok(Self { targets, ignore, spans, vocab: of.vocab, order })
    }

    pub fn get(&self, out: &mut Vec<Written>) -> OwnLayout {
        out.extend(self.order.map(|order| order.becomes_anything()));
        OwnLayout {
            targets: self.targets.get(),
            ignore: self.ignore,
            spans: self.spans.get(),
            vocab: self.vocab,
            order: self.order.map(|order| order.get()),
        }
    }
}

impl OwnLayout {
    pub fn layout(&mut self) -> Due<Layout<'_>> {
        let targets = Targets::new(&self.targets).with_ignore(self.ignore);
        match &mut self.order {
            Some(order) => Layout::in_any_order(targets, &self.spans, self.vocab, order),
            None => Layout::new(targets, &self.spans, self.vocab),
        }
        .map_err(report_of)
    }
}

fn stride_of(vocab: usize, stride: usize) -> usize {
    if stride == 0 { vocab } else { stride }
}

pub fn view<'a, E: Element>(of: &dpo_logits, data: &'a [E]) -> Due<Logits<'a, E>> {
    let stride = stride_of(of.vocab, of.stride);
    let view = Logits::with_stride(data, of.rows, of.vocab, stride).map_err(report_of)?;
    Ok(view.with_transform(transform_of(of.transform)?))
}

pub fn view_mut<'a, E: Element>(of: &dpo_logits_mut, data: &'a mut [E]) -> Due<LogitsMut<'a, E>> {
    let stride = stride_of(of.vocab, of.stride);
    let view = LogitsMut::with_stride(data, of.rows, of.vocab, stride).map_err(report_of)?;
    Ok(view.with_transform(transform_of(of.transform)?))
}

/// The log-probs under the reference, of the two pointers of which one is set.
#[derive(Debug)]
pub enum ReferenceMemory {
    Sums(Memory<f64>),
    Sequences(Memory<SequenceLogProb>),
    Missing { sequences: usize },
}

/// A reference, with what it borrows.
#[derive(Debug)]
pub enum OwnReference {
    Sums(Vec<f64>),
    Sequences(Vec<SequenceLogProb>),
    Missing { sequences: usize },
}

impl ReferenceMemory {
    pub fn of(
        ranges: &mut Ranges,
        sums: *const f64,
        of_sequences: *const SequenceLogProb,
        sequences: usize,
    ) -> Due<Self> {
        if sums.is_null() && of_sequences.is_null() {
            return Ok(Self::Missing { sequences });
        }
        if of_sequences.is_null() {
            return Ok(Self::Sums(ranges.read(sums, sequences, DPO_BUFFER_REFERENCE)?));
        }
        if sums.is_null() {
            let found = ranges.read(of_sequences, sequences, DPO_BUFFER_REFERENCE)?;
            return Ok(Self::Sequences(found));
        }
        Err(unused(DPO_BUFFER_REFERENCE))
    }

    pub fn get(&self) -> OwnReference {
        match self {
            Self::Sums(sums) => OwnReference::Sums(sums.get()),
            Self::Sequences(found) => OwnReference::Sequences(found.get()),
            Self::Missing { sequences } => OwnReference::Missing { sequences: *sequences },
        }
    }
}

impl OwnReference {
    /// NULL is the reference of no sequences, for a loss that reads one.
    pub fn reference(&self, is_read: bool) -> Reference<'_> {
        match self {
            Self::Sums(sums) => Reference::Sums(sums),
            Self::Sequences(found) => Reference::Sequences(found),
            Self::Missing { sequences: 0 } if is_read => Reference::Sums(&[]),
            Self::Missing { .. } => Reference::Free,
        }
    }
}
