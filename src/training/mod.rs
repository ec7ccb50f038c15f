//! Beside the stages: what a training run needs from its data, and what it keeps from step to step.
//!
//! Pairs out of scored completions, the detached batch statistics that some losses take as an
//! argument, the moving reference, and the checks that show known failures early. The host owns all
//! state: structs of plain sums, to be stored, added over micro-batches and reduced over machines.

mod best_worst;
mod dynamic_beta;
mod identical;
mod length;
mod log_ratio;
mod moving_reference;
mod optimal_value;
mod weights;

pub use best_worst::{Selection, best_worst_pairs};
pub use dynamic_beta::{DynamicBeta, GapAverages, GapSums, pair_gaps};
pub use identical::identical_pairs;
pub use length::LengthSums;
pub use log_ratio::LogRatioSums;
pub use moving_reference::update_reference;
pub use optimal_value::optimal_value;
pub use weights::{WpoBound, ld_token_weights, length_offset, odpo_offset, wpo_pair_weights};
