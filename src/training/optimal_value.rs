//! The optimal value of a prompt, from rewards of sampled answers.

use crate::Error;
use crate::error::{Buffer, Parameter};

/// The value V* of a prompt under the best policy near the reference, estimated from the rewards of
/// n answers that the reference gave: what [`AStarPo`](crate::loss::AStarPo) subtracts from the
/// reward.
///
/// ```text
/// V* = β₁·log( (1/n)·Σ_i e^(r_i/β₁) )
/// ```
///
/// It lies between the mean of the rewards (β₁ → ∞) and their largest (β₁ → 0). TRL's A*PO has β₁ =
/// 0.5 and n = 8. Source: Brantley et al. 2025, arXiv 2505.20686.
///
/// # Numerics
/// The largest reward is subtracted first, so no exponential overflows; where the others are near
/// it, the mean is formed from expm1, so that a large β₁ loses no digits of their differences.
///
/// # Errors
/// [`Error::Parameter`] unless β₁ is finite and > 0, [`Error::Length`] without a reward,
/// [`Error::InvalidValue`] for a reward that is not finite.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::training::optimal_value;
/// // Half the answers are right: 0.5·ln((e² + 1)/2).
/// let value = optimal_value(0.5, &[1.0, 0.0, 1.0, 0.0])?;
/// assert!((value - 0.5 * ((2.0_f64.exp() + 1.0) / 2.0).ln()).abs() < 1e-15);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn optimal_value(beta: f64, rewards: &[f64]) -> Result<f64, Error> {
    let beta = Parameter::Beta.positive(beta)?;
    let buffer = Buffer::Scores;
    if rewards.is_empty() {
        return Err(Error::Length { buffer, expected: 1, found: 0 });
    }
    if let Some((index, &value)) = rewards.iter().enumerate().find(|(_, r)| !r.is_finite()) {
        return Err(Error::InvalidValue { buffer, index, value });
    }
    let largest = rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // −∞, if it overflows: a reward that far below the largest counts for nothing.
    let below = |reward: f64| (reward - largest) / beta;
    let n = rewards.len() as f64;
    let mean_below: f64 = rewards.iter().map(|&r| libm::expm1(below(r))).sum::<f64>() / n;
    let log_mean = if mean_below > -0.5 {
        libm::log1p(mean_below)
    } else {
        libm::log(rewards.iter().map(|&r| libm::exp(below(r))).sum::<f64>() / n)
    };
    Ok(largest + beta * log_mean)
}
