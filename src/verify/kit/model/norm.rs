//! One row under a mistake: transform, log Z, log p, details.

use alloc::vec::Vec;
use core::f64::consts::{LN_2, LN_10};

use super::super::input::{ANY, RowFigures};
use super::super::{Format, Mistake, Output};
use crate::verify::Transform;

/// A row's kernel with a mistake.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct RowModel {
    pub(in super::super) mistake: Mistake,
    pub(in super::super) transform: Transform,
    pub(in super::super) arithmetic: Format,
    pub(in super::super) output: Format,
    pub(in super::super) storage: Format,
}

/// A row's log Z as base and sum: `base + ln(1 + rest)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm {
    pub(super) base: f64,
    log_sum: f64,
    /// The sum overflows or vanishes: gradients are left to chance.
    pub(super) by_chance: bool,
    /// The sum has lost digits.
    pub(super) lost: bool,
}

impl Norm {
    const NAN: Self = Self { base: f64::NAN, log_sum: f64::NAN, by_chance: false, lost: false };

    fn new(base: f64, rest: f64) -> Self {
        let log_sum = if rest > -0.5 { libm::log1p(rest) } else { libm::log(1.0 + rest) };
        Self { base, log_sum, ..Self::NAN }
    }

    pub(super) fn log_z(&self) -> f64 {
        self.base + self.log_sum
    }

    pub(super) fn log_prob(&self, y: f64) -> f64 {
        (y - self.base) - self.log_sum
    }
}

impl RowModel {
    /// The least number that logits are stored as.
    fn lowest(&self) -> f64 {
        match self.storage {
            Format::F16 => -65504.0,
            Format::Bf16 => f64::from(half::bf16::MIN.to_f32()),
            Format::F32 | Format::F64 => f64::from(f32::MIN),
        }
    }

    /// A logit as the kernel takes it.
    pub(super) fn logit(&self, x: f64) -> f64 {
        match self.mistake {
            Mistake::InputRounded(format) => format.round(x),
            Mistake::MaskIsNumber(mask) if x == f64::NEG_INFINITY => {
                let lowest = self.lowest();
                if mask == i32::MIN { lowest } else { f64::from(mask).max(lowest) }
            }
            Mistake::InfinityIsNumber if x == f64::INFINITY => -self.lowest(),
            _ => x,
        }
    }

    /// y of a logit.
    pub(super) fn apply(&self, x: f64) -> f64 {
        let x = self.logit(x);
        if x == f64::NEG_INFINITY {
            return match (self.mistake, self.transform.softcap) {
                (Mistake::SoftcapUnmasks, Some(c)) => -c / self.transform.temperature,
                _ => x,
            };
        }
        if x == f64::INFINITY {
            // Where NaN is skipped, +inf still is not.
            return if self.mistake == Mistake::NanIsSkipped { x } else { f64::NAN };
        }
        let Transform { scale, softcap, temperature } = self.transform;
        let cap = |v: f64| softcap.map_or(v, |c| c * libm::tanh(v / c));
        match self.mistake {
            Mistake::NoScale => cap(x) / temperature,
            Mistake::NoSoftcap => scale * x / temperature,
            Mistake::SoftcapNotScaledBack => {
                softcap.map_or(scale * x, |c| libm::tanh(scale * x / c)) / temperature
            }
            Mistake::NoTemperature => cap(scale * x),
            Mistake::TimesTemperature => cap(scale * x) * temperature,
            Mistake::TemperatureFirst => cap(scale * x / temperature),
            Mistake::ScaleAfterSoftcap => scale * cap(x) / temperature,
            _ => cap(scale * x) / temperature,
        }
    }

