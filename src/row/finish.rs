//! From a row's sums to its log Z, its target's log-prob, and its norm.
//!
//! Rows are finished several at once in straight-line code ([`finish_rows`]). A row where the
//! target vanishes beside the other columns, or they beside it, takes the general way
//! ([`Normalizer`]), alone.

use super::base::Base;
use super::extra::Extra;
use super::norm::RowNorm;
use super::stats::RowStats;
use crate::Transform;
use crate::math::{branchless, formula};
use crate::simd::exp::LN_2;
use crate::simd::{Dispatch, GROUP, Kernel, SHORT_LOOPS, Simd};

/// The results of a complete row.
#[derive(Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) log_prob: f64,
    pub(crate) norm: RowNorm,
}

impl Finished {
    /// Of a row without a finite log Z.
    pub(crate) const NAN: Self = Self { log_prob: f64::NAN, norm: RowNorm::INVALID };

    /// Of an ordinary row, as those of [`Shares`], where code is scarce.
    #[inline(never)]
    fn alone(base: Base, others: f64, distance: f64) -> Self {
        let mut registers = [0.0; 11];
        let term = formula::exp(distance, &mut registers);
        let q = others / term;
        let norm = RowNorm::new(base, others + term, q / (1.0 + q));
        Self { log_prob: -formula::ln_1p(q, &mut registers), norm }
    }
}

/// A finite Z, as a sum relative to a base.
pub(super) struct Normalizer {
    pub(super) base: Base,
    /// Z / base
    pub(super) sum: f64,
    /// The target's share of the sum.
    pub(super) term: f64,
    /// ln(term)
    pub(super) distance: f64,
    /// The share of all other columns.
    others: f64,
}

#[allow(private_bounds, reason = "sealed: () and Details")]
impl<D: Extra> RowStats<D> {
    /// log Z = ln Σ e^y over the columns folded so far.
    ///
    /// NaN if one of them is NaN or +inf, or if all of them are −inf.
    ///
    /// # Numerics
    /// In f64. Found within 1.13e-7 of exact on random rows (worst: V = 63, standard deviation 8,
    /// shift −1), 1.8e-7 where one column is 16.75 nats above all others, which are equal (V =
    /// 512), and 3.2e-7 where 13 equal columns are 16.4 nats above 326 equal others; for V to
    /// 262,144 random rows are within half an ulp of log Z as f32, plus 3e-8, unless log Z is
    /// near 0.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn log_z(&self) -> f64 {
        self.settled().normalizer().map_or(f64::NAN, |normalizer| {
            normalizer.base.ln(self.transform.factor()) + libm::log(normalizer.sum)
        })
    }

    /// The target's logit y, if its column was folded.
    #[must_use]
    pub fn target_logit(&self) -> Option<f64> {
        self.target_value.map(|v| f64::from(v) * self.transform.factor())
    }

    /// log p of the target, ≤ 0, if its column was folded; NaN where [`RowStats::log_z`] is.
    ///
    /// ```text
    /// log p = y_target − log Z = −ln(1 + Σ_{j ≠ target} e^(y_j) / e^(y_target))
    /// ```
    ///
    /// # Numerics
    /// Relative accuracy down to the smallest log-prob: 1 − p never cancels.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn log_prob(&self) -> Option<f64> {
        self.target_value.map(|_| self.finish().log_prob)
    }

    /// What the backward needs of a complete row: compare [`RowStats::columns`] with V first.
    ///
    /// `None` where [`RowStats::log_z`] is NaN, and as long as the target's column is missing: the
    /// backward needs its 1 − p.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn norm(&self) -> Option<RowNorm> {
        self.target_value?;
        Some(self.finish().norm).filter(RowNorm::is_valid)
    }

    /// The norm by which the backward's map gives the terms of the sums: relative to their base, and
    /// the target's 0. None as long as there is no base.
    pub(crate) fn terms(&self) -> Option<RowNorm> {
        let Base { shift, exponent } = self.base()?;
        Some(RowNorm { shift, exponent, inverse: 1.0, complement: 0.0 })
    }

    /// Σ term over the columns other than the target's, relative to the base, as [`Self::terms`].
    pub(crate) fn sum_of_terms(&self) -> f64 {
        self.settled().others
    }

    /// The sums, rounded to f64.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    #[cfg_attr(not(target_pointer_width = "32"), inline(always))]
    pub(super) fn settled(&self) -> Settled {
        let (transform, target_value, base) = (self.transform, self.target_value, self.base());
        let others = match base {
            _ if self.is_broken => f64::NAN,
            Some(base) if base.is_power() => self.others.by_power(base.exponent),
            Some(base) => self.others_by(base),
            None => 0.0,
        };
        Settled { transform, target_value, base, others }
    }

    /// Σ term over the columns other than the target's, relative to a base with a shift.
    #[cold]
    #[inline(never)]
    fn others_by(&self, base: Base) -> f64 {
        let (power, part) = base.parts(self.transform.factor());
        self.others.by_power(power) / part
    }

    /// The row's results; NaN and an invalid norm where there is no finite log Z.
    pub(crate) fn finish(&self) -> Finished {
        self.settled().finish()
    }
}

