//! The model and what it reads: gradients against differences, the split, texts, and refusals.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails where something is missing, and compares bits"
)]

use dpo_kernel::Error;
use dpo_kernel::error::Parameter;
use dpo_kernel_firmware::random::Random;
use dpo_kernel_web::model::{ADAPTED, Adapters, BYTES, Base, HIDDEN, Input, Row, WIDTH, scored};
use dpo_kernel_web::objective::{NAMES, Objective, default_beta};
use dpo_kernel_web::pairs::{Examples, Pair, packed, unpacked};
use dpo_kernel_web::text::{ANSWER_LIMIT, Changes, END, PROMPT_LIMIT, Text, VOCAB};
use dpo_kernel_web::theory::{Answers, pair_loss, preference};

#[allow(dead_code, unreachable_pub, reason = "the byte-level example's")]
#[path = "../../../finetune/defaults.rs"]
mod finetune;

fn base() -> Base {
    Base::new(include_bytes!("../../page/base.bin").to_vec()).unwrap()
}

/// The logits of a position in f64, read from the file anew.
fn plain_logits(adapters: &Adapters, x: &Input) -> Vec<f64> {
    let file = include_bytes!("../../page/base.bin");
    let head_at = BYTES - 4 - HIDDEN * VOCAB;
    let matrix = |at: usize, rows: usize, columns: usize| -> Vec<f64> {
        let scale = f64::from(f32::from_le_bytes(file[at..at + 4].try_into().unwrap()));
        file[at + 4..][..rows * columns]
            .iter()
            .map(|&b| scale * f64::from(b.cast_signed()))
            .collect()
    };
    let parts: Vec<Vec<f64>> =
        adapters.parts().map(|part| part.iter().map(|&w| f64::from(w)).collect()).collect();
    let layer = |w: &[f64], a: &[f64], b: &[f64], x: &[f64], columns: usize| -> Vec<f64> {
        let rank = b.len() / columns;
        let low = |k: usize| x.iter().enumerate().map(|(i, x)| x * a[i * rank + k]).sum::<f64>();
        let middle: Vec<f64> = (0..rank).map(low).collect();
        let column = |j: usize| {
            let full: f64 = x.iter().enumerate().map(|(i, x)| x * w[i * columns + j]).sum();
            full + 2.0 * middle.iter().enumerate().map(|(k, n)| n * b[k * columns + j]).sum::<f64>()
        };
        (0..columns).map(column).collect()
    };
    let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let hidden = matrix(head_at - 4 - WIDTH * HIDDEN, WIDTH, HIDDEN);
    let active = layer(&hidden, &parts[0], &parts[1], &x, HIDDEN);
    let active: Vec<f64> = active.into_iter().map(|value| value.max(0.0)).collect();
    layer(&matrix(head_at, HIDDEN, VOCAB), &parts[2], &parts[3], &active, VOCAB)
}

/// Adapters whose both halves are something.
fn tuned() -> Adapters {
    let mut random = Random(7);
    let mut adapters = Adapters::start(0.3, &mut random);
    adapters.parts_mut().flatten().for_each(|w| *w += 0.1 * random.uniform());
    adapters
}

