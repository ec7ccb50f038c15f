//! Stages 2 and 3: token and sequence log-probs.

use super::argument::growing_argument;
use super::dispatch::dpo_dispatch;
use super::layout::dpo_layout;
use super::logits::{Stored, Type, dpo_logits, for_type};
use super::memory::{Buffers, Memory, Output};
use super::names::*;
use super::report::report;
use super::row::{dpo_row_details, dpo_row_norm};
use super::status::{Fault, dpo_error, dpo_status};
use crate::{SequenceLogProb, TokenOut, TokenSummary, sequence_log_probs, token_log_probs};

/// [`SequenceLogProb`]
pub type dpo_sequence_log_prob = SequenceLogProb;

/// [`TokenSummary`]
pub type dpo_token_summary = TokenSummary;

/// [`token_log_probs`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_token_log_probs(
    dispatch: dpo_dispatch,
    logits: *const dpo_logits,
    layout: *const dpo_layout,
    log_probs: *mut f32,
    norms: *mut dpo_row_norm,
    details: *mut dpo_row_details,
    summary: *mut dpo_token_summary,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for both structs.
        let (logits, layout) = unsafe { (growing_argument(logits)?, growing_argument(layout)?) };
        let to = Out { log_probs, norms, details, summary };
        for_type!(Type::of(logits.r#type)?, E => {
            // SAFETY: the caller's word, passed on.
            unsafe { tokens::<E>(dispatch, &logits, &layout, &to) }
        })
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// Where the results go.
pub(super) struct Out {
    pub(super) log_probs: *mut f32,
    pub(super) norms: *mut dpo_row_norm,
    pub(super) details: *mut dpo_row_details,
    pub(super) summary: *mut dpo_token_summary,
}

/// Their buffers.
pub(super) struct OutBuffers {
    log_probs: Output<f32>,
    norms: Option<Output<dpo_row_norm>>,
    details: Option<Output<dpo_row_details>>,
    summary: Option<Output<dpo_token_summary>>,
}

impl Out {
    pub(super) fn add_to(&self, buffers: &mut Buffers, rows: usize) -> Result<OutBuffers, Fault> {
        Ok(OutBuffers {
            log_probs: buffers.output(self.log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?,
            norms: buffers.optional_output(self.norms, rows, DPO_BUFFER_ROW_NORMS)?,
            details: buffers.optional_output(self.details, rows, DPO_BUFFER_ROW_DETAILS)?,
            summary: buffers.optional_output(self.summary, 1, DPO_BUFFER_OUT)?,
        })
    }
}

impl OutBuffers {
    /// Where tokens go, and their summary, if it is wanted.
    ///
    /// # Safety
    /// As [`Memory::slice_mut`].
    pub(super) unsafe fn get<'a>(self, memory: &Memory) -> (TokenOut<'a>, &'a mut [TokenSummary]) {
        // SAFETY: passed on for every buffer.
        unsafe {
            let mut out = TokenOut::new(memory.slice_mut(self.log_probs));
            if let Some(norms) = self.norms {
                out = out.with_norms(memory.slice_mut(norms));
            }
            if let Some(details) = self.details {
                out = out.with_details(memory.slice_mut(details));
            }
            let summary = self.summary.map(|summary| memory.slice_mut(summary));
            (out, summary.unwrap_or_default())
        }
    }
}

/// # Safety
/// That of [`dpo_token_log_probs`].
unsafe fn tokens<E: Stored>(
    dispatch: dpo_dispatch,
    logits: &dpo_logits,
    layout: &dpo_layout,
    to: &Out,
) -> Result<(), Fault> {
    let rows = layout.rows;
    let mut buffers = Buffers::new();
    let data = logits.add_to::<E>(&mut buffers)?;
    let layout = layout.add_to(&mut buffers)?;
    let out = to.add_to(&mut buffers, rows)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for every buffer of the call.
    let (view, layout, (out, summary)) =
        unsafe { (logits.view(memory.slice(data))?, layout.get(&memory)?, out.get(&memory)) };
    summary.fill(token_log_probs(dispatch.check()?, view, &layout, out)?);
    Ok(())
}

/// [`sequence_log_probs`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_sequence_log_probs(
    log_probs: *const f32,
    layout: *const dpo_layout,
    token_weights: *const f32,
    out: *mut dpo_sequence_log_prob,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let layout = unsafe { growing_argument(layout)? };
        let (rows, weights) = (layout.rows, DPO_BUFFER_TOKEN_WEIGHTS);
        let mut buffers = Buffers::new();
        let log_probs = buffers.input(log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?;
        let token_weights = buffers.optional_input(token_weights, rows, weights)?;
        let out = buffers.output(out, layout.count, DPO_BUFFER_SEQUENCES)?;
        let layout = layout.add_to(&mut buffers)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (log_probs, token_weights, out, layout) = unsafe {
            (
                memory.slice(log_probs),
                memory.optional(token_weights),
                memory.slice_mut(out),
                layout.get(&memory)?,
            )
        };
        Ok(sequence_log_probs(log_probs, &layout, token_weights, out)?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
