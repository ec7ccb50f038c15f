//! What both kinds of step share.

use crate::error::NonFinite;
use crate::layout::Layout;
use crate::row::RowNorm;
use crate::sequence::weighted_rows;

/// Scored tokens of weight ≠ 0 in a sequence.
pub(super) fn count(layout: &Layout<'_>, sequence: usize, token_weights: Option<&[f32]>) -> usize {
    weighted_rows(layout, sequence, token_weights).count()
}

/// The rows without a norm in the sequences whose gradient is NaN: what made it so. Rows that
/// nothing of weight ≠ 0 depends on are not among them.
#[cold]
#[inline(never)]
pub(super) fn broken_rows(
    layout: &Layout<'_>,
    norms: &[RowNorm],
    d_log_probs: &[f64],
    token_weights: Option<&[f32]>,
) -> NonFinite {
    let mut bad = NonFinite::NONE;
    for (sequence, _) in d_log_probs.iter().enumerate().filter(|(_, d)| d.is_nan()) {
        for (row, _) in weighted_rows(layout, sequence, token_weights) {
            if !norms.get(row).is_some_and(RowNorm::is_valid) {
                bad.see(row);
            }
        }
    }
    bad
}
