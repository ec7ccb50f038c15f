//! Beside the stages: what a training run needs from its data, and what it keeps from step to step.
//!
//! | item | for |
//! |---|---|
//! | [`best_worst_pairs`] | pairs out of scored completions: online and iterative DPO |
//! | [`LogRatioSums`] | K of KTO, δ of BCO |
//! | [`DynamicBeta`], [`GapAverages`], [`GapSums`], [`pair_gaps`] | β and the filter of β-DPO |
//! | [`ld_token_weights`] | token weights of LD-DPO |
//! | [`wpo_pair_weights`] | pair weights of WPO |
//! | [`odpo_offset`], [`length_offset`] | offsets of ODPO and R-DPO |
//! | [`optimal_value()`] | V* of a prompt, for the advantages of A*PO |
//! | [`update_reference`] | the moving reference of TR-DPO |
//! | [`LengthSums`], [`identical_pairs`] | the length exploit, and pairs that prefer nothing: seen early |
//!
//! The host owns all state: structs of plain sums, to be stored, added over micro-batches and
//! reduced over machines. None of these numbers is differentiated.
//!
//! What makes weights, offsets or flags of pairs looks at every pair it is given: leave out of the
//! list what is to be left out.

mod best_worst;
mod dynamic_beta;
mod identical;
mod ld_dpo;
mod length;
mod log_ratio;
mod moving_reference;
mod offsets;
mod optimal_value;
mod wpo;

pub use best_worst::{Selection, best_worst_pairs};
pub use dynamic_beta::{DynamicBeta, GapAverages, GapSums, pair_gaps};
pub use identical::identical_pairs;
pub use ld_dpo::ld_token_weights;
pub use length::LengthSums;
pub use log_ratio::LogRatioSums;
pub use moving_reference::update_reference;
pub use offsets::{length_offset, odpo_offset};
pub use optimal_value::optimal_value;
pub use wpo::{WpoBound, wpo_pair_weights};
