//! Sampled answers, from models that spell.

use dpo_kernel::loss::LossName;
use dpo_kernel::{Dispatch, SequenceLogProb};

use crate::finetune::linear::{Adapter, RANK};
use crate::finetune::model::{Model, Shape, VOCAB};
use crate::finetune::objective::{Objective, Yardstick};
use crate::finetune::random::Random;
use crate::finetune::sample;
use crate::finetune::text::{ANSWER, END, Example, Examples};
use crate::finetune::train::{Score, Scoreboard};
use crate::pair;
use crate::plain::TAPS;

const SHAPE: Shape = Shape { width: 8, hidden: 8, blocks: 1 };

/// A model of letters and what may follow them, with its logit: each letter is a channel of the
/// embedding, and everything between it and the head is 0.
fn spelling(rules: &[(u8, &[(u8, f32)])]) -> Model {
    let mut model = Model::new(SHAPE, &mut Random(1));
    let head = model.weights.base.len() - SHAPE.width * VOCAB;
    model.weights.base.fill(0.0);
    model.weights.adapter.fill(0.0);
    for (channel, (letter, followers)) in rules.iter().enumerate() {
        model.weights.base[usize::from(*letter) * SHAPE.width + channel] = 1.0;
        for &(follower, logit) in *followers {
            // The norm makes √8 of the 1.
            let weight =
                &mut model.weights.base[head + usize::from(follower) * SHAPE.width + channel];
            *weight = logit / 8.0_f32.sqrt();
        }
    }
    assert_eq!(head, TAPS * VOCAB * 8 + 8 * 24 + 3 * 64, "the head is the last matrix");
    model
}

/// With the adapter on, this letter follows the one of the first channel.
fn teach(model: &mut Model, letter: u8, logit: f32) {
    let adapter = &mut model.weights.adapter;
    let b = adapter.len() - RANK * VOCAB;
    let a = b - SHAPE.width * RANK;
    adapter[a] = 1.0;
    adapter[b + usize::from(letter) * RANK] = logit / 2.0 / 8.0_f32.sqrt();
}

fn example(prompt: &str) -> Vec<Example> {
    Examples::new(&[pair(prompt, "c", "r")], &mut Random(1)).train
}

/// A score with these log-ratios of the first pair.
fn score(ratios: [f64; 2]) -> Score {
    let of = |sums: [f64; 2]| sums.map(|sum| SequenceLogProb { sum, count: 2 });
    let (policy, reference) = (of([-10.0 + ratios[0], -10.0 + ratios[1]]), of([-10.0; 2]));
    let objective = Objective::new(LossName::Sigmoid, None).expect("defaults");
    Score {
        found: objective.evaluate(&policy, &reference).expect("a loss"),
        yardstick: Yardstick::of(&policy, &reference).expect("a yardstick"),
        is_reference: false,
    }
}

/// What is shown of a model and a prompt.
fn shown(model: &Model, adapter: Adapter, prompt: &str, seed: u64) -> String {
    let examples = example(prompt);
    let board = Scoreboard::new(model, Dispatch::detect(), &examples).expect("a reference");
    let none = Scoreboard::new(model, Dispatch::detect(), &[]).expect("nothing");
    let (found, empty) = (score([3.25, -12.5]), score([0.0; 2]));
    let mut out = Vec::new();
    let boards = [("these", &board, &found), ("nobody", &none, &empty)];
    sample::show("after", (model, adapter), boards, seed, &mut out).expect("shown");
    String::from_utf8(out).expect("text")
}

fn answer(model: &Model, adapter: Adapter, seed: u64) -> String {
    let text = shown(model, adapter, "p", seed);
    let line = text.lines().nth(2).expect("an answer");
    line.strip_prefix("  answer:  ").expect("an answer").to_owned()
}

#[test]
fn an_answer_is_spelt_to_its_end() {
    let rules: [(u8, &[(u8, f32)]); 3] =
        [(ANSWER, &[(b'h', 60.0)]), (b'h', &[(b'i', 60.0)]), (b'i', &[(END, 60.0)])];
    let mut model = spelling(&rules);
    assert_eq!(
        shown(&model, Adapter::Off, "say hi", 1),
        "sample, after (these)\n  prompt:  say hi\n  answer:  hi\n  rewards: +0.33 for the chosen \
         answer, -1.25 for the rejected\n",
        "β = 0.1, and a side without pairs is left out"
    );
    teach(&mut model, b'i', 90.0);
    assert_eq!(answer(&model, Adapter::On, 1), "i", "the adapter says so");
    assert_eq!(answer(&model, Adapter::Off, 1), "hi", "and not the reference");
}

/// The mark before an answer ends it too; white space becomes one line; 160 bytes are the most.
#[test]
fn an_answer_ends_somewhere() {
    let stop = spelling(&[(ANSWER, &[(b'x', 60.0)]), (b'x', &[(ANSWER, 60.0)])]);
    assert_eq!(answer(&stop, Adapter::Off, 1), "x");
    let lines = spelling(&[
        (ANSWER, &[(b'a', 60.0)]),
        (b'a', &[(b'\n', 60.0)]),
        (b'\n', &[(b'b', 60.0)]),
        (b'b', &[(END, 60.0)]),
    ]);
    assert_eq!(answer(&lines, Adapter::Off, 1), "a b");
    let forever = spelling(&[(ANSWER, &[(b'o', 60.0)]), (b'o', &[(b'o', 60.0)])]);
    assert_eq!(answer(&forever, Adapter::Off, 1), "o".repeat(160));
}

/// Shares are those of the softmax at temperature 0.4, drawn by the seed: a is three times as likely
/// as b, and c, which comes first of all bytes, has no share to speak of.
#[test]
fn bytes_are_drawn_by_their_shares() {
    let apart = 0.4 * 3.0_f32.ln();
    let rules: [(u8, &[(u8, f32)]); 3] = [
        (ANSWER, &[(b'a', 60.0), (b'b', 60.0 - apart), (0, 5.0)]),
        (b'a', &[(END, 60.0)]),
        (b'b', &[(END, 60.0)]),
    ];
    let model = spelling(&rules);
    let mut counts = [0; 2];
    for seed in 0..200 {
        let share = f64::from(Random(seed).uniform()) * 4.0;
        // Too near the border to tell in f32.
        if (share - 3.0).abs() < 1e-3 {
            continue;
        }
        let expected = if share < 3.0 { "a" } else { "b" };
        assert_eq!(answer(&model, Adapter::Off, seed), expected, "seed {seed}: {share} of 4");
        counts[usize::from(share >= 3.0)] += 1;
    }
    assert!(counts[0] > 100 && counts[1] > 30, "both occur: {counts:?}");
}

/// The last 90 characters of a prompt, and a mark where something is missing before them.
#[test]
fn long_prompts_are_shown_by_their_ends() {
    let model = spelling(&[(ANSWER, &[(END, 60.0)])]);
    let prompt = |text: &str| {
        let shown = shown(&model, Adapter::Off, text, 1);
        let line = shown.lines().nth(1).expect("a prompt").to_owned();
        line.strip_prefix("  prompt:  ").expect("a prompt").to_owned()
    };
    for (text, expected) in [
        ("é".repeat(90), "é".repeat(90)),
        ("a".to_owned() + &"é".repeat(90), "… ".to_owned() + &"é".repeat(90)),
        ("a ".to_owned() + &"b".repeat(89), "… ".to_owned() + &"b".repeat(89)),
        ("a\n\n  b\t".to_owned(), "a b".to_owned()),
        (String::new(), String::new()),
    ] {
        assert_eq!(prompt(&text), expected, "{text:?}");
    }
}
