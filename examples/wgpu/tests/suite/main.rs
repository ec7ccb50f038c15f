//! Everything the shaders promise, on the adapter at hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "small numbers, and roundings that are meant"
)]
#![allow(clippy::float_cmp, reason = "coefficients and results of exactly 0")]
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]

mod bits;
mod common;
mod errors;
mod functions;
mod head;
mod kit;
mod linear;
mod oracle;
mod places;
mod program;
mod relations;
