//! The conformance kit: correct backends pass it, and each planted mistake is named.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::missing_assert_message,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::doc_markdown,
    clippy::needless_range_loop,
    clippy::match_same_arms,
    clippy::cast_possible_wrap,
    clippy::unnecessary_literal_bound,
    reason = "a test may panic, compares bits where bits are promised, and makes its inputs by casts"
)]

mod big;
mod bounds;
mod contract;
mod correct;
mod format;
mod lax;
mod ours;
mod plain;
mod planted;
mod reach;
mod real;
mod relations;
mod tight;
