//! What a call of the C ABI must answer: a model of the checks that the header describes, in the
//! order in which they stand, and for a call that passes them the results of the Rust functions on
//! copies of the same memory.
//!
//! ```text
//! Call::make       the function of the ABI
//! Call::expected   its report, and every byte that it may write
//! judge            both, and nothing else has changed
//! ```
//!
//! Nothing of `src/c` is used here but its structs, its functions and the codes above 100.

#![allow(unsafe_code, reason = "this is the caller that the C ABI's contract speaks of")]
#![allow(
    dead_code,
    unused_imports,
    reason = "the suites that hold this module use different parts of it"
)]

mod batches;
mod head;
mod losses;
mod memory;
mod report;
mod row_bytes;
mod rows;
mod same;
mod stages;
mod step;
mod structs;
mod trained;
mod views;

use std::ffi::{c_char, c_void};

use dpo_kernel::c::*;

pub use memory::Written;
pub use report::BUFFERS;
pub use same::Same;

/// A call with its arguments.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    SpansOfBatch(usize, *mut dpo_span, usize),
    SpansOfOffsets(*const u32, usize, *mut dpo_span, usize),
    SpansOfOffsetsI32(*const i32, usize, *mut dpo_span, usize),
    TargetsOfI64(*const i64, usize, i64, *mut u32),
    RowStatsNew(*const dpo_transform, u32, u32, *mut dpo_row_stats),
    RowStatsFold(dpo_dispatch, *mut dpo_row_stats, i32, *const c_void, usize, u32),
    RowStatsMerge(*mut dpo_row_stats, *const dpo_row_stats),
    RowStatsWriteBytes(*const dpo_row_stats, *mut u8, usize),
    RowStatsFromBytes(*const dpo_transform, *const u8, usize, *mut dpo_row_stats),
    RowStatsFinish(*const dpo_row_stats, *mut dpo_row_result),
    TokenLogProbs(dpo_dispatch, *const dpo_logits, *const dpo_layout, Tokens),
    SequenceLogProbs(*const f32, *const dpo_layout, *const f32, *mut dpo_sequence_log_prob),
    LossParse(*const c_char, usize, *mut i32),
    EvaluatePair(*const dpo_loss, *const dpo_pair_log_probs, *mut dpo_pair_loss),
    PreferenceLoss(*const dpo_objective, *const dpo_pairs, Policy, Out<dpo_pair_loss, dpo_summary>),
    UnpairedLoss(
        *const dpo_loss,
        *const dpo_unpaired_batch,
        Policy,
        Out<dpo_answer_loss, dpo_unpaired_summary>,
    ),
    NllLoss(*const dpo_nll, Policy, *mut f64, *mut dpo_nll_summary),
    LdTokenWeights(f64, *const dpo_layout, *const dpo_pair, usize, *mut f32),
    WpoPairWeights(i32, *const dpo_layout, (*const dpo_pair, usize), Wpo),
    OdpoOffset(f64, f64, *mut f64),
    LengthOffset(f64, usize, usize, *mut f64),
    TokenCoefficients(*const dpo_layout, *const f64, *const f32, *const f64, *mut f64),
    LogitGrads(
        dpo_dispatch,
        *const dpo_logits,
        *const dpo_layout,
        *const dpo_grads,
        *const dpo_logits_mut,
    ),
    LogitGradsInPlace(dpo_dispatch, *const dpo_logits_mut, *const dpo_layout, *const dpo_grads),
    TileGradsInPlace(dpo_dispatch, *const dpo_tile),
    HeadScratchLen(*const dpo_head, usize, *mut usize),
    HeadTokenLogProbs(dpo_dispatch, HeadCall, Tokens),
    HeadForward(dpo_dispatch, HeadCall, Tokens, *const dpo_hidden_mut),
    HiddenGradsInPlace(dpo_dispatch, HeadCall, *const dpo_grads, *const dpo_hidden_mut),
    HiddenGrads(dpo_dispatch, HeadCall, *const dpo_grads, *const dpo_hidden, *const dpo_hidden_mut),
    HeadGradsScratchLen(*const dpo_head, *const dpo_head_mut, usize, *mut usize),
    HeadGrads(dpo_dispatch, HeadCall, *const dpo_grads, *const dpo_hidden_mut, *const dpo_head_mut),
    TileTermsInPlace(dpo_dispatch, [*const dpo_row_stats; 2], (*mut f32, usize), u32, *mut f32),
    HiddenRowGradsInPlace(dpo_dispatch, *const dpo_row_stats, HiddenRow),
    PreferenceStep(
        dpo_dispatch,
        *const dpo_objective,
        *const dpo_pairs,
        *const dpo_step,
        (*mut dpo_pair_loss, *mut dpo_summary),
    ),
    UnpairedStep(
        dpo_dispatch,
        *const dpo_loss,
        *const dpo_unpaired_batch,
        *const dpo_step,
        (*mut dpo_answer_loss, *mut dpo_unpaired_summary),
    ),
}

