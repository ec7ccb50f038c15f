//! One row of logits: the transform, log Z, what follows from it, and the way back.
//!
//! ```text
//! y       = softcap(scale · x)/temperature,   softcap(v) = c tanh(v/c)
//! m       = max y,   R = Σ exp(y − m) without one term of y = m
//! log Z   = m + log(1 + R)
//! log p_j = (y_j − m) − log(1 + R)
//! ```
//!
//! To leave out the largest term and let `log1p` put it back costs one comparison and keeps the
//! log-prob of a confident token accurate: if p = 1 − 10⁻²⁰ then log p = −10⁻²⁰, not 0.
//!
//! Special values: −inf logits are masked vocabulary; they keep y = −inf, softcap or not, have
//! probability 0 and gradient 0. A row with NaN or +inf, or with nothing but −inf, has no
//! probabilities: every figure of it is NaN, and its argmax None.

/// What happens to logits before the softmax.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// Factor on the logits.
    pub scale: f64,
    /// Bound c of `c tanh(v/c)`, after the factor.
    pub softcap: Option<f64>,
    /// Divisor after the softcap.
    pub temperature: f64,
}

impl Transform {
    /// Logits as they are.
    pub const NONE: Self = Self { scale: 1.0, softcap: None, temperature: 1.0 };

    /// `y = softcap(scale · x)/temperature`; −inf stays −inf, and +inf becomes NaN.
    #[must_use]
    pub fn apply(&self, x: f64) -> f64 {
        if x == f64::NEG_INFINITY {
            return x;
        }
        if x == f64::INFINITY {
            return f64::NAN;
        }
        let scaled = self.scale * x;
        let capped = self.softcap.map_or(scaled, |c| c * libm::tanh(scaled / c));
        capped / self.temperature
    }

    /// `dy/dx = scale · (1 − tanh²(scale · x/c))/temperature`
    ///
    /// `1 − tanh² = 1/cosh²` has no cancellation where the cap is reached.
    #[must_use]
    pub fn derivative(&self, x: f64) -> f64 {
        let slope = self.softcap.map_or(1.0, |c| {
            let cosh = libm::cosh(self.scale * x / c);
            1.0 / cosh / cosh
        });
        self.scale * slope / self.temperature
    }
}

/// Transforms a row: `y[j] = softcap(scale · x[j])/temperature`.
pub fn transform_row(x: &[f64], transform: &Transform, y: &mut [f64]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = transform.apply(x);
    }
}

/// `log Z = log Σ exp(y)`
#[must_use]
pub fn log_sum_exp(y: &[f64]) -> f64 {
    let fold = Fold::of(y);
    fold.max + libm::log1p(fold.rest)
}

/// Log-prob of the target: `log p = y[target] − log Z`.
#[must_use]
pub fn log_prob(y: &[f64], target: usize) -> f64 {
    let fold = Fold::of(y);
    y.get(target).map_or(f64::NAN, |&y| fold.log_prob(y))
}

/// `H = −Σ p log p`, in nats. Masked vocabulary contributes 0.
#[must_use]
pub fn entropy(y: &[f64]) -> f64 {
    let fold = Fold::of(y);
    let mut sum = Sum::default();
    for &y in y {
        let log_prob = fold.log_prob(y);
        if log_prob != f64::NEG_INFINITY {
            sum.add(-libm::exp(log_prob) * log_prob);
        }
    }
    sum.value()
}

/// The first index of the largest y.
#[must_use]
pub fn argmax(y: &[f64]) -> Option<usize> {
    let fold = Fold::of(y);
    y.iter().position(|&y| y >= fold.max)
}

/// `Σ y / V`; −inf as soon as one logit is masked.
#[must_use]
pub fn mean_logit(y: &[f64]) -> f64 {
    if Fold::of(y).max.is_nan() {
        return f64::NAN;
    }
    if y.contains(&f64::NEG_INFINITY) {
        return f64::NEG_INFINITY;
    }
    let mut sum = Sum::default();
    for &y in y {
        sum.add(y);
    }
    sum.value() / count(y)
}

/// `log Σ p²`, the log-probability that two draws from the row agree.
#[must_use]
pub fn log_sum_sq_probs(y: &[f64]) -> f64 {
    let fold = Fold::of(y);
    let mut rest = Sum::default();
    fold.without_largest(y, |shifted| rest.add(libm::exp(2.0 * shifted)));
    libm::log1p(rest.value()) - 2.0 * libm::log1p(fold.rest)
}

/// Gradient of `c · log p[target]` with respect to the logits x.
///
/// ```text
/// dx[j] = c · ([j = target] − p[j]) · dy/dx[j]
/// ```
///
/// `1 − p` of the target is computed as `−expm1(log p)`. Masked logits get 0, even as the target.
pub fn logit_grads(x: &[f64], transform: &Transform, target: usize, c: f64, dx: &mut [f64]) {
    transform_row(x, transform, dx);
    let fold = Fold::of(dx);
    for (j, (dx, &x)) in dx.iter_mut().zip(x).enumerate() {
        let log_prob = fold.log_prob(*dx);
        let d_log_prob = if j == target { -libm::expm1(log_prob) } else { -libm::exp(log_prob) };
        *dx = if x == f64::NEG_INFINITY && !fold.max.is_nan() {
            0.0
        } else {
            c * d_log_prob * transform.derivative(x)
        };
    }
}

/// The largest y and the exponentials of all the others.
struct Fold {
    /// m, or NaN if the row has no probabilities.
    max: f64,
    /// R
    rest: f64,
}

impl Fold {
    fn of(y: &[f64]) -> Self {
        let broken = y.iter().any(|y| y.is_nan() || *y == f64::INFINITY);
        let max = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if broken || max == f64::NEG_INFINITY {
            return Self { max: f64::NAN, rest: f64::NAN };
        }
        let mut fold = Self { max, rest: 0.0 };
        let mut rest = Sum::default();
        fold.without_largest(y, |shifted| rest.add(libm::exp(shifted)));
        fold.rest = rest.value();
        fold
    }

    /// Calls `each` with every y − m but the first that is 0.
    fn without_largest(&self, y: &[f64], mut each: impl FnMut(f64)) {
        let largest = y.iter().position(|&y| y >= self.max);
        for (_, &y) in y.iter().enumerate().filter(|(j, _)| Some(*j) != largest) {
            each(y - self.max);
        }
    }

    fn log_prob(&self, y: f64) -> f64 {
        (y - self.max) - libm::log1p(self.rest)
    }
}

/// Vocabularies and sequences count far below 2⁵³.
#[allow(clippy::cast_precision_loss, reason = "a count below 2^53 is exact")]
fn count(y: &[f64]) -> f64 {
    y.len() as f64
}

/// Neumaier's sum: what each addition rounds away is added up apart.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    rounded: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, term: f64) {
        let rounded = self.rounded + term;
        let (large, small) = if self.rounded.abs() >= term.abs() {
            (self.rounded, term)
        } else {
            (term, self.rounded)
        };
        self.lost += (large - rounded) + small;
        self.rounded = rounded;
    }

    /// An infinite term has no rounding error, but leaves NaN in its place.
    pub(super) fn value(self) -> f64 {
        if self.rounded.is_finite() { self.rounded + self.lost } else { self.rounded }
    }
}
