//! The program from outside.

use std::process::{Command, Output};

use crate::common::device;

fn run(arguments: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_dpo-kernel-wgpu"))
        .args(arguments)
        .output()
        .expect("the program");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.success(), text(stdout), text(stderr))
}

#[test]
fn help_and_refusals() {
    let (is_well, out, _) = run(&["--help"]);
    assert!(is_well && out.contains("--adapter") && out.contains("--steps"), "{out}");
    for (arguments, word) in [
        (&["--steps", "0"][..], "\"0\""),
        (&["--steps"], "--steps needs a value"),
        (&["--seed", "1"], "--seed"),
        (&["--adapter", "no such adapter"], "no such adapter"),
    ] {
        let (is_well, _, error) = run(arguments);
        assert!(!is_well && error.contains(word), "{arguments:?}: {error}");
    }
}

#[test]
fn both_trainers_have_the_same_losses() {
    // Only whether there is a device; the program opens one of its own.
    if device().is_none() {
        return;
    }
    let (is_well, out, error) = run(&["--steps", "3"]);
    assert!(is_well, "{error}");
    let steps: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.first().is_some_and(|word| word.parse::<u32>().is_ok()))
        .collect();
    assert_eq!(steps.len(), 3, "{out}");
    let losses: Vec<f64> = steps.iter().map(|words| words[1].parse().expect("a loss")).collect();
    assert_eq!(steps[0][1], "0.693147181", "ln 2 before the first step");
    assert!(losses[1] < losses[0], "{out}");
    for words in &steps {
        assert_eq!(words[1], words[2], "the losses of step {}", words[0]);
    }
    assert!(out.contains("largest difference: loss 0e0, log-prob 0e0"), "{out}");
}
