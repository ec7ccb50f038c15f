//! Gradients three ways: closed form, dual numbers, and differences of the loss.

use dpo_kernel::verify::{Batch, Dpo, Dual, IGNORE_INDEX, Transform, batch_loss_derivative};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// What a [`Batch`] borrows. Columns past the vocabulary and rows that are not scored hold NaN.
#[derive(Clone, Debug)]
struct Case {
    logits: Vec<f64>,
    vocab: usize,
    stride: usize,
    transform: Transform,
    targets: Vec<u32>,
    token_weights: Option<Vec<f64>>,
    spans: Vec<(usize, usize)>,
    pairs: Vec<(usize, usize)>,
    reference: Vec<f64>,
    pair_weights: Option<Vec<f64>>,
    pair_offsets: Option<Vec<f64>>,
    dpo: Dpo,
    divisor: f64,
}

impl Case {
    fn batch(&self) -> Batch<'_> {
        Batch {
            logits: &self.logits,
            vocab: self.vocab,
            stride: self.stride,
            transform: self.transform,
            targets: &self.targets,
            ignore: IGNORE_INDEX,
            token_weights: self.token_weights.as_deref(),
            spans: &self.spans,
            pairs: &self.pairs,
            reference: &self.reference,
            pair_weights: self.pair_weights.as_deref(),
            pair_offsets: self.pair_offsets.as_deref(),
            dpo: self.dpo,
            divisor: self.divisor,
        }
    }

    fn loss(&self) -> f64 {
        self.batch().loss(&mut vec![f64::NAN; self.vocab])
    }

    fn grads(&self) -> Vec<f64> {
        let mut d_logits = vec![0.0; self.logits.len()];
        self.batch().add_logit_grads(&mut vec![f64::NAN; self.vocab], &mut d_logits);
        d_logits
    }

    /// By how many nats, at most, the losses are functions of log-probs and their references: of a
    /// token 12·scale/temperature + ln 5 nats, of a reference 10.
    fn nats(&self) -> f64 {
        let per_token = 12.0 * self.transform.scale / self.transform.temperature + 2.0;
        let length = (self.targets.len() / SEQUENCES) as f64;
        let weights: f64 = match &self.pair_weights {
            Some(weights) => weights.iter().sum(),
            None => self.pairs.len() as f64,
        };
        weights * self.dpo.beta / self.divisor * 2.0 * (length * per_token + 10.0)
    }

    /// An upper bound of all gradients: each pair holds a row at most twice, and
    /// |∂L/∂x| ≤ w_pair β w_t scale/(temperature · divisor).
    fn largest_grad(&self) -> f64 {
        let pairs: f64 = match &self.pair_weights {
            Some(weights) => weights.iter().sum(),
            None => self.pairs.len() as f64,
        };
        2.0 * pairs * self.dpo.beta * self.transform.scale
            / self.transform.temperature
            / self.divisor
    }
}

const SEQUENCES: usize = 3;

fn cases() -> impl Strategy<Value = Case> {
    (1..=5_usize, 0..=2_usize, 1..=3_usize).prop_flat_map(|(vocab, padding, length)| {
        let (rows, stride) = (SEQUENCES * length, vocab + padding);
        let sequence = 0..SEQUENCES;
        let pair = (sequence.clone(), sequence).prop_filter("two answers", |(c, r)| c != r);
        let last_target = u32::try_from(vocab - 1).unwrap();
        let transform = (0.25..2.0, proptest::option::of(2.0..30.0), 0.5..2.0)
            .prop_map(|(scale, softcap, temperature)| Transform { scale, softcap, temperature });
        let logits = (vec(-6.0..6.0, rows * stride), transform);
        let tokens = (
            vec(prop_oneof![4 => 0..=last_target, 1 => Just(IGNORE_INDEX)], rows),
            proptest::option::of(vec(0.0..=1.0, rows)),
            vec(-10.0..0.0, SEQUENCES),
        );
        let pairs = vec(pair, 1..=3).prop_flat_map(|pairs| {
            let n = pairs.len();
            let options =
                (proptest::option::of(vec(0.0..=2.0, n)), proptest::option::of(vec(-0.5..=0.5, n)));
            (Just(pairs), options, 0.05..1.0, 0.0..=0.5, 1.0..8.0)
        });
        (logits, tokens, pairs).prop_map(move |(logits, tokens, pairs)| {
            let ((mut logits, transform), (targets, token_weights, reference)) = (logits, tokens);
            let (pairs, (pair_weights, pair_offsets), beta, label_smoothing, divisor) = pairs;
            for (i, x) in logits.iter_mut().enumerate() {
                let (row, column) = (i / stride, i % stride);
                if column >= vocab || targets[row] == IGNORE_INDEX {
                    *x = f64::NAN;
                } else if column + 1 < vocab
                    && *x < -5.0
                    && usize::try_from(targets[row]) != Ok(column)
                {
                    *x = f64::NEG_INFINITY;
                }
            }
            let spans = (0..SEQUENCES).map(|i| (i * length, (i + 1) * length)).collect();
            let dpo = Dpo { beta, label_smoothing };
            Case {
                logits,
                vocab,
                stride,
                transform,
                targets,
                token_weights,
                spans,
                pairs,
                reference,
                pair_weights,
                pair_offsets,
                dpo,
                divisor,
            }
        })
    })
}

