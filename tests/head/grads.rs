//! Hidden gradients against plain f64, and against themselves.

use dpo_kernel::gradient::Unscored;
use dpo_kernel::{Dispatch, Element, IGNORE_INDEX, bf16, f16};

use crate::case::{Case, DIRT, Found, run};
use crate::forward::bits;
use crate::oracle::logit_grads;

/// Of one row in f64, from its logits in f32: the gradient, and the sum of the sizes of its terms.
pub fn due<E: Element, W: Element>(
    case: &Case<E, W>,
    row: usize,
    logits: &[f32],
) -> (Vec<f64>, Vec<f64>) {
    let (mut grad, mut sizes) = (vec![0.0; case.size], vec![0.0; case.size]);
    for (column, d) in logit_grads(case, row, logits).into_iter().enumerate() {
        if logits[column] == f32::NEG_INFINITY {
            continue;
        }
        for h in 0..case.size {
            let term = d * f64::from(case.weights[column * case.stride + h].to_f32());
            grad[h] += term;
            sizes[h] += term.abs();
        }
    }
    (grad, sizes)
}

/// Errors by the sizes of the terms, in units of 2⁻²⁴: the largest.
pub fn worst<E: Element, W: Element>(case: &Case<E, W>, dispatch: Dispatch, found: &Found) -> f64 {
    let logits = case.written_out(dispatch.arithmetic());
    let mut worst: f64 = 0.0;
    for row in (0..case.rows).filter(|&row| case.is_scored(row)) {
        let (grad, sizes) = due(case, row, &logits[row * case.vocab..][..case.vocab]);
        for h in 0..case.size {
            let found = f64::from(found.grads[row * (case.size + 1) + h]);
            let error = (found - grad[h]).abs() * f64::from(1 << 24);
            // A gradient of nothing is 0; terms of less than 2^−124 of the row's base are too.
            let size = sizes[h].max(2.0_f64.powi(-100));
            worst = worst.max(if error == 0.0 { 0.0 } else { error / size });
        }
    }
    worst
}

pub fn check<E: Element, W: Element>(case: &Case<E, W>, bound: f64) {
    for dispatch in Dispatch::available() {
        let found = run(case, dispatch, 5, Unscored::Keep);
        found.summary.unwrap();
        let worst = worst(case, dispatch, &found);
        assert!(worst <= bound, "{dispatch:?}: {worst} of {bound}");
        for (row, grads) in found.grads.chunks(case.size + 1).enumerate() {
            let len = if case.is_scored(row) { case.size } else { 0 };
            assert!(grads[len..].iter().all(|&d| d == DIRT), "row {row} was written beyond {len}");
        }
    }
}

#[test]
fn gradients_are_those_of_plain_f64() {
    for (rows, size, vocab) in
        [(1, 1, 1), (2, 3, 31), (13, 17, 511), (25, 33, 512), (5, 257, 513), (9, 70, 1300)]
    {
        let case = Case::<f32, f32>::new(rows, size, vocab, 77 + vocab as u64);
        check(&case, 20.0);
        check(&case.with_bias(3), 20.0);
    }
    check(&Case::<bf16, bf16>::new(9, 45, 600, 1), 20.0);
    check(&Case::<f16, f32>::new(9, 45, 600, 2), 20.0);
}

#[test]
fn gradients_under_transforms() {
    let case = Case::<f32, f32>::new(9, 45, 1100, 1);
    for (scale, softcap, temperature) in
        [(0.0625, None, 1.0), (1.0, None, 0.7), (1.0, Some(30.0), 1.0), (2.0, Some(5.0), 1.5)]
    {
        check(&case.clone().with_transform(scale, softcap, temperature), 20.0);
    }
}

/// Levels of one arithmetic, rows at once: one result.
#[test]
fn gradients_have_the_same_bits_everywhere() {
    let case = Case::<bf16, f32>::new(27, 70, 1300, 4).with_bias(9);
    for dispatch in Dispatch::available() {
        let alike =
            Dispatch::available().find(|d| d.arithmetic() == dispatch.arithmetic()).unwrap();
        let due = run(&case, alike, 1, Unscored::Keep);
        for at_once in [1, 5, 12, 13, 40] {
            let found = run(&case, dispatch, at_once, Unscored::Keep);
            assert_eq!(bits(&found.grads), bits(&due.grads), "{dispatch:?}, {at_once} at once");
        }
    }
}

/// 1 − p = 1e-7 and less: nothing cancels.
#[test]
fn confident_tokens_keep_their_gradient() {
    for lead in [16.1, 30.0, 60.0] {
        let mut case = Case::<f32, bf16>::new(6, 40, 700, 4);
        let mut bias = vec![0.0; 700];
        for target in &mut case.targets {
            if *target != IGNORE_INDEX {
                *target = 650;
            }
        }
        bias[650] = lead + 6.0;
        case.bias = Some(bias);
        check(&case, 20.0);
    }
}

#[test]
fn rows_that_are_not_scored_become_zeros_if_asked_for() {
    let case = Case::<f32, f32>::new(8, 20, 40, 4);
    let found = run(&case, Dispatch::detect(), 3, Unscored::Zero);
    let kept = run(&case, Dispatch::detect(), 3, Unscored::Keep);
    for (row, (grads, kept)) in found.grads.chunks(21).zip(kept.grads.chunks(21)).enumerate() {
        if case.is_scored(row) {
            assert_eq!(bits(grads), bits(kept));
        } else {
            assert!(grads[..20].iter().all(|&d| d.to_bits() == 0), "{row}");
        }
        assert_eq!(grads[20], DIRT, "{row}");
    }
}

/// Coefficient 0: 0, whatever the row holds.
#[test]
fn rows_without_a_coefficient_have_no_gradient() {
    let mut case = Case::<f32, f32>::new(8, 20, 40, 4);
    case.coefficients[3] = 0.0;
    let found = run(&case, Dispatch::detect(), 8, Unscored::Keep);
    assert!(found.grads[63..83].iter().all(|&d| d.to_bits() == 0));
    assert!(found.grads[0..20].iter().any(|&d| d != 0.0), "the control");
}
