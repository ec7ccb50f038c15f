//! Pointers and lengths: every buffer of every function, NULL, misaligned, too long, and beside or
//! over every other one.

use dpo_kernel::c::*;

use crate::abi::Call;
use crate::header::{headers, of_header};
use crate::host::functions::{FUNCTIONS, Function, Use};
use crate::host::slots::Slot;
use crate::host::{Host, Structs};

/// The status of a function over a host, by the model, and the report.
fn run(function: &Function, host: &Host) -> (dpo_status, dpo_error) {
    let structs = prepared(function, host);
    let call = (function.call)(&structs);
    let report = call.expected().error;
    match host.judge(&call) {
        Ok(status) => (status, report),
        Err(why) => panic!("{}: {why}", function.name),
    }
}

fn prepared(function: &Function, host: &Host) -> Box<Structs> {
    let mut structs = host.structs();
    (function.form)(&mut structs);
    structs
}

#[test]
fn every_function_does_what_rust_does() {
    for function in FUNCTIONS {
        assert_eq!(run(function, &Host::new()).0, DPO_OK, "{}", function.name);
    }
}

/// A function of the header that takes memory is in the table.
#[test]
fn every_function_is_tried() {
    let tried: Vec<&str> = FUNCTIONS.iter().map(|f| f.name.split(' ').next().unwrap()).collect();
    for (name, signature) in of_header(&headers()).functions {
        let fails = signature.ends_with("-> dpo_status");
        assert!(!fails || tried.contains(&name.as_str()), "{name} is not tried");
    }
}

#[test]
fn null_is_an_error_unless_it_is_optional() {
    for function in FUNCTIONS {
        for &used in function.uses {
            let (slot, mut host) = (used.slot(), Host::new());
            host.at[slot as usize] = 0;
            let (status, report) = run(function, &host);
            let of = format!("{}, {slot:?}: {report:?}", function.name);
            if used.is_optional() {
                assert_eq!(status, DPO_OK, "{of}");
            } else if is_reference(slot) {
                assert_eq!(status, DPO_ERROR_REFERENCE_MISSING, "{of}");
            } else if slot == Slot::AnswerLossKinds {
                // With none of its own the answers are measured by the call's, which is NULL.
                assert_eq!(status, DPO_OK, "{of}");
            } else {
                assert_eq!((status, report.subject), (DPO_ERROR_NULL, slot.form().2), "{of}");
            }
        }
    }
}

fn is_reference(slot: Slot) -> bool {
    matches!(slot, Slot::Sums | Slot::Reference)
}

#[test]
fn misaligned_memory_is_refused() {
    for function in FUNCTIONS {
        for &used in function.uses {
            let slot = used.slot();
            let (_, align, subject) = slot.form();
            for by in 1..align {
                let mut host = Host::new();
                host.at[slot as usize] += by;
                let (status, report) = run(function, &host);
                let of = format!("{}, {slot:?}: {report:?}", function.name);
                assert_eq!((status, report.subject), (DPO_ERROR_MISALIGNED, subject), "{of}");
                assert_eq!(report.numbers, [align, 0, 0, 0], "{of}");
            }
        }
    }
}

/// The end of the address space: a buffer may not reach beyond it, wherever it begins.
#[test]
fn memory_beyond_the_address_space_is_refused() {
    for function in FUNCTIONS {
        for &used in function.uses {
            let slot = used.slot();
            let (bytes, align, subject) = slot.form();
            let mut host = Host::new();
            // The last place whose end is not an address.
            host.at[slot as usize] = (usize::MAX - bytes + 1) / align * align;
            let (status, report) = run(function, &host);
            let of = format!("{}, {slot:?}: {report:?}", function.name);
            assert_eq!((status, report.subject), (DPO_ERROR_TOO_LONG, subject), "{of}");
        }
    }
}

/// Moves a buffer of a function to where it ends or begins `by` bytes into another one.
fn moved(a: Use, b: Use, to: impl Fn(usize, usize, usize, usize) -> usize) -> Host {
    let mut host = Host::new();
    let ((a_bytes, a_align, _), (b_bytes, ..)) = (a.slot().form(), b.slot().form());
    let at = host.at[b.slot() as usize];
    let to = to(at, b_bytes, a_bytes, a_align);
    host.at[a.slot() as usize] = to;
    host
}