/// Whether an error exceeds its bound; NaN does.
fn exceeds(error: f64, bound: f64) -> bool {
    error.is_nan() || error.abs() > bound
}

/// The closed form against dual numbers, for every logit there is.
///
/// Both round terms that are at most the largest gradient a few dozen times, and this bound of the
/// largest gradient is generous: 10⁻¹⁵ of it was enough for some ten thousand batches.
fn equals_dual_numbers(case: &Case, grads: &[f64]) -> Result<(), String> {
    const TOLERANCE: f64 = 2e-15;
    let batch = case.batch();
    for (i, &grad) in grads.iter().enumerate() {
        let (row, column) = (i / case.stride, i % case.stride);
        let dual = batch_loss_derivative(&batch, row, column);
        if exceeds(grad - dual.derivative, TOLERANCE * case.largest_grad()) {
            return Err(format!(
                "row {row}, column {column}: {grad:e} is not {:e}",
                dual.derivative
            ));
        }
        // Either may round each of these sums once where the other does not.
        let bound = TOLERANCE * dual.value.abs().max(1.0) + f64::EPSILON * case.nats();
        if exceeds(case.loss() - dual.value, bound) {
            return Err(format!("loss {:e} is not {:e}", case.loss(), dual.value));
        }
    }
    Ok(())
}

/// The closed form against differences of the loss of fourth order, for every logit there is.
///
/// With h = 2⁻⁸ the fifth derivative, below 60 times the largest gradient for these transforms,
/// leaves h⁴/30 of it; the loss is within 10⁻¹⁵ of itself, or of 1, and the differences amplify
/// that by 3/(2h).
fn equals_differences(case: &Case, grads: &[f64]) -> Result<(), String> {
    let h = 1.0 / 256.0;
    let mut moved = case.clone();
    for (i, &grad) in grads.iter().enumerate() {
        let x = case.logits[i];
        let mut difference = |h: f64| {
            moved.logits[i] = x + h;
            let above = moved.loss();
            moved.logits[i] = x - h;
            let difference = above - moved.loss();
            moved.logits[i] = x;
            difference
        };
        let slope = (8.0 * difference(h) - difference(2.0 * h)) / (12.0 * h);
        let rounding = 4e-15 * case.loss().abs().max(1.0) * 1.5 / h;
        let bound = rounding + 60.0 / 30.0 * h.powi(4) * case.largest_grad();
        if exceeds(grad - slope, bound) {
            return Err(format!("logit {i}: {grad:e} is not {slope:e}, to {bound:e}"));
        }
    }
    Ok(())
}

