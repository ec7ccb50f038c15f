//! Stage 4 without pairs: unpaired answers, and the likelihood of the chosen ones.

use super::loss::{dpo_pair, dpo_reference};
use super::memory::{Claim, argument, plain};
use super::names::*;
use super::options::dpo_loss;
use super::status::{Fault, codes, dpo_error, dpo_status, report};
use super::token::dpo_sequence_log_prob;
use crate::loss::{Nll, NllPer, NllSummary, nll_loss};
use crate::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, UnpairedSummary, unpaired_loss,
};

/// [`AnswerLoss`]
pub type dpo_answer_loss = AnswerLoss;

/// [`UnpairedSummary`]
pub type dpo_unpaired_summary = UnpairedSummary;

/// [`NllSummary`]
pub type dpo_nll_summary = NllSummary;

codes! {
    /// [`Label::Desirable`]
    DPO_DESIRABLE = 0;
    /// [`Label::Undesirable`]
    DPO_UNDESIRABLE = 1;
    /// [`NllPer::Token`]
    DPO_NLL_PER_TOKEN = 0;
    /// [`NllPer::Sequence`]
    DPO_NLL_PER_SEQUENCE = 1;
}

/// [`UnpairedAnswer`], before its label was looked at.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_answer {
    /// Index of the sequence.
    pub sequence: usize,
    /// [`DPO_DESIRABLE`] or [`DPO_UNDESIRABLE`].
    pub label: i32,
}

/// [`UnpairedBatch`] without the policy.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_unpaired_batch {
    /// The answers.
    pub answers: *const dpo_answer,
    /// M
    pub count: usize,
    /// Log-probs under the reference.
    pub reference: dpo_reference,
    /// A weight for each answer, or NULL.
    pub weights: *const f32,
    /// Divides the gradients.
    pub divisor: f64,
}

/// [`Nll`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_nll {
    /// Factor on the term.
    pub weight: f64,
    /// Divides the gradients.
    pub divisor: f64,
    /// [`DPO_NLL_PER_TOKEN`] or [`DPO_NLL_PER_SEQUENCE`].
    pub per: i32,
}

plain!(dpo_answer, dpo_unpaired_batch, dpo_nll);

// Labels are looked at before answers are taken for the crate's own.
const _: () = assert!(
    size_of::<dpo_answer>() == size_of::<UnpairedAnswer>()
        && align_of::<dpo_answer>() == align_of::<UnpairedAnswer>()
        && core::mem::offset_of!(UnpairedAnswer, label) == core::mem::offset_of!(dpo_answer, label)
        && Label::Desirable as i32 == DPO_DESIRABLE
        && Label::Undesirable as i32 == DPO_UNDESIRABLE,
    "the two layouts differ"
);

/// The answers, if every label is one.
fn with_labels(answers: &[dpo_answer]) -> Result<&[UnpairedAnswer], Fault> {
    let is_none = |answer: &&dpo_answer| !matches!(answer.label, DPO_DESIRABLE | DPO_UNDESIRABLE);
    if let Some(wrong) = answers.iter().find(is_none) {
        return Err(Fault::unknown(DPO_BUFFER_LABEL, wrong.label));
    }
    let data = answers.as_ptr().cast::<UnpairedAnswer>();
    // SAFETY: both are `repr(C)` of an index and 32 bits (asserted above), and every label was found
    // to be one that `Label` has.
    Ok(unsafe { core::slice::from_raw_parts(data, answers.len()) })
}

impl dpo_nll {
    pub(super) fn check(&self) -> Result<Nll, Fault> {
        let per = match self.per {
            DPO_NLL_PER_TOKEN => NllPer::Token,
            DPO_NLL_PER_SEQUENCE => NllPer::Sequence,
            other => return Err(Fault::unknown(DPO_BUFFER_NLL, other)),
        };
        Ok(Nll::new(self.weight, per, self.divisor)?)
    }
}

/// [`unpaired_loss`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_unpaired_loss(
    loss: *const dpo_loss,
    answers: *const dpo_unpaired_batch,
    policy: *const dpo_sequence_log_prob,
    sequences: usize,
    losses: *mut dpo_answer_loss,
    d_log_probs: *mut f64,
    summary: *mut dpo_unpaired_summary,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for both structs.
        let (loss, answers) = unsafe { (argument(loss)?, argument(answers)?) };
        let built = loss.build()?;
        let unknown = Fault::unknown(DPO_BUFFER_NAME, loss.name);
        let loss = built.as_unpaired().ok_or(unknown)?;
        let (count, divisor) = (answers.count, answers.divisor);
        let mut claim = Claim::new();
        let losses = claim.output(losses, count, DPO_BUFFER_ANSWER_LOSSES)?;
        let d_log_probs = claim.output(d_log_probs, sequences, DPO_BUFFER_SEQUENCE_GRADS)?;
        let summary = claim.output(summary, 1, DPO_BUFFER_OUT)?;
        let policy = claim.input(policy, sequences, DPO_BUFFER_SEQUENCES)?;
        let reference = answers.reference.claim(&mut claim, sequences)?;
        let weights = claim.optional_input(answers.weights, count, DPO_BUFFER_ANSWER_WEIGHTS)?;
        let answers = claim.input(answers.answers, count, DPO_BUFFER_UNPAIRED_ANSWERS)?;
        let memory = claim.settle()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (batch, out, summary) = unsafe {
            let (losses, d_log_probs) = (memory.slice_mut(losses), memory.slice_mut(d_log_probs));
            let (policy, reference) = (memory.slice(policy), reference.get(&memory));
            let answers = with_labels(memory.slice(answers))?;
            let mut batch = UnpairedBatch::new(answers, policy, reference, divisor);
            batch.weights = memory.optional(weights);
            (batch, UnpairedOut { losses, d_log_probs }, memory.slice_mut(summary))
        };
        summary.fill(unpaired_loss(loss, &batch, out)?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`nll_loss`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_nll_loss(
    nll: *const dpo_nll,
    pairs: *const dpo_pair,
    pair_count: usize,
    policy: *const dpo_sequence_log_prob,
    sequences: usize,
    d_nll: *mut f64,
    summary: *mut dpo_nll_summary,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let nll = unsafe { argument(nll)? }.check()?;
        let mut claim = Claim::new();
        let d_nll = claim.output(d_nll, sequences, DPO_BUFFER_NLL_GRADS)?;
        let summary = claim.output(summary, 1, DPO_BUFFER_OUT)?;
        let policy = claim.input(policy, sequences, DPO_BUFFER_SEQUENCES)?;
        let pairs = claim.input(pairs, pair_count, DPO_BUFFER_PAIRS)?;
        let memory = claim.settle()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (pairs, policy, d_nll, summary) = unsafe {
            (
                memory.slice(pairs),
                memory.slice(policy),
                memory.slice_mut(d_nll),
                memory.slice_mut(summary),
            )
        };
        summary.fill(nll_loss(&nll, pairs, policy, d_nll)?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
