//! The whole step in one call, over pairs or over unpaired answers.

use super::argument::{growing, growing_argument};
use super::dispatch::dpo_dispatch;
use super::gradient::unscored;
use super::layout::{LayoutInput, dpo_layout};
use super::logits::{dpo_logits, dpo_logits_mut};
use super::memory::{Buffers, Input, Memory, Output};
use super::names::*;
use super::nll::{NllInput, dpo_nll, dpo_nll_summary};
use super::objective::dpo_objective;
use super::options::dpo_loss;
use super::pairs::{dpo_pair, dpo_pair_loss, dpo_pairs, dpo_summary};
use super::place::Views;
use super::report::report;
use super::row::dpo_row_norm;
use super::status::{Fault, dpo_error, dpo_status};
use super::token::{dpo_sequence_log_prob, dpo_token_summary};
use super::unpaired::{Unpaired, dpo_answer_loss, dpo_unpaired_batch, dpo_unpaired_summary};
use crate::gradient::Unscored;
use crate::loss::{BatchLoss, NllAnswers, NllSummary};
use crate::row::RowNorm;
use crate::step::UnpairedStepBatch;
use crate::step::{StepScratch, unpaired_step};
use crate::{Dispatch, Error, Layout, SequenceLogProb, StepBatch, TokenSummary, preference_step};

/// What a step works on: layout, logits, and the buffers of its stages, as in [`StepScratch`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_step {
    /// Of this struct, in bytes.
    pub size: usize,
    /// Which rows are scored.
    pub layout: *const dpo_layout,
    /// Logits that their gradients replace, or NULL.
    pub in_place: *const dpo_logits_mut,
    /// Otherwise the logits,
    pub logits: *const dpo_logits,
    /// and where their gradients go.
    pub grads: *const dpo_logits_mut,
    /// R
    pub log_probs: *mut f32,
    /// R
    pub norms: *mut dpo_row_norm,
    /// N
    pub sequences: *mut dpo_sequence_log_prob,
    /// N
    pub d_log_probs: *mut f64,
    /// R
    pub coefficients: *mut f64,
    /// A weight for each row, or NULL.
    pub token_weights: *const f32,
    /// One, or NULL.
    pub tokens: *mut dpo_token_summary,
    /// An NLL term, or NULL.
    pub nll: *const dpo_nll,
    /// N with an NLL term; NULL without.
    pub d_nll: *mut f64,
    /// One or NULL with an NLL term; NULL without.
    pub nll_summary: *mut dpo_nll_summary,
    /// `DPO_UNSCORED_…`
    pub unscored: i32,
    /// 0
    pub reserved: u32,
}

growing!(dpo_step, DPO_BUFFER_STEP => coefficients .. reserved;);

/// The structs of a step, copied.
struct Step {
    own: dpo_step,
    layout: dpo_layout,
    nll: Option<dpo_nll>,
}

/// Its buffers.
struct StepInput {
    layout: LayoutInput,
    log_probs: Output<f32>,
    norms: Output<RowNorm>,
    sequences: Output<SequenceLogProb>,
    d_log_probs: Output<f64>,
    coefficients: Output<f64>,
    token_weights: Option<Input<f32>>,
    tokens: Option<Output<TokenSummary>>,
    nll: Option<(NllInput, Output<f64>, Option<Output<NllSummary>>)>,
    unscored: Unscored,
}

/// What they hold.
struct Found<'a, L> {
    layout: Layout<'a>,
    scratch: StepScratch<'a, L>,
    token_weights: Option<&'a [f32]>,
    tokens: &'a mut [TokenSummary],
    nll: Option<NllInput>,
    nll_summary: &'a mut [NllSummary],
    unscored: Unscored,
}

impl Step {
    /// # Safety
    /// The caller of the ABI vouches for the structs.
    unsafe fn copy(step: *const dpo_step) -> Result<(Self, Views), Fault> {
        // SAFETY: passed on for all of them.
        unsafe {
            let step = growing_argument(step)?;
            let views = Views::copy(step.in_place, step.logits, step.grads)?;
            let nll = if step.nll.is_null() { None } else { Some(growing_argument(step.nll)?) };
            Ok((Self { own: step, layout: growing_argument(step.layout)?, nll }, views))
        }
    }

