//! A conformance kit: the oracle for kernels of other languages and devices.
//!
//! A [`Backend`] is any subset of token log-probs, log Z, details of a row, logit gradients, the loss
//! of pairs, and a head without logits. One call, [`run`], gives it some hundreds of batches and
//! returns a [`Report`]: every row with a wrong figure, with what was given, expected and found, how
//! many ulps apart, the bound that follows from the [`Precision`] the backend declares, and the
//! [`Mistake`] that explains it.
//!
//! ```text
//! Plan ─▶ calls ─▶ Backend ─▶ answers ─┬─▶ beside the f64 reference, within derived bounds ─▶ Failure
//!                                      ├─▶ beside each other, bit for bit ──────────────────▶ Broken
//!                                      └─▶ beside a model of each mistake ──────────────────▶ causes
//! ```
//!
//! - **Bounds are derived, not chosen.** [`Precision`] says what sums and functions are computed in;
//!   the worst case of its roundings is what figures may be off. Zeros, constants and figures of 16
//!   bits do not pass. Where sums may leave the range of the declared arithmetic, as those of f16 may,
//!   the report counts the figures that no bound holds; everywhere else NaN fails.
//! - **Relations need no reference.** A row has the same bits alone and in a batch, at any place,
//!   stride and padding, beside rows of NaN, and once more. They are reported apart from accuracy:
//!   many products of matrices do not keep them.
//! - **Causes are recognised**, by making each mistake on the same inputs and looking for the figures
//!   that were found. A mistake counts only if it explains what is wrong and would not show in what
//!   is right.
//!
//! Hosts of other languages have the same by `examples/kit`: it writes the calls to a folder, and
//! reads the answers back.
//!
//! The kit allocates; the rest of `verify` does not.

#![allow(
    clippy::float_cmp,
    reason = "formats are told apart, and factors of 1 and kept outputs found, by exact numbers"
)]

mod ask;
mod backend;
mod bound;
mod call;
mod declared;
mod diagnose;
mod digest;
mod format;
mod input;
mod judge;
mod kernel;
mod mistake;
mod model;
mod narrow;
mod output;
mod plan;
mod precision;
mod random;
mod relation;
mod report;
mod runner;
mod view;

pub use backend::Backend;
pub use call::{Call, Given, HeadGiven, PairsGiven, RowsGiven};
pub use declared::Implausible;
pub use format::Format;
pub use mistake::Mistake;
pub use output::{Output, Unscored};
pub use plan::{Group, Plan, Related, Size};
pub use precision::{Additions, Difference, Precision, Target, Ulps};
pub use relation::Relation;
pub use report::{Broken, Failure, Report, Tested, Unanswered, Wrong};
pub use runner::run;
pub use view::{Head, Pairs, RowOut, Rows};
