//! The C ABI: every stage and loss for C and C++ runtimes.
//!
//! `include/dpo_kernel.h` is the documentation; what stands here carries its names. All structs are
//! plain and belong to the caller. No function allocates, unwinds, or keeps a pointer; all are
//! reentrant.
//!
//! ```text
//! step                                     all stages in one call
//! place                                    where its logits are, and where their gradients go
//! trained                                  a head that is trained, by its product
//! hidden, terms                            the head, by its product and by the host's own loop
//! gradient, weights, nll, unpaired         the stages, each with its structs
//! pairs
//! objective, reference                     what a batch of pairs is measured by
//! token
//! row, options, math
//! head                                     its weights, hidden states, its memory
//! logits, layout                           the structs that most functions take
//! report                                   Error → status and numbers
//! dispatch, message
//! argument                                 a struct of the caller → a copy that is safe to read
//! memory                                   pointers and lengths of the caller → slices
//! names                                    buffers and parameters by number
//! status                                   status codes
//! ```
//!
//! A file imports from files that stand below it.
//!
//! # Safety
//!
//! One contract serves all functions: a pointer that is not NULL points to as many elements as its
//! length says, initialised to anything, and nobody else writes there during the call; a struct
//! that begins with its size has that many bytes. NULL, misalignment, lengths beyond the address
//! space, and buffers that overlap although one of them is written are found and refused, and so is
//! every number in the structs that is out of its domain.

#![allow(
    unsafe_code,
    non_camel_case_types,
    clippy::too_many_arguments,
    reason = "pointers of a C host become slices here; names and arguments are those of the header"
)]
#![allow(clippy::wildcard_imports, reason = "the names of the ABI carry its prefix")]

mod argument;
mod dispatch;
mod gradient;
mod head;
mod hidden;
mod layout;
mod logits;
mod math;
mod memory;
mod message;
mod names;
mod nll;
mod objective;
mod options;
mod pairs;
mod place;
mod reference;
mod report;
mod row;
mod status;
mod step;
mod terms;
mod token;
mod trained;
mod unpaired;
mod weights;

pub use dispatch::*;
pub use gradient::{
    DPO_UNSCORED_KEEP, DPO_UNSCORED_ZERO, dpo_grads, dpo_logit_grads, dpo_logit_grads_in_place,
    dpo_tile, dpo_tile_grads_in_place, dpo_token_coefficients,
};
pub use head::{dpo_head, dpo_head_scratch, dpo_head_scratch_len, dpo_hidden, dpo_hidden_mut};
pub use hidden::{
    dpo_head_forward, dpo_head_token_log_probs, dpo_hidden_grads, dpo_hidden_grads_in_place,
};
pub use layout::{
    DPO_IGNORE_INDEX, DPO_LAYOUT_IGNORE, dpo_layout, dpo_span, dpo_spans_of_batch,
    dpo_spans_of_offsets, dpo_spans_of_offsets_i32, dpo_targets_of_i64,
};
pub use logits::{
    DPO_TYPE_BF16, DPO_TYPE_F16, DPO_TYPE_F32, dpo_logits, dpo_logits_mut, dpo_transform,
};
pub use math::*;
pub use message::{dpo_status_message, dpo_version};
pub use names::*;
pub use nll::{
    DPO_NLL_OF_ANSWERS, DPO_NLL_OF_CHOSEN, DPO_NLL_PER_SEQUENCE, DPO_NLL_PER_TOKEN,
    DPO_NLL_TERM_NLL, DPO_NLL_TERM_XPO, dpo_nll, dpo_nll_loss, dpo_nll_summary,
};
pub use objective::{
    DPO_MOST_TERMS, DPO_OBJECTIVE_MIXTURE, DPO_OBJECTIVE_ONE, DPO_OBJECTIVE_PER_PAIR, dpo_objective,
};
pub use options::*;
pub use pairs::{
    dpo_evaluate_pair, dpo_pair, dpo_pair_log_probs, dpo_pair_loss, dpo_pairs, dpo_preference_loss,
    dpo_summary,
};
pub use row::{
    DPO_ROW_BASE, DPO_ROW_BROKEN, DPO_ROW_BYTES, DPO_ROW_DETAIL_BYTES, DPO_ROW_DETAILS,
    DPO_ROW_MASKED, DPO_ROW_TARGET, DPO_ROW_TARGET_SEEN, dpo_row_details, dpo_row_norm,
    dpo_row_result, dpo_row_stats, dpo_row_stats_finish, dpo_row_stats_fold,
    dpo_row_stats_from_bytes, dpo_row_stats_merge, dpo_row_stats_new, dpo_row_stats_write_bytes,
};
pub use status::*;
pub use step::{dpo_preference_step, dpo_step, dpo_unpaired_step};
pub use terms::{dpo_hidden_row_grads_in_place, dpo_tile_terms_in_place};
pub use token::{
    dpo_sequence_log_prob, dpo_sequence_log_probs, dpo_token_log_probs, dpo_token_summary,
};
pub use trained::{
    DPO_GRADS_ADD, DPO_GRADS_REPLACE, dpo_head_grads, dpo_head_grads_scratch_len, dpo_head_mut,
};
pub use unpaired::{
    DPO_DESIRABLE, DPO_UNDESIRABLE, dpo_answer, dpo_answer_loss, dpo_unpaired_batch,
    dpo_unpaired_loss, dpo_unpaired_summary,
};
pub use weights::{
    DPO_WPO_AT_MOST_ONE, DPO_WPO_UNBOUNDED, dpo_ld_token_weights, dpo_length_offset,
    dpo_odpo_offset, dpo_wpo_pair_weights,
};
