//! Every field of a manifest: that it counts, and what is said where it is missing or wrong, whole.

use std::ffi::OsString;

use dpo_kernel::{Arithmetic, Dispatch, Level};
use serde_json::{Value, json};

use crate::replay;
use crate::synthetic::Dump;
use crate::{edited, run};

/// The whole message of a manifest that is refused.
#[track_caller]
fn refused(name: &str, edit: impl FnOnce(&mut Value), message: &str) {
    let dump = edited(&format!("field-{name}"), edit);
    let path = dump.write();
    let (status, out) = run(&dump, &[]);
    assert_eq!((status, out), (1, format!("replay: {path}: {message}\n")), "{name}");
}

/// What is done to a manifest.
type Edit = fn(&mut Value);

fn remove(value: &mut Value, name: &str) {
    value.as_object_mut().unwrap().remove(name).unwrap_or_else(|| panic!("{name} is there"));
}

#[test]
fn what_is_missing_is_named() {
    for name in ["rows", "vocab", "targets", "spans", "beta", "file", "dtype"] {
        let message = format!("the manifest: the field {name} is missing");
        refused(&format!("no-{name}"), |m| remove(m, name), &message);
        refused(&format!("null-{name}"), |m| m[name] = Value::Null, &message);
    }
    for name in ["start", "end", "pair", "role"] {
        let message = format!("spans[2]: the field {name} is missing");
        refused(&format!("no-span-{name}"), |m| remove(&mut m["spans"][2], name), &message);
    }
    let either = "the manifest: either reference_token_logps or reference_sequence_logps is needed";
    refused("no-reference", |m| remove(m, "reference_token_logps"), either);
    refused("two-references", |m| m["reference_sequence_logps"] = json!([0, 0, 0, 0]), either);
}

#[test]
fn what_is_unknown_is_named_with_what_is_known() {
    let known = "source, file, dtype, rows, vocab, stride, transform, targets, ignore_index, spans, beta, \
                 label_smoothing, reference_token_logps, reference_sequence_logps, expected, tolerances";
    let message = format!("the manifest: unknown field Beta; known are {known}");
    refused("unknown", |m| m["Beta"] = json!(1), &message);
    let message = "spans[1]: unknown field kind; known are start, end, pair, role";
    refused("unknown-span", |m| m["spans"][1]["kind"] = json!(1), message);
    let message = "transform: unknown field cap; known are scale, softcap, temperature";
    refused("unknown-transform", |m| m["transform"]["cap"] = json!(1), message);
    let message = "expected: unknown field losses; known are policy_token_logps, policy_sequence_logps, \
                   reference_sequence_logps, pair_losses, loss, grad_l1, grad_l2, grad_entries";
    refused("unknown-expected", |m| m["expected"]["losses"] = json!(1), message);
    let message = "tolerances: unknown field token; known are token_log_prob, token_log_prob_typical, \
                   sequence_log_prob, loss, grad_norm_relative, grad_entry_relative";
    refused("unknown-tolerance", |m| m["tolerances"] = json!({"token": 1}), message);
}

