//! Every figure that a run prints and draws, on pairs of which it is right about some.

use std::fs;
use std::path::PathBuf;

use dpo_kernel::loss::LossName;

use crate::finetune;
use crate::finetune::args::Options;
use crate::finetune::linear::Adapter;
use crate::finetune::text::Example;
use crate::head::held;
use crate::picture::{Panel, panels};
use crate::training::batches;
use crate::twin::{Look, RECIPE, Twin, lines, milestones, same_text};

const SEED: u64 = 3;

/// What a run prints, and its picture.
fn run(name: &str, options: &Options) -> (Vec<String>, String) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (data, picture) =
        (folder.join(format!("{name}.jsonl")), folder.join(format!("{name}.svg")));
    fs::write(&data, lines()).expect("a scratch file");
    let options = Options { data: Some(data), out: picture.clone(), seed: SEED, ..options.clone() };
    let mut out = Vec::new();
    finetune::run(&options, &RECIPE, &mut out).expect("a run");
    let printed = String::from_utf8(out).expect("text");
    let picture = fs::read_to_string(picture).expect("the picture");
    (printed.lines().map(str::to_owned).collect(), picture)
}

/// Step, training pairs, held-out pairs.
type Evaluation = (usize, Look, Look);

/// (step, loss) of every batch before its step, and the evaluations at the milestones.
fn expected_of_dpo(twin: &Twin, steps: usize) -> (Vec<(f64, f64)>, Vec<Evaluation>) {
    let look = |step: usize, model: &finetune::model::Model| {
        let [train, held_out] =
            [&twin.examples.train, &twin.examples.held_out].map(|pairs| twin.look(model, pairs));
        (step, train, held_out)
    };
    let (mut batches, mut evaluations) = (Vec::new(), vec![look(0, &twin.reference)]);
    let marks = milestones(steps, 12);
    twin.preference(LossName::Sigmoid, steps, |step, model, _, loss| {
        batches.push(((step - 1) as f64, loss));
        if marks.contains(&step) {
            evaluations.push(look(step, model));
        }
    });
    (batches, evaluations)
}

fn figures((_, train, held_out): &Evaluation, digits: usize, gap: &str) -> String {
    [
        format!("loss={:.digits$}", train.dpo()),
        format!("margin={:.digits$}", 0.1 * train.gap()),
        format!("train_accuracy={:.digits$}", train.accuracy()),
        format!("heldout_accuracy={:.digits$}", held_out.accuracy()),
    ]
    .join(gap)
}

