//! The shapes of a row that kernels have failed on.

use alloc::format;
use alloc::string::String;

use super::super::Format;
use super::super::random::Random;

/// What a row of logits looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// Normal with this deviation.
    Normal(f64),
    /// The target leads the others by this.
    Confident(f64),
    /// The target lies this far below the others.
    Buried(f64),
    /// −inf in so many columns before the first number.
    LeadingMask(usize),
    /// −inf in so many columns after the last number.
    TrailingMask(usize),
    /// −inf in every nth column, the first among them.
    MaskEvery(usize),
    /// All but one column −inf.
    OneLive,
    /// Multiples of a number.
    Ties(f64),
    /// One value throughout.
    Flat(f64),
    /// Moved by this.
    Shift(f64),
    /// Each column above the last, by this: every maximum is new.
    Ascending(f64),
    /// Each column below the last.
    Descending(f64),
    /// One column this far above a flat tail.
    Peak(f64),
    /// A column this far above normal logits.
    Tower(Column, f64),
    /// As large as the format allows.
    Huge,
    /// −inf at the target.
    MaskedTarget,
    /// NaN, +inf, or nothing but −inf: rows without probabilities, beside ones that have them.
    Broken,
}

/// Where the largest logit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    First,
    Last,
    At(usize),
}

impl Shape {
    /// In words, for reports.
    pub(super) fn words(self) -> String {
        match self {
            Self::Normal(sigma) => format!("normal logits, deviation {sigma}"),
            Self::Confident(by) => format!("targets that lead by {by}"),
            Self::Buried(by) => format!("targets {by} below the rest"),
            Self::LeadingMask(n) => format!("-inf in the first {n} columns"),
            Self::TrailingMask(n) => format!("-inf in the last {n} columns"),
            Self::MaskEvery(n) => format!("-inf in every {n}th column"),
            Self::OneLive => "all but one column -inf".into(),
            Self::Ties(step) => format!("multiples of {step}: ties"),
            Self::Flat(value) => format!("equal logits, {value}"),
            Self::Shift(by) => format!("logits shifted by {by}"),
            Self::Ascending(by) => format!("logits that rise by {by} a column"),
            Self::Descending(by) => format!("logits that fall by {by} a column"),
            Self::Peak(by) => format!("one column {by} above a flat tail"),
            Self::Tower(_, by) => format!("one column {by} above the others"),
            Self::Huge => "logits as large as the format allows".into(),
            Self::MaskedTarget => "-inf at the target".into(),
            Self::Broken => "rows of NaN, +inf or nothing but -inf among others".into(),
        }
    }

    /// A column to be the target: three in four past a lead of −inf, where there is one.
    pub(super) fn target(self, vocab: usize, random: &mut Random) -> usize {
        match self {
            Self::LeadingMask(n) if n < vocab && random.chance(0.75) => n + random.below(vocab - n),
            _ => random.below(vocab),
        }
    }

    /// Fills a row.
    #[allow(clippy::cast_precision_loss, reason = "columns are below 2^53")]
    pub(super) fn fill(self, random: &mut Random, format: Format, row: &mut [f64], target: usize) {
        for x in row.iter_mut() {
            *x = random.normal();
        }
        let vocab = row.len();
        let any = random.below(vocab);
        let top = |row: &[f64]| row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match self {
            Self::Normal(sigma) => row.iter_mut().for_each(|x| *x *= sigma),
            Self::Confident(by) => set(row, target, top(row) + by),
            Self::Buried(by) => set(row, target, -by),
            Self::LeadingMask(n) => {
                // One column is left at least, and the target.
                let n = n.min(vocab.saturating_sub(1));
                mask(row, target, |column| column < n);
            }
            Self::TrailingMask(n) => {
                let n = n.min(vocab.saturating_sub(1));
                mask(row, target, |column| column + n >= vocab);
            }
            Self::MaskEvery(n) => mask(row, target, |column| column % n.max(1) == 0),
            Self::OneLive => mask(row, target, |_| true),
            Self::Ties(step) => row.iter_mut().for_each(|x| *x = libm::rint(*x / step) * step),
            Self::Flat(value) => row.fill(value),
            Self::Shift(by) => row.iter_mut().for_each(|x| *x += by),
            Self::Ascending(by) => {
                row.iter_mut().enumerate().for_each(|(j, x)| *x = 0.1 * *x + by * j as f64);
            }
            Self::Descending(by) => {
                row.iter_mut().enumerate().for_each(|(j, x)| *x = 0.1 * *x - by * j as f64);
            }
            Self::Peak(by) => {
                row.fill(-by);
                set(row, any, 0.0);
            }
            Self::Tower(column, by) => {
                let column = match column {
                    Column::First => 0,
                    Column::Last => vocab.saturating_sub(1),
                    Column::At(column) => column,
                };
                set(row, column, by);
            }
            Self::Huge => {
                let most = if format == Format::F16 { 3e4 } else { 1e38 };
                for x in row.iter_mut() {
                    *x *= most / 6.0;
                }
            }
            Self::MaskedTarget => set(row, target, f64::NEG_INFINITY),
            Self::Broken => match random.below(4) {
                0 => set(row, any, f64::NAN),
                1 => set(row, any, f64::INFINITY),
                2 => row.fill(f64::NEG_INFINITY),
                _ => {}
            },
        }
    }
}

fn set(row: &mut [f64], column: usize, value: f64) {
    if let Some(x) = row.get_mut(column) {
        *x = value;
    }
}

fn mask(row: &mut [f64], target: usize, masked: impl Fn(usize) -> bool) {
    for (column, x) in row.iter_mut().enumerate() {
        if column != target && masked(column) {
            *x = f64::NEG_INFINITY;
        }
    }
}
