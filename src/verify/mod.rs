//! The plain reference of every stage, in f64: read this first.
//!
//! Each stage of the crate stands here a second time, as the shortest code that is accurate: one
//! row, one sequence, one pair at a time, in f64, with `libm` and nothing else. No line is shared
//! with the kernels, so that a test which compares the two compares two things. It is not fast,
//! and it is not meant to be.
//!
//! ```text
//! rows        logits → y = softcap(scale · x)/temperature → log Z, log-probs, …   and back
//! sequence    token log-probs → {sum, count}                                      and back
//! preference  four sequence log-probs → loss, rewards, gradients
//! losses      every other loss of such a pair, as printed; curves has the functions that they share
//! batch       all three in a row: logits → mean loss                              and back
//! dual        the batch once more, from the textbook, on numbers that carry a derivative
//! ```
//!
//! `batch` uses the closed form of the gradient. `dual` knows no closed form: it differentiates
//! what it computes. Where they agree, the derivation is right, and a kernel that agrees with both
//! is right too. Every function takes f64 slices; 16- and 32-bit elements convert to f64 exactly.
//!
//! Nothing here panics or allocates. Shapes are up to the caller: what a slice lacks is skipped,
//! and a target that a row lacks has a log-prob of NaN.
//!
//! # For the suites of other backends
//!
//! `kit` (with the feature `alloc`) is a whole suite: it gives a backend some hundreds of batches,
//! derives what each figure may be off, and names the mistakes. To write a suite of one's own:
//!
//! [`compare()`] and [`compare_all`] hold what a backend finds against the reference's figures,
//! within a [`Tolerance`], and say what was put in, expected and found, and how many ulps apart.
//! `cases` makes inputs, plain and adversarial: it allocates, and comes with the features
//! `proptest` and `arbitrary`. `tests/foreign` shows both on a backend of plain loops, with the
//! faults that they find in it.

mod batch;
pub mod bounds;
#[cfg(any(feature = "proptest", feature = "arbitrary"))]
pub mod cases;
mod compare;
mod curves;
mod dual;
#[cfg(any(feature = "alloc", feature = "proptest", feature = "arbitrary"))]
pub mod kit;
mod losses;
mod preference;
mod rows;
mod sequence;

pub use batch::Batch;
pub use compare::{Figure, Mismatch, Tolerance, compare, compare_all};
pub use curves::{Curve, Divergence};
pub use dual::{Dual, batch_loss_derivative};
pub use losses::{Loss, LossParameters, pair_loss, textbook_loss};
pub use preference::{Dpo, PairLogProbs, PairResult, preference_loss, sigmoid, softplus};
pub use rows::{
    Transform, argmax, entropy, log_prob, log_sum_exp, log_sum_sq_probs, logit_grads, mean_logit,
    transform_row,
};
pub use sequence::{IGNORE_INDEX, SequenceLogProb, sequence_log_prob, token_factor};
