//! The C ABI with hostile numbers over valid memory: whatever a host says, a known status comes back, no
//! memory but its own is touched (the sanitizer looks), and on a refusal nothing has changed.
//!
//! All buffers lie in one arena, at any place and alignment, so they may overlap; no length that the arena
//! could not hold is ever true, unless it exceeds every address space.

#![allow(unsafe_code, reason = "this is the caller that the C ABI's contract speaks of")]
#![allow(
    clippy::borrow_as_ptr,
    clippy::too_many_lines,
    reason = "calls as C writes them, one an arm"
)]

use std::ffi::{CStr, c_void};
use std::ptr;

use arbitrary::{Arbitrary, Result as Made, Unstructured};
use dpo_kernel::c::*;

/// Bytes of the arena; buffers begin in its first eighth.
const ARENA: usize = 49_152;
/// Most elements that a true length says: of 136 bytes at most each.
const MOST: usize = 300;

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
        let function = u.int_in_range(0..=15)?;
        let choices = (0..48).map(|_| u.arbitrary()).collect::<Made<_>>()?;
        Ok(Self { function, choices, pattern: u.arbitrary()? })
    }
}

/// The host: memory, and whatever it says of it.
struct Host<'a> {
    arena: *mut u8,
    choices: std::slice::Iter<'a, u16>,
    /// Where the next buffer begins, unless a choice says otherwise.
    next: usize,
}

