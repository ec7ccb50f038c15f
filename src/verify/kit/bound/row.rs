//! A row: log Z, log p, details, gradients.

use alloc::vec::Vec;

use super::super::{Difference, Precision, Target};
use super::{gamma, rounding, times};
use crate::verify::Transform;

/// What the figures of one row may be off.
#[derive(Clone, Debug)]
pub(in super::super) struct RowBound<'a> {
    precision: Precision,
    transform: Transform,
    x: &'a [f64],
    y: &'a [f64],
    /// Of each x.
    dx: Vec<f64>,
    /// δ of each y.
    dy: Vec<f64>,
    /// ε of each term.
    terms: Vec<f64>,
    log_z: f64,
    max: f64,
    /// γ of the row's additions.
    additions: f64,
    /// `ε_s`
    sum: f64,
    /// Of ln s, with that of s.
    log_sum: f64,
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
        let additions = gamma(precision.additions.roundings(y.len()), u);
        #[allow(clippy::cast_precision_loss, reason = "columns are below 2^53")]
        let flushed = y.len() as f64 * precision.arithmetic.least_normal();
        // A term is off by a factor between exp(−ε) and exp(ε), however large ε is.
        let (mut up, mut down) = (0.0, 0.0);
        for (&y, &e) in y.iter().zip(&terms) {
            let p = weight(y - log_z);
            up += times(p, libm::expm1(e));
            down -= p * libm::expm1(-e);
        }
        let sum = up + additions + flushed;
        let ln_s = (log_z - max).abs();
        let below = down + additions + flushed;
        let below = if below < 1.0 { -libm::log1p(-below) } else { f64::INFINITY };
        let log_sum = libm::log1p(sum).max(below)
            + 2.0 * u * precision.log.at(ln_s) * ln_s
            + precision.log_absolute;
        Self { precision, transform, x, y, dx, dy, terms, log_z, max, additions, sum, log_sum }
    }

    fn unit(&self) -> f64 {
        self.precision.unit()
    }

    fn of(values: &[f64], j: usize) -> f64 {
        values.get(j).copied().unwrap_or(f64::NAN)
    }

    /// Of log Z as it is kept, before it is rounded to leave.
    fn kept_log_z(&self) -> f64 {
        self.log_sum + self.rounded_log_z()
    }

    /// Of that, what its own size costs.
    fn rounded_log_z(&self) -> f64 {
        let size = match self.precision.difference {
            Difference::Shifted => (self.log_z - self.max).abs(),
            Difference::Whole => self.log_z.abs() + self.max.abs(),
        };
        self.unit() * size
    }

    pub(in super::super) fn log_z(&self) -> f64 {
        let u = self.unit();
        self.log_sum
            + u * (self.log_z.abs() + self.max.abs())
            + rounding(self.precision.output, self.log_z)
    }

    pub(in super::super) fn log_prob(&self, target: usize, log_prob: f64) -> f64 {
        let u = self.unit();
        let leaves = rounding(self.precision.output, log_prob);
        let (dy, d) = (Self::of(&self.dy, target), self.max - Self::of(self.y, target));
        let whole = match self.precision.difference {
            Difference::Shifted => d,
            Difference::Whole => d.max(self.log_z.abs() + self.max.abs()),
        };
        let in_sum = dy + self.log_sum + u * (log_prob.abs() + whole);
        // Kept apart where it is largest, and as ever where it is not: the better of both.
        let kept = match self.precision.target {
            Target::InSum => in_sum,
            Target::Apart => {
                let of_log = 4.0 * u * log_prob.abs() + self.precision.log_absolute;
                in_sum.min(self.others(target) + of_log)
            }
        };
        kept + leaves
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
                error += times(p, e + et + dt);
                mass += p;
            }
        }
        // ln of a sum far from 1 has its own error.
        let far = (Self::of(self.y, target) - self.log_z).abs();
        let of_log = if far > 0.5 { self.log_sum } else { 0.0 };
        let of_mass = self.additions + self.precision.divided(1.0) + 4.0 * self.unit();
        error + times(mass, of_mass) + of_log
    }

    /// Forms differ: `−Σ p log p`, or `log Z − Σ p y`.
    pub(in super::super) fn entropy(&self, entropy: f64) -> f64 {
        let u = self.unit();
        let (mut error, mut size, mut of_terms) = (0.0, 0.0, 0.0);
        let divided = self.precision.divided(1.0);
        for ((&y, &e), &dy) in self.y.iter().zip(&self.terms).zip(&self.dy) {
            let log_p = y - self.log_z;
            let p = weight(log_p);
            if p > 0.0 {
                let of_p = e + self.sum + self.additions + divided + 4.0 * u;
                error += p * (1.0 + log_p.abs()) * of_p;
                error += p * (dy + self.log_sum);
                of_terms += p * e;
                size += p * (y - self.max).abs();
            }
        }
        let whole = match self.precision.difference {
            Difference::Shifted => 0.0,
            Difference::Whole => self.max.abs(),
        };
        // Where y and log Z are whole, the errors of p come times their size.
        let of_whole = times(whole, of_terms + self.sum + divided)
            + (1.0 + entropy.abs()) * self.rounded_log_z();
        error
            + of_whole
            + times(size + whole + (self.log_z - self.max).abs(), self.additions + 4.0 * u)
            + rounding(self.precision.output, entropy)
    }

    /// Whether a sum of logits may leave the arithmetic's range on the way to their mean: what is
    /// left then is ±inf, or NaN from both. Any order may add those of one sign first.
    pub(in super::super) fn mean_overflows(&self) -> bool {
        let of = |up: bool| -> f64 {
            self.y.iter().filter(|y| y.is_finite() && (**y > 0.0) == up).map(|y| y.abs()).sum()
        };
        of(true).max(of(false)) * (1.0 + self.additions) >= self.precision.arithmetic.overflow()
    }

    #[allow(clippy::cast_precision_loss, reason = "columns are below 2^53")]
    pub(in super::super) fn mean_logit(&self, mean: f64) -> f64 {
        if !mean.is_finite() {
            return 0.0;
        }
        let n = self.y.len().max(1) as f64;
        let size: f64 = self.y.iter().map(|y| y.abs()).sum::<f64>() / n;
        let inputs: f64 = self.dy.iter().sum::<f64>() / n;
        times(size, self.additions)
            + inputs
            + self.precision.divided(n) * mean.abs()
            + rounding(self.precision.output, mean)
    }

    pub(in super::super) fn log_sum_sq_probs(&self, value: f64) -> f64 {
        let u = self.unit();
        let (mut error, mut total) = (0.0, 0.0);
        for (&y, &e) in self.y.iter().zip(&self.terms) {
            let square = weight(2.0 * (y - self.log_z));
            if square > 0.0 {
                error += square * (2.0 * e + 2.0 * u * (y - self.log_z).abs());
            }
            total += square;
        }
        let size = (value + 2.0 * (self.log_z - self.max)).abs();
        // p may be e/s, or exp(y − log Z) of a log Z that was rounded.
        let of_p = self.precision.divided(1.0) + self.rounded_log_z();
        error / total
            + self.additions
            + 3.0 * self.log_sum
            + 2.0 * of_p
            + 2.0 * u * self.precision.log.at(size) * size
            + self.precision.log_absolute
            + 4.0 * u * (value.abs() + 2.0 * (self.log_z - self.max).abs())
            + rounding(self.precision.output, value)
    }

    /// Whether a column may be taken for the first largest one.
    pub(in super::super) fn may_be_largest(&self, column: usize, first: usize) -> bool {
        let slack = Self::of(&self.dy, column) + Self::of(&self.dy, first);
        column == first
            || (slack > 0.0 && Self::of(self.y, column) + slack >= Self::of(self.y, first))
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
        // A factor again: errors of log Z in exp(y − log Z) may be far from small.
        let factor = e
            + self.sum
            + dy
            + self.kept_log_z()
            + u * log_p.abs()
            + exp
            + self.precision.divided(1.0)
            + 4.0 * u;
        let of_p = if factor < 1.0 {
            p * libm::expm1(factor)
        } else {
            libm::exp((log_p + factor).min(709.0)) - p
        };
        let in_sum = of_p + u * (1.0 + p);
        let (of_d, d) = match self.precision.target {
            _ if j != target => (of_p, p),
            Target::Apart => (in_sum.min(self.others(j)), -libm::expm1(log_p)),
            Target::InSum => (in_sum, -libm::expm1(log_p)),
        };
        let factor = c.abs() * self.transform.scale / self.transform.temperature;
        let (slope, of_slope) = self.slope(j);
        // Subnormal numbers may be 0: p, with a margin for functions that end a little earlier, the
        // product with the coefficient, that with the slope, and what is stored.
        let flushed = (4.0 * factor + 3.0) * self.precision.arithmetic.least_normal();
        let of_product = times(slope, of_d + 8.0 * u * d.abs()) + times(of_slope, d.abs() + of_d);
        times(factor, of_product) + flushed
    }

    /// `1 − tanh²`, and how far it may be off as a difference, with what x and its argument are off.
    fn slope(&self, j: usize) -> (f64, f64) {
        let Some(c) = self.transform.softcap else { return (1.0, 0.0) };
        let u = self.unit();
        let v = self.transform.scale * Self::of(self.x, j) / c;
        let of_v = self.transform.scale * Self::of(&self.dx, j) / c + argument(&self.precision, v);
        let tanh = libm::tanh(v).abs();
        let slope = slope_near(v, 0.0);
        // Steepest where the curve is nearest to 0.
        let moved = (slope_near(v, of_v) - slope).max(times(2.0 * tanh * slope, of_v));
        let of_tanh = 2.0 * u * self.precision.tanh.at(v) * tanh;
        (slope, moved + 2.0 * tanh * of_tanh + 3.0 * u)
    }
}

