//! Stage 5: from ∂L/∂log π back to the logits.
//!
//! ```text
//! ∂L/∂x_j = c · (onehot_j − p_j) · dy/dx_j       c = ∂L/∂log p, one a row
//! ```
//!
//! The simple version subtracts a softmax from a one-hot row (`verify::rows::logit_grads`). This
//! one differs in that
//! 1. one sweep reads each logit and writes its gradient, in place if wanted: p is computed again
//!    from the 16 bytes that the forward kept;
//! 2. c, 1/Z and the transform's slope are one factor, whose power of two joins the exponential's
//!    integer N and whose mantissa is in the polynomial's coefficients: p · c costs nothing more
//!    than p;
//! 3. results below 2^−124 become 0 instead of subnormal: a row of small probabilities must not
//!    run at the speed of the slow path of the machine;
//! 4. the target's gradient c·(1 − p) is stored afterwards from the saved 1 − p, rounded once:
//!    formed from an already rounded c·p it would lose a confident bf16 token altogether.

mod backward;
mod batch;
mod coefficients;
mod map;

pub use crate::element::GradElement;
pub use backward::{logit_grads, logit_grads_in_place, tile_grads_in_place};
pub(crate) use backward::{terms_in_place, tile_in_place};
pub use batch::{GradBatch, Unscored};
pub(crate) use batch::{RowGrad, check_coefficient, check_norm};
pub use coefficients::token_coefficients;
pub(crate) use coefficients::write_coefficients;
