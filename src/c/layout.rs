//! Which rows belong to which sequence, and which token each is asked for.

use super::argument::growing;
use super::memory::{Buffers, Input, Memory};
use super::names::*;
use super::report::report;
use super::status::{Fault, dpo_error, dpo_status};
use crate::{Span, Targets, spans_of_batch, spans_of_offsets};

/// The ignore value by default, [`IGNORE_INDEX`](crate::IGNORE_INDEX).
pub const DPO_IGNORE_INDEX: u32 = crate::IGNORE_INDEX;

/// `ignore` is given.
pub const DPO_LAYOUT_IGNORE: u32 = 1;

/// [`Span`]
pub type dpo_span = Span;

/// [`Targets`] and spans.
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
    /// `DPO_LAYOUT_…`
    pub given: u32,
    /// The target of rows that are not scored, if it is given; [`DPO_IGNORE_INDEX`] otherwise.
    pub ignore: u32,
}

growing!(dpo_layout, DPO_BUFFER_LAYOUT => count .. ignore;);

/// The buffers of a [`dpo_layout`].
#[derive(Clone, Copy, Debug)]
pub(super) struct LayoutInput {
    targets: Input<u32>,
    ignore: u32,
    spans: Input<Span>,
}

impl dpo_layout {
    pub(super) fn add_to(&self, buffers: &mut Buffers) -> Result<LayoutInput, Fault> {
        Ok(LayoutInput {
            targets: buffers.input(self.targets, self.rows, DPO_BUFFER_TARGETS)?,
            ignore: self.ignore()?,
            spans: buffers.input(self.spans, self.count, DPO_BUFFER_SPANS)?,
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
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn get<'a>(self, memory: &Memory) -> (Targets<'a>, &'a [Span]) {
        // SAFETY: the caller's word, passed on for both.
        let (targets, spans) = unsafe { (memory.slice(self.targets), memory.slice(self.spans)) };
        (Targets::new(targets).with_ignore(self.ignore), spans)
    }
}

/// [`spans_of_batch`]
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
        Ok(spans_of_batch(rows_each, spans)?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`spans_of_offsets`]
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
    let run = || {
        let mut buffers = Buffers::new();
        let offsets = buffers.input(offsets, offset_count, DPO_BUFFER_OFFSETS)?;
        let spans = buffers.output(spans, count, DPO_BUFFER_SPANS)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for both.
        let (offsets, spans) = unsafe { (memory.slice(offsets), memory.slice_mut(spans)) };
        Ok(spans_of_offsets(offsets, spans)?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
