//! Alignment via optimal transport: the loss of a whole batch, between sorted log-ratio
//! differences.
//!
//! ```text
//! paired     δ_k = k-th smallest of (log π(y_w) − log π(y_l)) − k-th smallest of the reference's
//! unpaired   δ_k = k-th smallest of a − k-th smallest of b
//! L = Σ_k softplus(−β·δ_k) + ε·β·δ_k
//! ```
//!
//! The gradient of rank k goes to the pair that stands there: sorting itself has none.

use super::dpo::Dpo;
use super::{BatchLoss, Inputs, LossName, Tangent};
use crate::Error;
use crate::error::{Buffer, check_length, check_values};
use crate::order::sort_by_key;
use crate::pair::{Pair, PairBatch, PairLogProbs, PairLoss};

/// AOT (Melnyk et al. 2024, arXiv 2406.05882): first-order stochastic dominance of the chosen
/// answers over the rejected ones, as distributions and not pair by pair.
///
/// ```text
/// paired     δ_k = k-th smallest of (log π(y_w) − log π(y_l)) − k-th smallest of the reference's
/// unpaired   δ_k = k-th smallest of a − k-th smallest of b
/// L = Σ_k softplus(−β·δ_k) + ε·β·δ_k
/// ```
///
/// with `a = log π(y_w) − log π_ref(y_w)`, `b = log π(y_l) − log π_ref(y_l)` and label smoothing ε.
/// So `δ_k` is a difference of sorted values, in nats and without β. The gradient of rank k goes to
/// the answers that stand there.
///
/// β = 0.01 in the paper. TRL: `aot` (paired) and `aot_unpaired`, which TRL to 0.28 called
/// `aot_pair`. A single pair is its own batch and gives [`Dpo`], conservative if smoothed; what is
/// sorted together is what is in one call, so the micro-batch is part of the loss.
///
/// The loss of a pair is that of its chosen answer's rank; its rewards are its own.
#[doc(alias = "aot")]
#[doc(alias = "aot_pair")]
#[doc(alias = "aot_unpaired")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aot {
    loss: Dpo,
    sorting: Sorting,
}

/// What is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sorting {
    /// The log-ratio differences of policy and reference.
    Paired,
    /// The log-ratios of chosen and rejected answers.
    Unpaired,
}

impl Aot {
    /// Between the differences `log π(y_w) − log π(y_l)` of the policy and those of the reference.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn paired(beta: f64) -> Result<Self, Error> {
        Ok(Self { loss: Dpo::new(beta)?, sorting: Sorting::Paired })
    }

    /// Between the log-ratios of the chosen answers and those of the rejected ones.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn unpaired(beta: f64) -> Result<Self, Error> {
        Ok(Self { loss: Dpo::new(beta)?, sorting: Sorting::Unpaired })
    }

    /// The same with label smoothing ε.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless 0 ≤ ε ≤ ½.
    ///
    /// # Panics
    /// Never.
    pub fn with_label_smoothing(self, label_smoothing: f64) -> Result<Self, Error> {
        Ok(Self { loss: self.loss.with_label_smoothing(label_smoothing)?, ..self })
    }

    /// The name of the loss.
    #[must_use]
    pub const fn name(&self) -> LossName {
        match self.sorting {
            Sorting::Paired => LossName::Aot,
            Sorting::Unpaired => LossName::AotUnpaired,
        }
    }

    /// The loss with memory to sort in, 2 P indices, whose contents do not matter: what
    /// [`preference_loss`](crate::preference_loss) and [`preference_step`](crate::preference_step)
    /// take.
    ///
    /// Equal values keep the pairs' order, so the result is one whatever the machine. A pair that
    /// is not finite has no rank, and all pairs of the batch are NaN. A pair of weight 0 is left
    /// out: it is not sorted. Other weights than 0 and 1 are refused ([`Error::InvalidValue`]),
    /// because the two answers that a rank compares belong to different pairs; so are offsets.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::{loss::*, *};
    /// let policy = [-20.5, -25.25, -31.0, -30.0].map(|sum| SequenceLogProb { sum, count: 8 });
    /// let reference = Reference::Sums(&[-21.0, -24.5, -30.0, -31.5]);
    /// let pairs = [Pair::new(0, 1), Pair::new(2, 3)];
    /// let batch = PairBatch::new(&pairs, &policy, reference, 2.0);
    /// let (mut losses, mut d_log_probs) = ([PairLoss::default(); 2], [0.0; 4]);
    /// let out = PairOut::new(&mut losses, &mut d_log_probs);
    /// let mut order = [0; 4];
    /// preference_loss(Aot::paired(0.1)?.over(&mut order), &batch, out)?;
    /// // Differences of the policy are 4.75 and −1, of the reference 3.5 and 1.5.
    /// let as_dpo = Dpo::new(0.1)?.evaluate(&PairLogProbs::new(4.75, 0.0, 3.5, 0.0));
    /// assert_eq!(losses[0].loss, as_dpo.loss);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub const fn over(self, order: &mut [usize]) -> AotOver<'_> {
        AotOver { aot: self, order }
    }

    /// What is sorted of a pair: the two keys.
    fn keys(&self, pair: &PairLogProbs) -> (f64, f64) {
        match self.sorting {
            Sorting::Paired => (
                pair.policy_chosen - pair.policy_rejected,
                pair.reference_chosen - pair.reference_rejected,
            ),
            Sorting::Unpaired => pair.log_ratios(),
        }
    }
}

