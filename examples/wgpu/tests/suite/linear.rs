//! Logits in memory and a step of their weights, against f64: with padding in every matrix that may
//! have it.

use crate::common::heads::Case;
use crate::common::oracle::UNIT;
use crate::common::{DIRTY, Random, device, first_difference};
use dpo_kernel::IGNORE_INDEX;
use dpo_kernel_wgpu::{Kernels, Matrix, Targets, Transform};

/// (R, H, V): around four rows, chains of 256 states, workgroups of 64.
const SHAPES: [(usize, usize, usize); 5] =
    [(1, 1, 1), (5, 300, 67), (3, 513, 64), (4, 600, 130), (7, 1025, 9)];

/// A sum of `roundings` roundings, of terms of this size in all.
fn slack(roundings: usize, size: f64) -> f64 {
    let n = roundings as f64 * UNIT;
    n / (1.0 - n) * size
}

/// Heads with a bias, some of it masked, and all states finite.
fn heads() -> Vec<Case<f32>> {
    let mut rng = Random(51);
    let mut cases = Vec::new();
    for shape in SHAPES {
        for with_bias in [false, true] {
            let mut case = Case::<f32>::random(&mut rng, shape);
            case.stride = case.size + 3;
            case.hidden = vec![f32::NAN; case.rows * case.stride];
            for states in case.hidden.chunks_mut(case.stride) {
                states[..case.size].fill_with(|| rng.normal(1.0) as f32);
            }
            let bias = (0..case.vocab).map(|column| {
                if column % 5 == 2 { f32::NEG_INFINITY } else { rng.normal(3.0) as f32 }
            });
            case.bias = with_bias.then(|| bias.collect());
            cases.push(case);
        }
    }
    cases
}

/// Logits against f64, and bits against f32 in chains of 256.
fn judge_logits(kernels: &Kernels<'_, f32>, case: &Case<f32>) -> Result<(), String> {
    let (gpu, stride) = (kernels.gpu(), case.vocab + 5);
    let mut found = vec![DIRTY; case.rows * stride];
    let written = case.with_head(gpu, |head| {
        let mut logits = Matrix::new(gpu, &found, case.rows, case.vocab, stride)?;
        kernels.logits(head, &mut logits)?;
        logits.read(gpu, &mut found)
    });
    written.expect("logits");
    for (row, found) in found.chunks(stride).enumerate() {
        let (found, padding) = found.split_at(case.vocab);
        if padding.iter().any(|&x| x != DIRTY) {
            return Err(format!("padding of row {row} is written"));
        }
        let states = &case.hidden[row * case.stride..][..case.size];
        for (column, &found) in found.iter().enumerate() {
            let weights = &case.weight[column * case.size..][..case.size];
            let bias = case.bias.as_ref().map_or(0.0, |bias| f64::from(bias[column]));
            let (mut expected, mut size) = (bias, bias.abs());
            for (&x, &w) in states.iter().zip(weights) {
                expected += f64::from(x) * f64::from(w);
                size += (f64::from(x) * f64::from(w)).abs();
            }
            // A product, 255 sums in a chain, those of chains, the bias.
            let roundings = 256 + case.size.div_ceil(256);
            let is_near = if bias.is_finite() {
                (f64::from(found) - expected).abs() <= slack(roundings, size)
            } else {
                found == f32::NEG_INFINITY
            };
            if !is_near {
                return Err(format!("logit {column} of row {row} is {found:e}, not {expected:e}"));
            }
        }
        let expected: Vec<f32> = case.logits(row).into_iter().map(|x| x as f32).collect();
        if let Some(column) = first_difference(found, &expected) {
            let (found, expected) = (found[column], expected[column]);
            return Err(format!("{column} of row {row} has other bits: {found:e}, {expected:e}"));
        }
    }
    Ok(())
}

#[test]
fn logits_have_their_bits() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::new(&gpu).expect("shaders");
    for case in heads() {
        let shape = (case.rows, case.size, case.vocab, case.bias.is_some());
        judge_logits(&kernels, &case).unwrap_or_else(|error| panic!("{shape:?}: {error}"));
    }
}

