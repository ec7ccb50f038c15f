//! The `replay` example on manifests of our own: figures of the plain reference pass, planted
//! faults do not.
//!
//! The golden manifest of a real model is not part of the package; these are small, of every
//! storage type, and use what the golden one does not: a stride, a transform, ignored rows, label
//! smoothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_assert_message,
    clippy::similar_names,
    reason = "a test may panic, and indexing a JSON value is how it is edited"
)]

mod fields;
mod figures;
mod refusals;
#[path = "../../examples/replay/main.rs"]
#[allow(dead_code, reason = "its defaults are the example itself")]
mod replay;
mod synthetic;

use std::ffi::OsString;

use serde_json::{Value, json};
use synthetic::Dump;

/// Exit status and output of the program on a manifest.
fn run(dump: &Dump, options: &[&str]) -> (u8, String) {
    let mut out = Vec::new();
    let arguments = [dump.write()].into_iter().chain(options.iter().map(|&x| x.to_owned()));
    let arguments = arguments.map(OsString::from);
    let mut err = Vec::new();
    let status = replay::run(arguments, &mut out, &mut err);
    out.append(&mut err);
    (status, String::from_utf8(out).unwrap())
}

/// Fails unless the program refuses or finds fault with a manifest in the words given.
#[track_caller]
fn faulty(dump: &Dump, words: &[&str]) {
    let (status, out) = run(dump, &[]);
    assert_eq!(status, 1, "a fault is found in {out}");
    for word in words {
        assert!(out.contains(word), "{word:?} is named in {out}");
    }
}

/// A dump whose manifest was changed in one place.
fn edited(name: &str, edit: impl FnOnce(&mut Value)) -> Dump {
    let mut dump = Dump::new(name, "bf16");
    edit(&mut dump.manifest);
    dump
}

#[test]
fn figures_of_the_reference_pass_in_every_type_on_every_dispatch() {
    for dtype in ["f32", "f16", "bf16"] {
        let (status, out) = run(&Dump::new(&format!("pass-{dtype}"), dtype), &[]);
        assert_eq!(status, 0, "{out}");
        let verdicts = out.lines().filter(|line| line.starts_with("replay: "));
        let (mut passed, available) = (0, dpo_kernel::Dispatch::available().count());
        for verdict in verdicts {
            assert!(
                verdict.ends_with(": ok") && verdict.contains("7 tokens, 2 pairs"),
                "{verdict}"
            );
            passed += 1;
        }
        assert_eq!(passed, available, "every dispatch ran");
        for figure in
            ["log π of sequence 3", "log π_ref of sequence 3", "loss of pair 1", "mean loss"]
        {
            assert_eq!(out.matches(figure).count(), available, "{figure} is shown in {out}");
        }
        assert!(out.contains(&format!("gradient L2, {dtype} in place")), "{out}");
        assert!(out.contains("0 of 259 elements are not those in f32, rounded"), "{out}");
    }
}

#[test]
fn a_reference_of_sequences_serves_as_well() {
    let dump = edited("sequences", |manifest| {
        let sums = manifest["expected"]["reference_sequence_logps"].clone();
        manifest["reference_sequence_logps"] = sums;
        manifest.as_object_mut().unwrap().remove("reference_token_logps");
    });
    let (status, out) = run(&dump, &[]);
    assert_eq!(status, 0, "{out}");
}

#[test]
fn every_expected_part_may_be_missing() {
    let names = Dump::new("parts", "f16").manifest["expected"].as_object().unwrap().clone();
    for name in names.keys() {
        let dump = edited(&format!("without-{name}"), |manifest| {
            manifest["expected"].as_object_mut().unwrap().remove(name);
        });
        assert_eq!(run(&dump, &[]).0, 0, "without {name}");
    }
    let dump = edited("nothing-expected", |manifest| {
        manifest.as_object_mut().unwrap().remove("expected");
    });
    assert_eq!(run(&dump, &[]).0, 0, "without any");
}

/// Every expected figure, moved by a little more than its tolerance, is found out.
#[test]
fn wrong_figures_are_found() {
    let tolerances = [
        ("policy_token_logps", 2e-5),
        ("policy_sequence_logps", 2e-5),
        ("reference_sequence_logps", 2e-5),
        ("pair_losses", 2e-6),
        ("loss", 2e-6),
        ("grad_l1", 2e-5),
        ("grad_l2", 2e-5),
        ("grad_entries", 2e-5),
    ];
    for (name, relative) in tolerances {
        let dump = edited(&format!("wrong-{name}"), |manifest| {
            let mut figure = &mut manifest["expected"][name];
            // The first number of a list; of an entry, its value.
            while figure.is_array() {
                figure = if name == "grad_entries" && figure[0].is_number() {
                    &mut figure[2]
                } else {
                    &mut figure[0]
                };
            }
            let value = figure.as_f64().unwrap();
            *figure =
                json!(value + relative * value.abs().max(f64::from(!name.starts_with("grad"))));
        });
        faulty(&dump, &["OUT OF TOLERANCE"]);
    }
}

