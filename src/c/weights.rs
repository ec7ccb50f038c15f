//! Weights and offsets around a loss: LD-DPO, WPO, ODPO, R-DPO.

use super::loss::dpo_pair;
use super::memory::{Claim, argument};
use super::names::*;
use super::row::dpo_row_details;
use super::status::{Fault, codes, dpo_error, dpo_status, report};
use super::view::dpo_sequences;
use crate::training::{WpoBound, ld_token_weights, length_offset, odpo_offset, wpo_pair_weights};

codes! {
    /// [`WpoBound::AtMostOne`]
    DPO_WPO_AT_MOST_ONE = 0;
    /// [`WpoBound::Unbounded`]
    DPO_WPO_UNBOUNDED = 1;
}

/// [`ld_token_weights`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_ld_token_weights(
    alpha: f64,
    sequences: *const dpo_sequences,
    pairs: *const dpo_pair,
    pair_count: usize,
    token_weights: *mut f32,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let sequences = unsafe { argument(sequences)? };
        let mut claim = Claim::new();
        let weights = claim.output(token_weights, sequences.rows, DPO_BUFFER_TOKEN_WEIGHTS)?;
        let pairs = claim.input(pairs, pair_count, DPO_BUFFER_PAIRS)?;
        let sequences = sequences.claim(&mut claim)?;
        let memory = claim.settle()?;
        // SAFETY: the caller's word for every buffer of the call.
        let ((targets, spans), pairs, weights) =
            unsafe { (sequences.get(&memory), memory.slice(pairs), memory.slice_mut(weights)) };
        Ok(ld_token_weights(alpha, targets, spans, pairs, weights)?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`wpo_pair_weights`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_wpo_pair_weights(
    bound: i32,
    sequences: *const dpo_sequences,
    pairs: *const dpo_pair,
    pair_count: usize,
    log_probs: *const f32,
    details: *const dpo_row_details,
    weights: *mut f32,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let bound = match bound {
            DPO_WPO_AT_MOST_ONE => WpoBound::AtMostOne,
            DPO_WPO_UNBOUNDED => WpoBound::Unbounded,
            other => return Err(Fault::unknown(DPO_BUFFER_WPO_BOUND, other)),
        };
        // SAFETY: the caller's word for the struct.
        let sequences = unsafe { argument(sequences)? };
        let rows = sequences.rows;
        let mut claim = Claim::new();
        let weights = claim.output(weights, pair_count, DPO_BUFFER_PAIR_WEIGHTS)?;
        let pairs = claim.input(pairs, pair_count, DPO_BUFFER_PAIRS)?;
        let log_probs = claim.input(log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?;
        let details = claim.input(details, rows, DPO_BUFFER_ROW_DETAILS)?;
        let sequences = sequences.claim(&mut claim)?;
        let memory = claim.settle()?;
        // SAFETY: the caller's word for every buffer of the call.
        let ((targets, spans), pairs, log_probs, details, weights) = unsafe {
            (
                sequences.get(&memory),
                memory.slice(pairs),
                memory.slice(log_probs),
                memory.slice(details),
                memory.slice_mut(weights),
            )
        };
        Ok(wpo_pair_weights(bound, targets, spans, pairs, log_probs, details, weights)?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`odpo_offset`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_odpo_offset(
    alpha: f64,
    score_gap: f64,
    out: *mut f64,
    error: *mut dpo_error,
) -> dpo_status {
    // SAFETY: the caller's word, passed on.
    unsafe { offset(odpo_offset(alpha, score_gap).map_err(Fault::from), out, error) }
}

/// [`length_offset`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_length_offset(
    alpha: f64,
    chosen_tokens: usize,
    rejected_tokens: usize,
    out: *mut f64,
    error: *mut dpo_error,
) -> dpo_status {
    let found = length_offset(alpha, chosen_tokens, rejected_tokens).map_err(Fault::from);
    // SAFETY: the caller's word, passed on.
    unsafe { offset(found, out, error) }
}

/// # Safety
/// That of the entries: `out` and `error` are theirs.
unsafe fn offset(found: Result<f64, Fault>, out: *mut f64, error: *mut dpo_error) -> dpo_status {
    let run = || {
        let mut claim = Claim::new();
        let out = claim.output(out, 1, DPO_BUFFER_OUT)?;
        let memory = claim.settle()?;
        // SAFETY: the caller's word for one number.
        unsafe { memory.slice_mut(out) }.fill(found?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
