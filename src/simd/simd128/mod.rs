//! The baseline of wasm with simd128: lanes of the crate `wide`, four registers a vector.
//!
//! The operations stand in `lanes.rs`, on the part of a vector that `whole` or `quarter` gives them.

mod quarter;
mod whole;

use super::{Kernel, Loop};

/// Whether this build has a multiply-add with one rounding: simd128 has none.
pub(super) const HAS_FMA: bool = false;

/// Enters the level.
#[inline(always)]
pub(super) fn run<const FUSED: bool, K: Kernel>(kernel: K) -> K::Output {
    // Engines order the operations of a loop themselves, and spill most of whole vectors' sums.
    if matches!(K::LOOP, Loop::Map) {
        kernel.run(whole::Baseline::<FUSED>::new())
    } else {
        kernel.run(quarter::Baseline::<FUSED>::new())
    }
}
