//! What a fold can collect beside log Z: nothing, or the sums behind
//! [`RowDetails`](super::RowDetails).
//!
//! ```text
//! H = log Z − Σ p·y      mean = Σ y / V      log Σp² = ln Σ e^(2y) − 2 log Z
//! ```
//! A column of probability 0 adds 0 to each sum. The sums leave out the target's column and are
//! relative to the row's base; only the sum of the logits has all columns and no base. The target
//! is added at the end.

use core::fmt::Debug;

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
    fn collected(sums: &Self::Sums) -> Option<DetailSums>;
}

/// The sums of a part of a row.
pub trait ExtraSums: Copy + Debug + PartialEq {
    /// Nothing folded yet.
    const NONE: Self;
    /// Adds a block.
    fn add(&mut self, block: &BlockDetails);
    /// The largest value so far.
    fn max(&self) -> f32;
    /// Keeps the larger of two values and its column: the first column of equal values.
    fn see(&mut self, value: f32, column: u32);
    /// Adds the sums of another part of the row.
    fn merge(&mut self, other: &Self);
    /// Changes to a base that is `ln` nats lower, whose sums are `scale` times those of the old
    /// one. `others` is Σ term by the old base.
    fn rescale(&mut self, scale: impl Fn(f64) -> f64, ln: f64, others: f64);
}

/// The sums behind [`RowDetails`](super::RowDetails), over the columns of a row that were folded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetailSums {
    /// Σ term · (y − ln base)
    pub(crate) weighted: f64,
    /// Σ term²
    pub(crate) squares: f64,
    /// Σ v of all columns
    pub(crate) values: f64,
    /// The largest v.
    pub(crate) max: f32,
    /// Its column.
    pub(crate) argmax: u32,
}

/// The same sums of one block. Its largest value is not among them: the fold keeps that of a whole
/// tile.
#[derive(Debug, Default)]
pub struct BlockDetails {
    pub(super) weighted: f64,
    pub(super) squares: f64,
    pub(super) values: f64,
}

impl Extra for () {
    const ON: bool = false;
    type Sums = ();

    #[inline(always)]
    fn collected((): &()) -> Option<DetailSums> {
        None
    }
}

impl ExtraSums for () {
    const NONE: Self = ();

    #[inline(always)]
    fn add(&mut self, _: &BlockDetails) {}

    #[inline(always)]
    fn max(&self) -> f32 {
        f32::INFINITY
    }

    fn see(&mut self, _: f32, _: u32) {}

    fn merge(&mut self, (): &Self) {}

    fn rescale(&mut self, _: impl Fn(f64) -> f64, _: f64, _: f64) {}
}

impl Extra for Details {
    const ON: bool = true;
    type Sums = DetailSums;

    #[inline(always)]
    fn collected(sums: &DetailSums) -> Option<DetailSums> {
        Some(*sums)
    }
}

impl ExtraSums for DetailSums {
    const NONE: Self =
        Self { weighted: 0.0, squares: 0.0, values: 0.0, max: f32::NEG_INFINITY, argmax: u32::MAX };

    #[inline(always)]
    fn add(&mut self, block: &BlockDetails) {
        self.weighted += block.weighted;
        self.squares += block.squares;
        self.values += block.values;
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
        self.weighted += other.weighted;
        self.squares += other.squares;
        self.values += other.values;
        self.see(other.max, other.argmax);
    }

    fn rescale(&mut self, scale: impl Fn(f64) -> f64, ln: f64, others: f64) {
        self.weighted = scale(self.weighted + ln * others);
        self.squares = scale(scale(self.squares));
    }
}
