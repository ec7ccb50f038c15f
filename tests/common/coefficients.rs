//! The coefficients of the backward, in memory of their own.

use dpo_kernel::gradient::token_coefficients;
use dpo_kernel::{Error, Layout};

/// [`token_coefficients`]; rows that are not scored keep a NaN, which nobody may read.
pub fn coefficients(
    layout: &Layout<'_>,
    d_log_probs: &[f64],
    token_weights: Option<&[f32]>,
    d_nll: Option<&[f64]>,
) -> Result<Vec<f64>, Error> {
    let mut out = vec![f64::NAN; layout.rows()];
    token_coefficients(layout, d_log_probs, token_weights, d_nll, &mut out).map(|()| out)
}
