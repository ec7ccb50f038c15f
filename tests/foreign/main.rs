//! What `verify` gives to the suite of another backend: a small foreign backend, the suite that
//! holds it against the reference on the crate's cases, and the faults that this suite finds in it.

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
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::doc_markdown,
    reason = "a test may panic, compares bits where bits are promised, and makes its inputs by casts"
)]

mod backend;
mod cases;
mod comparison;
mod faults;
mod reach;
mod suite;
mod twists;
