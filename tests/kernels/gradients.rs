//! Gradients of whole batches three ways: the kernels', dual numbers', and differences of the loss.
//!
//! The kernels' gradient errs with p, by (4 + |ln p|)·2⁻²⁴ of it, and with c, because the f32
//! log-probs of the tokens move z: |ln p| stays below 30 here, a sequence has three tokens, and β ≤
//! 1, so 2⁻²⁴ of the largest gradient some sixty times bounds both. Under a softcap, y errs by two
//! ulp of c/temperature beside it.

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::{GradBatch, logit_grads};
use dpo_kernel::row::RowNorm;
use dpo_kernel::verify::cases::strategy::{Hardness, batches};
use dpo_kernel::verify::cases::{BatchCase, LayoutCase};
use dpo_kernel::verify::{IGNORE_INDEX, batch_loss_derivative};
use dpo_kernel::{
    Error, Layout, Logits, LogitsMut, Span, TokenOut, bf16, f16, token_log_probs, verify,
};
use proptest::strategy::Strategy;

use crate::accuracy::probabilities::HALF_ULP;
use crate::common::batch::{Found, stages, step};
use crate::common::coefficients::coefficients;
use crate::common::levels::for_each_dispatch;
use crate::common::property::{holds, on_every_level};
use crate::rows::Store;

fn cases(most_columns: usize) -> impl Strategy<Value = BatchCase> {
    batches(most_columns, Hardness::Moderate)
}

fn tolerance(case: &BatchCase) -> f64 {
    let cap = case.transform.softcap.map_or(0.0, |c| c / case.transform.temperature);
    (60.0 + 12.0 * cap) * HALF_ULP * largest_grad(case)
}

/// An upper bound of all gradients.
fn largest_grad(case: &BatchCase) -> f64 {
    let pairs: f64 = match &case.weights {
        Some(weights) => weights.iter().copied().map(f64::from).sum(),
        None => case.pairs.len() as f64,
    };
    let slope = case.transform.scale / case.transform.temperature;
    2.0 * pairs * case.dpo.beta * slope / case.divisor
}

/// Whether an error exceeds its bound; NaN does.
fn exceeds(error: f64, bound: f64) -> bool {
    error.is_nan() || error.abs() > bound
}

/// Rows that a pair scores.
fn paired(case: &BatchCase, row: usize) -> bool {
    let spans = &case.layout.spans;
    let sequence = spans.iter().position(|&(start, end)| (start..end).contains(&row));
    case.layout.is_scored(row)
        && case.pairs.iter().any(|&(c, r)| Some(c) == sequence || Some(r) == sequence)
}

/// Every gradient and the loss against the textbook on dual numbers. `storage` is what one rounding
/// to the gradients' type may add, relatively.
pub fn equals_dual_numbers<E: Store>(
    case: &BatchCase,
    found: &Found,
    storage: f64,
) -> Result<(), String> {
    case.with_exact::<E, _>(|batch| {
        for row in 0..case.rows() {
            for column in 0..case.vocab() {
                let grad = found.grads[row * case.stride + column];
                if !case.layout.is_scored(row) {
                    if !grad.is_nan() {
                        return Err(format!("row {row} was written: {grad}"));
                    }
                    continue;
                }
                let exact = if paired(case, row) {
                    batch_loss_derivative(batch, row, column)
                } else {
                    verify::Dual::constant(batch.loss(&mut vec![0.0; case.vocab()]))
                };
                let bound = tolerance(case) + storage * exact.derivative.abs();
                if exceeds(grad - exact.derivative, bound) {
                    let exact = exact.derivative;
                    return Err(format!(
                        "({row}, {column}): {grad:e} is not {exact:e} to {bound:e}"
                    ));
                }
                let loss = found.summary.as_ref().unwrap().loss_sum / case.divisor;
                if exceeds(loss - exact.value, tolerance(case) * 8.0 + 1e-6 * exact.value.abs()) {
                    return Err(format!("the loss {loss} is not {}", exact.value));
                }
            }
        }
        Ok(())
    })
}

