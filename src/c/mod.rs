//! The C ABI: every stage and loss for C and C++ runtimes.
//!
//! `include/dpo_kernel.h` is the documentation; what stands here carries its names. All structs are
//! plain and belong to the caller. No function allocates, unwinds, or keeps a pointer; all are reentrant.
//!
//! ```text
//! memory      pointers and lengths → slices: NULL, alignment, sizes and overlap are checked here
//! status      Error → code and numbers        names     their texts
//! view        logits, sequences, dispatch     options, objective  the losses
//! row token loss answers weights gradient step math     the entries, stage by stage
//! ```
//!
//! # Safety
//!
//! One contract serves all functions: a pointer that is not NULL points to as many elements as its length
//! says, initialised to anything, and nobody else writes there during the call. NULL,
//! misalignment, lengths beyond the address space, and buffers that overlap although one of them is
//! written are found and refused, and so is every number in the structs that is out of its domain.

#![allow(
    unsafe_code,
    non_camel_case_types,
    clippy::too_many_arguments,
    reason = "pointers of a C host become slices here; names and arguments are those of the header"
)]
#![allow(clippy::wildcard_imports, reason = "the names of the ABI carry its prefix")]

mod answers;
mod gradient;
mod loss;
mod math;
mod memory;
mod message;
mod names;
mod objective;
mod options;
mod row;
mod status;
mod step;
mod token;
mod view;
mod weights;

pub use answers::{
    DPO_DESIRABLE, DPO_NLL_PER_SEQUENCE, DPO_NLL_PER_TOKEN, DPO_UNDESIRABLE, dpo_answer,
    dpo_answer_loss, dpo_nll, dpo_nll_loss, dpo_nll_summary, dpo_unpaired_batch, dpo_unpaired_loss,
    dpo_unpaired_summary,
};
pub use gradient::{
    dpo_grads, dpo_logit_grads, dpo_logit_grads_in_place, dpo_tile, dpo_tile_grads_in_place,
};
pub use loss::{
    DPO_REFERENCE_FREE, DPO_REFERENCE_SEQUENCES, DPO_REFERENCE_SUMS, dpo_evaluate_pair, dpo_pair,
    dpo_pair_log_probs, dpo_pair_loss, dpo_pairs, dpo_preference_loss, dpo_reference, dpo_summary,
};
pub use math::*;
pub use message::{dpo_status_message, dpo_version};
pub use names::*;
pub use objective::{
    DPO_MOST_TERMS, DPO_OBJECTIVE_MIXTURE, DPO_OBJECTIVE_ONE, DPO_OBJECTIVE_PER_PAIR, dpo_objective,
};
pub use options::*;
pub use row::{
    DPO_ROW_DETAILS, DPO_ROW_REFERENCE, DPO_ROW_TARGET, DPO_ROW_TARGET_SEEN, dpo_row_details,
    dpo_row_norm, dpo_row_result, dpo_row_stats, dpo_row_stats_finish, dpo_row_stats_fold,
    dpo_row_stats_merge, dpo_row_stats_new,
};
pub use status::*;
pub use step::{dpo_preference_step, dpo_scratch};
pub use token::{
    dpo_sequence_log_prob, dpo_sequence_log_probs, dpo_span, dpo_spans_of_batch,
    dpo_spans_of_offsets, dpo_token_log_probs,
};
pub use view::*;
pub use weights::{
    DPO_WPO_AT_MOST_ONE, DPO_WPO_UNBOUNDED, dpo_ld_token_weights, dpo_length_offset,
    dpo_odpo_offset, dpo_wpo_pair_weights,
};
