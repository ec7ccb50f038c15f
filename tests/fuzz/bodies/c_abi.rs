//! The C ABI with hostile numbers over valid memory: whatever a host says, a known status comes
//! back, no memory but its own is touched (the sanitizer looks), and on a refusal nothing has
//! changed.
//!
//! All buffers lie in one arena, at any place and alignment, so they may overlap; no length that
//! the arena could not hold is ever true, unless it exceeds every address space.

#![allow(unsafe_code, reason = "this is the caller that the C ABI's contract speaks of")]
#![allow(
    clippy::borrow_as_ptr,
    clippy::too_many_lines,
    reason = "calls as C writes them, one an arm"
)]

mod host;

use std::ffi::{CStr, c_void};

use arbitrary::{Arbitrary, Result as Made, Unstructured};
use dpo_kernel::c::*;

use host::{ARENA, Host, ORDER};

/// What a call is made of.
#[derive(Clone, Debug)]
pub struct Call {
    function: u8,
    /// What the arena holds: a pattern that is repeated.
    pattern: Vec<u8>,
    /// Where the numbers and pointers come from, one after another.
    choices: Vec<u16>,
}

impl<'a> Arbitrary<'a> for Call {
    fn arbitrary(u: &mut Unstructured<'a>) -> Made<Self> {
        let function = u.int_in_range(0..=17)?;
        let choices = (0..96).map(|_| u.arbitrary()).collect::<Made<_>>()?;
        Ok(Self { function, choices, pattern: u.arbitrary()? })
    }
}

pub fn check(call: &Call) -> Result<(), String> {
    status_of(call).map(|_| ())
}

/// The status of a call that keeps its promises.
pub fn status_of(call: &Call) -> Result<dpo_status, String> {
    let mut arena = vec![0_u64; ARENA / 8];
    let bytes = arena.as_mut_ptr().cast::<u8>();
    for i in 0..if call.pattern.is_empty() { 0 } else { ARENA } {
        // SAFETY: i is below the arena's size.
        unsafe { bytes.add(i).write(call.pattern[i % call.pattern.len()]) };
    }
    let before = arena.clone();
    let bytes = arena.as_mut_ptr().cast::<u8>();
    let mut host = Host::new(bytes, &call.choices);
    let mut error = dpo_error { status: -1, ..dpo_error::default() };
    let status = make(call.function, &mut host, &mut error);
    // SAFETY: the texts are static and end in 0.
    let text = |status| unsafe { CStr::from_ptr(dpo_status_message(status)) };
    if text(status) == text(-1) || error.status != status {
        return Err(format!("status {status}, {error:?}"));
    }
    let is_complete = matches!(
        status,
        DPO_OK
            | DPO_ERROR_NON_FINITE_ROWS
            | DPO_ERROR_NON_FINITE_PAIRS
            | DPO_ERROR_NON_FINITE_ANSWERS
    );
    // Coefficients beyond f32 are found after the stages before them.
    let is_step = matches!(call.function, 0 | 1 | 16) && status == DPO_ERROR_INVALID_VALUE;
    // Memory to sort in may change on any error.
    if !is_complete && !is_step && arena[..ORDER / 8] != before[..ORDER / 8] {
        return Err(format!("{:?} has changed something", text(status)));
    }
    Ok(status)
}

