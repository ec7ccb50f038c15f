//! The same loss from the textbook, on numbers that carry a derivative.
//!
//! A dual number is `v + d ε` with `ε² = 0`. Whatever is computed with it, d comes out as the
//! derivative of v with respect to the one input that started with d = 1: the sum rule, the product
//! rule and the chain rule are all there is (forward-mode differentiation, Wengert 1964).
//!
//! So this file has no gradient formula of the loss that could be wrong. It does not have the
//! stable forms either: softmax is exponentials over their sum (after a constant is subtracted),
//! the loss is `−(1 − ε) log σ(z) − ε log σ(−z)`, as printed. It holds for the moderate logits of a
//! test.

use core::ops::{Add, Div, Mul, Neg, Sub};

use super::batch::Batch;

/// A number and its derivative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dual {
    /// v
    pub value: f64,
    /// d
    pub derivative: f64,
}

impl Dual {
    /// A number that does not depend on the input.
    #[must_use]
    pub const fn constant(value: f64) -> Self {
        Self { value, derivative: 0.0 }
    }

    /// The input itself.
    #[must_use]
    pub const fn variable(value: f64) -> Self {
        Self { value, derivative: 1.0 }
    }

    /// `exp' = exp`
    #[must_use]
    pub fn exp(self) -> Self {
        let value = libm::exp(self.value);
        Self { value, derivative: value * self.derivative }
    }

    /// `ln' x = 1/x`
    #[must_use]
    pub fn ln(self) -> Self {
        Self { value: libm::log(self.value), derivative: self.derivative / self.value }
    }

    /// `tanh' = 1 − tanh²`
    #[must_use]
    pub fn tanh(self) -> Self {
        let value = libm::tanh(self.value);
        Self { value, derivative: (1.0 - value * value) * self.derivative }
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { value: self.value + other.value, derivative: self.derivative + other.derivative }
    }
}

impl Neg for Dual {
    type Output = Self;
    fn neg(self) -> Self {
        Self { value: -self.value, derivative: -self.derivative }
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let derivative = self.derivative * other.value + self.value * other.derivative;
        Self { value: self.value * other.value, derivative }
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        Self { value, derivative: (self.derivative - value * other.derivative) / other.value }
    }
}

/// The loss of a batch and its derivative with respect to the logit at (row, column).
#[must_use]
pub fn batch_loss_derivative(batch: &Batch<'_>, row: usize, column: usize) -> Dual {
    let mut loss = Dual::constant(0.0);
    for (pair, &(chosen, rejected)) in batch.pairs.iter().enumerate() {
        let log_ratio = |sequence| {
            let reference = batch.reference.get(sequence).copied().unwrap_or(f64::NAN);
            sequence_log_prob(batch, sequence, row, column) - Dual::constant(reference)
        };
        let (weight, offset) = batch.pair_options(pair).unwrap_or((f64::NAN, f64::NAN));
        if weight == 0.0 {
            continue;
        }
        let beta = Dual::constant(batch.dpo.beta);
        let z = beta * log_ratio(chosen) - beta * log_ratio(rejected) - Dual::constant(offset);

        let wrong = Dual::constant(batch.dpo.label_smoothing);
        let right = Dual::constant(1.0) - wrong;
        loss = loss - Dual::constant(weight) * (right * sigmoid(z).ln() + wrong * sigmoid(-z).ln());
    }
    loss / Dual::constant(batch.divisor)
}

fn sequence_log_prob(batch: &Batch<'_>, sequence: usize, row: usize, column: usize) -> Dual {
    let mut sum = Dual::constant(0.0);
    let (start, end) = batch.spans.get(sequence).copied().unwrap_or((0, 0));
    for t in start..end {
        if let Some((target, weight)) = batch.scored(t) {
            let seed = if t == row { Some(column) } else { None };
            sum = sum + Dual::constant(weight) * token_log_prob(batch, t, target, seed);
        }
    }
    sum
}

/// `log(exp(y[target] − m) / Σ exp(y − m))`, where m is a constant: any would do.
fn token_log_prob(batch: &Batch<'_>, t: usize, target: usize, seed: Option<usize>) -> Dual {
    let logits = || {
        batch.row(t).iter().enumerate().map(move |(j, &x)| {
            transformed(batch, if seed == Some(j) { Dual::variable(x) } else { Dual::constant(x) })
        })
    };
    let m = logits().map(|y| y.value).fold(f64::NEG_INFINITY, f64::max);
    let exponential = |y: Dual| (y - Dual::constant(m)).exp();
    let sum = logits().map(exponential).fold(Dual::constant(0.0), Dual::add);
    logits().nth(target).map_or(Dual::constant(f64::NAN), |y| (exponential(y) / sum).ln())
}

fn transformed(batch: &Batch<'_>, x: Dual) -> Dual {
    if x.value == f64::NEG_INFINITY {
        return Dual::constant(x.value);
    }
    let scaled = Dual::constant(batch.transform.scale) * x;
    let capped = batch.transform.softcap.map_or(scaled, |c| {
        let c = Dual::constant(c);
        c * (scaled / c).tanh()
    });
    capped / Dual::constant(batch.transform.temperature)
}

fn sigmoid(x: Dual) -> Dual {
    Dual::constant(1.0) / (Dual::constant(1.0) + (-x).exp())
}
