//! Stage 4 without pairs: losses of unpaired answers.

use super::argument::{argument, growing, growing_argument};
use super::memory::{Buffers, Input, Memory, plain};
use super::names::*;
use super::options::dpo_loss;
use super::reference::ReferenceInput;
use super::report::report;
use super::status::{Fault, codes, dpo_error, dpo_status};
use super::token::dpo_sequence_log_prob;
use crate::loss::{Objective, Tangent, UnpairedLoss};
use crate::unpaired::{
    AnswerLoss, Label, PerAnswer, UnpairedAnswer, UnpairedBatch, UnpairedBatchLoss, UnpairedOut,
    UnpairedSummary, unpaired_loss,
};
use crate::{Error, SequenceLogProb};

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
    /// [`PerAnswer`]: a loss for each answer, in the place of the call's, which is NULL then; or
    /// NULL.
    pub losses: *const dpo_loss,
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

/// The buffers of a [`dpo_unpaired_batch`].
#[derive(Debug)]
pub(super) struct AnswersInput {
    answers: Input<dpo_answer>,
    reference: ReferenceInput,
    weights: Option<Input<f32>>,
    divisor: f64,
    losses: Option<Input<dpo_loss>>,
}

impl dpo_unpaired_batch {
    pub(super) fn add_to(
        &self,
        buffers: &mut Buffers,
        sequences: usize,
    ) -> Result<AnswersInput, Fault> {
        let m = self.count;
        Ok(AnswersInput {
            answers: buffers.input(self.answers, m, DPO_BUFFER_UNPAIRED_ANSWERS)?,
            reference: ReferenceInput::add_to(
                buffers,
                self.reference_sums,
                self.reference_sequences,
                sequences,
            )?,
            weights: buffers.optional_input(self.weights, m, DPO_BUFFER_ANSWER_WEIGHTS)?,
            divisor: self.divisor,
            losses: buffers.optional_input(self.losses, m, DPO_BUFFER_ANSWER_LOSS_KINDS)?,
        })
    }

    /// The loss of all answers, built; none if each has its own.
    ///
    /// # Safety
    /// As [`argument`].
    pub(super) unsafe fn one_loss(&self, loss: *const dpo_loss) -> Result<Option<Unpaired>, Fault> {
        if self.losses.is_null() {
            // SAFETY: the caller's word, passed on.
            return Unpaired::build(&unsafe { argument(loss) }?).map(Some);
        }
        if loss.is_null() { Ok(None) } else { Err(Fault::unused(DPO_BUFFER_ANSWER_LOSS_KINDS)) }
    }
}

impl AnswersInput {
    /// The batch of this policy, and what it is measured by: one loss for all answers, or those of
    /// the batch, every one of which was built once, so that building it again cannot fail.
    ///
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn get<'a>(
        self,
        memory: &Memory,
        policy: &'a [SequenceLogProb],
        one: Option<&'a Unpaired>,
    ) -> Result<(UnpairedBatch<'a>, AnyUnpaired<'a>), Fault> {
        // SAFETY: the caller's word, passed on for all four.
        let (answers, reference, weights, each) = unsafe {
            let reference = self.reference.get(memory, true);
            let (weights, each) = (memory.optional(self.weights), memory.optional(self.losses));
            (memory.slice(self.answers), reference, weights, each)
        };
        let mut batch = UnpairedBatch::new(with_labels(answers)?, policy, reference, self.divisor);
        batch.weights = weights;
        let loss = if let Some(one) = one {
            AnyUnpaired::One(one.get()?)
        } else {
            let each = each.unwrap_or_default();
            each.iter().try_for_each(|loss| Unpaired::build(loss).map(|_| ()))?;
            AnyUnpaired::PerAnswer(PerAnswer::new(each))
        };
        Ok((batch, loss))
    }
}

