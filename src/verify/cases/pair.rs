//! The log-probs of one pair, as hard as they come.

use crate::verify::PairLogProbs;

/// Four log-probs of a pair with its weight and margin offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairCase {
    /// Of both answers under policy and reference.
    pub log_probs: PairLogProbs,
    /// Factor on the loss, finite and ≥ 0.
    pub weight: f32,
    /// What z has to exceed, finite.
    pub offset: f32,
}
