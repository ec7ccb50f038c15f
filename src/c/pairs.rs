//! Stage 4: losses of pairs.

use super::argument::{argument, growing, growing_argument};
use super::memory::{Buffers, Input, Memory, plain};
use super::names::*;
use super::objective::{dpo_objective, pairs_loss};
use super::options::dpo_loss;
use super::reference::ReferenceInput;
use super::report::report;
use super::status::{Fault, dpo_error, dpo_status};
use super::token::dpo_sequence_log_prob;
use crate::loss::{BatchLoss, PairLogProbs, PreferenceLoss};
use crate::{Pair, PairBatch, PairLoss, PairOut, SequenceLogProb, Summary, preference_loss};

/// [`Pair`]
pub type dpo_pair = Pair;

/// [`PairLoss`]
pub type dpo_pair_loss = PairLoss;

/// [`Summary`]
pub type dpo_summary = Summary;

/// [`PairBatch`] without the policy.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_pairs {
    /// Of this struct, in bytes.
    pub size: usize,
    /// The preferences.
    pub pairs: *const dpo_pair,
    /// P
    pub count: usize,
    /// Log-probs under the reference, N, as sums; NULL if they come as sequences, or not at all.
    pub reference_sums: *const f64,
    /// The same as sequences, whose token counts are checked.
    pub reference_sequences: *const dpo_sequence_log_prob,
    /// A weight for each pair, or NULL.
    pub weights: *const f32,
    /// An offset for each pair, subtracted from z, or NULL.
    pub offsets: *const f32,
    /// Divides the gradients.
    pub divisor: f64,
}

/// [`PairLogProbs`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_pair_log_probs {
    /// [`PairLogProbs::policy_chosen`]
    pub policy_chosen: f64,
    /// [`PairLogProbs::policy_rejected`]
    pub policy_rejected: f64,
    /// [`PairLogProbs::reference_chosen`]
    pub reference_chosen: f64,
    /// [`PairLogProbs::reference_rejected`]
    pub reference_rejected: f64,
    /// [`PairLogProbs::chosen_tokens`]
    pub chosen_tokens: usize,
    /// [`PairLogProbs::rejected_tokens`]
    pub rejected_tokens: usize,
    /// [`PairLogProbs::offset`]
    pub offset: f64,
}

plain!(dpo_pair_log_probs);
growing!(dpo_pairs, DPO_BUFFER_PAIRS => divisor .. divisor;);

/// The buffers of [`dpo_pairs`].
#[derive(Clone, Copy, Debug)]
pub(super) struct PairsInput {
    pairs: Input<Pair>,
    reference: ReferenceInput,
    weights: Option<Input<f32>>,
    offsets: Option<Input<f32>>,
    divisor: f64,
}

impl dpo_pairs {
    pub(super) fn add_to(
        &self,
        buffers: &mut Buffers,
        sequences: usize,
    ) -> Result<PairsInput, Fault> {
        let p = self.count;
        Ok(PairsInput {
            pairs: buffers.input(self.pairs, p, DPO_BUFFER_PAIRS)?,
            reference: ReferenceInput::add_to(
                buffers,
                self.reference_sums,
                self.reference_sequences,
                sequences,
            )?,
            weights: buffers.optional_input(self.weights, p, DPO_BUFFER_PAIR_WEIGHTS)?,
            offsets: buffers.optional_input(self.offsets, p, DPO_BUFFER_PAIR_OFFSETS)?,
            divisor: self.divisor,
        })
    }
}

impl PairsInput {
    /// The batch of this policy, for a loss that says whether it needs a reference for pairs of
    /// such weights.
    ///
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn get<'a>(
        self,
        memory: &Memory,
        policy: &'a [SequenceLogProb],
        needs_reference: impl FnOnce(Option<&[f32]>) -> bool,
    ) -> PairBatch<'a> {
        // SAFETY: the caller's word, passed on for all four.
        let (pairs, reference, weights, offsets) = unsafe {
            let weights = memory.optional(self.weights);
            (
                memory.slice(self.pairs),
                self.reference.get(memory, needs_reference(weights)),
                weights,
                memory.optional(self.offsets),
            )
        };
        let mut batch = PairBatch::new(pairs, policy, reference, self.divisor);
        (batch.weights, batch.offsets) = (weights, offsets);
        batch
    }
}

/// [`PreferenceLoss::evaluate`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_evaluate_pair(
    loss: *const dpo_loss,
    pair: *const dpo_pair_log_probs,
    out: *mut dpo_pair_loss,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for both structs.
        let (loss, of) = unsafe { (argument(loss)?, argument(pair)?) };
        let loss = pairs_loss(&loss)?;
        let mut buffers = Buffers::new();
        let out = buffers.output(out, 1, DPO_BUFFER_OUT)?;
        let memory = buffers.check()?;
        let (policy, reference) =
            ((of.policy_chosen, of.policy_rejected), (of.reference_chosen, of.reference_rejected));
        let pair = PairLogProbs::new(policy.0, policy.1, reference.0, reference.1)
            .with_tokens(of.chosen_tokens, of.rejected_tokens)
            .with_offset(of.offset);
        // SAFETY: the caller's word for one element.
        unsafe { memory.slice_mut(out) }.fill(loss.evaluate(&pair));
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`preference_loss`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_preference_loss(
    objective: *const dpo_objective,
    pairs: *const dpo_pairs,
    policy: *const dpo_sequence_log_prob,
    sequences: usize,
    losses: *mut dpo_pair_loss,
    d_log_probs: *mut f64,
    summary: *mut dpo_summary,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for both structs.
        let (objective, pairs) =
            unsafe { (growing_argument(objective)?, growing_argument(pairs)?) };
        let mut buffers = Buffers::new();
        let losses = buffers.output(losses, pairs.count, DPO_BUFFER_PAIR_LOSSES)?;
        let d_log_probs = buffers.output(d_log_probs, sequences, DPO_BUFFER_SEQUENCE_GRADS)?;
        let summary = buffers.output(summary, 1, DPO_BUFFER_OUT)?;
        let policy = buffers.input(policy, sequences, DPO_BUFFER_SEQUENCES)?;
        let objective = objective.add_to(&mut buffers)?;
        let pairs = pairs.add_to(&mut buffers, sequences)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (objective, batch, out, summary) = unsafe {
            let (losses, d_log_probs) = (memory.slice_mut(losses), memory.slice_mut(d_log_probs));
            let (objective, policy) = (objective.get(&memory)?, memory.slice(policy));
            let batch = pairs.get(&memory, policy, |weights| objective.inputs(weights).reference);
            let out = PairOut::new(losses, d_log_probs);
            (objective, batch, out, memory.slice_mut(summary))
        };
        summary.fill(preference_loss(objective, &batch, out)?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
