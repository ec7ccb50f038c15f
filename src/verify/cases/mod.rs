//! Inputs to test a backend with: rows of logits, layouts of sequences, pairs, whole batches.
//!
//! ```text
//! RowCase      one row, its transform, target and coefficient         forward and backward of a row
//! LayoutCase   targets and spans, well-formed or not                  what a stage must refuse
//! PairCase     four log-probs, weight, offset                         the loss of a pair
//! BatchCase    all of it at once                                      a whole step
//! ```
//!
//! They hold plain numbers, so that any backend can be given them, and they come from two sources:
//! proptest strategies (feature `proptest`, [`strategy`]), which shrink, and `arbitrary` (feature
//! `arbitrary`), for fuzzers. Both make the same things: plain values, then [`Twist`]s that make
//! them hard. Every case is well-formed however it was made or shrunk (but for [`LayoutCase`],
//! which says itself whether it is), and the reference has an answer to each, NaN included.
//!
//! What is not to be read holds NaN: columns past the vocabulary and rows that nobody scores.
//!
//! This part allocates; the rest of `verify` does not.

mod batch;
mod layout;
mod loss;
mod pair;
mod row;
#[cfg(feature = "proptest")]
pub mod strategy;
#[cfg(feature = "arbitrary")]
mod unstructured;

pub use batch::BatchCase;
pub use layout::LayoutCase;
pub use pair::PairCase;
pub use row::{Place, RowCase, Twist};

use alloc::vec::Vec;

use crate::Element;

/// The values as another storage type holds them.
#[must_use]
pub fn stored<E: Element>(values: &[f32]) -> Vec<E> {
    values.iter().map(|&x| E::from_f32(x)).collect()
}

/// What is stored, exactly.
#[must_use]
pub fn widened<E: Element>(values: &[E]) -> Vec<f64> {
    values.iter().map(|x| f64::from(x.to_f32())).collect()
}
