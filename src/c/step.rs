//! The whole step in one call.

use super::argument::{growing, growing_argument};
use super::dispatch::dpo_dispatch;
use super::layout::dpo_layout;
use super::logits::{Stored, Type, dpo_logits_mut, for_type};
use super::memory::Buffers;
use super::names::*;
use super::nll::{dpo_nll, dpo_nll_summary};
use super::objective::dpo_objective;
use super::pairs::{dpo_pair_loss, dpo_pairs, dpo_summary};
use super::report::report;
use super::row::dpo_row_norm;
use super::status::{Fault, dpo_error, dpo_status};
use super::token::dpo_sequence_log_prob;
use crate::loss::BatchLoss;
use crate::{Dispatch, NllStep, StepBatch, StepScratch, preference_step};

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
        let (rows, n, p) = (self.layout.rows, self.layout.count, self.pairs.count);
        let scratch = &self.scratch;
        let mut buffers = Buffers::new();
        let logits = self.logits.add_to::<E>(&mut buffers, DPO_BUFFER_LOGITS)?;
        let log_probs = buffers.output(scratch.log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?;
        let norms = buffers.output(scratch.norms, rows, DPO_BUFFER_ROW_NORMS)?;
        let sums = buffers.output(scratch.sequences, n, DPO_BUFFER_SEQUENCES)?;
        let d_log_probs = buffers.output(scratch.d_log_probs, n, DPO_BUFFER_SEQUENCE_GRADS)?;
        let losses = buffers.output(scratch.losses, p, DPO_BUFFER_PAIR_LOSSES)?;
        let summary = buffers.output(self.summary, 1, DPO_BUFFER_OUT)?;
        let weights = DPO_BUFFER_TOKEN_WEIGHTS;
        let token_weights = buffers.optional_input(self.token_weights, rows, weights)?;
        let objective = self.objective.add_to(&mut buffers)?;
        let layout = self.layout.add_to(&mut buffers)?;
        let pairs = self.pairs.add_to(&mut buffers, n)?;
        let nll = if scratch.nll.is_null() {
            if !scratch.d_nll.is_null() || !scratch.nll_summary.is_null() {
                return Err(Fault::unused(DPO_BUFFER_NLL_GRADS));
            }
            None
        } else {
            // SAFETY: the caller's word for the struct.
            let term = unsafe { growing_argument(scratch.nll)? }.check()?;
            let d_nll = buffers.output(scratch.d_nll, n, DPO_BUFFER_NLL_GRADS)?;
            Some((term, d_nll, buffers.output(scratch.nll_summary, 1, DPO_BUFFER_OUT)?))
        };
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (objective, batch, scratch, data, summary) = unsafe {
            let (targets, spans) = layout.get(&memory);
            let objective = objective.get(&memory)?;
            // The policy is what the step finds.
            let pairs = pairs.get(&memory, &[], objective.inputs().reference);
            let mut batch =
                StepBatch::new(targets, spans, pairs.pairs, pairs.reference, pairs.divisor);
            (batch.weights, batch.offsets) = (pairs.weights, pairs.offsets);
            batch.token_weights = memory.optional(token_weights);
            let nll = nll.and_then(|(term, d_nll, summary)| {
                let d_log_probs = memory.slice_mut(d_nll);
                let [summary] = memory.slice_mut(summary) else { return None };
                Some(NllStep { term, d_log_probs, summary })
            });
            let scratch = StepScratch {
                log_probs: memory.slice_mut(log_probs),
                norms: memory.slice_mut(norms),
                sequences: memory.slice_mut(sums),
                d_log_probs: memory.slice_mut(d_log_probs),
                losses: memory.slice_mut(losses),
                nll,
            };
            let (data, summary) = (memory.slice_mut(logits), memory.slice_mut(summary));
            (objective, batch, scratch, data, summary)
        };
        let view = self.logits.view(data)?;
        summary.fill(preference_step(dispatch, objective, view, &batch, scratch)?);
        Ok(())
    }
}
