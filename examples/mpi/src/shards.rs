//! The vocabulary in shards: which columns a rank has, and a row's statistics over them, as bytes
//! that merge.
//!
//! ```text
//! a rank        folds its columns unit by unit ─▶ RowStats ─▶ PARTIAL_LEN bytes a row
//! all shards    Allgather of the bytes
//! every shard   merges them in order of shards ─▶ log p of the target, norm of the row
//! ```
//!
//! A unit is a fixed block of columns, whatever the number of shards. The sums of units are exact
//! (`dpo_kernel::shard`), so the merged bits are those of one rank that folds all units. A rank
//! without columns, or without the target's, writes its part all the same, and nothing else.

use std::ops::Range;

use dpo_kernel::row::{RowNorm, RowStats};
use dpo_kernel::shard::PARTIAL_LEN;
use dpo_kernel::{Dispatch, Transform};

use crate::error::{Error, check_length};
use crate::grid::part;

/// The columns of a shard: whole units, as evenly as they go, ascending; none where there are fewer
/// units than shards.
#[must_use]
pub fn columns(vocab: usize, unit: usize, shards: usize, shard: usize) -> Range<usize> {
    let units = part(vocab.div_ceil(unit), shards, shard);
    (units.start * unit).min(vocab)..(units.end * unit).min(vocab)
}

/// The units of some columns, which begin at one.
pub fn units(columns: Range<usize>, unit: usize) -> impl Iterator<Item = Range<usize>> {
    columns.clone().step_by(unit).map(move |first| first..(first + unit).min(columns.end))
}

/// A row over the columns of a shard.
#[derive(Clone, Copy, Debug)]
pub struct Partial(RowStats);

impl Partial {
    /// Nothing folded yet.
    #[must_use]
    pub const fn new(target: u32) -> Self {
        Self(RowStats::new(Transform::NONE, Some(target)))
    }

    /// Adds the logits of a unit.
    pub fn fold(&mut self, dispatch: Dispatch, unit: &[f32], first: usize) {
        // Targets are u32, so columns are.
        self.0.fold(dispatch, unit, u32::try_from(first).unwrap_or(u32::MAX));
    }

    /// What the other shards need of it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PARTIAL_LEN] {
        self.0.to_bytes()
    }
}

/// A whole row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// log p of its target.
    pub log_prob: f32,
    /// What its gradient needs.
    pub norm: RowNorm,
}

/// Merges what the shards gave, each a partial of every row, in the order of shards.
///
/// # Errors
/// [`Error::Length`]; the row whose shards do not have all columns, whose target is nowhere or whose
/// log Z is not finite; what the library says of bytes that are no partial.
pub fn merge(
    gathered: &[u8],
    targets: &[u32],
    shards: usize,
    vocab: usize,
) -> Result<Vec<Row>, Error> {
    let rows = targets.len();
    check_length("partials of all shards", shards * rows * PARTIAL_LEN, gathered.len())?;
    let mut out = Vec::with_capacity(rows);
    for (row, &target) in targets.iter().enumerate() {
        let mut whole = RowStats::new(Transform::NONE, Some(target));
        let of_row = gathered.chunks_exact(PARTIAL_LEN).skip(row).step_by(rows);
        for bytes in of_row {
            let partial = RowStats::from_bytes(Transform::NONE, bytes)?;
            whole.merge(&partial)?;
        }
        if whole.columns() != vocab as u64 {
            return Err(Error::Columns { row, found: whole.columns(), vocab });
        }
        let found = whole.log_prob().filter(|log_prob| !log_prob.is_nan()).zip(whole.norm());
        let (log_prob, norm) = found.ok_or(Error::Row { row, target })?;
        #[allow(clippy::cast_possible_truncation, reason = "token log-probs are f32")]
        out.push(Row { log_prob: log_prob as f32, norm });
    }
    Ok(out)
}
