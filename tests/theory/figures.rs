//! Figures from 60-digit arithmetic, both tails of Bradley and Terry, and the typed errors.

use dpo_kernel::error::{Buffer, Error, Parameter};
use dpo_kernel::theory::{AnswerSet, preference_log_prob, preference_prob};

use crate::instance::U;

#[test]
fn figures_to_sixty_digits() {
    // (log π_ref, r, β, log Z, log π*)
    type Row = ([f64; 3], [f64; 3], f64, f64, [f64; 3]);
    const NEVER: f64 = f64::NEG_INFINITY;
    let rows: [Row; 4] = [
        (
            [-0.5, -1.25, -1.5],
            [1.0, -0.5, 2.0],
            0.5,
            2.819_566_665_304_423_606,
            [-1.319_566_665_304_423_606, -5.069_566_665_304_423_606, -0.319_566_665_304_423_606_2],
        ),
        (
            [-0.5, -1.25, -1.5],
            [1000.0, -1000.0, 999.9375],
            0.000_976_562_5,
            1_023_999.5,
            [-5.900_090_541_597_061_391e-29, -2_048_000.75, -65.0],
        ),
        (
            [-2.0, -0.125, -40.0],
            [0.75, 0.5, -0.25],
            1024.0,
            0.018_195_804_264_264_644_19,
            [-2.017_463_382_389_264_644, -0.142_707_523_014_264_644_2, -40.018_439_944_889_264_64],
        ),
        (
            [-0.5, -1.0, NEVER],
            [4.0, -4.0, 9.0],
            0.125,
            31.5,
            [-9.727_604_774_987_714e-29, -64.5, NEVER],
        ),
    ];
    for (reference, rewards, beta, log_z, policy) in rows {
        let answers = AnswerSet::new(&reference, &rewards, beta).unwrap();
        let found = answers.log_partition();
        assert!((found - log_z).abs() <= 4.0 * U * log_z.abs().max(1.0), "{found} is not {log_z}");
        let mut log_probs = [f64::NAN; 3];
        answers.optimal_policy(&mut log_probs).unwrap();
        for (found, expected) in log_probs.into_iter().zip(policy) {
            let close = (found - expected).abs() <= 8.0 * U * expected.abs();
            assert!(close || found == expected, "{found:e} is not {expected:e}");
        }
    }
}

#[test]
fn preferences_keep_both_tails() {
    // (Δ, log σ(Δ), σ(Δ))
    let rows = [
        (-1000.0, -1000.0, 0.0),
        (-100.0, -100.0, 3.720_075_976_020_836e-44),
        (-17.0, -17.000_000_041_399_376, 4.139_937_547_394_330_6e-8),
        (0.0, -core::f64::consts::LN_2, 0.5),
        (17.0, -4.139_937_633_089_747_4e-8, 0.999_999_958_600_624_53),
        (100.0, -3.720_075_976_020_836e-44, 1.0),
    ];
    for (delta, log_prob, prob) in rows {
        let found = (preference_log_prob(delta, 0.0), preference_prob(delta, 0.0));
        assert!(
            (found.0 - log_prob).abs() <= 8.0 * U * log_prob.abs(),
            "log σ({delta}): {found:?}"
        );
        assert!((found.1 - prob).abs() <= 8.0 * U * prob, "σ({delta}): {found:?}");
    }
    assert!(preference_log_prob(f64::NAN, 0.0).is_nan(), "NaN must stay NaN");
    assert!(preference_prob(0.0, f64::NAN).is_nan(), "NaN must stay NaN");
}

