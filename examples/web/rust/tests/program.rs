//! What the program refuses, by name.
#![allow(clippy::unwrap_used, reason = "a test fails where something is missing")]

use std::process::Command;

fn refused(arguments: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_dpo-kernel-web")).args(arguments).output().unwrap();
    assert!(!run.status.success() && run.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(run.stderr).unwrap()
}

#[test]
fn files_and_options_are_named() {
    for (arguments, words) in [
        (["--base", "nowhere.bin"], "nowhere.bin: "),
        (["--beta", "a"], "--beta is \"a\": "),
        (["--steps", "-1"], "--steps is \"-1\": "),
        (["--every", "0"], "--every is \"0\": "),
        (["--seed", ""], "--seed is \"\": "),
        (["--rate", "-1"], "the learning rate is -1"),
    ] {
        let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../page/base.bin");
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../page/pairs.jsonl");
        let found = refused(&[&["run", "--base", base, "--data", data], &arguments[..]].concat());
        assert!(found.contains(words), "{arguments:?}: {found}");
    }
    assert!(refused(&["read", "nowhere.jsonl"]).contains("nowhere.jsonl: "));
}