    /// log Z of a row y.
    pub(super) fn norm(&self, y: &[f64]) -> Norm {
        let skip = self.mistake == Mistake::NanIsSkipped;
        let broken = y.iter().any(|y| y.is_nan()) && !skip;
        let max = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let limited = matches!(self.mistake, Mistake::NoMaximum | Mistake::MaximumFromZero);
        if limited && (broken || !max.is_finite()) {
            // Infinities and zeros meet: what comes of it depends on the form.
            return Norm { base: 0.0, by_chance: true, lost: true, ..Norm::NAN };
        }
        if matches!(self.mistake, Mistake::MaskIsNumber(_)) && max == self.apply(f64::NEG_INFINITY)
        {
            // So large that few digits are left of what is subtracted.
            return Norm { base: max, by_chance: true, lost: true, ..Norm::NAN };
        }
        if broken || !max.is_finite() || self.has_masked_tile(y) {
            return Norm::NAN;
        }
        match self.mistake {
            Mistake::NoMaximum => self.limited(y, max, 0.0),
            Mistake::MaximumFromZero => self.limited(y, max, max.max(0.0)),
            Mistake::NoRescale(tile) => Norm::new(max, rest_not_rescaled(y, tile)),
            Mistake::TiesCountOnce => {
                let mut values = y.to_vec();
                values.sort_unstable_by(f64::total_cmp);
                values.dedup();
                Norm::new(max, rest_of(&values, max))
            }
            Mistake::OnlyMaximum => Norm::new(max, 0.0),
            Mistake::MaximumTwice => Norm::new(max, rest_of(y, max) + 1.0),
            Mistake::MaximumNotAdded => Norm { base: 0.0, ..Norm::new(max, rest_of(y, max)) },
            _ => Norm::new(max, rest_of(y, max)),
        }
    }

    /// A sum relative to a base that may lie far from the maximum, in the arithmetic's range.
    fn limited(&self, y: &[f64], max: f64, base: f64) -> Norm {
        let least = self.arithmetic.least_normal();
        let overflow = self.arithmetic.overflow();
        let sum: f64 = y.iter().map(|y| libm::exp(y - base)).sum();
        // Squares of the terms leave the range at half the way.
        let far = (max - base).abs() > 0.45 * libm::log(overflow);
        let log_sum = if sum >= overflow {
            f64::INFINITY
        } else if sum < least * self.arithmetic.unit() {
            f64::NEG_INFINITY
        } else {
            libm::log(sum)
        };
        let lost = log_sum.is_finite() && sum < 1024.0 * least;
        Norm { base, log_sum, by_chance: far, lost }
    }

    fn has_masked_tile(&self, y: &[f64]) -> bool {
        let masked = |tile: &[f64]| tile.iter().all(|&y| y == f64::NEG_INFINITY);
        match self.mistake {
            Mistake::LeadingMaskedTile(tile) => y.chunks(tile.into()).next().is_some_and(masked),
            Mistake::MaskedTile(tile) => y.chunks(tile.into()).any(masked),
            _ => false,
        }
    }

    /// Log-prob, log Z and details; the target's column may be one that the row lacks.
    pub(super) fn forward(
        &self,
        y: &[f64],
        norm: &Norm,
        target: Option<usize>,
        wants: &dyn Fn(Output) -> bool,
    ) -> RowFigures {
        let y_target = target.and_then(|t| y.get(t)).copied().unwrap_or(ANY);
        let mut figures = RowFigures {
            log_prob: self.log_prob(norm, y_target),
            log_z: norm.log_z(),
            ..RowFigures::default()
        };
        if target.is_none() {
            figures.log_prob = ANY;
        }
        if norm.lost {
            figures.log_prob = ANY;
            figures.log_z = ANY;
        }
        if [Output::Entropy, Output::Argmax, Output::MeanLogit, Output::LogSumSqProbs]
            .into_iter()
            .any(wants)
        {
            self.details(y, norm, &mut figures);
        }
        let logarithm = match self.mistake {
            Mistake::LogBase2 => LN_2,
            Mistake::LogBase10 => LN_10,
            _ => 1.0,
        };
        if norm.by_chance || norm.lost {
            // Sums without digits: what is made of them depends on the form.
            figures.entropy = ANY;
            figures.log_sum_sq_probs = ANY;
        }
        figures.log_prob /= logarithm;
        figures.log_z /= logarithm;
        figures
    }