/// Sums of a row in f64, relative to a base.
#[derive(Clone, Copy)]
pub(super) struct Settled {
    transform: Transform,
    target_value: Option<f32>,
    pub(super) base: Option<Base>,
    /// Σ term over the columns other than the target's.
    pub(super) others: f64,
}

impl Settled {
    /// The base that the target alone would have, if its logit is finite. Not inlined, because rows
    /// seldom need it and it is asked for twice.
    #[inline(never)]
    fn target_base(&self) -> Option<Base> {
        let v = self.target_value?;
        v.is_finite().then(|| Base::at(v, self.transform.factor()))
    }

    /// y − ln base of the target, in f64 without overflow.
    pub(super) fn target_distance(&self, base: Base) -> f64 {
        self.target_value.map_or(f64::NEG_INFINITY, |v| {
            let factor = self.transform.factor();
            factor * (f64::from(v) - f64::from(base.shift)) - f64::from(base.exponent) * LN_2
        })
    }

    /// Makes the sum relative to another base. Returns by what it was multiplied, as a number near
    /// 1 and a power of two, and that number's logarithm.
    #[inline(never)]
    pub(super) fn rebase(&mut self, to: Base) -> (f64, i32, f64) {
        let factor = self.transform.factor();
        let (part, power, ln) = self.base.unwrap_or(to).over(to, factor);
        self.base = Some(to);
        self.others = libm::scalbn(self.others * part, power);
        (part, power, ln)
    }

    /// Z, if it is finite and above 0.
    pub(super) fn normalizer(&self) -> Option<Normalizer> {
        let mut this = *self;
        // The target's, where no other column is above −inf.
        let mut base = self.base.or_else(|| self.target_base())?;
        if this.target_distance(base) > 600.0 {
            // The target is e^600 above the base: by the target's own base the other columns
            // vanish.
            base = self.target_base()?;
            this.rebase(base);
        }
        let distance = this.target_distance(base);
        let term = libm::exp(distance);
        let sum = this.others + term;
        // NaN of a broken row. No other sum is infinite, or 0.
        sum.is_finite().then_some(Normalizer { base, sum, term, distance, others: this.others })
    }

    /// The row's results; NaN and an invalid norm where there is no finite log Z.
    fn finish(&self) -> Finished {
        if !SHORT_LOOPS {
            return match (self.base, self.ordinary()) {
                (Some(base), Some((others, distance))) => Finished::alone(base, others, distance),
                _ => self.finish_any(),
            };
        }
        let (others, distance) = self.ordinary().unwrap_or_default();
        let mut share = Shares { others: [others], q: [distance], sum: [0.0], ln: [0.0] };
        share.finish();
        let ([sum], [q], [ln]) = (share.sum, share.q, share.ln);
        finished(self.base, others, sum, q, ln).unwrap_or_else(|| self.finish_any())
    }