/// [`Aot`] with memory to sort in; see [`Aot::over`].
#[derive(Debug)]
pub struct AotOver<'a> {
    aot: Aot,
    order: &'a mut [usize],
}

impl BatchLoss for AotOver<'_> {
    fn inputs(&self, _: Option<&[f32]>) -> Inputs {
        Inputs { reference: true, tokens: false, offsets: false }
    }

    fn check(&self, pairs: &[Pair], weights: Option<&[f32]>) -> Result<(), Error> {
        let is_one = |weight| [0.0, 1.0].contains(&weight);
        check_values(Buffer::PairWeights, weights, pairs.len(), None, is_one)?;
        check_length(Buffer::PairOrder, pairs.len().saturating_mul(2), self.order.len())
    }

    fn evaluate_all(self, batch: &PairBatch<'_>, losses: &mut [PairLoss]) {
        let Self { aot, order } = self;
        let (left, right) = order.split_at_mut_checked(losses.len()).unwrap_or_default();
        let beta = aot.loss.beta();
        let mut is_finite = true;
        let mut count = 0;
        for (i, (to, pair)) in losses.iter_mut().zip(batch.log_probs()).enumerate() {
            if pair.is_left_out() {
                continue;
            }
            let keys = aot.keys(&pair);
            is_finite &= keys.0.is_finite() && keys.1.is_finite();
            *to = PairLoss::of_log_ratios(beta, pair.log_ratios(), 0.0, (0.0, 0.0));
            if let (Some(left), Some(right)) = (left.get_mut(count), right.get_mut(count)) {
                (*left, *right) = (i, i);
                count += 1;
            }
        }
        let left = left.get_mut(..count).unwrap_or_default();
        let right = right.get_mut(..count).unwrap_or_default();
        if !is_finite {
            losses.fill(PairLoss::NAN);
            return;
        }
        sort_by_key(left, |i| aot.keys(&batch.pair(i)).0);
        sort_by_key(right, |i| aot.keys(&batch.pair(i)).1);
        for (&i, &j) in left.iter().zip(&*right) {
            let delta = aot.keys(&batch.pair(i)).0 - aot.keys(&batch.pair(j)).1;
            let Tangent { value, slope } = aot.loss.at(beta * delta);
            if let Some(to) = losses.get_mut(i) {
                to.loss = value;
                to.d_chosen = beta * slope;
            }
            let rejected = if aot.sorting == Sorting::Paired { i } else { j };
            if let Some(to) = losses.get_mut(rejected) {
                to.d_rejected = -(beta * slope);
            }
        }
    }
}
