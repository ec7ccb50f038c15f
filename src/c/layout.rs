//! Which rows are scored and which sequence each belongs to, and helpers that lay them out.

use super::argument::growing;
use super::memory::{Buffers, Input, Memory, Output, Plain};
use super::names::*;
use super::report::report;
use super::status::{Fault, dpo_error, dpo_status};
use crate::{Error, Layout, Span, Targets};

/// The ignore value by default, [`IGNORE_INDEX`](crate::IGNORE_INDEX).
pub const DPO_IGNORE_INDEX: u32 = crate::IGNORE_INDEX;

/// `ignore` is given.
pub const DPO_LAYOUT_IGNORE: u32 = 1;

/// [`Span`]
pub type dpo_span = Span;

/// [`Layout`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_layout {
    /// Of this struct, in bytes.
    pub size: usize,
    /// A target for each row.
    pub targets: *const u32,
    /// R
    pub rows: usize,
    /// The rows of each sequence.
    pub spans: *const dpo_span,
    /// N
    pub count: usize,
    /// V, that of the logits.
    pub vocab: usize,
    /// `DPO_LAYOUT_…`
    pub given: u32,
    /// The target of rows that are not scored, if it is given; [`DPO_IGNORE_INDEX`] otherwise.
    pub ignore: u32,
    /// N indices to sort the spans in, or NULL: the spans ascend.
    pub order: *mut usize,
}

growing!(dpo_layout, DPO_BUFFER_LAYOUT => vocab .. order;);

/// The buffers of a [`dpo_layout`].
#[derive(Debug)]
pub(super) struct LayoutInput {
    targets: Input<u32>,
    ignore: u32,
    spans: Input<Span>,
    vocab: usize,
    order: Option<Output<usize>>,
}

impl dpo_layout {
    pub(super) fn add_to(&self, buffers: &mut Buffers) -> Result<LayoutInput, Fault> {
        if self.vocab == 0 {
            return Err(Error::EmptyVocabulary.into());
        }
        Ok(LayoutInput {
            targets: buffers.input(self.targets, self.rows, DPO_BUFFER_TARGETS)?,
            ignore: self.ignore()?,
            spans: buffers.input(self.spans, self.count, DPO_BUFFER_SPANS)?,
            vocab: self.vocab,
            order: buffers.optional_output(self.order, self.count, DPO_BUFFER_SPAN_ORDER)?,
        })
    }

    fn ignore(&self) -> Result<u32, Fault> {
        match (self.given, self.ignore) {
            (DPO_LAYOUT_IGNORE, ignore) => Ok(ignore),
            (0, 0) => Ok(DPO_IGNORE_INDEX),
            (0, _) => Err(Fault::unused(DPO_BUFFER_LAYOUT)),
            (given, _) => Err(Fault::unknown(DPO_BUFFER_LAYOUT, given.cast_signed())),
        }
    }
}

impl LayoutInput {
    /// The layout, checked: once a call.
    ///
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn get<'a>(self, memory: &Memory) -> Result<Layout<'a>, Error> {
        // SAFETY: the caller's word, passed on for all three.
        let (targets, spans, order) = unsafe {
            let order = self.order.map(|order| memory.slice_mut(order));
            (memory.slice(self.targets), memory.slice(self.spans), order)
        };
        let targets = Targets::new(targets).with_ignore(self.ignore);
        match order {
            Some(order) => Layout::in_any_order(targets, spans, self.vocab, order),
            None => Layout::new(targets, spans, self.vocab),
        }
    }
}

/// [`Span::of_batch`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_spans_of_batch(
    rows_each: usize,
    spans: *mut dpo_span,
    count: usize,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let mut buffers = Buffers::new();
        let spans = buffers.output(spans, count, DPO_BUFFER_SPANS)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for `count` spans.
        let spans = unsafe { memory.slice_mut(spans) };
        Ok(Span::of_batch(rows_each, spans)?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`Span::of_offsets`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_spans_of_offsets(
    offsets: *const u32,
    offset_count: usize,
    spans: *mut dpo_span,
    count: usize,
    error: *mut dpo_error,
) -> dpo_status {
    // SAFETY: the caller's word, passed on.
    unsafe { report(of_offsets((offsets, offset_count), (spans, count)), error) }
}

/// [`Span::of_offsets`] of signed offsets, as attention kernels have them.
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_spans_of_offsets_i32(
    offsets: *const i32,
    offset_count: usize,
    spans: *mut dpo_span,
    count: usize,
    error: *mut dpo_error,
) -> dpo_status {
    // SAFETY: the caller's word, passed on.
    unsafe { report(of_offsets((offsets, offset_count), (spans, count)), error) }
}

/// # Safety
/// That of the entries: the caller's word for both buffers.
unsafe fn of_offsets<O: Plain + TryInto<usize>>(
    offsets: (*const O, usize),
    spans: (*mut dpo_span, usize),
) -> Result<(), Fault> {
    let mut buffers = Buffers::new();
    let offsets = buffers.input(offsets.0, offsets.1, DPO_BUFFER_OFFSETS)?;
    let spans = buffers.output(spans.0, spans.1, DPO_BUFFER_SPANS)?;
    let memory = buffers.check()?;
    // SAFETY: passed on for both.
    let (offsets, spans) = unsafe { (memory.slice(offsets), memory.slice_mut(spans)) };
    Ok(Span::of_offsets(offsets, spans)?)
}

/// [`Targets::of_i64`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_targets_of_i64(
    labels: *const i64,
    count: usize,
    ignore: i64,
    targets: *mut u32,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let mut buffers = Buffers::new();
        let labels = buffers.input(labels, count, DPO_BUFFER_LABELS)?;
        let targets = buffers.output(targets, count, DPO_BUFFER_TARGETS)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for both.
        let (labels, targets) = unsafe { (memory.slice(labels), memory.slice_mut(targets)) };
        Ok(Targets::of_i64(labels, ignore, targets).map(|_| ())?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
