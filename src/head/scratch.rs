//! The memory that a head works in.

use super::row::HeadRow;
use super::tile::Tile;
use super::traits::Head;
use crate::error::{Buffer, Parameter, check_length};
use crate::executor::Executor;
use crate::{Element, Error};

/// The memory that a head works in: contents do not matter.
///
/// As many rows go through the head together as there are [`HeadRow`]s; the head's weights are read
/// once for each such group by log-probs, twice by a forward or a trained backward. Results do not depend on how many there are.
/// A product reads weights faster than it multiplies from some hundred rows on.
///
/// ```text
/// numbers = ⌈rows / 12⌉ · 12 · 528 + threads · Head::numbers()        4 bytes each, beside the rows
/// ```
#[derive(Debug)]
pub struct HeadScratch<'a> {
    pub(super) rows: &'a mut [HeadRow],
    pub(super) numbers: &'a mut [f32],
    /// Probabilities below it may be left out; 0 where none may.
    pub(super) negligible: f32,
}

impl<'a> HeadScratch<'a> {
    /// Of these slices.
    #[must_use]
    pub const fn new(rows: &'a mut [HeadRow], numbers: &'a mut [f32]) -> Self {
        Self { rows, numbers, negligible: 0.0 }
    }

    /// With leave to pass over the products of a tile in which every probability, by its slope under
    /// a softcap, is below `probability`, but never the target's: most tiles of a model that knows
    /// its language.
    ///
    /// Log-probs and norms do not change. A row's part in a tile is left out whatever the other rows
    /// are, so with finite weights bits still depend on nothing else; the time that it saves does: a
    /// tile is passed over when it is negligible in all rows that go through the head together.
    ///
    /// # Numerics
    /// Relative to c · scale / temperature, a hidden gradient changes by less than
    /// `probability · Σ |W_jh|` over the columns that were left out, a weight's by less than
    /// `probability · Σ |states_ih|` over the rows.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless `probability` lies in [0, 1/256].
    ///
    /// # Panics
    /// Never.
    pub fn with_negligible(mut self, probability: f32) -> Result<Self, Error> {
        let parameter = Parameter::Negligible;
        let is_in = (0.0..=1.0 / 256.0).contains(&probability);
        parameter.check(f64::from(probability), is_in)?;
        self.negligible = probability;
        Ok(self)
    }

    /// How many numbers a head takes for so many rows at once.
    #[must_use]
    pub fn numbers<E: Element, H: Head<E> + ?Sized>(head: &H, rows: usize) -> usize {
        Tile::numbers(rows).saturating_add(head.numbers())
    }

    /// How many it takes over the threads of an executor, each of which has the head's numbers for
    /// itself. Of a `Parallel`: asked for in the pool that the stage runs in.
    #[must_use]
    pub fn numbers_over<X: Executor, E: Element, H: Head<E> + ?Sized>(
        executor: X,
        head: &H,
        rows: usize,
    ) -> usize {
        let heads = head.numbers().saturating_mul(executor.threads());
        Tile::numbers(rows).saturating_add(heads)
    }

    /// The same, for less long.
    pub(crate) const fn reborrow(&mut self) -> HeadScratch<'_> {
        HeadScratch {
            rows: &mut *self.rows,
            numbers: &mut *self.numbers,
            negligible: self.negligible,
        }
    }

    pub(super) fn check<X: Executor, E: Element, H: Head<E> + ?Sized>(
        &self,
        executor: X,
        head: &H,
    ) -> Result<(), Error> {
        if self.rows.is_empty() {
            return Err(Error::Length { buffer: Buffer::HeadRows, expected: 1, found: 0 });
        }
        let expected = Self::numbers_over(executor, head, self.rows.len());
        if self.numbers.len() < expected {
            return check_length(Buffer::HeadNumbers, expected, self.numbers.len());
        }
        Ok(())
    }
}

/// Makes numbers 0 if each of them is below a bound: whether it did.
pub(super) fn leave_out(numbers: &mut [f32], below: f32) -> bool {
    if !numbers.iter().all(|x| x.abs() < below) {
        return false;
    }
    numbers.fill(0.0);
    true
}
