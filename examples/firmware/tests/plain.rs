//! The run once more in f64 and in loops: what the committed bits mean, and not only that they stay.

use std::collections::HashMap;

use dpo_kernel::{Arithmetic, Dpo};
use dpo_kernel_firmware::base::BASE;
use dpo_kernel_firmware::batch::{Batch, Loss};
use dpo_kernel_firmware::linear::RANK;
use dpo_kernel_firmware::model::{Adapters, HIDDEN, WIDTH};
use dpo_kernel_firmware::pairs::{Example, HELD_OUT, TRAIN};
use dpo_kernel_firmware::random::Random;
use dpo_kernel_firmware::report::Fixed;
use dpo_kernel_firmware::text::{Sequence, VOCAB};
use dpo_kernel_firmware::train::{Run, arithmetics};

/// The weights as the file has them: of each matrix a scale and i8s, near tables first.
struct Plain {
    near: [Vec<f64>; 4],
    far: Vec<f64>,
    hidden: Vec<f64>,
    head: Vec<f64>,
    /// A and B of the hidden layer, A and B of the head.
    adapters: Option<[Vec<f64>; 4]>,
}

impl Plain {
    fn new(adapters: Option<[Vec<f64>; 4]>) -> Self {
        let mut file: &[u8] = include_bytes!("../base.bin");
        let mut matrix = |count: usize| {
            let (scale, rest) = file.split_first_chunk::<4>().expect("a scale");
            let (bytes, rest) = rest.split_at(count);
            file = rest;
            let scale = f64::from(f32::from_le_bytes(*scale));
            bytes.iter().map(|&byte| scale * f64::from(byte.cast_signed())).collect::<Vec<f64>>()
        };
        let near = [(); 4].map(|()| matrix(VOCAB * WIDTH));
        let far = matrix(VOCAB * WIDTH);
        let (hidden, head) = (matrix(WIDTH * HIDDEN), matrix(HIDDEN * VOCAB));
        assert!(file.is_empty(), "that is all");
        Self { near, far, hidden, head, adapters }
    }

    /// x W, and 2 (x A) B beside it.
    fn apply(&self, w: &[f64], x: &[f64], outputs: usize, layer: usize) -> Vec<f64> {
        let middle: Vec<f64> = match &self.adapters {
            None => vec![0.0; RANK],
            Some(adapters) => (0..RANK)
                .map(|k| (0..x.len()).map(|i| x[i] * adapters[2 * layer][i * RANK + k]).sum())
                .collect(),
        };
        let column = |j: usize| {
            let full: f64 = (0..x.len()).map(|i| x[i] * w[i * outputs + j]).sum();
            let Some(adapters) = &self.adapters else { return full };
            let b = &adapters[2 * layer + 1];
            full + 2.0 * (0..RANK).map(|k| middle[k] * b[k * outputs + j]).sum::<f64>()
        };
        (0..outputs).map(column).collect()
    }

    /// Σ log p of the answer's symbols, its end included.
    fn log_prob(&self, prompt: &str, answer: &str) -> f64 {
        let symbols = |text: &str| {
            let of = |byte: u8| match byte {
                b'a'..=b'z' => usize::from(byte - b'a'),
                b'.' => 27,
                b',' => 28,
                b'?' => 29,
                b'\'' => 30,
                _ => 26,
            };
            text.bytes().take(24).map(of).chain([31]).collect::<Vec<usize>>()
        };
        let (prompt, answer) = (symbols(prompt), symbols(answer));
        let all = [prompt.clone(), answer].concat();
        let (mut memory, mut sum) = (vec![0.0; WIDTH], 0.0);
        for t in 0..all.len() - 1 {
            let mut x = vec![0.0; WIDTH];
            for c in 0..WIDTH {
                let keep = 1.0 - 0.5_f64.powi(i32::try_from(c % 6).expect("small") + 1);
                memory[c] = keep * memory[c] + (1.0 - keep) * self.far[all[t] * WIDTH + c];
                let near = (0..4.min(t + 1)).map(|k| self.near[k][all[t - k] * WIDTH + c]);
                x[c] = memory[c] + near.sum::<f64>();
            }
            if t + 1 < prompt.len() {
                continue;
            }
            let hidden = self.apply(&self.hidden, &x, HIDDEN, 0);
            let hidden: Vec<f64> = hidden.into_iter().map(|h| h.max(0.0)).collect();
            let logits = self.apply(&self.head, &hidden, VOCAB, 1);
            let z: f64 = logits.iter().map(|y| y.exp()).sum();
            sum += logits[all[t + 1]] - z.ln();
        }
        sum
    }

