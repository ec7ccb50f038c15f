//! The vocabulary in shards: which columns a rank has, and a row's statistics over them, as bytes
//! that merge.
//!
//! ```text
//! a rank        folds its columns unit by unit ─▶ RowStats ─▶ ROW_BYTES a row
//! all to all    each shard gets the partials of its share of the rows, from all shards
//! every shard   merges them in order of shards ─▶ whole rows, as bytes
//! gather        everyone gets the whole rows of all shares ─▶ log p of the target, norm
//! ```
//!
//! A rank gives 64 bytes a row and takes at most 128, however many shards there are. A gather of all
//! partials would be one collective in the place of two, but every rank would take 64 bytes a row
//! from every other one, and merge all rows.
//!
//! A unit is a fixed block of columns, whatever the number of shards. Sums of units are exact
//! ([`RowStats`]), so the merged bits are those of one rank that folds all units. A rank without
//! columns, or without the target's, writes its part all the same, and nothing else.

use std::ops::Range;

use dpo_kernel::row::{ROW_BYTES, RowNorm, RowStats};
use dpo_kernel::{Dispatch, Transform};

use crate::comm::{Comm, Load};
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

    /// Appends what the other shards need of it: [`ROW_BYTES`].
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub fn write(&self, to: &mut Vec<u8>) -> Result<(), Error> {
        write(&self.0, to)
    }
}

fn write(stats: &RowStats, to: &mut Vec<u8>) -> Result<(), Error> {
    let at = to.len();
    to.resize(at + ROW_BYTES, 0);
    Ok(stats.write_bytes(to.get_mut(at..).unwrap_or_default())?)
}

/// A whole row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// log p of its target.
    pub log_prob: f32,
    /// What its gradient needs.
    pub norm: RowNorm,
}

/// Exchanges the partials of all rows, which this shard gives as bytes; every shard of a group
/// calls it, and all come to the same rows.
///
/// # Errors
/// As [`merge`] and [`whole`]; [`Error::Mpi`].
pub fn exchange(
    comm: &Comm,
    partials: &[u8],
    targets: &[u32],
    vocab: usize,
) -> Result<Vec<Row>, Error> {
    let share = |shard| part(targets.len(), comm.size, shard);
    let counts: Vec<usize> = (0..comm.size).map(|shard| share(shard).len() * ROW_BYTES).collect();
    let of_share = comm.transpose(Load::Partials, partials, &counts)?;
    let own = targets.get(share(comm.rank)).unwrap_or_default();
    let merged = merge(&of_share, own, comm.size)?;
    whole(&comm.gather(Load::Partials, &merged, &counts)?, targets, vocab)
}

/// Merges the partials of some rows, all rows of one shard after those of another, to whole rows, as
/// bytes.
///
/// # Errors
/// [`Error::Length`]; [`Error::Kernel`] for bytes that are no partial, and for parts of different
/// rows.
pub fn merge(partials: &[u8], targets: &[u32], shards: usize) -> Result<Vec<u8>, Error> {
    let rows = targets.len();
    check_length("partials of all shards", shards * rows * ROW_BYTES, partials.len())?;
    let mut out = Vec::with_capacity(rows * ROW_BYTES);
    for (row, &target) in targets.iter().enumerate() {
        let mut merged = RowStats::new(Transform::NONE, Some(target));
        for bytes in partials.chunks_exact(ROW_BYTES).skip(row).step_by(rows) {
            let partial = RowStats::from_bytes(Transform::NONE, bytes)?;
            merged.merge(&partial)?;
        }
        write(&merged, &mut out)?;
    }
    Ok(out)
}

/// What the backward needs of merged rows.
///
/// # Errors
/// [`Error::Length`]; [`Error::Columns`] for a row whose shards do not have all columns;
/// [`Error::Row`] for one whose target is nowhere or whose log Z is not finite.
pub fn whole(merged: &[u8], targets: &[u32], vocab: usize) -> Result<Vec<Row>, Error> {
    check_length("merged rows", targets.len() * ROW_BYTES, merged.len())?;
    let mut out = Vec::with_capacity(targets.len());
    for ((row, bytes), &target) in merged.chunks_exact(ROW_BYTES).enumerate().zip(targets) {
        let stats: RowStats = RowStats::from_bytes(Transform::NONE, bytes)?;
        if stats.columns() != vocab as u64 {
            return Err(Error::Columns { row, found: stats.columns(), vocab });
        }
        let found = stats.log_prob().filter(|log_prob| !log_prob.is_nan()).zip(stats.norm());
        let (log_prob, norm) = found.ok_or(Error::Row { row, target })?;
        #[allow(clippy::cast_possible_truncation, reason = "token log-probs are f32")]
        out.push(Row { log_prob: log_prob as f32, norm });
    }
    Ok(out)
}