/// Every gradient against differences of fourth order of the f64 loss: h⁴/30 of a fifth derivative
/// below 60 times the largest gradient, and 4e-15 of the loss over h.
fn equals_differences<E: Store>(case: &BatchCase, found: &Found) -> Result<(), String> {
    let h = 1.0 / 256.0;
    case.with_exact::<E, _>(|batch| {
        let mut moved = batch.logits.to_vec();
        let mut scratch = vec![0.0; case.vocab()];
        for row in (0..case.rows()).filter(|&row| paired(case, row)) {
            for column in 0..case.vocab() {
                let i = row * case.stride + column;
                let x = moved[i];
                let mut at = |h: f64| {
                    moved[i] = x + h;
                    let loss = verify::Batch { logits: &moved, ..*batch }.loss(&mut scratch);
                    moved[i] = x;
                    loss
                };
                let slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
                let size = at(0.0).abs().max(1.0);
                let bound =
                    tolerance(case) + 6e-15 * size / h + 2.0 * h.powi(4) * largest_grad(case);
                if exceeds(found.grads[i] - slope, bound) {
                    return Err(format!(
                        "logit {i}: {} is not {slope} to {bound:e}",
                        found.grads[i]
                    ));
                }
            }
        }
        Ok(())
    })
}

#[test]
fn of_the_stages_equal_dual_numbers() {
    fn equal<E: Store>(case: &BatchCase) -> Result<(), String> {
        on_every_level(|dispatch| equals_dual_numbers::<E>(case, &stages::<E>(case, dispatch), 0.0))
    }
    holds(256, cases(20), |case| {
        equal::<f32>(case).and_then(|()| equal::<f16>(case)).and_then(|()| equal::<bf16>(case))
    });
}

/// A token's coefficient is d·w of its sequence plus the NLL term's own, on every row and level.
#[test]
fn of_an_nll_term_ignore_token_weights() {
    let logits: Vec<f32> = (0..24).map(|i| (i * 7 % 11) as f32 * 0.5 - 2.0).collect();
    let (ids, spans) = ([1, 5, 0, 3], [Span::new(0, 1), Span::new(1, 4)]);
    let (d, d_nll, weights) = ([0.75, -0.5], [0.0, -0.125], [1.0, 0.0, 0.25, 3.0]);
    let mut scratch = [f64::NAN; 6];
    for_each_dispatch(|dispatch| {
        let view = Logits::new(&logits, 4, 6).unwrap();
        let (mut log_probs, mut norms) = ([0.0; 4], [RowNorm::default(); 4]);
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let layout = Layout::new(&ids, &spans, 6).unwrap();
        token_log_probs(dispatch, view, &layout, out).unwrap();
        let c = coefficients(&layout, &d, Some(&weights), Some(&d_nll)).unwrap();
        let batch = GradBatch::new(&layout, &norms, &c);
        let mut found = [f32::NAN; 24];
        logit_grads(dispatch, view, &batch, LogitsMut::new(&mut found, 4, 6).unwrap()).unwrap();
        for row in 0..4 {
            let sequence = usize::from(row > 0);
            let c = d[sequence] * f64::from(weights[row]) + d_nll[sequence];
            let x: Vec<f64> = logits[row * 6..][..6].iter().map(|&x| f64::from(x)).collect();
            let none = verify::Transform::NONE;
            verify::logit_grads(&x, &none, ids[row] as usize, c, &mut scratch);
            for (column, exact) in scratch.iter().enumerate() {
                let error = f64::from(found[row * 6 + column]) - exact;
                assert!(!exceeds(error, 10.0 * HALF_ULP * c.abs()), "row {row}, column {column}");
            }
            let wrong =
                d[sequence] * f64::from(weights[row]) + d_nll[sequence] * f64::from(weights[row]);
            let differs = (wrong - c).abs() > 1e-3;
            assert_eq!(
                differs,
                matches!(row, 1..=3),
                "the batch tells a weighted term from a plain one"
            );
        }
        let refused = coefficients(&layout, &d, None, Some(&[0.0, f64::NAN]));
        assert!(matches!(
            refused,
            Err(Error::InvalidValue { buffer: Buffer::NllGrads, index: 1, .. })
        ));
    });
}

#[test]
fn of_a_step_equal_dual_numbers() {
    fn equal<E: Store>(case: &BatchCase, storage: f64) -> Result<(), String> {
        on_every_level(|dispatch| {
            equals_dual_numbers::<E>(case, &step::<E>(case, dispatch), storage)
        })
    }
    holds(256, cases(20), |case| {
        equal::<f32>(case, 0.0)?;
        equal::<bf16>(case, 1.0 / 256.0)?;
        // f16 gradients below 2^-14 are subnormal: 2^-25 absolute.
        let subnormal = 3e-8 / tolerance(case) * HALF_ULP;
        if largest_grad(case) > 0.3 { equal::<f16>(case, 1.0 / 2048.0 + subnormal) } else { Ok(()) }
    });
}