    fn log_prob(&self, norm: &Norm, y: f64) -> f64 {
        let log_prob = norm.log_prob(y);
        match self.mistake {
            Mistake::SignOfLogProb => -log_prob,
            Mistake::Probability => libm::exp(log_prob),
            Mistake::NoLogZ => y,
            Mistake::NoTargetLogit => -norm.log_z(),
            Mistake::LogOfProbability => {
                let p = libm::exp(log_prob);
                let least = self.arithmetic.least_normal();
                if p < least * self.arithmetic.unit() {
                    f64::NEG_INFINITY
                } else if p < least {
                    ANY
                } else {
                    log_prob
                }
            }
            _ => log_prob,
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "columns are below 2^53")]
    fn details(&self, y: &[f64], norm: &Norm, figures: &mut RowFigures) {
        let (mut entropy, mut squares, mut sum, mut unmasked) = (0.0, 0.0, 0.0, 0.0);
        for &y in y {
            let log_p = norm.log_prob(y);
            let p = libm::exp(log_p);
            if y == f64::NEG_INFINITY {
                if self.mistake == Mistake::EntropyOfMask {
                    entropy = f64::NAN;
                }
            } else {
                entropy -= p * log_p;
                unmasked += 1.0;
            }
            squares += p * p;
            if self.mistake != Mistake::MeanOfUnmasked || y != f64::NEG_INFINITY {
                sum += y;
            }
        }
        figures.entropy = match self.mistake {
            _ if norm.base.is_nan() => f64::NAN,
            Mistake::EntropyInBits => entropy / LN_2,
            Mistake::SignOfEntropy => -entropy,
            _ => entropy,
        };
        let max = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let largest = |y: &f64| *y >= max;
        let column = if self.mistake == Mistake::ArgmaxIsLast {
            y.iter().rposition(largest)
        } else {
            y.iter().position(largest)
        };
        figures.argmax = column.filter(|_| !norm.base.is_nan()).map_or(ANY, |column| column as f64);
        let has_nan = y.iter().any(|y| y.is_nan());
        let broken = max == f64::NEG_INFINITY || (has_nan && self.mistake != Mistake::NanIsSkipped);
        figures.mean_logit = match self.mistake {
            _ if broken => f64::NAN,
            _ if sum.is_finite() && sum.abs() >= self.arithmetic.overflow() => ANY,
            Mistake::SumOfLogits => sum,
            Mistake::MeanOfUnmasked => sum / unmasked,
            _ => sum / y.len() as f64,
        };
        figures.log_sum_sq_probs = match self.mistake {
            Mistake::NoLogOfSquares => squares,
            _ => libm::log(squares),
        };
    }
}

/// Σ exp(y − base) without one term of y = base, which is 1.
fn rest_of(y: &[f64], base: f64) -> f64 {
    let largest = y.iter().position(|&y| y >= base);
    let others = y.iter().enumerate().filter(|&(j, y)| Some(j) != largest && !y.is_nan());
    others.map(|(_, y)| libm::exp(y - base)).sum()
}

/// Σ of tiles, each relative to the maximum so far, without one term of the largest, which is 1.
fn rest_not_rescaled(y: &[f64], tile: u16) -> f64 {
    let largest = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut max, mut sum, mut left_out) = (f64::NEG_INFINITY, 0.0, false);
    for tile in y.chunks(tile.into()) {
        max = tile.iter().copied().fold(max, f64::max);
        if max == f64::NEG_INFINITY {
            continue;
        }
        for y in tile {
            if *y >= largest && !left_out {
                left_out = true;
            } else {
                sum += libm::exp(y - max);
            }
        }
    }
    sum
}

/// The list of y of logits.
pub(super) fn transformed(model: &RowModel, x: &[f64]) -> Vec<f64> {
    x.iter().map(|&x| model.apply(x)).collect()
}