/// Weights after a step against f64. Rows that are not scored have states and gradients of NaN.
fn judge_step(
    kernels: &Kernels<'_, f32>,
    (rows, size, vocab): (usize, usize, usize),
) -> Result<(), String> {
    const RATE: f32 = 0.37;
    let (gpu, mut rng) = (kernels.gpu(), Random(53));
    let (hidden_stride, grad_stride) = (size + 2, vocab + 3);
    let targets: Vec<u32> =
        (0..rows).map(|row| if row % 7 == 2 { IGNORE_INDEX } else { 0 }).collect();
    let mut random = |columns: usize, stride: usize| -> Vec<f32> {
        let mut all = vec![f32::NAN; rows * stride];
        for (row, to) in all.chunks_mut(stride).enumerate() {
            if targets[row] != IGNORE_INDEX {
                to[..columns].fill_with(|| rng.normal(1.0) as f32);
            }
        }
        all
    };
    let (states, grads) = (random(size, hidden_stride), random(vocab, grad_stride));
    let before: Vec<f32> = (0..vocab * size).map(|i| (i % 13) as f32 - 6.0).collect();
    let mut found = before.clone();
    let mut step = || {
        let hidden = Matrix::new(gpu, &states, rows, size, hidden_stride)?;
        let d = Matrix::new(gpu, &grads, rows, vocab, grad_stride)?;
        let mut weight = Matrix::new(gpu, &before, vocab, size, size)?;
        let logits = Matrix::<f32>::zeros(gpu, rows, vocab)?;
        let scored = kernels.token_log_probs(&logits, &Targets::new(&targets), Transform::NONE)?;
        kernels.weight_step(&hidden, &scored, &d, &mut weight, RATE)?;
        weight.read(gpu, &mut found)
    };
    step().expect("a step");
    let scored: Vec<usize> = (0..rows).filter(|&row| targets[row] != IGNORE_INDEX).collect();
    for column in 0..vocab {
        for k in 0..size {
            let at = column * size + k;
            let (mut sum, mut all) = (0.0, 0.0);
            for &row in &scored {
                let d = f64::from(grads[row * grad_stride + column]);
                let term = d * f64::from(states[row * hidden_stride + k]);
                sum += term;
                all += term.abs();
            }
            let rate = f64::from(RATE);
            let expected = f64::from(before[at]) - rate * sum;
            // A product, 127 sums in a chain, those of chains, and the rate; then the weight's own.
            let roundings = 129 + scored.len().div_ceil(128);
            let allowed = slack(roundings, rate * all) + UNIT * expected.abs();
            let found = found[at];
            // Written so that NaN is refused.
            let is_near = (f64::from(found) - expected).abs() <= allowed * (1.0 + 1e-6);
            if !is_near {
                return Err(format!("weight {k} of {column} is {found:e}, not {expected:e}"));
            }
        }
    }
    Ok(())
}

/// (R, H, V): fewer rows than a chain, some more, three chains.
const STEPS: [(usize, usize, usize); 3] = [(3, 5, 2), (170, 66, 7), (400, 70, 13)];

#[test]
fn a_step_of_the_weights_is_that_of_f64() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::new(&gpu).expect("shaders");
    for shape in STEPS {
        judge_step(&kernels, shape).unwrap_or_else(|error| panic!("{shape:?}: {error}"));
    }
}

#[test]
fn planted_faults_are_found() {
    let Some(gpu) = device() else { return };
    let planted = |fault, old, new| {
        let kernels = Kernels::new(&gpu).and_then(|kernels| kernels.with_edit(old, new));
        kernels.expect(fault)
    };
    let heads = heads();
    for (fault, old, new) in [
        ("logits without padding", "(first + r) * params.out_stride", "(first + r) * params.vocab"),
        ("states without padding", "row * params.stride + k", "row * params.hidden_size + k"),
        ("no bias", "return own(logit + bitcast<f32>(bits));", "return logit;"),
        ("a masked bias is one of 0", "return bitcast<f32>(bits);", "return logit;"),
        ("the chains before are lost", "logit = own_4(logit + sum);", "logit = sum;"),
        ("chains are one", "const CHAIN: u32 = 256u;", "const CHAIN: u32 = 1024u;"),
        ("four rows have the first one's states", "hidden_at(rows.y, k)", "hidden_at(rows.x, k)"),
    ] {
        let kernels = planted(fault, old, new);
        let seen = heads.iter().find_map(|case| judge_logits(&kernels, case).err());
        println!("{fault}: {}", seen.unwrap_or_else(|| panic!("{fault} is not found")));
    }
    for (fault, old, new) in [
        ("gradients without padding", "row * params.out_stride;", "row * params.vocab;"),
        ("states without padding", "hidden[row * params.stride", "hidden[row * params.hidden_size"),
        ("the chains before are lost", "total = own_4(total + sum);\n                sum", "sum"),
        ("the last chain is lost", "    total = own_4(total + sum);\n    for", "    for"),
        (
            "rows that are not scored are added",
            "targets[row] != params",
            "targets[row] + 1u != params",
        ),
    ] {
        let kernels = planted(fault, old, new);
        let seen = STEPS.into_iter().find_map(|shape| judge_step(&kernels, shape).err());
        println!("{fault}: {}", seen.unwrap_or_else(|| panic!("{fault} is not found")));
    }
}
