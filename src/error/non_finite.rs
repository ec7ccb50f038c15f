//! What is not finite, counted while everything else is computed.

use super::Error;

/// Results that are not finite: the lowest index, and how many.
#[derive(Clone, Copy, Debug)]
pub struct NonFinite {
    first: usize,
    count: usize,
}

impl NonFinite {
    pub(crate) const NONE: Self = Self { first: usize::MAX, count: 0 };

    pub(crate) fn see(&mut self, index: usize) {
        *self = self.and(Self { first: index, count: 1 });
    }

    /// Of both.
    #[inline]
    pub(crate) fn and(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), count: self.count + other.count }
    }

    pub(crate) fn rows(self) -> Result<(), Error> {
        self.result(|first, count| Error::NonFiniteRows { first, count })
    }

    pub(crate) fn pairs(self) -> Result<(), Error> {
        self.result(|first, count| Error::NonFinitePairs { first, count })
    }

    pub(crate) fn answers(self) -> Result<(), Error> {
        self.result(|first, count| Error::NonFiniteAnswers { first, count })
    }

    fn result(self, error: fn(usize, usize) -> Error) -> Result<(), Error> {
        if self.count == 0 { Ok(()) } else { Err(error(self.first, self.count)) }
    }
}
