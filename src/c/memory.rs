//! Pointers and lengths of a caller become slices, once they were checked together.
//!
//! ```text
//! buffers.input(ptr, n), buffers.output(ptr, n)   NULL? aligned? within the address space?
//! buffers.check()                                 does anything that is written overlap anything else?
//! memory.slice(input), memory.slice_mut(output)
//! ```
//!
//! What remains is the caller's word that the memory is there: the only premise of the slices.

use super::status::{
    DPO_ERROR_MISALIGNED, DPO_ERROR_NULL, DPO_ERROR_OVERLAP, DPO_ERROR_TOO_LONG, Fault,
};
use crate::loss::NllSummary;
use crate::row::{RowDetails, RowNorm};
use crate::unpaired::{AnswerLoss, UnpairedSummary};
use crate::{Pair, PairLoss, SequenceLogProb, Span, Summary, TokenSummary, bf16, f16};

/// Types whose every bit pattern is a value, so that any initialised memory holds some.
///
/// # Safety
/// Implementors have no padding that matters, no invalid bits and no references.
pub(super) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty),* $(,)?) => {
        // SAFETY: numbers, or `repr(C)` structs of numbers.
        $(unsafe impl $crate::c::memory::Plain for $type {})*
    };
}
plain!(
    u8,
    i32,
    f32,
    f64,
    u32,
    i64,
    usize,
    f16,
    bf16,
    Span,
    Pair,
    RowNorm,
    RowDetails,
    SequenceLogProb,
    PairLoss,
    AnswerLoss,
    Summary,
    TokenSummary,
    NllSummary,
    UnpairedSummary,
);
pub(super) use plain;

/// Memory that is read: aligned, not NULL unless empty, and of a size that exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<T> {
    data: *const T,
    len: usize,
}

/// Memory that is written, likewise; not `Copy`, so that it becomes one slice at most.
#[derive(Debug)]
pub(super) struct Output<T> {
    data: *mut T,
    len: usize,
}

/// Most buffers that a function has.
const MOST: usize = 32;

/// The buffers of one call.
#[derive(Debug)]
pub(super) struct Buffers {
    ranges: [Range; MOST],
    used: usize,
}

/// What an element takes, in bytes.
#[derive(Clone, Copy, Debug)]
struct Element {
    size: usize,
    align: usize,
}

impl Element {
    const fn of<T>() -> Self {
        Self { size: size_of::<T>(), align: align_of::<T>() }
    }
}

#[derive(Clone, Copy, Debug)]
struct Range {
    start: usize,
    end: usize,
    subject: i32,
    is_written: bool,
}

impl Buffers {
    pub(super) const fn new() -> Self {
        let nothing = Range { start: 0, end: 0, subject: 0, is_written: false };
        Self { ranges: [nothing; MOST], used: 0 }
    }

    /// One function for all element types, because firmware counts bytes.
    #[inline(never)]
    fn add(
        &mut self,
        start: usize,
        len: usize,
        element: Element,
        subject: i32,
        is_written: bool,
    ) -> Result<(), Fault> {
        if len == 0 {
            return Ok(());
        }
        if start == 0 {
            return Err(Fault::Call(DPO_ERROR_NULL, subject, [0, 0]));
        }
        if !start.is_multiple_of(element.align) {
            return Err(Fault::Call(DPO_ERROR_MISALIGNED, subject, [element.align, 0]));
        }
        // No object is larger than isize::MAX bytes, nor does one wrap around.
        let bytes = len.checked_mul(element.size).filter(|&bytes| isize::try_from(bytes).is_ok());
        let end = bytes.and_then(|bytes| start.checked_add(bytes));
        let Some(end) = end else { return Err(Fault::Call(DPO_ERROR_TOO_LONG, subject, [len, 0])) };
        // More buffers than any function has would be a mistake in this module: refused, not
        // forgotten.
        let to = self.ranges.get_mut(self.used);
        let to = to.ok_or(Fault::Call(DPO_ERROR_TOO_LONG, subject, [len, 0]))?;
        *to = Range { start, end, subject, is_written };
        self.used += 1;
        Ok(())
    }

