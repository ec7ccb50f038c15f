//! The loss of pairs, in the arithmetic that is declared for it.

use dpo_kernel::Element;
use dpo_kernel::verify::kit::{Format, Mistake, Output, Pairs};
use dpo_kernel::verify::{Dpo, PairLogProbs, PairResult};
use dpo_kernel::{bf16, f16};

use super::style::Ratio;
use super::{Plain, is};
use crate::real::{Real, Soft};

impl<E: Element, A: Real> Plain<E, A> {
    pub fn pairs(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) {
        let format = self.format(|m| is!(m, Mistake::NarrowSums(f) => f));
        let found: Vec<[f64; 6]> = match format.unwrap_or(self.precision.pair) {
            Format::F64 => self.all::<f64>(pairs),
            Format::F32 => self.all::<f32>(pairs),
            Format::F16 => self.all::<Soft<f16>>(pairs),
            Format::Bf16 => self.all::<Soft<bf16>>(pairs),
        };
        let mut before: Vec<f64> = out.iter().flat_map(figures).collect();
        let found = found.iter().flatten().map(|&x| Some(x)).collect();
        self.deliver(Output::PairLoss, found, 6, &mut before);
        for (out, found) in out.iter_mut().zip(before.chunks(6)) {
            *out = PairResult {
                loss: found[0],
                reward_chosen: found[1],
                reward_rejected: found[2],
                margin: found[3],
                d_chosen: found[4],
                d_rejected: found[5],
            };
        }
    }

    fn all<P: Real>(&self, pairs: &Pairs<'_>) -> Vec<[f64; 6]> {
        let of = |i: usize| {
            let weight = if self.has(Mistake::FirstWeight) { 0 } else { i };
            let weight = P::of(pairs.weights[weight]);
            let mut found =
                self.pair(&pairs.dpo, &pairs.log_probs[i], weight, P::of(pairs.offsets[i]));
            if self.has(Mistake::MeanOverPairs) {
                for at in [0, 4, 5] {
                    found[at] = found[at] / P::of(pairs.weights.len() as f64);
                }
            }
            found.map(Real::wide)
        };
        (0..pairs.weights.len()).map(of).collect()
    }

    fn pair<P: Real>(&self, dpo: &Dpo, pair: &PairLogProbs, weight: P, offset: P) -> [P; 6] {
        let (beta, epsilon) = (P::of(dpo.beta), P::of(dpo.label_smoothing));
        let reference = |x: f64| {
            if self.has(Mistake::NoReference) {
                P::zero()
            } else if self.has(Mistake::AddsReference) {
                P::of(x).neg()
            } else {
                P::of(x)
            }
        };
        let mut policy = [P::of(pair.policy_chosen), P::of(pair.policy_rejected)];
        let mut reference = [reference(pair.reference_chosen), reference(pair.reference_rejected)];
        if self.has(Mistake::SwapsPairs) {
            policy.reverse();
            reference.reverse();
        }
        let ratios = [policy[0] - reference[0], policy[1] - reference[1]];
        let difference = match self.style.ratio {
            Ratio::Answers | Ratio::Rewards => ratios[0] - ratios[1],
            Ratio::Models | Ratio::RewardsOfModels => {
                (policy[0] - policy[1]) - (reference[0] - reference[1])
            }
        };
        let mut margin = match self.style.ratio {
            Ratio::Rewards => beta * ratios[0] - beta * ratios[1],
            Ratio::RewardsOfModels => {
                beta * (policy[0] - policy[1]) - beta * (reference[0] - reference[1])
            }
            _ => beta * difference,
        };
        let of_loss = if self.has(Mistake::NoBeta) { difference } else { margin };
        let z = if self.has(Mistake::AddsOffset) {
            of_loss + offset
        } else if self.has(Mistake::NoOffset) {
            of_loss
        } else {
            of_loss - offset
        };
        if self.has(Mistake::OffsetInMargin) {
            margin = margin - offset;
        }
        // A pair of weight 0 is not there.
        let absent = weight == P::zero() && !self.has(Mistake::NoWeight);
        let mut loss_epsilon = epsilon;
        if self.has(Mistake::NoLabelSmoothing) {
            loss_epsilon = P::zero();
        } else if self.has(Mistake::SmoothingReversed) {
            loss_epsilon = P::one() - epsilon;
        }
        let grad_epsilon =
            if self.has(Mistake::NoLabelSmoothingInGradient) { P::zero() } else { loss_epsilon };
        let loss_weight = if self.has(Mistake::NoWeight) {
            P::one()
        } else if self.has(Mistake::WeightTwice) {
            weight * weight
        } else {
            weight
        };
        let grad_weight =
            if self.has(Mistake::NoWeightInGradient) { P::one() } else { loss_weight };
        let mut loss = loss_weight * (self.softplus(z) + loss_epsilon * z);
        let grad_beta = if self.has(Mistake::NoBetaInGradient) || self.has(Mistake::NoBeta) {
            P::one()
        } else if self.has(Mistake::BetaTwice) {
            beta * beta
        } else {
            beta
        };
        let slope = if self.style.two_slopes {
            (P::one() - grad_epsilon) * self.sigma(z) - grad_epsilon * self.sigma(z.neg())
        } else {
            self.sigma(z) - grad_epsilon
        };
        let mut d = [(grad_weight * grad_beta * slope).neg(), grad_weight * grad_beta * slope];
        if self.has(Mistake::SignOfLoss) {
            loss = loss.neg();
            d.reverse();
        }
        if self.has(Mistake::SwapsPairs) {
            d.reverse();
        }
        if self.has(Mistake::SameSign) {
            d[1] = d[0];
        }
        let of_rewards = if self.has(Mistake::NoBetaInRewards) { P::one() } else { beta };
        if self.has(Mistake::NoBetaInRewards) {
            margin = difference;
        }
        if absent {
            loss = P::zero();
            if !self.has(Mistake::NoWeightInGradient) {
                d = [P::zero(); 2];
            }
        }
        let rewards = ratios.map(|ratio| of_rewards * ratio);
        if absent {
            return [loss, P::zero(), P::zero(), P::zero(), d[0], d[1]];
        }
        let all = [loss, rewards[0], rewards[1], margin, d[0], d[1]];
        if self.style.two_slopes { all.map(|x| self.flushed(x)) } else { all }
    }

    /// As a device that keeps no subnormal numbers.
    fn flushed<P: Real>(&self, x: P) -> P {
        let least = self.precision.pair.least_normal();
        if x.wide().abs() < least { P::zero() } else { x }
    }

    /// softplus(−z)
    fn softplus<P: Real>(&self, z: P) -> P {
        let tail = z.abs().neg().exp();
        let plus = z.neg().max(P::zero());
        if self.has(Mistake::LogOfSigmoid) {
            self.sigma(z.neg()).ln().neg()
        } else if self.has(Mistake::NoLog1p) {
            plus + (P::one() + tail).ln()
        } else if self.has(Mistake::SoftplusOverflows) {
            (P::one() + z.neg().exp()).ln()
        } else {
            plus + tail.ln_1p()
        }
    }

    /// σ(−z)
    fn sigma<P: Real>(&self, z: P) -> P {
        let tail = z.abs().neg().exp();
        if self.has(Mistake::SaturatedSlope) {
            P::one() - P::one() / (P::one() + z.neg().exp())
        } else if z > P::zero() {
            tail / (P::one() + tail)
        } else {
            P::one() / (P::one() + tail)
        }
    }
}

fn figures(result: &PairResult) -> [f64; 6] {
    let &PairResult { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = result;
    [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected]
}
