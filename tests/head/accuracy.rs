//! How far hidden gradients are from plain f64, in units of 2⁻²⁴ of the sizes of their terms: the
//! table of bounds.

use dpo_kernel::gradient::Unscored;
use dpo_kernel::{Dispatch, Element, bf16, f16};

use crate::case::{Case, run};
use crate::grads::worst;
use crate::hard::confident;
use crate::measure::Worst;
use crate::trained::errors;

fn see<E: Element, W: Element>(to: &mut Worst, case: &Case<E, W>, what: &str) {
    for dispatch in Dispatch::available() {
        let found = run(case, dispatch, 5, Unscored::Keep);
        found.summary.unwrap();
        let error = worst(case, dispatch, &found);
        to.see(dispatch, error, || what.to_owned());
    }
}

/// Weights of both signs: errors of p, of chains and of their sums are of both signs too.
#[test]
fn of_random_heads() {
    let mut to = Worst::of("hidden gradient of random heads, in 2^-24 of its terms");
    for (size, vocab) in [(3, 31), (17, 511), (33, 512), (257, 513), (8, 1300), (4, 5000)] {
        for seed in 0..4 {
            let case = Case::<f32, f32>::new(4, size, vocab, seed);
            see(&mut to, &case, &format!("f32, H = {size}, V = {vocab}, seed {seed}"));
            let case = case.with_bias_of(|column| (column % 40) as f32 * 0.5);
            see(&mut to, &case, &format!("f32 and bias, H = {size}, V = {vocab}, seed {seed}"));
            let case = Case::<bf16, bf16>::new(4, size, vocab, seed);
            see(&mut to, &case, &format!("bf16, H = {size}, V = {vocab}, seed {seed}"));
            let case = Case::<f16, f32>::new(4, size, vocab, seed);
            see(&mut to, &case, &format!("f16, H = {size}, V = {vocab}, seed {seed}"));
        }
    }
    to.settle();
}

/// Equal logits and equal weights: every addition of a chain rounds the same way, and so does every
/// addition of chains. The weights are the worst of three million.
fn flat(to: &mut Worst, vocab: usize, weight: f32) {
    // The target is a column more, in a tile of its own.
    let mut case = Case::<f32, f32>::new(1, 1, vocab + 1, 1).with_targets(|_| vocab as u32);
    case.states.fill(0.0);
    case.weights.fill(weight);
    case.weights[vocab * case.stride] = 0.0;
    see(to, &case, &format!("V = {}, weights {weight}", vocab + 1));
}

#[test]
fn of_flat_rows() {
    let mut to = Worst::of("hidden gradient of a flat row of 513 columns, in 2^-24 of its terms");
    flat(&mut to, 512, 1.984_512_3);
    to.settle();
    let mut to =
        Worst::of("hidden gradient of a flat row of 262,145 columns, in 2^-24 of its terms");
    flat(&mut to, 262_144, 1.022_064_2);
    to.settle();
}

/// What is left of a gradient where the target has nearly all: from 1 − p = 0.1 to 1e-30.
#[test]
fn of_confident_targets() {
    let mut to = Worst::of("hidden gradient of confident targets, in 2^-24 of its terms");
    for decade in 1..=30 {
        let miss = 10.0_f64.powi(-decade);
        for (vocab, target) in [(2, 1), (600, 3), (600, 599)] {
            see(
                &mut to,
                &confident::<f32, f32>(vocab, target, miss),
                &format!("f32, 1 - p = 1e-{decade}, V = {vocab}, target {target}"),
            );
            see(
                &mut to,
                &confident::<bf16, bf16>(vocab, target, miss),
                &format!("bf16, 1 - p = 1e-{decade}, V = {vocab}, target {target}"),
            );
        }
    }
    to.settle();
}

/// Of trained heads: hidden states, weights and bias.
#[test]
fn of_random_trained_heads() {
    let [mut hidden, mut weights, mut bias] = [
        "trained hidden gradient of random heads, in 2^-24 of its terms",
        "weight gradient of random heads, in 2^-24 of its terms",
        "bias gradient of random heads, in 2^-24 of its terms",
    ]
    .map(Worst::of);
    let mut see = |what: String, dispatch: Dispatch, of: [f64; 3]| {
        for (to, of) in [&mut hidden, &mut weights, &mut bias].into_iter().zip(of) {
            to.see(dispatch, of, || what.clone());
        }
    };
    for (rows, size, vocab) in
        [(2, 3, 31), (13, 17, 511), (25, 33, 512), (5, 257, 513), (9, 8, 1300), (900, 4, 20)]
    {
        for seed in 0..4 {
            for dispatch in Dispatch::available() {
                let at = format!("R = {rows}, H = {size}, V = {vocab}, seed {seed}");
                let case = Case::<f32, f32>::new(rows, size, vocab, seed);
                see(format!("f32, {at}"), dispatch, errors(&case, dispatch));
                let case = case.with_bias_of(|column| (column % 40) as f32 * 0.5);
                see(format!("f32 and bias, {at}"), dispatch, errors(&case, dispatch));
                let case = Case::<bf16, bf16>::new(rows, size, vocab, seed);
                see(format!("bf16, {at}"), dispatch, errors(&case, dispatch));
                let case = Case::<f16, f32>::new(rows, size, vocab, seed);
                see(format!("f16, {at}"), dispatch, errors(&case, dispatch));
            }
        }
    }
    hidden.settle();
    weights.settle();
    bias.settle();
}

/// Equal tokens: every addition of a chain rounds the same way, and so does every addition of
/// chains. The state is the worst of a thousand.
#[test]
fn of_equal_tokens() {
    let [mut weights, mut bias] = [
        "weight gradient of 4,096 equal tokens, in 2^-24 of its terms",
        "bias gradient of 4,096 equal tokens, in 2^-24 of its terms",
    ]
    .map(Worst::of);
    for dispatch in Dispatch::available() {
        let mut case = Case::<f32, f32>::new(4096, 1, 2, 1).with_targets(|_| 1);
        let state = 1.315_734_9;
        case.states.fill(state);
        case.weights.fill(0.0);
        case.coefficients.fill(-0.7);
        let [_, of_weights, of_bias] = errors(&case, dispatch);
        weights.see(dispatch, of_weights, || format!("state {state}"));
        bias.see(dispatch, of_bias, || format!("state {state}"));
    }
    weights.settle();
    bias.settle();
}
