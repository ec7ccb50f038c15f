//! How well a hypothesis explains the differences: what is left of them when one side's log-probs
//! are predicted from the other side's dump.
//!
//! ```text
//! Δ_t = log p_Y(t) − log p_X(t),   r_t = log p_Y(t) − predicted_t
//! ```

use super::super::figures::{median, quantile};
use super::super::pair::agree;
use super::super::score::round;
use super::super::storage::Type;

/// Tokens that must differ by more than rounding before a cause is looked for among them: a fitted
/// parameter explains one or two by luck.
const FEWEST: usize = 8;
/// Tokens that are needed where something remains unexplained.
const MANY: usize = 32;
/// The share that has to fall to rounding. Sequences whose bounds no dump states leave a token
/// each.
const SHARE: f64 = 0.9;
/// The share of tokens that have to fall by themselves.
const LOWERED: f64 = 0.6;

/// What is left under a hypothesis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    /// Tokens that it makes a prediction of.
    pub(crate) used: usize,
    /// Those among them that differ by more than rounding.
    pub(crate) differing: usize,
    /// The share of these that it brings down to rounding.
    pub(crate) explained: f64,
    /// The share of these that it brings down to a quarter.
    lowered: f64,
    /// The share of all that are within rounding of the prediction.
    within: f64,
    /// The same of the best that one number predicts, and the 90 % quantile of what it leaves.
    by_constant: (f64, f64),
    /// Median and 90 % quantile of |Δ|.
    pub(crate) before: (f64, f64),
    /// Median and 90 % quantile of |r|.
    pub(crate) after: (f64, f64),
}

/// How much a hypothesis explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// Most of each difference; what is left is not rounding.
    Most,
    /// Down to rounding, for nine tokens of ten at least.
    All,
}

impl Evidence {
    /// `observed` are the log-probs of Y, `plain` those of X; NaN where nothing is compared.
    pub(crate) fn of(
        observed: &[f64],
        plain: &[f64],
        predicted: &[f64],
        tolerance: f64,
    ) -> Option<Self> {
        let stored = Stored::of(observed);
        let all = observed.iter().zip(plain).zip(predicted).map(|((&y, &x), &of)| (y, x, of));
        let all = || all.clone().filter(|(y, x, of)| !(y.is_nan() || x.is_nan() || of.is_nan()));
        let constant = median(all().map(|(y, ..)| y).collect())?;
        let (mut before, mut after, mut spread) = (Vec::new(), Vec::new(), Vec::new());
        let (mut differing, mut explained, mut within) = (0, 0, 0);
        let (mut lowered, mut equal) = (0, 0);
        for (y, x, guess) in all() {
            let guess = stored.round(guess);
            let (delta, rest) = ((y - x).abs(), (y - guess).abs());
            // What is infinite is as far from every number.
            let fits = guess.is_finite() && agree(tolerance, y, guess);
            let differs = !agree(tolerance, y, x);
            within += usize::from(fits);
            differing += usize::from(differs);
            explained += usize::from(fits && differs);
            lowered += usize::from(differs && (fits || 4.0 * rest <= delta));
            equal += usize::from(agree(tolerance, y, constant));
            before.push(delta);
            after.push(rest);
            spread.push((y - constant).abs());
        }
        let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        Some(Self {
            used: before.len(),
            differing,
            explained: share(explained, differing),
            lowered: share(lowered, differing),
            within: share(within, before.len()),
            by_constant: (share(equal, before.len()), middle_and_most(spread)?.1),
            before: middle_and_most(before)?,
            after: middle_and_most(after)?,
        })
    }

    /// `factor` says how far the median has to fall where something remains; of 10 and more, most
    /// tokens have to fall too, each by itself: nearly all log-probs are 0 or small, whose sizes
    /// many a function has.
    ///
    /// Log-probs that are all alike are near whatever makes them alike, a high temperature or a low
    /// cap: a hypothesis has to explain what one number does not.
    pub(crate) fn strength(&self, factor: f64) -> Option<Strength> {
        let (equal, spread) = self.by_constant;
        let fallen = |from: f64| self.after.1 * 0.5 * factor <= from;
        if self.differing < FEWEST || equal >= SHARE {
            None
        } else if self.explained >= SHARE && self.within >= SHARE {
            Some(Strength::All)
        } else if self.used >= MANY
            && self.after.0 * factor <= self.before.0
            && fallen(self.before.1)
            && fallen(spread)
            && (factor < 10.0 || self.lowered >= LOWERED)
        {
            Some(Strength::Most)
        } else {
            None
        }
    }
}

fn middle_and_most(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_unstable_by(f64::total_cmp);
    Some((quantile(&values, 0.5)?, quantile(&values, 0.9)?))
}

/// The type that log-probs were rounded to before they were written, as their last bits tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored(pub(crate) Option<Type>);

impl Stored {
    pub(crate) fn of(log_probs: &[f64]) -> Self {
        let told = || log_probs.iter().filter(|x| x.is_finite() && x.abs() > 1e-3);
        let all = |to| told().all(|&x| f64::from(round(x as f32, to)).to_bits() == x.to_bits());
        // By chance one number in 65,536 is one of bf16, one in 8,192 one of f16.
        if told().count() < FEWEST {
            return Self(None);
        }
        Self([Type::Bf16, Type::F16].into_iter().find(|&to| all(to)))
    }

    fn round(self, x: f64) -> f64 {
        self.0.map_or(x, |to| round(x as f32, to).into())
    }
}
