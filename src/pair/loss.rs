//! The result of a loss for one pair.

use super::PairLogProbs;

/// What a loss says of one pair. Nothing is divided by a batch size here. Of a pair that is left
/// out (weight 0) every figure is 0.
///
/// Rewards and margin are for watching: they are those of the raw log-ratios, whatever divergence,
/// length normalisation or offset the loss itself applies to them, as in TRL. Losses without a
/// reference have none to compare with and report β times the log-prob (or mean log-prob) that they
/// read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct PairLoss {
    /// weight · L
    pub loss: f64,
    /// Implicit reward `β·(log π − log π_ref)` of the chosen answer.
    pub reward_chosen: f64,
    /// Implicit reward of the rejected answer.
    pub reward_rejected: f64,
    /// β·(a − b): the difference of the rewards, formed from the log-ratios. Neither a target
    /// margin γ nor an offset is subtracted.
    pub margin: f64,
    /// weight · `∂L/∂log π(y_w)`, not divided.
    pub d_chosen: f64,
    /// weight · `∂L/∂log π(y_l)`, not divided.
    pub d_rejected: f64,
}

impl PairLoss {
    pub(crate) const NAN: Self = Self {
        loss: f64::NAN,
        reward_chosen: f64::NAN,
        reward_rejected: f64::NAN,
        margin: f64::NAN,
        d_chosen: f64::NAN,
        d_rejected: f64::NAN,
    };

    /// Of a pair of weight 1, with the rewards β·a and β·b.
    pub(crate) fn of_log_ratios(beta: f64, (a, b): (f64, f64), loss: f64, d: (f64, f64)) -> Self {
        Self {
            loss,
            reward_chosen: beta * a,
            reward_rejected: beta * b,
            margin: beta * (a - b),
            d_chosen: d.0,
            d_rejected: d.1,
        }
    }

    /// Times the pair's weight: all 0 if the weight is; all NaN if a figure, or the pair's offset,
    /// is no number.
    #[inline]
    pub(crate) fn of(mut self, pair: &PairLogProbs) -> Self {
        if pair.is_left_out() {
            return Self::default();
        }
        let weight = if pair.offset.is_finite() { pair.weight } else { f64::NAN };
        self.weigh(weight);
        self
    }

    /// Times a weight; all NaN if a figure is no number.
    #[inline]
    pub(crate) fn weighted(mut self, weight: f64) -> Self {
        self.weigh(weight);
        self
    }

    /// Not inlined: it is the same in every loss.
    #[inline(never)]
    fn weigh(&mut self, weight: f64) {
        for figure in [&mut self.loss, &mut self.d_chosen, &mut self.d_rejected] {
            *figure *= weight;
        }
        if !self.is_finite() {
            *self = Self::NAN;
        }
    }

    /// Not inlined where code is scarce: both its callers are in every program with a loss.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn is_finite(&self) -> bool {
        let Self { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = *self;
        [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected]
            .into_iter()
            .all(f64::is_finite)
    }
}
