//! Struct arguments: NULL, misaligned, of an older and of a newer header.

use std::ptr;

use dpo_kernel::c::*;

use crate::abi::{Call, HeadCall};
use crate::host::functions::{FUNCTIONS, Function};
use crate::host::{Host, Structs};

/// A struct that a call points to: the pointer itself, its number, its bytes, its alignment, and
/// where the fields end that have no default (0: it does not say its size).
struct Argument<'a> {
    pointer: &'a mut *const u8,
    subject: i32,
    bytes: usize,
    align: usize,
    required: usize,
}

fn argument<T>(of: &mut *const T, subject: i32, required: usize) -> Argument<'_> {
    let (bytes, align) = (size_of::<T>(), align_of::<T>());
    // SAFETY: pointers to structs have one form.
    let pointer = unsafe { &mut *(&raw mut *of).cast::<*const u8>() };
    Argument { pointer, subject, bytes, align, required }
}

const LOGITS: (i32, usize) = (1, 52);
const LAYOUT: (i32, usize) = (116, 48);
const OBJECTIVE: (i32, usize) = (106, 24);
const GRADS: (i32, usize) = (118, 24);
const STEP: (i32, usize) = (117, 80);
const HEAD: (i32, usize) = (33, 52);
const HIDDEN: (i32, usize) = (31, 52);
const HIDDEN_MUT: (i32, usize) = (32, 52);
const HEAD_MUT: (i32, usize) = (37, 36);
const SCRATCH: (i32, usize) = (36, 32);

/// Those that every function of the head takes.
fn of_head(call: &mut HeadCall) -> Vec<Argument<'_>> {
    vec![
        argument(&mut call.states, HIDDEN.0, HIDDEN.1),
        argument(&mut call.head, HEAD.0, HEAD.1),
        argument(&mut call.layout, LAYOUT.0, LAYOUT.1),
        argument(&mut call.scratch, SCRATCH.0, SCRATCH.1),
    ]
}

