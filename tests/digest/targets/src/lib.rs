//! The suite of `tests/digest` as a library, and its exports for wasm.

#![no_std]
#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    clippy::too_many_arguments,
    clippy::similar_names,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "the suite may panic, and makes its own data from integers"
)]

#[path = "../../suite/mod.rs"]
pub mod suite;

mod report;
pub use report::report;

#[cfg(target_arch = "wasm32")]
mod wasm;