/// Where token log-probs go, and what beside them.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    pub log_probs: *mut f32,
    pub norms: *mut dpo_row_norm,
    pub details: *mut dpo_row_details,
    pub summary: *mut dpo_token_summary,
}

/// What every function of the head takes.
#[derive(Clone, Copy, Debug)]
pub struct HeadCall {
    pub states: *const dpo_hidden,
    pub head: *const dpo_head,
    pub layout: *const dpo_layout,
    pub scratch: *const dpo_head_scratch,
}

/// What a row's hidden gradient is made of.
#[derive(Clone, Copy, Debug)]
pub struct HiddenRow {
    pub coefficient: f64,
    pub target_logit: f32,
    pub r#type: i32,
    pub target_row: *const c_void,
    pub sums: *mut f32,
    pub len: usize,
}

/// Log-probs of sequences, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub sums: *const dpo_sequence_log_prob,
    pub sequences: usize,
}

/// Where losses of a batch go.
#[derive(Debug)]
pub struct Out<L, S> {
    pub losses: *mut L,
    pub d_log_probs: *mut f64,
    pub summary: *mut S,
}

impl<L, S> Clone for Out<L, S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<L, S> Copy for Out<L, S> {}

/// What weights of WPO are made of, and where they go.
#[derive(Clone, Copy, Debug)]
pub struct Wpo {
    pub log_probs: *const f32,
    pub details: *const dpo_row_details,
    pub weights: *mut f32,
}

/// What a call must answer.
pub struct Expected {
    pub error: dpo_error,
    pub written: Vec<Written>,
}

