//! Stage 4: losses of pairs.

use super::memory::{Claim, Input, Memory, argument, plain};
use super::names::*;
use super::objective::{dpo_objective, pairs_loss};
use super::options::dpo_loss;
use super::status::{Fault, codes, dpo_error, dpo_status, report};
use super::token::dpo_sequence_log_prob;
use crate::loss::{PairLogProbs, PreferenceLoss};
use crate::{
    Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Summary, preference_loss,
};

/// [`Pair`]
pub type dpo_pair = Pair;

/// [`PairLoss`]
pub type dpo_pair_loss = PairLoss;

/// [`Summary`]
pub type dpo_summary = Summary;

codes! {
    /// [`Reference::Sums`]
    DPO_REFERENCE_SUMS = 0;
    /// [`Reference::Sequences`]
    DPO_REFERENCE_SEQUENCES = 1;
    /// [`Reference::Free`]
    DPO_REFERENCE_FREE = 2;
}

/// [`Reference`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_reference {
    /// `DPO_REFERENCE_…`
    pub kind: i32,
    /// N sums of that kind; NULL otherwise.
    pub sums: *const f64,
    /// N sequences of that kind; NULL otherwise.
    pub sequences: *const dpo_sequence_log_prob,
}

/// [`PairBatch`] without the policy.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_pairs {
    /// The preferences.
    pub pairs: *const dpo_pair,
    /// P
    pub count: usize,
    /// Log-probs under the reference.
    pub reference: dpo_reference,
    /// A weight for each pair, or NULL.
    pub weights: *const f32,
    /// A margin offset for each pair, or NULL.
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
    /// [`PairLogProbs::weight`]
    pub weight: f64,
    /// [`PairLogProbs::offset`]
    pub offset: f64,
}

plain!(dpo_reference, dpo_pairs, dpo_pair_log_probs);

/// The claimed buffers of a [`dpo_reference`].
#[derive(Clone, Copy, Debug)]
pub(super) enum ClaimedReference {
    Sums(Input<f64>),
    Sequences(Input<SequenceLogProb>),
    Free,
}

impl dpo_reference {
    pub(super) fn claim(
        &self,
        claim: &mut Claim,
        sequences: usize,
    ) -> Result<ClaimedReference, Fault> {
        let (subject, unused) = (DPO_BUFFER_REFERENCE, Err(Fault::unused(DPO_BUFFER_REFERENCE)));
        match (self.kind, self.sums.is_null(), self.sequences.is_null()) {
            (DPO_REFERENCE_SUMS, _, true) => {
                Ok(ClaimedReference::Sums(claim.input(self.sums, sequences, subject)?))
            }
            (DPO_REFERENCE_SEQUENCES, true, _) => {
                let found = claim.input(self.sequences, sequences, subject)?;
                Ok(ClaimedReference::Sequences(found))
            }
            (DPO_REFERENCE_FREE, true, true) => Ok(ClaimedReference::Free),
            (DPO_REFERENCE_SUMS | DPO_REFERENCE_SEQUENCES | DPO_REFERENCE_FREE, ..) => unused,
            (other, ..) => Err(Fault::unknown(subject, other)),
        }
    }
}

impl ClaimedReference {
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn get<'a>(self, memory: &Memory) -> Reference<'a> {
        match self {
            // SAFETY: passed on.
            Self::Sums(sums) => Reference::Sums(unsafe { memory.slice(sums) }),
            // SAFETY: passed on.
            Self::Sequences(found) => Reference::Sequences(unsafe { memory.slice(found) }),
            Self::Free => Reference::Free,
        }
    }
}

/// The claimed buffers of [`dpo_pairs`].
#[derive(Clone, Copy, Debug)]
pub(super) struct ClaimedPairs {
    pairs: Input<Pair>,
    reference: ClaimedReference,
    weights: Option<Input<f32>>,
    offsets: Option<Input<f32>>,
    divisor: f64,
}

impl dpo_pairs {
    pub(super) fn claim(&self, claim: &mut Claim, sequences: usize) -> Result<ClaimedPairs, Fault> {
        let p = self.count;
        Ok(ClaimedPairs {
            pairs: claim.input(self.pairs, p, DPO_BUFFER_PAIRS)?,
            reference: self.reference.claim(claim, sequences)?,
            weights: claim.optional_input(self.weights, p, DPO_BUFFER_PAIR_WEIGHTS)?,
            offsets: claim.optional_input(self.offsets, p, DPO_BUFFER_PAIR_OFFSETS)?,
            divisor: self.divisor,
        })
    }
}

impl ClaimedPairs {
    /// The batch, whose policy the step has yet to find.
    ///
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn get<'a>(
        self,
        memory: &Memory,
        policy: &'a [SequenceLogProb],
    ) -> PairBatch<'a> {
        // SAFETY: the caller's word, passed on for all four.
        let (pairs, reference, weights, offsets) = unsafe {
            (
                memory.slice(self.pairs),
                self.reference.get(memory),
                memory.optional(self.weights),
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
        let mut claim = Claim::new();
        let out = claim.output(out, 1, DPO_BUFFER_OUT)?;
        let memory = claim.settle()?;
        let (policy, reference) =
            ((of.policy_chosen, of.policy_rejected), (of.reference_chosen, of.reference_rejected));
        let pair = PairLogProbs::new(policy.0, policy.1, reference.0, reference.1)
            .with_tokens(of.chosen_tokens, of.rejected_tokens)
            .with_weight(of.weight)
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
        let (objective, pairs) = unsafe { (argument(objective)?, argument(pairs)?) };
        let mut claim = Claim::new();
        let losses = claim.output(losses, pairs.count, DPO_BUFFER_PAIR_LOSSES)?;
        let d_log_probs = claim.output(d_log_probs, sequences, DPO_BUFFER_SEQUENCE_GRADS)?;
        let summary = claim.output(summary, 1, DPO_BUFFER_OUT)?;
        let policy = claim.input(policy, sequences, DPO_BUFFER_SEQUENCES)?;
        let objective = objective.claim(&mut claim)?;
        let pairs = pairs.claim(&mut claim, sequences)?;
        let memory = claim.settle()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (objective, batch, out, summary) = unsafe {
            let (losses, d_log_probs) = (memory.slice_mut(losses), memory.slice_mut(d_log_probs));
            (
                objective.get(&memory)?,
                pairs.get(&memory, memory.slice(policy)),
                PairOut { losses, d_log_probs },
                memory.slice_mut(summary),
            )
        };
        summary.fill(preference_loss(objective, &batch, out)?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