#[test]
fn equal_differences_of_the_loss() {
    holds(128, cases(12), |case| {
        on_every_level(|dispatch| equals_differences::<f32>(case, &stages::<f32>(case, dispatch)))
    });
}

/// The step is its stages: the same bits, and the same errors.
#[test]
fn of_a_step_are_those_of_its_stages() {
    fn same<E: Store>(case: &BatchCase) -> Result<(), String> {
        on_every_level(|dispatch| {
            let (step, stages) = (step::<E>(case, dispatch), stages::<E>(case, dispatch));
            let rounded = |grads: &[f64]| -> Vec<u32> {
                let bits = |&g: &f64| E::from_f32(g as f32).bits() | u32::from(g.is_nan());
                grads.iter().map(bits).collect()
            };
            let bare = |found: &Found| Found { grads: Vec::new(), ..found.clone() };
            let same = step.summary == stages.summary
                && bare(&step).bits() == bare(&stages).bits()
                && (step.summary.is_err() || rounded(&step.grads) == rounded(&stages.grads));
            if same { Ok(()) } else { Err(format!("{}: {step:?} {stages:?}", E::NAME)) }
        })
    }
    let all = |case: &BatchCase| {
        same::<f32>(case).and_then(|()| same::<f16>(case)).and_then(|()| same::<bf16>(case))
    };
    holds(128, cases(40), all);
    holds(128, batches(40, Hardness::Adversarial), all);
}

/// Wrong gradients that both checkers must reject.
#[test]
fn planted_faults_are_caught() {
    let case = BatchCase {
        logits: vec![0.5, -1.0, 2.0, 1.5, 0.25, -0.5, -2.0, 1.0, 0.0],
        stride: 3,
        transform: verify::Transform { scale: 1.25, softcap: Some(4.0), temperature: 0.75 },
        layout: LayoutCase {
            vocab: 3,
            targets: vec![2, 0, 1],
            ignore: IGNORE_INDEX,
            spans: vec![(0, 2), (2, 3)],
        },
        token_weights: Some(vec![1.0, 0.5, 0.75]),
        pairs: vec![(0, 1)],
        reference: vec![-2.0, -1.0],
        weights: Some(vec![0.5]),
        offsets: Some(vec![0.25]),
        dpo: verify::Dpo { beta: 0.5, label_smoothing: 0.1 },
        divisor: 2.0,
    };
    let with = |change: fn(&mut BatchCase)| {
        let mut wrong = case.clone();
        change(&mut wrong);
        stages::<f32>(&wrong, dpo_kernel::Dispatch::detect())
    };
    let right = with(|_| {});
    equals_dual_numbers::<f32>(&case, &right, 0.0).unwrap();
    equals_differences::<f32>(&case, &right).unwrap();
    let edited = |edit: fn(&mut Vec<f64>)| {
        let mut wrong = right.clone();
        edit(&mut wrong.grads);
        wrong
    };
    let faults = [
        ("sign", edited(|grads| grads.iter_mut().for_each(|g| *g = -*g))),
        ("last column", edited(|grads| grads[8] = 0.0)),
        ("fifth digit", edited(|grads| grads[4] += 2e-5)),
        ("NaN", edited(|grads| grads[0] = f64::NAN)),
        ("softcap", with(|case| case.transform.softcap = None)),
        ("scale", with(|case| case.transform.scale = 1.0)),
        ("temperature", with(|case| case.transform.temperature = 1.0)),
        ("temperature's derivative", edited(|grads| grads.iter_mut().for_each(|g| *g *= 0.75))),
        ("shift by one", with(|case| case.layout.targets.rotate_left(1))),
        ("token weights", with(|case| case.token_weights = None)),
        ("pair weights", with(|case| case.weights = None)),
        ("offset", with(|case| case.offsets = None)),
        ("label smoothing", with(|case| case.dpo.label_smoothing = 0.0)),
        ("beta", with(|case| case.dpo.beta = 0.1)),
        ("reference", with(|case| case.reference[1] = 0.0)),
        ("chosen and rejected", with(|case| case.pairs[0] = (1, 0))),
        ("divisor", with(|case| case.divisor = 1.0)),
    ];
    for (what, wrong) in faults {
        assert!(equals_dual_numbers::<f32>(&case, &wrong, 0.0).is_err(), "duals passed: {what}");
        assert!(equals_differences::<f32>(&case, &wrong).is_err(), "differences passed: {what}");
    }
}
