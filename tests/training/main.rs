//! What stands beside the stages, each part against an f64 oracle that shares no code with it.
//!
//! Checkers take the implementation as an argument and return what they object to; the same
//! checkers then have to object to planted faults. Buffers are dirty before a call, and a refused
//! call must leave them so.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::missing_assert_message,
    clippy::doc_markdown,
    clippy::type_complexity,
    clippy::unnecessary_wraps,
    reason = "a test may panic, compares bits where bits are promised, and makes its inputs by casts, and plants faults with the signature of what they stand for"
)]

#[path = "../common/mod.rs"]
mod common;

mod best_worst;
mod dynamic_beta;
mod identical;
mod ld_dpo;
mod length;
mod log_ratio;
mod moving_reference;
mod oracle;
