//! What a fold can collect beside log Z: nothing, or the sums behind
//! [`RowDetails`](super::RowDetails).
//!
//! ```text
//! H = log Z − Σ p·y      mean = Σ y / V      log Σp² = ln Σ e^(2y) − 2 log Z
//! ```
//! A column of probability 0 adds 0 to each sum. The sums leave out the target's column and are
//! exact whatever the order ([`exact`](super::exact)); only the sum of the logits has all columns.
//! The target is added at the end.

use core::fmt::Debug;

use super::base::{Base, is_far, products};
use super::exact::{PLACES, Sum};
use crate::simd::exp::LN_2;

/// The parameter of a [`RowStats`](super::RowStats) that also collects what
/// [`RowDetails`](super::RowDetails) holds: entropy, argmax, mean logit and log Σp².
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details;

/// The other: nothing is collected.
pub(crate) type Nothing = ();

/// What a fold collects beside log Z. Sealed: `()` for nothing, or [`Details`].
pub trait Extra: Copy {
    /// Whether anything is collected.
    const ON: bool;
    /// What is collected.
    type Sums: ExtraSums;
    /// The sums, if any are collected.
    fn sums(sums: &Self::Sums) -> Option<DetailSums>;
    /// What is collected, from such sums.
    fn from_sums(sums: Option<DetailSums>) -> Self::Sums;
    /// The sums relative to the base, if any are collected; `others` is Σ term.
    fn collected(
        sums: &Self::Sums,
        base: Option<Base>,
        others: &Sum,
        factor: f64,
    ) -> Option<DetailFigures>;
}

/// The sums of a part of a row.
pub trait ExtraSums: Copy + Debug + PartialEq {
    /// Nothing folded yet.
    const NONE: Self;
    /// Adds the terms of a block, which are relative to a power of two.
    fn add(&mut self, power: i32, block: &Block);
    /// Adds the terms of a block, which are relative to a base that is 2^power · part.
    fn add_at(&mut self, base: Base, parts: (i32, f64), block: &Block, factor: f64);
    /// Adds the logits of a block.
    fn add_values(&mut self, values: f64);
    /// The largest value so far.
    fn max(&self) -> f32;
    /// Keeps the larger of two values and its column: the first column of equal values.
    fn see(&mut self, value: f32, column: u32);
    /// Adds the sums of another part of the row.
    fn merge(&mut self, other: &Self);
    /// Forgets all terms, but not the logits.
    fn clear_terms(&mut self);
}

/// The sums behind [`RowDetails`](super::RowDetails), over the columns of a row that were folded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetailSums {
    /// Σ term · v; where values are far from each other, Σ term · (v − shift).
    pub(crate) weighted: Sum,
    /// Σ term²
    pub(crate) squares: Sum,
    /// Σ v of all columns
    pub(crate) values: Sum,
    /// Whether a column is −inf.
    pub(crate) is_masked: bool,
    /// The largest v.
    pub(crate) max: f32,
    /// Its column.
    pub(crate) argmax: u32,
}

impl DetailSums {
    /// Whether a fold can have made them, one that holds nothing if `is_nothing`.
    pub(super) fn is_made(&self, is_nothing: bool) -> bool {
        let Self { weighted, squares, values, max, .. } = self;
        [weighted, squares, values].iter().all(|sum| sum.is_made())
            && squares.places >= [0; PLACES]
            && !max.is_nan()
            && (!is_nothing || *self == Self::NONE)
    }
}

/// The same sums in f64, relative to a base.
#[derive(Clone, Copy, Debug)]
pub struct DetailFigures {
    /// Σ term · (y − ln base)
    pub(super) weighted: f64,
    /// Σ term²
    pub(super) squares: f64,
    /// Σ v of all columns
    pub(super) values: f64,
    pub(super) max: f32,
    pub(super) argmax: u32,
}

/// What a block amounts to, relative to a base. Its largest value is not among it: the fold keeps
/// that of a whole tile.
#[derive(Debug)]
pub struct Block {
    /// Σ term
    pub(super) others: f64,
    /// Σ term · (v − shift)
    pub(super) weighted: f64,
    /// Σ term²
    pub(super) squares: f64,
    /// Σ v of all columns
    pub(super) values: f64,
}

impl Block {
    /// Whether the terms are finite, and their sum with distances is not.
    pub(super) fn lacks_room(&self) -> bool {
        self.others.is_finite() && !self.weighted.is_finite()
    }
}

impl Extra for () {
    const ON: bool = false;
    type Sums = ();

    fn sums((): &()) -> Option<DetailSums> {
        None
    }

    fn from_sums(_: Option<DetailSums>) {}

    #[inline(always)]
    fn collected((): &(), _: Option<Base>, _: &Sum, _: f64) -> Option<DetailFigures> {
        None
    }
}

