//! The length exploit, seen early: do margins grow with the chosen answer's lead in length?

use core::ops::AddAssign;

use crate::error::{Buffer, check_length};
use crate::pair::{check_pair, check_weights, is_left_out, with_weight};
use crate::{Error, Pair, PairLoss, SequenceLogProb};

/// Sums over pairs for the correlation of reward margin and lead in length.
///
/// ```text
/// d = n(y_w) − n(y_l)          lead in length of the chosen answer, in scored tokens
/// m = β·(a − b)                reward margin, as `PairLoss::margin` has it
/// r = (n·Σdm − Σd·Σm) / √((n·Σd² − (Σd)²)·(n·Σm² − (Σm)²))          n pairs
/// ```
///
/// Sums of log-probs grow with length, and chosen answers tend to be longer. If a policy learns
/// that longer is better, the [`correlation`](Self::correlation) climbs while the loss falls. A
/// strongly negative one says the opposite: losses of means
/// ([`SigmoidNorm`](crate::loss::SigmoidNorm), [`Ipo`](crate::loss::Ipo),
/// [`SimPo`](crate::loss::SimPo)) reward brevity where the model is surer of short answers. What
/// helps: a length penalty ([`length_offset`](crate::training::length_offset)) and LD-DPO
/// ([`ld_token_weights`](crate::training::ld_token_weights)).
///
/// Sums of micro-batches and machines add up with `+=`.
///
/// # Example
/// ```
/// use dpo_kernel::training::LengthSums;
/// let mut sums = LengthSums::default();
/// sums.add(12, 10, 1.0); // two tokens longer, margin 1
/// sums.add(10, 10, 0.0);
/// sums.add(9, 10, -0.5);
/// assert_eq!(sums.mean_lead(), 1.0 / 3.0);
/// assert!((sums.correlation() - 1.0).abs() < 1e-12, "the margins are half the leads");
/// ```
///
/// Park et al. 2024, arXiv 2403.19159 (length against quality in DPO).
#[doc(alias = "length exploitation")]
#[doc(alias = "length bias")]
#[doc(alias = "verbosity")]
#[doc(alias = "Pearson")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct LengthSums {
    /// Pairs summed.
    pub pairs: u64,
    /// Σ d
    pub lead_sum: f64,
    /// Σ d²
    pub lead_square_sum: f64,
    /// Σ margin
    pub margin_sum: f64,
    /// Σ margin²
    pub margin_square_sum: f64,
    /// Σ d · margin
    pub product_sum: f64,
}

impl LengthSums {
    /// Adds the pairs of a batch. `pairs`, P; `weights`, P, those of the batch, if it has some:
    /// pairs of weight 0 are left out, the others count alike; `sequences`, N, as
    /// [`sequence_log_probs`](crate::sequence_log_probs) wrote them; `losses`, P, as
    /// [`preference_loss`](crate::preference_loss) wrote them.
    ///
    /// Pairs whose margin is not finite are left out, as [`Summary`](crate::Summary) leaves them
    /// out; `preference_loss` has named them.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::InvalidValue`] for weights, [`Error::SequenceOutOfRange`],
    /// [`Error::PairOfOneSequence`]; nothing has been added then.
    ///
    /// # Panics
    /// Never.
    pub fn add_batch(
        &mut self,
        pairs: &[Pair],
        weights: Option<&[f32]>,
        sequences: &[SequenceLogProb],
        losses: &[PairLoss],
    ) -> Result<(), Error> {
        check_weights(Buffer::PairWeights, weights, pairs.len())?;
        for (i, pair) in with_weight(pairs, weights) {
            check_pair(i, pair, sequences.len())?;
        }
        check_length(Buffer::PairLosses, pairs.len(), losses.len())?;
        let length = |sequence: usize| sequences.get(sequence).map_or(0, |s| s.count);
        for (i, (pair, loss)) in pairs.iter().zip(losses).enumerate() {
            if !is_left_out(weights, i) && loss.margin.is_finite() {
                self.add(length(pair.chosen), length(pair.rejected), loss.margin);
            }
        }
        Ok(())
    }

    /// Adds one pair: the tokens of both answers, and the margin, in rewards. A margin that is not
    /// finite spoils the sums: leave it out.
    ///
    /// # Panics
    /// Never.
    #[allow(clippy::cast_precision_loss, reason = "lengths are far below 2^53")]
    pub fn add(&mut self, chosen: usize, rejected: usize, margin: f64) {
        let lead = chosen as f64 - rejected as f64;
        *self += Self {
            pairs: 1,
            lead_sum: lead,
            lead_square_sum: lead * lead,
            margin_sum: margin,
            margin_square_sum: margin * margin,
            product_sum: lead * margin,
        };
    }

    /// Mean lead in length of the chosen answers, `Σ d / n`, in tokens; NaN without pairs. It is a
    /// property of the data, not of the policy: how much the data invite the exploit.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn mean_lead(&self) -> f64 {
        self.lead_sum / self.pairs as f64
    }

    /// Pearson's correlation of lead in length and margin, in [−1, 1].
    ///
    /// ```text
    /// r = (n·Σdm − Σd·Σm) / √((n·Σd² − (Σd)²)·(n·Σm² − (Σm)²))
    /// ```
    ///
    /// # Numerics
    /// The error is within 3(n + 4)·2⁻⁵³ times the sum, over leads and margins, of mean square over
    /// variance. NaN where the correlation is undefined: of fewer than two pairs, and where leads
    /// or margins differ by no more than the rounding of their sums, as all margins do at step 0.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn correlation(&self) -> f64 {
        let n = self.pairs as f64;
        // Of n sums and their products: what rounding may leave of equal numbers.
        let rounding = 3.0 * (n + 4.0) * (f64::EPSILON / 2.0);
        let spread = |sum: f64, square_sum: f64| {
            let spread = n * square_sum - sum * sum;
            if spread > rounding * n * square_sum { spread } else { f64::NAN }
        };
        let leads = spread(self.lead_sum, self.lead_square_sum);
        let margins = spread(self.margin_sum, self.margin_square_sum);
        let joint = n * self.product_sum - self.lead_sum * self.margin_sum;
        (joint / (libm::sqrt(leads) * libm::sqrt(margins))).clamp(-1.0, 1.0)
    }
}

impl AddAssign for LengthSums {
    fn add_assign(&mut self, other: Self) {
        self.pairs = self.pairs.saturating_add(other.pairs);
        self.lead_sum += other.lead_sum;
        self.lead_square_sum += other.lead_square_sum;
        self.margin_sum += other.margin_sum;
        self.margin_square_sum += other.margin_square_sum;
        self.product_sum += other.product_sum;
    }
}
