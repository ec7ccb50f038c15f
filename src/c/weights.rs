//! Weights and offsets around a loss: LD-DPO, WPO, ODPO, R-DPO.

use super::argument::growing_argument;
use super::layout::dpo_layout;
use super::memory::Buffers;
use super::names::*;
use super::pairs::dpo_pair;
use super::report::report;
use super::row::dpo_row_details;
use super::status::{Fault, codes, dpo_error, dpo_status};
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
    layout: *const dpo_layout,
    pairs: *const dpo_pair,
    pair_count: usize,
    token_weights: *mut f32,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let layout = unsafe { growing_argument(layout)? };
        let mut buffers = Buffers::new();
        let weights = buffers.output(token_weights, layout.rows, DPO_BUFFER_TOKEN_WEIGHTS)?;
        let pairs = buffers.input(pairs, pair_count, DPO_BUFFER_PAIRS)?;
        let layout = layout.add_to(&mut buffers)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (layout, pairs, weights) =
            unsafe { (layout.get(&memory)?, memory.slice(pairs), memory.slice_mut(weights)) };
        Ok(ld_token_weights(alpha, &layout, pairs, weights)?)
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
    layout: *const dpo_layout,
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
        let layout = unsafe { growing_argument(layout)? };
        let rows = layout.rows;
        let mut buffers = Buffers::new();
        let weights = buffers.output(weights, pair_count, DPO_BUFFER_PAIR_WEIGHTS)?;
        let pairs = buffers.input(pairs, pair_count, DPO_BUFFER_PAIRS)?;
        let log_probs = buffers.input(log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?;
        let details = buffers.input(details, rows, DPO_BUFFER_ROW_DETAILS)?;
        let layout = layout.add_to(&mut buffers)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (layout, pairs, log_probs, details, weights) = unsafe {
            (
                layout.get(&memory)?,
                memory.slice(pairs),
                memory.slice(log_probs),
                memory.slice(details),
                memory.slice_mut(weights),
            )
        };
        Ok(wpo_pair_weights(bound, &layout, pairs, log_probs, details, weights)?)
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
        let mut buffers = Buffers::new();
        let out = buffers.output(out, 1, DPO_BUFFER_OUT)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for one number.
        unsafe { memory.slice_mut(out) }.fill(found?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