fn make(function: u8, host: &mut Host<'_>, error: *mut dpo_error) -> dpo_status {
    let dispatch = host.dispatch();
    // SAFETY: every pointer is NULL or points into the arena, which holds every length that is not
    // beyond all memory; nobody else is there.
    unsafe {
        match function {
            0 | 1 => {
                let (objective, views) = (host.objective(), host.views());
                let (pairs, nll) = (host.pairs(), host.nll(true));
                let step = host.step(&views, &nll);
                let (losses, summary) = (host.pointer(), host.pointer());
                let objective = host.newer(objective);
                let (pairs, step) = (host.newer(pairs), host.newer(step));
                let objective = (&raw const objective).cast();
                let (pairs, step) = ((&raw const pairs).cast(), (&raw const step).cast());
                dpo_preference_step(dispatch, objective, pairs, step, losses, summary, error)
            }
            16 => {
                let (loss, views) = (host.unpaired_loss(), host.views());
                let (answers, nll) = (host.unpaired(), host.nll(true));
                let step = host.step(&views, &nll);
                let (losses, summary) = (host.pointer(), host.pointer());
                let loss = host.one_of(&answers, &loss);
                let (answers, step) = (host.newer(answers), host.newer(step));
                let (answers, step) = ((&raw const answers).cast(), (&raw const step).cast());
                dpo_unpaired_step(dispatch, loss, answers, step, losses, summary, error)
            }
            17 => {
                let layout = host.layout();
                let layout = host.newer(layout);
                let (d, weights) = (host.pointer(), host.optional());
                let (d_nll, out) = (host.optional(), host.pointer());
                let layout = (&raw const layout).cast();
                dpo_token_coefficients(layout, d, weights, d_nll, out, error)
            }
            2 | 3 => {
                let logits = host.logits();
                let layout = host.layout_of(logits.rows, logits.vocab);
                let (log_probs, norms, details) =
                    (host.pointer(), host.optional(), host.optional());
                let (logits, layout) = (host.newer(logits), host.newer(layout));
                let (logits, layout) = ((&raw const logits).cast(), (&raw const layout).cast());
                let out = (log_probs, norms, details, host.optional());
                dpo_token_log_probs(dispatch, logits, layout, out.0, out.1, out.2, out.3, error)
            }
            4 => {
                let layout = host.layout();
                let (log_probs, weights, out) = (host.pointer(), host.optional(), host.pointer());
                let layout = host.newer(layout);
                let layout = (&raw const layout).cast();
                dpo_sequence_log_probs(log_probs, layout, weights, out, error)
            }
            5 => {
                let (objective, pairs) = (host.objective(), host.pairs());
                let (policy, n) = (host.pointer(), host.count());
                let (losses, d, summary) = (host.pointer(), host.pointer(), host.pointer());
                let (objective, pairs) = (host.newer(objective), host.newer(pairs));
                let (objective, pairs) = ((&raw const objective).cast(), (&raw const pairs).cast());
                dpo_preference_loss(objective, pairs, policy, n, losses, d, summary, error)
            }
            6 => {
                let loss = host.unpaired_loss();
                let answers = host.unpaired();
                let one = host.one_of(&answers, &loss);
                let answers = host.newer(answers);
                let answers = (&raw const answers).cast();
                let (policy, n) = (host.pointer(), host.count());
                let (losses, d, summary) = (host.pointer(), host.pointer(), host.pointer());
                dpo_unpaired_loss(one, answers, policy, n, losses, d, summary, error)
            }
            7 => {
                let nll = host.nll(false);
                let nll = (&raw const nll).cast();
                let (policy, n) = (host.pointer(), host.count());
                let (d, summary) = (host.pointer(), host.pointer());
                dpo_nll_loss(nll, policy, n, d, summary, error)
            }
            8 => {
                let logits = host.logits();
                let (layout, grads) = (host.layout_of(logits.rows, logits.vocab), host.grads());
                let mut out = host.logits_mut();
                if !host.one_in(4) {
                    let dpo_logits { len, rows, vocab, stride, r#type, .. } = logits;
                    out = dpo_logits_mut { len, rows, vocab, stride, r#type, ..out };
                }
                let (logits, layout) = (host.newer(logits), host.newer(layout));
                let (grads, out) = (host.newer(grads), host.newer(out));
                let (logits, layout) = ((&raw const logits).cast(), (&raw const layout).cast());
                let (grads, out) = ((&raw const grads).cast(), (&raw const out).cast());
                dpo_logit_grads(dispatch, logits, layout, grads, out, error)
            }
            9 => {
                let logits = host.logits_mut();
                let (layout, grads) = (host.layout_of(logits.rows, logits.vocab), host.grads());
                let (logits, layout) = (host.newer(logits), host.newer(layout));
                let grads = host.newer(grads);
                let (logits, layout) = ((&raw const logits).cast(), (&raw const layout).cast());
                dpo_logit_grads_in_place(dispatch, logits, layout, (&raw const grads).cast(), error)
            }
            10 => {
                let norm = host.pointer::<dpo_row_norm>();
                let norm =
                    if norm.is_null() { dpo_row_norm::default() } else { norm.read_unaligned() };
                let tile = dpo_tile {
                    size: host.size::<dpo_tile>(),
                    data: host.pointer(),
                    len: host.count(),
                    coefficient: host.float(),
                    norm,
                    transform: host.transform(),
                    r#type: 1 + host.code(2),
                    first_column: host.number() as u32,
                    target: host.number() as u32,
                };
                let tile = host.newer(tile);
                dpo_tile_grads_in_place(dispatch, (&raw const tile).cast(), error)
            }
            11 => {
                let (stats, r#type) = (host.pointer(), 1 + host.code(2));
                let (tile, len, first) =
                    (host.pointer::<c_void>(), host.count(), host.number() as u32);
                dpo_row_stats_fold(dispatch, stats, r#type, tile, len, first, error)
            }
            12 => dpo_row_stats_merge(host.pointer(), host.pointer(), error),
            13 => dpo_row_stats_finish(host.pointer(), host.pointer(), error),
            14 => {
                let (layout, bound) = (host.layout(), host.code(2));
                let layout = host.newer(layout);
                let layout = (&raw const layout).cast();
                let (pairs, p) = (host.pointer(), host.count());
                if host.one_in(2) {
                    let alpha = host.float();
                    dpo_ld_token_weights(alpha, layout, pairs, p, host.pointer(), error)
                } else {
                    let (log_probs, details) = (host.pointer(), host.pointer());
                    let to = host.pointer();
                    dpo_wpo_pair_weights(bound, layout, pairs, p, log_probs, details, to, error)
                }
            }
            _ => {
                let loss = host.loss();
                let pair = dpo_pair_log_probs {
                    policy_chosen: host.float(),
                    policy_rejected: host.float(),
                    reference_chosen: host.float(),
                    reference_rejected: host.float(),
                    chosen_tokens: host.number(),
                    rejected_tokens: host.number(),
                    offset: host.float(),
                };
                match host.choice() % 6 {
                    0 => dpo_evaluate_pair(&loss, &pair, host.pointer(), error),
                    1 => {
                        let (name, len) = (host.pointer(), host.count());
                        dpo_loss_parse(name, len, host.pointer(), error)
                    }
                    2 => {
                        let each = host.number();
                        let spans = host.pointer();
                        dpo_spans_of_batch(each, spans, host.count(), error)
                    }
                    3 => {
                        let (offsets, n) = (host.pointer(), host.count());
                        let spans = host.pointer();
                        dpo_spans_of_offsets_i32(offsets, n, spans, host.count(), error)
                    }
                    4 => {
                        let (labels, n) = (host.pointer(), host.count());
                        let ignore = i64::from(host.choice() as i16);
                        dpo_targets_of_i64(labels, n, ignore, host.pointer(), error)
                    }
                    _ => {
                        let (offsets, n) = (host.pointer(), host.count());
                        let spans = host.pointer();
                        dpo_spans_of_offsets(offsets, n, spans, host.count(), error)
                    }
                }
            }
        }
    }
}
