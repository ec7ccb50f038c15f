//! The C ABI.

use crate::{Entry, entries};
use dpo_kernel::c;

/// Every function of the header.
#[unsafe(no_mangle)]
pub static DPO_KERNEL_C: &[Entry] = entries![
    c::dpo_unpaired_loss,
    c::dpo_nll_loss,
    c::dpo_logit_grads,
    c::dpo_logit_grads_in_place,
    c::dpo_tile_grads_in_place,
    c::dpo_evaluate_pair,
    c::dpo_preference_loss,
    c::dpo_version,
    c::dpo_status_message,
    c::dpo_buffer_name,
    c::dpo_parameter_name,
    c::dpo_loss_parse,
    c::dpo_loss_name,
    c::dpo_row_stats_new,
    c::dpo_row_stats_fold,
    c::dpo_row_stats_merge,
    c::dpo_row_stats_finish,
    c::dpo_preference_step,
    c::dpo_spans_of_batch,
    c::dpo_spans_of_offsets,
    c::dpo_token_log_probs,
    c::dpo_sequence_log_probs,
    c::dpo_detect,
    c::dpo_is_available,
    c::dpo_ld_token_weights,
    c::dpo_wpo_pair_weights,
    c::dpo_odpo_offset,
    c::dpo_length_offset,
    c::dpo_sigmoid,
    c::dpo_sigmoid_f32,
    c::dpo_log_sigmoid,
    c::dpo_log_sigmoid_f32,
    c::dpo_softplus,
    c::dpo_softplus_f32,
    c::dpo_log1mexp,
    c::dpo_log1mexp_f32,
    c::dpo_logaddexp,
    c::dpo_logaddexp_f32,
];
