//! A row: transform, log Z, log p, details.

use dpo_kernel::Element;
use dpo_kernel::verify::Transform;
use dpo_kernel::verify::kit::{Format, Mistake};

use super::style::{LogProb, Order, Pass};
use super::{Plain, is};
use crate::real::Real;

/// log Z = base + ln sum, with the sum without the target where it is kept apart.
#[derive(Clone, Copy)]
pub struct Norm<A> {
    pub max: A,
    pub base: A,
    pub sum: A,
    pub rest: A,
}

pub struct Figures<A> {
    pub log_prob: A,
    pub log_z: A,
    pub entropy: A,
    pub argmax: u32,
    pub mean_logit: A,
    pub log_sum_sq_probs: A,
}

impl<E: Element, A: Real> Plain<E, A> {
    /// y of a logit.
    pub fn y(&self, x: A, transform: &Transform) -> A {
        let mut x = x;
        if let Some(format) = self.format(|m| is!(m, Mistake::InputRounded(f) => f)) {
            x = A::of(format.round(x.wide()));
        }
        if x == A::lowest() {
            let mask = self.faults.iter().find_map(|m| is!(m, Mistake::MaskIsNumber(n) => *n));
            match mask {
                Some(i32::MIN) if Format::of::<E>() == Format::F32 => x = A::of(f32::MIN.into()),
                Some(i32::MIN) => x = A::of(E::LOWEST.into()),
                Some(number) => x = A::of(f64::from(number).max(f64::from(E::LOWEST))),
                None if self.has(Mistake::SoftcapUnmasks) && transform.softcap.is_some() => {}
                None => return x,
            }
        }
        if self.has(Mistake::InfinityIsNumber) && x.wide() == f64::INFINITY {
            x = A::of(-f64::from(E::LOWEST));
        }
        let Transform { scale, softcap, temperature } = *transform;
        let (scale, temperature) = (A::of(scale), A::of(temperature));
        let scale = if self.has(Mistake::NoScale) { A::one() } else { scale };
        let divided = |y: A| {
            if self.has(Mistake::NoTemperature) {
                y
            } else if self.has(Mistake::TimesTemperature) {
                y * temperature
            } else if self.style.reciprocal {
                y * (A::one() / temperature)
            } else {
                y / temperature
            }
        };
        let cap = |v: A| match softcap {
            Some(c) if !self.has(Mistake::NoSoftcap) => {
                let tanh = (v / A::of(c)).tanh();
                if self.has(Mistake::SoftcapNotScaledBack) { tanh } else { A::of(c) * tanh }
            }
            _ => v,
        };
        if self.has(Mistake::TemperatureFirst) {
            cap(divided(x * scale))
        } else if self.has(Mistake::ScaleAfterSoftcap) {
            divided(cap(x) * scale)
        } else {
            divided(cap(x * scale))
        }
    }

    fn exp(&self, x: A) -> A {
        match self.style.pass {
            Pass::Exp2 => (x * A::of(std::f64::consts::LOG2_E)).exp2(),
            _ => x.exp(),
        }
    }

    fn sum(&self, terms: &[A]) -> A {
        let Some(format) = self.format(|m| is!(m, Mistake::NarrowSums(f) => f)) else {
            return self.style.order.sum(terms);
        };
        let rounded = |x: A| A::of(format.round(x.wide()));
        terms.iter().fold(A::zero(), |sum, &x| rounded(sum + rounded(x)))
    }

