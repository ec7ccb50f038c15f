//! Stage 1: fold a row of logits, tile by tile, into statistics that merge.
//!
//! ```text
//! log Z = ln(others + e^(y_target))        others = Σ_{j ≠ target} e^(y_j)
//! ```
//!
//! [`RowStats`] is for hosts whose logits come in tiles: from a head computed block by block, or
//! from machines that share the vocabulary. Whole rows in memory are
//! [`token_log_probs`](crate::token_log_probs)'s work, which folds them in the same way and gives
//! the same bits.
//!
//! | name | for |
//! |---|---|
//! | [`RowStats`] | fold, merge, log Z, the target's log-prob; to bytes and back |
//! | [`shard_columns`] | the columns of each machine |
//! | [`RowNorm`] | what the backward needs of a row ([`tile_grads_in_place`](crate::gradient::tile_grads_in_place)) |
//! | [`Details`], [`RowDetails`] | entropy, argmax, mean logit and log Σp² of the same sweep |
//! | [`BLOCK`] | tiles that begin at multiples of it give the bits of the whole row, in any order |
//!
//! # How it is computed
//!
//! The simple version is a maximum and a sum of `exp(y - max)` (`verify::rows::log_sum_exp`). This
//! one differs in that
//! 1. there is one sweep, and no maximum to wait for. The terms of a block are relative to 2^N, N a
//!    multiple of 96 that the block's largest term determines: mostly 0. Whether it was right the
//!    terms say, and a block that was not is done again. So what a block adds depends on its columns
//!    alone;
//! 2. the target is left out of the sum, so 1 − p(target) = others / Z never cancels: a confident
//!    token keeps the relative accuracy of its small log-prob;
//! 3. each term is a power of two, its scale, plus a mantissa (`simd::exp`), which are summed
//!    separately in sixteen f32 lanes: over four vectors (a quad), then over the eight quads of a
//!    block. A scale that is half an ulp of its sum would be rounded away every time, a bias of
//!    3e-8; so what a sum of scales loses at a quad is given to the mantissas. The sums of blocks, in
//!    f64, are added as integers at fixed binary places (`exact`): in any order, on any machine, to
//!    the same bits. A block is added after the terms of the next one, which do not wait for it;
//! 4. the last quad is filled up with −inf, whose terms are exactly 0, so no column's term depends
//!    on where its row begins or ends;
//! 5. rows whose logits are too large for the exact reduction (|y| > 1300) have one of their own
//!    logits as the base; the difference to it is exact wherever the term is not negligible;
//! 6. where the level is wide, eight rows are finished at once: the chain of instructions that one
//!    short row waits for takes longer than its logits. Where details are collected, a sweep ahead
//!    finds the largest value of a block, from which distances are measured, and the sum of its
//!    values;
//! 7. the logits two pages ahead are prefetched (`simd::prefetch`), where the build has SSE;
//! 8. a level without vectors sums a block lane by lane and steps over the target (`one_lane`): the
//!    same terms in the same order, without copies of quads.

mod base;
mod block;
mod details;
mod exact;
mod extra;
mod finish;
mod fold;
mod logit_sum;
mod norm;
mod one_lane;
mod shard;
mod state;
mod stats;
mod sums;
mod tile;
mod values;

pub use block::BLOCK;
pub(crate) use block::{Copies, HELD};
pub use details::RowDetails;
#[cfg(feature = "c")]
pub(crate) use exact::Sum;
pub use extra::Details;
pub(crate) use extra::{DetailSums, Extra, ExtraSums, Nothing};
pub(crate) use finish::{Finished, finish_rows};
pub(crate) use fold::{Fold, fold_all};
pub use norm::RowNorm;
pub use shard::shard_columns;
#[cfg(feature = "c")]
pub(crate) use state::RowState;
pub use state::{ROW_BYTES, ROW_DETAIL_BYTES};
pub use stats::RowStats;
pub(crate) use values::copy;
