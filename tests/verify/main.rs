//! The plain reference against everybody else: PyTorch, TRL, 40-digit figures and dual numbers.
//!
//! The tests of the kernels trust the reference, so it is held to figures that it had no part in.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::doc_markdown,
    clippy::excessive_precision,
    reason = "a test may panic, compares bits where bits are promised, and quotes figures"
)]

mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod derivatives;
mod figures;
mod leftovers;
mod losses;
mod special;

/// Fails unless `found` is within `tolerance` of `expected`, relative to 1 or to `expected` itself
/// if that is larger. Equal infinities are close.
#[track_caller]
fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    let near = error <= tolerance * expected.abs().max(1.0);
    assert!(found == expected || near, "{what}: {found:e} is not {expected:e}, off by {error:e}");
}
