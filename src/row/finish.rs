//! From a row's sums to its log Z, its target's log-prob, and what the backward needs.

use super::moments::{Extra, Moments, RowDetails};
use super::stats::{Reference, RowStats};
use crate::math::settle;
use crate::simd::exp::LN_2;

/// What the backward needs of a row: its normaliser, and 1 − p of its target. 16 bytes.
///
/// ```text
/// p_j = e^(k·(v_j − shift)) / 2^exponent · inverse
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct RowNorm {
    /// 0, or a value near the row's largest where logits are huge.
    pub(crate) shift: f32,
    pub(crate) exponent: i32,
    /// 2^exponent / Z after the shift, in [½, 1].
    pub(crate) inverse: f32,
    /// 1 − p(target), without cancellation.
    pub(crate) rest: f32,
}

impl RowNorm {
    /// The norm of a row that has none: refused by the backward.
    pub(crate) const INVALID: Self =
        Self { shift: f32::NAN, exponent: 0, inverse: f32::NAN, rest: f32::NAN };

    /// Whether the backward can use it.
    #[inline]
    pub(crate) fn is_valid(&self) -> bool {
        self.shift.is_finite()
            && self.inverse > 0.25
            && self.inverse <= 1.0
            && (0.0..=1.0).contains(&self.rest)
    }
}

/// All that a complete row has to say.
#[derive(Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) log_prob: f64,
    pub(crate) norm: RowNorm,
}

/// Z of a row whose Z is finite.
struct Total {
    reference: Reference,
    /// Z relative to the reference.
    sum: f64,
    /// The target's share of the sum.
    term: f64,
    /// ln(term)
    distance: f64,
    /// The rest of the sum.
    rest: f64,
}

#[allow(private_bounds, reason = "sealed: () and Moments")]
impl<D: Extra> RowStats<D> {
    /// log Z of what was folded.
    ///
    /// NaN if that holds NaN or +inf, or nothing but −inf.
    ///
    /// # Numerics
    /// In f64. Found within 1.13e-7 of exact on random rows (worst: V = 63, standard deviation 8, shift
    /// −1), 1.8e-7 where one column stands 16.75 nats above a flat rest (V = 512), and 3.2e-7 where 13
    /// equal columns stand 16.4 nats above 326 equal others; for V to 262,144 random rows are within half
    /// an ulp of log Z as f32, plus 3e-8, unless log Z is near 0.
    #[must_use]
    pub fn log_z(&self) -> f64 {
        self.total().map_or(f64::NAN, |total| {
            total.reference.ln(self.transform.factor()) + libm::log(total.sum)
        })
    }

    /// The target's logit, if its column was folded.
    #[must_use]
    pub fn target_logit(&self) -> Option<f64> {
        self.target_value.map(|v| f64::from(v) * self.transform.factor())
    }

    /// Columns folded.
    #[must_use]
    pub const fn columns(&self) -> u64 {
        self.columns
    }

    /// log p of the target, ≤ 0, if its column was folded; NaN where [`RowStats::log_z`] is.
    ///
    /// # Numerics
    /// `−log1p(rest / e^y)`, y the target's logit: relative accuracy down to the smallest log-prob.
    #[must_use]
    pub fn log_prob(&self) -> Option<f64> {
        self.target_value.map(|_| self.finish().log_prob)
    }

    /// What the backward needs of a complete row; the crate does not know V: compare
    /// [`RowStats::columns`] with it first. `None` where [`RowStats::log_z`] is NaN, and until the target's
    /// column was folded or merged in: the backward needs its 1 − p.
    #[must_use]
    pub fn norm(&self) -> Option<RowNorm> {
        self.target_value?;
        Some(self.finish().norm).filter(RowNorm::is_valid)
    }

    /// Where the sums would be if the target were the reference.
    fn reference_or_target(&self) -> Option<Reference> {
        let factor = self.transform.factor();
        let target = || {
            let v = self.target_value?;
            v.is_finite().then(|| Reference::at(v, factor))
        };
        self.reference.or_else(target)
    }

    /// k·v of the target minus the reference, in f64 without overflow.
    fn target_distance(&self, reference: Reference) -> f64 {
        self.target_value.map_or(f64::NEG_INFINITY, |v| {
            let factor = self.transform.factor();
            factor * (f64::from(v) - f64::from(reference.shift))
                - f64::from(reference.exponent) * LN_2
        })
    }

    fn total(&self) -> Option<Total> {
        let mut this = *self;
        let mut reference = self.reference_or_target()?;
        if this.target_distance(reference) > 600.0 {
            // e^600 above everything else: the sums move to the target, where they vanish.
            reference = Reference::at(this.target_value?, self.transform.factor());
            this.rebase(reference);
        }
        let distance = this.target_distance(reference);
        let term = libm::exp(distance);
        let sum = this.rest + term;
        (sum > 0.0 && sum < f64::INFINITY).then_some(Total {
            reference,
            sum,
            term,
            distance,
            rest: this.rest,
        })
    }

