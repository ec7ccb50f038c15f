//! From the gradients of sequences to those of their tokens: one coefficient a row.

use crate::Error;
use crate::error::{Buffer, check_length};
use crate::layout::Layout;
use crate::sequence::{check_token_weights, weight_of};

/// ∂L/∂log p of every scored row, from the gradients of its sequence: the coefficients of the
/// backward.
///
/// ```text
/// c_t = w_t · ∂L/∂log π(y) + ∂NLL/∂log p        t a scored row of the sequence y
/// ```
///
/// `d_log_probs`, N, are of a preference or an unpaired loss; `token_weights`, R, are those of
/// [`sequence_log_probs`](crate::sequence_log_probs) (1 without); `d_nll`, N, is of an NLL term
/// ([`nll_loss`](crate::loss::nll_loss); 0 without), which is of the tokens as they are. Rows that
/// are not scored are not written. A loss of tokens needs none of this: it writes `out` itself.
///
/// # Errors
/// Before anything is written: [`Error::Length`]; [`Error::InvalidValue`] for a gradient or a token
/// weight that is not finite.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{Layout, Span};
/// use dpo_kernel::gradient::token_coefficients;
/// let (targets, spans) = ([7, 8, 9], [Span::new(0, 2), Span::new(2, 3)]);
/// let layout = Layout::new(&targets, &spans, 10)?;
/// let mut coefficients = [0.0; 3];
/// let weights = [1.0, 0.5, 1.0];
/// token_coefficients(&layout, &[-0.5, 0.25], Some(&weights), None, &mut coefficients)?;
/// assert_eq!(coefficients, [-0.5, -0.25, 0.25]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
pub fn token_coefficients(
    layout: &Layout<'_>,
    d_log_probs: &[f64],
    token_weights: Option<&[f32]>,
    d_nll: Option<&[f64]>,
    out: &mut [f64],
) -> Result<(), Error> {
    check_finite(Buffer::SequenceGrads, layout.sequences(), d_log_probs)?;
    if let Some(d_nll) = d_nll {
        check_finite(Buffer::NllGrads, layout.sequences(), d_nll)?;
    }
    check_token_weights(token_weights, layout.rows())?;
    check_length(Buffer::TokenCoefficients, layout.rows(), out.len())?;
    write_coefficients(layout, d_log_probs, token_weights, d_nll, out);
    Ok(())
}

/// The coefficients of arguments that were checked.
pub(crate) fn write_coefficients(
    layout: &Layout<'_>,
    d_log_probs: &[f64],
    token_weights: Option<&[f32]>,
    d_nll: Option<&[f64]>,
    out: &mut [f64],
) {
    for (sequence, &d) in d_log_probs.iter().enumerate() {
        let d_nll = d_nll.and_then(|d_nll| d_nll.get(sequence)).copied();
        for (row, _) in layout.scored_rows(sequence) {
            let weighted = d * weight_of(token_weights, row);
            if let Some(to) = out.get_mut(row) {
                *to = d_nll.map_or(weighted, |d_nll| weighted + d_nll);
            }
        }
    }
}

/// One finite number a sequence.
fn check_finite(buffer: Buffer, sequences: usize, found: &[f64]) -> Result<(), Error> {
    check_length(buffer, sequences, found.len())?;
    match found.iter().enumerate().find(|(_, d)| !d.is_finite()) {
        None => Ok(()),
        Some((index, &value)) => Err(Error::InvalidValue { buffer, index, value }),
    }
}