#[test]
fn what_is_wrong_is_named_with_its_numbers() {
    let one = "each pair from 0 on needs one chosen and one rejected sequence";
    let cases: [(&str, Edit, String); 22] = [
        ("dtype", |m| m["dtype"] = json!("f64"), "dtype: none of f32, f16, bf16".into()),
        ("no-dtype", |m| m["dtype"] = json!(" "), "dtype: none of f32, f16, bf16".into()),
        (
            "role",
            |m| m["spans"][1]["role"] = json!("best"),
            "spans[1].role: neither chosen nor rejected".into(),
        ),
        (
            "twice",
            |m| m["spans"][1]["role"] = json!("chosen"),
            "spans[1].pair: the pair has this role already".into(),
        ),
        ("alone", |m| drop(m["spans"].as_array_mut().unwrap().pop()), format!("spans: {one}")),
        (
            "gap",
            |m| (m["spans"][2]["pair"], m["spans"][3]["pair"]) = (json!(2), json!(2)),
            format!("spans: {one}"),
        ),
        ("mixed", |m| m["spans"][3]["pair"] = json!(2), format!("spans: {one}")),
        ("none", |m| m["spans"] = json!([]), format!("spans: {one}")),
        (
            "targets",
            |m| drop(m["targets"].as_array_mut().unwrap().pop()),
            "targets: 8 entries where 9 are needed".into(),
        ),
        (
            "reference",
            |m| drop(m["reference_token_logps"].as_array_mut().unwrap().pop()),
            "reference_token_logps: 8 entries where 9 are needed".into(),
        ),
        (
            "tokens",
            |m| m["expected"]["policy_token_logps"] = json!([]),
            "expected.policy_token_logps: 0 entries where 9 are needed".into(),
        ),
        (
            "sequences",
            |m| m["expected"]["policy_sequence_logps"] = json!([1]),
            "expected.policy_sequence_logps: 1 entries where 4 are needed".into(),
        ),
        (
            "references",
            |m| m["expected"]["reference_sequence_logps"] = json!([1]),
            "expected.reference_sequence_logps: 1 entries where 4 are needed".into(),
        ),
        (
            "losses",
            |m| m["expected"]["pair_losses"] = json!([1, 2, 3]),
            "expected.pair_losses: 3 entries where 2 are needed".into(),
        ),
        (
            "entry",
            |m| m["expected"]["grad_entries"][1] = json!([0, 1]),
            "expected.grad_entries[1]: 2 entries where 3 are needed".into(),
        ),
        (
            "entry-row",
            |m| m["expected"]["grad_entries"][1] = json!([9, 0, 0.0]),
            "expected.grad_entries[1]: outside of 9 rows of 37".into(),
        ),
        (
            "entry-column",
            |m| m["expected"]["grad_entries"][0] = json!([0, 37, 0.0]),
            "expected.grad_entries[0]: outside of 9 rows of 37".into(),
        ),
        ("beta", |m| m["beta"] = json!(-2), "beta: beta is -2 but must be finite and > 0".into()),
        (
            "smoothing",
            |m| m["label_smoothing"] = json!(0.75),
            format!(
                "label_smoothing: {}",
                dpo_kernel::Dpo::new(1.0).unwrap().with_label_smoothing(0.75).unwrap_err()
            ),
        ),
        (
            "softcap",
            |m| m["transform"]["softcap"] = json!(-3),
            format!("transform: {}", dpo_kernel::Transform::new(1.0, Some(-3.0), 1.0).unwrap_err()),
        ),
        (
            "ignore",
            |m| m["ignore_index"] = json!("x"),
            "ignore_index: a string where a token id, a whole number of 32 bits, is needed".into(),
        ),
        ("source", |m| m["source"] = json!(3), "source: 3 where a string is needed".into()),
    ];
    for (name, edit, message) in cases {
        refused(name, edit, &message);
    }
}

/// What the crate refuses is told with the manifest and the dispatch.
#[test]
fn what_the_crate_refuses_is_told_with_its_place() {
    for (name, edit, part) in [
        (
            "stride",
            (|m| m["vocab"] = json!(41)) as fn(&mut Value),
            "the row stride 40 is smaller than the vocabulary 41",
        ),
        ("overlap", |m| m["spans"][1]["start"] = json!(1), "spans 0 and 1 overlap"),
    ] {
        let dump = edited(&format!("crate-{name}"), edit);
        let path = dump.write();
        let (status, out) = run(&dump, &["--level", "baseline", "--arithmetic", "portable"]);
        assert_eq!(status, 1, "{out}");
        let last = out.lines().last().unwrap();
        let start = format!("replay: {path}: baseline portable: ");
        assert!(last.starts_with(&start) && last.contains(part), "{start}…{part} in {last}");
    }
}

/// Every optional field changes what is found: left out, figures no longer fit.
#[test]
fn every_field_counts() {
    let cases: [(&str, Edit); 8] = [
        ("transform", |m| remove(m, "transform")),
        ("scale", |m| remove(&mut m["transform"], "scale")),
        ("softcap", |m| remove(&mut m["transform"], "softcap")),
        ("temperature", |m| remove(&mut m["transform"], "temperature")),
        ("smoothing", |m| remove(m, "label_smoothing")),
        ("beta", |m| m["beta"] = json!(0.5)),
        ("reference", |m| m["reference_token_logps"][0] = json!(-9.5)),
        ("swapped", |m| {
            (m["spans"][0]["role"], m["spans"][1]["role"]) = (json!("rejected"), json!("chosen"));
        }),
    ];
    for (name, edit) in cases {
        let (status, out) = run(&edited(&format!("counts-{name}"), edit), &[]);
        assert_eq!(status, 1, "{name}: {out}");
        assert!(out.contains("OUT OF TOLERANCE"), "{name} is no refusal: {out}");
    }
    // Without a stride rows are as long as the vocabulary, and the file is too long.
    let dump = edited("counts-stride", |m| remove(m, "stride"));
    let (status, out) = run(&dump, &[]);
    let message = "logits.bf16: 720 bytes where 9 rows of 37 in bf16 are needed\n";
    assert!(status == 1 && out.ends_with(message), "{out}");
    // What figures come from is shown, if it is said.
    let dump = edited("counts-source", |m| remove(m, "source"));
    let (status, out) = run(&dump, &["--level", "baseline"]);
    let head: Vec<&str> = out.lines().skip(1).take(2).collect();
    assert_eq!((status, head), (0, vec!["9 rows of 37 in bf16, 4 sequences, 2 pairs", ""]));
}

