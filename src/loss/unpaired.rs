//! Losses of single answers: good or bad ones, with or without a partner.

use super::Tangent;
use crate::pair::{PairLogProbs, PairLoss};

/// A loss of one answer's log-ratio, for a good and for a bad answer.
///
/// ```text
/// a = log π(y_w) − log π_ref(y_w)      b = log π(y_l) − log π_ref(y_l)
/// L = ℓ₁(a) of a desirable answer,     ℓ₂(b) of an undesirable one
/// ```
///
/// [`unpaired_loss`](crate::unpaired::unpaired_loss) takes any. [`Nca`](super::Nca),
/// [`Bco`](super::Bco), [`SppoHard`](super::SppoHard), [`ApoZero`](super::ApoZero) and
/// [`Kto`](super::Kto) are losses of pairs too: L = ℓ₁(a) + ℓ₂(b), without an offset, because the
/// two answers do not meet. [`AStarPo`](super::AStarPo) is of single answers alone. F-divergences
/// are not defined for any of them.
pub trait UnpairedLoss {
    /// β, which turns log-ratios into rewards.
    #[must_use]
    fn beta(&self) -> f64;

    /// ℓ₁ and ℓ₁′ of a chosen or desirable answer.
    #[must_use]
    fn chosen(&self, log_ratio: f64) -> Tangent;

    /// ℓ₂ and ℓ₂′ of a rejected or undesirable answer.
    #[must_use]
    fn rejected(&self, log_ratio: f64) -> Tangent;

    /// Whether (desirable, undesirable) answers have weight 0 under this loss: in a batch they are
    /// then as if they were not there. A pair has both answers.
    #[must_use]
    fn leaves_out(&self) -> (bool, bool) {
        (false, false)
    }
}

/// ℓ₁(a) + ℓ₂(b).
pub(super) fn evaluate_pair(loss: &impl UnpairedLoss, pair: &PairLogProbs) -> PairLoss {
    if pair.has_offset() {
        return PairLoss::NAN;
    }
    let (a, b) = pair.log_ratios();
    let (chosen, rejected) = (loss.chosen(a), loss.rejected(b));
    let (value, d) = (chosen.value + rejected.value, (chosen.slope, rejected.slope));
    PairLoss::of_log_ratios(loss.beta(), (a, b), value, d).of(pair)
}

/// Makes losses of single answers losses of pairs.
macro_rules! loss_of_both_answers {
    ($type:ident) => {
        impl $crate::loss::PreferenceLoss for $type {
            fn inputs(&self) -> $crate::loss::Inputs {
                $crate::loss::Inputs { reference: true, tokens: false, offsets: false }
            }

            fn evaluate(&self, pair: &$crate::loss::PairLogProbs) -> $crate::PairLoss {
                $crate::loss::unpaired::evaluate_pair(self, pair)
            }
        }
    };
}
pub(super) use loss_of_both_answers;
