//! What the program refuses, and in which words.

use std::fs;

use serde_json::{Value, json};

use super::{Folders, host, run};

fn refused(arguments: &[&str]) -> String {
    let (status, out, err) = run(arguments);
    assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}: {err}");
    err
}

#[test]
fn command_lines() {
    for (arguments, words) in [
        (&[][..], "kit: usage: kit write|check ...; --help says more\n"),
        (&["read"], "kit: there is no command `read`: write, check; --help says more\n"),
        (&["write"], "kit: write takes one folder: kit write CASES\n"),
        (&["write", "a", "b"], "kit: write takes one folder: kit write CASES\n"),
        (&["check", "a"], "kit: check takes two folders: kit check CASES ANSWERS\n"),
        (&["check", "a", "b", "c"], "kit: check takes two folders: kit check CASES ANSWERS\n"),
        (&["write", "a", "--json", "b"], "kit: write has no option `--json`: --help lists them\n"),
        (
            &["check", "a", "b", "--seed", "1"],
            "kit: check has no option `--seed`: --help lists them\n",
        ),
        (&["write", "a", "--dtype"], "kit: --dtype needs a value\n"),
        (
            &["write", "a", "--dtype", "f64"],
            "kit: --dtype takes one of f32, f16, bf16, not `f64`\n",
        ),
        (
            &["write", "a", "--seed", "-1"],
            "kit: --seed takes a number from 0 to 2^64 - 1, not `-1`\n",
        ),
    ] {
        assert_eq!(refused(arguments), words);
    }
    let (status, out, err) = run(&["--help"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.starts_with("usage: kit write CASES"), "{out}");
}

/// Answers of a right host, one field changed; what is said of them, without the folder.
#[test]
fn answers_that_cannot_be_used() {
    let folders = Folders::new("refusals");
    let (cases, answers) = (folders.path("cases"), folders.path("answers"));
    assert_eq!(run(&["write", &cases]).0, 0);
    host::answer(cases.as_ref(), answers.as_ref(), None);
    let path = format!("{answers}/answers.json");
    let right: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (pointer, value, words) in [
        ("/offers/0", json!("logits"), "offers[0]: none of log_prob, log_z, entropy, argmax"),
        ("/offers/1", json!("log_prob"), "offers[1]: log_prob is offered twice"),
        (
            "/digest",
            json!("0123456789abcdef"),
            "digest: answers to the cases 0123456789abcdef, where",
        ),
        ("/digest", json!(7), "digest: "),
        ("/offers", Value::Null, "the manifest: the field offers is missing"),
        ("/types/grads", json!("f16"), "types.grads: gradients have the cases' type, f32"),
        ("/types/argmax", json!("f32"), "types.argmax: argmax alone is u32"),
        ("/types/log_z", json!("f8"), "types.log_z: `f8` is none of f64, f32, f16, bf16"),
        ("/unscored", json!("one"), "unscored: `one` is none of untouched, zero"),
        ("/precision/arithmetic", json!("tf32"), "precision.arithmetic: `tf32` is none of f64"),
        ("/precision/difference", json!("half"), "precision.difference: `half` is none of whole"),
        ("/precision/target", json!("out"), "precision.target: `out` is none of in_sum, apart"),
        ("/precision", json!({"output": "f32"}), "precision: the field arithmetic is missing"),
        (
            "/precision",
            json!({"arithmetic": "f32", "output": "f32", "log_absolute": 1e40}),
            "precision: log_absolute is 1e40, where 0 to 0.015625 are taken",
        ),
        ("/precision", json!({"bits": 3}), "precision: unknown field bits"),
        ("/errors", json!([]), "errors: a list where an object is needed"),
        ("/errors", json!({"rows-9999": "?"}), "errors: there is no case rows-9999"),
        ("/skipped", json!({"head-3": "?"}), "skipped: there is no case head-3"),
        (
            "/errors",
            json!({"head-0003": "?"}),
            "errors: head-0003 is skipped, so that it cannot fail",
        ),
    ] {
        let mut wrong = right.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        fs::write(&path, wrong.to_string()).unwrap();
        let said = refused(&["check", &cases, &answers]);
        let words = format!("kit: {answers}/answers.json: {words}");
        assert!(said.starts_with(&words), "{pointer}: {said}");
    }
    fs::write(&path, "{\"backend\": NaN}").unwrap();
    let said = refused(&["check", &cases, &answers]);
    assert!(said.contains("answers.json: line 1, column 13: `NaN` is not JSON"), "{said}");
    fs::remove_file(&path).unwrap();
    assert!(refused(&["check", &cases, &answers]).contains("answers.json: "));

    // A file that is missing or short is the failure of its call.
    fs::write(&path, right.to_string()).unwrap();
    fs::remove_file(format!("{answers}/rows-0000.log_z")).unwrap();
    fs::write(format!("{answers}/pairs-0000.out"), [0; 12]).unwrap();
    let (status, report, _) = run(&["check", &cases, &answers]);
    assert_eq!(status, 1);
    assert!(report.contains("rows-0000.log_z: "), "{report}");
    assert!(report.contains("pairs-0000.out: 12 bytes where "), "{report}");
}

#[test]
fn manifests_that_cannot_be_used() {
    let folders = Folders::new("manifests");
    let cases = folders.path("cases");
    assert_eq!(run(&["write", &cases, "--full", "--seed", "18446744073709551615"]).0, 0);
    let path = format!("{cases}/manifest.json");
    let right: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!((&right["seed"], &right["size"]), (&json!(u64::MAX), &json!("full")));
    // As it is, the cases are those of its size and seed: only the answers are missing.
    assert!(refused(&["check", &cases, &cases]).contains("answers.json: "));
    for (pointer, value, words) in [
        ("/format", json!("kit 2"), "format: `kit 2` where dpo-kernel-kit 1 is needed"),
        ("/dtype", json!("f64"), "dtype: none of f32, f16, bf16"),
        ("/size", json!("huge"), "size: `huge` is none of small, full"),
        ("/seed", json!(-1), "seed: -1 where a count is needed"),
        ("/digest", json!("0"), "digest: 0 where this version's cases have"),
        ("/seed", json!(2), "digest: "),
    ] {
        let mut wrong = right.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        fs::write(&path, wrong.to_string()).unwrap();
        let said = refused(&["check", &cases, &cases]);
        assert!(said.starts_with(&format!("kit: {path}: {words}")), "{pointer}: {said}");
    }
}
