//! One row of logits, and what makes it hard.

use alloc::vec;
use alloc::vec::Vec;

use super::{stored, widened};
use crate::Element;
use crate::verify::{Transform, log_prob, logit_grads, transform_row};

/// A row of logits with its transform, its target and ∂L/∂log p.
#[derive(Clone, Debug, PartialEq)]
pub struct RowCase {
    /// At least one. Other storage types hold them [`stored`].
    pub logits: Vec<f32>,
    /// Parameters that f32 holds exactly.
    pub transform: Transform,
    /// Less than the number of logits.
    pub target: usize,
    /// ∂L/∂log p of the target, finite.
    pub coefficient: f64,
}

impl RowCase {
    /// The row as E holds it.
    #[must_use]
    pub fn stored<E: Element>(&self) -> Vec<E> {
        stored(&self.logits)
    }

    /// What E holds of the row, exactly.
    #[must_use]
    pub fn exact<E: Element>(&self) -> Vec<f64> {
        widened(&self.stored::<E>())
    }

    /// The logits y of what E holds, after the transform.
    #[must_use]
    pub fn transformed<E: Element>(&self) -> Vec<f64> {
        let mut y = vec![f64::NAN; self.logits.len()];
        transform_row(&self.exact::<E>(), &self.transform, &mut y);
        y
    }

    /// log p of the target, of what E holds.
    #[must_use]
    pub fn log_prob<E: Element>(&self) -> f64 {
        log_prob(&self.transformed::<E>(), self.target)
    }

    /// ∂L/∂x of what E holds.
    #[must_use]
    pub fn grads<E: Element>(&self) -> Vec<f64> {
        let x = self.exact::<E>();
        let mut dx = vec![f64::NAN; x.len()];
        logit_grads(&x, &self.transform, self.target, self.coefficient, &mut dx);
        dx
    }
}

/// A column: the target's, or so many 65536ths along the row, so that it has a place in any row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The target's column.
    Target,
    /// Of 65536ths.
    At(u16),
}

impl Place {
    /// The column in a row of `vocab` columns, which is its last at most.
    #[must_use]
    pub fn column(self, vocab: usize, target: usize) -> usize {
        match self {
            Self::Target => target,
            // Without a product that 16-bit machines could not hold: whole parts, then what is
            // left.
            Self::At(at) => {
                let at = usize::from(at);
                vocab / 65536 * at + (vocab % 65536) * at / 65536
            }
        }
    }
}

/// What is done to the logits of a row to make it hard.
///
/// A few of them in a row make the shapes that kernels have failed on: masked blocks before the
/// first number, ties, shifts that overflow an exponential, tokens so confident that 1 − p
/// vanishes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Twist {
    /// As they are.
    Plain,
    /// Only multiples of this number (> 0) occur: many ties.
    Ties(f32),
    /// All are the first.
    Equal,
    /// −inf in the columns between two places, the target's excepted.
    Mask(u16, u16),
    /// −inf in every so manieth column, the target's excepted.
    MaskEvery(u8),
    /// All moved by this number.
    Shift(f32),
    /// All multiplied by this number.
    Spread(f32),
    /// One column leads all the others by this number.
    Lead(Place, f32),
    /// All columns but one lie this far below it.
    Peak(Place, f32),
    /// One column has this value, whatever it is: −inf, a subnormal number, NaN.
    Set(Place, f32),
}

impl Twist {
    /// Twists a row again and again.
    pub(super) fn apply_all(twists: &[Self], logits: &mut [f32], target: usize) {
        for twist in twists {
            twist.apply(logits, target);
        }
    }

    /// Twists a row.
    pub fn apply(self, logits: &mut [f32], target: usize) {
        let vocab = logits.len();
        let top_of = |logits: &[f32]| logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        match self {
            Self::Plain => {}
            Self::Ties(step) => logits.iter_mut().for_each(|x| *x = libm::rintf(*x / step) * step),
            Self::Equal => logits.fill(logits.first().copied().unwrap_or_default()),
            Self::Mask(from, to) => {
                let [from, to] =
                    [from.min(to), from.max(to)].map(|at| Place::At(at).column(vocab, 0));
                mask(logits, target, |column| (from..=to).contains(&column));
            }
            Self::MaskEvery(step) => {
                let step = usize::from(step).max(1);
                mask(logits, target, |column| column % step == 0);
            }
            Self::Shift(by) => logits.iter_mut().for_each(|x| *x += by),
            Self::Spread(by) => logits.iter_mut().for_each(|x| *x *= by),
            Self::Lead(place, by) => {
                let top = top_of(logits);
                set(logits, place.column(vocab, target), top + by);
            }
            Self::Peak(place, by) => {
                let top = top_of(logits);
                logits.fill(top - by);
                set(logits, place.column(vocab, target), top);
            }
            Self::Set(place, value) => set(logits, place.column(vocab, target), value),
        }
    }
}

fn set(logits: &mut [f32], column: usize, value: f32) {
    if let Some(x) = logits.get_mut(column) {
        *x = value;
    }
}

fn mask(logits: &mut [f32], target: usize, masked: impl Fn(usize) -> bool) {
    for (column, x) in logits.iter_mut().enumerate() {
        if column != target && masked(column) {
            *x = f32::NEG_INFINITY;
        }
    }
}