#[test]
fn logits_and_gradients_are_those_of_the_plain_model() {
    let (base, mut adapters) = (base(), tuned());
    assert_eq!(adapters.parts().map(<[f32]>::len).sum::<usize>(), ADAPTED);
    let text = Text::new("is it late?", "no, there is time.", &mut Changes::default());
    let x = scored(&base, &text)[5];
    let plain = plain_logits(&adapters, &x);
    for (logit, plain) in base.logits(Some(&adapters), &x).into_iter().zip(&plain) {
        assert!((f64::from(logit) - plain).abs() < 1e-4 * (1.0 + plain.abs()), "{logit} {plain}");
    }
    // ∂/∂w Σ c_j y_j by differences of the plain model, for every ninth weight.
    let mut random = Random(3);
    let c: Row = std::array::from_fn(|_| random.uniform());
    let mut grads = Adapters::ZERO;
    base.backward(&adapters, &x, &c, &mut grads);
    let grads: Vec<f32> = grads.parts().flatten().copied().collect();
    let sum = |adapters: &Adapters| -> f64 {
        plain_logits(adapters, &x).iter().zip(c).map(|(y, c)| y * f64::from(c)).sum()
    };
    let nudge = |adapters: &mut Adapters, index: usize, by: f32| {
        *adapters.parts_mut().flatten().nth(index).unwrap() += by;
    };
    let mut compared = 0;
    for index in (0..ADAPTED).step_by(9) {
        let step = 2.0_f32.powi(-9);
        let (before, mut up, mut down) = (sum(&adapters), adapters.clone(), adapters.clone());
        nudge(&mut up, index, step);
        nudge(&mut down, index, -step);
        let [above, below] = [sum(&up), sum(&down)];
        // A hidden channel that switches on in between has two slopes.
        if (above + below - 2.0 * before).abs() > 1e-9 {
            continue;
        }
        let slope = (above - below) / (2.0 * f64::from(step));
        let found = f64::from(grads[index]);
        assert!((found - slope).abs() < 2e-4 * (1.0 + slope.abs()), "{index}: {found} {slope}");
        compared += 1;
    }
    assert!(compared > 100, "{compared} weights were compared");
    // A fresh adapter changes no bit.
    adapters = Adapters::start(0.3, &mut random);
    assert_eq!(base.logits(Some(&adapters), &x), base.logits(None, &x));
}

#[test]
fn texts_are_cut_and_counted() {
    let mut changes = Changes::default();
    let text = Text::new("Ä b\n", "C?", &mut changes);
    assert_eq!((changes.replaced, changes.cut), (2, 0));
    assert_eq!(text.symbols().len(), 4 + 1 + 2 + 1);
    assert_eq!(text.answer().last(), Some(&END));
    assert_eq!(text.rows(), 4..7, "the end of the prompt predicts the answer's first letter");
    let long = "x".repeat(200);
    let text = Text::new(&long, &long, &mut changes);
    assert_eq!(changes.cut, 2);
    assert_eq!(text.opening().len(), PROMPT_LIMIT + 1);
    assert_eq!(text.answer().len(), ANSWER_LIMIT + 1);
}

