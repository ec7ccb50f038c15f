//! The losses. A loss named by its type stands here by its constructors: its `evaluate` is among
//! those of [`Loss`], which are reached through the one that delegates.

use crate::{Entry, entries};
use core::ops::AddAssign;
use core::str::FromStr;
use dpo_kernel::loss::{
    AStarPo, AlphaDivergence, AlphaPo, AnyDivergence, Aot, AotOver, ApoDown, ApoZero, BatchLoss,
    Bco, CalDpo, Cpo, CpoHinge, CpoIpo, CurveLoss, DiscoPop, Divergence, DpopInside, DpopOutside,
    Exo, ForwardKl, Hinge, Inputs, Ipo, IpoSum, JensenShannon, Kto, Loss, LossName, LossOptions,
    Mixture, MixtureTerm, Nca, Nll, NllBatch, NllSummary, Objective, Orpo, PairLogProbs, PerPair,
    PreferenceLoss, ReverseKl, Robust, RpoBackward, RpoForward, RpoSquare, SigmoidNorm, SimPo,
    Slic, SoftmaxDpo, SppoHard, Tangent, UnpairedLoss, Xpo, nll_loss,
};
use dpo_kernel::training::{ld_token_weights, length_offset, odpo_offset, wpo_pair_weights};
use dpo_kernel::unpaired::{
    Label, PerAnswer, UnpairedAnswer, UnpairedBatch, UnpairedSummary, unpaired_loss,
};
use dpo_kernel::{Dispatch, Dpo, LogitsMut, PairBatch, preference_loss, preference_step};

/// A function of one's own.
type Curve = fn(f64) -> Tangent;

/// One loss, by its type: what a host links that needs no other.
#[unsafe(no_mangle)]
pub static DPO_LINK_ONE: &[Entry] = entries![preference_loss::<&Dpo>, Dpo::new];

/// Any loss, by its name.
#[unsafe(no_mangle)]
pub static DPO_LINK_ANY: &[Entry] =
    entries![preference_loss::<&Loss>, <LossName as FromStr>::from_str, LossName::build];

/// Losses, traits and what stands around them. What makes a loss that has a name, `LossName::build`
/// reaches.
#[unsafe(no_mangle)]
pub static DPO_KERNEL_LOSSES: &[Entry] = entries![
    PairLogProbs::reference_free,
    PairLogProbs::with_tokens,
    log_probs,
    preference_loss::<&Loss>,
    preference_loss::<&dyn PreferenceLoss>,
    preference_loss::<&Mixture<'_>>,
    preference_loss::<PerPair<'_, Loss>>,
    preference_loss::<AotOver<'_>>,
    preference_step::<Dispatch, &Loss, LogitsMut<'_, f32>>,
    preference_step::<Dispatch, AotOver<'_>, LogitsMut<'_, f32>>,
    <&Loss as BatchLoss>::inputs,
    <&Loss as BatchLoss>::check,
    <&Loss as BatchLoss>::evaluate_all,
    <Loss as PreferenceLoss>::inputs,
    <Loss as PreferenceLoss>::evaluate,
    Inputs::and,
    Inputs::with_reference,
    Inputs::with_tokens,
    Inputs::with_offsets,
    MixtureTerm::new,
    PerPair::<'_, Loss>::new,
    Loss::as_unpaired,
    Loss::name,
    Objective::as_unpaired,
    LossName::name,
    LossOptions::option_mut,
    LossName::build,
    <LossName as FromStr>::from_str,
    SigmoidNorm::new,
    Robust::new,
    Dpo::<ReverseKl>::beta,
    Dpo::<ReverseKl>::with_label_smoothing,
    Dpo::<ReverseKl>::label_smoothing,
    SimPo::with_label_smoothing,
    Robust::<ReverseKl>::flipped_share,
    CurveLoss::<Curve>::new,
    CurveLoss::<Curve>::with_divergence::<ForwardKl>,
    CurveLoss::<Curve>::beta,
    Dpo::with_divergence::<ForwardKl>,
    SigmoidNorm::with_divergence::<JensenShannon>,
    <Dpo<ForwardKl> as PreferenceLoss>::evaluate,
    <SigmoidNorm<AlphaDivergence> as PreferenceLoss>::evaluate,
    Hinge::new,
    Slic::new,
    CpoHinge::new,
    Ipo::new,
    IpoSum::new,
    CpoIpo::new,
    Exo::new,
    RpoForward::new,
    RpoBackward::new,
    RpoSquare::new,
    DiscoPop::new,
    Cpo::new,
    SimPo::new,
    SimPo::with_ratio,
    AlphaPo::new,
    Orpo::new,
    Orpo::lambda,
    Orpo::with_label_smoothing,
    Slic::delta,
    preference_loss::<SoftmaxDpo>,
    preference_step::<Dispatch, SoftmaxDpo, LogitsMut<'_, f32>>,
    Nca::new,
    Bco::new,
    Bco::with_shift,
    SppoHard::new,
    Kto::new,
    Kto::with_weights,
    ApoZero::new,
    ApoDown::new,
    CalDpo::new,
    DpopInside::new,
    DpopOutside::new,
    Aot::paired,
    Aot::unpaired,
    Aot::with_label_smoothing,
    Aot::name,
    Aot::over,
    Mixture::new,
    AlphaDivergence::with_paper_alpha,
    AlphaDivergence::with_trl_alpha,
    <ReverseKl as Divergence>::score,
    <ReverseKl as Divergence>::difference,
    <JensenShannon as Divergence>::slope,
    <AnyDivergence as Divergence>::score,
    <AnyDivergence as Divergence>::slope,
    <AnyDivergence as Divergence>::difference,
    <AnyDivergence as Divergence>::mean_difference,
    <Kto as UnpairedLoss>::beta,
    <Kto as UnpairedLoss>::chosen,
    <Kto as UnpairedLoss>::rejected,
    unpaired_loss::<&Kto>,
    unpaired_loss::<&AStarPo>,
    unpaired_loss::<&dyn UnpairedLoss>,
    unpaired_loss::<PerAnswer<'_, Kto>>,
    PerAnswer::<'_, Kto>::new,
    UnpairedAnswer::new,
    <Label as From<bool>>::from,
    <Label as TryFrom<i32>>::try_from,
    <Label as TryFrom<i64>>::try_from,
    UnpairedBatch::new,
    UnpairedBatch::with_weights,
    UnpairedSummary::mean_loss,
    <UnpairedSummary as AddAssign>::add_assign,
    Nll::new,
    nll_loss,
    NllBatch::of_chosen,
    NllBatch::of_sequences,
    NllBatch::with_weights,
    Xpo::new,
    <Nll as From<Xpo>>::from,
    PairLogProbs::is_left_out,
    <NllSummary as AddAssign>::add_assign,
    ld_token_weights,
    wpo_pair_weights,
    odpo_offset,
    length_offset,
];

/// [`PairBatch::log_probs`] down to the last of them; the function alone would only make an
/// iterator.
fn log_probs(batch: &PairBatch<'_>, out: &mut [PairLogProbs]) {
    for (out, found) in out.iter_mut().zip(batch.log_probs()) {
        *out = found;
    }
}
