//! The losses. A loss named by its type stands here by its constructors: its `evaluate` is among those of
//! [`Loss`], which are reached through the one that delegates.

use crate::{Entry, entries};
use core::ops::AddAssign;
use core::str::FromStr;
use dpo_kernel::loss::{
    AlphaDivergence, AlphaPo, AnyDivergence, Aot, AotOver, ApoDown, ApoZero, BatchLoss, Bco,
    CalDpo, Cpo, CpoHinge, CpoIpo, Curve, DiscoPop, Divergence, DpopInside, DpopOutside, Exo,
    ForwardKl, Hinge, Inputs, Ipo, IpoSum, JensenShannon, Kto, LogProb, LogRatio, LogisticCurve,
    Loss, LossName, MarginLoss, MeanLogProb, MeanLogRatio, Mixture, Nca, Nll, NllSummary, Orpo,
    PairLogProbs, PerPair, PowerLogProb, PreferenceLoss, ReverseKl, Robust, RobustCurve,
    RpoBackward, RpoForward, RpoSquare, Score, SigmoidNorm, SimPo, Slic, SppoHard, UnpairedLoss,
    nll_loss,
};
use dpo_kernel::training::{ld_token_weights, length_offset, odpo_offset, wpo_pair_weights};
use dpo_kernel::unpaired::{UnpairedBatch, UnpairedSummary, unpaired_loss};
use dpo_kernel::{Dispatch, Dpo, LogitsMut, PairBatch, preference_loss, preference_step};

/// One loss, by its type: what a host links that needs no other.
#[unsafe(no_mangle)]
pub static DPO_LINK_ONE: &[Entry] = entries![preference_loss::<&Dpo>, Dpo::new];

/// Any loss, by its name.
#[unsafe(no_mangle)]
pub static DPO_LINK_ANY: &[Entry] =
    entries![preference_loss::<&Loss>, <LossName as FromStr>::from_str, LossName::build];

/// Losses, traits and what stands around them.
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
    PerPair::<'_, Loss>::new,
    Loss::as_unpaired,
    LossName::name,
    LossName::build,
    <LossName as FromStr>::from_str,
    SigmoidNorm::new,
    Robust::new,
    MarginLoss::<LogisticCurve, LogRatio>::beta,
    MarginLoss::<LogisticCurve, MeanLogProb>::with_label_smoothing,
    MarginLoss::<LogisticCurve, MeanLogProb>::label_smoothing,
    MarginLoss::<RobustCurve, LogRatio>::flipped_share,
    MarginLoss::<LogisticCurve, LogRatio>::of_curve,
    MarginLoss::<LogisticCurve, LogRatio>::with_divergence::<ForwardKl>,
    MarginLoss::<LogisticCurve, MeanLogRatio>::with_divergence::<JensenShannon>,
    <MarginLoss<LogisticCurve, LogRatio<ForwardKl>> as PreferenceLoss>::evaluate,
    <MarginLoss<LogisticCurve, MeanLogRatio<AlphaDivergence>> as PreferenceLoss>::evaluate,
    <LogisticCurve as Curve>::tangent,
    Hinge::new,
    Slic::new,
    CpoHinge::of_rewards,
    Ipo::new,
    IpoSum::new,
    CpoIpo::new,
    Exo::new,
    RpoForward::of_gap,
    RpoBackward::of_gap,
    RpoSquare::of_gap,
    DiscoPop::new,
    Cpo::new,
    SimPo::new,
    SimPo::with_ratio,
    AlphaPo::new,
    Orpo::new,
    Orpo::lambda,
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
    Aot::over,
    Mixture::new,
    <LogRatio<AnyDivergence> as Score>::compare,
    <MeanLogRatio<AnyDivergence> as Score>::compare,
    <LogProb as Score>::compare,
    <MeanLogProb as Score>::compare,
    <PowerLogProb as Score>::compare,
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
    unpaired_loss::<Kto>,
    unpaired_loss::<dyn UnpairedLoss>,
    UnpairedBatch::new,
    UnpairedBatch::with_weights,
    UnpairedSummary::mean_loss,
    <UnpairedSummary as AddAssign>::add_assign,
    Nll::new,
    nll_loss,
    <NllSummary as AddAssign>::add_assign,
    ld_token_weights,
    wpo_pair_weights,
    odpo_offset,
    length_offset,
];

/// [`PairBatch::log_probs`] down to the last of them; the function alone would only make an iterator.
fn log_probs(batch: &PairBatch<'_>, out: &mut [PairLogProbs]) {
    for (out, found) in out.iter_mut().zip(batch.log_probs()) {
        *out = found;
    }
}
