//! A row: log Z, log p, gradients.

use alloc::vec::Vec;

use super::super::{Difference, Precision, Target};
use super::transform::{of_slope, of_transform};
use super::{gamma, rounding, times};
use crate::verify::Transform;

/// What the figures of one row may be off.
#[derive(Clone, Debug)]
pub(in super::super) struct RowBound<'a> {
    pub(super) precision: Precision,
    pub(super) transform: Transform,
    pub(super) x: &'a [f64],
    pub(super) y: &'a [f64],
    /// Of each x.
    pub(super) dx: Vec<f64>,
    /// δ of each y.
    pub(super) dy: Vec<f64>,
    /// ε of each term.
    pub(super) terms: Vec<f64>,
    pub(super) log_z: f64,
    pub(super) max: f64,
    /// Of the row's additions.
    pub(super) additions: f64,
    /// How far ln of a sum of exponentials may lie below 0, and above ln of their number.
    pub(super) ends: [f64; 2],
    /// Of ln s, before the logarithm's own error.
    pub(super) norm: f64,
    /// Of ln s, with that.
    pub(super) log_sum: f64,
    /// Logits or their sum may leave the arithmetic's range on the way.
    pub(super) overflows: bool,
}

impl<'a> RowBound<'a> {
    /// Of a row x with errors `dx`, its y and log Z, exact.
    pub(in super::super) fn new(
        precision: Precision,
        transform: Transform,
        x: &'a [f64],
        dx: &dyn Fn(usize) -> f64,
        y: &'a [f64],
        log_z: f64,
    ) -> Self {
        let u = precision.unit();
        let max = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let dx: Vec<f64> = (0..x.len()).map(dx).collect();
        let dy: Vec<f64> = x
            .iter()
            .zip(&dx)
            .map(|(&x, &dx)| of_transform(&precision, &transform, x, dx))
            .collect();
        let exp = precision.exp;
        #[allow(clippy::cast_precision_loss, reason = "few rescalings")]
        let often = precision.rescales.min(y.len()) as f64;
        let of_term = |(&y, &dy): (&f64, &f64)| {
            let d = max - y;
            if !d.is_finite() {
                return 0.0;
            }
            let rescaled = often * (2.0 * exp.constant + 1.0) * u
                + if often > 0.0 { (2.0 * exp.slope + 1.0) * u * d } else { 0.0 };
            dy + u * d + 2.0 * u * exp.at(d) + rescaled
        };
        let terms: Vec<f64> = y.iter().zip(&dy).map(of_term).collect();
        let most = y.len().saturating_sub(1);
        let additions = gamma(precision.additions.roundings(y.len()), most, u);
        #[allow(clippy::cast_precision_loss, reason = "columns are below 2^53")]
        let flushed = y.len() as f64 * precision.arithmetic.least_normal();
        // A term is off by a factor between exp(−ε) and exp(ε), however large ε is.
        let (mut up, mut down) = (0.0, 0.0);
        for (&y, &e) in y.iter().zip(&terms) {
            let p = weight(y - log_z);
            up += times(p, libm::expm1(e));
            down -= p * libm::expm1(-e);
        }
        let sum = up + times(1.0 + up, additions) + flushed;
        let ln_s = (log_z - max).abs();
        let below = down + additions + flushed;
        let below = if below < 1.0 { -libm::log1p(-below) } else { f64::INFINITY };
        let analysed = libm::log1p(sum).max(below);

        // However terms are lost, the sum is no less than its largest one, which is exp(0), and no
        // more than that for each, with the roundings of both: d exp(−d) is 1/e at most.
        let of_largest = 2.0 * u * (exp.constant + 0.37 * exp.slope);
        let of_one = of_largest + often * (of_largest + u);
        let ends = [2.0 * of_one, of_one + libm::log1p(additions)];
        let live = y.iter().zip(&dy).filter(|(y, _)| y.is_finite());
        let count = live.clone().count();
        let of_y = live.fold(0.0, |most: f64, (_, &dy)| most.max(dy));
        let norm = analysed.min(of_y + within(ln_s, count, ends));
        let size = ln_s + norm;
        let log_sum = norm + of_log(&precision, size);
        let [_, above] = ends;
        let largest = libm::exp(ln_s.min(700.0)) * (1.0 + sum);
        let largest = largest.min(libm::exp((ln_of(count) + above).min(709.0)));
        let overflows = of_y == f64::INFINITY || largest >= precision.arithmetic.overflow();
        Self {
            precision,
            transform,
            x,
            y,
            dx,
            dy,
            terms,
            log_z,
            max,
            additions,
            ends,
            norm,
            log_sum,
            overflows,
        }
    }

    pub(super) fn unit(&self) -> f64 {
        self.precision.unit()
    }

    pub(super) fn of(values: &[f64], j: usize) -> f64 {
        values.get(j).copied().unwrap_or(f64::NAN)
    }

    /// A bound, or none where something on the way may leave the arithmetic's range: what is left
    /// then may be NaN.
    pub(super) fn held(&self, bound: f64) -> f64 {
        let lost = self.overflows || bound >= self.precision.arithmetic.overflow();
        if lost { f64::INFINITY } else { bound }
    }

    /// Of log Z as it is kept, before it is rounded to leave.
    fn kept_log_z(&self) -> f64 {
        self.log_sum + self.rounded_log_z()
    }

