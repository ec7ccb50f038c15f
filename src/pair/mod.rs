//! What a preference loss is given: pairs of answers with their log-probs, under policy and reference.

mod batch;
mod log_probs;
mod reference;

pub use batch::PairBatch;
pub(crate) use batch::{check_divisor, check_indices, check_pairs, check_values};
pub use log_probs::{Pair, PairLogProbs, PairLoss};
pub use reference::Reference;
