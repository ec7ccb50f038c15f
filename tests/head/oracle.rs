//! The gradients of hidden states, weights and bias in plain f64.

use dpo_kernel::Element;

use crate::case::Case;

/// Each with the sizes of its terms added up.
pub struct Due {
    /// R × H
    pub hidden: (Vec<f64>, Vec<f64>),
    /// V × H
    pub weights: (Vec<f64>, Vec<f64>),
    /// V
    pub bias: (Vec<f64>, Vec<f64>),
}

/// k, 1/cap·scale, slope: as the transform's documentation says.
pub fn parts<E, W>(case: &Case<E, W>) -> (f64, Option<f64>, f64) {
    case.parameters.map_or((1.0, None, 1.0), |(scale, softcap, temperature)| {
        let [scale, temperature] = [scale, temperature].map(f64::from);
        match softcap.map(f64::from) {
            None => (scale / temperature, None, scale / temperature),
            Some(cap) => (cap / temperature, Some(scale / cap), scale / temperature),
        }
    })
}

/// ∂L/∂x of each logit of a row, from its logits in f32.
pub fn logit_grads<E: Element, W: Element>(
    case: &Case<E, W>,
    row: usize,
    logits: &[f32],
) -> Vec<f64> {
    let (k, softcap, slope) = parts(case);
    let x: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
    // A masked column stays one under a softcap.
    let capped = |x: f64| softcap.filter(|_| x.is_finite()).map_or(x, |inner| (inner * x).tanh());
    let y: Vec<f64> = x.iter().map(|&x| k * capped(x)).collect();
    let bend = |x: f64| softcap.map_or(1.0, |inner| (inner * x).cosh().powi(-2));
    let max = y.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let z: f64 = y.iter().map(|y| (y - max).exp()).sum();
    let target = case.targets[row] as usize;
    let others: f64 =
        y.iter().enumerate().filter(|&(j, _)| j != target).map(|(_, y)| (y - max).exp()).sum();
    let c = case.coefficients[row] * slope;
    let of = |(j, y): (usize, &f64)| {
        let d = if j == target { others / z } else { -(y - max).exp() / z };
        if x[j] == f64::NEG_INFINITY { 0.0 } else { c * bend(x[j]) * d }
    };
    y.iter().enumerate().map(of).collect()
}

pub fn due<E: Element, W: Element>(case: &Case<E, W>, logits: &[f32]) -> Due {
    let (rows, vocab, size, stride) = (case.rows, case.vocab, case.size, case.stride);
    let zeros = |len: usize| (vec![0.0; len], vec![0.0; len]);
    let mut due =
        Due { hidden: zeros(rows * size), weights: zeros(vocab * size), bias: zeros(vocab) };
    let add = |to: &mut (Vec<f64>, Vec<f64>), at: usize, term: f64| {
        to.0[at] += term;
        to.1[at] += term.abs();
    };
    for row in (0..rows).filter(|&row| case.is_scored(row)) {
        let grads = logit_grads(case, row, &logits[row * vocab..][..vocab]);
        for (column, d) in grads.into_iter().enumerate() {
            add(&mut due.bias, column, d);
            for h in 0..size {
                let weight = f64::from(case.weights[column * stride + h].to_f32());
                let state = f64::from(case.states[row * stride + h].to_f32());
                add(&mut due.hidden, row * size + h, d * weight);
                add(&mut due.weights, column * size + h, d * state);
            }
        }
    }
    due
}
