//! β-DPO: a β that follows the batch, and which pairs the batch keeps. [`DynamicBeta`] has the
//! formulas and the order of the calls.

use core::ops::AddAssign;

use crate::error::{Buffer, NonFinite, Parameter, check_length};
use crate::pair::{check_pair, check_weights, is_left_out, with_weight};
use crate::{Error, Pair, Reference, SequenceLogProb};

/// Share of the running averages that a batch leaves in place.
const KEPT: f64 = 0.9;
/// β never falls below it.
const LEAST_BETA: f64 = 1e-3;

/// Sums over the gaps of one batch of β-DPO, in nats, as [`pair_gaps`] makes them.
///
/// Sums of micro-batches and machines add up with `+=`; the sum of the whole batch then goes to
/// [`GapAverages::update`]. [`DynamicBeta`] has the order of the calls.
#[doc(alias = "beta-DPO")]
#[doc(alias = "beta_dpo")]
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
    /// Adds one gap, in nats. A gap that is not finite spoils the sums: leave it out.
    ///
    /// # Panics
    /// Never.
    pub fn add(&mut self, gap: f64) {
        *self += Self { pairs: 1, sum: gap, square_sum: gap * gap };
    }

    /// Mean gap, `Σ A / pairs`; NaN without pairs. Of the pairs that were kept it is M of
    /// [`DynamicBeta::beta`].
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn mean(&self) -> f64 {
        self.sum / self.pairs as f64
    }

    /// Standard deviation of the gaps, with n − 1 in the denominator, as in the authors' code; NaN
    /// of fewer than two pairs.
    ///
    /// ```text
    /// std A = √((Σ A² − (Σ A)²/n) / (n − 1))
    /// ```
    ///
    /// # Numerics
    /// The variance is within e = 3(n + 1)·2⁻⁵³ · Σ A² / (n − 1), because it is a difference of
    /// sums: it loses digits where the mean is far larger than the deviation. A variance of no more
    /// than e counts as 0.
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

