//! Wrong answers of the C ABI that the body of its target must reject.

#![allow(unsafe_code, reason = "this is the caller that the C ABI's contract speaks of")]

use std::ptr;

use dpo_kernel::c::*;

use crate::bodies::abi::{Call, Out, Policy, judge_by};

/// Everything that a loss of a batch reads and writes.
#[repr(C)]
struct Batch {
    policy: [dpo_sequence_log_prob; 4],
    pairs: [dpo_pair; 2],
    reference: [f64; 4],
    weights: [f32; 2],
    offsets: [f32; 2],
    losses: [dpo_pair_loss; 2],
    d: [f64; 4],
    summary: dpo_summary,
    nobody: u64,
}

fn batch() -> Batch {
    let policy = [(-2.0, 2), (-0.25, 1), (-3.25, 2), (-0.125, 1)];
    Batch {
        policy: policy.map(|(sum, count)| dpo_sequence_log_prob { sum, count }),
        pairs: [dpo_pair::new(0, 1), dpo_pair::new(2, 3)],
        reference: [-2.5, -1.25, -2.0, -0.75],
        weights: [0.5, 1.5],
        offsets: [0.25, -0.5],
        losses: [dpo_pair_loss::default(); 2],
        d: [7.0; 4],
        summary: dpo_summary::default(),
        nobody: 0,
    }
}

/// What stands in the place of the library: it has the batch, the call, and the report to fill.
type Library = fn(&Call, *mut Batch, *mut dpo_error) -> dpo_status;

/// The objection to a library that answers a call over this batch, which `spoil` may spoil first.
fn objection(spoil: fn(&mut Batch, &mut dpo_pairs), library: Library) -> Option<String> {
    let mut batch = batch();
    let at = &raw mut batch;
    // SAFETY: fields of a batch that is there.
    let (policy, losses, d, summary, mut pairs) = unsafe {
        let pairs = dpo_pairs {
            size: size_of::<dpo_pairs>(),
            pairs: (&raw const (*at).pairs).cast(),
            count: 2,
            reference_sums: (&raw const (*at).reference).cast(),
            reference_sequences: ptr::null(),
            weights: (&raw const (*at).weights).cast(),
            offsets: (&raw const (*at).offsets).cast(),
            divisor: 3.0,
        };
        let (policy, losses) = ((&raw const (*at).policy).cast(), (&raw mut (*at).losses).cast());
        (policy, losses, (&raw mut (*at).d).cast(), &raw mut (*at).summary, pairs)
    };
    // SAFETY: nobody else has the batch.
    spoil(unsafe { &mut *at }, &mut pairs);
    let loss = dpo_loss::default();
    let objective = dpo_objective {
        size: size_of::<dpo_objective>(),
        losses: &raw const loss,
        count: 1,
        kind: DPO_OBJECTIVE_ONE,
        reserved: 0,
        term_weights: ptr::null(),
        order: ptr::null_mut(),
        order_len: 0,
    };
    let policy = Policy { sums: policy, sequences: 4 };
    let out = Out { losses, d_log_probs: d, summary };
    let call = Call::PreferenceLoss(&raw const objective, &raw const pairs, policy, out);
    let memory = ptr::slice_from_raw_parts(at.cast::<u8>(), size_of::<Batch>());
    // SAFETY: the batch is there, and all that is written lies in it.
    unsafe { judge_by(&call, memory, |error| library(&call, at, error)).err() }
}

fn right(call: &Call, _: *mut Batch, error: *mut dpo_error) -> dpo_status {
    // SAFETY: the call is over a batch that is there.
    unsafe { call.make(error) }
}

/// A library that does something else after the right thing.
macro_rules! but {
    (|$batch:ident, $error:ident| $change:expr) => {
        |call, batch, error| {
            let status = right(call, batch, error);
            // SAFETY: both are there, and nobody else has them.
            let ($batch, $error) = unsafe { (&mut *batch, &mut *error) };
            $change;
            let _ = (&$batch, &$error);
            status
        }
    };
}

fn nothing(_: &mut Batch, _: &mut dpo_pairs) {}

fn wrong_pair(batch: &mut Batch, _: &mut dpo_pairs) {
    batch.pairs[1] = dpo_pair::new(2, 9);
}

fn not_finite(batch: &mut Batch, _: &mut dpo_pairs) {
    batch.reference[3] = f64::NAN;
}

fn unreadable(_: &mut Batch, pairs: &mut dpo_pairs) {
    pairs.pairs = ptr::null();
}

fn wrong_divisor(_: &mut Batch, pairs: &mut dpo_pairs) {
    pairs.divisor = -2.0;
}

