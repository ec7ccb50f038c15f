//! The bodies on cases from the strategies, which shrink what fails.

use arbitrary::{Arbitrary, Unstructured};
use dpo_kernel::verify::cases::strategy::{
    Hardness, batches, hostile_layouts, losses, pair_cases, rows,
};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::bodies::{TARGETS, c_abi, gradients, head, layout, loss, row, scalars, step, tokens};
use crate::property::holds;

fn cuts() -> impl Strategy<Value = row::Cut> {
    (rows(1600, Hardness::Adversarial), vec(any::<u16>(), 0..=4))
        .prop_map(|(row, cuts)| row::Cut { row, cuts })
}

#[test]
fn scalars() {
    let argument = || proptest::prop_oneof![-40.0..40.0_f64, any::<f64>(), -1e-9..1e-9_f64];
    let arguments = (argument(), argument()).prop_map(|(a, b)| scalars::Arguments { a, b });
    holds(4096, arguments, scalars::check);
}

#[test]
fn rows_fold() {
    holds(300, cuts(), row::check);
}

#[test]
fn gradients_of_rows() {
    holds(200, cuts(), gradients::check);
}

#[test]
fn tokens_of_batches() {
    holds(200, batches(200, Hardness::Adversarial), tokens::check);
}

#[test]
fn steps() {
    holds(200, batches(100, Hardness::Adversarial), step::check);
}

#[test]
fn losses_of_pairs() {
    let cases = (pair_cases(), losses(Hardness::Adversarial));
    holds(4096, cases.prop_map(|(pair, dpo)| loss::Case::of_dpo(pair, dpo)), loss::check);
}

#[test]
fn layouts() {
    let offset = proptest::prop_oneof![8 => 0..200_u32, 1 => any::<u32>()];
    let rows_each = proptest::prop_oneof![0..20_usize, any::<usize>()];
    let cases = (hostile_layouts(40), vec(offset, 0..=4), rows_each, any::<bool>());
    let cases = cases.prop_map(|(layout, mut offsets, rows_each, sorted)| {
        if sorted {
            offsets.sort_unstable();
        }
        layout::Case { layout, offsets, rows_each }
    });
    holds(2048, cases, layout::check);
}

#[test]
fn heads() {
    holds(150, vec(any::<u8>(), 40..160), |bytes| {
        head::check(&head::Case::arbitrary(&mut Unstructured::new(bytes)).unwrap())
    });
}

/// Any bytes at all, as a fuzzer begins.
#[test]
fn bytes() {
    for &(name, body) in TARGETS {
        let cases = if matches!(name, "scalars" | "loss" | "layout" | "c_abi" | "jsonl") {
            4096
        } else {
            64
        };
        holds(cases, vec(any::<u8>(), 0..200), |bytes| {
            body(bytes);
            Ok(())
        });
    }
}

/// Hostile calls get far: many succeed, and most refusals come up.
#[test]
fn calls_meet_every_kind_of_answer() {
    let mut seen = std::collections::BTreeMap::new();
    let mut runner = TestRunner::deterministic();
    let bytes = vec(any::<u8>(), 100..200);
    for _ in 0..15_000 {
        let bytes = bytes.new_tree(&mut runner).unwrap().current();
        let call = c_abi::Call::arbitrary(&mut Unstructured::new(&bytes)).unwrap();
        *seen.entry(c_abi::status_of(&call).unwrap()).or_insert(0) += 1;
    }
    println!("{seen:?}");
    assert!(seen[&0] > 300 && seen.len() > 20, "{seen:?}");
}