fn for_cases(cases_wanted: u32, check: impl Fn(&Case) -> Result<(), String>) {
    let config = ProptestConfig {
        cases: cases_wanted,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let result =
        TestRunner::new(config).run(&cases(), |case| check(&case).map_err(TestCaseError::fail));
    if let Err(why) = result {
        panic!("{why}");
    }
}

#[test]
fn closed_form_equals_dual_numbers() {
    for_cases(2048, |case| equals_dual_numbers(case, &case.grads()));
}

#[test]
fn closed_form_equals_differences_of_the_loss() {
    for_cases(512, |case| equals_differences(case, &case.grads()));
}

/// Wrong gradients that both checkers must reject.
#[test]
fn planted_faults_are_caught() {
    // A batch in which each part of the pipeline matters.
    let case = Case {
        logits: vec![0.5, -1.0, 2.0, 1.5, 0.25, -0.5, -2.0, 1.0, 0.0],
        vocab: 3,
        stride: 3,
        transform: Transform { scale: 1.25, softcap: Some(4.0), temperature: 0.75 },
        targets: vec![2, 0, 1],
        token_weights: Some(vec![1.0, 0.5, 0.75]),
        spans: vec![(0, 2), (2, 3)],
        pairs: vec![(0, 1)],
        reference: vec![-2.0, -1.0],
        pair_weights: Some(vec![0.5]),
        pair_offsets: Some(vec![0.25]),
        dpo: Dpo { beta: 0.5, label_smoothing: 0.1 },
        divisor: 2.0,
    };
    let right = case.grads();
    equals_dual_numbers(&case, &right).unwrap();
    equals_differences(&case, &right).unwrap();
    // Without a weight its rows have no gradient, and nothing is added to them.
    let mut untouched = vec![f64::NAN; 9];
    let left_out = Case { pair_weights: Some(vec![0.0]), ..case.clone() };
    left_out.batch().add_logit_grads(&mut [0.0; 3], &mut untouched);
    assert!(untouched.iter().all(|d| d.is_nan()), "{untouched:?}");
    let mut off = right.clone();
    off[4] *= 1.0 + 1e-11;
    assert!(equals_dual_numbers(&case, &off).is_err(), "duals passed a wrong eleventh digit");
    off[4] *= 1.0 + 1e-6;
    assert!(equals_differences(&case, &off).is_err(), "differences passed a wrong sixth digit");

    let with = |change: fn(&mut Case)| {
        let mut wrong = case.clone();
        change(&mut wrong);
        wrong.grads()
    };
    let faults = [
        ("sign", right.iter().map(|d| -d).collect()),
        ("softcap", with(|case| case.transform.softcap = None)),
        ("scale", with(|case| case.transform.scale = 1.0)),
        ("temperature", with(|case| case.transform.temperature = 1.0)),
        ("shift by one", with(|case| case.targets.rotate_left(1))),
        ("token weights", with(|case| case.token_weights = None)),
        ("pair weights", with(|case| case.pair_weights = None)),
        ("offset", with(|case| case.pair_offsets = None)),
        ("label smoothing", with(|case| case.dpo.label_smoothing = 0.0)),
        ("beta", with(|case| case.dpo.beta = 0.1)),
        ("reference", with(|case| case.reference[1] = 0.0)),
        ("chosen and rejected", with(|case| case.pairs[0] = (1, 0))),
        ("divisor", with(|case| case.divisor = 1.0)),
    ];
    for (what, wrong) in faults {
        assert!(equals_dual_numbers(&case, &wrong).is_err(), "duals passed a wrong {what}");
        assert!(equals_differences(&case, &wrong).is_err(), "differences passed a wrong {what}");
    }
}

/// What nobody scores is neither read nor written, and without a softcap rows of gradients sum to
/// 0.
#[test]
fn rows_without_a_pair_are_not_touched() {
    for_cases(512, |case| {
        let mut d_logits = vec![f64::NAN; case.logits.len()];
        let scored = |row: usize| {
            let sequence = row * SEQUENCES / case.targets.len();
            let paired = case.pairs.iter().any(|&(c, r)| c == sequence || r == sequence);
            paired && case.targets[row] != IGNORE_INDEX
        };
        for (i, d) in d_logits.iter_mut().enumerate() {
            if i % case.stride < case.vocab && scored(i / case.stride) {
                *d = 0.0;
            }
        }
        // A row longer than it need be must make no difference.
        let mut scratch = vec![f64::NAN; case.vocab + 3];
        case.batch().add_logit_grads(&mut scratch, &mut d_logits);
        for (i, (d, clean)) in d_logits.iter().zip(case.grads()).enumerate() {
            let (row, column) = (i / case.stride, i % case.stride);
            let written = column < case.vocab && scored(row);
            if written && d.to_bits() != clean.to_bits() || !written && !d.is_nan() {
                return Err(format!("row {row}, column {column} holds {d}"));
            }
        }
        let mut rows =
            d_logits.chunks(case.stride).map(|row| row[..case.vocab].iter().sum::<f64>());
        if case.transform.softcap.is_none()
            && rows.any(|sum| sum.abs() > 1e-14 * case.largest_grad())
        {
            return Err("a row of gradients does not sum to 0".into());
        }
        Ok(())
    });
}

/// Each rule of the dual numbers against a difference of fourth order and against the calculus
/// book.
#[test]
fn dual_numbers_know_calculus() {
    type Rule = (&'static str, fn(Dual) -> Dual, fn(f64) -> f64);
    let rules: [Rule; 7] = [
        ("x + x", |x| x + x, |_| 2.0),
        ("1 − x", |x| Dual::constant(1.0) - x, |_| -1.0),
        ("x · x", |x| x * x, |x| 2.0 * x),
        ("(1 + x)/x", |x| (Dual::constant(1.0) + x) / x, |x| -1.0 / (x * x)),
        ("exp(x · x)", |x| (x * x).exp(), |x| 2.0 * x * (x * x).exp()),
        ("ln(x · x)", |x| (x * x).ln(), |x| 2.0 / x),
        ("tanh(x)", Dual::tanh, |x| x.cosh().powi(-2)),
    ];
    proptest!(ProptestConfig { cases: 1024, failure_persistence: None, ..Default::default() }, |(
        size in 0.5..1.5_f64, negative: bool
    )| {
        let x = if negative { -size } else { size };
        for (what, rule, derivative) in rules {
            let found = rule(Dual::variable(x));
            let (expected, at) = (derivative(x), |x: f64| rule(Dual::constant(x)).value);
            prop_assert!((found.derivative - expected).abs() <= 1e-14 * expected.abs().max(1.0), "{}", what);
            let h = 1.0 / 1024.0;
            let slope = (8.0 * (at(x + h) - at(x - h)) - (at(x + 2.0 * h) - at(x - 2.0 * h))) / (12.0 * h);
            // h⁴/30 = 3·10⁻¹⁴ of a fifth derivative that is below 10⁴ here.
            prop_assert!((found.derivative - slope).abs() <= 4e-10, "{}: {} {}", what, found.derivative, slope);
            prop_assert_eq!(at(x), found.value);
        }
    });
}
