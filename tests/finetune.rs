//! The main example from the inside: its reader, its command line, its backward pass, and a small
//! run.

#![allow(clippy::indexing_slicing, clippy::expect_used, reason = "a test may fail by panicking")]
#![allow(clippy::cast_precision_loss, reason = "test sizes are small")]

#[path = "../examples/finetune/main.rs"]
#[allow(dead_code, reason = "the test leaves `main` and the defaults to the example itself")]
mod finetune;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use dpo_kernel::loss::LossName;
use dpo_kernel::{Dispatch, SequenceLogProb};

use finetune::args::{self, Options, Request};
use finetune::jsonl::{self, Pair, Problem};
use finetune::linear::Adapter;
use finetune::model::{Model, Shape, VOCAB};
use finetune::objective::{Found, Objective};
use finetune::random::Random;
use finetune::text::{ANSWER_LIMIT, Examples, PROMPT_LIMIT};
use finetune::train::{self, Phase, Recipe, Scoreboard};

const LINE: &str = r#"{"prompt":"p","chosen":"c","rejected":"r"}"#;

fn pair(prompt: &str, chosen: &str, rejected: &str) -> Pair {
    Pair { prompt: prompt.into(), chosen: chosen.into(), rejected: rejected.into() }
}

#[test]
fn reader_accepts_every_harmless_form() {
    let one = vec![pair("p", "c", "r")];
    for text in [
        LINE.to_owned(),
        format!("{LINE}\n"),
        format!("\u{feff}{LINE}\r\n"),
        format!("  {LINE}\t\n\n \r\n\n"),
        LINE.replace('}', r#","score":[1,{"x":null}]}"#),
    ] {
        assert_eq!(jsonl::parse("f", text.as_bytes()), Ok(one.clone()), "for {text:?}");
    }
    let two = jsonl::parse("f", format!("{LINE}\r\n{LINE}").as_bytes()).expect("two lines");
    assert_eq!(two.len(), 2, "two lines are two pairs");
    let escaped = r#"{"prompt":"","chosen":"\u00e9\n","rejected":"é"}"#;
    let escaped = jsonl::parse("f", escaped.as_bytes());
    assert_eq!(escaped, Ok(vec![pair("", "é\n", "é")]), "escapes, and an empty prompt is a prompt");
}

#[test]
fn reader_names_the_line_and_the_problem() {
    let bad_utf8 = [LINE.as_bytes(), b"\n{\"prompt\":\"", &[0xff]].concat();
    let lone_surrogate = LINE.replace("\"c\"", r#""\ud800""#);
    let cases: Vec<(&[u8], &str)> = vec![
        (b"", "f: the file has no preference pairs"),
        (b"\xef\xbb\xbf \r\n\n", "f: the file has no preference pairs"),
        (b"hello", "f:1: not JSON: expected value at column 1"),
        (b"{\"prompt\":", "f:1: not JSON: EOF while parsing a value at column 10"),
        (b"[1]", "f:1: a JSON value, but not an object"),
        (b"{}", "f:1: the field `prompt` is missing"),
        (br#"{"prompt":"p","rejected":"r"}"#, "f:1: the field `chosen` is missing"),
        (br#"{"prompt":"p","chosen":"c"}"#, "f:1: the field `rejected` is missing"),
        (br#"{"prompt":3,"chosen":"c","rejected":"r"}"#, "f:1: the field `prompt` is not a string"),
        (
            br#"{"prompt":"p","chosen":null,"rejected":"r"}"#,
            "f:1: the field `chosen` is not a string",
        ),
        (
            br#"{"prompt":"p","chosen":"","rejected":"r"}"#,
            "f:1: `chosen` is empty: there is nothing to score",
        ),
        (
            br#"{"prompt":"p","chosen":"c","rejected":""}"#,
            "f:1: `rejected` is empty: there is nothing to score",
        ),
        (
            br#"{"prompt":"p","chosen":"c","rejected":"c"}"#,
            "f:1: `chosen` and `rejected` are identical: such a pair prefers nothing",
        ),
        (&bad_utf8, "f:2: byte 12 of the line is not UTF-8"),
    ];
    for (bytes, message) in cases {
        let error = jsonl::parse("f", bytes).expect_err("a fault must be found");
        assert_eq!(error.to_string(), message, "for {:?}", String::from_utf8_lossy(bytes));
    }
    let middle = jsonl::parse("f", format!("{LINE}\n\n{LINE}\n").as_bytes());
    let middle = middle.expect_err("a hole in the data");
    assert_eq!((middle.line, middle.problem), (Some(2), Problem::BlankLine), "a blank line inside");
    for text in [lone_surrogate, format!("{LINE}{LINE}"), "[".repeat(100_000)] {
        let error = jsonl::parse("f", text.as_bytes()).expect_err("a fault must be found");
        assert!(matches!(error.problem, Problem::NotJson(_)), "{error}");
    }
}

#[test]
fn built_in_pairs_are_sound_and_each_has_its_own_prompt() {
    let bytes = include_bytes!("../examples/finetune/pairs.jsonl");
    let pairs = jsonl::parse("pairs.jsonl", bytes).expect("the built-in pairs");
    let examples = Examples::new(&pairs, &mut Random(1));
    assert_eq!((examples.cut, examples.dropped), (0, 0), "they fit");
    assert_eq!(examples.train.len() + examples.held_out.len(), pairs.len(), "all are used");
    let prompts: std::collections::HashSet<_> = pairs.iter().map(|pair| &pair.prompt).collect();
    assert_eq!(prompts.len(), pairs.len(), "one pair a prompt");
}

#[test]
fn cutting_keeps_the_end_of_prompts_and_never_makes_answers_equal() {
    let long = "x".repeat(ANSWER_LIMIT);
    let prompt = "q".repeat(PROMPT_LIMIT) + "end";
    let pairs = [
        pair(&prompt, "yes", "no"),
        pair("p", &(long.clone() + "good"), &(long.clone() + "bad")),
        pair("p", &(long.clone() + "good"), &long),
    ];
    let examples = Examples::new(&pairs, &mut Random(1));
    assert_eq!((examples.cut, examples.dropped), (3, 1), "three cut, one of them without effect");
    let all: Vec<_> = examples.train.iter().chain(&examples.held_out).collect();
    assert_eq!(all.len(), 2, "the others stay; the third still differs by its end mark");
    assert!(all.iter().all(|pair| pair.chosen != pair.rejected), "answers differ");
    let opening = all.iter().map(|pair| pair.chosen.opening()).find(|opening| opening.len() > 2);
    let opening = opening.expect("the long prompt");
    assert_eq!(opening.len(), PROMPT_LIMIT + 1, "prompt and mark");
    assert!(opening[..PROMPT_LIMIT].ends_with(b"end"), "the end of the prompt counts");
}

#[test]
fn pairs_with_the_same_prompt_are_on_the_same_side() {
    let pairs: Vec<Pair> =
        (0..40).map(|n| pair(&format!("p{}", n % 8), &format!("c{n}"), "r")).collect();
    for seed in 0..5 {
        let examples = Examples::new(&pairs, &mut Random(seed));
        let held_out =
            |opening| examples.held_out.iter().any(|pair| pair.chosen.opening() == opening);
        assert_eq!(examples.held_out.len(), 10, "two of eight prompts");
        assert!(
            !examples.train.iter().any(|pair| held_out(pair.chosen.opening())),
            "a held-out prompt was trained on"
        );
    }
}

fn request(words: &[&str]) -> Result<Request, String> {
    args::parse(words.iter().map(OsString::from))
}

#[test]
fn command_line_is_read_or_refused() {
    let all = "--data d --loss ipo --beta 0.5 --steps 7 --seed 9 --out o";
    let options = Options {
        data: Some(PathBuf::from("d")),
        loss: Some(LossName::Ipo),
        beta: Some(0.5),
        steps: Some(7),
        seed: 9,
        out: PathBuf::from("o"),
    };
    let all: Vec<&str> = all.split(' ').collect();
    assert_eq!(request(&all), Ok(Request::Run(options)), "every option with a value");
    assert_eq!(request(&[]), Ok(Request::Run(Options::default())), "none");
    let compare = Options { loss: None, out: "docs/losses.svg".into(), ..Options::default() };
    assert_eq!(request(&["--compare"]), Ok(Request::Run(compare.clone())), "all losses");
    let elsewhere = Options { out: "o".into(), ..compare };
    assert_eq!(request(&["--out", "o", "--compare"]), Ok(Request::Run(elsewhere)), "elsewhere");
    assert_eq!(request(&["--seed", "3", "--help"]), Ok(Request::Help), "help wins");
    for words in [
        &["--bata", "1"][..],
        &["file.jsonl"],
        &["--data"],
        &["--beta", "0"],
        &["--beta", "-1"],
        &["--beta", "nan"],
        &["--beta", "inf"],
        &["--beta", "much"],
        &["--loss"],
        &["--compare", "--loss", "ipo"],
        &["--beta", "1", "--compare"],
        &["--steps", "0"],
        &["--steps", "1.5"],
        &["--steps", "99999999999999999999"],
        &["--seed", "-1"],
    ] {
        assert!(request(words).is_err(), "{words:?} must be refused");
    }
}

#[test]
fn losses_go_by_their_names() {
    for name in LossName::ALL {
        let found = request(&["--loss", name.name()]);
        let options = Options { loss: Some(name), ..Options::default() };
        assert_eq!(found, Ok(Request::Run(options)), "{name:?}");
    }
    for unknown in ["dpop", "Sigmoid", "", "sigmoid "] {
        let error = request(&["--loss", unknown]).expect_err("no such loss");
        assert!(error.ends_with(&format!(", not `{unknown}`")), "{error}");
        assert!(LossName::ALL.iter().all(|name| error.contains(name.name())), "{error}");
    }
    // What a loss has no use for is refused before any work.
    let options = Options { loss: Some(LossName::Orpo), beta: Some(0.1), ..Options::default() };
    let mut out = Vec::new();
    let error = finetune::run(&options, &Recipe::default(), &mut out).expect_err("a beta");
    assert!(error.to_string().contains("beta") && out.is_empty(), "{error}");
}

/// A weighted sum of some rows' logits, so that its gradient by the logits is the weights
/// themselves.
fn probe(model: &Model, adapter: Adapter, coefficients: &[f32]) -> (f64, Vec<f32>) {
    let tokens = b"finite differences";
    let rows = 5..tokens.len() - 1;
    let mut logits = vec![0.0; rows.len() * VOCAB];
    let tape = model.forward(tokens, rows, adapter, &mut logits);
    let count = match adapter {
        Adapter::Off => model.weights.base.len(),
        Adapter::On => model.weights.adapter.len(),
    };
    let mut grads = vec![0.0; count];
    model.backward(&tape, coefficients, &mut grads);
    let terms = logits.iter().zip(coefficients).map(|(x, c)| f64::from(*x) * f64::from(*c));
    (terms.sum(), grads)
}

fn weights(model: &mut Model, adapter: Adapter) -> &mut Vec<f32> {
    match adapter {
        Adapter::Off => &mut model.weights.base,
        Adapter::On => &mut model.weights.adapter,
    }
}

/// The worst disagreement between the backward pass and central differences, over directions that
/// each change one stretch of the weights, relative to the greatest slope.
fn gradient_error(adapter: Adapter, fault: f64) -> f64 {
    const STEP: f32 = 4e-3;
    let mut random = Random(5);
    let mut model = Model::new(Shape { width: 8, hidden: 16, blocks: 2 }, &mut random);
    model.weights.adapter.iter_mut().for_each(|weight| *weight = 0.3 * random.normal());
    let coefficients: Vec<f32> = (0..12 * VOCAB).map(|_| 0.1 * random.normal()).collect();
    let grads = probe(&model, adapter, &coefficients).1;
    let (mut worst, mut greatest) = (0.0f64, 0.0f64);
    for start in (0..grads.len()).step_by(128) {
        let stretch = start..(start + 128).min(grads.len());
        let direction: Vec<f32> = stretch.clone().map(|_| random.normal()).collect();
        let at = |sign: f32| {
            let mut moved = model.clone();
            let moving = &mut weights(&mut moved, adapter)[stretch.clone()];
            moving.iter_mut().zip(&direction).for_each(|(weight, d)| *weight += sign * STEP * d);
            probe(&moved, adapter, &coefficients).0
        };
        let numeric = (at(1.0) - at(-1.0)) / (2.0 * f64::from(STEP));
        let slopes = grads[stretch].iter().zip(&direction);
        let slope: f64 = slopes.map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        worst = worst.max((slope * fault - numeric).abs());
        greatest = greatest.max(numeric.abs());
    }
    worst / greatest
}

#[test]
fn backward_agrees_with_finite_differences() {
    for adapter in [Adapter::Off, Adapter::On] {
        let error = gradient_error(adapter, 1.0);
        assert!(error < 2e-3, "{adapter:?}: relative error {error}");
        let planted = gradient_error(adapter, 1.01);
        assert!(planted > 5e-3, "{adapter:?}: a fault of 1 % went unseen: {planted}");
    }
}

#[test]
fn a_fresh_adapter_changes_no_bit() {
    let model = Model::new(Shape { width: 16, hidden: 32, blocks: 2 }, &mut Random(2));
    let tokens = b"the same weights, twice";
    let mut logits = [vec![0.0; 4 * VOCAB], vec![0.0; 4 * VOCAB]];
    for (adapter, logits) in [Adapter::Off, Adapter::On].into_iter().zip(&mut logits) {
        model.forward(tokens, 3..7, adapter, logits);
    }
    assert_eq!(logits[0], logits[1], "policy and reference differ at step 0");
}

const SMALL: Phase = Phase { passes: 2, batch: 4, rate: 1e-2 };
const SMALL_RECIPE: Recipe = Recipe {
    shape: Shape { width: 8, hidden: 16, blocks: 1 },
    pretraining: SMALL,
    supervised: SMALL,
    preference: SMALL,
};

/// A run small enough for the dev profile; returns what it printed and drew.
fn small_run(name: &str, loss: Option<LossName>, steps: usize) -> (String, String) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (data, picture) =
        (folder.join(format!("{name}.jsonl")), folder.join(format!("{name}.svg")));
    let lines = (0..10).map(|n| LINE.replace("\"p\"", &format!("\"p{n}\"")) + "\n");
    fs::write(&data, lines.collect::<String>()).expect("a scratch file");
    let (data, out) = (Some(data), picture.clone());
    let options = Options { data, loss, steps: Some(steps), out, ..Options::default() };
    let mut out = Vec::new();
    finetune::run(&options, &SMALL_RECIPE, &mut out).expect("a run");
    let printed = String::from_utf8(out).expect("text");
    (printed, fs::read_to_string(picture).expect("the picture"))
}

fn small_dpo_run(name: &str) -> (String, String) {
    small_run(name, Some(LossName::Sigmoid), 20)
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

/// Log-probs of three pairs, no two differences alike, and so far from each loss's kinks that a step
/// of finite differences does not cross one.
fn log_probs() -> [Vec<SequenceLogProb>; 2] {
    let sequences = |sums: [f64; 6]| -> Vec<SequenceLogProb> {
        let counts = [10, 12, 7, 9, 15, 8];
        sums.into_iter().zip(counts).map(|(sum, count)| SequenceLogProb { sum, count }).collect()
    };
    [
        sequences([-20.5, -25.25, -16.0, -14.5, -31.25, -17.25]),
        sequences([-21.0, -24.5, -15.25, -15.0, -33.0, -17.0]),
    ]
}

/// What an objective finds after it has seen a batch, and others' answers.
fn primed(name: LossName) -> Objective {
    let [policy, reference] = log_probs();
    let mut objective = Objective::new(name, None).expect("defaults");
    objective.observe_mismatched(&policy, &reference).expect("log-probs");
    objective.observe(&policy, &reference).expect("log-probs");
    objective
}

/// The worst disagreement between an objective's gradients and central differences of its loss,
/// relative to the largest of them.
fn slope_error(name: LossName, fault: impl Fn(&mut Found)) -> f64 {
    const STEP: f64 = 1e-4;
    let ([policy, reference], objective) = (log_probs(), primed(name));
    let mut found = objective.evaluate(&policy, &reference).expect("finite log-probs");
    fault(&mut found);
    let d_nll = found.d_nll.unwrap_or_else(|| vec![0.0; policy.len()]);
    let (mut worst, mut largest) = (0.0f64, 0.0f64);
    for (i, (d, d_nll)) in found.d_log_probs.iter().zip(d_nll).enumerate() {
        let at = |shift: f64| {
            let mut moved = policy.clone();
            moved[i].sum += shift;
            objective.evaluate(&moved, &reference).expect("finite log-probs").loss
        };
        let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        worst = worst.max((d + d_nll - slope).abs());
        largest = largest.max(slope.abs());
    }
    worst / largest
}

#[test]
fn every_objective_has_the_gradient_of_its_loss() {
    for name in LossName::ALL {
        let error = slope_error(name, |_| {});
        assert!(error < 1e-6, "{name:?}: {error:e}");
        let planted = slope_error(name, |found| {
            found.d_log_probs.iter_mut().for_each(|d| *d *= 1.001);
            found.d_nll.iter_mut().flatten().for_each(|d| *d *= 1.001);
        });
        assert!(planted > 5e-4, "{name:?}: a fault of a thousandth went unseen: {planted:e}");
    }
}

/// δ of BCO and K of KTO are those of what has been seen, and tell in the loss; others look at nothing.
#[test]
fn statistics_are_gathered_for_those_that_need_them() {
    let [policy, reference] = log_probs();
    for name in LossName::ALL {
        let loss =
            |objective: &Objective| objective.evaluate(&policy, &reference).expect("loss").loss;
        let fresh = Objective::new(name, None).expect("defaults");
        let moved = loss(&primed(name)).to_bits() != loss(&fresh).to_bits();
        assert_eq!(moved, matches!(name, LossName::Bco | LossName::Kto), "{name:?}");
        assert_eq!(fresh.wants_mismatched(), name == LossName::Kto, "{name:?}");
    }
}

#[test]
fn every_loss_takes_steps_and_lowers_itself() {
    let lines = (0..10).map(|n| pair(&format!("p{n}"), "good", "bad")).collect::<Vec<_>>();
    let examples = Examples::new(&lines, &mut Random(1));
    let (dispatch, mut random) = (Dispatch::detect(), Random(7));
    let reference = Model::new(SMALL_RECIPE.shape, &mut random);
    let board = Scoreboard::new(&reference, dispatch, &examples.train).expect("a scoreboard");
    for name in LossName::ALL {
        let objective = Objective::new(name, None).expect("defaults");
        let mut model = reference.clone();
        let before = board.evaluate(&model, dispatch, &objective).expect("a score");
        assert!(before.is_reference, "{name:?}: a fresh adapter");
        let (mut steps, mut last) = (0, None);
        let report = |step, _: &Model, objective: &Objective, batch: f64| {
            assert!(batch.is_finite(), "{name:?}: batch loss {batch} at step {step}");
            (steps, last) = (step, Some(*objective));
            Ok(())
        };
        let (plan, order) = ((&SMALL, 12), &mut Random(3));
        train::preference(&mut model, (dispatch, objective), plan, &board, order, report)
            .expect("training");
        assert_eq!(steps, 12, "{name:?}");
        let last = last.expect("an objective");
        let after = board.evaluate(&model, dispatch, &last).expect("a score");
        let (first, now) = (before.found.loss, after.found.loss);
        assert!(now < first - 1e-3 * first.abs(), "{name:?}: {first} became {now}");
        let gap = after.yardstick.log_ratios.mean_margin();
        assert!(gap > 0.05, "{name:?}: the gap is {gap} nats");
    }
}

#[test]
fn a_comparison_is_one_table_and_one_picture() {
    let (printed, picture) = small_run("finetune-compare", None, 3);
    for name in LossName::ALL.map(LossName::name) {
        let rows = printed.lines().filter(|line| line.split(' ').next() == Some(name));
        assert_eq!(rows.count(), 1, "{name} in {printed}");
        assert_eq!(picture.matches(&format!(">{name}<")).count(), 1, "{name} in the picture");
    }
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
    assert!(!picture.contains("NaN") && !picture.contains("inf<"), "{picture}");
    let (_, again) = small_run("finetune-compare-again", None, 3);
    assert_eq!(picture, again, "the seed decides");
}