/// The gap of every pair and their sums: the first call of a batch of β-DPO ([`DynamicBeta`] has
/// the order).
///
/// ```text
/// A = (log π(y_w) − log π_ref(y_w)) − (log π(y_l) − log π_ref(y_l))
/// ```
///
/// A gap is the margin of DPO without β, in nats. A pair of weight 0 is left out: its gap is 0, and
/// it is in no sum. The size of other weights does not matter here.
///
/// # Shapes
/// `pairs` and `out`, P; `weights`, P, or `None`; `policy` and `reference`, N.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::InvalidValue`] for a weight that is
/// negative or not finite, [`Error::SequenceOutOfRange`], [`Error::PairOfOneSequence`],
/// [`Error::ReferenceMissing`], [`Error::NoScoredTokens`], [`Error::TokenCountMismatch`]. After all
/// gaps are written: [`Error::NonFinitePairs`]; those gaps are NaN.
///
/// # Panics
/// Never.
///
/// Wu et al. 2024, arXiv 2407.08639.
#[doc(alias = "beta-DPO")]
#[doc(alias = "beta_dpo")]
pub fn pair_gaps(
    pairs: &[Pair],
    weights: Option<&[f32]>,
    policy: &[SequenceLogProb],
    reference: Reference<'_>,
    out: &mut [f64],
) -> Result<GapSums, Error> {
    check_weights(Buffer::PairWeights, weights, pairs.len())?;
    reference.check_use(true)?;
    reference.check_length(policy.len())?;
    for (i, pair) in with_weight(pairs, weights) {
        check_pair(i, pair, policy.len())?;
        for sequence in [pair.chosen, pair.rejected] {
            let tokens = policy.get(sequence).map_or(0, |found| found.count);
            reference.check_tokens(sequence, tokens)?;
        }
    }
    check_length(Buffer::Gaps, pairs.len(), out.len())?;
    let log_ratio =
        |i: usize| policy.get(i).map_or(f64::NAN, |sequence| sequence.sum - reference.sum(i));
    let mut sums = GapSums::default();
    let mut bad = NonFinite::NONE;
    for (index, (pair, to)) in pairs.iter().zip(out).enumerate() {
        if is_left_out(weights, index) {
            *to = 0.0;
            continue;
        }
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

/// Running averages of β-DPO, in nats: the state that a run keeps from batch to batch.
///
/// ```text
/// M0 ← 0.9·M0 + 0.1·mean A      σ ← 0.9·σ + 0.1·std A
/// ```
///
/// Both start at 0 without correction, as in the authors' code, so both are too small in the first
/// batches. [`DynamicBeta`] has the order of the calls.
#[doc(alias = "beta-DPO")]
#[doc(alias = "beta_dpo")]
#[doc(alias = "gap_mean")]
#[doc(alias = "running average")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct GapAverages {
    /// M0, of the gaps' mean.
    pub mean: f64,
    /// σ, of the gaps' standard deviation.
    pub deviation: f64,
}

impl GapAverages {
    /// Moves both averages by one batch: the whole one, all micro-batches and machines added up.
    ///
    /// A batch of one pair has no deviation and moves M0 alone; the authors' code turns σ into NaN
    /// there, and it stays NaN. An empty batch moves nothing.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if a sum is not finite (index 0: `Σ A`, 1: `Σ A²`); nothing has
    /// moved then.
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

    /// Weights to draw the kept pairs with: a pair near the average gap is likely to be kept, one
    /// far from it is not.
    ///
    /// ```text
    /// w_i = exp(−½·(d_i² − min d²)),   d = (A − M0)/σ
    /// ```
    ///
    /// The weights are proportional to the Gaussian density and scaled so that the largest is
    /// exactly 1. Without the scaling, all weights of a batch far from the average would underflow
    /// to 0. With σ = 0, as before the policy has moved, every weight is 1. `gaps` and `out` have
    /// one entry a pair, P.
    ///
    /// # Errors
    /// Before anything is written: [`Error::Length`]; [`Error::InvalidValue`] for a gap that is not
    /// finite or not a finite number of deviations from the average, and for an average that is not
    /// finite (index 0: M0, 1: σ).
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

/// β-DPO: the β of a batch, from β0 and the gain a.
///
/// ```text
/// A_i = (log π(y_w) − log π_ref(y_w)) − (log π(y_l) − log π_ref(y_l))        gap of pair i, without β
/// M0 ← 0.9·M0 + 0.1·mean A      σ ← 0.9·σ + 0.1·std A                        every batch, before use
/// w_i ∝ exp(−½·((A_i − M0)/σ)²)                                              keep 80 %, drawn ∝ w
/// β = max(1e-3, β0·(1 + a·(M − M0)))                                         M: mean A of those kept
/// ```
///
/// For each batch, in this order:
///
/// 1. [`pair_gaps`]: the gaps of all pairs, and their [`GapSums`].
/// 2. [`GapAverages::update`] with the sums of the whole batch.
/// 3. [`GapAverages::keep_weights`]: the host draws 80 % of the pairs by these weights, without
///    replacement. (It brings its own random numbers, and draws no pair that was left out.)
/// 4. [`beta`](Self::beta) with the mean gap of the kept pairs. It goes to the batch's
///    [`Dpo`](crate::Dpo). With each pair's own gap it gives one β a pair, for
///    [`PerPair`](crate::loss::PerPair).
/// 5. The loss, over the kept pairs. β is a constant to its gradient.
///
/// # Example
/// ```
/// use dpo_kernel::training::{DynamicBeta, GapAverages, pair_gaps};
/// use dpo_kernel::{Dpo, Pair, Reference, SequenceLogProb};
/// let dynamic = DynamicBeta::new(0.1, 0.6)?;
/// let mut averages = GapAverages::default(); // kept over the whole run
///
/// // A batch of two pairs, with gaps of 1.25 and 0.75.
/// let policy = [-20.5, -25.25, -18.0, -19.0].map(|sum| SequenceLogProb { sum, count: 10 });
/// let reference = Reference::Sums(&[-21.0, -24.5, -18.5, -18.75]);
/// let pairs = [Pair::new(0, 1), Pair::new(2, 3)];
/// let (mut gaps, mut weights) = ([0.0; 2], [0.0; 2]);
/// let sums = pair_gaps(&pairs, None, &policy, reference, &mut gaps)?;
/// averages.update(&sums)?; // M0 = 0.1·1
/// averages.keep_weights(&gaps, &mut weights)?;
/// assert_eq!(weights[1], 1.0, "the gap nearest to M0 is the likeliest");
///
/// // Say that the host has drawn pair 1 alone: M = 0.75.
/// let beta = dynamic.beta(&averages, gaps[1]);
/// assert!((beta - 0.1 * (1.0 + 0.6 * (0.75 - 0.1))).abs() < 1e-15);
/// let loss = Dpo::new(beta)?;
/// # let _ = loss;
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
///
/// Wu et al. 2024, arXiv 2407.08639; the order and the constants are those of the authors' code.
#[doc(alias = "beta-DPO")]
#[doc(alias = "beta_dpo")]
#[doc(alias = "dynamic beta")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DynamicBeta {
    base: f64,
    gain: f64,
}

impl DynamicBeta {
    /// `base` is β0, usually 0.1. `gain` is a, per nat of gap: the larger it is, the further β
    /// follows the batch. A gain of 0 is plain DPO, and it is what the authors' configuration has.
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

    /// β of a batch: `max(1e-3, β0·(1 + a·(M − M0)))`. `mean_gap` is M, the mean gap of the pairs
    /// that were kept, in nats; a single pair's gap gives the per-pair form.
    ///
    /// NaN where M is NaN. A β0 below 1e-3 is raised to 1e-3 too.
    ///
    /// # Panics
    /// Never.
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