#[test]
fn what_is_written_overlaps_nothing() {
    for function in FUNCTIONS {
        for &a in function.uses {
            for &b in function.uses.iter().filter(|b| b.slot() != a.slot()) {
                // All of it, its first element over the last of the other, its last over the first.
                let places: [fn(usize, usize, usize, usize) -> usize; 3] = [
                    |at, _, _, _| at,
                    |at, bytes, _, align| (at + bytes - 1) / align * align,
                    |at, _, bytes, align| at + align - bytes,
                ];
                // The scratch would begin before all memory.
                let is_scratch = a.slot().is_scratch();
                for place in &places[..if is_scratch { 2 } else { 3 }] {
                    let host = moved(a, b, place);
                    let (status, report) = run(function, &host);
                    let of = format!("{}, {a:?} over {b:?}: {report:?}", function.name);
                    let subjects = [a.slot().form().2, b.slot().form().2];
                    if is_scratch {
                        // So large that it is over others too.
                        assert_eq!(status, DPO_ERROR_OVERLAP, "{of}");
                    } else if a.is_written() || b.is_written() {
                        assert_eq!(status, DPO_ERROR_OVERLAP, "{of}");
                        let other = i32::try_from(report.numbers[0]).unwrap();
                        assert!(subjects.contains(&report.subject), "{of}");
                        assert!(subjects.contains(&other), "{of}");
                        let is_one = subjects[0] == subjects[1];
                        assert!(is_one || report.subject != other, "{of}");
                    } else {
                        assert_ne!(status, DPO_ERROR_OVERLAP, "{of}");
                    }
                }
            }
        }
    }
}

/// Buffers that touch are apart: one begins where the other ends.
#[test]
fn buffers_may_touch() {
    for function in FUNCTIONS {
        // The scratch has room behind all others alone.
        for &a in function.uses.iter().filter(|a| !a.slot().is_scratch()) {
            for &b in function.uses.iter().filter(|b| b.slot() != a.slot()) {
                let mut host = Host::new();
                let ((a_bytes, ..), at) = (a.slot().form(), host.at[b.slot() as usize]);
                host.at[a.slot() as usize] = at - a_bytes;
                host.copy_slot(a.slot());
                let (status, report) = run(function, &host);
                assert_eq!(status, DPO_OK, "{}, {a:?} before {b:?}: {report:?}", function.name);
            }
        }
    }
}

/// Lengths that the arguments of one function say of several buffers: the first of them is named.
#[test]
fn lengths_beyond_the_address_space_are_refused() {
    let huge = [usize::MAX, usize::MAX / 2, (isize::MAX as usize) / 2, 1 << 62];
    let spoils: [(&str, fn(&mut Structs, usize), i32); 15] = [
        ("rows of dpo_sequence_log_probs", |s, n| s.layout.rows = n, 3),
        ("count of dpo_sequence_log_probs", |s, n| s.layout.count = n, 7),
        ("len of dpo_token_log_probs", |s, n| s.logits.len = n, 1),
        ("count of dpo_preference_loss", |s, n| s.pairs.count = n, 10),
        ("losses of dpo_preference_loss", |s, n| s.objective.count = n, 106),
        ("order of dpo_preference_loss", |s, n| s.objective.order_len = n, 14),
        ("count of dpo_unpaired_loss", |s, n| s.answers.count = n, 16),
        ("count of dpo_nll_loss", |s, n| s.nll.count = n, 119),
        ("len of dpo_tile_grads_in_place", |s, n| s.tile.len = n, 105),
        ("len of dpo_head_token_log_probs", |s, n| s.states.len = n, 31),
        ("weights of dpo_head_forward", |s, n| s.head.len = n, 33),
        ("sums of dpo_hidden_grads_in_place", |s, n| s.sums.len = n, 32),
        ("scratch of dpo_hidden_grads", |s, n| s.scratch.len = n, 36),
        ("weights of dpo_head_grads", |s, n| s.d_head.len = n, 37),
        ("scratch of dpo_head_grads", |s, n| s.trained_scratch.len = n, 36),
    ];
    for (name, spoil, subject) in spoils {
        let of = |name: &'static str| name.split(' ');
        let function = of(name).next_back();
        let function = FUNCTIONS.iter().find(|f| of(f.name).next() == function).unwrap();
        for len in huge {
            let host = Host::new();
            let mut structs = prepared(function, &host);
            structs.objective.order = structs.at(Slot::PairOrder);
            spoil(&mut structs, len);
            let call: Call = (function.call)(&structs);
            let report = call.expected().error;
            let due = (DPO_ERROR_TOO_LONG, subject, [len, 0, 0, 0]);
            assert_eq!((report.status, report.subject, report.numbers), due, "{name}, {len}");
            host.judge(&call).unwrap_or_else(|why| panic!("{name}, {len}: {why}"));
        }
    }
}