/// One loss for all answers, or one for each.
pub(super) enum AnyUnpaired<'a> {
    One(&'a dyn UnpairedLoss),
    PerAnswer(PerAnswer<'a, dpo_loss>),
}

impl<'a> UnpairedBatchLoss for AnyUnpaired<'a> {
    type Loss = dyn UnpairedLoss + 'a;

    fn check(&self, answers: usize) -> Result<(), Error> {
        match self {
            Self::One(loss) => loss.check(answers),
            Self::PerAnswer(each) => each.check(answers),
        }
    }

    fn of_answer(&self, answer: usize) -> Option<&Self::Loss> {
        match self {
            Self::One(loss) => Some(*loss),
            Self::PerAnswer(each) => each.of_answer(answer).map(|loss| loss as &dyn UnpairedLoss),
        }
    }
}

/// A loss that is built where it is evaluated: there is nowhere to keep one for each answer.
impl UnpairedLoss for dpo_loss {
    fn beta(&self) -> f64 {
        ask(self, |loss| loss.beta()).unwrap_or(f64::NAN)
    }

    fn chosen(&self, log_ratio: f64) -> Tangent {
        ask(self, |loss| loss.chosen(log_ratio)).unwrap_or(NO_TANGENT)
    }

    fn rejected(&self, log_ratio: f64) -> Tangent {
        ask(self, |loss| loss.rejected(log_ratio)).unwrap_or(NO_TANGENT)
    }

    fn leaves_out(&self) -> (bool, bool) {
        ask(self, |loss| loss.leaves_out()).unwrap_or_default()
    }
}

/// What a loss that cannot be built would say; entries refuse it before.
const NO_TANGENT: Tangent = Tangent { value: f64::NAN, slope: f64::NAN };

fn ask<T>(loss: &dpo_loss, question: impl FnOnce(&dyn UnpairedLoss) -> T) -> Option<T> {
    loss.build().ok()?.as_unpaired().map(question)
}

/// A loss that unpaired answers can have, built.
#[derive(Debug)]
pub(super) struct Unpaired(Objective);

impl Unpaired {
    pub(super) fn build(loss: &dpo_loss) -> Result<Self, Fault> {
        let built = loss.build()?;
        if built.as_unpaired().is_none() {
            return Err(Fault::unknown(DPO_BUFFER_NAME, loss.name));
        }
        Ok(Self(built))
    }

    /// The loss; there is one, as `build` has found.
    pub(super) fn get(&self) -> Result<&dyn UnpairedLoss, Fault> {
        self.0.as_unpaired().ok_or(Fault::unused(DPO_BUFFER_NAME))
    }
}

/// The answers, if every label is one.
fn with_labels(answers: &[dpo_answer]) -> Result<&[UnpairedAnswer], Fault> {
    let is_none = |answer: &&dpo_answer| !matches!(answer.label, DPO_DESIRABLE | DPO_UNDESIRABLE);
    if let Some(wrong) = answers.iter().find(is_none) {
        return Err(Error::UnknownLabel { value: wrong.label.into() }.into());
    }
    let data = answers.as_ptr().cast::<UnpairedAnswer>();
    // SAFETY: both are `repr(C)` of an index and 32 bits (asserted above), and every label was
    // found to be one that `Label` has.
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
        let (loss, answers) = unsafe {
            let answers: dpo_unpaired_batch = growing_argument(answers)?;
            (answers.one_loss(loss)?, answers)
        };
        let mut buffers = Buffers::new();
        let losses = buffers.output(losses, answers.count, DPO_BUFFER_ANSWER_LOSSES)?;
        let d_log_probs = buffers.output(d_log_probs, sequences, DPO_BUFFER_SEQUENCE_GRADS)?;
        let summary = buffers.output(summary, 1, DPO_BUFFER_OUT)?;
        let policy = buffers.input(policy, sequences, DPO_BUFFER_SEQUENCES)?;
        let answers = answers.add_to(&mut buffers, sequences)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let ((batch, loss), out, summary) = unsafe {
            let (losses, d_log_probs) = (memory.slice_mut(losses), memory.slice_mut(d_log_probs));
            let batch = answers.get(&memory, memory.slice(policy), loss.as_ref())?;
            (batch, UnpairedOut::new(losses, d_log_probs), memory.slice_mut(summary))
        };
        summary.fill(unpaired_loss(loss, &batch, out)?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
