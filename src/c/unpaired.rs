//! Stage 4 without pairs: losses of unpaired answers.

use super::argument::{argument, growing, growing_argument};
use super::memory::{Buffers, plain};
use super::names::*;
use super::options::dpo_loss;
use super::reference::ReferenceInput;
use super::report::report;
use super::status::{Fault, codes, dpo_error, dpo_status};
use super::token::dpo_sequence_log_prob;
use crate::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, UnpairedSummary, unpaired_loss,
};

/// [`AnswerLoss`]
pub type dpo_answer_loss = AnswerLoss;

/// [`UnpairedSummary`]
pub type dpo_unpaired_summary = UnpairedSummary;

codes! {
    /// [`Label::Undesirable`]
    DPO_UNDESIRABLE = 0;
    /// [`Label::Desirable`]
    DPO_DESIRABLE = 1;
}

/// [`UnpairedAnswer`], before its label was looked at.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_answer {
    /// Index of the sequence.
    pub sequence: usize,
    /// [`DPO_DESIRABLE`] or [`DPO_UNDESIRABLE`], as data sets write labels.
    pub label: i32,
}

/// [`UnpairedBatch`] without the policy.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_unpaired_batch {
    /// Of this struct, in bytes.
    pub size: usize,
    /// The answers.
    pub answers: *const dpo_answer,
    /// M
    pub count: usize,
    /// As in [`dpo_pairs`](super::dpo_pairs).
    pub reference_sums: *const f64,
    /// As in [`dpo_pairs`](super::dpo_pairs).
    pub reference_sequences: *const dpo_sequence_log_prob,
    /// A weight for each answer, or NULL.
    pub weights: *const f32,
    /// Divides the gradients.
    pub divisor: f64,
}

plain!(dpo_answer);
growing!(dpo_unpaired_batch, DPO_BUFFER_UNPAIRED_ANSWERS => divisor .. divisor;);

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
        let (loss, answers) = unsafe { (argument(loss)?, growing_argument(answers)?) };
        let built = loss.build()?;
        let unknown = Fault::unknown(DPO_BUFFER_NAME, loss.name);
        let loss = built.as_unpaired().ok_or(unknown)?;
        let dpo_unpaired_batch { count, divisor, .. } = answers;
        let mut buffers = Buffers::new();
        let losses = buffers.output(losses, count, DPO_BUFFER_ANSWER_LOSSES)?;
        let d_log_probs = buffers.output(d_log_probs, sequences, DPO_BUFFER_SEQUENCE_GRADS)?;
        let summary = buffers.output(summary, 1, DPO_BUFFER_OUT)?;
        let policy = buffers.input(policy, sequences, DPO_BUFFER_SEQUENCES)?;
        let (sums, of_sequences) = (answers.reference_sums, answers.reference_sequences);
        let reference = ReferenceInput::add_to(&mut buffers, sums, of_sequences, sequences)?;
        let weights = buffers.optional_input(answers.weights, count, DPO_BUFFER_ANSWER_WEIGHTS)?;
        let answers = buffers.input(answers.answers, count, DPO_BUFFER_UNPAIRED_ANSWERS)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (batch, out, summary) = unsafe {
            let (losses, d_log_probs) = (memory.slice_mut(losses), memory.slice_mut(d_log_probs));
            let (policy, reference) = (memory.slice(policy), reference.get(&memory, true));
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
