//! Pointers and lengths of a host, judged by plain words: what the header's contract says of NULL,
//! alignment, length, overlap and the sizes of structs.

use std::mem::{offset_of, size_of};

use dpo_kernel::c::*;

use super::report::refusal;
use super::same::Same;

/// A report that is due instead of a result.
pub type Due<T> = Result<T, dpo_error>;

#[derive(Clone, Copy, Debug)]
struct Range {
    start: u128,
    end: u128,
    subject: i32,
    is_written: bool,
}

/// The buffers of a call, in the order in which they are looked at.
#[derive(Debug, Default)]
pub struct Ranges(Vec<Range>);

/// Memory of a host that may be read, or written if the call says so.
#[derive(Clone, Copy, Debug)]
pub struct Memory<T> {
    at: *mut T,
    len: usize,
}

impl Ranges {
    fn add<T>(&mut self, at: *const T, len: usize, subject: i32, is_written: bool) -> Due<()> {
        if len == 0 {
            return Ok(());
        }
        if at.is_null() {
            return Err(refusal(DPO_ERROR_NULL, subject, [0, 0]));
        }
        let align = align_of::<T>();
        if !at.addr().is_multiple_of(align) {
            return Err(refusal(DPO_ERROR_MISALIGNED, subject, [align, 0]));
        }
        let (start, bytes) = (at.addr() as u128, len as u128 * size_of::<T>() as u128);
        if bytes > isize::MAX as u128 || start + bytes > usize::MAX as u128 {
            return Err(refusal(DPO_ERROR_TOO_LONG, subject, [len, 0]));
        }
        self.0.push(Range { start, end: start + bytes, subject, is_written });
        Ok(())
    }

    pub fn read<T>(&mut self, at: *const T, len: usize, subject: i32) -> Due<Memory<T>> {
        self.add(at, len, subject, false)?;
        Ok(Memory { at: at.cast_mut(), len })
    }

    pub fn write<T>(&mut self, at: *mut T, len: usize, subject: i32) -> Due<Memory<T>> {
        self.add(at, len, subject, true)?;
        Ok(Memory { at, len })
    }

    pub fn read_if<T>(&mut self, at: *const T, len: usize, subject: i32) -> Due<Option<Memory<T>>> {
        if at.is_null() { Ok(None) } else { self.read(at, len, subject).map(Some) }
    }

    pub fn write_if<T>(&mut self, at: *mut T, len: usize, subject: i32) -> Due<Option<Memory<T>>> {
        if at.is_null() { Ok(None) } else { self.write(at, len, subject).map(Some) }
    }

    /// No buffer that is written shares a byte with another.
    pub fn are_apart(&self) -> Due<()> {
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in self.0.iter().enumerate() {
                let shared = a.start.max(b.start) < a.end.min(b.end);
                if i != j && a.is_written && shared {
                    let other = usize::try_from(b.subject).unwrap();
                    return Err(refusal(DPO_ERROR_OVERLAP, a.subject, [other, 0]));
                }
            }
        }
        Ok(())
    }
}

impl<T: Copy> Memory<T> {
    /// What is there, before the call.
    pub fn get(&self) -> Vec<T> {
        // SAFETY: whoever made the call vouches for the memory; it was found aligned, and there.
        (0..self.len).map(|i| unsafe { self.at.add(i).read() }).collect()
    }
}

/// What a call leaves in a buffer.
pub struct Written {
    /// Where, as addresses.
    pub bytes: std::ops::Range<usize>,
    /// Says how the memory differs from what is due, after the call.
    pub objection: Box<dyn Fn() -> Option<String>>,
}

impl<T: Same + Copy + std::fmt::Debug + 'static> Memory<T> {
    /// Afterwards these values are there.
    pub fn becomes(&self, name: &'static str, due: Vec<T>) -> Written {
        let memory = *self;
        let objection = move || {
            let found = memory.get();
            let at = found.iter().zip(&due).position(|(found, due)| !found.same(due))?;
            Some(format!("{name}[{at}] is {:?}, due is {:?}", found[at], due[at]))
        };
        Written { bytes: self.bytes(), objection: Box::new(objection) }
    }

    fn bytes(&self) -> std::ops::Range<usize> {
        let start = self.at.addr();
        start..start + self.len * size_of::<T>()
    }

    /// Afterwards anything may be there.
    pub fn becomes_anything(&self) -> Written {
        Written { bytes: self.bytes(), objection: Box::new(|| None) }
    }
}

