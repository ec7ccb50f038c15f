//! Heads by products from outside, against the built-in product.

#![allow(missing_docs, unreachable_pub, reason = "a test")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of tests are far below 2^24"
)]

mod bounds;
mod case;
mod special;
