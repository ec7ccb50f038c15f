//! The program: a whole run, one that is killed and goes on, and what it refuses.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "counts of tests are small"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const STEPS: usize = 40;

fn files(name: &str) -> (PathBuf, PathBuf) {
    let (_, _, model) = common::model(name, 11);
    let folder = model.parent().unwrap().to_path_buf();
    (folder, model)
}

fn command(model: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smollm2"));
    command.arg("--model").arg(model).arg("--out").arg(out);
    command.args(["--batch", "3", "--micro-batch", "2", "--lr", "0.01", "--sample-tokens", "4"]);
    command.args(["--steps", &STEPS.to_string()]).args(more);
    command
}

fn finish(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn refusal(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap().lines().next().unwrap().to_owned()
}

/// What a dump says, without times.
fn records(path: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(path).unwrap();
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        for key in ["seconds", "loss_seconds"] {
            assert!(record[key].as_f64().unwrap() > 0.0);
            record[key] = Value::Null;
        }
        record
    };
    lines.lines().map(record).collect()
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let (folder, model) = files("killed");
    let (whole, parts) = (folder.join("whole"), folder.join("parts"));
    let dump = |name: &str| folder.join(name);
    let dump_to = |path: &Path| path.to_str().unwrap().to_owned();
    let text = finish(command(&model, &whole, &["--dump", &dump_to(&dump("whole.json"))]));
    assert!(text.contains("result: steps=40 "), "{text}");

    for (kills, after) in [1, 9].into_iter().enumerate() {
        let more: &[&str] = if kills == 0 { &[] } else { &["--resume"] };
        let mut child = command(&model, &parts, more).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let steps = lines.map_while(Result::ok).filter(|line| line.starts_with("step "));
        let reported = steps.take(after).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // No step that was reported is lost.
        let number: usize = reported[5..9].trim().parse().unwrap();
        let state = fs::read(parts.join("state.safetensors")).unwrap();
        let state = String::from_utf8_lossy(&state);
        assert!(state.contains(&format!("\"step\":{number},")), "step {number}");
    }
    let more = ["--resume", "--dump", &dump_to(&dump("parts.json"))];
    let text = finish(command(&model, &parts, &more));
    assert!(text.contains("resumed after step "), "{text}");
    assert!(!text.contains("step    1/40"), "{text}");
    for name in ["adapter_model.safetensors", "adapter_config.json", "curve.svg"] {
        assert_eq!(
            fs::read(whole.join(name)).unwrap(),
            fs::read(parts.join(name)).unwrap(),
            "{name}"
        );
    }
    let (whole, parts) = (records(&dump("whole.json")), records(&dump("parts.json")));
    assert_eq!(whole.len(), STEPS);
    assert_eq!(whole, parts);
    // Policy and reference are one model at first, and the loss falls.
    assert_eq!(whole[0]["loss"].as_f64().unwrap().to_bits(), std::f64::consts::LN_2.to_bits());
    assert!(whole[STEPS - 1]["loss"].as_f64().unwrap() < 0.6);
}

#[test]
fn a_finished_run_has_nothing_left_to_do() {
    let (folder, model) = files("finished");
    let out = folder.join("out");
    finish(command(&model, &out, &[]));
    let before = fs::read(out.join("adapter_model.safetensors")).unwrap();
    let text = finish(command(&model, &out, &["--resume"]));
    assert!(!text.contains("\nstep "), "{text}");
    assert_eq!(fs::read(out.join("adapter_model.safetensors")).unwrap(), before);
}