    pub fn norm(&self, y: &[A], target: Option<usize>) -> Norm<A> {
        let live = |y: &&A| !self.has(Mistake::NanIsSkipped) || !y.wide().is_nan();
        let y: Vec<A> = y.iter().filter(live).copied().collect();
        let max = y.iter().fold(A::lowest(), |max, &y| max.max(y));
        let sum_to =
            |base: A, y: &[A]| self.sum(&y.iter().map(|&y| self.exp(y - base)).collect::<Vec<A>>());
        let tile = |cut: u16| usize::from(cut);
        if let Some(cut) = self.cut(|m| is!(m, Mistake::NoRescale(t) => t)) {
            let (mut max, mut sum) = (A::lowest(), A::zero());
            for tile in y.chunks(tile(cut)) {
                max = tile.iter().fold(max, |max, &y| max.max(y));
                if max > A::lowest() {
                    sum = sum + sum_to(max, tile);
                }
            }
            return Norm { max, base: max, sum, rest: sum };
        }
        if let Some(cut) = self.cut(|m| is!(m, Mistake::LeadingMaskedTile(t) => t)) {
            return self.online(&y, tile(cut), false);
        }
        if let Some(cut) = self.cut(|m| is!(m, Mistake::MaskedTile(t) => t)) {
            let parts = y.chunks(tile(cut)).map(|tile| {
                let max = tile.iter().fold(A::lowest(), |max, &y| max.max(y));
                (max, sum_to(max, tile))
            });
            let sum = parts.fold(A::zero(), |sum, (m, s)| sum + s * (m - max).exp());
            return Norm { max, base: max, sum, rest: sum };
        }
        let base = if self.has(Mistake::NoMaximum) {
            A::zero()
        } else if self.has(Mistake::MaximumFromZero) {
            A::zero().max(max)
        } else {
            max
        };
        let mut norm = match self.style.pass {
            Pass::Online => self.online(&y, 1, true),
            Pass::Tiles(tile) => self.online(&y, tile, true),
            Pass::Two | Pass::Exp2 => {
                let sum = sum_to(base, &y);
                Norm { max, base, sum, rest: sum }
            }
        };
        // Of a row of one column that is no number there is no rest to say so.
        let is_whole = |target: usize| y.get(target).is_some_and(|y| y.wide().is_finite());
        if let (LogProb::Apart, Some(target)) =
            (self.style.log_prob, target.filter(|&target| is_whole(target)))
        {
            let others: Vec<A> =
                y.iter().enumerate().filter(|(j, _)| *j != target).map(|(_, &y)| y).collect();
            norm.rest = sum_to(norm.base, &others);
        }
        if self.has(Mistake::TiesCountOnce) {
            let mut once: Vec<A> = Vec::new();
            let mut sorted = y.clone();
            sorted.sort_by(|a, b| a.wide().total_cmp(&b.wide()));
            for y in sorted {
                if once.last().is_none_or(|last| *last != y) {
                    once.push(y);
                }
            }
            norm.sum = sum_to(base, &once);
        }
        if self.has(Mistake::MaximumTwice) {
            norm.sum = norm.sum + A::one();
        }
        norm
    }

    /// Maximum and sum in one sweep; a guard keeps tiles of −inf from NaN.
    fn online(&self, y: &[A], tile: usize, guarded: bool) -> Norm<A> {
        let (mut max, mut sum) = (A::lowest(), A::zero());
        for tile in y.chunks(tile) {
            let new = tile.iter().fold(max, |max, &y| max.max(y));
            let nan = tile.iter().any(|y| y.wide().is_nan());
            if guarded && new == A::lowest() && !nan {
                continue;
            }
            let terms: Vec<A> = tile.iter().map(|&y| self.exp(y - new)).collect();
            let kept = if guarded && max == A::lowest() && sum == A::zero() {
                A::zero()
            } else {
                sum * self.exp(max - new)
            };
            sum = kept + self.style.order.sum(&terms);
            max = new;
        }
        if max == A::lowest() {
            sum = A::of(f64::NAN);
        }
        Norm { max, base: max, sum, rest: sum }
    }

    pub fn log_z(&self, norm: &Norm<A>) -> A {
        if self.has(Mistake::MaximumNotAdded) {
            norm.sum.ln()
        } else if self.has(Mistake::OnlyMaximum) {
            norm.max
        } else {
            norm.base + norm.sum.ln()
        }
    }

