//! Gradients of a row under a mistake.

use alloc::vec::Vec;

use super::super::input::{ANY, is_any};
use super::super::{Format, Mistake};
use super::norm::{Norm, RowModel};
use crate::verify::Transform;

/// What a batch says of a row's gradient.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coefficients {
    /// Of this row.
    pub(super) own: f64,
    /// Of the first row.
    pub(super) first: f64,
    /// R
    pub(super) rows: f64,
    /// Rows that are scored.
    pub(super) scored: f64,
}

impl Coefficients {
    fn under(&self, mistake: Mistake) -> f64 {
        match mistake {
            Mistake::FirstCoefficient => self.first,
            Mistake::NoCoefficient => 1.0,
            Mistake::CoefficientTwice => self.own * self.own,
            Mistake::MeanOverRows => self.own / self.rows,
            Mistake::MeanOverScored => self.own / self.scored,
            Mistake::SignOfGradient => -self.own,
            _ => self.own,
        }
    }
}

impl RowModel {
    /// `c ([j = t] − p_j) dy/dx_j` of all columns.
    pub(super) fn grads(
        &self,
        x: &[f64],
        y: &[f64],
        norm: &Norm,
        target: Option<usize>,
        c: &Coefficients,
    ) -> Vec<f64> {
        let log_z = norm.log_z();
        let c = c.under(self.mistake);
        let max = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let one = |(j, (&x, &y)): (usize, (&f64, &f64))| {
            let exact = norm.log_prob(y);
            let log_p = match self.mistake {
                Mistake::NotNormalised => y - max,
                Mistake::RoundedLogProb => self.rounded(self.kept(), exact, exact, log_z),
                Mistake::RoundedLogZ => match self.rounded(self.kept(), log_z, exact, log_z) {
                    log_z if is_any(log_z) => ANY,
                    log_z => y - log_z,
                },
                _ => exact,
            };
            if is_any(log_p) {
                return ANY;
            }
            let is_target = match (self.mistake, target) {
                (Mistake::TargetInEveryTile(tile), Some(target)) => {
                    j % usize::from(tile) == target % usize::from(tile)
                }
                _ => Some(j) == target,
            };
            let d = self.d_log_prob(is_target, log_p, log_z);
            if is_any(d) {
                return ANY;
            }
            let masked = self.logit(x) == f64::NEG_INFINITY && !norm.base.is_nan();
            if masked && self.mistake == Mistake::NanOfMask {
                f64::NAN
            } else if norm.by_chance || norm.lost {
                ANY
            } else if masked || c == 0.0 {
                0.0
            } else {
                c * d * self.slope(x)
            }
        };
        x.iter().zip(y).enumerate().map(one).collect()
    }

    /// What figures are kept in between forward and backward, where that is too narrow.
    fn kept(&self) -> Format {
        self.output.min(self.storage)
    }

    /// A number that is rounded on the way; anything where the backend's own errors, which are at
    /// the size of log Z, decide to which side.
    fn rounded(&self, format: Format, x: f64, log_p: f64, log_z: f64) -> f64 {
        let size = if self.mistake == Mistake::RoundedProbability { x } else { 1.0 };
        let off = 32.0 * self.arithmetic.unit() * (1.0 + log_p.abs() + log_z.abs()) * size;
        let [below, above] = [format.round(x - off), format.round(x + off)];
        if below < above { ANY } else { format.round(x) }
    }

    /// `[j = t] − p`
    fn d_log_prob(&self, is_target: bool, log_p: f64, log_z: f64) -> f64 {
        let p = libm::exp(log_p);
        let exact = if is_target { -libm::expm1(log_p) } else { -p };
        match self.mistake {
            Mistake::OnlyTarget => {
                if is_target {
                    1.0
                } else {
                    0.0
                }
            }
            Mistake::NoTarget => -p,
            Mistake::RoundedProbability => {
                let p = self.rounded(self.storage, p, log_p, log_z);
                if is_any(p) {
                    ANY
                } else if is_target {
                    1.0 - p
                } else {
                    -p
                }
            }
            Mistake::OnlyDiagonal => {
                if is_target {
                    exact
                } else {
                    0.0
                }
            }
            _ => exact,
        }
    }

    /// dy/dx
    fn slope(&self, x: f64) -> f64 {
        let Transform { scale, softcap, temperature } = self.transform;
        let scale = match self.mistake {
            Mistake::NoScale | Mistake::ScaleNotInSlope => 1.0,
            _ => scale,
        };
        let temperature = match self.mistake {
            Mistake::NoTemperature | Mistake::TemperatureNotInSlope => 1.0,
            Mistake::TimesTemperature => 1.0 / temperature,
            _ => temperature,
        };
        let Some(c) = softcap else { return scale / temperature };
        let x = self.logit(x);
        let v = match self.mistake {
            Mistake::ScaleAfterSoftcap => x / c,
            Mistake::TemperatureFirst => scale * x / temperature / c,
            _ => scale * x / c,
        };
        let cosh = libm::cosh(v);
        let tanh = libm::tanh(v);
        let bend = match self.mistake {
            Mistake::NoSlope | Mistake::NoSoftcap => 1.0,
            Mistake::SlopeOfTanhSquared => tanh * tanh,
            Mistake::SoftcapNotScaledBack => 1.0 / cosh / cosh / c,
            _ => 1.0 / cosh / cosh,
        };
        scale * bend / temperature
    }
}
