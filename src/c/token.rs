//! Stages 2 and 3: token and sequence log-probs, and spans.

use super::memory::{Claim, argument};
use super::names::*;
use super::row::{dpo_row_details, dpo_row_norm};
use super::status::{Fault, dpo_error, dpo_status, report};
use super::view::{Stored, Type, dpo_dispatch, dpo_logits, dpo_sequences, for_type};
use crate::{
    SequenceLogProb, Span, TokenOut, sequence_log_probs, spans_of_batch, spans_of_offsets,
    token_log_probs,
};

/// [`Span`]
pub type dpo_span = Span;

/// [`SequenceLogProb`]
pub type dpo_sequence_log_prob = SequenceLogProb;

/// [`spans_of_batch`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_spans_of_batch(
    rows_each: usize,
    spans: *mut dpo_span,
    count: usize,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let mut claim = Claim::new();
        let spans = claim.output(spans, count, DPO_BUFFER_SPANS)?;
        let memory = claim.settle()?;
        // SAFETY: the caller's word for `count` spans.
        let spans = unsafe { memory.slice_mut(spans) };
        Ok(spans_of_batch(rows_each, spans)?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`spans_of_offsets`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_spans_of_offsets(
    offsets: *const u32,
    offset_count: usize,
    spans: *mut dpo_span,
    count: usize,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let mut claim = Claim::new();
        let offsets = claim.input(offsets, offset_count, DPO_BUFFER_OFFSETS)?;
        let spans = claim.output(spans, count, DPO_BUFFER_SPANS)?;
        let memory = claim.settle()?;
        // SAFETY: the caller's word for both.
        let (offsets, spans) = unsafe { (memory.slice(offsets), memory.slice_mut(spans)) };
        Ok(spans_of_offsets(offsets, spans)?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`token_log_probs`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_token_log_probs(
    dispatch: dpo_dispatch,
    logits: *const dpo_logits,
    sequences: *const dpo_sequences,
    log_probs: *mut f32,
    norms: *mut dpo_row_norm,
    details: *mut dpo_row_details,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for both structs.
        let (logits, sequences) = unsafe { (argument(logits)?, argument(sequences)?) };
        let to = (log_probs, norms, details);
        for_type!(Type::of(logits.r#type)?, E => {
            // SAFETY: the caller's word, passed on.
            unsafe { tokens::<E>(dispatch, &logits, &sequences, to) }
        })
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// # Safety
/// That of [`dpo_token_log_probs`].
unsafe fn tokens<E: Stored>(
    dispatch: dpo_dispatch,
    logits: &dpo_logits,
    sequences: &dpo_sequences,
    (log_probs, norms, details): (*mut f32, *mut dpo_row_norm, *mut dpo_row_details),
) -> Result<(), Fault> {
    let rows = sequences.rows;
    let mut claim = Claim::new();
    let data = logits.claim::<E>(&mut claim)?;
    let sequences = sequences.claim(&mut claim)?;
    let log_probs = claim.output(log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?;
    let norms = claim.optional_output(norms, rows, DPO_BUFFER_ROW_NORMS)?;
    let details = claim.optional_output(details, rows, DPO_BUFFER_ROW_DETAILS)?;
    let memory = claim.settle()?;
    // SAFETY: the caller's word for every buffer of the call.
    let (view, (targets, spans), out) = unsafe {
        let mut out = TokenOut::new(memory.slice_mut(log_probs));
        if let Some(norms) = norms {
            out = out.with_norms(memory.slice_mut(norms));
        }
        if let Some(details) = details {
            out = out.with_details(memory.slice_mut(details));
        }
        (logits.view(memory.slice(data))?, sequences.get(&memory), out)
    };
    Ok(token_log_probs(dispatch.check()?, view, targets, spans, out)?)
}

/// [`sequence_log_probs`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_sequence_log_probs(
    log_probs: *const f32,
    sequences: *const dpo_sequences,
    token_weights: *const f32,
    out: *mut dpo_sequence_log_prob,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let sequences = unsafe { argument(sequences)? };
        let mut claim = Claim::new();
        let log_probs = claim.input(log_probs, sequences.rows, DPO_BUFFER_TOKEN_LOG_PROBS)?;
        let weights = DPO_BUFFER_TOKEN_WEIGHTS;
        let token_weights = claim.optional_input(token_weights, sequences.rows, weights)?;
        let out = claim.output(out, sequences.count, DPO_BUFFER_SEQUENCES)?;
        let sequences = sequences.claim(&mut claim)?;
        let memory = claim.settle()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (log_probs, token_weights, out, (targets, spans)) = unsafe {
            (
                memory.slice(log_probs),
                memory.optional(token_weights),
                memory.slice_mut(out),
                sequences.get(&memory),
            )
        };
        Ok(sequence_log_probs(log_probs, targets, spans, token_weights, out)?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