/// What the argument v of a tanh may be off, after a product and a division.
fn argument(precision: &Precision, v: f64) -> f64 {
    (precision.divided(1.0) + 2.0 * precision.unit()) * v.abs().min(1e30)
}

/// δ of `y = softcap(scale · x)/temperature`.
fn of_transform(precision: &Precision, transform: &Transform, x: f64, dx: f64) -> f64 {
    let u = precision.unit();
    let &Transform { scale, softcap, temperature } = transform;
    if !x.is_finite() {
        return 0.0;
    }
    let v = scale * x;
    let mut error = scale * dx + if scale == 1.0 { 0.0 } else { u * v.abs() };
    let mut y = v;
    if let Some(c) = softcap {
        let w = v / c;
        let cosh = libm::cosh(w);
        let tanh = libm::tanh(w);
        let slope = 1.0 / cosh / cosh;
        let of_w = error / c + argument(precision, w);
        // Where the error of w is not small, the curve's steepest slope on the way counts.
        let of_tanh = times(slope, of_w).max(times(slope_near(w, of_w), of_w))
            + 2.0 * u * precision.tanh.at(w) * tanh.abs();
        y = c * tanh;
        error = c * of_tanh + u * y.abs();
    }
    if temperature != 1.0 {
        y /= temperature;
        error = error / temperature + precision.divided(1.0) * y.abs();
    }
    error
}

fn slope_near(w: f64, by: f64) -> f64 {
    let cosh = libm::cosh((w.abs() - by).max(0.0));
    1.0 / cosh / cosh
}

/// exp(x) of what is at most about 0; 0 of NaN.
fn weight(x: f64) -> f64 {
    if x.is_nan() { 0.0 } else { libm::exp(x.min(1.0)) }
}
