//! The C ABI with hostile numbers over valid memory: whatever a host says, the report is the one
//! that a model of the header's checks says (`abi`), results are those of the Rust functions to the
//! bit, no memory but its own is touched (the sanitizer looks), and on a refusal nothing has
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

use std::ffi::{c_char, c_void};

use arbitrary::{Arbitrary, Result as Made, Unstructured};
use dpo_kernel::c::*;

use super::abi::{Call as Abi, HeadCall, HiddenRow, Out, Policy, Tokens, Wpo, judge};
use host::{ARENA, Host, MOST};

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
        let function = u.int_in_range(0..=21)?;
        let choices = (0..96).map(|_| u.arbitrary()).collect::<Made<_>>()?;
        Ok(Self { function, choices, pattern: u.arbitrary()? })
    }
}

pub fn check(call: &Call) -> Result<(), String> {
    status_of(call).map(|_| ())
}

/// The status of a call that answers as the header says.
pub fn status_of(call: &Call) -> Result<dpo_status, String> {
    let mut arena = vec![0_u64; ARENA / 8];
    let bytes = arena.as_mut_ptr().cast::<u8>();
    for i in 0..if call.pattern.is_empty() { 0 } else { ARENA } {
        // SAFETY: i is below the arena's size.
        unsafe { bytes.add(i).write(call.pattern[i % call.pattern.len()]) };
    }
    let mut host = Host::new(bytes, &call.choices);
    let made = make(call.function, &mut host);
    // SAFETY: every pointer is NULL or points into the arena, or to a struct that the host keeps;
    // the arena holds every length that is not beyond all memory; nobody else is there.
    unsafe { judge(&made, std::ptr::slice_from_raw_parts(bytes, ARENA)) }
}

