//! Stage 1: fold a row of logits, tile by tile, into statistics that merge.
//!
//! ```text
//! rest = Σ_{j ≠ target} e^(y_j)        log Z = ln(rest + e^(y_target))
//! ```
//!
//! The simple version is a maximum and a sum of `exp(y - max)` (`verify::rows::log_sum_exp`). This one
//! differs in that
//! 1. there is one sweep: the sum is kept relative to 2^N, N an integer near the first block's maximum
//!    (the row's own maximum is not needed), and a block that turns out more than 2^7.5 above it is
//!    done again with a better N, which rescales what came before by an exact power of two;
//! 2. the target is left out of the sum and held apart, so 1 − p(target) = rest/Z never cancels: a
//!    confident token keeps the relative accuracy of its small log-prob;
//! 3. scales and mantissas of the terms (`simd::exp`) are summed apart, in sixteen f32 lanes: four vectors
//!    (a quad), then the eight quads of a block, then blocks in f64, so the error does not grow with
//!    V. A power of two that ties with half an ulp of the sum is rounded away every time, a bias of
//!    3e-8; so what a quad loses in its block's sum of scales is given to the mantissas;
//! 4. the last quad is filled up with −inf, whose terms are exactly 0, so no column's term depends
//!    on where its row begins or ends;
//! 5. rows whose logits are too large for the exact reduction (|y| > 1300) are folded relative to one
//!    of their own logits instead of 0; the difference is exact wherever it matters;
//! 6. rows are finished eight side by side where the level is wide, and those of one block begun (their first
//!    reference): what one short row alone waits for would cost more than its logits;
//! 7. the memory is asked for what lies two pages ahead (`simd::ahead`), where the build has SSE.

mod block;
mod finish;
mod fold;
mod moments;
#[cfg(feature = "c")]
mod parts;
mod stats;
mod sums;
mod total;
mod values;

pub use block::BLOCK;
pub(crate) use block::Copies;
pub use finish::RowNorm;
pub(crate) use finish::finish_rows;
pub(crate) use moments::Extra;
pub use moments::{Moments, RowDetails};
#[cfg(feature = "c")]
pub(crate) use parts::RowParts;
pub use stats::RowStats;
pub(crate) use values::Values;
