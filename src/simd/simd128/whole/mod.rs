//! The sixteen lanes at once.

#[macro_use]
mod part;
#[path = "../lanes.rs"]
mod lanes;

pub(in crate::simd) use lanes::Baseline;
