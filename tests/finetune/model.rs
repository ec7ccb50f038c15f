//! The model against the same in plain f64, and its backward pass against finite differences.

use dpo_kernel::Dispatch;

use crate::finetune::batch::Batch;
use crate::finetune::linear::{Adapter, RANK};
use crate::finetune::model::{Model, Shape, VOCAB};
use crate::finetune::random::Random;
use crate::plain::{TAPS, plain_of, tuned};

/// A weighted sum of some rows' hidden states, so that its gradient by the states is the weights
/// themselves. The head has tests of its own.
fn probe(model: &Model, adapter: Adapter, coefficients: &[f32]) -> (f64, Vec<f32>) {
    let tokens = b"finite differences";
    let rows = 5..tokens.len() - 1;
    let mut states = vec![0.0; rows.len() * 8];
    let tape = model.forward(tokens, rows, adapter, &mut states);
    let count = match adapter {
        Adapter::Off => model.weights.base.len(),
        Adapter::On => model.weights.adapter.len(),
    };
    let mut grads = vec![0.0; count];
    model.backward(&tape, &states, coefficients.chunks_exact(8), &mut grads);
    let terms = states.iter().zip(coefficients).map(|(x, c)| f64::from(*x) * f64::from(*c));
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
    const STEP: f32 = 1e-3;
    let mut random = Random(5);
    let mut model = Model::new(Shape { width: 8, hidden: 16, blocks: 2 }, &mut random);
    model.weights.adapter.iter_mut().for_each(|weight| *weight = 0.3 * random.normal());
    let coefficients: Vec<f32> = (0..12 * 8).map(|_| 0.5 * random.normal()).collect();
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
        assert!(error < 1e-3, "{adapter:?}: relative error {error}");
        let planted = gradient_error(adapter, 1.01);
        assert!(planted > 5e-3, "{adapter:?}: a fault of 1 % went unseen: {planted}");
    }
}

#[test]
fn a_fresh_adapter_changes_no_bit() {
    let model = Model::new(Shape { width: 16, hidden: 32, blocks: 2 }, &mut Random(2));
    let tokens = b"the same weights, twice";
    let [off, on] = [Adapter::Off, Adapter::On].map(|adapter| {
        let mut states = vec![0.0; 4 * 16];
        model.forward(tokens, 3..7, adapter, &mut states);
        let mut batch = Batch::forward(&model, &[(tokens, 3..7), (tokens, 0..9)], adapter);
        let scores = batch.score(Dispatch::detect()).expect("finite").to_vec();
        let logits = model.head.logits(&model.weights, adapter, &states[..16]);
        (states, scores.into_iter().map(|of| of.sum.to_bits()).collect::<Vec<_>>(), logits)
    });
    assert_eq!(off, on, "policy and reference differ at step 0");
}

/// Every logit of every row, with the adapter and without it; rows come as they are asked for.
#[test]
fn logits_are_those_of_the_plain_model() {
    for (seed, shape) in [
        (1, Shape { width: 8, hidden: 16, blocks: 1 }),
        (2, Shape { width: 16, hidden: 24, blocks: 2 }),
    ] {
        let model = tuned(shape, seed);
        let tokens = b"seven and more bytes";
        for adapter in [Adapter::Off, Adapter::On] {
            let expected = plain_of(&model, shape, adapter).logits(tokens);
            for rows in [0..tokens.len(), 3..9, 19..20] {
                let mut states = vec![f32::NAN; rows.len() * shape.width];
                model.forward(tokens, rows.clone(), adapter, &mut states);
                let logits: Vec<f32> = (states.chunks_exact(shape.width))
                    .flat_map(|state| model.head.logits(&model.weights, adapter, state))
                    .collect();
                assert_eq!(logits.len(), rows.len() * VOCAB, "one for each byte");
                for (found, expected) in logits.iter().zip(expected[rows].iter().flatten()) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error < 2e-5, "{shape:?}, {adapter:?}: {found} is not {expected}");
                }
            }
        }
        let [off, on] = [Adapter::Off, Adapter::On]
            .map(|adapter| plain_of(&model, shape, adapter).logits(tokens)[19][0]);
        assert!((off - on).abs() > 1e-3, "the adapter does something: {off} {on}");
    }
}

/// Mean and deviation of what a new model's weights are drawn from: the embedding has 0.3, a matrix
/// of n inputs its gain / √n, A of the adapter 1 / √n, and B is 0.
#[test]
fn new_weights_have_their_spread() {
    let (width, hidden) = (64, 192);
    let model = Model::new(Shape { width, hidden, blocks: 1 }, &mut Random(4));
    let deviation = |weights: &[f32]| {
        let n = weights.len() as f64;
        let mean = weights.iter().copied().map(f64::from).sum::<f64>() / n;
        let square = weights.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>() / n;
        (mean, square.sqrt())
    };
    let mut base = model.weights.base.as_slice();
    let mut take = |what: &str, count: usize, expected: f64| {
        let (part, rest) = base.split_at(count);
        base = rest;
        let (mean, found) = deviation(part);
        assert!((found / expected - 1.0).abs() < 0.05, "{what}: deviation {found}, not {expected}");
        assert!(mean.abs() < 0.05 * expected, "{what}: mean {mean}");
    };
    take("embedding", TAPS * VOCAB * width, 0.3);
    let matrices = [
        ("mixer in", width, 3 * width, 1.0),
        ("mixer out", width, width, 0.5),
        ("mlp in", width, hidden, 1.0),
        ("mlp out", hidden, width, 0.5),
        ("head", width, VOCAB, 0.3),
    ];
    for (what, inputs, outputs, gain) in matrices {
        take(what, inputs * outputs, gain / (inputs as f64).sqrt());
    }
    assert!(base.is_empty(), "that is all");
    let mut adapter = model.weights.adapter.as_slice();
    for (what, inputs, outputs, _) in matrices {
        let (a, rest) = adapter.split_at(inputs * RANK);
        let (b, rest) = rest.split_at(RANK * outputs);
        adapter = rest;
        let (found, expected) = (deviation(a).1, (inputs as f64).sqrt().recip());
        assert!((found / expected - 1.0).abs() < 0.1, "A of {what}: {found}, not {expected}");
        assert!(b.iter().all(|&b| b == 0.0), "B of {what} is 0");
    }
    assert!(adapter.is_empty(), "that is all");
}
