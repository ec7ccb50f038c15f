//! What a backend is given and where its figures go, borrowed.

use alloc::vec::Vec;

use crate::verify::{Dpo, PairLogProbs, Transform};

/// A batch of rows of logits: row t scores `targets[t]`.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, E> {
    /// R rows, `stride` apart: R · S elements, or fewer by what would lie past the last row's
    /// vocabulary. What lies past the vocabulary, and rows of the ignore
    /// target, may hold NaN: they are not to be read.
    pub logits: &'a [E],
    /// R
    pub rows: usize,
    /// V
    pub vocab: usize,
    /// S ≥ V, in elements.
    pub stride: usize,
    /// `y = softcap(scale · x)/temperature`, with parameters that f32 holds exactly.
    pub transform: Transform,
    /// R ids below V, or the ignore target.
    pub targets: &'a [u32],
    /// The target of rows that are not scored.
    pub ignore: u32,
}

impl<E> Rows<'_, E> {
    /// Whether a row is scored.
    #[must_use]
    pub fn is_scored(&self, row: usize) -> bool {
        self.targets.get(row).is_some_and(|&target| target != self.ignore)
    }

    /// The same of all rows.
    pub(super) fn targets_scored(&self) -> Vec<bool> {
        self.targets.iter().map(|&target| target != self.ignore).collect()
    }
}

/// Where the figures of rows go: R numbers each, exactly what was found, widened to f64.
///
/// What a backend does not offer it leaves alone. Nothing is to be written for rows that are not
/// scored, or zeros, as [`Backend::unscored`](super::Backend::unscored) says.
#[derive(Debug)]
pub struct RowOut<'a> {
    /// log p of the target.
    pub log_probs: &'a mut [f64],
    /// log Z
    pub log_z: &'a mut [f64],
    /// `H = −Σ p log p`, in nats.
    pub entropy: &'a mut [f64],
    /// The first column of the largest y.
    pub argmax: &'a mut [u32],
    /// `Σ y / V`
    pub mean_logit: &'a mut [f64],
    /// `log Σ p²`
    pub log_sum_sq_probs: &'a mut [f64],
}

/// Pairs of answers: the log-probs of both under policy and reference.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// β and ε.
    pub dpo: Dpo,
    /// P
    pub log_probs: &'a [PairLogProbs],
    /// P weights ≥ 0.
    pub weights: &'a [f64],
    /// P offsets, which the margin has to exceed.
    pub offsets: &'a [f64],
}

/// A head without logits: `x[t] = W h[t] + b`, then as [`Rows`].
#[derive(Clone, Copy, Debug)]
pub struct Head<'a, E> {
    /// R × H
    pub hidden: &'a [E],
    /// V × H
    pub weight: &'a [E],
    /// V, or none.
    pub bias: Option<&'a [E]>,
    /// R
    pub rows: usize,
    /// H
    pub hidden_size: usize,
    /// V
    pub vocab: usize,
    /// Of the logits.
    pub transform: Transform,
    /// R ids below V, or the ignore target. Hidden states of rows that are not scored may hold NaN.
    pub targets: &'a [u32],
    /// The target of rows that are not scored.
    pub ignore: u32,
}