/// What is wrong, the batch, and the library that answers wrongly.
type Fault = (&'static str, fn(&mut Batch, &mut dpo_pairs), Library);

#[test]
fn wrong_answers_are_rejected() {
    for spoil in [nothing, wrong_pair, not_finite, unreadable, wrong_divisor] {
        assert_eq!(objection(spoil, right), None, "what is right");
    }
    let faults: [Fault; 20] = [
        ("a refusal of what is right", nothing, |_, _, error| {
            // SAFETY: the report is there.
            unsafe { error.write(dpo_error { status: 12, ..dpo_error::default() }) };
            12
        }),
        ("nothing done", nothing, |_, _, error| {
            // SAFETY: as above.
            unsafe { error.write(dpo_error::default()) };
            0
        }),
        ("nothing done, on what is refused", wrong_pair, |_, _, error| {
            // SAFETY: as above.
            unsafe { error.write(dpo_error::default()) };
            0
        }),
        ("another status than is reported", nothing, |call, batch, error| {
            right(call, batch, error);
            1
        }),
        ("no report", nothing, |call, batch, _| right(call, batch, ptr::null_mut())),
        ("a number more", nothing, but!(|batch, error| error.numbers[3] = 1)),
        ("another known status", wrong_pair, |call, batch, error| {
            right(call, batch, error);
            // SAFETY: as above.
            unsafe { (*error).status = DPO_ERROR_PAIR_OF_ONE_SEQUENCE };
            DPO_ERROR_PAIR_OF_ONE_SEQUENCE
        }),
        ("numbers changed places", wrong_pair, but!(|batch, error| error.numbers.swap(0, 1))),
        ("another subject", unreadable, but!(|batch, error| error.subject = DPO_BUFFER_LOGITS)),
        ("another parameter", wrong_divisor, but!(|batch, error| error.subject = 1)),
        ("no value", wrong_divisor, but!(|batch, error| error.value = 0.0)),
        ("one pair less", not_finite, but!(|batch, error| error.numbers[0] = 0)),
        (
            "a loss, an ulp off",
            nothing,
            but!(|batch, error| {
                batch.losses[1].loss = batch.losses[1].loss.next_up();
            }),
        ),
        (
            "the other reward",
            nothing,
            but!(|batch, error| {
                let loss = &mut batch.losses[0];
                std::mem::swap(&mut loss.reward_chosen, &mut loss.reward_rejected);
            }),
        ),
        ("gradients changed places", nothing, but!(|batch, error| batch.d.swap(2, 3))),
        ("a pair less in the sums", nothing, but!(|batch, error| batch.summary.pairs -= 1)),
        ("sums on an error", not_finite, but!(|batch, error| batch.summary.pairs = 1)),
        ("losses on a refusal", wrong_pair, but!(|batch, error| batch.losses[0].loss = 1.0)),
        ("an input that is written", nothing, but!(|batch, error| batch.weights[0] = 0.25)),
        ("memory of nobody", nothing, but!(|batch, error| batch.nobody = 1)),
    ];
    let passed: Vec<&str> = faults
        .iter()
        .filter(|(_, spoil, library)| objection(*spoil, *library).is_none())
        .map(|(name, ..)| *name)
        .collect();
    assert!(passed.is_empty(), "these passed: {passed:?}");
}

/// Arguments of one type that changed places, in a library that makes another call.
#[test]
fn arguments_that_change_places_are_found() {
    let faults: [(&str, Library); 5] = [
        ("weights for offsets", other::<0>),
        ("no weights", other::<1>),
        ("no offsets", other::<2>),
        ("another divisor", other::<3>),
        ("one pair", other::<4>),
    ];
    for (name, library) in faults {
        assert!(objection(nothing, library).is_some(), "{name} passed");
    }
}

/// A library that makes the call with one argument changed.
fn other<const FAULT: usize>(call: &Call, _: *mut Batch, error: *mut dpo_error) -> dpo_status {
    let Call::PreferenceLoss(objective, pairs, policy, out) = *call else { return -1 };
    // SAFETY: the struct is there.
    let mut pairs = unsafe { pairs.read() };
    match FAULT {
        0 => std::mem::swap(&mut pairs.weights, &mut pairs.offsets),
        1 => pairs.weights = ptr::null(),
        2 => pairs.offsets = ptr::null(),
        3 => pairs.divisor = 2.0,
        _ => pairs.count = 1,
    }
    let call = Call::PreferenceLoss(objective, &raw const pairs, policy, out);
    // SAFETY: over the same batch.
    unsafe { call.make(error) }
}
