//! The details of a row: entropy, the largest column, the mean, log Σ p².

use super::super::Difference;
use super::row::{RowBound, of_log, weight, within};
use super::{rounding, times};

impl RowBound<'_> {
    /// Forms differ: `−Σ p log p`, or `log Z − Σ p y`.
    pub(in super::super) fn entropy(&self, entropy: f64) -> f64 {
        let u = self.unit();
        let least = self.precision.arithmetic.least_normal();
        let whole = match self.precision.difference {
            Difference::Shifted => 0.0,
            Difference::Whole => self.max.abs(),
        };
        // Of terms, of the probabilities alone; and sizes of the terms as they are added.
        let (mut error, mut of_probs, mut size, mut shifted) = (0.0, 0.0, 0.0, 0.0);
        for ((&y, &e), &dy) in self.y.iter().zip(&self.terms).zip(&self.dy) {
            let log_p = y - self.log_z;
            let p = weight(log_p);
            if p > 0.0 {
                let of_p = libm::expm1(e + self.norm + self.precision.divided(1.0) + 4.0 * u);
                let of_log_p = dy + self.log_sum;
                let log_size = 1.0 + log_p.abs() + of_log_p;
                // Probabilities below the normal numbers may be 0.
                let flushed = if p < 2.0 * least { log_size + whole } else { 0.0 };
                error += p * (times(log_size, of_p) + of_log_p + flushed);
                of_probs += p * of_p;
                size += p * (1.0 + of_p) * log_size;
                shifted += times((y - self.max).abs(), p * (1.0 + of_p));
            }
        }
        // Where y and log Z are whole, the errors of p come times their size.
        let of_whole = times(whole, of_probs) + (1.0 + entropy.abs()) * self.rounded_log_z();
        let sizes = size + shifted + times(whole, 1.0 + of_probs) + (self.log_z - self.max).abs();
        let bound = error + of_whole + times(sizes, self.additions + 4.0 * u);
        self.held(bound + rounding(self.precision.output, entropy))
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
        let of_sum = times(size + inputs, self.additions) + inputs;
        of_sum
            + self.precision.divided(n) * (mean.abs() + of_sum)
            + rounding(self.precision.output, mean)
    }

    pub(in super::super) fn log_sum_sq_probs(&self, value: f64) -> f64 {
        let u = self.unit();
        let least = self.precision.arithmetic.least_normal();
        let (mut error, mut total, mut flushed, mut count) = (0.0, 0.0, 0.0, 0);
        for (&y, &e) in self.y.iter().zip(&self.terms) {
            let square = weight(2.0 * (y - self.log_z));
            let of_square = 2.0 * e + 2.0 * u * (y - self.log_z).abs();
            error += times(square, libm::expm1(of_square));
            total += square;
            // Squares of probabilities below the normal numbers may be 0.
            flushed += if square < 2.0 * least { square } else { 0.0 };
            count += usize::from(y.is_finite());
        }
        let (error, flushed) = (error / total, flushed / total);
        if flushed > 0.5 {
            return f64::INFINITY;
        }
        let relative = error + times(1.0 + error, self.additions) + flushed;
        let below = if relative < 1.0 { -libm::log1p(-relative) } else { f64::INFINITY };
        // A sum of squares lies between 1 and their number as that of the terms does.
        let of_y = self.dy.iter().copied().fold(0.0, f64::max);
        let ln_sum = value + 2.0 * (self.log_z - self.max);
        let [low, high] = self.ends;
        let ends = [2.0 * low - libm::log1p(-flushed), 2.0 * high];
        let of_sum = libm::log1p(relative).max(below).min(2.0 * of_y + within(ln_sum, count, ends));
        let size = ln_sum.abs() + of_sum;
        // p may be e/s, or exp(y − log Z) of a log Z that was rounded.
        let of_p = self.precision.divided(1.0) + self.rounded_log_z();
        let bound = of_sum
            + 3.0 * self.log_sum
            + 2.0 * of_p
            + of_log(&self.precision, size)
            + 4.0 * u * (value.abs() + 2.0 * (self.log_z - self.max).abs() + self.log_sum);
        self.held(bound + rounding(self.precision.output, value))
    }

    /// Whether a column may be taken for the first largest one.
    pub(in super::super) fn may_be_largest(&self, column: usize, first: usize) -> bool {
        let slack = Self::of(&self.dy, column) + Self::of(&self.dy, first);
        column == first
            || (slack > 0.0 && Self::of(self.y, column) + slack >= Self::of(self.y, first))
    }
}
