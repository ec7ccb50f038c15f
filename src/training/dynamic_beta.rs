//! β-DPO: a β that follows the batch, and which pairs the batch keeps.
//!
//! ```text
//! A_i = (log π(y_w) − log π_ref(y_w)) − (log π(y_l) − log π_ref(y_l))        gap of pair i, without β
//! M0 ← 0.9·M0 + 0.1·mean A      σ ← 0.9·σ + 0.1·std A                        every batch, before use
//! w_i ∝ exp(−½·((A_i − M0)/σ)²)                                              keep 80 %, drawn ∝ w
//! β = max(1e-3, β0·(1 + a·(M − M0)))                                         M: mean A of those kept
//! ```
//!
//! A batch: [`pair_gaps`], then [`GapAverages::update`], then [`GapAverages::keep_weights`] for the
//! host's draw without replacement, then [`DynamicBeta::beta`]. All of it is constant to the gradient.
//!
//! Wu et al. 2024, arXiv 2407.08639; the order and the constants are those of the authors' code.

use core::ops::AddAssign;

use crate::error::{Buffer, NonFinite, Parameter, check_length};
use crate::pair::check_indices;
use crate::{Error, Pair, Reference, SequenceLogProb};

/// Share of the running averages that a batch leaves in place.
const KEPT: f64 = 0.9;
/// β never falls below it.
const LEAST_BETA: f64 = 1e-3;

/// Sums over the gaps of one batch. Sums of micro-batches and machines add up with `+=`, before the
/// averages see them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct GapSums {
    /// Pairs summed.
    pub pairs: u64,
    /// Σ A
    pub sum: f64,
    /// Σ A²
    pub square_sum: f64,
}

impl GapSums {
    /// Adds one gap, whatever it is.
    pub fn add(&mut self, gap: f64) {
        *self += Self { pairs: 1, sum: gap, square_sum: gap * gap };
    }

    /// Mean gap; NaN of nothing.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn mean(&self) -> f64 {
        self.sum / self.pairs as f64
    }

    /// Standard deviation over pairs − 1, as the authors' code has it; NaN of fewer than two pairs.
    ///
    /// # Numerics
    /// The variance comes from sums, within e = 3(n + 1)·2⁻⁵³ · Σ A² / (n − 1): digits go where the mean
    /// is far larger than the deviation. A variance of no more than e counts as 0.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn deviation(&self) -> f64 {
        if self.pairs < 2 {
            return f64::NAN;
        }
        let n = self.pairs as f64;
        let spread = self.square_sum - self.sum * self.mean();
        // What rounding may leave of equal gaps is no deviation.
        let rounding = 3.0 * (n + 1.0) * (f64::EPSILON / 2.0) * self.square_sum;
        if spread <= rounding { 0.0 } else { libm::sqrt(spread / (n - 1.0)) }
    }
}

impl AddAssign for GapSums {
    fn add_assign(&mut self, other: Self) {
        self.pairs = self.pairs.saturating_add(other.pairs);
        self.sum += other.sum;
        self.square_sum += other.square_sum;
    }
}

/// The gap of every pair, and their sums.
///
/// ```text
/// A = (log π(y_w) − log π_ref(y_w)) − (log π(y_l) − log π_ref(y_l))
/// ```
///
/// `out` has one entry a pair.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::SequenceOutOfRange`],
/// [`Error::PairOfOneSequence`], [`Error::ReferenceMissing`], [`Error::TokenCountMismatch`]. After all
/// gaps are written: [`Error::NonFinitePairs`]; those gaps are NaN.
///
/// # Panics
/// Never.
pub fn pair_gaps(
    pairs: &[Pair],
    policy: &[SequenceLogProb],
    reference: Reference<'_>,
    out: &mut [f64],
) -> Result<GapSums, Error> {
    check_indices(pairs, policy.len())?;
    reference.check_use(true)?;
    reference.check(policy.iter().map(|sequence| sequence.count))?;
    check_length(Buffer::Gaps, pairs.len(), out.len())?;
    let log_ratio =
        |i: usize| policy.get(i).map_or(f64::NAN, |sequence| sequence.sum - reference.sum(i));
    let mut sums = GapSums::default();
    let mut bad = NonFinite::NONE;
    for (index, (pair, to)) in pairs.iter().zip(out).enumerate() {
        let gap = log_ratio(pair.chosen) - log_ratio(pair.rejected);
        if gap.is_finite() {
            *to = gap;
            sums.add(gap);
        } else {
            *to = f64::NAN;
            bad.see(index);
        }
    }
    bad.pairs().map(|()| sums)
}

/// Running averages of β-DPO, the state that a run keeps. Both start at 0 without correction, as the
/// authors' do: the first batches count little.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct GapAverages {
    /// M0, of the gaps' mean.
    pub mean: f64,
    /// σ, of the gaps' standard deviation.
    pub deviation: f64,
}

