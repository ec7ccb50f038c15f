//! A whole step in one call: policy logits to loss summary and logit gradients. It only composes
//! the stages.
//!
//! ```text
//! token_log_probs → sequence_log_probs → preference_loss or unpaired_loss → token_coefficients → logit_grads
//! ```
//!
//! | what | how |
//! |---|---|
//! | pairs, or answers without a partner | [`preference_step`], [`unpaired_step`] |
//! | gradients in place, or into another buffer (f32 gradients of bf16 logits) | [`LogitsMut`](crate::LogitsMut), or ([`Logits`](crate::Logits), [`LogitsMut`](crate::LogitsMut)): [`StepLogits`] |
//! | hidden states and a head in the place of logits, which exist a tile at a time | [`FrozenHead`], [`TrainedHead`] |
//! | no gradients: held-out pairs | [`Logits`](crate::Logits), [`ScoredHead`]: [`ReadLogits`] |
//! | on this thread, or rows over threads | [`Dispatch`](crate::Dispatch), or `Parallel` (feature `rayon`): [`Executor`](crate::Executor) |
//! | the caller's buffers, or some that grow once | [`StepScratch`], or `Workspace` (feature `alloc`) |

mod head;
mod logits;
mod pairs;
mod scratch;
mod stages;
mod unpaired;

pub use head::{FrozenHead, ScoredHead, TrainedHead};
#[cfg(feature = "c")]
pub(crate) use logits::private::Sealed;
pub use logits::{ReadLogits, StepLogits};
pub use pairs::{StepBatch, preference_step};
pub use scratch::{StepScratch, StepSummary};
pub use unpaired::{UnpairedStepBatch, unpaired_step};
