//! The whole step in one call.

use super::answers::{dpo_nll, dpo_nll_summary};
use super::loss::{dpo_pair_loss, dpo_pairs, dpo_summary};
use super::memory::{Claim, argument, plain};
use super::names::*;
use super::objective::dpo_objective;
use super::row::dpo_row_norm;
use super::status::{Fault, dpo_error, dpo_status, report};
use super::token::dpo_sequence_log_prob;
use super::view::{Stored, Type, dpo_dispatch, dpo_logits_mut, dpo_sequences, for_type};
use crate::{Dispatch, NllStep, StepBatch, StepScratch, preference_step};

/// [`StepScratch`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_scratch {
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

plain!(dpo_scratch);

/// The structs of a step, copied.
struct Step {
    objective: dpo_objective,
    logits: dpo_logits_mut,
    sequences: dpo_sequences,
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
    sequences: *const dpo_sequences,
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
                objective: argument(objective)?,
                logits: argument(logits)?,
                sequences: argument(sequences)?,
                pairs: argument(pairs)?,
                scratch: argument(scratch)?,
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
        let (rows, n, p) = (self.sequences.rows, self.sequences.count, self.pairs.count);
        let scratch = &self.scratch;
        let mut claim = Claim::new();
        let logits = self.logits.claim::<E>(&mut claim, DPO_BUFFER_LOGITS)?;
        let log_probs = claim.output(scratch.log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?;
        let norms = claim.output(scratch.norms, rows, DPO_BUFFER_ROW_NORMS)?;
        let sums = claim.output(scratch.sequences, n, DPO_BUFFER_SEQUENCES)?;
        let d_log_probs = claim.output(scratch.d_log_probs, n, DPO_BUFFER_SEQUENCE_GRADS)?;
        let losses = claim.output(scratch.losses, p, DPO_BUFFER_PAIR_LOSSES)?;
        let summary = claim.output(self.summary, 1, DPO_BUFFER_OUT)?;
        let weights = DPO_BUFFER_TOKEN_WEIGHTS;
        let token_weights = claim.optional_input(self.token_weights, rows, weights)?;
        let objective = self.objective.claim(&mut claim)?;
        let sequences = self.sequences.claim(&mut claim)?;
        let pairs = self.pairs.claim(&mut claim, n)?;
        let nll = if scratch.nll.is_null() {
            if !scratch.d_nll.is_null() || !scratch.nll_summary.is_null() {
                return Err(Fault::unused(DPO_BUFFER_NLL_GRADS));
            }
            None
        } else {
            // SAFETY: the caller's word for the struct.
            let term = unsafe { argument(scratch.nll)? }.check()?;
            let d_nll = claim.output(scratch.d_nll, n, DPO_BUFFER_NLL_GRADS)?;
            Some((term, d_nll, claim.output(scratch.nll_summary, 1, DPO_BUFFER_OUT)?))
        };
        let memory = claim.settle()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (objective, batch, scratch, data, summary) = unsafe {
            let (targets, spans) = sequences.get(&memory);
            let pairs = pairs.get(&memory, &[]);
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
            (objective.get(&memory)?, batch, scratch, data, summary)
        };
        let view = self.logits.view(data)?;
        summary.fill(preference_step(dispatch, objective, view, &batch, scratch)?);
        Ok(())
    }
}