    /// The buffers, of a step over these pairs or over none.
    fn add_to(
        &self,
        buffers: &mut Buffers,
        pairs: Option<(*const dpo_pair, usize)>,
    ) -> Result<StepInput, Fault> {
        let Self { own: step, layout, nll } = self;
        let (rows, n, weights) = (layout.rows, layout.count, DPO_BUFFER_TOKEN_WEIGHTS);
        let is_unused = match (nll, pairs) {
            (None, _) => !step.d_nll.is_null() || !step.nll_summary.is_null(),
            (Some(_), pairs) => pairs.is_none(),
        };
        if is_unused {
            return Err(Fault::unused(DPO_BUFFER_NLL));
        }
        if step.reserved != 0 {
            return Err(Fault::unused(DPO_BUFFER_STEP));
        }
        let coefficients = DPO_BUFFER_TOKEN_COEFFICIENTS;
        Ok(StepInput {
            layout: layout.add_to(buffers)?,
            log_probs: buffers.output(step.log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?,
            norms: buffers.output(step.norms, rows, DPO_BUFFER_ROW_NORMS)?,
            sequences: buffers.output(step.sequences, n, DPO_BUFFER_SEQUENCES)?,
            d_log_probs: buffers.output(step.d_log_probs, n, DPO_BUFFER_SEQUENCE_GRADS)?,
            coefficients: buffers.output(step.coefficients, rows, coefficients)?,
            token_weights: buffers.optional_input(step.token_weights, rows, weights)?,
            tokens: buffers.optional_output(step.tokens, 1, DPO_BUFFER_OUT)?,
            nll: match (nll, pairs) {
                (Some(nll), Some(pairs)) => Some((
                    nll.add_to_step(buffers, pairs)?,
                    buffers.output(step.d_nll, n, DPO_BUFFER_NLL_GRADS)?,
                    buffers.optional_output(step.nll_summary, 1, DPO_BUFFER_OUT)?,
                )),
                _ => None,
            },
            unscored: unscored(step.unscored, DPO_BUFFER_STEP)?,
        })
    }
}

impl StepInput {
    /// # Safety
    /// As [`Memory::slice`].
    unsafe fn get<'a, L>(
        self,
        memory: &Memory,
        losses: &'a mut [L],
    ) -> Result<Found<'a, L>, Error> {
        // SAFETY: the caller's word, passed on for every buffer.
        unsafe {
            let layout = self.layout.get(memory)?;
            let mut scratch = StepScratch::new(
                memory.slice_mut(self.log_probs),
                memory.slice_mut(self.norms),
                memory.slice_mut(self.sequences),
                losses,
                memory.slice_mut(self.d_log_probs),
                memory.slice_mut(self.coefficients),
            );
            let (mut nll, mut nll_summary) = (None, None);
            if let Some((term, d_nll, summary)) = self.nll {
                scratch = scratch.with_nll(memory.slice_mut(d_nll));
                (nll, nll_summary) = (Some(term), summary);
            }
            let summary = nll_summary.map(|summary| memory.slice_mut(summary));
            let tokens = self.tokens.map(|tokens| memory.slice_mut(tokens));
            Ok(Found {
                layout,
                scratch,
                token_weights: memory.optional(self.token_weights),
                tokens: tokens.unwrap_or_default(),
                nll,
                nll_summary: summary.unwrap_or_default(),
                unscored: self.unscored,
            })
        }
    }
}