    /// `len` elements to read; NULL if there are none.
    pub(super) fn input<T: Plain>(
        &mut self,
        data: *const T,
        len: usize,
        subject: i32,
    ) -> Result<Input<T>, Fault> {
        self.add(data.addr(), len, Element::of::<T>(), subject, false)?;
        Ok(Input { data, len })
    }

    /// The same, absent if NULL.
    pub(super) fn optional_input<T: Plain>(
        &mut self,
        data: *const T,
        len: usize,
        subject: i32,
    ) -> Result<Option<Input<T>>, Fault> {
        if data.is_null() { Ok(None) } else { self.input(data, len, subject).map(Some) }
    }

    /// `len` elements to write; NULL if there are none.
    pub(super) fn output<T: Plain>(
        &mut self,
        data: *mut T,
        len: usize,
        subject: i32,
    ) -> Result<Output<T>, Fault> {
        self.add(data.addr(), len, Element::of::<T>(), subject, true)?;
        Ok(Output { data, len })
    }

    /// The same, absent if NULL.
    pub(super) fn optional_output<T: Plain>(
        &mut self,
        data: *mut T,
        len: usize,
        subject: i32,
    ) -> Result<Option<Output<T>>, Fault> {
        if data.is_null() { Ok(None) } else { self.output(data, len, subject).map(Some) }
    }

    /// Refuses a buffer that is written and overlaps another.
    pub(super) fn check(self) -> Result<Memory, Fault> {
        let ranges = || self.ranges.iter().take(self.used);
        for (i, written) in ranges().enumerate().filter(|(_, range)| range.is_written) {
            let meets = |other: &Range| written.start < other.end && other.start < written.end;
            if let Some((_, other)) =
                ranges().enumerate().find(|&(j, other)| i != j && meets(other))
            {
                let number = usize::try_from(other.subject).unwrap_or(0);
                return Err(Fault::Call(DPO_ERROR_OVERLAP, written.subject, [number, 0]));
            }
        }
        Ok(Memory(()))
    }
}

/// The buffers of a call, none of which overlaps one that is written.
#[derive(Debug)]
pub(super) struct Memory(());

#[allow(clippy::unused_self, reason = "self proves that the buffers were checked")]
#[allow(clippy::needless_pass_by_value, reason = "an output is used up")]
impl Memory {
    /// The elements to read, if there are any.
    ///
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn optional<'a, T: Plain>(&self, input: Option<Input<T>>) -> Option<&'a [T]> {
        // SAFETY: passed on.
        input.map(|input| unsafe { self.slice(input) })
    }

    /// The elements to read.
    ///
    /// # Safety
    /// The caller of the ABI vouches for `len` initialised elements that nobody writes during the
    /// call.
    pub(super) unsafe fn slice<'a, T: Plain>(&self, input: Input<T>) -> &'a [T] {
        if input.len == 0 {
            return &[];
        }
        // SAFETY: `Buffers::add` found the pointer aligned and not NULL and the size in the address
        // space, `Buffers::check` found no output of this call here; the rest is the caller's word.
        unsafe { core::slice::from_raw_parts(input.data, input.len) }
    }

    /// The elements to write.
    ///
    /// # Safety
    /// The caller of the ABI vouches for `len` initialised elements that nobody else uses during
    /// the call.
    pub(super) unsafe fn slice_mut<'a, T: Plain>(&self, output: Output<T>) -> &'a mut [T] {
        if output.len == 0 {
            return &mut [];
        }
        // SAFETY: as for `slice`; this output overlaps no other buffer, and it is used up here.
        unsafe { core::slice::from_raw_parts_mut(output.data, output.len) }
    }
}