    pub fn log_prob(&self, y: A, is_target: bool, norm: &Norm<A>) -> A {
        let faulty = [Mistake::MaximumNotAdded, Mistake::OnlyMaximum];
        match self.style.log_prob {
            _ if faulty.into_iter().any(|m| self.has(m)) => y - self.log_z(norm),
            LogProb::Whole => y - self.log_z(norm),
            LogProb::Apart if is_target && y == norm.base && !self.has(Mistake::TargetNotApart) => {
                norm.rest.ln_1p().neg()
            }
            LogProb::Shifted | LogProb::Apart => (y - norm.base) - norm.sum.ln(),
        }
    }

    pub fn figures(&self, y: &[A], target: Option<usize>) -> Figures<A> {
        let norm = self.norm(y, target);
        let log_z = self.log_z(&norm);
        let y_target = target.and_then(|t| y.get(t)).copied().unwrap_or(A::of(-7.0));
        let mut log_prob = self.log_prob(y_target, true, &norm);
        if self.has(Mistake::SignOfLogProb) {
            log_prob = log_prob.neg();
        } else if self.has(Mistake::Probability) {
            log_prob = log_prob.exp();
        } else if self.has(Mistake::NoLogZ) {
            log_prob = y_target;
        } else if self.has(Mistake::NoTargetLogit) {
            log_prob = log_z.neg();
        } else if self.has(Mistake::LogOfProbability) {
            log_prob = (self.exp(y_target - norm.base) / norm.sum).ln();
        }
        let base = |x: A| {
            if self.has(Mistake::LogBase2) {
                x / A::of(std::f64::consts::LN_2)
            } else if self.has(Mistake::LogBase10) {
                x / A::of(std::f64::consts::LN_10)
            } else {
                x
            }
        };
        let largest = |y: &A| *y >= norm.max;
        let argmax = if self.has(Mistake::ArgmaxIsLast) {
            y.iter().rposition(largest)
        } else {
            y.iter().position(largest)
        };
        Figures {
            log_prob: base(log_prob),
            log_z: base(log_z),
            entropy: self.entropy(y, &norm),
            argmax: argmax.map_or(0, |j| j as u32),
            mean_logit: self.mean(y),
            log_sum_sq_probs: self.squares(y, &norm),
        }
    }

    fn entropy(&self, y: &[A], norm: &Norm<A>) -> A {
        let term = |&y: &A| {
            let log_p = self.log_prob(y, false, norm);
            if y == A::lowest() && !self.has(Mistake::EntropyOfMask) && !norm.sum.wide().is_nan() {
                A::zero()
            } else {
                log_p.exp() * log_p
            }
        };
        let sum = self.style.order.sum(&y.iter().map(term).collect::<Vec<A>>());
        let sum = if self.has(Mistake::SignOfEntropy) { sum } else { sum.neg() };
        if self.has(Mistake::EntropyInBits) { sum / A::of(std::f64::consts::LN_2) } else { sum }
    }

    fn mean(&self, y: &[A]) -> A {
        let unmasked = self.has(Mistake::MeanOfUnmasked);
        let taken: Vec<A> = y.iter().filter(|y| !unmasked || **y != A::lowest()).copied().collect();
        let n = if self.has(Mistake::SumOfLogits) { 1.0 } else { taken.len() as f64 };
        // Kahan's correction of an infinite sum is NaN.
        let finite = taken.iter().all(|y| y.wide().is_finite());
        let order = if finite { self.style.order } else { Order::Forward };
        order.sum(&taken) / A::of(n)
    }

    fn squares(&self, y: &[A], norm: &Norm<A>) -> A {
        let squares = y.iter().map(|&y| {
            let e = self.exp(y - norm.base);
            e * e
        });
        let sum = self.style.order.sum(&squares.collect::<Vec<A>>());
        let log = sum.ln() - A::of(2.0) * norm.sum.ln();
        if self.has(Mistake::NoLogOfSquares) { log.exp() } else { log }
    }
}