/// Pairs go by their numbers, in whatever order their spans stand.
#[test]
fn pairs_go_by_their_numbers() {
    let dump = edited("numbers", |m| {
        for span in m["spans"].as_array_mut().unwrap() {
            span["pair"] = json!(1 - span["pair"].as_u64().unwrap());
        }
        let losses = m["expected"]["pair_losses"].as_array_mut().unwrap();
        losses.swap(0, 1);
    });
    let (status, out) = run(&dump, &[]);
    assert_eq!(status, 0, "{out}");
}

/// The dispatches of each choice, and none that is not chosen.
#[test]
fn each_choice_runs_its_dispatches() {
    let dump = Dump::new("choices", "f16");
    let all: Vec<Dispatch> = Dispatch::available().collect();
    let name = |dispatch: &Dispatch| {
        format!("{:?} {:?}", dispatch.level(), dispatch.arithmetic()).to_lowercase()
    };
    let levels = [("baseline", Level::Baseline), ("avx2", Level::Avx2), ("avx512", Level::Avx512)];
    let arithmetics = [("fused", Arithmetic::Fused), ("portable", Arithmetic::Portable)];
    let is = |dispatch: &Dispatch, level: &str, arithmetic: &str| {
        let level = levels.iter().find(|(name, _)| *name == level);
        let arithmetic = arithmetics.iter().find(|(name, _)| *name == arithmetic);
        level.is_none_or(|(_, level)| *level == dispatch.level())
            && arithmetic.is_none_or(|(_, arithmetic)| *arithmetic == dispatch.arithmetic())
    };
    for level in ["baseline", "avx2", "avx512", "all"] {
        for arithmetic in ["fused", "portable", "all"] {
            let (status, out) = run(&dump, &["--level", level, "--arithmetic", arithmetic]);
            let chosen: Vec<String> =
                all.iter().filter(|d| is(d, level, arithmetic)).map(name).collect();
            let ran: Vec<&str> = (out.lines())
                .filter_map(|line| line.strip_prefix("replay: ")?.split(": ").next())
                .collect();
            let by_name = levels.iter().find(|(name, _)| *name == level);
            if let (true, Some((_, level))) = (chosen.is_empty(), by_name) {
                let arithmetic =
                    if arithmetic == "fused" { Arithmetic::Fused } else { Arithmetic::Portable };
                let why = Dispatch::new(*level, arithmetic).unwrap_err();
                assert_eq!(
                    (status, out),
                    (1, format!("replay: {why}\n")),
                    "{level:?} {arithmetic:?}"
                );
            } else {
                assert_eq!(
                    (status, ran),
                    (0, chosen.iter().map(String::as_str).collect()),
                    "{out}"
                );
            }
        }
    }
}

/// One fault is enough: the status is that of all dispatches together.
#[test]
fn the_command_line_and_its_status() {
    let start = |words: &[&str]| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = replay::run(words.iter().map(OsString::from), &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status, text(out), text(err))
    };
    let usage = format!("{}\n", replay::args::USAGE);
    assert_eq!(start(&["-h"]), (0, usage.clone(), String::new()), "in short");
    assert_eq!(start(&["x.json", "--help"]), (0, usage, String::new()), "help wins");
    let (status, out, err) = start(&["no/such.json"]);
    assert_eq!((status, out.as_str()), (1, ""), "nothing to show");
    assert!(err.starts_with("replay: no/such.json: ") && err.ends_with('\n'), "{err}");
    let needs = |option: &str| (2, String::new(), format!("replay: {option} needs a value\n"));
    assert_eq!(start(&["x.json", "--level"]), needs("--level"));
    assert_eq!(start(&["x.json", "--arithmetic"]), needs("--arithmetic"));
    let wrong = edited("status", |m| m["expected"]["loss"] = json!(7));
    let (status, out) = run(&wrong, &[]);
    let verdicts = out.matches(": 1 OUT OF TOLERANCE\n").count();
    assert_eq!((status, verdicts), (1, Dispatch::available().count()), "{out}");
}

/// `main` itself, on the arguments of a child process: those of its test runner, which are none of
/// the program's.
#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "an emulated process cannot start another")]
fn main_reads_the_arguments_of_its_process() {
    const CHILD: &str = "DPO_KERNEL_REPLAY_MAIN";
    let name = "fields::main_reads_the_arguments_of_its_process";
    if std::env::var_os(CHILD).is_some() {
        let status = format!("{:?}", replay::main());
        assert_eq!(status, format!("{:?}", std::process::ExitCode::from(2)));
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let child = child.args(["--exact", name]).env(CHILD, "").output().unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(said.contains("replay: there is no option `--exact`: --help lists them\n"), "{said}");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}