/// A struct that begins with its size.
pub trait SaysSize: Copy {
    const SUBJECT: i32;
    /// Where the fields end that have no default.
    const REQUIRED: usize;
}

macro_rules! struct_sizes {
    ($($type:ident $subject:ident $required:expr;)*) => {
        $(impl SaysSize for $type {
            const SUBJECT: i32 = $subject;
            const REQUIRED: usize = $required;
        })*
    };
}

struct_sizes! {
    dpo_layout DPO_BUFFER_LAYOUT offset_of!(dpo_layout, given);
    dpo_logits DPO_BUFFER_LOGITS offset_of!(dpo_logits, transform);
    dpo_logits_mut DPO_BUFFER_LOGITS offset_of!(dpo_logits_mut, transform);
    dpo_objective DPO_BUFFER_LOSSES offset_of!(dpo_objective, kind);
    dpo_pairs DPO_BUFFER_PAIRS size_of::<dpo_pairs>();
    dpo_unpaired_batch DPO_BUFFER_UNPAIRED_ANSWERS size_of::<dpo_unpaired_batch>();
    dpo_nll DPO_BUFFER_NLL offset_of!(dpo_nll, per);
    dpo_grads DPO_BUFFER_BACKWARD offset_of!(dpo_grads, unscored);
    dpo_tile DPO_BUFFER_TILE size_of::<dpo_tile>();
    dpo_step DPO_BUFFER_STEP offset_of!(dpo_step, token_weights);
    dpo_head DPO_BUFFER_HEAD_WEIGHTS offset_of!(dpo_head, transform);
    dpo_hidden DPO_BUFFER_HIDDEN offset_of!(dpo_hidden, reserved);
    dpo_hidden_mut DPO_BUFFER_HIDDEN_GRADS offset_of!(dpo_hidden_mut, reserved);
    dpo_head_mut DPO_BUFFER_HEAD_GRADS offset_of!(dpo_head_mut, mode);
    dpo_head_scratch DPO_BUFFER_HEAD_NUMBERS size_of::<dpo_head_scratch>();
}

fn pointer(address: usize, align: usize, subject: i32) -> Due<()> {
    if address == 0 {
        return Err(refusal(DPO_ERROR_NULL, subject, [0, 0]));
    }
    if address.is_multiple_of(align) {
        return Ok(());
    }
    Err(refusal(DPO_ERROR_MISALIGNED, subject, [align, 0]))
}

/// A struct of a host of another release: fields that it does not have are 0, and those that this
/// library does not have must be.
pub fn says_size<T: SaysSize>(at: *const T) -> Due<T> {
    pointer(at.addr(), align_of::<T>(), T::SUBJECT)?;
    let (bytes, here) = (at.cast::<u8>(), size_of::<T>());
    // SAFETY: whoever made the call vouches for a struct of the size that it says.
    unsafe {
        let says = at.cast::<usize>().read();
        let is_size = says >= T::REQUIRED && says <= 4096 && says.is_multiple_of(align_of::<T>());
        if !is_size || (here..says).any(|i| bytes.add(i).read() != 0) {
            return Err(refusal(DPO_ERROR_STRUCT_SIZE, T::SUBJECT, [here, says]));
        }
        let mut copy = std::mem::zeroed::<T>();
        for i in 0..says.min(here) {
            (&raw mut copy).cast::<u8>().add(i).write(bytes.add(i).read());
        }
        Ok(copy)
    }
}

/// A struct without a size.
pub fn plain<T: Copy>(at: *const T) -> Due<T> {
    pointer(at.addr(), align_of::<T>(), DPO_BUFFER_ARGUMENT)?;
    // SAFETY: whoever made the call vouches for the struct.
    Ok(unsafe { at.read() })
}
