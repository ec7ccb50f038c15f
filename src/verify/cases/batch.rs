//! A whole batch: what a step is given.

use alloc::vec::Vec;

use super::{LayoutCase, Twist, stored, widened};
use crate::Element;
use crate::verify::{Batch, Dpo, Transform};

/// A well-formed batch with f32 logits, which other storage types hold [`stored`].
#[derive(Clone, Debug)]
pub struct BatchCase {
    /// Rows of logits, `stride` apart; NaN where nobody may look.
    pub logits: Vec<f32>,
    /// Elements from one row to the next, ≥ the vocabulary.
    pub stride: usize,
    /// Parameters that f32 holds exactly.
    pub transform: Transform,
    /// Vocabulary, targets and spans; well-formed.
    pub layout: LayoutCase,
    /// Weight of each row's log-prob, finite, or 1.
    pub token_weights: Option<Vec<f32>>,
    /// (chosen, rejected) sequences of each pair, which differ.
    pub pairs: Vec<(usize, usize)>,
    /// Reference log-prob of each sequence.
    pub reference: Vec<f64>,
    /// Weight of each pair, finite and ≥ 0, or 1.
    pub weights: Option<Vec<f32>>,
    /// Margin offset of each pair, finite, or 0.
    pub offsets: Option<Vec<f32>>,
    /// The parameters of the loss.
    pub dpo: Dpo,
    /// What the gradients are divided by.
    pub divisor: f64,
}

impl BatchCase {
    /// R.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.layout.targets.len()
    }

    /// V.
    #[must_use]
    pub const fn vocab(&self) -> usize {
        self.layout.vocab
    }

    /// Looks at the batch with the eyes of the reference: what E holds of the logits, exactly.
    pub fn with_exact<E: Element, T>(&self, look: impl FnOnce(&Batch<'_>) -> T) -> T {
        let logits = widened(&stored::<E>(&self.logits));
        let wide = |x: &Option<Vec<f32>>| x.as_ref().map(|x| widened(x));
        let (token_weights, weights) = (wide(&self.token_weights), wide(&self.weights));
        let offsets = wide(&self.offsets);
        look(&Batch {
            logits: &logits,
            vocab: self.layout.vocab,
            stride: self.stride,
            transform: self.transform,
            targets: &self.layout.targets,
            ignore: self.layout.ignore,
            token_weights: token_weights.as_deref(),
            spans: &self.layout.spans,
            pairs: &self.pairs,
            reference: &self.reference,
            pair_weights: weights.as_deref(),
            pair_offsets: offsets.as_deref(),
            dpo: self.dpo,
            divisor: self.divisor,
        })
    }

    /// Twists the logits of a row that is scored.
    pub(super) fn twist(&mut self, row: usize, twists: &[Twist]) {
        let target = self.layout.targets.get(row).and_then(|&t| usize::try_from(t).ok());
        let rows = self.logits.get_mut(row.saturating_mul(self.stride)..);
        let logits = rows.and_then(|rows| rows.get_mut(..self.layout.vocab));
        if let (Some(target), Some(logits)) = (target, logits) {
            Twist::apply_all(twists, logits, target);
        }
    }

    /// Puts NaN where nobody may look: columns past the vocabulary, rows that are not scored.
    pub(super) fn poison(&mut self) {
        let (vocab, stride) = (self.layout.vocab, self.stride);
        for (row, logits) in self.logits.chunks_mut(stride.max(1)).enumerate() {
            let kept = if self.layout.is_scored(row) { vocab } else { 0 };
            logits.iter_mut().skip(kept).for_each(|x| *x = f32::NAN);
        }
    }
}
