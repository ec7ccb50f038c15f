//! What a preference loss is given: pairs of answers with their log-probs, under policy and
//! reference.

mod batch;
mod log_probs;
mod loss;
mod preferred;
mod reference;

pub use batch::PairBatch;
pub(crate) use batch::{
    check_divisor, check_indices, check_pair, check_pairs, check_weights, is_left_out, with_weight,
};
pub use log_probs::PairLogProbs;
pub use loss::PairLoss;
pub use preferred::Pair;
pub use reference::Reference;
