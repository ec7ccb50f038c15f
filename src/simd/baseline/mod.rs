//! The baseline of targets with vector registers: `wide` lanes, compiled for what the build allows.
//!
//! The operations stand in `lanes.rs`, on the part of a vector that `whole` or `quarter` gives them.

#[cfg(target_feature = "simd128")]
mod quarter;
mod whole;

#[cfg(target_feature = "simd128")]
pub(super) use quarter::Baseline as Quarters;
pub(super) use whole::Baseline;

/// Whether this build has a multiply-add with one rounding.
pub(super) const HAS_FMA: bool =
    cfg!(all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "fma"));
