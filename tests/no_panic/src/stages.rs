//! The stages, for each element type.

use crate::{Entry, entries};
use core::ops::AddAssign;
use dpo_kernel::loss::{PairLogProbs, PreferenceLoss};
use dpo_kernel::{
    Dispatch, Dpo, Element, GradBatch, Level, Logits, LogitsMut, Moments, Pair, PairBatch,
    RowStats, SequenceLogProb, Span, StepBatch, Summary, Targets, TokenOut, Transform, bf16, f16,
    logit_grads, logit_grads_in_place, preference_loss, preference_step, sequence_log_probs,
    spans_of_batch, spans_of_offsets, tile_grads_in_place, token_log_probs,
};

/// What reads or writes logits of one type. The dispatch is a value, so every level is in it.
const fn stages<E: Element>() -> &'static [Entry] {
    entries![
        E::to_f32,
        E::from_f32,
        Logits::<E>::new,
        Logits::<E>::with_stride,
        Logits::<E>::with_transform,
        Logits::<E>::rows,
        Logits::<E>::vocab,
        Logits::<E>::transform,
        Logits::<E>::row,
        LogitsMut::<E>::new,
        LogitsMut::<E>::with_stride,
        LogitsMut::<E>::with_transform,
        LogitsMut::<E>::as_logits,
        LogitsMut::<E>::reborrow,
        LogitsMut::<E>::rows,
        LogitsMut::<E>::vocab,
        LogitsMut::<E>::transform,
        LogitsMut::<E>::row_mut,
        RowStats::<()>::fold::<E>,
        RowStats::<Moments>::fold::<E>,
        token_log_probs::<E>,
        logit_grads::<E, E>,
        logit_grads::<E, f32>,
        logit_grads_in_place::<E>,
        tile_grads_in_place::<E>,
        preference_step::<E, &Dpo>,
    ]
}

/// The stages on f32.
#[unsafe(no_mangle)]
pub static DPO_KERNEL_F32: &[Entry] = stages::<f32>();

/// The stages on f16.
#[unsafe(no_mangle)]
pub static DPO_KERNEL_F16: &[Entry] = stages::<f16>();

/// The stages on bf16.
#[unsafe(no_mangle)]
pub static DPO_KERNEL_BF16: &[Entry] = stages::<bf16>();

/// What does not see the type of the logits.
#[unsafe(no_mangle)]
pub static DPO_KERNEL_UNTYPED: &[Entry] = entries![
    Level::detect,
    Level::is_present,
    Dispatch::detect,
    Dispatch::new,
    available,
    Dispatch::level,
    Dispatch::arithmetic,
    Transform::new,
    Targets::new,
    Targets::with_ignore,
    Targets::ids,
    Targets::scored,
    Span::new,
    spans_of_batch,
    spans_of_offsets,
    RowStats::<()>::new,
    RowStats::<()>::merge,
    RowStats::<()>::log_z,
    RowStats::<()>::target_logit,
    RowStats::<()>::columns,
    RowStats::<()>::log_prob,
    RowStats::<()>::norm,
    RowStats::<Moments>::new,
    RowStats::<Moments>::merge,
    RowStats::<Moments>::log_z,
    RowStats::<Moments>::target_logit,
    RowStats::<Moments>::columns,
    RowStats::<Moments>::log_prob,
    RowStats::<Moments>::norm,
    RowStats::<Moments>::details,
    TokenOut::new,
    TokenOut::with_norms,
    TokenOut::with_details,
    SequenceLogProb::mean,
    sequence_log_probs,
    Pair::new,
    PairLogProbs::new,
    PairLogProbs::with_weight,
    PairLogProbs::with_offset,
    PairBatch::new,
    PairBatch::with_weights,
    PairBatch::with_offsets,
    preference_loss::<&Dpo>,
    Dpo::new,
    Dpo::<dpo_kernel::loss::ReverseKl>::with_label_smoothing,
    Dpo::<dpo_kernel::loss::ReverseKl>::beta,
    Dpo::<dpo_kernel::loss::ReverseKl>::label_smoothing,
    <Dpo as PreferenceLoss>::evaluate,
    Summary::mean_loss,
    Summary::mean_reward_chosen,
    Summary::mean_reward_rejected,
    Summary::mean_margin,
    Summary::accuracy,
    Summary::displaced_share,
    Summary::saturated_share,
    <Summary as AddAssign>::add_assign,
    GradBatch::new,
    GradBatch::with_token_weights,
    StepBatch::new,
    StepBatch::with_weights,
    StepBatch::with_offsets,
    StepBatch::with_token_weights,
];

/// [`Dispatch::available`] down to the last of them; the function alone would only make an iterator.
fn available(out: &mut [Option<Dispatch>]) {
    for (out, found) in out.iter_mut().zip(Dispatch::available()) {
        *out = Some(found);
    }
}