#[test]
fn another_run_is_not_gone_on_with() {
    let (folder, model) = files("other");
    let out = folder.join("out");
    let why = refusal(command(&model, &out, &["--resume"]));
    assert!(why.ends_with("state.safetensors: No such file or directory (os error 2)"), "{why}");
    finish(command(&model, &out, &[]));
    for (option, value, was) in [
        ("--beta", "0.2", "`beta` was 0.1 when it was written, and is 0.2"),
        ("--rank", "4", "`rank` was 8 when it was written, and is 4"),
        ("--hold-out", "9", "`data` was "),
        ("--order", "file", "`order` was \"shuffled\" when it was written, and is \"file\""),
    ] {
        let why = refusal(command(&model, &out, &["--resume", option, value]));
        assert!(why.contains(was), "{why}");
    }
    let state = out.join("state.safetensors");
    let bytes = fs::read(&state).unwrap();
    fs::write(&state, &bytes[..bytes.len() - 5]).unwrap();
    let why = refusal(command(&model, &out, &["--resume"]));
    assert!(why.contains("state.safetensors: "), "{why}");
}

#[test]
fn a_state_is_not_replaced_by_another_run() {
    let (folder, model) = files("replaced");
    let out = folder.join("out");
    finish(command(&model, &out, &["--steps", "3"]));
    let state = out.join("state.safetensors");
    let before = fs::read(&state).unwrap();
    let why = refusal(command(&model, &out, &["--steps", "3"]));
    assert!(
        why.ends_with(
            "state.safetensors: there is a state of 3 steps: --resume goes on with it, another --out \
             leaves it as it is"
        ),
        "{why}"
    );
    assert_eq!(fs::read(&state).unwrap(), before);
    // Its head, which may have 100 MB at most, does not grow with the steps.
    let head = |state: &[u8]| u64::from_le_bytes(*state.first_chunk().unwrap());
    let more = folder.join("more");
    finish(command(&model, &more, &["--steps", "23"]));
    let more = fs::read(more.join("state.safetensors")).unwrap();
    assert!(head(&more) < head(&before) + 64, "{} {}", head(&before), head(&more));
    fs::write(&state, "broken").unwrap();
    let why = refusal(command(&model, &out, &["--steps", "3"]));
    assert!(why.contains("there is a state that is broken: "), "{why}");
}

