//! The whole step in one call.

use super::argument::{growing, growing_argument};
use super::dispatch::dpo_dispatch;
use super::layout::{LayoutInput, dpo_layout};
use super::logits::{Stored, Type, dpo_logits_mut, for_type};
use super::memory::{Buffers, Input, Memory, Output};
use super::names::*;
use super::nll::{dpo_nll, dpo_nll_summary};
use super::objective::{AnyObjective, ObjectiveInput, dpo_objective};
use super::pairs::{PairsInput, dpo_pair_loss, dpo_pairs, dpo_summary};
use super::report::report;
use super::row::dpo_row_norm;
use super::status::{Fault, dpo_error, dpo_status};
use super::token::dpo_sequence_log_prob;
use crate::loss::{BatchLoss, Nll, NllSummary};
use crate::{
    Dispatch, NllStep, PairLoss, RowNorm, SequenceLogProb, StepBatch, StepScratch, Summary,
    preference_step,
};

/// [`StepScratch`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_scratch {
    /// Of this struct, in bytes.
    pub size: usize,
    /// R
    pub log_probs: *mut f32,
    /// R
    pub norms: *mut dpo_row_norm,
    /// N
    pub sequences: *mut dpo_sequence_log_prob,
    /// N
    pub d_log_probs: *mut f64,
    /// P
    pub losses: *mut dpo_pair_loss,
    /// An NLL term on the chosen answers, or NULL.
    pub nll: *const dpo_nll,
    /// N with an NLL term; NULL without.
    pub d_nll: *mut f64,
    /// One with an NLL term; NULL without.
    pub nll_summary: *mut dpo_nll_summary,
}

growing!(dpo_scratch, DPO_BUFFER_SCRATCH => losses .. nll_summary;);

/// The structs of a step, copied.
struct Step {
    objective: dpo_objective,
    logits: dpo_logits_mut,
    layout: dpo_layout,
    pairs: dpo_pairs,
    scratch: dpo_scratch,
    token_weights: *const f32,
    summary: *mut dpo_summary,
}

/// [`preference_step`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_preference_step(
    dispatch: dpo_dispatch,
    objective: *const dpo_objective,
    logits: *const dpo_logits_mut,
    layout: *const dpo_layout,
    token_weights: *const f32,
    pairs: *const dpo_pairs,
    scratch: *const dpo_scratch,
    summary: *mut dpo_summary,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the five structs.
        let step = unsafe {
            Step {
                objective: growing_argument(objective)?,
                logits: growing_argument(logits)?,
                layout: growing_argument(layout)?,
                pairs: growing_argument(pairs)?,
                scratch: growing_argument(scratch)?,
                token_weights,
                summary,
            }
        };
        let dispatch = dispatch.check()?;
        for_type!(Type::of(step.logits.r#type)?, E => {
            // SAFETY: the caller's word, passed on.
            unsafe { step.run::<E>(dispatch) }
        })
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

impl Step {
    /// # Safety
    /// That of [`dpo_preference_step`].
    unsafe fn run<E: Stored>(&self, dispatch: Dispatch) -> Result<(), Fault> {
        let mut buffers = Buffers::new();
        let logits = self.logits.add_to::<E>(&mut buffers, DPO_BUFFER_LOGITS)?;
        // SAFETY: the caller's word for the struct of an NLL term.
        let rest = unsafe { self.add_to(&mut buffers)? };
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (data, rest) = unsafe { (memory.slice_mut(logits), rest.get(&memory)?) };
        let (objective, batch, scratch, summary) = rest;
        let view = self.logits.view(data)?;
        summary.fill(preference_step(dispatch, objective, view, &batch, scratch)?);
        Ok(())
    }

