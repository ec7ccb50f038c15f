//! Special values: masked vocabulary, broken rows, ties, confident tokens, ignored rows.

use dpo_kernel::verify::{
    Dpo, IGNORE_INDEX, PairLogProbs, SequenceLogProb, Transform, argmax, entropy, log_prob,
    log_sum_exp, log_sum_sq_probs, logit_grads, mean_logit, preference_loss, sequence_log_prob,
    transform_row,
};

use crate::close;

const INF: f64 = f64::INFINITY;
const CAPPED: Transform = Transform { scale: 0.5, softcap: Some(30.0), temperature: 0.7 };

#[test]
fn masked_vocabulary_has_no_probability_and_no_gradient() {
    for transform in [Transform::NONE, CAPPED] {
        let (masked, plain) = ([-INF, 1.0, -INF, 2.0, -INF], [1.0, 2.0]);
        let (mut y, mut y_plain) = ([0.0; 5], [0.0; 2]);
        transform_row(&masked, &transform, &mut y);
        transform_row(&plain, &transform, &mut y_plain);
        assert_eq!(log_sum_exp(&y), log_sum_exp(&y_plain), "log Z");
        assert_eq!(log_prob(&y, 3), log_prob(&y_plain, 1), "log-prob");
        assert_eq!(log_prob(&y, 0), -INF, "log-prob of a masked target");
        assert_eq!(entropy(&y), entropy(&y_plain), "entropy");
        assert_eq!(log_sum_sq_probs(&y), log_sum_sq_probs(&y_plain), "log Σp²");
        assert_eq!(mean_logit(&y), -INF, "mean logit");
        assert_eq!(argmax(&y), Some(3), "argmax");
        let (mut dx, mut dx_plain) = ([9.0; 5], [9.0; 2]);
        logit_grads(&masked, &transform, 3, -2.0, &mut dx);
        logit_grads(&plain, &transform, 1, -2.0, &mut dx_plain);
        assert_eq!(dx, [0.0, dx_plain[0], 0.0, dx_plain[1], 0.0], "gradient");
        logit_grads(&masked, &transform, 0, -2.0, &mut dx);
        assert_eq!((dx[0], dx[2], dx[4]), (0.0, 0.0, 0.0), "gradient of a masked target");
    }
}

#[test]
fn broken_rows_have_no_figures() {
    for x in [[f64::NAN, 0.0], [0.0, INF], [INF, -INF], [-INF, -INF], [f64::NAN, -INF]] {
        for transform in [Transform::NONE, CAPPED] {
            let (mut y, mut dx) = ([0.0; 2], [0.0; 2]);
            transform_row(&x, &transform, &mut y);
            let figures = [
                log_sum_exp(&y),
                log_prob(&y, 0),
                entropy(&y),
                mean_logit(&y),
                log_sum_sq_probs(&y),
            ];
            assert!(figures.iter().all(|figure| figure.is_nan()), "{x:?}: {figures:?}");
            assert_eq!(argmax(&y), None, "{x:?}");
            logit_grads(&x, &transform, 0, 1.0, &mut dx);
            assert!(dx.iter().all(|d| d.is_nan()), "{x:?}: {dx:?}");
        }
    }
    assert!(log_sum_exp(&[]).is_nan(), "no columns");
    assert!(log_prob(&[1.0], 1).is_nan(), "a target that the row lacks");
}

#[test]
fn ties_go_to_the_first() {
    assert_eq!(argmax(&[1.0, 3.0, 3.0, 2.0]), Some(1), "two of three");
    assert_eq!(argmax(&[0.0, -0.0]), Some(0), "signed zeros are equal");
    assert_eq!(argmax(&[-0.0, 0.0]), Some(0), "signed zeros are equal");
}

