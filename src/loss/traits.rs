//! What a loss is: of one pair, of a batch of pairs, and another one for each pair.

use crate::Error;
use crate::error::{Buffer, check_length};
use crate::pair::{Pair, PairBatch, PairLogProbs, PairLoss, with_weight};

/// A loss of one pair of answers.
pub trait PreferenceLoss {
    /// What the loss reads beside the policy's log-probs. A batch that lacks it, or that gives
    /// more, is refused.
    #[must_use]
    fn inputs(&self) -> Inputs;

    /// Loss, rewards, margin and gradients of one pair, in f64.
    ///
    /// Never panics. Where a result is not a finite number every field is NaN: a loss does not turn
    /// a broken input into a plausible number. The same goes for an input that is missing, and for
    /// an offset ≠ 0 that the loss would not read. A pair of weight 0 is left out: every field
    /// is 0.
    #[must_use]
    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss;
}

/// What a loss reads beside the log-probs of the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Inputs {
    /// Log-probs under a reference. A loss without is reference-free by its formula.
    pub reference: bool,
    /// Token counts, of a pair that is evaluated by itself; those of a batch are always there. The
    /// loss is one of mean log-probs.
    pub tokens: bool,
    /// Offsets: the loss is one of a difference of rewards, from which they can be subtracted.
    pub offsets: bool,
}

impl Inputs {
    /// Nothing: the log-probs of the policy are all it reads.
    pub const POLICY: Self = Self { reference: false, tokens: false, offsets: false };

    /// And log-probs under a reference.
    #[must_use]
    pub const fn with_reference(mut self) -> Self {
        self.reference = true;
        self
    }

    /// And token counts.
    #[must_use]
    pub const fn with_tokens(mut self) -> Self {
        self.tokens = true;
        self
    }

    /// And offsets.
    #[must_use]
    pub const fn with_offsets(mut self) -> Self {
        self.offsets = true;
        self
    }

    /// What both together read: an offset only if both do, everything else if one does.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            reference: self.reference || other.reference,
            tokens: self.tokens || other.tokens,
            offsets: self.offsets && other.offsets,
        }
    }
}

/// A loss of a batch of pairs: one for all pairs, one for each, or one of the batch as a whole.
///
/// Every `&impl PreferenceLoss` is one. [`evaluate_all`](Self::evaluate_all) takes it by value,
/// because a loss of the whole batch holds a `&mut` borrow of its scratch memory: make such a loss
/// anew for each batch.
pub trait BatchLoss {
    /// What it reads of the pairs that are there, all together: a pair of weight 0 asks for
    /// nothing.
    #[must_use]
    fn inputs(&self, weights: Option<&[f32]>) -> Inputs;

    /// Whether it fits these pairs and their weights; checked before anything is written.
    ///
    /// # Errors
    /// Those of the loss.
    fn check(&self, pairs: &[Pair], weights: Option<&[f32]>) -> Result<(), Error>;

    /// Writes the loss of every pair, NaN where it is not finite. Inputs have been checked, except
    /// those of pairs of weight 0 ([`PairLogProbs::is_left_out`]): they must change nothing, and
    /// what is written for them is replaced by zeros.
    fn evaluate_all(self, batch: &PairBatch<'_>, losses: &mut [PairLoss]);
}

impl<L: PreferenceLoss + ?Sized> BatchLoss for &L {
    fn inputs(&self, _: Option<&[f32]>) -> Inputs {
        (**self).inputs()
    }

    fn check(&self, _: &[Pair], _: Option<&[f32]>) -> Result<(), Error> {
        Ok(())
    }

    fn evaluate_all(self, batch: &PairBatch<'_>, losses: &mut [PairLoss]) {
        for (i, to) in losses.iter_mut().enumerate().take(batch.pairs.len()) {
            let pair = batch.pair(i);
            if !pair.is_left_out() {
                *to = self.evaluate(&pair);
            }
        }
    }
}

/// Another loss for each pair, in the pairs' order: per-pair β (β-DPO), per-pair reward gaps (RPO).
///
/// β-DPO (Wu et al. 2024, arXiv 2407.08639) sets `β_i = max(1e-3, β0·(1 + α·(M_i − M0)))` from
/// running statistics of the log-ratio differences and does not differentiate through it; the host
/// makes one loss of each `β_i`, whose domain is checked there.
///
/// # Example
/// ```
/// use dpo_kernel::{loss::*, *};
/// let losses = [Dpo::new(0.1)?, Dpo::new(0.2)?];
/// let policy = [-20.5, -25.25, -7.0, -6.0].map(|sum| SequenceLogProb { sum, count: 8 });
/// let reference = Reference::Sums(&[-21.0, -24.5, -7.0, -6.0]);
/// let pairs = [Pair::new(0, 1), Pair::new(2, 3)];
/// let batch = PairBatch::new(&pairs, &policy, reference, 2.0);
/// let (mut out, mut d_log_probs) = ([PairLoss::default(); 2], [0.0; 4]);
/// let to = PairOut::new(&mut out, &mut d_log_probs);
/// preference_loss(PerPair::new(&losses), &batch, to)?;
/// assert_eq!((out[1].d_chosen, out[1].d_rejected), (-0.1, 0.1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PerPair<'a, L> {
    losses: &'a [L],
}

impl<'a, L: PreferenceLoss> PerPair<'a, L> {
    /// One loss a pair, P of them.
    #[must_use]
    pub const fn new(losses: &'a [L]) -> Self {
        Self { losses }
    }
}

impl<L: PreferenceLoss> BatchLoss for PerPair<'_, L> {
    fn inputs(&self, weights: Option<&[f32]>) -> Inputs {
        let there = with_weight(self.losses, weights).map(|(_, loss)| loss.inputs());
        // Where no pair has a weight, the losses still say what kind of batch this is.
        let all = || self.losses.iter().map(PreferenceLoss::inputs).reduce(Inputs::and);
        let inputs = there.reduce(Inputs::and).or_else(all);
        inputs.unwrap_or(Inputs { reference: true, tokens: true, offsets: true })
    }

    fn check(&self, pairs: &[Pair], _: Option<&[f32]>) -> Result<(), Error> {
        check_length(Buffer::PairLossKinds, pairs.len(), self.losses.len())
    }

    fn evaluate_all(self, batch: &PairBatch<'_>, losses: &mut [PairLoss]) {
        for ((to, pair), loss) in losses.iter_mut().zip(batch.log_probs()).zip(self.losses) {
            if !pair.is_left_out() {
                *to = loss.evaluate(&pair);
            }
        }
    }
}
