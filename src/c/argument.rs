//! Struct arguments, copied out of the caller's memory: plain ones, and those that begin with their
//! own size, so that a later release can add a field without breaking the hosts of an earlier one.
//!
//! | the `size` that the host says | |
//! |---|---|
//! | 0, or too small for the fields without a default | refused: the host forgot it |
//! | at most this library's | an older host; the fields that it does not know are 0, their default |
//! | more than this library's | a newer host; refused unless the fields that are unknown here are 0 |
//! | not a multiple of the alignment, or beyond [`MOST`] | refused: no struct has this size |
//!
//! Two rules keep this true: a field is only ever added at the end, with 0 as its default, and no
//! padding follows the last one, because a host need not have written it.

use core::mem::MaybeUninit;

use super::memory::Plain;
use super::names::DPO_BUFFER_ARGUMENT;
use super::status::{DPO_ERROR_MISALIGNED, DPO_ERROR_NULL, DPO_ERROR_STRUCT_SIZE, Fault};

/// No struct of any release is larger, so that a size which is no size reads little memory.
const MOST: usize = 4096;

/// A struct that begins with its size; see [`growing!`].
///
/// # Safety
/// `repr(C)`, the first field is `size: usize`, and all bytes 0 are a value.
pub(super) unsafe trait Growing: Plain {
    /// Where the fields without a default end.
    const LEAST: usize;
    /// What errors call the struct.
    const SUBJECT: i32;
}

/// Declares structs that begin with their size: `growing!(NAME, SUBJECT: REQUIRED .. LAST)`, where
/// no field after REQUIRED must be given, and LAST is the last field there is.
macro_rules! growing {
    ($($type:ty, $subject:expr => $required:ident .. $last:ident;)*) => {
        $(
            $crate::c::memory::plain!($type);

            // SAFETY: numbers and pointers, `repr(C)`, and `size` comes first (asserted below).
            unsafe impl $crate::c::argument::Growing for $type {
                const LEAST: usize = $crate::c::argument::end_of(
                    core::mem::offset_of!($type, $required),
                    |value: &$type| &value.$required,
                );
                const SUBJECT: i32 = $subject;
            }

            const _: () = assert!(
                core::mem::offset_of!($type, size) == 0
                    && size_of::<$type>()
                        == $crate::c::argument::end_of(
                            core::mem::offset_of!($type, $last),
                            |value: &$type| &value.$last,
                        ),
                "padding after the last field would be read as a field of a later release"
            );
        )*
    };
}
pub(super) use growing;

/// Where a field ends.
pub(super) const fn end_of<T, F>(offset: usize, _: fn(&T) -> &F) -> usize {
    offset + size_of::<F>()
}

/// A struct argument of one size, copied.
///
/// # Safety
/// The caller of the ABI vouches that the pointer is NULL or points to an initialised T.
pub(super) unsafe fn argument<T: Plain>(data: *const T) -> Result<T, Fault> {
    check_pointer(data.addr(), align_of::<T>(), DPO_BUFFER_ARGUMENT)?;
    // SAFETY: aligned and not NULL; the rest is the caller's word.
    Ok(unsafe { data.read() })
}

/// A struct argument that says its size, copied as far as this library knows it.
///
/// # Safety
/// The caller of the ABI vouches that the pointer is NULL or points to a `size`, and to as many
/// initialised bytes as that says.
pub(super) unsafe fn growing_argument<T: Growing>(data: *const T) -> Result<T, Fault> {
    let mut copy = MaybeUninit::<T>::zeroed();
    let known = Known { size: size_of::<T>(), least: T::LEAST, align: align_of::<T>() };
    // SAFETY: the caller's word for `data`; `copy` has the size that is known.
    unsafe { known.copy(data.cast(), copy.as_mut_ptr().cast(), T::SUBJECT)? };
    // SAFETY: all bytes 0 are a value of T, and so is what was copied over them: T is plain.
    Ok(unsafe { copy.assume_init() })
}

/// A struct as this library has it; one function for all, because firmware counts bytes.
struct Known {
    size: usize,
    least: usize,
    align: usize,
}

impl Known {
    /// # Safety
    /// As [`growing_argument`]; `to` has room for `self.size` bytes.
    #[allow(
        clippy::cast_ptr_alignment,
        reason = "the size is the first field of an aligned struct"
    )]
    #[inline(never)]
    unsafe fn copy(&self, from: *const u8, to: *mut u8, subject: i32) -> Result<(), Fault> {
        check_pointer(from.addr(), self.align, subject)?;
        // SAFETY: aligned and not NULL; that a size is there is the caller's word.
        let found = unsafe { from.cast::<usize>().read() };
        let fault = Err(Fault::Call(DPO_ERROR_STRUCT_SIZE, subject, [self.size, found]));
        if found < self.least || found > MOST || !found.is_multiple_of(self.align) {
            return fault;
        }
        for offset in self.size..found {
            // SAFETY: below the size that the host says.
            if unsafe { from.add(offset).read() } != 0 {
                return fault;
            }
        }
        // SAFETY: both sizes are as large; the copy is this library's, so that they do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(from, to, found.min(self.size)) };
        Ok(())
    }
}

fn check_pointer(address: usize, align: usize, subject: i32) -> Result<(), Fault> {
    if address == 0 {
        return Err(Fault::Call(DPO_ERROR_NULL, subject, [0, 0]));
    }
    if !address.is_multiple_of(align) {
        return Err(Fault::Call(DPO_ERROR_MISALIGNED, subject, [align, 0]));
    }
    Ok(())
}