#[test]
fn confident_tokens_keep_their_doubt() {
    // p = 1/(1 + e⁻⁴⁰): log p = −log1p(e⁻⁴⁰), 1 − p = e⁻⁴⁰/(1 + e⁻⁴⁰).
    let doubt = 4.248_354_255_291_589e-18;
    for y in [[40.0, 0.0], [1040.0, 1000.0]] {
        close("log-prob", log_prob(&y, 0) / doubt, -1.0, 4e-16);
        close("log Σp²", log_sum_sq_probs(&y) / doubt, -2.0, 4e-16);
        close("entropy", entropy(&y) / doubt, 41.0, 4e-16);
        let mut dx = [0.0; 2];
        logit_grads(&y, &Transform::NONE, 0, 1.0, &mut dx);
        close("gradient", dx[0] / doubt, 1.0, 4e-16);
        assert_eq!(dx[0], -dx[1], "gradient");
    }
}

#[test]
fn huge_logits_overflow_nothing() {
    let y = [f64::from(f32::MAX), -f64::from(f32::MAX), 0.0];
    assert_eq!(log_sum_exp(&y), y[0], "log Z");
    assert_eq!(log_prob(&y, 0), 0.0, "log-prob");
    assert_eq!(log_prob(&y, 1), 2.0 * y[1], "log-prob");
    assert_eq!(entropy(&y), 0.0, "entropy");
    let mut capped = [0.0; 3];
    transform_row(&y, &CAPPED, &mut capped);
    assert_eq!(capped, [30.0 / 0.7, -30.0 / 0.7, 0.0], "softcap");
    let mut dx = [0.0; 3];
    logit_grads(&y, &CAPPED, 1, 1.0, &mut dx);
    assert_eq!((dx[0], dx[1]), (-0.0, 0.0), "the cap is flat out there");
}

#[test]
fn sequences_skip_what_is_not_scored() {
    let nan = f64::NAN;
    let log_probs = [nan, -1.0, nan, -2.0, -4.0, nan];
    let targets = [0, 7, IGNORE_INDEX, 0, 3, 0];
    let sum = |weights, span| sequence_log_prob(&log_probs, &targets, IGNORE_INDEX, weights, span);
    assert_eq!(sum(None, (1, 5)), SequenceLogProb { sum: -7.0, count: 3 }, "no weights");
    let weights = [nan, 0.5, nan, 0.0, 2.0, nan];
    assert_eq!(sum(Some(&weights), (1, 5)), SequenceLogProb { sum: -8.5, count: 2 }, "weights");
    assert_eq!(sum(None, (2, 3)), SequenceLogProb::default(), "nothing scored");
    assert_eq!(sum(None, (5, 1)).count, 0, "an end before the start");
    let masked = sequence_log_prob(&[-1.0, -INF], &[0, 0], IGNORE_INDEX, None, (0, 2));
    assert_eq!(masked.sum, -INF, "a masked target");
    // 2⁵³ + 1 needs 54 bits: a plain sum would drop every one of the ones.
    let mut long = vec![-1.0; 1001];
    long[0] = -9_007_199_254_740_992.0;
    let long = sequence_log_prob(&long, &[0; 1001], IGNORE_INDEX, None, (0, 1001));
    assert_eq!(long.sum, -9_007_199_254_741_992.0, "a long sum");
}

#[test]
fn bad_log_probs_never_look_plausible() {
    let good = PairLogProbs {
        policy_chosen: -1.0,
        policy_rejected: -2.0,
        reference_chosen: -1.5,
        reference_rejected: -2.5,
    };
    for bad in [f64::NAN, INF, -INF] {
        for pair in [
            PairLogProbs { policy_chosen: bad, ..good },
            PairLogProbs { policy_rejected: bad, ..good },
            PairLogProbs { reference_chosen: bad, ..good },
            PairLogProbs { reference_rejected: bad, ..good },
        ] {
            let found = preference_loss(&Dpo { beta: 0.1, label_smoothing: 0.0 }, &pair, 1.0, 0.0);
            let all = [
                found.loss,
                found.margin,
                found.reward_chosen,
                found.reward_rejected,
                found.d_chosen,
            ];
            assert!(all.iter().all(|figure| figure.is_nan()), "{pair:?}: {found:?}");
        }
    }
}