/// The structs of a call, by the header: which of them say their size, and which fields of them
/// must be given.
fn arguments(call: &mut Call) -> Vec<Argument<'_>> {
    match call {
        Call::RowStatsNew(transform, ..) => vec![argument(transform, 101, 0)],
        Call::TokenLogProbs(_, logits, layout, _) => {
            vec![argument(logits, LOGITS.0, LOGITS.1), argument(layout, LAYOUT.0, LAYOUT.1)]
        }
        Call::SequenceLogProbs(_, layout, ..)
        | Call::LdTokenWeights(_, layout, ..)
        | Call::WpoPairWeights(_, layout, ..)
        | Call::TokenCoefficients(layout, ..) => vec![argument(layout, LAYOUT.0, LAYOUT.1)],
        Call::EvaluatePair(loss, pair, _) => vec![argument(loss, 101, 0), argument(pair, 101, 0)],
        Call::PreferenceLoss(objective, pairs, ..) => {
            vec![argument(objective, OBJECTIVE.0, OBJECTIVE.1), argument(pairs, 102, 64)]
        }
        Call::UnpairedLoss(loss, answers, ..) => {
            let mut found = vec![argument(answers, 103, 64)];
            if !loss.is_null() {
                found.push(argument(loss, 101, 0));
            }
            found
        }
        Call::NllLoss(nll, ..) => vec![argument(nll, 113, 24)],
        Call::LogitGrads(_, logits, layout, grads, out) => vec![
            argument(logits, LOGITS.0, LOGITS.1),
            argument(layout, LAYOUT.0, LAYOUT.1),
            argument(grads, GRADS.0, GRADS.1),
            argument(out, LOGITS.0, LOGITS.1),
        ],
        Call::LogitGradsInPlace(_, logits, layout, grads) => vec![
            argument(logits, LOGITS.0, LOGITS.1),
            argument(layout, LAYOUT.0, LAYOUT.1),
            argument(grads, GRADS.0, GRADS.1),
        ],
        Call::TileGradsInPlace(_, tile) => vec![argument(tile, 105, 72)],
        Call::HeadScratchLen(head, ..) => vec![argument(head, HEAD.0, HEAD.1)],
        Call::HeadTokenLogProbs(_, call, _) => of_head(call),
        Call::HeadForward(_, call, _, sums) => {
            let mut found = of_head(call);
            found.push(argument(sums, HIDDEN_MUT.0, HIDDEN_MUT.1));
            found
        }
        Call::HiddenGradsInPlace(_, call, grads, sums) => {
            let mut found = of_head(call);
            found.push(argument(grads, GRADS.0, GRADS.1));
            found.push(argument(sums, HIDDEN_MUT.0, HIDDEN_MUT.1));
            found
        }
        Call::HiddenGrads(_, call, grads, sums, out) => {
            let mut found = of_head(call);
            found.push(argument(grads, GRADS.0, GRADS.1));
            found.push(argument(sums, HIDDEN.0, HIDDEN.1));
            found.push(argument(out, HIDDEN_MUT.0, HIDDEN_MUT.1));
            found
        }
        Call::HeadGradsScratchLen(head, d_head, ..) => {
            vec![argument(head, HEAD.0, HEAD.1), argument(d_head, HEAD_MUT.0, HEAD_MUT.1)]
        }
        Call::HeadGrads(_, call, grads, d_hidden, d_head) => {
            let mut found = of_head(call);
            found.push(argument(grads, GRADS.0, GRADS.1));
            found.push(argument(d_hidden, HIDDEN_MUT.0, HIDDEN_MUT.1));
            found.push(argument(d_head, HEAD_MUT.0, HEAD_MUT.1));
            found
        }
        Call::PreferenceStep(_, objective, pairs, step, _) => vec![
            argument(objective, OBJECTIVE.0, OBJECTIVE.1),
            argument(pairs, 102, 64),
            argument(step, STEP.0, STEP.1),
        ],
        Call::UnpairedStep(_, loss, answers, step, _) => {
            let mut found = vec![argument(answers, 103, 64), argument(step, STEP.0, STEP.1)];
            if !loss.is_null() {
                found.push(argument(loss, 101, 0));
            }
            found
        }
        _ => vec![],
    }
}

/// The structs that a step points to, in the same way.
fn inner_arguments(step: &mut dpo_step) -> Vec<Argument<'_>> {
    let mut found = vec![argument(&mut step.layout, LAYOUT.0, LAYOUT.1)];
    if step.in_place.is_null() {
        found.push(argument(&mut step.logits, LOGITS.0, LOGITS.1));
        found.push(argument(&mut step.grads, LOGITS.0, LOGITS.1));
    } else {
        found.push(argument(&mut step.in_place, LOGITS.0, LOGITS.1));
    }
    if !step.nll.is_null() {
        found.push(argument(&mut step.nll, 113, 24));
    }
    found
}