    /// (Σ of the other columns, ln of the target's term), if neither vanishes beside the other.
    #[inline(always)]
    fn ordinary(&self) -> Option<(f64, f64)> {
        let distance = self.target_distance(self.base?);
        // Compared as bits, which calls nothing where f64 is software.
        let is_near = distance.abs().to_bits() < 600.0_f64.to_bits();
        (is_near && self.others > 0.0).then_some((self.others, distance))
    }

    /// The results of any row.
    #[cold]
    #[inline(never)]
    fn finish_any(&self) -> Finished {
        match self.normalizer() {
            None => Finished::NAN,
            Some(normalizer) => {
                let (log_prob, complement) = normalizer.target_log_prob();
                let norm = RowNorm::new(normalizer.base, normalizer.sum, complement);
                Finished { log_prob, norm }
            }
        }
    }
}

/// The results, from those of [`Shares`], if the row is ordinary.
#[inline(always)]
fn finished(base: Option<Base>, others: f64, sum: f64, q: f64, ln: f64) -> Option<Finished> {
    let base = base.filter(|_| others > 0.0)?;
    Some(Finished { log_prob: -ln, norm: RowNorm::new(base, sum, q / (1.0 + q)) })
}

/// The results of up to [`GROUP`] rows at once. A row's results do not depend on the others.
#[allow(private_bounds, reason = "sealed: () and Details")]
pub(crate) fn finish_rows<'a, D: Extra + 'a>(
    dispatch: Dispatch,
    rows: impl Iterator<Item = &'a RowStats<D>> + Clone,
) -> [Finished; GROUP] {
    let mut shares =
        Shares { others: [0.0; GROUP], q: [0.0; GROUP], sum: [0.0; GROUP], ln: [0.0; GROUP] };
    for ((row, others), distance) in rows.clone().zip(&mut shares.others).zip(&mut shares.q) {
        (*others, *distance) = row.settled().ordinary().unwrap_or_default();
    }
    dispatch.run(Finish(&mut shares));
    let Shares { others, sum, q, ln } = shares;
    let mut found = [Finished::NAN; GROUP];
    let figures = others.into_iter().zip(sum).zip(q).zip(ln);
    for ((row, found), (((others, sum), q), ln)) in rows.zip(&mut found).zip(figures) {
        *found =
            finished(row.base(), others, sum, q, ln).unwrap_or_else(|| row.settled().finish_any());
    }
    found
}

/// What the results of ordinary rows are made of. Aligned as [`Copies`](super::Copies) are.
#[cfg_attr(any(target_arch = "x86", target_arch = "x86_64"), repr(align(64)))]
struct Shares<const B: usize> {
    /// Σ of the other columns; 0 of a row that is not ordinary.
    others: [f64; B],
    /// ln of the target's term before, (1 − p) / p of the target after.
    q: [f64; B],
    /// Z / base
    sum: [f64; B],
    /// ln(1 + q)
    ln: [f64; B],
}

impl<const B: usize> Shares<B> {
    #[inline(always)]
    fn finish(&mut self) {
        let (others, terms) = (self.others, branchless::exp(self.q));
        let (mut sum, mut q) = (terms, others);
        for ((sum, q), others) in sum.iter_mut().zip(&mut q).zip(others) {
            (*sum, *q) = (others + *sum, others / *sum);
        }
        (self.sum, self.q, self.ln) = (sum, q, branchless::ln_1p(q));
    }
}

/// A kernel for its registers alone: it has the same roundings on every level and in both
/// arithmetics.
struct Finish<'a>(&'a mut Shares<GROUP>);

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.0.finish();
    }
}

impl Normalizer {
    /// (log p, 1 − p) of the target.
    fn target_log_prob(&self) -> (f64, f64) {
        if self.distance > -600.0 {
            let q = self.others / self.term;
            (0.0 - libm::log1p(q), q / (1.0 + q))
        } else {
            // p < e^-500: the target adds nothing to Z.
            (self.distance - libm::log(self.others), 1.0)
        }
    }
}
