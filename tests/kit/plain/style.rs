//! How a correct backend may be written: orders of additions, forms of the same figures.

use dpo_kernel::verify::kit::Format;

use crate::real::Real;

/// The order in which terms are added.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Forward,
    Reverse,
    /// Halves, their halves, …
    Tree,
    /// So many partial sums, then a tree of them.
    Lanes(usize),
    /// As a block of 256 threads adds: strided partial sums, shuffles in warps of 32, then of warps.
    Block,
    /// With Kahan's correction.
    Kahan,
}

impl Order {
    pub fn sum<A: Real>(self, terms: &[A]) -> A {
        let forward = |terms: &mut dyn Iterator<Item = A>| terms.fold(A::zero(), |s, x| s + x);
        match self {
            Self::Forward => forward(&mut terms.iter().copied()),
            Self::Reverse => forward(&mut terms.iter().rev().copied()),
            Self::Tree if terms.len() > 2 => {
                let (low, high) = terms.split_at(terms.len() / 2);
                self.sum(low) + self.sum(high)
            }
            Self::Tree => forward(&mut terms.iter().copied()),
            Self::Lanes(lanes) => {
                let lane = |i: usize| forward(&mut terms.iter().skip(i).step_by(lanes).copied());
                Self::Tree.sum(&(0..lanes).map(lane).collect::<Vec<A>>())
            }
            Self::Block => {
                let thread = |i: usize| forward(&mut terms.iter().skip(i).step_by(256).copied());
                let threads: Vec<A> = (0..256).map(thread).collect();
                let warps: Vec<A> = threads.chunks(32).map(shuffled).collect();
                shuffled(&warps)
            }
            Self::Kahan => {
                let (mut sum, mut lost) = (A::zero(), A::zero());
                for &term in terms {
                    let corrected = term - lost;
                    let next = sum + corrected;
                    lost = (next - sum) - corrected;
                    sum = next;
                }
                sum
            }
        }
    }
}

/// Lane i adds that of i xor 16, 8, 4, 2, 1.
fn shuffled<A: Real>(lanes: &[A]) -> A {
    let mut lanes = lanes.to_vec();
    let mut step = lanes.len() / 2;
    while step > 0 {
        lanes = (0..lanes.len()).map(|i| lanes[i] + lanes[i ^ step]).collect();
        step /= 2;
    }
    lanes[0]
}

/// How the sum of a row is formed.
#[derive(Clone, Copy, Debug)]
pub enum Pass {
    /// The maximum, then the sum.
    Two,
    /// Both at once, each element a tile.
    Online,
    /// Both at once, in tiles.
    Tiles(usize),
    /// The maximum, then the sum by exp2.
    Exp2,
}

/// How log p is formed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LogProb {
    /// (y − m) − ln s
    Shifted,
    /// y − (m + ln s)
    Whole,
    /// −ln(1 + rest) where the target is largest.
    Apart,
}

/// How p is formed for a gradient.
#[derive(Clone, Copy, Debug)]
pub enum Grad {
    /// exp(y − m)/s
    Quotient,
    /// exp(y − m) · (1/s)
    Reciprocal,
    /// exp(y − log Z)
    Exp,
}

/// How a pair's z is formed.
#[derive(Clone, Copy, Debug)]
pub enum Ratio {
    /// (πc − rc) − (πr − rr)
    Answers,
    /// (πc − πr) − (rc − rr)
    Models,
    /// β(πc − rc) − β(πr − rr)
    Rewards,
    /// β(πc − πr) − β(rc − rr)
    RewardsOfModels,
}

/// A way to write a correct backend.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub order: Order,
    pub pass: Pass,
    pub log_prob: LogProb,
    pub grad: Grad,
    pub ratio: Ratio,
    /// A pair's slope as (1 − ε) σ(−z) − ε σ(z), and what is below the least normal number as 0.
    pub two_slopes: bool,
    /// Divisors of logits as factors.
    pub reciprocal: bool,
    /// What a head's logits are rounded to.
    pub head_logits: Option<Format>,
}

impl Style {
    pub const PLAIN: Self = Self {
        order: Order::Forward,
        pass: Pass::Two,
        log_prob: LogProb::Whole,
        grad: Grad::Exp,
        ratio: Ratio::Answers,
        two_slopes: false,
        reciprocal: false,
        head_logits: None,
    };
}