    fn pair(&self, example: &Example) -> [f64; 2] {
        [example.chosen, example.rejected].map(|answer| self.log_prob(example.prompt, answer))
    }
}

/// β (a − b) of a pair.
fn margin(policy: &Plain, reference: &Plain, example: &Example) -> f64 {
    let ([c, r], [c0, r0]) = (policy.pair(example), reference.pair(example));
    0.1 * ((c - c0) - (r - r0))
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn wide(adapters: &Adapters) -> [Vec<f64>; 4] {
    let parts: Vec<Vec<f64>> =
        adapters.parts().map(|part| part.iter().map(|&w| f64::from(w)).collect()).collect();
    parts.try_into().expect("A and B of both layers")
}

fn loss() -> Loss {
    let (_, dispatch) =
        arithmetics().find(|(_, d)| d.arithmetic() == Arithmetic::Portable).expect("portable");
    Loss { dispatch, dpo: Dpo::new(0.1).expect("β") }
}

/// A fresh adapter of the run: A uniform in ±0.3, B zero.
fn fresh(random: &mut Random) -> Adapters {
    let mut adapters = Adapters::ZERO;
    adapters.hidden.start(0.3, random);
    adapters.head.start(0.3, random);
    adapters
}

/// Gradients of a pair's share by differences of the plain loss, in every part of the adapters.
#[test]
fn gradients_are_slopes_of_the_loss() {
    let mut random = Random(5);
    let mut adapters = fresh(&mut random);
    for part in adapters.parts_mut() {
        for weight in part {
            *weight += 0.1 * random.uniform();
        }
    }
    let reference = Plain::new(None);
    let (mut batch, mut grads) = (Batch::default(), Adapters::ZERO);
    let example = &TRAIN[3];
    let frozen = batch.reference(loss().dispatch, &BASE, example).expect("finite");
    for (found, expected) in frozen.iter().zip(reference.pair(example)) {
        assert!((found.sum - expected).abs() < 1e-4, "{} is not {expected}", found.sum);
    }
    // A pair of five: its loss is divided by that.
    batch.step(&loss(), (&BASE, &adapters), (example, &frozen), 5, &mut grads).expect("finite");
    let grads = wide(&grads);
    let start = wide(&adapters);
    for part in 0..4 {
        let largest = grads[part].iter().fold(0.0, |largest: f64, g| largest.max(g.abs()));
        assert!(largest > 1e-5, "part {part} has a gradient: {largest:e}");
        for i in (0..grads[part].len()).step_by(17) {
            let at = |by: f64| {
                let mut moved = start.clone();
                moved[part][i] += by;
                softplus(-margin(&Plain::new(Some(moved)), &reference, example)) / 5.0
            };
            let slope = (at(1e-4) - at(-1e-4)) / 2e-4;
            let error = (grads[part][i] - slope).abs() / largest;
            assert!(error < 2e-3, "part {part}, {i}: {} is not {slope}", grads[part][i]);
        }
    }
}

/// Every evaluation of the run: Adam, its rate, the order of pairs and the figures of both sides,
/// each written anew.
#[test]
fn a_run_finds_what_the_formulas_find() {
    let mut found = Vec::new();
    Run::new().train(loss().dispatch, |evaluation| found.push(evaluation.clone())).expect("a run");
    assert_eq!(found.len(), 9, "before the first pass and after each of eight");
    let mut random = Random(20_231_218);
    let mut adapters = fresh(&mut random);
    let mut batch = Batch::default();
    let reference = Plain::new(None);
    let frozen: Vec<_> = TRAIN
        .iter()
        .map(|example| batch.reference(loss().dispatch, &BASE, example).expect("finite"))
        .collect();
    let mut order: Vec<usize> = (0..24).collect();
    let mut moments: HashMap<(usize, usize), (f64, f64)> = HashMap::new();
    for (pass, evaluation) in found.iter().enumerate() {
        if pass > 0 {
            random.shuffle(&mut order);
            for (nth, pairs) in order.chunks(4).enumerate() {
                let step = 6 * (pass - 1) + nth;
                let mut grads = Adapters::ZERO;
                for &pair in pairs {
                    let pair = (&TRAIN[pair], &frozen[pair]);
                    batch.step(&loss(), (&BASE, &adapters), pair, 4, &mut grads).expect("finite");
                }
                let (rate, t) =
                    (0.01 * (1.0 - step as f64 / 48.0), i32::try_from(step).expect("few") + 1);
                let unbias = (1.0 - 0.9_f64.powi(t), 1.0 - 0.98_f64.powi(t));
                for (part, (weights, grads)) in adapters.parts_mut().zip(grads.parts()).enumerate()
                {
                    for (i, (weight, &grad)) in weights.iter_mut().zip(grads).enumerate() {
                        let (m, v) = moments.entry((part, i)).or_default();
                        let grad = f64::from(grad);
                        *m = 0.9 * *m + 0.1 * grad;
                        *v = 0.98 * *v + 0.02 * grad * grad;
                        let by = rate * (*m / unbias.0) / ((*v / unbias.1).sqrt() + 1e-8);
                        *weight = (f64::from(*weight) - by) as f32;
                    }
                }
            }
        }
        assert_eq!((evaluation.step, evaluation.steps), (6 * pass as u32, 48));
        let policy = Plain::new(Some(wide(&adapters)));
        for (side, summary) in
            [(&TRAIN[..], &evaluation.train), (&HELD_OUT[..], &evaluation.held_out)]
        {
            let margins: Vec<f64> = side.iter().map(|e| margin(&policy, &reference, e)).collect();
            let n = margins.len() as f64;
            let mean =
                |value: &dyn Fn(f64) -> f64| margins.iter().map(|&m| value(m)).sum::<f64>() / n;
            let near = |found: f64, expected: f64| {
                assert!((found - expected).abs() < 2e-3, "pass {pass}: {found} is not {expected}");
            };
            near(summary.mean_margin(), mean(&|m| m));
            near(summary.mean_loss(), mean(&|m| softplus(-m)));
            assert_eq!(summary.pairs, side.len() as u64);
            let right = margins.iter().filter(|m| **m > 1e-4).count() as u64;
            let unsure = margins.iter().filter(|m| m.abs() < 5e-3).count() as u64;
            assert!(
                summary.correct.abs_diff(right) <= unsure,
                "pass {pass}: {} of {right}",
                summary.correct
            );
        }
    }
    let last = found.last().expect("the end");
    assert_ne!(last.train.correct * 8, last.held_out.correct * 24, "the sides differ");
}

#[test]
fn texts_and_numbers_are_written_as_they_should_be() {
    let sequence = Sequence::new("a?", "b.");
    assert_eq!(sequence.symbols(), [0, 29, 31, 1, 27, 31], "prompt, end, answer, end");
    assert_eq!(
        (sequence.rows(), sequence.first_row(), sequence.answer()),
        (3, 2, &[1, 27, 31][..])
    );
    let long = Sequence::new(&"x".repeat(30), &"y".repeat(24));
    assert_eq!((long.symbols().len(), long.rows()), (50, 25), "24 of each, and two ends");
    for (x, text) in [
        (0.0, "0.000000"),
        (0.693_247_18, "0.693247"),
        (-1.5, "-1.500000"),
        (12.000_000_4, "12.000000"),
        (12.000_000_6, "12.000001"),
        (-0.000_001, "-0.000001"),
    ] {
        assert_eq!(Fixed(x).to_string(), text);
    }
}

/// Marsaglia's shifts, from 1: the first numbers worked out by hand.
#[test]
fn numbers_are_xorshifts() {
    let mut random = Random(1);
    assert_eq!([random.bits(), random.bits()], [270_369, 67_634_689]);
    let (mut bits, mut random) = (Random(7), Random(7));
    for _ in 0..20 {
        let expected = f64::from(bits.bits() >> 8) / 8_388_608.0 - 1.0;
        assert_eq!(f64::from(random.uniform()).to_bits(), expected.to_bits());
    }
}