    /// All buffers but the logits: what is the same for every element type.
    ///
    /// # Safety
    /// That of [`dpo_preference_step`], for the struct of an NLL term.
    #[inline(never)]
    unsafe fn add_to(&self, buffers: &mut Buffers) -> Result<StepInput, Fault> {
        let (rows, n, p) = (self.layout.rows, self.layout.count, self.pairs.count);
        let scratch = &self.scratch;
        let weights = DPO_BUFFER_TOKEN_WEIGHTS;
        Ok(StepInput {
            log_probs: buffers.output(scratch.log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?,
            norms: buffers.output(scratch.norms, rows, DPO_BUFFER_ROW_NORMS)?,
            sequences: buffers.output(scratch.sequences, n, DPO_BUFFER_SEQUENCES)?,
            d_log_probs: buffers.output(scratch.d_log_probs, n, DPO_BUFFER_SEQUENCE_GRADS)?,
            losses: buffers.output(scratch.losses, p, DPO_BUFFER_PAIR_LOSSES)?,
            summary: buffers.output(self.summary, 1, DPO_BUFFER_OUT)?,
            token_weights: buffers.optional_input(self.token_weights, rows, weights)?,
            objective: self.objective.add_to(buffers)?,
            layout: self.layout.add_to(buffers)?,
            pairs: self.pairs.add_to(buffers, n)?,
            // SAFETY: passed on.
            nll: unsafe { self.nll(buffers)? },
        })
    }

    /// The NLL term, if there is one, and where its results go.
    ///
    /// # Safety
    /// As [`Step::add_to`].
    unsafe fn nll(&self, buffers: &mut Buffers) -> Result<Option<NllInput>, Fault> {
        let dpo_scratch { nll, d_nll, nll_summary, .. } = self.scratch;
        if nll.is_null() {
            let is_unused = !d_nll.is_null() || !nll_summary.is_null();
            return if is_unused { Err(Fault::unused(DPO_BUFFER_NLL_GRADS)) } else { Ok(None) };
        }
        // SAFETY: the caller's word for the struct.
        let term = unsafe { growing_argument(nll)? }.check()?;
        let d_nll = buffers.output(d_nll, self.layout.count, DPO_BUFFER_NLL_GRADS)?;
        Ok(Some((term, d_nll, buffers.output(nll_summary, 1, DPO_BUFFER_OUT)?)))
    }
}

type NllInput = (Nll, Output<f64>, Output<NllSummary>);

/// The buffers of a step beside its logits.
struct StepInput {
    log_probs: Output<f32>,
    norms: Output<RowNorm>,
    sequences: Output<SequenceLogProb>,
    d_log_probs: Output<f64>,
    losses: Output<PairLoss>,
    summary: Output<Summary>,
    token_weights: Option<Input<f32>>,
    objective: ObjectiveInput,
    layout: LayoutInput,
    pairs: PairsInput,
    nll: Option<NllInput>,
}

/// What [`preference_step`] takes beside the logits, and where its summary goes.
type Parts<'a> = (AnyObjective<'a>, StepBatch<'a>, StepScratch<'a>, &'a mut [Summary]);

impl StepInput {
    /// # Safety
    /// As [`Memory::slice`].
    #[inline(never)]
    unsafe fn get<'a>(self, memory: &Memory) -> Result<Parts<'a>, Fault> {
        // SAFETY: the caller's word, passed on for every buffer.
        unsafe {
            let objective = self.objective.get(memory)?;
            let (targets, spans) = self.layout.get(memory);
            // The policy is what the step finds.
            let pairs = self.pairs.get(memory, &[], objective.inputs().reference);
            let mut batch =
                StepBatch::new(targets, spans, pairs.pairs, pairs.reference, pairs.divisor);
            (batch.weights, batch.offsets) = (pairs.weights, pairs.offsets);
            batch.token_weights = memory.optional(self.token_weights);
            let nll = self.nll.and_then(|(term, d_nll, summary)| {
                let d_log_probs = memory.slice_mut(d_nll);
                let [summary] = memory.slice_mut(summary) else { return None };
                Some(NllStep { term, d_log_probs, summary })
            });
            let scratch = StepScratch {
                log_probs: memory.slice_mut(self.log_probs),
                norms: memory.slice_mut(self.norms),
                sequences: memory.slice_mut(self.sequences),
                d_log_probs: memory.slice_mut(self.d_log_probs),
                losses: memory.slice_mut(self.losses),
                nll,
            };
            Ok((objective, batch, scratch, memory.slice_mut(self.summary)))
        }
    }
}