/// [`preference_step`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_preference_step(
    dispatch: dpo_dispatch,
    objective: *const dpo_objective,
    pairs: *const dpo_pairs,
    step: *const dpo_step,
    losses: *mut dpo_pair_loss,
    summary: *mut dpo_summary,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the structs.
        let ((step, views), of, dispatch) = unsafe {
            let of = (growing_argument(objective)?, growing_argument(pairs)?);
            (Step::copy(step)?, of, dispatch.check()?)
        };
        // SAFETY: the caller's word, passed on.
        unsafe { of_pairs(dispatch, &views, &step, &of, (losses, summary)) }
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// # Safety
/// That of [`dpo_preference_step`].
unsafe fn of_pairs(
    dispatch: Dispatch,
    views: &Views,
    step: &Step,
    (objective, pairs): &(dpo_objective, dpo_pairs),
    (losses, summary): (*mut dpo_pair_loss, *mut dpo_summary),
) -> Result<(), Fault> {
    let mut buffers = Buffers::new();
    let logits = views.add_to(&mut buffers)?;
    let losses = buffers.output(losses, pairs.count, DPO_BUFFER_PAIR_LOSSES)?;
    let summary = buffers.output(summary, 1, DPO_BUFFER_OUT)?;
    let input = step.add_to(&mut buffers, Some((pairs.pairs, pairs.count)))?;
    let objective = objective.add_to(&mut buffers)?;
    let pairs = pairs.add_to(&mut buffers, step.layout.count)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for every buffer of the call.
    let (logits, objective, pairs, found, nll, summary) = unsafe {
        let (logits, objective) = (logits.get(&memory)?, objective.get(&memory)?);
        // The policy is what the step finds.
        let pairs = pairs.get(&memory, &[], |weights| objective.inputs(weights).reference);
        let found = input.get(&memory, memory.slice_mut(losses))?;
        let nll = found.nll.as_ref().map(|nll| (nll.term, nll.get(&memory)));
        (logits, objective, pairs, found, nll, memory.slice_mut(summary))
    };
    let Found { layout, scratch, .. } = found;
    let mut batch = StepBatch::new(&layout, pairs.pairs, pairs.reference, pairs.divisor);
    (batch.weights, batch.offsets) = (pairs.weights, pairs.offsets);
    (batch.token_weights, batch.unscored) = (found.token_weights, found.unscored);
    if let Some((term, (answers, weights))) = nll {
        (batch.nll, batch.nll_weights) = (Some(term), weights);
        batch.nll_answers = match answers {
            NllAnswers::Chosen(_) => None,
            NllAnswers::Sequences(answers) => Some(answers),
        };
    }
    let reported = preference_step(dispatch, objective, logits, &batch, scratch)?;
    summary.fill(reported.loss);
    found.tokens.fill(reported.tokens);
    found.nll_summary.fill(reported.nll);
    Ok(())
}

/// [`unpaired_step`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_unpaired_step(
    dispatch: dpo_dispatch,
    loss: *const dpo_loss,
    answers: *const dpo_unpaired_batch,
    step: *const dpo_step,
    losses: *mut dpo_answer_loss,
    summary: *mut dpo_unpaired_summary,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the structs.
        let ((step, views), of, dispatch) = unsafe {
            let answers: dpo_unpaired_batch = growing_argument(answers)?;
            (Step::copy(step)?, (answers.one_loss(loss)?, answers), dispatch.check()?)
        };
        // SAFETY: the caller's word, passed on.
        unsafe { of_answers(dispatch, &views, &step, &of, (losses, summary)) }
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// # Safety
/// That of [`dpo_unpaired_step`].
unsafe fn of_answers(
    dispatch: Dispatch,
    views: &Views,
    step: &Step,
    (loss, answers): &(Option<Unpaired>, dpo_unpaired_batch),
    (losses, summary): (*mut dpo_answer_loss, *mut dpo_unpaired_summary),
) -> Result<(), Fault> {
    let mut buffers = Buffers::new();
    let logits = views.add_to(&mut buffers)?;
    let losses = buffers.output(losses, answers.count, DPO_BUFFER_ANSWER_LOSSES)?;
    let summary = buffers.output(summary, 1, DPO_BUFFER_OUT)?;
    let input = step.add_to(&mut buffers, None)?;
    let answers = answers.add_to(&mut buffers, step.layout.count)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for every buffer of the call.
    let (logits, (answers, loss), found, summary) = unsafe {
        // The policy is what the step finds.
        let answers = answers.get(&memory, &[], loss.as_ref())?;
        let logits = logits.get(&memory)?;
        let found = input.get(&memory, memory.slice_mut(losses))?;
        (logits, answers, found, memory.slice_mut(summary))
    };
    let Found { layout, scratch, .. } = found;
    let mut batch =
        UnpairedStepBatch::new(&layout, answers.answers, answers.reference, answers.divisor);
    (batch.weights, batch.token_weights) = (answers.weights, found.token_weights);
    batch.unscored = found.unscored;
    let reported = unpaired_step(dispatch, loss, logits, &batch, scratch)?;
    summary.fill(reported.loss);
    found.tokens.fill(reported.tokens);
    Ok(())
}
