//! Stage 4: from pairs of sequence log-probs to the preference loss and its gradient.

mod dpo;
mod pair;
mod summary;

pub use dpo::Dpo;
pub(crate) use pair::check_pairs;
pub use pair::{
    Pair, PairBatch, PairLogProbs, PairLoss, PairOut, PreferenceLoss, Reference, preference_loss,
};
pub use summary::Summary;