impl GapAverages {
    /// Moves both averages by one (whole, global) batch.
    ///
    /// A batch of one pair has no deviation: it moves M0 alone (the authors' code gets NaN for good).
    /// An empty batch moves nothing.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if the sums (0 the sum, 1 that of squares) are not finite; nothing has moved
    /// then.
    ///
    /// # Panics
    /// Never.
    pub fn update(&mut self, batch: &GapSums) -> Result<(), Error> {
        for (index, value) in [batch.sum, batch.square_sum].into_iter().enumerate() {
            if !value.is_finite() {
                return Err(Error::InvalidValue { buffer: Buffer::GapSums, index, value });
            }
        }
        let moved = |from: f64, to: f64| KEPT * from + (1.0 - KEPT) * to;
        if batch.pairs > 0 {
            self.mean = moved(self.mean, batch.mean());
        }
        if batch.pairs > 1 {
            self.deviation = moved(self.deviation, batch.deviation());
        }
        Ok(())
    }

    /// Weights to draw the kept pairs with: near the average gap likely, far from it unlikely.
    ///
    /// ```text
    /// w_i = exp(−½·(d_i² − min d²)),   d = (A − M0)/σ
    /// ```
    ///
    /// Proportional to the Gaussian density and scaled so that the largest is exactly 1: a batch far
    /// from the average underflows to no weights at all otherwise. With σ = 0, as before the policy
    /// has moved, every weight is 1.
    ///
    /// # Errors
    /// Before anything is written: [`Error::Length`], [`Error::InvalidValue`] for a gap that is not finite,
    /// or not a finite number of deviations from the average, and for averages that are not finite (0 M0, 1 σ).
    ///
    /// # Panics
    /// Never.
    pub fn keep_weights(&self, gaps: &[f64], out: &mut [f64]) -> Result<(), Error> {
        check_length(Buffer::KeepWeights, gaps.len(), out.len())?;
        if let Some((index, &value)) = gaps.iter().enumerate().find(|(_, gap)| !gap.is_finite()) {
            return Err(Error::InvalidValue { buffer: Buffer::Gaps, index, value });
        }
        for (index, value) in [self.mean, self.deviation].into_iter().enumerate() {
            if !value.is_finite() {
                return Err(Error::InvalidValue { buffer: Buffer::GapAverages, index, value });
            }
        }
        if self.deviation <= 0.0 {
            out.fill(1.0);
            return Ok(());
        }
        let distance = |&gap: &f64| ((gap - self.mean) / self.deviation).abs();
        if let Some((index, &value)) =
            gaps.iter().enumerate().find(|(_, gap)| !distance(gap).is_finite())
        {
            return Err(Error::InvalidValue { buffer: Buffer::Gaps, index, value });
        }
        let least = gaps.iter().map(distance).fold(f64::INFINITY, f64::min);
        for (gap, to) in gaps.iter().zip(out) {
            let d = distance(gap);
            // The product of sum and difference keeps what the difference of squares would lose.
            *to = libm::exp(-0.5 * (d - least) * (d + least));
        }
        Ok(())
    }
}

/// β of a batch of β-DPO, from β0 and the gain a: that of the batch's [`Dpo`](crate::Dpo), or one for
/// each pair ([`PerPair`](crate::loss::PerPair)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DynamicBeta {
    base: f64,
    gain: f64,
}

impl DynamicBeta {
    /// `base` is β0, 0.1 usually. `gain` is a, per nat: 0 is plain DPO, and what the authors' configuration
    /// has; the larger, the further β follows the batch.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β0 is finite and > 0 and a is finite and ≥ 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(base: f64, gain: f64) -> Result<Self, Error> {
        let base = Parameter::Beta.positive(base)?;
        let gain = Parameter::BetaGain.not_negative(gain)?;
        Ok(Self { base, gain })
    }

    /// `max(1e-3, β0·(1 + a·(M − M0)))`. M is the mean gap of the pairs that were kept; a single
    /// pair's gap gives the per-pair form.
    ///
    /// NaN where M is NaN. A base below 1e-3 is raised to it too.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::training::{DynamicBeta, GapAverages};
    /// let averages = GapAverages { mean: 2.0, deviation: 1.0 };
    /// let beta = DynamicBeta::new(0.1, 0.5)?;
    /// assert_eq!(beta.beta(&averages, 2.0), 0.1);
    /// assert_eq!(beta.beta(&averages, 4.0), 0.2);
    /// assert_eq!(beta.beta(&averages, -9.0), 1e-3);
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    #[must_use]
    pub fn beta(&self, averages: &GapAverages, mean_gap: f64) -> f64 {
        let beta = self.base * (1.0 + self.gain * (mean_gap - averages.mean));
        // `max` would turn NaN into the least β.
        if beta < LEAST_BETA { LEAST_BETA } else { beta }
    }
}
