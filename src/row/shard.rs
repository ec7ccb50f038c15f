//! Which columns of a row each machine has, where a vocabulary is split.

use core::ops::Range;

use super::block::BLOCK;

/// The columns of the `shard`-th of `shards` machines: whole blocks, so that the merged statistics
/// have the bits of the whole row ([`RowStats`](super::RowStats)).
///
/// ```text
/// b = ⌈vocab / 512⌉ blocks      shard i has the blocks from ⌊i·b / shards⌋ to ⌊(i + 1)·b / shards⌋
/// ```
///
/// Ascending and without gaps; their lengths differ by a block at most, but that the last is cut
/// off at `vocab`. Empty where there are more shards than blocks, and for a shard that is not below
/// `shards`.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::row::shard_columns;
/// assert_eq!(shard_columns(1_300, 2, 0), 0..512);
/// assert_eq!(shard_columns(1_300, 2, 1), 512..1_300);
/// assert!(shard_columns(1_300, 7, 0).is_empty());
/// ```
#[must_use]
pub const fn shard_columns(vocab: usize, shards: usize, shard: usize) -> Range<usize> {
    if shard >= shards {
        return vocab..vocab;
    }
    let blocks = vocab.div_ceil(BLOCK);
    edge(vocab, blocks, shards, shard)..edge(vocab, blocks, shards, shard + 1)
}

/// Where a shard begins.
#[allow(clippy::cast_possible_truncation, reason = "at most the blocks")]
const fn edge(vocab: usize, blocks: usize, shards: usize, shard: usize) -> usize {
    let product = blocks as u128 * shard as u128;
    let Some(block) = product.checked_div(shards as u128) else { return vocab };
    let column = (block as usize).saturating_mul(BLOCK);
    if column < vocab { column } else { vocab }
}
