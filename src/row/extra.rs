//! What a fold can collect beside log Z: nothing, or the sums behind
//! [`RowDetails`](super::RowDetails).
//!
//! ```text
//! H = log Z − Σ p·y      mean = Σ y / V      log Σp² = ln Σ e^(2y) − 2 log Z
//! ```
//! A column of probability 0 adds 0 to each sum. The sums leave out the target's column and are
//! kept in places of the row's base ([`exact`](super::exact)); only the sum of the logits has all
//! columns and places of its own. The target is added at the end.

use core::fmt::Debug;

use super::base::Place;
use super::exact::{PLACES, Places, Window, power_of_two};
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
    fn collected(sums: &Self::Sums, base: Option<Place>, others: f64) -> Option<DetailFigures>;
}

/// The sums of a part of a row.
pub trait ExtraSums: Copy + Debug + PartialEq {
    /// Nothing folded yet.
    const NONE: Self;
    /// Adds a block, whose terms are at `terms`, under a row's base.
    fn add(&mut self, row: Place, base: Place, terms: &Places, block: &Block);
    /// Adds the logits of a block without terms.
    fn add_values(&mut self, values: f64);
    /// The largest value so far.
    fn max(&self) -> f32;
    /// Keeps the larger of two values and its column: the first column of equal values.
    fn see(&mut self, value: f32, column: u32);
    /// Adds the sums of another part of the row under the same base.
    fn merge(&mut self, other: &Self);
    /// Changes to a base that is higher. `terms` are Σ term of the row under the new one.
    fn raise(&mut self, from: Place, to: Place, terms: &Places);
}

/// The sums behind [`RowDetails`](super::RowDetails), over the columns of a row that were folded;
/// exact, in places of the row's base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetailSums {
    /// Σ term · (y − ln 2^power), power that of the block's base
    pub(crate) weighted: Places,
    /// Σ term · (power of the block's base − power of the row's)
    pub(crate) powers: Places,
    /// Σ term²
    pub(crate) squares: Places,
    /// Σ v of all columns
    pub(crate) values: Values,
    /// The largest v.
    pub(crate) max: f32,
    /// Its column.
    pub(crate) argmax: u32,
}

/// Σ v, in places of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Values {
    pub(crate) places: Places,
    /// Powers of two that all blocks' sums are below.
    pub(crate) below: i32,
    /// Whether one is −inf.
    pub(crate) is_masked: bool,
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

/// What a block amounts to, relative to its base. Its largest value is not among it: the fold keeps
/// that of a whole tile.
#[derive(Debug)]
pub struct Block {
    /// Σ term
    pub(super) others: f64,
    /// Σ term · (y − ln base)
    pub(super) weighted: f64,
    /// Σ term²
    pub(super) squares: f64,
    /// Σ v of all columns
    pub(super) values: f64,
}

impl Extra for () {
    const ON: bool = false;
    type Sums = ();

    fn sums((): &()) -> Option<DetailSums> {
        None
    }

    fn from_sums(_: Option<DetailSums>) {}

    #[inline(always)]
    fn collected((): &(), _: Option<Place>, _: f64) -> Option<DetailFigures> {
        None
    }
}

impl ExtraSums for () {
    const NONE: Self = ();

    #[inline(always)]
    fn add(&mut self, _: Place, _: Place, _: &Places, _: &Block) {}

    #[inline(always)]
    fn add_values(&mut self, _: f64) {}

    #[inline(always)]
    fn max(&self) -> f32 {
        f32::INFINITY
    }

    fn see(&mut self, _: f32, _: u32) {}

    fn merge(&mut self, (): &Self) {}

    fn raise(&mut self, _: Place, _: Place, _: &Places) {}
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

