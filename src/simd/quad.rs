//! Quads: four vectors, the step of the kernels through a row. Four independent vectors are enough
//! to hide the latency of each.

use super::LANES;

/// Vectors in a quad.
pub(crate) const QUAD: usize = 4;

/// Elements in a quad.
pub(crate) const QUAD_LEN: usize = QUAD * LANES;

/// The elements of a quad.
pub(crate) type Quad<E> = [[E; LANES]; QUAD];

/// The whole quads of a row, and the elements after them.
#[inline(always)]
pub(crate) fn quads<E>(row: &[E]) -> (&[Quad<E>], &[E]) {
    let (whole, rest) = row.split_at(row.len() - row.len() % QUAD_LEN);
    (whole.as_chunks().0.as_chunks().0, rest)
}

/// The same reference, in a register that the compiler knows nothing about. A quad is selected by
/// its address; if the compiler knew, it would repeat the selection for each of the quad's vectors.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[inline(always)]
#[allow(unsafe_code, reason = "assembly without an instruction")]
#[allow(clippy::pointers_in_nomem_asm_block, reason = "nothing is read or written through it")]
pub(crate) fn opaque<T>(reference: &T) -> &T {
    let mut at = core::ptr::from_ref(reference);
    // SAFETY: the assembly is a comment, without an instruction.
    unsafe {
        core::arch::asm!("/* {at} */", at = inout(reg) at, options(pure, nomem, nostack, preserves_flags));
    }
    // SAFETY: the pointer comes from the reference, unchanged.
    unsafe { &*at }
}

/// The same number, of which the compiler knows nothing: of a loop that it knows to be short it makes
/// as many copies as the loop has steps at most.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[inline(always)]
#[allow(unsafe_code, reason = "assembly without an instruction")]
pub(crate) fn opaque_count(mut count: usize) -> usize {
    // SAFETY: the assembly is a comment, without an instruction.
    unsafe {
        core::arch::asm!("/* {count} */", count = inout(reg) count, options(pure, nomem, nostack, preserves_flags));
    }
    count
}

/// The same number.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
#[inline(always)]
pub(crate) fn opaque_count(count: usize) -> usize {
    count
}

/// The same reference.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
#[inline(always)]
pub(crate) fn opaque<T>(reference: &T) -> &T {
    reference
}
