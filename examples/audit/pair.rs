//! Two dumps of the same tokens, side by side.

use std::num::FpCategory;

use super::dump::{Dump, Source};
use super::score::{View, predict};

/// A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What becomes of a token in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Scored on neither side, NaN on both, or −inf on both.
    Aside,
    /// Finite on both sides.
    Finite,
    /// Scored on this side alone.
    OnlyScored(Side),
    /// NaN or +inf on this side alone.
    NotANumber(Side),
    /// −inf on this side alone.
    Impossible(Side),
    /// Exactly 0 on this side alone, where the other is below by more than rounding.
    Zero(Side),
}

/// Both dumps, their log-probs, and the differences.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) a: Dump,
    pub(crate) b: Dump,
    pub(crate) of_a: Vec<f64>,
    pub(crate) of_b: Vec<f64>,
    /// `log p_B − log p_A`; ±inf where one is −inf, NaN where nothing is compared.
    pub(crate) deltas: Vec<f64>,
    pub(crate) fates: Vec<Fate>,
    /// What a log-prob may be off by, relative to the larger of itself and 1.
    pub(crate) tolerance: f64,
}

impl Pair {
    /// The dumps must have as many tokens as each other.
    pub(crate) fn new(a: Dump, b: Dump, tolerance: f64) -> Result<Self, String> {
        let (of_a, of_b) = (log_probs(&a)?, log_probs(&b)?);
        let scored = a.scored().into_iter().zip(b.scored());
        let both = of_a.iter().zip(&of_b).zip(scored);
        let fate = |((&a, &b), scored)| fate((a, b), scored, tolerance);
        let fates: Vec<_> = both.map(fate).collect();
        let deltas = of_a.iter().zip(&of_b).zip(&fates).map(|((a, b), fate)| match fate {
            Fate::Finite | Fate::Zero(_) | Fate::Impossible(_) => b - a,
            _ => f64::NAN,
        });
        Ok(Self { deltas: deltas.collect(), a, b, of_a, of_b, fates, tolerance })
    }

    pub(crate) fn len(&self) -> usize {
        self.fates.len()
    }

    pub(crate) fn dump(&self, side: Side) -> &Dump {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    pub(crate) fn log_probs(&self, side: Side) -> &[f64] {
        match side {
            Side::A => &self.of_a,
            Side::B => &self.of_b,
        }
    }

    /// The log-probs of one side as far as hypotheses are held to them: NaN elsewhere.
    pub(crate) fn finite(&self, side: Side) -> Vec<f64> {
        let all = self.log_probs(side).iter().zip(&self.fates);
        all.map(|(&x, &fate)| if fate == Fate::Finite { x } else { f64::NAN }).collect()
    }

    /// Whether any token was there to compare.
    pub(crate) fn compares(&self) -> bool {
        self.fates.iter().any(|&fate| fate != Fate::Aside)
    }

    /// Whether every token agrees within rounding.
    pub(crate) fn agrees(&self) -> bool {
        self.fates.iter().zip(self.of_a.iter().zip(&self.of_b)).all(|(fate, (&a, &b))| match fate {
            Fate::Aside => true,
            Fate::Finite => agree(self.tolerance, a, b),
            _ => false,
        })
    }
}

/// What two log-probs may differ by.
fn slack(tolerance: f64, a: f64, b: f64) -> f64 {
    tolerance * a.abs().max(b.abs()).max(1.0)
}

/// Whether two log-probs agree.
pub(crate) fn agree(tolerance: f64, a: f64, b: f64) -> bool {
    (a - b).abs() <= slack(tolerance, a, b)
}

fn log_probs(dump: &Dump) -> Result<Vec<f64>, String> {
    match &dump.source {
        Source::LogProbs(x) => Ok(x.clone()),
        Source::Logits(logits) => {
            let found = predict(dump, logits, &[View::of(logits)])?;
            Ok(found.into_iter().next().unwrap_or_default())
        }
    }
}

fn fate((a, b): (f64, f64), scored: (bool, bool), tolerance: f64) -> Fate {
    match scored {
        (false, false) => return Fate::Aside,
        (true, false) => return Fate::OnlyScored(Side::A),
        (false, true) => return Fate::OnlyScored(Side::B),
        (true, true) => {}
    }
    let bad = |x: f64| x.is_nan() || x == f64::INFINITY;
    let zero = |x: f64, other: f64| x.classify() == FpCategory::Zero && other.is_sign_negative();
    match (bad(a), bad(b)) {
        (true, true) => Fate::Aside,
        (true, false) => Fate::NotANumber(Side::A),
        (false, true) => Fate::NotANumber(Side::B),
        _ => match (a == f64::NEG_INFINITY, b == f64::NEG_INFINITY) {
            (true, true) => Fate::Aside,
            (true, false) => Fate::Impossible(Side::A),
            (false, true) => Fate::Impossible(Side::B),
            _ if agree(tolerance, a, b) => Fate::Finite,
            _ if zero(a, b) => Fate::Zero(Side::A),
            _ if zero(b, a) => Fate::Zero(Side::B),
            _ => Fate::Finite,
        },
    }
}