    fn collected(sums: &DetailSums, base: Option<Place>, others: f64) -> Option<DetailFigures> {
        let DetailSums { weighted, powers, squares, values, max, argmax } = *sums;
        let values = values.sum();
        let Some(base) = base else {
            return Some(DetailFigures { weighted: 0.0, squares: 0.0, values, max, argmax });
        };
        let terms = base.terms();
        // Distances are from 2^power so far: the base's own is `rest` above.
        let by_power = |sum: &Places| terms.sum(*sum, base.power);
        Some(DetailFigures {
            weighted: base.by_part(by_power(&weighted) + LN_2 * by_power(&powers))
                - base.rest * others,
            squares: base.by_part(base.by_part(base.squares().sum(squares, 2 * base.power))),
            values,
            max,
            argmax,
        })
    }
}

impl ExtraSums for DetailSums {
    const NONE: Self = Self {
        weighted: [0; PLACES],
        powers: [0; PLACES],
        squares: [0; PLACES],
        values: Values::NONE,
        max: f32::NEG_INFINITY,
        argmax: u32::MAX,
    };

    #[inline(always)]
    fn add(&mut self, row: Place, base: Place, terms: &Places, block: &Block) {
        let Place { power, part, rest } = base;
        let weighted = (block.weighted + rest * block.others) * part;
        add_times(&mut self.weighted, 1, &row.terms().finer_pieces(weighted, power));
        let squares = block.squares * (part * part);
        add_times(&mut self.squares, 1, &row.squares().finer_pieces(squares, 2 * power));
        add_times(&mut self.powers, power - row.power, terms);
        self.values.add(block.values);
    }

    #[inline(always)]
    fn add_values(&mut self, values: f64) {
        self.values.add(values);
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
        for (to, from) in [
            (&mut self.weighted, &other.weighted),
            (&mut self.powers, &other.powers),
            (&mut self.squares, &other.squares),
        ] {
            add_times(to, 1, from);
        }
        self.values.merge(&other.values);
        self.see(other.max, other.argmax);
    }

    fn raise(&mut self, from: Place, to: Place, terms: &Places) {
        self.weighted = to.terms().moved(self.weighted, from.terms());
        self.powers = to.terms().moved(self.powers, from.terms());
        self.squares = to.squares().moved(self.squares, from.squares());
        // Where the powers are far apart no term is left.
        add_times(&mut self.powers, from.power - to.power, terms);
    }
}

impl Values {
    const NONE: Self = Self { places: [0; PLACES], below: i32::MIN, is_masked: false };

    /// Whether sums of blocks can be below 2^below and none below a lower power.
    pub(super) const fn is_below(below: i32) -> bool {
        below == i32::MIN || (below > -1022 && below <= 1024)
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "of 11 bits")]
    fn add(&mut self, x: f64) {
        let exponent = ((x.to_bits() >> 52) & 0x7ff) as i32;
        match exponent {
            // Below 2^-1022: 0.
            0 => {}
            0x7ff => self.is_masked = true,
            _ => {
                let below = exponent - 1022;
                self.raise(below);
                // Relative to its own power of two, in halves that f64 has.
                let (power, half) = (i64::from(below), i64::from(below / 2));
                let x = x * power_of_two(-half) * power_of_two(half - power);
                let pieces = Window::below(self.below.into()).finer_pieces(x, power);
                add_times(&mut self.places, 1, &pieces);
            }
        }
    }

    fn raise(&mut self, below: i32) {
        if below > self.below {
            let [from, to] = [self.below, below].map(|below| Window::below(below.into()));
            self.places = to.moved(self.places, from);
            self.below = below;
        }
    }

    fn merge(&mut self, other: &Self) {
        let mut other = *other;
        other.raise(self.below);
        self.raise(other.below);
        add_times(&mut self.places, 1, &other.places);
        self.is_masked |= other.is_masked;
    }

    fn sum(&self) -> f64 {
        if self.is_masked {
            return f64::NEG_INFINITY;
        }
        if self.below == i32::MIN {
            return 0.0;
        }
        let (power, window) = (i64::from(self.below), Window::below(self.below.into()));
        let half = power / 2;
        window.sum(self.places, power) * power_of_two(half) * power_of_two(power - half)
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

/// to += n · terms
#[inline(always)]
pub(super) fn add_times(to: &mut Places, n: i64, terms: &Places) {
    for (to, term) in to.iter_mut().zip(terms) {
        *to = to.wrapping_add(n.wrapping_mul(*term));
    }
}
