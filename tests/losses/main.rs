//! Every preference loss: against other people's figures, against its own derivative by two
//! methods, against a plain reference over the whole range, and against its identities.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::too_many_lines,
    clippy::doc_markdown,
    clippy::excessive_precision,
    reason = "a test may panic, compares bits where bits are promised, and quotes figures"
)]

mod advantage;
mod aot;
mod around;
mod batches;
mod catalog;
#[path = "../common/mod.rs"]
mod common;
mod constructors;
mod coverage;
mod decades;
mod derivatives;
mod divergences;
mod docs;
mod edges;
mod fingerprints;
mod golden;
mod identities;
mod left_out;
mod nll;
mod refusals;
mod softmax;
mod special;
mod stability;
mod step;
mod trl;
mod unpaired;

/// Whether `found` is within `tolerance` of `expected`, relative to 1 or to the larger of the two.
/// NaN is not; equal infinities are.
fn is_close(found: f64, expected: f64, tolerance: f64) -> bool {
    let size = expected.abs().max(found.abs()).max(1.0);
    found == expected || (found - expected).abs() <= tolerance * size
}

/// Fails unless [`is_close`].
#[track_caller]
fn close(what: &str, found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    let is_close = is_close(found, expected, tolerance);
    assert!(is_close, "{what}: {found:e} is not {expected:e}, off by {error:e}");
}