/// Does something with every struct of every function, and makes the call.
fn with_each(mut spoil: impl FnMut(&mut Argument<'_>) -> Option<(i32, [usize; 2])>) -> usize {
    let mut tried = 0;
    let mut judge = |host: &Host, call: &Call, of: &str, due: Option<(i32, [usize; 2], i32)>| {
        let report = call.expected().error;
        let (status, numbers, subject) = due.unwrap_or((0, [0; 2], 0));
        let found = (report.status, [report.numbers[0], report.numbers[1]], report.subject);
        assert_eq!(found, (status, numbers, subject), "{of}");
        host.judge(call).unwrap_or_else(|why| panic!("{of}: {why}"));
        tried += 1;
    };
    for function in FUNCTIONS {
        let host = Host::new();
        for i in 0.. {
            let structs = prepared(function, &host);
            let mut call = (function.call)(&structs);
            let Some(of) = &mut arguments(&mut call).into_iter().nth(i) else { break };
            let due = spoil(of).map(|(status, numbers)| (status, numbers, of.subject));
            judge(&host, &call, function.name, due);
        }
        for i in 0.. {
            let mut structs = prepared(function, &host);
            if !function.name.contains("_step") {
                break;
            }
            let Some(of) = &mut inner_arguments(&mut structs.step).into_iter().nth(i) else {
                break;
            };
            let due = spoil(of).map(|(status, numbers)| (status, numbers, of.subject));
            judge(&host, &(function.call)(&structs), function.name, due);
        }
    }
    tried
}

pub fn prepared(function: &Function, host: &Host) -> Box<Structs> {
    let mut structs = host.structs();
    (function.form)(&mut structs);
    structs
}

#[test]
fn structs_that_are_null_are_refused() {
    // Without views in place those apart are missing, without the gradients' place that is.
    for function in FUNCTIONS.iter().filter(|function| !function.name.contains("_step")) {
        let host = Host::new();
        for i in 0.. {
            let structs = prepared(function, &host);
            let mut call = (function.call)(&structs);
            let Some(of) = arguments(&mut call).into_iter().nth(i) else { break };
            *of.pointer = ptr::null();
            let subject = of.subject;
            let report = call.expected().error;
            let due = (DPO_ERROR_NULL, subject);
            assert_eq!((report.status, report.subject), due, "{}", function.name);
            host.judge(&call).unwrap_or_else(|why| panic!("{}: {why}", function.name));
        }
    }
    let spoils: [(&str, fn(&mut Structs), i32); 8] = [
        ("in place", |s| s.step.in_place = ptr::null(), 1),
        ("in place", |s| s.step.layout = ptr::null(), 116),
        ("apart", |s| s.step.logits = ptr::null(), 1),
        ("apart", |s| s.step.grads = ptr::null(), 114),
        ("apart", |s| s.step.layout = ptr::null(), 116),
        ("apart", |s| (s.step.logits, s.step.grads) = (ptr::null(), ptr::null()), 1),
        ("in place", |s| s.step.logits = &raw const s.logits, -117),
        ("in place", |s| s.step.grads = &raw const s.grads_to, -117),
    ];
    for (form, spoil, subject) in spoils {
        let host = Host::new();
        let steps = |f: &&Function| f.name.contains("_step") && f.name.contains(form);
        for function in FUNCTIONS.iter().filter(steps) {
            let mut structs = prepared(function, &host);
            spoil(&mut structs);
            let call = (function.call)(&structs);
            let report = call.expected().error;
            let status = if subject < 0 { DPO_ERROR_FIELD_UNUSED } else { DPO_ERROR_NULL };
            assert_eq!((report.status, report.subject), (status, subject.abs()), "{form}");
            host.judge(&call).unwrap_or_else(|why| panic!("{}: {why}", function.name));
        }
    }
}

#[test]
fn structs_that_are_misaligned_are_refused() {
    for by in [1, 2, 4] {
        let tried = with_each(|of| {
            if by >= of.align {
                return None;
            }
            *of.pointer = of.pointer.wrapping_add(by);
            Some((DPO_ERROR_MISALIGNED, [of.align, 0]))
        });
        assert!(tried > 40, "{tried} structs were tried");
    }
}

/// No struct of any release is larger.
const MOST: usize = 4096;

/// Makes each struct one that says another size, with these bytes behind what this library knows.
fn of_size(
    of: &mut Argument<'_>,
    memory: &mut [u64],
    size: usize,
    behind: Option<usize>,
) -> Option<(i32, [usize; 2])> {
    if of.required == 0 {
        return None;
    }
    memory.fill(0);
    let to = memory.as_mut_ptr().cast::<u8>();
    // SAFETY: the struct is there, and the memory is larger than any.
    unsafe {
        ptr::copy_nonoverlapping(*of.pointer, to, of.bytes);
        to.cast::<usize>().write_unaligned(size);
        if let Some(at) = behind {
            to.add(of.bytes + at).write(1);
        }
    }
    *of.pointer = to;
    let is_known = size >= of.required && size <= MOST && size.is_multiple_of(8);
    let is_set = behind.is_some_and(|at| of.bytes + at < size);
    let is_refused = !is_known || is_set;
    is_refused.then_some((DPO_ERROR_STRUCT_SIZE, [of.bytes, size]))
}

#[test]
fn sizes_that_no_struct_has_are_refused() {
    let mut memory = vec![0_u64; (MOST + 64) / 8];
    for size in [0, 1, 7, 8, 9, 16, 4095, 4097, 4104, 1 << 40, usize::MAX, usize::MAX - 7] {
        with_each(|of| of_size(of, &mut memory, size, None));
    }
    // A byte more or fewer than there are, which is no multiple of the alignment.
    for by in [1, 4, 7] {
        with_each(|of| of_size(of, &mut memory, of.bytes + by, None));
        with_each(|of| of_size(of, &mut memory, of.bytes - by, None));
    }
    // And one that lacks the last field that must be given.
    with_each(|of| {
        let size = of.required.next_multiple_of(8).saturating_sub(8);
        of_size(of, &mut memory, size, None)
    });
}

#[test]
fn structs_of_a_newer_header_are_taken_if_what_is_new_is_zero() {
    let mut memory = vec![0_u64; (MOST + 64) / 8];
    for more in [8, 16, 64] {
        with_each(|of| of_size(of, &mut memory, of.bytes + more, None));
        for at in 0..=more {
            with_each(|of| of_size(of, &mut memory, of.bytes + more, Some(at)));
        }
    }
    with_each(|of| of_size(of, &mut memory, MOST, None));
}

/// Of an older header: what it lacks is 0, whatever lies behind it.
#[test]
fn structs_of_an_older_header_lack_what_came_later() {
    type Old = (&'static str, fn(&mut Structs));
    let old: [Old; 11] = [
        ("dpo_token_log_probs", |s| s.logits.size = 56),
        ("dpo_token_log_probs", |s| {
            s.layout.size = 48;
            (s.layout.given, s.layout.ignore) = (9, 9);
        }),
        ("dpo_sequence_log_probs", |s| {
            s.layout.size = 56;
            s.layout.order = ptr::without_provenance_mut(8);
        }),
        ("dpo_preference_loss", |s| {
            s.objective.size = 24;
            (s.objective.kind, s.objective.reserved) = (9, 9);
            s.objective.order_len = 9;
        }),
        ("dpo_preference_loss", |s| {
            s.objective.size = 32;
            s.objective.term_weights = ptr::without_provenance(8);
        }),
        ("dpo_nll_loss of chosen answers", |s| {
            s.nll.size = 24;
            (s.nll.per, s.nll.term, s.nll.of, s.nll.reserved) = (9, 9, 9, 9);
            s.nll.weights = ptr::without_provenance(4);
        }),
        ("dpo_logit_grads", |s| {
            s.grads.size = 24;
            (s.grads.unscored, s.grads.reserved) = (9, 9);
        }),
        ("dpo_head_forward", |s| {
            s.head.size = 56;
            s.head.bias = ptr::without_provenance(4);
        }),
        ("dpo_head_grads of weights and bias", |s| {
            s.d_head.size = 40;
            s.d_head.bias = ptr::without_provenance_mut(4);
        }),
        ("dpo_preference_step of the sorted batch", |s| {
            s.step.size = 80;
            s.step.token_weights = ptr::without_provenance(4);
            s.step.tokens = ptr::without_provenance_mut(8);
            (s.step.unscored, s.step.reserved) = (9, 9);
        }),
        ("dpo_unpaired_step in place", |s| {
            s.step.size = 96;
            s.step.nll = ptr::without_provenance(8);
            (s.step.unscored, s.step.reserved) = (9, 9);
        }),
    ];
    for (name, spoil) in old {
        let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
        let host = Host::new();
        let mut structs = prepared(function, &host);
        spoil(&mut structs);
        let status = host.judge(&(function.call)(&structs));
        assert_eq!(status, Ok(DPO_OK), "{name}");
    }
}
