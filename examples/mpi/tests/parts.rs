//! What needs no other rank: who has what, sums without an order, merges of partials, arguments.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "tests"
)]

mod parts {
    mod args;
    mod exact;
    mod grid;
    mod merge;
}
