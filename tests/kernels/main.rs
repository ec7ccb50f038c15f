//! The kernels on every level, against the plain f64 reference and against themselves.
//!
//! Tests here are written to fail: bounds stand in one table and may not be loose, every checker
//! has to catch planted faults, and buffers that must not be touched hold NaN.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::missing_assert_message,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::doc_markdown,
    clippy::type_complexity,
    clippy::struct_field_names,
    clippy::manual_is_multiple_of,
    reason = "a test may panic, compares bits where bits are promised, and makes its inputs by casts"
)]

#[path = "../common/mod.rs"]
mod common;

mod accuracy;
mod argmax;
mod coverage;
mod golden;
mod gradients;
mod layout;
mod levels;
mod merge;
mod metamorphic;
mod readme;
mod refusals;
mod rows;
mod run;
mod shards;
mod special;
mod step_zero;
mod storage;
mod summary;
mod untouched;