#[test]
fn a_run_of_dpo_prints_and_draws_what_it_found() {
    let (found, picture) = run("finetune-figures", &Options::default());
    let twin = Twin::new(&lines(), SEED);
    let (train, held_out) = (twin.examples.train.len(), twin.examples.held_out.len());
    // Four passes by five.
    let steps = 4 * train.div_ceil(5);
    let (batches, evaluations) = expected_of_dpo(&twin, steps);
    let (_, last, last_held_out) = evaluations.last().expect("the end");
    let (right, right_held_out) = (last.accuracy(), last_held_out.accuracy());
    assert!((right - right_held_out).abs() > 0.05, "the sides differ: {right} {right_held_out}");
    assert!((0.05..0.95).contains(&right), "some are right: {right}");
    assert!((0.05..0.95).contains(&right_held_out), "some are right: {right_held_out}");

    let mut expected = vec![
        format!(
            "data: {}: {train} pairs to train on, {held_out} held out",
            found[0].split(": ").nth(1).expect("a name")
        ),
        format!(
            "model: {} base weights, {} adapter weights",
            twin.reference.weights.base.len(),
            twin.reference.weights.adapter.len()
        ),
    ];
    for (name, told) in ["pretrain", "supervise"].into_iter().zip(&twin.phases) {
        for step in milestones(told.len(), 4) {
            let (_, steps, loss) = told[step - 1];
            expected.push(format!("{name:<9} step {step:>4}/{steps}  {loss:.3} nats a byte"));
        }
    }
    expected
        .push("dpo       step    0: policy = reference, every pair's loss is ln 2 exactly".into());
    let progress = evaluations[1..].iter().map(|evaluation| {
        format!("dpo       step {:>4}/{steps}  {}", evaluation.0, figures(evaluation, 3, "  "))
    });
    expected.extend(progress);
    expected.push(memory(&twin, steps));
    expected.push(found[found.len() - 2].clone());
    expected.push(format!("result: {}", figures(evaluations.last().expect("the end"), 4, " ")));
    let is_sample = |line: &&String| line.starts_with("sample, ") || line.starts_with("  ");
    let told: Vec<String> = found.iter().filter(|line| !is_sample(line)).cloned().collect();
    assert_eq!(told.len(), expected.len(), "{found:#?}\n{expected:#?}");
    for (found, expected) in told.iter().zip(&expected) {
        assert_eq!(found.len(), expected.len(), "columns of {found:?} and {expected:?}");
        same_text(found, expected, 1.01e-3);
    }
    samples_show_both_sides(&found, &twin, &evaluations);
    let end = &found[found.len() - 2];
    assert!(end.starts_with("curves in ") && end.ends_with(" s in all"), "{end}");
    assert!(end.contains("finetune-figures.svg; "), "{end}");

    let subtitle = format!(">β = 0.1, {train} training pairs, {held_out} held out, seed {SEED}<");
    assert!(picture.contains(&subtitle), "{subtitle} in {picture}");
    let [loss, rewards, accuracy] = <[Panel; 3]>::try_from(panels(&picture)).expect("three panels");
    assert_eq!(loss.title, "DPO loss");
    let (level, name) = loss.level.as_ref().expect("a level");
    assert!((level - std::f64::consts::LN_2).abs() < 0.2 * loss.pixel.1, "{level} is ln 2");
    assert_eq!(name, "ln 2");
    let curve = |value: &dyn Fn(&Evaluation) -> f64| -> Vec<(f64, f64)> {
        evaluations.iter().map(|evaluation| (evaluation.0 as f64, value(evaluation))).collect()
    };
    loss.goes_through("training pairs", &curve(&|e| e.1.dpo()));
    loss.goes_through("held-out pairs", &curve(&|e| e.2.dpo()));
    loss.goes_through("batch", &batches);
    rewards.goes_through("chosen", &curve(&|e| e.1.each(|a, _| 0.1 * a)));
    rewards.goes_through("rejected", &curve(&|e| e.1.each(|_, b| 0.1 * b)));
    rewards.goes_through("margin", &curve(&|e| 0.1 * e.1.gap()));
    rewards.goes_through("margin, held-out", &curve(&|e| 0.1 * e.2.gap()));
    assert_eq!(rewards.title, "Implicit reward β · log(π / π_ref)");
    assert!(rewards.level.as_ref().expect("a level").0.abs() < 0.2 * rewards.pixel.1, "at 0");
    // At step 0 every pair is a tie, and no accuracy is drawn.
    accuracy.goes_through("training pairs", &curve(&|e| e.1.accuracy())[1..]);
    accuracy.goes_through("held-out pairs", &curve(&|e| e.2.accuracy())[1..]);
    assert_eq!(accuracy.title, "Accuracy: pairs with a positive margin");
    let (level, name) = accuracy.level.as_ref().expect("a level");
    assert!((level - 0.5).abs() < 0.2 * accuracy.pixel.1 && name == "chance", "{level} {name}");
    let labels: Vec<usize> = [&loss, &rewards, &accuracy].map(|panel| panel.curves.len()).into();
    assert_eq!(labels, [3, 4, 2], "and no other curve");
}