#[test]
fn a_fifth_of_the_prompts_is_held_out_and_never_made_longer() {
    let prompts: Vec<String> = (0..10).map(|n| format!("prompt {n}")).collect();
    let pairs = || prompts.iter().chain(&prompts).map(|p| -> Pair<'_> { [p, "yes, here.", "no."] });
    let [plain, longer] = [false, true].map(|longer| Examples::new(pairs(), longer));
    assert_eq!((plain.train.len(), plain.held_out.len()), (16, 4));
    let held: Vec<_> = plain.held_out.iter().map(|pair| pair.chosen.opening()).collect();
    assert!(plain.train.iter().all(|pair| !held.contains(&pair.chosen.opening())));
    let lengths = |pairs: &Examples| {
        pairs.train.iter().map(|pair| pair.chosen.answer().len()).collect::<Vec<_>>()
    };
    let made_longer =
        lengths(&longer).iter().zip(lengths(&plain)).filter(|(a, b)| **a > b + 40).count();
    assert_eq!(made_longer, 12, "three of four");
    assert!(longer.held_out.iter().zip(&plain.held_out).all(|(a, b)| a.chosen == b.chosen));
    let poor = [["a", "", "b"], ["a", "b", ""], ["a", "B", "b"], ["a", "b", "c"]];
    let poor = Examples::new(poor.into_iter(), false);
    assert_eq!((poor.left_out, poor.train.len()), (3, 1));
}

#[test]
fn a_prompt_that_both_answers_share_is_counted_once() {
    let (prompt, answer) = (["ä", &"x".repeat(PROMPT_LIMIT)].concat(), "y".repeat(200));
    let pair = || std::iter::once::<Pair<'_>>([&prompt, &answer, "öö"]);
    for longer in [false, true] {
        let found = Examples::new(pair(), longer);
        assert_eq!(found.train.len(), 1);
        assert_eq!((found.changes.cut, found.changes.replaced), (2, 3), "longer: {longer}");
    }
}

#[test]
fn packed_pairs_come_back_and_other_bytes_do_not() {
    let texts = ["prompt", "", "an ä", "p", "c\0", "r"];
    let bytes = packed(texts.into_iter());
    let pairs = [["prompt", "", "an ä"], ["p", "c\0", "r"]];
    assert_eq!(unpacked(&bytes).unwrap(), pairs);
    for end in (0..bytes.len()).filter(|&end| end != 0 && end != 23) {
        assert_eq!(unpacked(&bytes[..end]), None, "{end} bytes of {}", bytes.len());
    }
    assert_eq!(unpacked(&[1, 0, 0, 0, 0xff]), None);
    assert!(Base::new(vec![0; BYTES - 1]).is_none() && Base::new(vec![0; BYTES + 1]).is_none());
}

#[test]
fn losses_have_the_defaults_of_finetune_and_refuse_what_they_refuse() {
    for name in NAMES {
        let base = if name.ends_with("r_dpo") || name == "ld_dpo" { "sigmoid" } else { name };
        let of = finetune::defaults(base.parse().unwrap());
        assert_eq!(default_beta(name), of.options.beta, "{name}");
        assert_eq!(matches!(name, "cpo" | "orpo"), of.nll == Some((1.0, finetune::Over::Tokens)));
        Objective::new(name, None).unwrap();
        for beta in [0.0, -1.0, f64::INFINITY] {
            let found = Objective::new(name, Some(beta)).unwrap_err();
            let refused = match found {
                Error::Parameter { parameter: Parameter::Beta, value } => value == beta,
                Error::ParameterUnused { parameter: Parameter::Beta } => name == "orpo",
                _ => false,
            };
            assert!(refused, "{name} {found}");
        }
    }
    assert!(matches!(Objective::new("kto", None), Err(Error::UnknownLoss)));
    assert!(matches!(Objective::new("", None), Err(Error::UnknownLoss)));
}

#[test]
fn the_numbers_of_the_five_steps() {
    // By hand: e^(r/β) is e² and 1, Z = (e² + 1)/2.
    let found = Answers::new(&[0.5, 0.5], &[1.0, 0.0], &[0.5, 0.5], 0.5).unwrap();
    let z = f64::midpoint(2.0_f64.exp(), 1.0);
    assert!((found.log_partition - z.ln()).abs() < 1e-15);
    assert!((found.maximum - 0.5 * z.ln()).abs() < 1e-15);
    assert_eq!((found.objective, found.expected_reward), (0.5, 0.5));
    assert!((found.optimum[0] - 2.0_f64.exp() / (2.0 * z)).abs() < 1e-15);
    assert!((found.implied[0] - 1.0).abs() < 1e-14 && found.implied[1].abs() < 1e-14);
    assert!((found.log_ratios[0] - found.log_ratios[1] - 1.0).abs() < 1e-15);
    assert_eq!(found.numbers().len(), 4 + 3 * 2);
    assert_eq!(preference(3.0, 3.0), [-std::f64::consts::LN_2, 0.5]);
    let pair = pair_loss(0.5, [2.0, -2.0]).unwrap();
    assert!((pair.loss - (-2.0_f64).exp().ln_1p()).abs() < 1e-15);
    assert!((pair.d_chosen + 0.5 / (1.0 + 2.0_f64.exp())).abs() < 1e-15);
    assert_eq!(pair.d_chosen, -pair.d_rejected);
    assert!(pair_loss(0.0, [0.0, 0.0]).is_err() && Answers::new(&[], &[], &[], 1.0).is_err());
}
