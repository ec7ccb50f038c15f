//! The stages, for each element type.

use crate::{Entry, entries};
use core::ops::{AddAssign, Deref};
use dpo_kernel::gradient::{
    GradBatch, logit_grads, logit_grads_in_place, tile_grads_in_place, token_coefficients,
};
use dpo_kernel::head::{
    Adapted, Adapter, ColumnSums, HeadGrads, HeadScratch, Hidden, HiddenMut, Linear, RowSums,
    States, Tile, head_forward, head_grads, head_shard_grads, head_shard_stats,
    head_token_log_probs, hidden_grads, hidden_grads_in_place, hidden_row_grads_in_place,
    tile_terms_in_place,
};
use dpo_kernel::loss::{Kto, PairLogProbs, PreferenceLoss};
use dpo_kernel::row::{Details, RowStats, shard_columns};
use dpo_kernel::step::UnpairedStepBatch;
use dpo_kernel::step::{
    FrozenHead, ScoredHead, StepScratch, StepSummary, TrainedHead, unpaired_step,
};
use dpo_kernel::unpaired::{AnswerLoss, UnpairedOut};
use dpo_kernel::{
    Dispatch, Dpo, Element, Error, Layout, Level, Logits, LogitsMut, Pair, PairBatch, PairLoss,
    PairOut, SequenceLogProb, Span, StepBatch, Summary, Targets, TokenOut, TokenSummary, Transform,
    bf16, f16, preference_loss, preference_step, sequence_log_probs, token_log_probs,
};

