//! Direct Preference Optimization from logits to logit gradients.
#![no_std]

mod element;
pub mod error;
mod gradient;
mod logits;
pub mod math;
mod preference;
mod row;
mod sequence;
mod simd;
mod span;
mod step;
pub mod theory;
mod token;
mod transform;
#[cfg(feature = "verify")]
pub mod verify;

pub use element::Element;
pub use error::Error;
pub use gradient::{GradBatch, logit_grads, logit_grads_in_place, tile_grads_in_place};
pub use half::{bf16, f16};
pub use logits::{Logits, LogitsMut};
pub use preference::{
    Dpo, Pair, PairBatch, PairLogProbs, PairLoss, PairOut, Reference, Summary, preference_loss,
};
pub use row::{BLOCK, Moments, RowDetails, RowNorm, RowStats};
pub use sequence::{SequenceLogProb, sequence_log_probs};
pub use simd::{Arithmetic, Dispatch, Level};
pub use span::{IGNORE_INDEX, Span, Targets, spans_of_batch, spans_of_offsets};
pub use step::{StepBatch, StepScratch, dpo_step};
pub use token::{TokenOut, token_log_probs};
pub use transform::Transform;
