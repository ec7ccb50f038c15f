//! Small runs of the whole example, and what the program prints.

use std::fs;
use std::path::PathBuf;

use dpo_kernel::loss::LossName;

use crate::finetune;
use crate::finetune::args::Options;
use crate::finetune::train::Recipe;
use crate::{LINE, SMALL_RECIPE};

/// A run small enough for the dev profile; returns what it printed and drew.
fn small_run(name: &str, lines: &str, loss: Option<LossName>, steps: usize) -> (String, String) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (data, picture) =
        (folder.join(format!("{name}.jsonl")), folder.join(format!("{name}.svg")));
    fs::write(&data, lines).expect("a scratch file");
    let (data, out) = (Some(data), picture.clone());
    let options = Options { data, loss, steps: Some(steps), out, ..Options::default() };
    let mut out = Vec::new();
    finetune::run(&options, &SMALL_RECIPE, &mut out).expect("a run");
    let printed = String::from_utf8(out).expect("text");
    (printed, fs::read_to_string(picture).expect("the picture"))
}

/// Ten pairs with prompts of their own.
fn ten_pairs() -> String {
    (0..10).map(|n| LINE.replace("\"p\"", &format!("\"p{n}\"")) + "\n").collect()
}

fn small_dpo_run(name: &str) -> (String, String) {
    small_run(name, &ten_pairs(), Some(LossName::Sigmoid), 20)
}

#[test]
fn a_small_run_learns_and_repeats_itself() {
    let (printed, picture) = small_dpo_run("finetune-first");
    assert!(printed.contains("every pair's loss is ln 2 exactly"), "{printed}");
    let last = printed.lines().last().expect("output");
    assert!(last.starts_with("result: loss=0."), "{last}");
    assert!(last.ends_with("train_accuracy=1.0000 heldout_accuracy=1.0000"), "{last}");
    assert_eq!(printed.matches("result:").count(), 1, "one result");
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
    assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    let (again, same_picture) = small_dpo_run("finetune-second");
    assert_eq!(again.lines().last(), Some(last), "the seed decides");
    assert_eq!(picture, same_picture, "the seed decides");
}

#[test]
fn a_run_without_data_to_learn_from_says_so() {
    let mut out = Vec::new();
    let options = Options { data: Some(PathBuf::from("no/such/file")), ..Options::default() };
    let error = finetune::run(&options, &Recipe::default(), &mut out).expect_err("no file");
    assert!(error.to_string().starts_with("no/such/file: "), "{error}");
}

#[test]
fn a_comparison_is_one_table_and_one_picture() {
    let (printed, picture) = small_run("finetune-compare", &ten_pairs(), None, 3);
    for name in LossName::ALL.map(LossName::name) {
        let rows = printed.lines().filter(|line| line.split(' ').next() == Some(name));
        assert_eq!(rows.count(), 1, "{name} in {printed}");
        assert_eq!(picture.matches(&format!(">{name}<")).count(), 1, "{name} in the picture");
    }
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
    assert!(!picture.contains("NaN") && !picture.contains("inf<"), "{picture}");
    let (_, again) = small_run("finetune-compare-again", &ten_pairs(), None, 3);
    assert_eq!(picture, again, "the seed decides");
}

/// What was left out, and why, in a line a reason; and nothing is held out of one prompt, which is
/// no accuracy of 1 or NaN.
#[test]
fn a_run_says_what_became_of_the_pairs() {
    let tail = "q".repeat(300);
    let ticket = |n| LINE.replace("\"p\"", &format!("\"ticket {n}: {tail}\"")) + "\n";
    let mut lines: String = (0..10).map(ticket).collect();
    lines += &(LINE.replace("\"r\"", "\"\"") + "\n").repeat(2);
    lines += &LINE.replace("\"r\"", "\"c\"");
    for loss in [Some(LossName::Sigmoid), None] {
        let (printed, picture) = small_run(&format!("finetune-tickets-{loss:?}"), &lines, loss, 2);
        for line in [
            "10 pairs to train on, 0 held out",
            "data: 10 pairs cut: prompts to their last 254 bytes, answers to their first 256",
            "data: 9 prompts the same as another once cut: their pairs are held out together or not \
             at all",
            "data: 2 pairs left out: an answer is empty",
            "data: 1 pair left out: chosen and rejected answer are equal",
        ] {
            assert_eq!(printed.matches(&format!("{line}\n")).count(), 1, "{line:?} in {printed}");
        }
        assert!(!printed.contains("left out: cut"), "no such reason: {printed}");
        assert!(printed.contains("n/a") && !printed.contains("NaN"), "{printed}");
        assert!(!picture.contains("NaN"), "{picture}");
    }
}

#[test]
fn a_file_of_pairs_that_teach_nothing_is_refused() {
    let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("finetune-nothing.jsonl");
    fs::write(&data, LINE.replace("\"r\"", "\"c\"")).expect("a scratch file");
    let options = Options { data: Some(data), ..Options::default() };
    let mut out = Vec::new();
    let error = finetune::run(&options, &Recipe::default(), &mut out).expect_err("no pair");
    assert!(error.to_string().ends_with(": no pair is left to train on"), "{error}");
    let printed = String::from_utf8(out).expect("text");
    assert!(printed.contains("1 pair left out: chosen and rejected answer are equal"), "{printed}");
}
