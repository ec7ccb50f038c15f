//! Gradients of logits.

use dpo_kernel::Element;
use dpo_kernel::verify::Transform;
use dpo_kernel::verify::kit::{Mistake, Output, Rows};

use super::row::Norm;
use super::style::{Grad, LogProb};
use super::{Plain, is};
use crate::real::Real;

impl<E: Element, A: Real> Plain<E, A> {
    pub fn row_grads(&mut self, rows: &Rows<'_, E>, coefficients: &[f32], grads: &mut [E]) {
        let width = rows.stride;
        let mut found: Vec<Option<f64>> = vec![None; rows.rows * width];
        let first = self.transformed(&self.gather(rows, 0), &rows.transform);
        let first = self.norm(&first, None);
        for row in 0..rows.rows {
            if !self.computes(rows.targets, rows.ignore, row) {
                continue;
            }
            let x = self.gather(rows, row);
            let y = self.transformed(&x, &rows.transform);
            let target = self.target(rows.targets, rows.ignore, row);
            let mut norm = self.norm(&y, target);
            if self.has(Mistake::NormOfFirstRow) {
                norm = first;
            }
            let scored = (0..rows.rows).filter(|&row| rows.is_scored(row)).count();
            let c = self.coefficient(coefficients, row, scored);
            let dx = self.dx(&x, &y, &rows.transform, target, &norm, c);
            let from = usize::from(self.has(Mistake::DropsFirstColumn));
            for (j, dx) in dx.into_iter().enumerate().take(rows.vocab) {
                if from + j < rows.vocab {
                    // Rounded as it is stored.
                    found[row * width + from + j] =
                        Some(E::from_f32(dx.wide() as f32).to_f32().into());
                }
            }
            if self.has(Mistake::WritesPadding) {
                found[row * width + rows.vocab..(row + 1) * width].fill(Some(0.0));
            }
        }
        let mut out: Vec<f64> = grads.iter().map(|x| x.to_f32().into()).collect();
        self.deliver(Output::LogitGrads, found.clone(), width, &mut out);
        for ((to, from), found) in grads.iter_mut().zip(out).zip(found) {
            if found.is_some() && !self.has(Mistake::Unwritten) {
                *to = E::from_f32(from as f32);
            }
        }
    }

    /// The coefficient of a row.
    pub fn coefficient(&self, all: &[f32], row: usize, scored: usize) -> A {
        let own = A::of(all[row].into());
        if self.has(Mistake::FirstCoefficient) {
            A::of(all[0].into())
        } else if self.has(Mistake::NoCoefficient) {
            A::one()
        } else if self.has(Mistake::CoefficientTwice) {
            own * own
        } else if self.has(Mistake::MeanOverRows) {
            own / A::of(all.len() as f64)
        } else if self.has(Mistake::MeanOverScored) {
            own / A::of(scored as f64)
        } else if self.has(Mistake::SignOfGradient) {
            own.neg()
        } else {
            own
        }
    }

    fn prob(&self, y: A, norm: &Norm<A>) -> A {
        let log_z = self.log_z(norm);
        let storage = |x: A| A::of(E::from_f32(x.wide() as f32).to_f32().into());
        let narrow = |x: A| storage(A::of(self.precision.output.round(x.wide())));
        if self.has(Mistake::NotNormalised) {
            (y - norm.max).exp()
        } else if self.has(Mistake::RoundedLogProb) {
            narrow(y - log_z).exp()
        } else if self.has(Mistake::RoundedLogZ) {
            (y - narrow(log_z)).exp()
        } else if self.has(Mistake::RoundedProbability) {
            storage((y - log_z).exp())
        } else {
            match self.style.grad {
                Grad::Quotient => (y - norm.base).exp() / norm.sum,
                Grad::Reciprocal => (y - norm.base).exp() * (A::one() / norm.sum),
                Grad::Exp => self.log_prob(y, false, norm).exp(),
            }
        }
    }

    pub fn dx(
        &self,
        x: &[A],
        y: &[A],
        transform: &Transform,
        target: Option<usize>,
        norm: &Norm<A>,
        c: A,
    ) -> Vec<A> {
        let every = self.cut(|m| is!(m, Mistake::TargetInEveryTile(t) => t));
        let one = |(j, (&x, &y)): (usize, (&A, &A))| {
            let is_target = match (every, target) {
                (Some(cut), Some(target)) => j % usize::from(cut) == target % usize::from(cut),
                _ => Some(j) == target,
            };
            let p = self.prob(y, norm);
            let one = if is_target { A::one() } else { A::zero() };
            let apart = self.style.log_prob == LogProb::Apart
                && !self.has(Mistake::TargetNotApart)
                && is_target
                && y == norm.base;
            let d = if self.has(Mistake::OnlyTarget) {
                one
            } else if self.has(Mistake::NoTarget) {
                A::zero() - p
            } else if self.has(Mistake::OnlyDiagonal) {
                if is_target { one - p } else { A::zero() }
            } else if apart {
                norm.rest / (A::one() + norm.rest)
            } else {
                one - p
            };
            if y == A::lowest() && !p.wide().is_nan() && !self.has(Mistake::NanOfMask) {
                // Of what is masked.
                return c * d * A::zero();
            }
            if self.has(Mistake::NanOfMask) && x == A::lowest() {
                return c * A::of(f64::NAN);
            }
            c * d * self.slope(x, transform)
        };
        x.iter().zip(y).enumerate().map(one).collect()
    }

    /// dy/dx
    fn slope(&self, x: A, transform: &Transform) -> A {
        let Transform { scale, softcap, temperature } = *transform;
        let (scale, temperature) = (A::of(scale), A::of(temperature));
        let without = [Mistake::NoScale, Mistake::ScaleNotInSlope];
        let factor = if without.into_iter().any(|m| self.has(m)) { A::one() } else { scale };
        let without = [Mistake::NoTemperature, Mistake::TemperatureNotInSlope];
        let divided = |d: A| {
            if without.into_iter().any(|m| self.has(m)) {
                d
            } else if self.has(Mistake::TimesTemperature) {
                d * temperature
            } else if self.style.reciprocal {
                d * (A::one() / temperature)
            } else {
                d / temperature
            }
        };
        let mut d = factor;
        if let Some(c) = softcap {
            let c = A::of(c);
            let v = if self.has(Mistake::ScaleAfterSoftcap) {
                x
            } else if self.has(Mistake::TemperatureFirst) {
                x * scale / temperature
            } else if self.has(Mistake::NoScale) {
                x
            } else {
                x * scale
            };
            let tanh = (v / c).tanh();
            if self.has(Mistake::SlopeOfTanhSquared) {
                d = d * (tanh * tanh);
            } else if self.has(Mistake::SoftcapNotScaledBack) {
                d = d * ((A::one() - tanh * tanh) / c);
            } else if !self.has(Mistake::NoSlope) && !self.has(Mistake::NoSoftcap) {
                d = d * (A::one() - tanh * tanh);
            }
        }
        divided(d)
    }
}
