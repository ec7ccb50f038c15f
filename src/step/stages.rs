//! What both kinds of step share.

use crate::error::NonFinite;
use crate::layout::Layout;
use crate::row::RowNorm;
use crate::sequence::weighted_rows;

/// Scored tokens of weight ≠ 0 in a sequence.
pub(super) fn count(layout: &Layout<'_>, sequence: usize, token_weights: Option<&[f32]>) -> usize {
    weighted_rows(layout, sequence, token_weights).count()
}

/// The rows without a norm in the sequences whose gradient is NaN: what made it so, each once. Rows
/// that nothing of weight ≠ 0 depends on are not among them. The gradients of an NLL term are of
/// the tokens as they are.
#[cold]
#[inline(never)]
pub(super) fn broken_rows(
    layout: &Layout<'_>,
    norms: &[RowNorm],
    d_log_probs: &[f64],
    token_weights: Option<&[f32]>,
    d_nll: Option<&[f64]>,
) -> NonFinite {
    let mut bad = NonFinite::NONE;
    for (sequence, d) in d_log_probs.iter().enumerate() {
        let of_term = d_nll.and_then(|d_nll| d_nll.get(sequence)).is_some_and(|d| d.is_nan());
        let token_weights = if of_term { None } else { token_weights };
        if of_term || d.is_nan() {
            for (row, _) in weighted_rows(layout, sequence, token_weights) {
                if !norms.get(row).is_some_and(RowNorm::is_valid) {
                    bad.see(row);
                }
            }
        }
    }
    bad
}