/// The line of the largest batch of preferences.
fn memory(twin: &Twin, steps: usize) -> String {
    let (train, mut random) = (&twin.examples.train, twin.random.clone());
    let rows = |pair: &usize| {
        let Example { chosen, rejected } = &train[*pair];
        chosen.answer_rows().len() + rejected.answer_rows().len()
    };
    let order = batches(train.len(), 5, steps, &mut random);
    let sizes: Vec<usize> = order.iter().map(|pairs| pairs.iter().map(rows).sum()).collect();
    let largest = *sizes.iter().max().expect("a batch");
    assert!(
        sizes[0] != largest && sizes[steps - 1] != largest,
        "neither first nor last: {sizes:?}"
    );
    // Of 1,024 bytes, as of a row's logits.
    let held = held(largest, RECIPE.shape.width, Adapter::On).div_ceil(1024);
    format!(
        "head: {held} KiB of hidden gradients and scratch, not {largest} KiB of logits and gradients \
         in place; {largest} rows at most"
    )
}

/// The first pair of either side, with its rewards: 0 before, βa and βb after.
fn samples_show_both_sides(found: &[String], twin: &Twin, evaluations: &[Evaluation]) {
    let heads: Vec<usize> =
        (0..found.len()).filter(|&line| found[line].starts_with("sample, ")).collect();
    let titles: Vec<&str> = heads.iter().map(|&line| &found[line][8..]).collect();
    assert_eq!(
        titles,
        ["before (trained on)", "before (held out)", "after (trained on)", "after (held out)"]
    );
    for (index, &line) in heads.iter().enumerate() {
        let side = [&twin.examples.train, &twin.examples.held_out][index % 2];
        let (_, train, held_out) =
            if index < 2 { &evaluations[0] } else { evaluations.last().expect("the end") };
        let [a, b] = [train, held_out][index % 2].ratios[0].map(|ratio| 0.1 * ratio);
        let opening = side[0].chosen.opening();
        let prompt = std::str::from_utf8(&opening[..opening.len() - 1]).expect("text");
        assert_eq!(found[line + 1], format!("  prompt:  {prompt}"));
        assert!(found[line + 2].starts_with("  answer:  "), "{}", found[line + 2]);
        let rewards = format!("  rewards: {a:+.2} for the chosen answer, {b:+.2} for the rejected");
        same_text(&found[line + 3], &rewards, 0.0101);
        assert!(found[line + 3].contains(['+', '-']), "rewards have signs");
    }
}

/// Another loss goes by its name; nothing is said of ln 2.
#[test]
fn a_run_of_another_loss_is_named_after_it() {
    let options = Options { loss: Some(LossName::Ipo), steps: Some(5), ..Options::default() };
    let (found, picture) = run("finetune-figures-ipo", &options);
    let fresh = "ipo       step    0: policy = reference, every log-prob to the bit";
    assert!(found.iter().any(|line| line == fresh), "{found:#?}");
    let steps: Vec<&str> = found
        .iter()
        .filter_map(|line| line.strip_prefix("ipo       step    "))
        .filter_map(|rest| rest.split_once('/'))
        .map(|(step, _)| step)
        .collect();
    assert_eq!(steps, ["1", "2", "3", "4", "5"], "each of five steps is told");
    assert!(picture.contains(">β = 2, "), "its own β");
    let [loss, ..] = <[Panel; 3]>::try_from(panels(&picture)).expect("three panels");
    assert_eq!((loss.title.as_str(), loss.level), ("Loss: ipo", None));
}

/// Every option has its effect: another seed, β, number of steps make another result.
#[test]
fn options_have_their_effect() {
    let result = |name: &str, options: &Options| run(name, options).0.pop().expect("a result");
    let few = Options { steps: Some(4), ..Options::default() };
    let first = result("finetune-option", &few);
    let changes = [
        ("beta", Options { beta: Some(0.5), ..few.clone() }),
        ("steps", Options { steps: Some(5), ..few.clone() }),
        ("loss", Options { loss: Some(LossName::Hinge), ..few.clone() }),
    ];
    for (what, options) in changes {
        assert_ne!(result(&format!("finetune-option-{what}"), &options), first, "{what}");
    }
    assert_eq!(result("finetune-option-same", &few), first, "nothing changed");
}
