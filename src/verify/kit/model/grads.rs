//! Gradients of a row under a mistake.

use alloc::vec::Vec;

use super::super::Mistake;
use super::super::input::ANY;
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
            let log_p = match self.mistake {
                Mistake::NotNormalised => y - max,
                Mistake::RoundedLogProb => self.output.round(norm.log_prob(y)),
                Mistake::RoundedLogZ => y - self.output.round(log_z),
                _ => norm.log_prob(y),
            };
            let is_target = match (self.mistake, target) {
                (Mistake::TargetInEveryTile(tile), Some(target)) => {
                    j % usize::from(tile) == target % usize::from(tile)
                }
                _ => Some(j) == target,
            };
            let d = self.d_log_prob(is_target, log_p);
            let masked = self.logit(x) == f64::NEG_INFINITY && !norm.base.is_nan();
            if masked && self.mistake == Mistake::NanOfMask {
                f64::NAN
            } else if masked || c == 0.0 {
                0.0
            } else if norm.by_chance || norm.lost {
                ANY
            } else {
                c * d * self.slope(x)
            }
        };
        x.iter().zip(y).enumerate().map(one).collect()
    }

    /// `[j = t] − p`
    fn d_log_prob(&self, is_target: bool, log_p: f64) -> f64 {
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
                let p = self.storage.round(p);
                if is_target { 1.0 - p } else { -p }
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