fn make(function: u8, host: &mut Host<'_>) -> Abi {
    let dispatch = host.dispatch();
    match function {
        0 | 1 => {
            let (objective, views) = (host.objective(), host.views());
            let (pairs, nll) = (host.pairs(), host.nll(true));
            let (views, nll) = (host.keep(views), host.keep(nll));
            // SAFETY: the host keeps both.
            let step = unsafe { host.step(&*views, &*nll) };
            let out = (host.pointer(), host.pointer());
            let objective = host.keep_newer(objective);
            let (pairs, step) = (host.keep_newer(pairs), host.keep_newer(step));
            Abi::PreferenceStep(dispatch, objective, pairs, step, out)
        }
        16 => {
            let (loss, views) = (host.unpaired_loss(), host.views());
            let (answers, nll) = (host.unpaired(), host.nll(true));
            let (views, nll) = (host.keep(views), host.keep(nll));
            // SAFETY: the host keeps both.
            let step = unsafe { host.step(&*views, &*nll) };
            let out = (host.pointer(), host.pointer());
            let loss = host.keep(loss);
            let loss = host.one_of(&answers, loss);
            let (answers, step) = (host.keep_newer(answers), host.keep_newer(step));
            Abi::UnpairedStep(dispatch, loss, answers, step, out)
        }
        17 => {
            let layout = host.layout();
            let layout = host.keep_newer(layout);
            let (d, weights) = (host.pointer::<f64>(), host.optional::<f32>());
            let (d_nll, out) = (host.optional::<f64>(), host.pointer());
            Abi::TokenCoefficients(layout, d, weights, d_nll, out)
        }
        2 => {
            let logits = host.logits();
            let layout = host.layout_of(logits.rows, logits.vocab);
            let (log_probs, norms, details) = (host.pointer(), host.optional(), host.optional());
            let (logits, layout) = (host.keep_newer(logits), host.keep_newer(layout));
            let to = Tokens { log_probs, norms, details, summary: host.optional() };
            Abi::TokenLogProbs(dispatch, logits, layout, to)
        }
        4 => {
            let layout = host.layout();
            let (log_probs, weights) = (host.pointer::<f32>(), host.optional::<f32>());
            let out = host.pointer();
            Abi::SequenceLogProbs(log_probs, host.keep_newer(layout), weights, out)
        }
        5 => {
            let (objective, pairs) = (host.objective(), host.pairs());
            let (policy, out) = (policy(host), out(host));
            let (objective, pairs) = (host.keep_newer(objective), host.keep_newer(pairs));
            Abi::PreferenceLoss(objective, pairs, policy, out)
        }
        6 => {
            let loss = host.unpaired_loss();
            let answers = host.unpaired();
            let loss = host.keep(loss);
            let one = host.one_of(&answers, loss);
            let answers = host.keep_newer(answers);
            let (policy, out) = (policy(host), out(host));
            Abi::UnpairedLoss(one, answers, policy, out)
        }
        7 => {
            let nll = host.nll(false);
            let nll = host.keep(nll).cast();
            let policy = policy(host);
            let (d, summary) = (host.pointer(), host.pointer());
            Abi::NllLoss(nll, policy, d, summary)
        }
        8 => {
            let logits = host.logits();
            let (layout, grads) = (host.layout_of(logits.rows, logits.vocab), host.grads());
            let mut out = host.logits_mut();
            if !host.one_in(4) {
                let dpo_logits { len, rows, vocab, stride, r#type, .. } = logits;
                out = dpo_logits_mut { len, rows, vocab, stride, r#type, ..out };
            }
            let (logits, layout) = (host.keep_newer(logits), host.keep_newer(layout));
            let (grads, out) = (host.keep_newer(grads), host.keep_newer(out));
            Abi::LogitGrads(dispatch, logits, layout, grads, out)
        }
        9 => {
            let logits = host.logits_mut();
            let (layout, grads) = (host.layout_of(logits.rows, logits.vocab), host.grads());
            let (logits, layout) = (host.keep_newer(logits), host.keep_newer(layout));
            Abi::LogitGradsInPlace(dispatch, logits, layout, host.keep_newer(grads))
        }
        10 => tile(host, dispatch),
        3 | 18..=20 => of_head(function, host, dispatch),
        21 => own_loop(host, dispatch),
        11 => {
            let (stats, r#type) = (host.pointer(), 1 + host.code(2));
            let (tile, len, first) = (host.pointer::<c_void>(), host.count(), host.number() as u32);
            Abi::RowStatsFold(dispatch, stats, r#type, tile, len, first)
        }
        12 => Abi::RowStatsMerge(host.pointer(), host.pointer()),
        13 => of_statistics(host, dispatch),
        14 => {
            let (layout, bound) = (host.layout(), host.code(2));
            let layout = host.keep_newer(layout);
            let (pairs, p) = (host.pointer::<dpo_pair>(), host.count());
            if host.one_in(2) {
                let alpha = host.float();
                return Abi::LdTokenWeights(alpha, layout, pairs, p, host.pointer());
            }
            let (log_probs, details) = (host.pointer::<f32>(), host.pointer());
            let of = Wpo { log_probs, details, weights: host.pointer() };
            Abi::WpoPairWeights(bound, layout, (pairs, p), of)
        }
        _ => small(host),
    }
}

fn policy(host: &mut Host<'_>) -> Policy {
    Policy { sums: host.pointer(), sequences: host.count() }
}

fn out<L, S>(host: &mut Host<'_>) -> Out<L, S> {
    Out { losses: host.pointer(), d_log_probs: host.pointer(), summary: host.pointer() }
}

fn tile(host: &mut Host<'_>, dispatch: dpo_dispatch) -> Abi {
    let norm = host.pointer::<dpo_row_norm>();
    let norm = if norm.is_null() {
        dpo_row_norm::default()
    } else {
        // SAFETY: the host's memory.
        unsafe { norm.read_unaligned() }
    };
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
    Abi::TileGradsInPlace(dispatch, host.keep_newer(tile))
}

/// Functions of a head of weights in memory.
fn of_head(function: u8, host: &mut Host<'_>, dispatch: dpo_dispatch) -> Abi {
    let head = host.head();
    let d_head = if function == 3 { Some(host.head_mut(&head)) } else { None };
    if host.one_in(8) {
        let (rows, of, out) = (host.number(), host.keep_newer(head), host.pointer());
        return match d_head {
            Some(d_head) => Abi::HeadGradsScratchLen(of, host.keep_newer(d_head), rows, out),
            None => Abi::HeadScratchLen(of, rows, out),
        };
    }
    let (hidden, rows) = (head.hidden, host.choice() % 6);
    let kind = 1 + host.code(2);
    let states = host.hidden(rows, hidden, kind);
    let layout = host.layout_of(states.rows, head.vocab);
    let scratch = host.scratch();
    let grads = host.grads();
    let (sums, sums_in) = (host.hidden_mut(rows, hidden, 1), host.hidden(rows, hidden, 1));
    let out = host.hidden_mut(rows, hidden, kind);
    let call = HeadCall {
        states: host.keep_newer(states),
        head: host.keep_newer(head),
        layout: host.keep_newer(layout),
        scratch: host.keep_newer(scratch),
    };
    if let Some(d_head) = d_head {
        let (grads, d_hidden) = (host.keep_newer(grads), host.keep_newer(sums));
        return Abi::HeadGrads(dispatch, call, grads, d_hidden, host.keep_newer(d_head));
    }
    if function == 18 {
        let grads = host.keep_newer(grads);
        if host.one_in(2) {
            return Abi::HiddenGradsInPlace(dispatch, call, grads, host.keep_newer(sums));
        }
        let (sums, out) = (host.keep_newer(sums_in), host.keep_newer(out));
        return Abi::HiddenGrads(dispatch, call, grads, sums, out);
    }
    let (log_probs, norms, details) = (host.pointer(), host.optional(), host.optional());
    let to = Tokens { log_probs, norms, details, summary: host.optional() };
    if function == 19 {
        return Abi::HeadTokenLogProbs(dispatch, call, to);
    }
    Abi::HeadForward(dispatch, call, to, host.keep_newer(sums))
}

/// Functions of a host that makes its tiles itself.
fn own_loop(host: &mut Host<'_>, dispatch: dpo_dispatch) -> Abi {
    if host.one_in(2) {
        let (of, tile) = ([host.pointer::<dpo_row_stats>().cast_const(); 2], host.pointer());
        let of =
            if host.one_in(2) { [of[0], host.pointer::<dpo_row_stats>().cast_const()] } else { of };
        let (len, first) = (host.count(), host.number() as u32);
        return Abi::TileTermsInPlace(dispatch, of, (tile, len), first, host.pointer());
    }
    let stats = host.pointer::<dpo_row_stats>().cast_const();
    let of = HiddenRow {
        coefficient: host.float(),
        target_logit: host.float() as f32,
        r#type: 1 + host.code(2),
        target_row: host.pointer::<c_void>(),
        sums: host.pointer(),
        len: host.count(),
    };
    Abi::HiddenRowGradsInPlace(dispatch, stats, of)
}

/// What statistics amount to, and their bytes: of memory that may hold anything, and of a fold, with
/// a few of their bytes changed.
fn of_statistics(host: &mut Host<'_>, dispatch: dpo_dispatch) -> Abi {
    let (stats, result) = (host.pointer::<dpo_row_stats>().cast_const(), host.pointer());
    let kind = host.choice() % 8;
    if kind < 3 {
        return Abi::RowStatsFinish(stats, result);
    }
    let (transform, flags) = (host.transform(), host.choice() as u32 % 4);
    let mut made = folded(host, dispatch, transform, flags);
    let mut bytes = [0_u8; DPO_ROW_DETAIL_BYTES];
    let len = if flags & DPO_ROW_DETAILS == 0 { DPO_ROW_BYTES } else { DPO_ROW_DETAIL_BYTES };
    // SAFETY: a struct, and memory of the length. What cannot be written stays 0.
    unsafe { dpo_row_stats_write_bytes(&made, bytes.as_mut_ptr(), len, std::ptr::null_mut()) };
    if kind < 6 {
        for _ in 0..host.choice() % 4 {
            let (at, byte) = (host.choice() % len, host.choice() as u8);
            bytes[at] = byte;
        }
        let kept = host.keep(bytes).cast::<u8>();
        let other = if host.one_in(4) { host.transform() } else { transform };
        let len = if host.one_in(8) { host.choice() % (bytes.len() + 1) } else { len };
        let from = if host.one_in(8) { host.pointer::<u8>().cast_const() } else { kept };
        let out = if kind == 3 { stats.cast_mut() } else { host.pointer() };
        return Abi::RowStatsFromBytes(host.keep(other), from, len, out);
    }
    for _ in 0..host.choice() % 3 {
        let at = host.choice() % size_of::<dpo_row_stats>();
        // SAFETY: inside of the struct, whose fields are numbers.
        unsafe { (&raw mut made).cast::<u8>().add(at).write(host.choice() as u8) };
    }
    let from = if kind == 6 { host.keep(made) } else { stats };
    let len = if host.one_in(8) { host.choice() % 257 } else { len };
    Abi::RowStatsWriteBytes(from, host.pointer(), len)
}

/// Statistics of a few columns, some of them masked or broken.
fn folded(
    host: &mut Host<'_>,
    dispatch: dpo_dispatch,
    transform: dpo_transform,
    flags: u32,
) -> dpo_row_stats {
    const LOGITS: [f32; 8] =
        [0.5, -1.5, 80.0, f32::NEG_INFINITY, -2000.0, f32::NAN, f32::MAX, 3.25];
    let tile: [f32; 3] = std::array::from_fn(|_| LOGITS[host.choice() % LOGITS.len()]);
    let (len, first) = (host.choice() % 4, host.choice() as u32 % 4);
    let target = flags & DPO_ROW_TARGET;
    let none = std::ptr::null_mut();
    // SAFETY: numbers, of which 0 is one; every pointer is to a struct or to as many elements.
    unsafe {
        let mut stats = std::mem::zeroed();
        // Where transform or dispatch are refused, they are refused again by the call itself.
        dpo_row_stats_new(&transform, flags, target, &mut stats, none);
        let data = tile.as_ptr().cast();
        dpo_row_stats_fold(dispatch, &mut stats, DPO_TYPE_F32, data, len, first, none);
        stats
    }
}

/// Functions of a loss, of spans, or of targets.
fn small(host: &mut Host<'_>) -> Abi {
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
        0 => Abi::EvaluatePair(host.keep(loss), host.keep(pair), host.pointer()),
        1 => {
            let (name, len) = (host.pointer::<c_char>(), host.count());
            // Of bytes, half of the address space is a length that could be true.
            let is_false = (MOST..=isize::MAX as usize).contains(&len);
            let len = if is_false { len % MOST } else { len };
            Abi::LossParse(name, len, host.pointer())
        }
        2 => {
            let (each, spans) = (host.number(), host.pointer());
            Abi::SpansOfBatch(each, spans, host.count())
        }
        3 => {
            let (offsets, n) = (host.pointer::<i32>(), host.count());
            let spans = host.pointer();
            Abi::SpansOfOffsetsI32(offsets, n, spans, host.count())
        }
        4 => {
            let (labels, n) = (host.pointer::<i64>(), host.count());
            let ignore = i64::from(host.choice() as i16);
            Abi::TargetsOfI64(labels, n, ignore, host.pointer())
        }
        _ => {
            let (offsets, n) = (host.pointer::<u32>(), host.count());
            let spans = host.pointer();
            Abi::SpansOfOffsets(offsets, n, spans, host.count())
        }
    }
}
