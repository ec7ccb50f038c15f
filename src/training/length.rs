//! The length exploit, seen early: do margins grow with the lead in length?

use core::ops::AddAssign;

use crate::error::{Buffer, check_length};
use crate::pair::check_indices;
use crate::{Error, Pair, PairLoss, SequenceLogProb};

/// Sums over pairs of the lead in length d = n(`y_w`) − n(`y_l`), in scored tokens, and of the reward
/// margin; they add up over micro-batches and machines with `+=`.
///
/// Sums of log-probs grow with length, and chosen answers tend to be longer: a policy that has learned
/// "longer is better" shows a correlation that climbs while the loss falls. A strongly negative one says
/// the opposite: losses of means ([`SigmoidNorm`](crate::loss::SigmoidNorm), [`Ipo`](crate::loss::Ipo),
/// [`SimPo`](crate::loss::SimPo)) reward brevity where short answers are the surer ones. What helps against
/// either: a length penalty ([`length_offset`](crate::training::length_offset)), and LD-DPO
/// ([`ld_token_weights`](crate::training::ld_token_weights)).
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
    /// Adds the pairs of a batch: `sequences` and `losses` as the stages left them.
    ///
    /// Pairs whose margin is not finite are left out, as they are out of the
    /// [`Summary`](crate::Summary); [`preference_loss`](crate::preference_loss) has named them.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::SequenceOutOfRange`], [`Error::PairOfOneSequence`]; nothing has
    /// been added then.
    ///
    /// # Panics
    /// Never.
    pub fn add_batch(
        &mut self,
        pairs: &[Pair],
        sequences: &[SequenceLogProb],
        losses: &[PairLoss],
    ) -> Result<(), Error> {
        check_indices(pairs, sequences.len())?;
        check_length(Buffer::PairLosses, pairs.len(), losses.len())?;
        let length = |sequence: usize| sequences.get(sequence).map_or(0, |s| s.count);
        for (pair, loss) in pairs.iter().zip(losses) {
            if loss.margin.is_finite() {
                self.add(length(pair.chosen), length(pair.rejected), loss.margin);
            }
        }
        Ok(())
    }

    /// Adds one pair, whatever its margin is.
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

    /// Mean lead in length of the chosen answers, in tokens; NaN of nothing. A property of the data,
    /// not of the policy: the share of the exploit that the data invite.
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
    /// Within 3(n + 4)·2⁻⁵³ times the mean square over the variance, of leads and of margins added up.
    /// NaN where it is undefined: of fewer than two pairs, and where leads or margins spread by no
    /// more than the rounding of their sums, as all margins do at step 0.
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
