//! Four lanes at a time: those of sums ([`Loop`](crate::simd::Loop)).

#[macro_use]
mod part;
#[allow(clippy::duplicate_mod, reason = "the same operations, on other registers")]
#[path = "../lanes.rs"]
mod lanes;

pub(in crate::simd) use lanes::Baseline;