/// A head of f32.
type Whole = Linear<'static, f32>;

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
        RowStats::<Details>::fold::<E>,
        token_log_probs::<Dispatch, E>,
        logit_grads::<Dispatch, E, E>,
        logit_grads::<Dispatch, E, f32>,
        logit_grads_in_place::<Dispatch, E>,
        tile_grads_in_place::<E>,
        preference_step::<Dispatch, &Dpo, LogitsMut<'_, E>>,
        preference_step::<Dispatch, &Dpo, (Logits<'_, E>, LogitsMut<'_, f32>)>,
        unpaired_step::<Dispatch, &Kto, LogitsMut<'_, E>>,
        unpaired_step::<Dispatch, &Kto, (Logits<'_, E>, LogitsMut<'_, f32>)>,
        Hidden::<E>::new,
        Hidden::<E>::with_stride,
        Hidden::<E>::rows,
        Hidden::<E>::size,
        Hidden::<E>::row,
        HiddenMut::<E>::new,
        HiddenMut::<E>::with_stride,
        HiddenMut::<E>::rows,
        HiddenMut::<E>::size,
        HiddenMut::<E>::row,
        HiddenMut::<E>::row_mut,
        Linear::<E>::new,
        Linear::<E>::with_stride,
        Linear::<E>::with_bias,
        Linear::<E>::with_transform,
        Linear::<E>::with_panels,
        States::<E>::len,
        States::<E>::is_empty,
        States::<E>::size,
        States::<E>::row,
        HeadScratch::numbers::<E, Linear<'_, E>>,
        HeadScratch::numbers_over::<Dispatch, E, Linear<'_, E>>,
        HeadScratch::numbers_trained::<Dispatch, E, Linear<'_, E>, E>,
        head_token_log_probs::<Dispatch, E, Linear<'_, E>>,
        head_token_log_probs::<Dispatch, E, Linear<'_, f32>>,
        head_forward::<Dispatch, E, Linear<'_, E>>,
        head_forward::<Dispatch, E, Linear<'_, f32>>,
        hidden_grads_in_place::<Dispatch, E, Linear<'_, E>>,
        hidden_grads::<Dispatch, E, E, Linear<'_, E>>,
        hidden_grads::<Dispatch, E, f32, Linear<'_, E>>,
        States::<E>::index,
        HeadGrads::<E>::of_weights,
        HeadGrads::<E>::of_weights_with_stride,
        HeadGrads::<E>::with_bias,
        HeadGrads::<E>::with_adapter,
        HeadGrads::<E>::added,
        head_grads::<Dispatch, E, Linear<'_, E>, E>,
        head_grads::<Dispatch, E, Linear<'_, E>, f32>,
        head_shard_stats::<Dispatch, E, Linear<'_, E>, ()>,
        head_shard_stats::<Dispatch, E, Linear<'_, E>, Details>,
        head_shard_grads::<Dispatch, E, Linear<'_, E>, E>,
        Adapter::project::<Dispatch, E>,
        Adapter::grads_in_place::<Dispatch, E>,
        Adapted::<Whole>::new::<E>,
        head_token_log_probs::<Dispatch, E, Adapted<'_, Linear<'_, E>>>,
        head_forward::<Dispatch, E, Adapted<'_, Linear<'_, E>>>,
        head_grads::<Dispatch, E, Adapted<'_, Linear<'_, E>>, f32>,
        FrozenHead::<E, Whole>::new,
        ScoredHead::<E, Whole>::new,
        TrainedHead::<E, Whole, E>::new,
        preference_step::<Dispatch, &Dpo, Logits<'_, E>>,
        preference_step::<Dispatch, &Dpo, ScoredHead<'_, E, Linear<'_, E>>>,
        preference_step::<Dispatch, &Dpo, FrozenHead<'_, E, Linear<'_, E>>>,
        preference_step::<Dispatch, &Dpo, TrainedHead<'_, E, Linear<'_, E>, E>>,
        hidden_row_grads_in_place::<(), E>,
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
    HeadScratch::new,
    HeadScratch::with_negligible,
    tile_terms_in_place::<()>,
    tile_terms_in_place::<Details>,
    Tile::rows,
    Tile::columns,
    Tile::width,
    Tile::row,
    Tile::row_mut,
    Tile::numbers_mut,
    Tile::as_numbers,
    RowSums::scale,
    RowSums::row_mut,
    ColumnSums::columns,
    ColumnSums::numbers_mut,
    ColumnSums::stride,
    ColumnSums::is_first,
    HeadGrads::of_bias,
    HeadGrads::of_adapter,
    Adapter::new,
    Adapter::rank,
    Adapter::numbers,
    Level::detect,
    Level::is_present,
    Dispatch::detect,
    Dispatch::new,
    available,
    Dispatch::level,
    Dispatch::arithmetic,
    Transform::new,
    Targets::new,
    Targets::of_i64,
    Targets::with_ignore,
    Targets::ids,
    Targets::scored,
    Span::new,
    Span::of_batch,
    Span::of_offsets::<u32>,
    Span::of_offsets::<i64>,
    ascending,
    in_any_order,
    Layout::rows,
    Layout::sequences,
    Layout::vocab,
    Layout::targets,
    Layout::spans,
    scored_rows,
    Layout::tokens,
    RowStats::<()>::new,
    RowStats::<()>::merge,
    RowStats::<()>::log_z,
    RowStats::<()>::target_logit,
    RowStats::<()>::columns,
    RowStats::<()>::log_prob,
    RowStats::<()>::norm,
    RowStats::<()>::write_bytes,
    RowStats::<()>::from_bytes,
    RowStats::<Details>::new,
    RowStats::<Details>::merge,
    RowStats::<Details>::log_z,
    RowStats::<Details>::target_logit,
    RowStats::<Details>::columns,
    RowStats::<Details>::log_prob,
    RowStats::<Details>::norm,
    RowStats::<Details>::details,
    RowStats::<Details>::write_bytes,
    RowStats::<Details>::from_bytes,
    shard_columns,
    TokenOut::new,
    TokenOut::with_norms,
    TokenOut::with_details,
    <TokenSummary as AddAssign>::add_assign,
    SequenceLogProb::mean,
    sequence_log_probs,
    Pair::new,
    PairLogProbs::new,
    PairLogProbs::with_weight,
    PairLogProbs::with_offset,
    PairBatch::new,
    PairOut::new,
    UnpairedOut::new,
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
    token_coefficients,
    GradBatch::new,
    GradBatch::with_unscored,
    StepBatch::new,
    StepBatch::with_weights,
    StepBatch::with_offsets,
    StepBatch::with_token_weights,
    StepBatch::with_nll,
    StepBatch::with_nll_on,
    StepBatch::with_nll_weights,
    StepBatch::with_unscored,
    StepBatch::total_loss,
    UnpairedStepBatch::new,
    UnpairedStepBatch::with_weights,
    UnpairedStepBatch::with_token_weights,
    UnpairedStepBatch::with_unscored,
    UnpairedStepBatch::total_loss,
    StepScratch::<'_, PairLoss>::new,
    StepScratch::<'_, AnswerLoss>::new,
    StepScratch::<'_, PairLoss>::with_nll,
    <StepSummary<Summary> as Deref>::deref,
];

/// [`Layout::new`], whose targets may be given in several ways.
fn ascending<'a>(
    targets: Targets<'a>,
    spans: &'a [Span],
    vocab: usize,
) -> Result<Layout<'a>, Error> {
    Layout::new(targets, spans, vocab)
}

/// [`Layout::in_any_order`].
fn in_any_order<'a>(
    targets: Targets<'a>,
    spans: &'a [Span],
    vocab: usize,
    order: &'a mut [usize],
) -> Result<Layout<'a>, Error> {
    Layout::in_any_order(targets, spans, vocab, order)
}

/// [`Layout::scored_rows`] down to the last of them.
fn scored_rows(layout: &Layout<'_>, sequence: usize, out: &mut [(usize, u32)]) {
    for (out, found) in out.iter_mut().zip(layout.scored_rows(sequence)) {
        *out = found;
    }
}

/// [`Dispatch::available`] down to the last of them; the function alone would only make an
/// iterator.
fn available(out: &mut [Option<Dispatch>]) {
    for (out, found) in out.iter_mut().zip(Dispatch::available()) {
        *out = Some(found);
    }
}
