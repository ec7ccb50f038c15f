//! Step 4: preferences between two answers, of which only the difference of rewards matters.

use crate::math::{log_sigmoid, sigmoid};

/// The log of the probability that the first answer is preferred to the second.
///
/// ```text
/// log P(y_w ≻ y_l) = log σ(r_w − r_l) = min(Δ, 0) − log(1 + exp(−|Δ|)),   Δ = r_w − r_l
/// ```
///
/// # Numerics
/// Both tails keep their relative accuracy, a few units in the last place: `−exp(−Δ)` on the right,
/// Δ itself on the left. NaN rewards, and two equal infinite ones, give NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::theory::preference_log_prob;
///
/// assert_eq!(preference_log_prob(3.0, 3.0), -core::f64::consts::LN_2);
/// assert_eq!(preference_log_prob(0.0, 1000.0), -1000.0);
/// assert!(preference_log_prob(100.0, 0.0) < 0.0);
/// ```
///
/// Source: Bradley and Terry 1952; Rafailov et al. 2023, equations 1 and 6.
#[must_use]
pub fn preference_log_prob(reward_chosen: f64, reward_rejected: f64) -> f64 {
    log_sigmoid(reward_chosen - reward_rejected)
}

/// The probability that the first answer is preferred to the second.
///
/// ```text
/// P(y_w ≻ y_l) = σ(r_w − r_l)
/// ```
///
/// # Numerics
/// Accurate to a few units in the last place down to the smallest f64: the small side of σ is
/// computed, never `1 − σ`. NaN rewards, and two equal infinite ones, give NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::theory::preference_prob;
///
/// assert_eq!(preference_prob(3.0, 3.0), 0.5);
/// assert_eq!(preference_prob(1.0, 0.0) + preference_prob(0.0, 1.0), 1.0);
/// assert!(preference_prob(0.0, 700.0) > 0.0);
/// ```
///
/// Source: Bradley and Terry 1952; Rafailov et al. 2023, equations 1 and 6.
#[must_use]
pub fn preference_prob(reward_chosen: f64, reward_rejected: f64) -> f64 {
    sigmoid(reward_chosen - reward_rejected)
}
