//! What may not change a bit of a row: no reference is needed to see it.

/// Surroundings of a row that its figures do not depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Relation {
    /// The same call once more.
    Repeated,
    /// The row alone, in a batch of one.
    Batch,
    /// The row at another place of the batch.
    Position,
    /// Other numbers in the columns past the vocabulary.
    Padding,
    /// Another stride.
    Stride,
    /// NaN in all other rows.
    Neighbours,
}

impl Relation {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Repeated,
        Self::Batch,
        Self::Position,
        Self::Padding,
        Self::Stride,
        Self::Neighbours,
    ];

    /// For a report.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Repeated => "the same call repeated",
            Self::Batch => "a row alone",
            Self::Position => "rows in reverse",
            Self::Padding => "other padding",
            Self::Stride => "another stride",
            Self::Neighbours => "NaN in the other rows",
        }
    }
}
