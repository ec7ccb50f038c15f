//! The likelihood of the chosen answers, beside any loss.

use super::argument::{growing, growing_argument};
use super::memory::Buffers;
use super::names::*;
use super::pairs::dpo_pair;
use super::report::report;
use super::status::{Fault, codes, dpo_error, dpo_status};
use super::token::dpo_sequence_log_prob;
use crate::loss::{Nll, NllPer, NllSummary, nll_loss};

/// [`NllSummary`]
pub type dpo_nll_summary = NllSummary;

codes! {
    /// [`NllPer::Token`]
    DPO_NLL_PER_TOKEN = 0;
    /// [`NllPer::Sequence`]
    DPO_NLL_PER_SEQUENCE = 1;
}

/// [`Nll`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_nll {
    /// Of this struct, in bytes.
    pub size: usize,
    /// Factor on the term.
    pub weight: f64,
    /// Divides the gradients.
    pub divisor: f64,
    /// [`DPO_NLL_PER_TOKEN`] or [`DPO_NLL_PER_SEQUENCE`].
    pub per: i32,
    /// 0
    pub reserved: u32,
}

growing!(dpo_nll, DPO_BUFFER_NLL => divisor .. reserved;);

impl dpo_nll {
    pub(super) fn check(&self) -> Result<Nll, Fault> {
        let per = match self.per {
            DPO_NLL_PER_TOKEN => NllPer::Token,
            DPO_NLL_PER_SEQUENCE => NllPer::Sequence,
            other => return Err(Fault::unknown(DPO_BUFFER_NLL, other)),
        };
        if self.reserved != 0 {
            return Err(Fault::unused(DPO_BUFFER_NLL));
        }
        Ok(Nll::new(self.weight, per, self.divisor)?)
    }
}

/// [`nll_loss`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_nll_loss(
    nll: *const dpo_nll,
    pairs: *const dpo_pair,
    pair_count: usize,
    policy: *const dpo_sequence_log_prob,
    sequences: usize,
    d_nll: *mut f64,
    summary: *mut dpo_nll_summary,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let nll = unsafe { growing_argument(nll)? }.check()?;
        let mut buffers = Buffers::new();
        let d_nll = buffers.output(d_nll, sequences, DPO_BUFFER_NLL_GRADS)?;
        let summary = buffers.output(summary, 1, DPO_BUFFER_OUT)?;
        let policy = buffers.input(policy, sequences, DPO_BUFFER_SEQUENCES)?;
        let pairs = buffers.input(pairs, pair_count, DPO_BUFFER_PAIRS)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (pairs, policy, d_nll, summary) = unsafe {
            (
                memory.slice(pairs),
                memory.slice(policy),
                memory.slice_mut(d_nll),
                memory.slice_mut(summary),
            )
        };
        summary.fill(nll_loss(&nll, pairs, policy, d_nll)?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