#[test]
fn tolerances_can_be_set() {
    let dump = edited("strict", |manifest| manifest["tolerances"] = json!({ "loss": 0.0 }));
    faulty(&dump, &["mean loss", "OUT OF TOLERANCE"]);
    let dump = edited("lax", |manifest| {
        manifest["tolerances"] = json!({ "loss": 0.5 });
        manifest["expected"]["loss"] = json!(0.25 + manifest["expected"]["loss"].as_f64().unwrap());
    });
    assert_eq!(run(&dump, &[]).0, 0, "a tolerance of 0.5 lets 0.25 pass");
}

/// A dispatch that is within the tolerances does not make up for one before it.
#[test]
fn every_dispatch_has_to_be_within_the_tolerances() {
    let mut dump = Dump::new("each", "f32");
    let manifest = replay::manifest::Manifest::read(dump.write().as_ref()).unwrap();
    let storage = replay::storage::Storage::read(&manifest).unwrap();
    let grads = |dispatch| replay::pipeline::run(&manifest, &storage, dispatch).unwrap().apart;
    let all: Vec<_> = dpo_kernel::Dispatch::available().collect();
    let (first, last) = (all[0], all[all.len() - 1]);
    dump.manifest["tolerances"] = json!({ "grad_norm_relative": 0.0 });
    dump.manifest["expected"]["grad_l1"] = json!(grads(last).l1);
    dump.manifest["expected"]["grad_l2"] = json!(grads(last).l2);
    let differ = grads(first).l1.to_bits() != grads(last).l1.to_bits();
    assert_eq!(differ, first.arithmetic() != last.arithmetic(), "the control");
    let (status, out) = run(&dump, &[]);
    let lines: Vec<&str> = out.lines().filter(|line| line.contains("replay: ")).collect();
    assert_eq!(lines.len(), all.len(), "{out}");
    let is_out = |line: &str| line.contains("OUT OF TOLERANCE");
    assert_eq!((is_out(lines[0]), is_out(lines[all.len() - 1])), (differ, false), "{out}");
    assert_eq!(status, u8::from(first.arithmetic() != last.arithmetic()), "{out}");
}

#[test]
fn typical_errors_count_apart_from_the_worst() {
    let dump = edited("typical", |manifest| {
        for figure in manifest["expected"]["policy_token_logps"].as_array_mut().unwrap() {
            if let Some(value) = figure.as_f64() {
                *figure = json!(value + 4e-6);
            }
        }
    });
    faulty(&dump, &["worst error 4.", "typical 4."]);
}

#[test]
fn dispatches_can_be_chosen() {
    let dump = Dump::new("chosen", "f32");
    let (status, out) = run(&dump, &["--level", "baseline", "--arithmetic", "portable"]);
    assert_eq!((status, out.matches("replay: ").count()), (0, 1), "{out}");
    assert!(out.contains("replay: baseline portable: "), "{out}");
    for (wrong, message) in [
        (&["--level", "sse"][..], "--level takes one of baseline, avx2, avx512, all, not `sse`"),
        (&["--arithmetic", "x87"], "--arithmetic takes one of fused, portable, all, not `x87`"),
        (&["--arithmetic"], "--arithmetic needs a value"),
        (&["--fast"], "there is no option `--fast`: --help lists them"),
        (&["another.json"], "one manifest at a time, not also `another.json`"),
    ] {
        assert_eq!(run(&dump, wrong), (2, format!("replay: {message}\n")), "{wrong:?}");
    }
    let mut out = Vec::new();
    let help = [OsString::from("--help")].into_iter();
    assert_eq!(replay::run(help, &mut out, &mut Vec::new()), 0, "help is no fault");
    assert!(
        String::from_utf8(out).unwrap().starts_with("usage: replay MANIFEST.json"),
        "it is help"
    );
    let mut err = Vec::new();
    assert_eq!(
        replay::run(std::iter::empty(), &mut Vec::new(), &mut err),
        2,
        "a manifest is needed"
    );
    let err = String::from_utf8(err).unwrap();
    assert_eq!(err, "replay: usage: replay MANIFEST.json; --help says more\n", "in one line");
}
