//! The derivation of the loss, checked step by step on random finite answer sets.
//!
//! Each checker takes the policy (or the gradient) that it judges as an argument and returns by how
//! much of its bound the worst error used it up, or what failed. The same checkers then have to
//! reject wrong theories: see `planted`.
//!
//! Bounds are derived, not fitted: u = 2⁻⁵³ is the error of one rounding, `exp`, `expm1` and
//! `log1p` are taken to be within one unit in the last place, 2u, and terms in u² are left out. A
//! bound is also too loose if the worst of thousands of cases stays below a fiftieth of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::doc_markdown,
    clippy::excessive_precision,
    reason = "a test may panic, compares bits where bits are promised, derives its bounds, and quotes figures"
)]

mod by_hand;
mod cancellation;
mod figures;
mod instance;
mod loss;
mod optimum;
mod planted;

/// Random answer sets for each property.
const CASES: u32 = 4096;