    /// Of that, what its own size costs.
    pub(super) fn rounded_log_z(&self) -> f64 {
        let size = match self.precision.difference {
            Difference::Shifted => (self.log_z - self.max).abs(),
            Difference::Whole => self.log_z.abs() + self.max.abs(),
        };
        self.unit() * (size + self.log_sum)
    }

    pub(in super::super) fn log_z(&self) -> f64 {
        let u = self.unit();
        let kept = self.log_sum + u * (self.log_z.abs() + self.max.abs() + self.log_sum);
        self.held(kept + rounding(self.precision.output, self.log_z))
    }

    pub(in super::super) fn log_prob(&self, target: usize, log_prob: f64) -> f64 {
        let u = self.unit();
        let leaves = rounding(self.precision.output, log_prob);
        let (dy, d) = (Self::of(&self.dy, target), self.max - Self::of(self.y, target));
        let whole = match self.precision.difference {
            Difference::Shifted => d,
            Difference::Whole => d.max(self.log_z.abs() + self.max.abs()),
        };
        let of_terms = dy + self.log_sum;
        let in_sum = of_terms + u * (log_prob.abs() + whole + of_terms);
        // Kept apart where it is largest, and as ever where it is not: the better of both.
        let kept = match self.precision.target {
            Target::InSum => in_sum,
            Target::Apart => {
                let of_log = 4.0 * u * log_prob.abs() + self.precision.log_absolute;
                in_sum.min(self.others(target) + of_log)
            }
        };
        self.held(kept + leaves)
    }

    /// The error of −log p, or of 1 − p, where the target's own term is not in the sum: that of the
    /// others.
    fn others(&self, target: usize) -> f64 {
        let (dt, et) = (Self::of(&self.dy, target), Self::of(&self.terms, target));
        let mut error = 0.0;
        let mut mass = 0.0;
        for (j, (&y, &e)) in self.y.iter().zip(&self.terms).enumerate() {
            if j != target {
                let p = weight(y - self.log_z);
                error += times(p, libm::expm1(e + et + dt));
                mass += p;
            }
        }
        // ln of a sum far from 1 has its own error.
        let far = (Self::of(self.y, target) - self.log_z).abs();
        let of_log = if far > 0.5 { self.log_sum } else { 0.0 };
        let of_mass = self.additions + self.precision.divided(1.0) + 4.0 * self.unit();
        error + times(mass + error, of_mass) + of_log
    }

    /// Of `c ([j = t] − p_j) dy/dx` before it is rounded to be stored.
    pub(in super::super) fn grad(&self, j: usize, target: usize, c: f64) -> f64 {
        let (u, y) = (self.unit(), Self::of(self.y, j));
        if y == f64::NEG_INFINITY {
            return 0.0;
        }
        let log_p = y - self.log_z;
        let p = weight(log_p);
        let (e, dy) = (Self::of(&self.terms, j), Self::of(&self.dy, j));
        let exp = 2.0 * u * self.precision.exp.at(log_p);
        // Of a quotient, or of an exponential of what was a logarithm.
        let last = exp + self.precision.divided(1.0) + 4.0 * u;
        // A factor again: errors of log Z in exp(y − log Z) may be far from small.
        let factor = e + self.norm + dy + self.kept_log_z() + u * log_p.abs() + last;
        let of_p = if factor < 1.0 {
            p * libm::expm1(factor)
        } else {
            libm::exp((log_p + factor).min(709.0)) - p
        };
        // And p lies between 0 and 1 however the sum was lost: it holds the largest term.
        let [below, _] = self.ends;
        let top = below + of_log(&self.precision, below) + self.rounded_log_z() + last;
        let of_p = of_p.min(p.max(libm::exp(top.min(709.0)) - p));
        let in_sum = of_p + u * (1.0 + p);
        let (of_d, d) = match self.precision.target {
            _ if j != target => (of_p, p),
            Target::Apart => (in_sum.min(self.others(j)), -libm::expm1(log_p)),
            Target::InSum => (in_sum, -libm::expm1(log_p)),
        };
        let factor = c.abs() * self.transform.scale / self.transform.temperature;
        let of_x = (Self::of(self.x, j), Self::of(&self.dx, j));
        let (slope, of_slope) = of_slope(&self.precision, &self.transform, of_x);
        // Subnormal numbers may be 0: p, with a margin for functions that end a little earlier, the
        // product with the coefficient, that with the slope, and what is stored.
        let flushed = (4.0 * factor + 3.0) * self.precision.arithmetic.least_normal();
        let of_product = times(slope, of_d + 8.0 * u * d.abs()) + times(of_slope, d.abs() + of_d);
        if factor == 0.0 { flushed } else { self.held(factor * of_product + flushed) }
    }
}

/// What ln of a sum of so many exponentials may be off where nothing is known but that it lies
/// between 0 and ln of their number, and a little beyond both `ends`.
pub(super) fn within(exact: f64, count: usize, [below, above]: [f64; 2]) -> f64 {
    (exact + below).max(ln_of(count) - exact + above)
}

#[allow(clippy::cast_precision_loss, reason = "columns are below 2^53")]
fn ln_of(count: usize) -> f64 {
    libm::log(count.max(1) as f64)
}

/// Of a logarithm whose result has a size.
pub(super) fn of_log(precision: &Precision, size: f64) -> f64 {
    times(size, 2.0 * precision.unit() * precision.log.at(size)) + precision.log_absolute
}

/// exp(x) of what is at most about 0; 0 of NaN.
pub(super) fn weight(x: f64) -> f64 {
    if x.is_nan() { 0.0 } else { libm::exp(x.min(1.0)) }
}
