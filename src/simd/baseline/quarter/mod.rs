//! Four lanes at a time: the lanes of kernels that are [`IN_QUARTERS`](crate::simd::Kernel).

#[macro_use]
mod part;
#[allow(clippy::duplicate_mod, reason = "the same operations, on other registers")]
#[path = "../lanes.rs"]
mod lanes;

pub(in crate::simd) use lanes::Baseline;
