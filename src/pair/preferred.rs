//! Which answer is preferred to which.

/// A preference: the sequence that was chosen and the one that was rejected, by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Pair {
    /// Index of the chosen sequence.
    pub chosen: usize,
    /// Index of the rejected sequence.
    pub rejected: usize,
}

impl Pair {
    /// A preference of sequence `chosen` over sequence `rejected`.
    #[must_use]
    pub const fn new(chosen: usize, rejected: usize) -> Self {
        Self { chosen, rejected }
    }
}
