//! The step and its siblings: in place and apart, over pairs and answers, on one thread and
//! several, in buffers of the host and in a workspace; what weight 0 leaves out; losses of tokens.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::missing_assert_message,
    clippy::float_cmp,
    reason = "a test may panic, and compares figures that are equal"
)]

mod absence;
mod case;
mod evaluation;
mod lengths;
mod masked;
mod recovery;
mod sequences;
mod siblings;
mod terms;
mod tokens;
