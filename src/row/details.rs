//! From the sums that a fold collected on request to entropy, mean logit, log Σp² and argmax.

use super::base::Base;
use super::extra::{Details, Extra};
use super::finish::Normalizer;
use super::stats::RowStats;

/// Statistics of one row's distribution p = softmax(y), from the sweep that finds its log Z.
///
/// All NaN, argmax 0, for a row without a finite log Z.
///
/// # Numerics
/// Beyond the rounding to f32, entropy is found within 1.87e-7 (V = 513, σ = 1, shift −20, bf16,
/// portable; fused 6.3e-8) and log Σp² within 1.84e-7 (V = 511, σ = 8) on random rows, 2.52e-7 and
/// 1.94e-7 of `PyTorch`'s f64; the mean within 0.23·2⁻²⁴ of the mean |y|.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct RowDetails {
    /// −Σ p ln p, in nats, ≥ 0.
    pub entropy: f32,
    /// Mean of the V logits (after the transform); −inf where one is masked.
    pub mean_logit: f32,
    /// ln Σ p², ≤ 0: the weight of WPO (arXiv 2406.11827).
    pub log_sum_sq_probs: f32,
    /// Column of the largest logit, the first of equals.
    pub argmax: u32,
}

impl RowDetails {
    /// Of a row without a finite log Z.
    const NAN: Self =
        Self { entropy: f32::NAN, mean_logit: f32::NAN, log_sum_sq_probs: f32::NAN, argmax: 0 };
}

impl RowStats<Details> {
    /// Entropy, mean logit, log Σp² and argmax over the columns folded so far.
    ///
    /// ```text
    /// H = log Z − Σ p·y      mean = Σ y / V      log Σp² = ln Σ e^(2y) − 2 log Z
    /// ```
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn details(&self) -> RowDetails {
        self.collected_details().unwrap_or(RowDetails::NAN)
    }
}

impl<D: Extra> RowStats<D> {
    /// Writes the details of a complete row, if they were collected.
    pub(crate) fn write_details(&self, to: &mut RowDetails) {
        if let Some(details) = self.collected_details() {
            *to = details;
        }
    }

    /// The details, if they were collected.
    #[allow(clippy::cast_possible_truncation, reason = "statistics are stored in f32")]
    fn collected_details(&self) -> Option<RowDetails> {
        if !D::ON {
            return None;
        }
        let mut settled = self.settled();
        let factor = self.transform.factor();
        let mut sums = D::collected(&self.extra, settled.base, &self.others, factor)?;
        if let (Some(base), Some(v)) = (settled.base, self.target_value)
            && settled.target_distance(base) > 300.0
        {
            // Σ term² would overflow.
            let others = settled.others;
            let (part, power, ln) = settled.rebase(Base::at(v, factor));
            let scale = |x: f64| libm::scalbn(x * part, power);
            sums.weighted = scale(sums.weighted + ln * others);
            sums.squares = scale(scale(sums.squares));
        }
        let Some(Normalizer { sum, term, distance, .. }) = settled.normalizer() else {
            return Some(RowDetails::NAN);
        };
        if term > 0.0 {
            sums.weighted += term * distance;
            sums.squares += term * term;
        }
        if let (Some(v), Some(column)) = (self.target_value, self.target) {
            sums.see(v, column);
        }
        let log_sum = libm::log(sum);
        #[allow(clippy::cast_precision_loss, reason = "columns are far below 2^53")]
        let mean = factor * sums.values / self.columns as f64;
        Some(RowDetails {
            entropy: (log_sum - sums.weighted / sum).max(0.0) as f32,
            mean_logit: mean as f32,
            log_sum_sq_probs: (libm::log(sums.squares) - 2.0 * log_sum).min(0.0) as f32,
            argmax: sums.argmax,
        })
    }
}
