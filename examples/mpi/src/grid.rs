//! Where a rank stands: ranks form a grid of vocabulary shards × data groups.
//!
//! ```text
//!            shard 0   shard 1   shard 2
//! group 0    rank 0    rank 1    rank 2      one group: the same pairs, other columns
//! group 1    rank 3    rank 4    rank 5
//!            one shard: the same columns, other pairs
//! ```
//!
//! Shards of a group talk most, so they are neighbours in the order of ranks.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Shards of the vocabulary × groups of pairs, as `--grid 2x3` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Shards of the vocabulary.
    pub vocab: usize,
    /// Groups that share the pairs.
    pub data: usize,
}

impl Grid {
    /// Ranks that it takes.
    #[must_use]
    pub const fn ranks(self) -> usize {
        self.vocab * self.data
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.vocab, self.data)
    }
}

impl FromStr for Grid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| text.parse().ok().filter(|side| (1..=4096).contains(side));
        let sides = text.split_once('x').and_then(|(v, d)| Some((side(v)?, side(d)?)));
        let (vocab, data) = sides.ok_or_else(|| {
            format!("a grid is SHARDSxGROUPS, both from 1 to 4096, for example 2x2, not `{text}`")
        })?;
        Ok(Self { vocab, data })
    }
}

/// A rank's place in the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The grid.
    pub grid: Grid,
    /// Its shard of the vocabulary.
    pub shard: usize,
    /// Its group.
    pub group: usize,
}

impl Place {
    /// Of a rank.
    #[must_use]
    pub const fn new(grid: Grid, rank: usize) -> Self {
        Self { grid, shard: rank % grid.vocab, group: rank / grid.vocab }
    }

    /// Of these items, the ones that the shard `shard` of this group takes through the model's
    /// body.
    #[must_use]
    pub const fn items_of(&self, count: usize, shard: usize) -> Range<usize> {
        part(count, self.grid.ranks(), self.group * self.grid.vocab + shard)
    }

    /// Of these items, the ones whose rows this group has before it.
    #[must_use]
    pub const fn items_of_group(&self, count: usize) -> Range<usize> {
        self.items_of(count, 0).start..self.items_of(count, self.grid.vocab - 1).end
    }
}

/// The part `index` of `count` things in order, split as evenly as they go; empty for some where
/// there are fewer things than parts.
#[must_use]
pub const fn part(count: usize, parts: usize, index: usize) -> Range<usize> {
    count * index / parts..count * (index + 1) / parts
}