/// What is told is in the state: where none can be written, nothing is told.
#[test]
fn a_step_is_told_after_its_state_was_written() {
    let (folder, model) = files("told");
    let out = folder.join("out");
    fs::create_dir_all(out.join("state.safetensors.part")).unwrap();
    let Output { status, stdout, stderr } = command(&model, &out, &[]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(!status.success());
    assert!(stderr.contains("state.safetensors: "), "{stderr}");
    assert!(stdout.contains("reference: "), "{stdout}");
    assert!(!stdout.contains("\nstep "), "{stdout}");
}

/// A prompt that nearly fills the model, and a sample longer than what is left.
#[test]
fn a_sample_ends_where_the_model_does() {
    let (folder, model) = files("sample");
    let (out, data) = (folder.join("out"), folder.join("pairs.jsonl"));
    let prompt = "z".repeat(120);
    let pair = format!("{{\"prompt\": \"{prompt}\", \"chosen\": \"b\", \"rejected\": \"c\"}}\n");
    fs::write(&data, pair.repeat(4)).unwrap();
    let more = ["--data", data.to_str().unwrap(), "--hold-out", "4", "--sample-tokens", "300"];
    let text = finish(command(&model, &out, &[&more[..], &["--steps", "2"]].concat()));
    assert!(text.contains("sample, after"), "{text}");
    assert!(out.join("adapter_model.safetensors").exists());
}

#[test]
fn where_no_pair_is_held_out_samples_are_of_those_to_train_on() {
    let (folder, model) = files("none-held-out");
    let text = finish(command(&model, &folder.join("out"), &["--hold-out", "0", "--steps", "1"]));
    assert_eq!(text.matches("sample, ").count(), 4, "{text}");
}

#[test]
fn the_first_adapter_is_written_by_a_resumed_run_too() {
    let (folder, model) = files("init");
    let (out, first, again) = (folder.join("out"), folder.join("first"), folder.join("again"));
    for (init, resume) in [(&first, &[][..]), (&again, &["--resume"])] {
        let more = [&["--steps", "2", "--save-init", init.to_str().unwrap()], resume].concat();
        finish(command(&model, &out, &more));
    }
    let name = "adapter_model.safetensors";
    assert_eq!(fs::read(first.join(name)).unwrap(), fs::read(again.join(name)).unwrap());
    assert_ne!(fs::read(first.join(name)).unwrap(), fs::read(out.join(name)).unwrap());
}

#[test]
fn files_that_are_broken_are_named() {
    let (folder, model) = files("broken");
    let bytes = fs::read(&model).unwrap();
    let cut = folder.join("cut.gguf");
    let out = folder.join("out");
    for len in [0, 3, 100, bytes.len() / 2, bytes.len() - 64] {
        fs::write(&cut, &bytes[..len]).unwrap();
        let why = refusal(command(&cut, &out, &[]));
        assert!(why.contains("cut.gguf: "), "{len}: {why}");
    }
    let data = folder.join("pairs.jsonl");
    fs::write(
        &data,
        "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n{\"prompt\": 1}\n",
    )
    .unwrap();
    let why = refusal(command(&model, &out, &["--data", data.to_str().unwrap()]));
    assert!(why.contains("pairs.jsonl:2: "), "{why}");
    fs::write(&data, "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \" b\"}\n").unwrap();
    let why = refusal(command(&model, &out, &["--data", data.to_str().unwrap()]));
    assert!(
        why.ends_with(
            "no pair is left to train on: 0 held out, 1 equal or empty, 0 above 192 tokens"
        ),
        "{why}"
    );
}

#[test]
fn an_order_by_the_file_is_that_of_the_dumped_tokens() {
    let (folder, model) = files("order");
    let (tokens, dump, init) = (folder.join("t.json"), folder.join("s.json"), folder.join("init"));
    let more =
        ["--order", "file", "--schedule", "constant", "--dump-tokens", tokens.to_str().unwrap()];
    let more =
        [&more[..], &["--dump", dump.to_str().unwrap(), "--save-init", init.to_str().unwrap()]]
            .concat();
    finish(command(&model, &folder.join("out"), &more));
    let tokens = fs::read_to_string(&tokens).unwrap();
    let lengths: Vec<usize> = (tokens.lines())
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let count = |key: &str| line[key].as_array().unwrap().len();
            2 * count("prompt") + count("chosen") + count("rejected")
        })
        .collect();
    for (step, record) in records(&dump).iter().enumerate() {
        let pairs = (3 * step..3 * step + 3).map(|pair| lengths[pair % lengths.len()]);
        assert_eq!(record["tokens"].as_u64().unwrap() as usize, pairs.sum::<usize>());
        assert_eq!(record["lr"].as_f64(), Some(0.01));
        assert_eq!(record["chosen"].as_array().unwrap().len(), 3);
    }
    // The adapter before the first step adds nothing.
    let (found, _) = smollm2::file::read(&init.join("adapter_model.safetensors")).unwrap();
    assert!(
        found
            .iter()
            .filter(|one| one.name.contains("lora_B"))
            .all(|b| b.data.iter().all(|x| *x == 0.0))
    );
    assert!(
        found
            .iter()
            .filter(|one| one.name.contains("lora_A"))
            .all(|a| a.data.iter().any(|x| *x != 0.0))
    );
}

#[test]
fn micro_batches_change_only_the_rounding() {
    let (folder, model) = files("micro-batches");
    let run = |micro_batch: &str| {
        let dump = folder.join(format!("{micro_batch}.json"));
        let more = ["--steps", "6", "--micro-batch", micro_batch, "--dump", dump.to_str().unwrap()];
        finish(command(&model, &folder.join(micro_batch), &more));
        records(&dump)
    };
    for (whole, parts) in run("3").iter().zip(run("1")) {
        for key in ["loss", "grad_norm"] {
            let (whole, parts) = (whole[key].as_f64().unwrap(), parts[key].as_f64().unwrap());
            // Measured 5e-7; AdamW divides by what may be small, so that there is no bound by formula. A
            // mean over each micro-batch in the place of the batch's would be off by a third.
            assert!((whole / parts - 1.0).abs() < 1e-5, "{key}: {whole} {parts}");
        }
    }
}
