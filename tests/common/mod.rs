//! What several test files share.

#![allow(dead_code, reason = "each test file uses another part of it")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test data that does not parse is a failed test"
)]

pub mod bounds;
pub mod golden;
pub mod levels;
pub mod measure;
