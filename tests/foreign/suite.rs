//! The suite: what a backend finds against the reference, on the crate's cases.
//!
//! This is all that a foreign backend has to write. It computes in f64 and rounds to f32 once, so
//! half an ulp is allowed, and what f64 rounds away.

use dpo_kernel::verify::cases::strategy::{Hardness, batches, losses, pair_cases};
use dpo_kernel::verify::cases::{BatchCase, PairCase, RowCase};
use dpo_kernel::verify::{self, Dpo, Mismatch, PairResult, Tolerance, compare, compare_all};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::backend::Backend;

/// The first objection to a backend: the smallest case found, and what is wrong with it.
pub fn objection(backend: Backend) -> Option<String> {
    let pairs = (pair_cases(), losses(Hardness::Adversarial));
    first_failure(2000, pairs, |(pair, dpo)| check_pair(backend, pair, dpo)).or_else(|| {
        first_failure(600, batches(40, Hardness::Adversarial), |case| check_step(backend, case))
    })
}

/// The same cases in every run.
fn first_failure<S: Strategy>(
    cases: u32,
    strategy: S,
    check: impl Fn(&S::Value) -> Result<(), Mismatch>,
) -> Option<String> {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 10_000, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let failed = |why: Mismatch| TestCaseError::fail(why.to_string());
    runner.run(&strategy, |case| check(&case).map_err(failed)).err().map(|why| why.to_string())
}

fn check_pair(backend: Backend, pair: &PairCase, dpo: &Dpo) -> Result<(), Mismatch> {
    let (weight, offset) = (f64::from(pair.weight), f64::from(pair.offset));
    let figures = |result: &PairResult| {
        let PairResult { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } =
            *result;
        [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected]
    };
    let expected = verify::preference_loss(dpo, &pair.log_probs, weight, offset);
    let found = backend.pair(dpo, pair);
    // ε·z and ε are subtracted: their roundings remain.
    let smoothed = 8.0 * f64::EPSILON * weight * dpo.label_smoothing;
    let z = expected.margin - offset;
    let absolute = |i| match i {
        0 => smoothed * (1.0 + z.abs()),
        4.. => smoothed * dpo.beta,
        _ => 0.0,
    };
    compare_all("figures of a pair", &[z; 6], &figures(&expected), &figures(&found), |i| {
        Tolerance::ulps(4.0).and_absolute(absolute(i))
    })
}

fn check_step(backend: Backend, case: &BatchCase) -> Result<(), Mismatch> {
    let found = backend.step(case);
    check_rows(case, &found.log_probs, &found.d_log_probs, &found.grads)?;
    check_sums(case, &found.log_probs, &found.sums)?;
    check_losses(case, &found.sums, &found.d_log_probs)
}

/// Every row's log-prob and gradient; rows that nobody scores, and padding, are left alone.
fn check_rows(
    case: &BatchCase,
    log_probs: &[f32],
    d_log_probs: &[f64],
    grads: &[f32],
) -> Result<(), Mismatch> {
    for row in 0..case.rows() {
        let scored = case.layout.is_scored(row);
        let start = row * case.stride;
        let width = if scored { case.vocab() } else { 0 };
        let rest = &grads[start + width..grads.len().min(start + case.stride)];
        let nothing = vec![f64::NAN; rest.len()];
        compare_all("padding", &nothing, &nothing, rest, |_| Tolerance::EXACT)?;
        if !scored {
            compare("log p of nobody", row as f64, f64::NAN, log_probs[row], Tolerance::EXACT)?;
            continue;
        }
        let inside = |&(start, end): &(usize, usize)| (start..end).contains(&row);
        let sequence = case.layout.spans.iter().position(inside).expect("a scored row");
        let weight = case.token_weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]));
        let one = RowCase {
            logits: case.logits[start..][..case.vocab()].to_vec(),
            transform: case.transform,
            target: case.layout.targets[row] as usize,
            coefficient: d_log_probs[sequence] * weight,
        };
        check_row(&one, log_probs[row], &grads[start..][..case.vocab()])?;
    }
    Ok(())
}

fn check_row(row: &RowCase, log_prob: f32, grads: &[f32]) -> Result<(), Mismatch> {
    let y = row.transformed::<f32>();
    let finite = y.iter().map(|y| y.abs()).filter(|y| y.is_finite());
    let of_f64 = 8.0 * f64::EPSILON * (1.0 + finite.fold(0.0, f64::max));
    let expected = row.log_prob::<f32>();
    let tolerance = Tolerance::ulps(0.5).and_absolute(of_f64);
    compare("log p", y[row.target], expected, log_prob, tolerance)?;
    if !row.coefficient.is_finite() {
        // A loss that is not finite has no gradient: backends refuse it, or give what they like.
        return Ok(());
    }
    // c = 0 asks for no norm, so that rows without one have a gradient of 0.
    let exact = row.grads::<f32>();
    let exact = if row.coefficient == 0.0 { vec![0.0; exact.len()] } else { exact };
    let size = (row.coefficient * row.transform.scale / row.transform.temperature).abs();
    compare_all("gradient", &row.exact::<f32>(), &exact, grads, |j| {
        // 1 − p of a confident token has the absolute error of log p.
        let absolute = if j == row.target { size * of_f64 } else { 0.0 };
        Tolerance::ulps(0.5).and_relative(of_f64 + 1e-13).and_absolute(absolute)
    })
}

/// The sums of the backend's own log-probs, in f64.
fn check_sums(case: &BatchCase, log_probs: &[f32], sums: &[f64]) -> Result<(), Mismatch> {
    let wide = |x: &[f32]| x.iter().copied().map(f64::from).collect::<Vec<_>>();
    let weights = case.token_weights.as_ref().map(|weights| wide(weights));
    let log_probs = wide(log_probs);
    for (i, &span) in case.layout.spans.iter().enumerate() {
        let (targets, ignore) = (&case.layout.targets, case.layout.ignore);
        let weights = weights.as_deref();
        let exact = verify::sequence_log_prob(&log_probs, targets, ignore, weights, span).sum;
        let tolerance = Tolerance::EXACT.and_relative(1e-14);
        compare("sum of tokens", i as f64, exact, sums[i], tolerance)?;
    }
    Ok(())
}

/// ∂L/∂log π of every sequence, from the backend's own sums.
fn check_losses(case: &BatchCase, sums: &[f64], found: &[f64]) -> Result<(), Mismatch> {
    let mut exact = vec![0.0; sums.len()];
    let mut size = vec![0.0; sums.len()];
    for (i, &(chosen, rejected)) in case.pairs.iter().enumerate() {
        let entry = |x: &Option<Vec<f32>>, default| x.as_ref().map_or(default, |x| f64::from(x[i]));
        let log_probs = verify::PairLogProbs {
            policy_chosen: sums[chosen],
            policy_rejected: sums[rejected],
            reference_chosen: case.reference[chosen],
            reference_rejected: case.reference[rejected],
        };
        let (weight, offset) = (entry(&case.weights, 1.0), entry(&case.offsets, 0.0));
        let result = verify::preference_loss(&case.dpo, &log_probs, weight, offset);
        for (sequence, d) in [(chosen, result.d_chosen), (rejected, result.d_rejected)] {
            exact[sequence] += d / case.divisor;
            size[sequence] += weight * case.dpo.beta / case.divisor;
        }
    }
    compare_all("∂L/∂log π", sums, &exact, found, |i| {
        Tolerance::EXACT.and_relative(1e-13).and_absolute(1e-14 * size[i])
    })
}
