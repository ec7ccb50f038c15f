//! Four vectors, the unit in which the kernels step through a row: enough of them in flight to hide
//! the latency of one.

use super::LANES;

/// Vectors of a quad.
pub(crate) const QUAD: usize = 4;

/// Elements of a quad.
pub(crate) const QUAD_LEN: usize = QUAD * LANES;

/// Their elements.
pub(crate) type Quad<E> = [[E; LANES]; QUAD];

/// A row's quads, and what is left of it.
#[inline(always)]
pub(crate) fn quads<E>(row: &[E]) -> (&[Quad<E>], &[E]) {
    let (whole, rest) = row.split_at(row.len() - row.len() % QUAD_LEN);
    (whole.as_chunks().0.as_chunks().0, rest)
}

/// Likewise, to write.
#[inline(always)]
pub(crate) fn quads_mut<E>(row: &mut [E]) -> (&mut [Quad<E>], &mut [E]) {
    let (whole, rest) = row.split_at_mut(row.len() - row.len() % QUAD_LEN);
    (whole.as_chunks_mut().0.as_chunks_mut().0, rest)
}

/// The same reference, of which the compiler does not know that it was chosen among several: it would choose
/// the address of each vector of the quad anew.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[inline(always)]
#[allow(unsafe_code, reason = "assembly, of no instruction")]
#[allow(clippy::pointers_in_nomem_asm_block, reason = "nothing is read or written through it")]
pub(crate) fn opaque<T>(reference: &T) -> &T {
    let mut at = core::ptr::from_ref(reference);
    // SAFETY: no instruction, so no effect.
    unsafe {
        core::arch::asm!("/* {at} */", at = inout(reg) at, options(pure, nomem, nostack, preserves_flags));
    }
    // SAFETY: the pointer is that of the reference, unchanged.
    unsafe { &*at }
}

/// The reference.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
#[inline(always)]
pub(crate) fn opaque<T>(reference: &T) -> &T {
    reference
}
