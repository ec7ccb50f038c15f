//! What stands beside the stages: the scalar functions, the theory and the plain reference.

use crate::{Entry, entries};
use core::ops::AddAssign;
use dpo_kernel::theory::AnswerSet;
use dpo_kernel::training::{
    DynamicBeta, GapAverages, GapSums, LengthSums, LogRatioSums, best_worst_pairs, identical_pairs,
    optimal_value, pair_gaps, update_reference,
};
use dpo_kernel::verify::{Batch, Dual, Figure, Tolerance};
use dpo_kernel::{bf16, f16};
use dpo_kernel::{math, theory, verify};

/// Scalar functions.
#[unsafe(no_mangle)]
pub static DPO_KERNEL_MATH: &[Entry] = entries![
    math::log_sigmoid,
    math::sigmoid,
    math::softplus,
    math::log1mexp,
    math::logaddexp,
    math::f32::log_sigmoid,
    math::f32::sigmoid,
    math::f32::softplus,
    math::f32::log1mexp,
    math::f32::logaddexp,
];

/// Section 2 of the derivation.
#[unsafe(no_mangle)]
pub static DPO_KERNEL_THEORY: &[Entry] = entries![
    AnswerSet::new,
    AnswerSet::objective,
    AnswerSet::log_partition,
    AnswerSet::optimal_policy,
    AnswerSet::implicit_rewards,
    AnswerSet::population_loss,
    AnswerSet::population_loss_grad,
    theory::preference_log_prob,
    theory::preference_prob,
];

/// What a training run keeps beside the stages.
#[unsafe(no_mangle)]
pub static DPO_KERNEL_TRAINING: &[Entry] = entries![
    best_worst_pairs::<u32>,
    identical_pairs,
    optimal_value,
    LogRatioSums::add_batch,
    LogRatioSums::mean,
    LogRatioSums::kto_k,
    LogRatioSums::bco_shift,
    <LogRatioSums as AddAssign>::add_assign,
    pair_gaps,
    GapSums::add,
    GapSums::mean,
    GapSums::deviation,
    <GapSums as AddAssign>::add_assign,
    GapAverages::update,
    GapAverages::keep_weights,
    DynamicBeta::new,
    DynamicBeta::beta,
    LengthSums::add_batch,
    LengthSums::add,
    LengthSums::mean_lead,
    LengthSums::correlation,
    <LengthSums as AddAssign>::add_assign,
    update_reference::<f32>,
    update_reference::<f16>,
    update_reference::<bf16>,
];

/// The plain f64 reference.
#[unsafe(no_mangle)]
pub static DPO_KERNEL_VERIFY: &[Entry] = entries![
    verify::Transform::apply,
    verify::Transform::derivative,
    verify::transform_row,
    verify::log_sum_exp,
    verify::log_prob,
    verify::entropy,
    verify::argmax,
    verify::mean_logit,
    verify::log_sum_sq_probs,
    verify::logit_grads,
    verify::sequence_log_prob,
    verify::token_factor,
    verify::preference_loss,
    verify::pair_loss,
    verify::textbook_loss,
    verify::Loss::named,
    verify::Divergence::score,
    verify::Divergence::slope,
    verify::Curve::at,
    verify::softplus,
    verify::sigmoid,
    Batch::row,
    Batch::scored,
    Batch::sequence_log_prob,
    Batch::pair,
    Batch::pair_options,
    Batch::loss,
    Batch::add_logit_grads,
    Dual::constant,
    Dual::variable,
    Dual::exp,
    Dual::ln,
    Dual::tanh,
    verify::batch_loss_derivative,
    verify::bounds::promised::<f32>,
    verify::compare::<f32>,
    verify::compare_all::<f32, fn(usize) -> Tolerance>,
    <f32 as Figure>::ulp,
    Tolerance::ulps,
    Tolerance::and_relative,
    Tolerance::and_absolute,
    Tolerance::allowed::<f32>,
];