impl Call {
    /// The call itself.
    ///
    /// # Safety
    /// The contract of the header: lengths that are not beyond the address space are true.
    #[allow(clippy::too_many_lines, reason = "an arm for each function, in one place")]
    pub unsafe fn make(&self, e: *mut dpo_error) -> dpo_status {
        // SAFETY: passed on.
        unsafe {
            match *self {
                Self::SpansOfBatch(rows, spans, n) => dpo_spans_of_batch(rows, spans, n, e),
                Self::SpansOfOffsets(offsets, m, spans, n) => {
                    dpo_spans_of_offsets(offsets, m, spans, n, e)
                }
                Self::SpansOfOffsetsI32(offsets, m, spans, n) => {
                    dpo_spans_of_offsets_i32(offsets, m, spans, n, e)
                }
                Self::TargetsOfI64(labels, n, ignore, to) => {
                    dpo_targets_of_i64(labels, n, ignore, to, e)
                }
                Self::RowStatsNew(transform, flags, target, out) => {
                    dpo_row_stats_new(transform, flags, target, out, e)
                }
                Self::RowStatsFold(dispatch, stats, kind, tile, len, first) => {
                    dpo_row_stats_fold(dispatch, stats, kind, tile, len, first, e)
                }
                Self::RowStatsMerge(into, from) => dpo_row_stats_merge(into, from, e),
                Self::RowStatsWriteBytes(stats, bytes, len) => {
                    dpo_row_stats_write_bytes(stats, bytes, len, e)
                }
                Self::RowStatsFromBytes(transform, bytes, len, out) => {
                    dpo_row_stats_from_bytes(transform, bytes, len, out, e)
                }
                Self::RowStatsFinish(stats, out) => dpo_row_stats_finish(stats, out, e),
                Self::TokenLogProbs(dispatch, logits, layout, to) => {
                    let Tokens { log_probs, norms, details, summary } = to;
                    dpo_token_log_probs(
                        dispatch, logits, layout, log_probs, norms, details, summary, e,
                    )
                }
                Self::SequenceLogProbs(log_probs, layout, weights, out) => {
                    dpo_sequence_log_probs(log_probs, layout, weights, out, e)
                }
                Self::LossParse(name, len, out) => dpo_loss_parse(name, len, out, e),
                Self::EvaluatePair(loss, pair, out) => dpo_evaluate_pair(loss, pair, out, e),
                Self::PreferenceLoss(objective, pairs, Policy { sums, sequences: n }, out) => {
                    let (losses, d) = (out.losses, out.d_log_probs);
                    dpo_preference_loss(objective, pairs, sums, n, losses, d, out.summary, e)
                }
                Self::UnpairedLoss(loss, answers, Policy { sums, sequences: n }, out) => {
                    let (losses, d) = (out.losses, out.d_log_probs);
                    dpo_unpaired_loss(loss, answers, sums, n, losses, d, out.summary, e)
                }
                Self::NllLoss(nll, Policy { sums, sequences: n }, d, summary) => {
                    dpo_nll_loss(nll, sums, n, d, summary, e)
                }
                Self::LdTokenWeights(alpha, layout, pairs, p, to) => {
                    dpo_ld_token_weights(alpha, layout, pairs, p, to, e)
                }
                Self::WpoPairWeights(bound, layout, (pairs, p), of) => {
                    let Wpo { log_probs, details, weights } = of;
                    dpo_wpo_pair_weights(bound, layout, pairs, p, log_probs, details, weights, e)
                }
                Self::OdpoOffset(alpha, gap, out) => dpo_odpo_offset(alpha, gap, out, e),
                Self::LengthOffset(alpha, chosen, rejected, out) => {
                    dpo_length_offset(alpha, chosen, rejected, out, e)
                }
                Self::TokenCoefficients(layout, d, weights, d_nll, out) => {
                    dpo_token_coefficients(layout, d, weights, d_nll, out, e)
                }
                Self::LogitGrads(dispatch, logits, layout, grads, out) => {
                    dpo_logit_grads(dispatch, logits, layout, grads, out, e)
                }
                Self::LogitGradsInPlace(dispatch, logits, layout, grads) => {
                    dpo_logit_grads_in_place(dispatch, logits, layout, grads, e)
                }
                Self::TileGradsInPlace(dispatch, tile) => {
                    dpo_tile_grads_in_place(dispatch, tile, e)
                }
                Self::HeadScratchLen(head, rows, out) => dpo_head_scratch_len(head, rows, out, e),
                Self::HeadTokenLogProbs(dispatch, of, to) => {
                    let HeadCall { states, head, layout, scratch } = of;
                    let Tokens { log_probs, norms, details, summary } = to;
                    dpo_head_token_log_probs(
                        dispatch, states, head, layout, log_probs, norms, details, summary,
                        scratch, e,
                    )
                }
                Self::HeadForward(dispatch, of, to, sums) => {
                    let HeadCall { states, head, layout, scratch } = of;
                    let Tokens { log_probs, norms, details, summary } = to;
                    dpo_head_forward(
                        dispatch, states, head, layout, log_probs, norms, details, summary, sums,
                        scratch, e,
                    )
                }
                Self::HiddenGradsInPlace(dispatch, of, grads, sums) => {
                    let HeadCall { states, head, layout, scratch } = of;
                    dpo_hidden_grads_in_place(
                        dispatch, states, head, layout, grads, sums, scratch, e,
                    )
                }
                Self::HiddenGrads(dispatch, of, grads, sums, out) => {
                    let HeadCall { states, head, layout, scratch } = of;
                    dpo_hidden_grads(dispatch, states, head, layout, grads, sums, out, scratch, e)
                }
                Self::HeadGradsScratchLen(head, d_head, rows, out) => {
                    dpo_head_grads_scratch_len(head, d_head, rows, out, e)
                }
                Self::HeadGrads(dispatch, of, grads, d_hidden, d_head) => {
                    let HeadCall { states, head, layout, scratch } = of;
                    dpo_head_grads(
                        dispatch, states, head, layout, grads, d_hidden, d_head, scratch, e,
                    )
                }
                Self::TileTermsInPlace(dispatch, [before, stats], (tile, len), first, scale) => {
                    dpo_tile_terms_in_place(dispatch, before, stats, tile, len, first, scale, e)
                }
                Self::HiddenRowGradsInPlace(dispatch, stats, of) => {
                    let HiddenRow { coefficient, target_logit, r#type, target_row, sums, len } = of;
                    dpo_hidden_row_grads_in_place(
                        dispatch,
                        stats,
                        coefficient,
                        target_logit,
                        r#type,
                        target_row,
                        sums,
                        len,
                        e,
                    )
                }
                Self::PreferenceStep(dispatch, objective, pairs, step, (losses, summary)) => {
                    dpo_preference_step(dispatch, objective, pairs, step, losses, summary, e)
                }
                Self::UnpairedStep(dispatch, loss, answers, step, (losses, summary)) => {
                    dpo_unpaired_step(dispatch, loss, answers, step, losses, summary, e)
                }
            }
        }
    }

    /// What is due, before the call.
    pub fn expected(&self) -> Expected {
        let mut written = Vec::new();
        let error = self.run(&mut written).err().unwrap_or_default();
        Expected { error, written }
    }
}

/// Whether two reports are one, where all NaN are one.
pub fn same_report(a: &dpo_error, b: &dpo_error) -> bool {
    let dpo_error { status, subject, numbers, value } = *a;
    let is_same_value = value == b.value || (value.is_nan() && b.value.is_nan());
    (status, subject, numbers) == (b.status, b.subject, b.numbers) && is_same_value
}

/// Makes a call over memory, of which nothing may change but what is due.
///
/// # Safety
/// As [`Call::make`]; the memory that is written lies in `memory`.
pub unsafe fn judge(call: &Call, memory: *const [u8]) -> Result<dpo_status, String> {
    // SAFETY: passed on.
    unsafe { judge_by(call, memory, |error| call.make(error)) }
}

/// The same of anything that stands in the place of the call.
///
/// # Safety
/// As [`judge`].
pub unsafe fn judge_by(
    call: &Call,
    memory: *const [u8],
    make: impl FnOnce(*mut dpo_error) -> dpo_status,
) -> Result<dpo_status, String> {
    let expected = call.expected();
    let start = memory.cast::<u8>();
    // SAFETY: the memory is there.
    let bytes = || unsafe { std::slice::from_raw_parts(start, memory.len()) }.to_vec();
    let before = bytes();
    let mut found = dpo_error { status: -7, subject: -7, numbers: [7; 4], value: 7.0 };
    let status = make(&raw mut found);
    if status != found.status {
        return Err(format!("{status} returned, {found:?} reported"));
    }
    if !same_report(&found, &expected.error) {
        return Err(format!("{found:?}, due is {:?}", expected.error));
    }
    if let Some(objection) = expected.written.iter().find_map(|written| (written.objection)()) {
        return Err(objection);
    }
    let mut may_change = vec![false; before.len()];
    // Of no elements a buffer may be anywhere.
    for written in expected.written.iter().filter(|written| !written.bytes.is_empty()) {
        let from = written.bytes.start.wrapping_sub(start.addr());
        may_change[from..from + written.bytes.len()].fill(true);
    }
    let after = bytes();
    if after == before {
        return Ok(status);
    }
    let differ = |may_change: &[bool]| {
        let bytes = after.iter().zip(&before).zip(may_change);
        bytes.into_iter().position(|((a, b), may)| a != b && !may)
    };
    if is_refusal(&found) && !may_write_on_error(call) {
        let mut scratch = vec![false; before.len()];
        if let Some(of) = call.scratch() {
            let at = |address: usize| address.saturating_sub(start.addr()).min(before.len());
            scratch[at(of.start)..at(of.end)].fill(true);
        }
        if differ(&scratch).is_some() {
            return Err(format!("a refusal by {status} has changed something"));
        }
    }
    match differ(&may_change) {
        Some(at) => Err(format!("byte {at} has changed, which nothing says")),
        None => Ok(status),
    }
}

/// Errors on which no output has changed.
fn is_refusal(report: &dpo_error) -> bool {
    let not_finite =
        [DPO_ERROR_NON_FINITE_ROWS, DPO_ERROR_NON_FINITE_PAIRS, DPO_ERROR_NON_FINITE_ANSWERS];
    let dpo_error { status, subject, .. } = *report;
    // Found when all else is written, as rows are.
    let of_weights = (DPO_ERROR_INVALID_VALUE, DPO_BUFFER_HEAD_WEIGHTS);
    status != DPO_OK && !not_finite.contains(&status) && (status, subject) != of_weights
}

/// Calls that say so: a step, whose coefficients may be found beyond f32, and whatever sorts spans.
fn may_write_on_error(call: &Call) -> bool {
    matches!(call, Call::PreferenceStep(..) | Call::UnpairedStep(..)) || call.has_order()
}