    /// The row's results; NaN and an invalid norm where there is no finite log Z.
    pub(crate) fn finish(&self) -> Finished {
        let [finished] = finish_rows(core::slice::from_ref(self));
        finished
    }

    /// (rest, target's distance) of a row whose target neither vanishes beside the rest nor the rest
    /// beside it.
    #[inline(always)]
    fn plain(&self) -> Option<(f64, f64)> {
        let distance = self.target_distance(self.reference?);
        let plain = distance.abs() < 600.0 && self.rest > 0.0 && self.rest < f64::INFINITY;
        plain.then_some((self.rest, distance))
    }

    /// The results of any row.
    #[cold]
    #[inline(never)]
    fn finish_apart(&self) -> Finished {
        match self.total() {
            None => Finished { log_prob: f64::NAN, norm: RowNorm::INVALID },
            Some(total) => {
                let (log_prob, rest) = total.target_log_prob();
                Finished { log_prob, norm: RowNorm::new(total.reference, total.sum, rest) }
            }
        }
    }
}

impl RowNorm {
    /// Of a row with a finite sum, relative to its reference; `rest` is 1 − p of the target.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "norms are stored in f32")]
    fn new(reference: Reference, sum: f64, rest: f64) -> Self {
        // sum = mantissa · 2^power, mantissa in [1, 2): a normal number, so its bits say both.
        let bits = sum.to_bits();
        let power = (bits >> 52) as i32 - 1023;
        let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | 1.0_f64.to_bits());
        Self {
            shift: reference.shift,
            exponent: reference.exponent + power,
            inverse: (1.0 / mantissa) as f32,
            rest: rest as f32,
        }
    }
}

/// The results of up to B rows side by side: a row's are the same in any company.
#[inline(always)]
#[allow(private_bounds, reason = "sealed: () and Moments")]
pub(crate) fn finish_rows<D: Extra, const B: usize>(rows: &[RowStats<D>]) -> [Finished; B] {
    let (mut rest, mut distance) = ([1.0; B], [0.0; B]);
    for ((row, rest), distance) in rows.iter().zip(&mut rest).zip(&mut distance) {
        (*rest, *distance) = row.plain().unwrap_or((1.0, 0.0));
    }
    let (mut sum, mut q) = (settle::exp(distance), rest);
    for ((sum, q), rest) in sum.iter_mut().zip(&mut q).zip(rest) {
        (*sum, *q) = (rest + *sum, rest / *sum);
    }
    let ln = settle::ln_1p(q);
    let mut found = [Finished { log_prob: f64::NAN, norm: RowNorm::INVALID }; B];
    let figures = sum.into_iter().zip(q).zip(ln);
    for ((row, found), ((sum, q), ln)) in rows.iter().zip(&mut found).zip(figures) {
        *found = match row.reference {
            Some(reference) if row.plain().is_some() => {
                Finished { log_prob: -ln, norm: RowNorm::new(reference, sum, q / (1.0 + q)) }
            }
            _ => row.finish_apart(),
        };
    }
    found
}

impl Total {
    /// (log p, 1 − p) of the target.
    fn target_log_prob(&self) -> (f64, f64) {
        if self.distance > -600.0 {
            let q = self.rest / self.term;
            (0.0 - libm::log1p(q), q / (1.0 + q))
        } else {
            // p < e^-500: the target adds nothing to Z.
            (self.distance - libm::log(self.rest), 1.0)
        }
    }
}

impl RowStats<Moments> {
    /// Entropy, mean logit, log Σp² and argmax of what was folded.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "statistics are stored in f32")]
    pub fn details(&self) -> RowDetails {
        let nothing = RowDetails {
            entropy: f32::NAN,
            mean_logit: f32::NAN,
            log_sum_sq_probs: f32::NAN,
            argmax: 0,
        };
        let mut this = *self;
        let factor = self.transform.factor();
        if let (Some(reference), Some(v)) = (this.reference, this.target_value)
            && this.target_distance(reference) > 300.0
        {
            // Σ term² would overflow.
            this.rebase(Reference::at(v, factor));
        }
        let Some(Total { sum, term, distance, .. }) = this.total() else { return nothing };
        let mut moments = this.moments;
        if term > 0.0 {
            moments.about += term * distance;
            moments.squares += term * term;
        }
        if let (Some(v), Some(column)) = (this.target_value, this.target) {
            moments.see(v, column);
        }
        let log_sum = libm::log(sum);
        #[allow(clippy::cast_precision_loss, reason = "columns are far below 2^53")]
        let mean = factor * moments.total / self.columns as f64;
        RowDetails {
            entropy: (log_sum - moments.about / sum).max(0.0) as f32,
            mean_logit: mean as f32,
            log_sum_sq_probs: (libm::log(moments.squares) - 2.0 * log_sum).min(0.0) as f32,
            argmax: moments.top_column,
        }
    }
}
