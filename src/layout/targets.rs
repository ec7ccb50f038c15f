//! The token that each row is asked for.

use super::span::Span;
use crate::Error;
use crate::error::{Buffer, check_length};

/// The ignore value by default: −100 as trainers write it, seen as u32.
pub const IGNORE_INDEX: u32 = (-100_i32).cast_unsigned();

/// The token that each row is asked for, or the ignore value where it is not asked: `targets[t]` is
/// the target of row t.
///
/// Slices, arrays and vectors of `u32` convert into targets with the ignore value −100. Trainers
/// keep labels as `i64`: [`Targets::of_i64`] converts them.
///
/// # The shift by one
/// Row t of a model's output scores token t + 1 of its input. The shift is the caller's, done once
/// when the targets are laid out:
///
/// ```text
/// input tokens   p0 p1 | c0 c1 c2          prompt p, completion c
/// rows            0  1    2  3  4          row t is the output at position t
/// targets        p1 c0   c1 c2  –          targets[t] = input[t + 1]
/// span            [1, 4): rows 1, 2, 3 score c0, c1, c2
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    ids: &'a [u32],
    ignore: u32,
}

impl<'a, T: AsRef<[u32]> + ?Sized> From<&'a T> for Targets<'a> {
    fn from(ids: &'a T) -> Self {
        Self::new(ids.as_ref())
    }
}

impl<'a> Targets<'a> {
    /// One id a row; rows whose id is [`IGNORE_INDEX`] are not scored.
    #[must_use]
    pub const fn new(ids: &'a [u32]) -> Self {
        Self { ids, ignore: IGNORE_INDEX }
    }

    /// Labels as trainers keep them: ids of `i64`, `ignore` (−100 by default there) where a row is
    /// not scored.
    ///
    /// `ids` is where the `u32` ids are written, as many as labels.
    ///
    /// # Errors
    /// Before anything is written: [`Error::Length`] unless there is room for each label;
    /// [`Error::TargetOutOfRange`] for a label that is not the ignore value and is negative, or not
    /// below 2³² − 100.
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::Targets;
    /// let mut ids = [0; 3];
    /// let targets = Targets::of_i64(&[-100, 7, 8], -100, &mut ids)?;
    /// assert_eq!((targets.scored(0), targets.scored(1)), (None, Some(7)));
    /// assert!(Targets::of_i64(&[-1], -100, &mut ids[..1]).is_err());
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    pub fn of_i64(labels: &[i64], ignore: i64, ids: &'a mut [u32]) -> Result<Self, Error> {
        check_length(Buffer::Targets, labels.len(), ids.len())?;
        let id = |label: i64| {
            if label == ignore {
                return Some(IGNORE_INDEX);
            }
            u32::try_from(label).ok().filter(|&id| id < IGNORE_INDEX)
        };
        if let Some((row, &target)) =
            labels.iter().enumerate().find(|&(_, &label)| id(label).is_none())
        {
            let vocab = IGNORE_INDEX as usize;
            return Err(Error::TargetOutOfRange { row, target, vocab });
        }
        for (to, &label) in ids.iter_mut().zip(labels) {
            *to = id(label).unwrap_or(IGNORE_INDEX);
        }
        Ok(Self::new(ids))
    }

    /// Another ignore value. It may be a valid id; its rows are then not scored.
    #[must_use]
    pub const fn with_ignore(mut self, ignore: u32) -> Self {
        self.ignore = ignore;
        self
    }

    /// The ids, one a row.
    #[must_use]
    pub const fn ids(&self) -> &'a [u32] {
        self.ids
    }

    /// The id of a row, or `None` where it is not scored or does not exist.
    #[inline]
    #[must_use]
    pub fn scored(&self, row: usize) -> Option<u32> {
        self.ids.get(row).copied().filter(|&id| id != self.ignore)
    }

    /// The scored rows of a span with their ids, in order.
    #[inline]
    pub(crate) fn scored_rows(self, span: Span) -> impl Iterator<Item = (usize, u32)> {
        (span.start..span.end).filter_map(move |row| Some((row, self.scored(row)?)))
    }
}

/// A target as a host wrote it: ids from 2³¹ on are negative numbers more often than tokens.
pub(super) fn as_written(target: u32) -> i64 {
    i64::from(target.cast_signed())
}
