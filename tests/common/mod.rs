//! What several test files share.

#![allow(dead_code, reason = "each test file uses another part of it")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::indexing_slicing,
    reason = "test data that does not parse is a failed test"
)]

#[cfg(feature = "proptest")]
pub mod batch;
pub use dpo_kernel::verify::bounds;
pub mod coefficients;
pub mod golden;
pub mod levels;
pub mod measure;
#[cfg(feature = "proptest")]
pub mod property;
pub mod quiet;
pub mod store;