impl Host<'_> {
    fn choice(&mut self) -> usize {
        self.choices.next().copied().unwrap_or(0).into()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.choice().is_multiple_of(n)
    }

    /// Mostly a place of its own; else NULL, or anywhere in the first eighth.
    fn pointer<T>(&mut self) -> *mut T {
        let choice = self.choice();
        match choice % 16 {
            15 => ptr::null_mut(),
            14 => self.arena.wrapping_add(choice / 16).cast(),
            _ => {
                let own = self.next;
                // The largest buffers lie last, so that small ones are together in the first eighth.
                self.next = (own + 256) % (ARENA / 8);
                self.arena.wrapping_add(own).cast()
            }
        }
    }

    fn optional<T>(&mut self) -> *mut T {
        if self.one_in(4) { self.pointer() } else { ptr::null_mut() }
    }

    /// Mostly small; else just right for nothing, or more than any memory.
    fn count(&mut self) -> usize {
        let choice = self.choice();
        match choice % 16 {
            15 => usize::MAX - choice / 16,
            14 => usize::MAX / 2 + choice / 16,
            13 => 1 << 62,
            12 => choice / 16 % MOST,
            _ => choice / 16 % 4,
        }
    }

    /// Any number, which is no length.
    fn number(&mut self) -> usize {
        let choice = self.choice();
        match choice % 8 {
            7 => usize::MAX - choice / 8,
            6 => 1 << (choice / 8 % 64),
            _ => choice / 8 % 9,
        }
    }

    fn float(&mut self) -> f64 {
        const FLOATS: [f64; 10] =
            [1.0, 0.5, 0.1, 0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 5e-324, 2.0];
        FLOATS[self.choice() % 24 % FLOATS.len()]
    }

    fn code(&mut self, most: i32) -> i32 {
        let choice = self.choice();
        if choice % 16 == 15 { i32::MIN + choice as i32 } else { choice as i32 / 16 % (most + 1) }
    }

    fn dispatch(&mut self) -> dpo_dispatch {
        dpo_dispatch { level: self.code(2), arithmetic: self.code(1) }
    }

    fn transform(&mut self) -> dpo_transform {
        if !self.one_in(4) {
            return dpo_transform { scale: 1.0, softcap: 0.0, temperature: 1.0 };
        }
        let mut float = || self.float() as f32;
        dpo_transform { scale: float(), softcap: float(), temperature: float() }
    }

    fn logits_mut(&mut self) -> dpo_logits_mut {
        let (rows, vocab) = (self.number(), self.number());
        let stride = if self.one_in(4) { self.number() } else { vocab };
        let fits = rows.checked_mul(stride).filter(|&len| len <= MOST);
        let len = fits.filter(|_| !self.one_in(8)).unwrap_or_else(|| self.count());
        let (r#type, transform) = (self.code(2), self.transform());
        let data = self.pointer::<c_void>();
        dpo_logits_mut { data, len, rows, vocab, stride, r#type, transform }
    }

    fn logits(&mut self) -> dpo_logits {
        let dpo_logits_mut { data, len, rows, vocab, stride, r#type, transform } =
            self.logits_mut();
        dpo_logits { data, len, rows, vocab, stride, r#type, transform }
    }

    fn sequences(&mut self) -> dpo_sequences {
        dpo_sequences {
            targets: self.pointer(),
            rows: self.count(),
            ignore: self.number() as u32,
            spans: self.pointer(),
            count: self.count(),
        }
    }

    fn reference(&mut self) -> dpo_reference {
        dpo_reference {
            kind: self.code(2),
            sums: if self.one_in(3) { ptr::null() } else { self.pointer() },
            sequences: if self.one_in(3) { self.pointer() } else { ptr::null() },
        }
    }

    fn pairs(&mut self) -> dpo_pairs {
        dpo_pairs {
            pairs: self.pointer(),
            count: self.count(),
            reference: self.reference(),
            weights: self.optional(),
            offsets: self.optional(),
            divisor: self.float(),
        }
    }

    fn loss(&mut self) -> dpo_loss {
        let mut loss = dpo_loss { name: self.code(38), ..dpo_loss::default() };
        if self.one_in(2) {
            for i in 0..3 {
                let value = if self.one_in(4) { self.code(5).into() } else { self.float() };
                loss.options[i] = dpo_option { parameter: self.code(34), value };
            }
        }
        loss
    }

    fn objective(&mut self) -> dpo_objective {
        dpo_objective {
            losses: self.pointer(),
            count: if self.one_in(4) { self.count() } else { 1 },
            kind: self.code(3),
            term_weights: self.optional(),
            order: self.optional(),
            order_len: self.count(),
        }
    }

    fn grads(&mut self) -> dpo_grads {
        dpo_grads {
            norms: self.pointer(),
            d_log_probs: self.pointer(),
            token_weights: self.optional(),
            d_nll: self.optional(),
        }
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
    let mut host = Host { arena: bytes, choices: call.choices.iter(), next: 0 };
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
    if !is_complete && arena != before {
        return Err(format!("{:?} has changed something", text(status)));
    }
    Ok(status)
}

fn make(function: u8, host: &mut Host<'_>, error: *mut dpo_error) -> dpo_status {
    let dispatch = host.dispatch();
    // SAFETY: every pointer is NULL or points into the arena, which holds every length that is not beyond
    // all memory; nobody else is there.
    unsafe {
        match function {
            0 | 1 => {
                let (objective, logits) = (host.objective(), host.logits_mut());
                let mut sequences = host.sequences();
                if !host.one_in(8) {
                    sequences.rows = logits.rows.min(MOST);
                }
                let (pairs, weights, summary) = (host.pairs(), host.optional(), host.pointer());
                let scratch = dpo_scratch {
                    log_probs: host.pointer(),
                    norms: host.pointer(),
                    sequences: host.pointer(),
                    d_log_probs: host.pointer(),
                    losses: host.pointer(),
                    nll: host.optional(),
                    d_nll: host.optional(),
                    nll_summary: host.optional(),
                };
                dpo_preference_step(
                    dispatch, &objective, &logits, &sequences, weights, &pairs, &scratch, summary,
                    error,
                )
            }
            2 | 3 => {
                let (logits, mut sequences) = (host.logits(), host.sequences());
                if !host.one_in(8) {
                    sequences.rows = logits.rows.min(MOST);
                }
                let (log_probs, norms, details) =
                    (host.pointer(), host.optional(), host.optional());
                dpo_token_log_probs(dispatch, &logits, &sequences, log_probs, norms, details, error)
            }
            4 => {
                let sequences = host.sequences();
                let (log_probs, weights, out) = (host.pointer(), host.optional(), host.pointer());
                dpo_sequence_log_probs(log_probs, &sequences, weights, out, error)
            }
            5 => {
                let (objective, pairs) = (host.objective(), host.pairs());
                let (policy, n) = (host.pointer(), host.count());
                let (losses, d, summary) = (host.pointer(), host.pointer(), host.pointer());
                dpo_preference_loss(&objective, &pairs, policy, n, losses, d, summary, error)
            }
            6 => {
                let loss = host.loss();
                let answers = dpo_unpaired_batch {
                    answers: host.pointer(),
                    count: host.count(),
                    reference: host.reference(),
                    weights: host.optional(),
                    divisor: host.float(),
                };
                let (policy, n) = (host.pointer(), host.count());
                let (losses, d, summary) = (host.pointer(), host.pointer(), host.pointer());
                dpo_unpaired_loss(&loss, &answers, policy, n, losses, d, summary, error)
            }
            7 => {
                let nll =
                    dpo_nll { weight: host.float(), divisor: host.float(), per: host.code(2) };
                let (pairs, p) = (host.pointer(), host.count());
                let (policy, n) = (host.pointer(), host.count());
                let (d, summary) = (host.pointer(), host.pointer());
                dpo_nll_loss(&nll, pairs, p, policy, n, d, summary, error)
            }
            8 => {
                let (logits, mut sequences, grads) =
                    (host.logits(), host.sequences(), host.grads());
                if !host.one_in(8) {
                    sequences.rows = logits.rows.min(MOST);
                }
                let mut out = host.logits_mut();
                if !host.one_in(4) {
                    let dpo_logits { len, rows, vocab, stride, r#type, .. } = logits;
                    out = dpo_logits_mut { len, rows, vocab, stride, r#type, ..out };
                }
                dpo_logit_grads(dispatch, &logits, &sequences, &grads, &out, error)
            }
            9 => {
                let (logits, mut sequences, grads) =
                    (host.logits_mut(), host.sequences(), host.grads());
                if !host.one_in(8) {
                    sequences.rows = logits.rows.min(MOST);
                }
                dpo_logit_grads_in_place(dispatch, &logits, &sequences, &grads, error)
            }
            10 => {
                let norm = host.pointer::<dpo_row_norm>();
                let norm =
                    if norm.is_null() { dpo_row_norm::default() } else { norm.read_unaligned() };
                let tile = dpo_tile {
                    data: host.pointer(),
                    len: host.count(),
                    coefficient: host.float(),
                    norm,
                    transform: host.transform(),
                    r#type: host.code(2),
                    first_column: host.number() as u32,
                    target: host.number() as u32,
                };
                dpo_tile_grads_in_place(dispatch, &tile, error)
            }
            11 => {
                let (stats, r#type) = (host.pointer(), host.code(2));
                let (tile, len, first) =
                    (host.pointer::<c_void>(), host.count(), host.number() as u32);
                dpo_row_stats_fold(dispatch, stats, r#type, tile, len, first, error)
            }
            12 => dpo_row_stats_merge(host.pointer(), host.pointer(), error),
            13 => dpo_row_stats_finish(host.pointer(), host.pointer(), error),
            14 => {
                let (sequences, bound) = (host.sequences(), host.code(2));
                let (pairs, p) = (host.pointer(), host.count());
                if host.one_in(2) {
                    let alpha = host.float();
                    dpo_ld_token_weights(alpha, &sequences, pairs, p, host.pointer(), error)
                } else {
                    let (log_probs, details) = (host.pointer(), host.pointer());
                    let to = host.pointer();
                    dpo_wpo_pair_weights(bound, &sequences, pairs, p, log_probs, details, to, error)
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
                    weight: host.float(),
                    offset: host.float(),
                };
                match host.choice() % 4 {
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
