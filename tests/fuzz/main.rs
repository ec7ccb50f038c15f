//! The bodies of the fuzz targets without a fuzzer: on the corpus beside the targets, and on random
//! cases that shrink. Every checker must find the faults planted for it.

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
    clippy::missing_assert_message,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::doc_markdown,
    reason = "a test may panic, compares bits where bits are promised, and makes its inputs by casts"
)]

mod bodies;
mod calls;
mod corpus;
mod faults;
mod findings;
#[path = "../common/property.rs"]
mod property;
mod random;

use bodies::levels;