impl ExtraSums for () {
    const NONE: Self = ();

    #[inline(always)]
    fn add(&mut self, _: i32, _: &Block) {}

    #[inline(always)]
    fn add_at(&mut self, _: Base, _: (i32, f64), _: &Block, _: f64) {}

    #[inline(always)]
    fn add_values(&mut self, _: f64) {}

    #[inline(always)]
    fn max(&self) -> f32 {
        f32::INFINITY
    }

    fn see(&mut self, _: f32, _: u32) {}

    fn merge(&mut self, (): &Self) {}

    fn clear_terms(&mut self) {}
}

impl Extra for Details {
    const ON: bool = true;
    type Sums = DetailSums;

    fn sums(sums: &DetailSums) -> Option<DetailSums> {
        Some(*sums)
    }

    fn from_sums(sums: Option<DetailSums>) -> DetailSums {
        sums.unwrap_or(DetailSums::NONE)
    }

    fn collected(
        sums: &DetailSums,
        base: Option<Base>,
        others: &Sum,
        factor: f64,
    ) -> Option<DetailFigures> {
        let DetailSums { weighted, squares, values, is_masked, max, argmax } = *sums;
        let values = if is_masked { f64::NEG_INFINITY } else { values.by_power(0) };
        let mut figures = DetailFigures { weighted: 0.0, squares: 0.0, values, max, argmax };
        match base {
            None => {}
            Some(base) if base.is_power() => {
                let power = base.exponent;
                figures.weighted = factor * weighted.by_power(power)
                    - f64::from(power) * LN_2 * others.by_power(power);
                figures.squares = squares.by_power(2 * power);
            }
            Some(base) => {
                let (power, part) = base.parts(factor);
                let weighted = sums.weighted_from(base, power, others, factor);
                figures.weighted = factor * (weighted / part);
                figures.squares = squares.by_power(2 * power) / part / part;
            }
        }
        Some(figures)
    }
}

impl DetailSums {
    /// Σ term · (v − shift) by 2^power.
    #[cold]
    #[inline(never)]
    fn weighted_from(&self, base: Base, power: i32, others: &Sum, factor: f64) -> f64 {
        let mut weighted = self.weighted;
        if !is_far(base.shift, factor) {
            // Exact: the values may be large and near each other.
            for part in others.parts(power) {
                add_product(&mut weighted, -part, base.shift, power);
            }
        }
        weighted.by_power(power)
    }
}

/// to += x · v · 2^power, exactly.
fn add_product(to: &mut Sum, x: f64, v: f32, power: i32) {
    for product in products(x, v) {
        to.add(product, power);
    }
}

impl ExtraSums for DetailSums {
    const NONE: Self = Self {
        weighted: Sum::NONE,
        squares: Sum::NONE,
        values: Sum::NONE,
        is_masked: false,
        max: f32::NEG_INFINITY,
        argmax: u32::MAX,
    };

    #[inline(always)]
    fn add(&mut self, power: i32, block: &Block) {
        self.weighted.add(block.weighted, power);
        self.squares.add(block.squares, 2 * power);
        self.add_values(block.values);
    }

    #[inline(never)]
    fn add_at(&mut self, base: Base, (power, part): (i32, f64), block: &Block, factor: f64) {
        self.weighted.add(block.weighted * part, power);
        if !is_far(base.shift, factor) {
            add_product(&mut self.weighted, block.others * part, base.shift, power);
        }
        self.squares.add(block.squares * part * part, 2 * power);
        self.add_values(block.values);
    }

    #[inline(always)]
    fn add_values(&mut self, values: f64) {
        if values.is_finite() {
            self.values.add(values, 0);
        } else {
            self.is_masked = true;
        }
    }

    #[inline(always)]
    fn max(&self) -> f32 {
        self.max
    }

    fn see(&mut self, value: f32, column: u32) {
        // Levels differ in which of two zeros is the larger: −0 becomes 0.
        let value = value + 0.0;
        if value > self.max || (value >= self.max && column < self.argmax) {
            (self.max, self.argmax) = (value, column);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.weighted.merge(&other.weighted);
        self.squares.merge(&other.squares);
        self.values.merge(&other.values);
        self.is_masked |= other.is_masked;
        self.see(other.max, other.argmax);
    }

    fn clear_terms(&mut self) {
        (self.weighted, self.squares) = (Sum::NONE, Sum::NONE);
    }
}

impl DetailFigures {
    /// As [`ExtraSums::see`].
    pub(super) fn see(&mut self, value: f32, column: u32) {
        let value = value + 0.0;
        if value > self.max || (value >= self.max && column < self.argmax) {
            (self.max, self.argmax) = (value, column);
        }
    }
}
