//! What goes wrong on a rank, with its numbers.

use std::fmt;
use std::path::PathBuf;

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A call into MPI failed.
    Mpi {
        /// What it was to do.
        what: &'static str,
        /// What MPI says.
        source: ferrompi::Error,
    },
    /// The library of the losses refuses.
    Kernel(dpo_kernel::Error),
    /// MPI counts in 31 bits.
    TooMany {
        /// Of what.
        what: &'static str,
        /// Elements.
        found: usize,
    },
    /// A buffer of another length than its peer.
    Length {
        /// Which.
        what: &'static str,
        /// Elements it should have.
        expected: usize,
        /// Elements it has.
        found: usize,
    },
    /// Numbers of a sum over ranks are not finite. Every rank says so.
    NotFinite {
        /// Of what the sum is.
        what: &'static str,
    },
    /// A row whose parts do not cover the vocabulary once.
    Columns {
        /// The row of the data group's batch.
        row: usize,
        /// Columns that all parts have together.
        found: u64,
        /// Columns of the vocabulary.
        vocab: usize,
    },
    /// A row whose log Z is not finite or whose target no shard has.
    Row {
        /// The row of the data group's batch.
        row: usize,
        /// Its target.
        target: u32,
    },
    /// Ranks that do not belong together, a line for each difference.
    Refused(Vec<String>),
    /// A file, and what is wrong with it.
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What the command line or the data ask for cannot be.
    Input(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mpi { what, source } => write!(f, "{what}: {source}"),
            Self::Kernel(error) => error.fmt(f),
            Self::TooMany { what, found } => {
                write!(f, "{what}: {found} elements; MPI counts to {}", i32::MAX)
            }
            Self::Length { what, expected, found } => {
                write!(f, "{what}: {found} elements, not {expected}")
            }
            Self::NotFinite { what } => write!(f, "{what}: a number is not finite"),
            Self::Columns { row, found, vocab } => {
                write!(f, "row {row}: the shards have {found} columns together, not {vocab}")
            }
            Self::Row { row, target } => write!(
                f,
                "row {row}: log Z is not finite, or no shard has the target's column {target}"
            ),
            Self::Refused(lines) => f.write_str(&lines.join("\n")),
            Self::File { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Input(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

impl From<dpo_kernel::Error> for Error {
    fn from(error: dpo_kernel::Error) -> Self {
        Self::Kernel(error)
    }
}

/// Compares a length with what it should be.
///
/// # Errors
/// [`Error::Length`].
pub fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}