/// σ(z) − σ(Δ) where both round to 1, or to 0: the gradient is small, but not lost.
#[test]
fn gradients_keep_both_tails() {
    let rows = [
        (90.0, 100.0, -8.193_640_616_392_913_347e-40),
        (-40.0, -38.0, -2.714_297_366_518_870_632e-17),
        (100.0, 100.0, 0.0),
    ];
    for (z, delta, difference) in rows {
        let (reference, rewards) = ([-200.0, -200.0], [delta, 0.0]);
        let answers = AnswerSet::new(&reference, &rewards, 1.0).unwrap();
        let mut d = [f64::NAN; 2];
        answers.population_loss_grad(&[z - 200.0, -200.0], &[1.0, 1.0], &mut d).unwrap();
        assert!(
            (d[0] - difference).abs() <= 16.0 * U * difference.abs(),
            "z {z}, Δ {delta}: {d:?}"
        );
        assert_eq!(d[0], -d[1], "what one answer gains the other loses");
    }
}

/// NaN is not equal to itself, so errors are compared as they print.
fn same<T>(found: Result<T, Error>, expected: Error) {
    let (found, expected) = (format!("{:?}", found.err()), format!("{:?}", Some(expected)));
    assert_eq!(found, expected, "another error than expected");
}

#[test]
fn wrong_inputs_are_named_and_nothing_is_written() {
    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;
    let length = |expected, found| Error::Length { buffer: Buffer::Answers, expected, found };
    let invalid = |index, value| Error::InvalidValue { buffer: Buffer::Answers, index, value };

    let (two, rewards) = ([-0.5, -1.0], [1.0, 0.0]);
    for beta in [0.0, -1.0, INF, NAN] {
        same(
            AnswerSet::new(&two, &rewards, beta),
            Error::Parameter { parameter: Parameter::Beta, value: beta },
        );
    }
    same(AnswerSet::new(&[], &[], 0.1), length(1, 0));
    same(AnswerSet::new(&two, &[1.0], 0.1), length(2, 1));
    same(AnswerSet::new(&[-0.5, NAN], &rewards, 0.1), invalid(1, NAN));
    same(AnswerSet::new(&[INF, -0.5], &rewards, 0.1), invalid(0, INF));
    same(AnswerSet::new(&two, &[0.0, -INF], 0.1), invalid(1, -INF));
    same(AnswerSet::new(&[-INF, -INF], &rewards, 0.1), invalid(0, -INF));

    let answers = AnswerSet::new(&two, &rewards, 0.1).unwrap();
    let half_reference = [0.0, -INF];
    let half = AnswerSet::new(&half_reference, &rewards, 0.1).unwrap();
    let (mut three, mut out) = ([7.0; 3], [7.0; 2]);
    same(answers.objective(&[0.0]), length(2, 1));
    same(answers.objective(&[0.0, NAN]), invalid(1, NAN));
    same(answers.optimal_policy(&mut three), length(2, 3));
    same(answers.implicit_rewards(&two, 0.0, &mut three), length(2, 3));
    same(answers.implicit_rewards(&[-1.0], 0.0, &mut out), length(2, 1));
    same(answers.implicit_rewards(&[-1.0, INF], 0.0, &mut out), invalid(1, INF));
    same(half.implicit_rewards(&two, 0.0, &mut out), invalid(1, -INF));

    let even = [1.0, 1.0];
    let no_pair = |value| Error::Parameter { parameter: Parameter::Divisor, value };
    let cases: [(&AnswerSet<'_>, &[f64], &[f64], Error); 8] = [
        (&answers, &[-1.0], &even, length(2, 1)),
        (&answers, &two, &[1.0], length(2, 1)),
        (&answers, &two, &[1.0, -1.0], invalid(1, -1.0)),
        (&answers, &two, &[INF, 1.0], invalid(0, INF)),
        (&answers, &[-1.0, -INF], &even, invalid(1, -INF)),
        (&half, &two, &even, invalid(1, -INF)),
        (&answers, &two, &[1.0, 0.0], no_pair(0.0)),
        (&answers, &two, &[1e200, 1e200], no_pair(INF)),
    ];
    for (answers, log_probs, weights, expected) in cases {
        same(answers.population_loss(log_probs, weights), expected);
        same(answers.population_loss_grad(log_probs, weights, &mut out), expected);
    }
    same(answers.population_loss_grad(&two, &even, &mut three), length(2, 3));
    assert_eq!((three, out), ([7.0; 3], [7.0; 2]), "an error must not change an output");
}
