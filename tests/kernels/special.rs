//! Special values: masks, broken rows, and what they may not do to their neighbours.

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::{GradBatch, logit_grads};
use dpo_kernel::loss::{PairLogProbs, PreferenceLoss};
use dpo_kernel::row::{RowDetails, RowNorm, RowStats};
use dpo_kernel::{
    Dispatch, Dpo, Error, Layout, Logits, LogitsMut, Pair, PairBatch, PairLoss, PairOut, Reference,
    SequenceLogProb, Span, Summary, TokenOut, Transform, preference_loss, token_log_probs,
};

use crate::common::levels::for_each_dispatch;
use crate::rows::{Params, Store, for_each_element, normal_row};
use crate::run::{forward, gradient, log_z};

const ROWS: usize = 8;

struct Out {
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    details: Vec<RowDetails>,
}

fn run<E: Store>(
    dispatch: Dispatch,
    rows: &[E],
    vocab: usize,
    spans: &[Span],
    transform: Transform,
) -> (Out, Result<(), Error>) {
    let logits = Logits::new(rows, ROWS, vocab).unwrap().with_transform(transform);
    let mut out = Out {
        log_probs: vec![7.5; ROWS],
        norms: vec![RowNorm::default(); ROWS],
        details: vec![RowDetails::default(); ROWS],
    };
    let to =
        TokenOut::new(&mut out.log_probs).with_norms(&mut out.norms).with_details(&mut out.details);
    let mut order = vec![0; spans.len()];
    let layout = Layout::in_any_order(&[0; ROWS], spans, vocab, &mut order).unwrap();
    let result = token_log_probs(dispatch, logits, &layout, to).map(|_| ());
    (out, result)
}

/// Ways to spoil a row.
fn broken_rows<E: Store>(row: &[E]) -> Vec<Vec<E>> {
    let last = row.len() - 1;
    let with = |at: usize, x: f32| {
        let mut row = row.to_vec();
        row[at] = E::from_f32(x);
        row
    };
    let mut rows = vec![vec![E::NEG_INFINITY; row.len()], vec![E::POISON; row.len()]];
    for at in [0, last / 2, last] {
        rows.extend([with(at, f32::NAN), with(at, -f32::NAN), with(at, f32::INFINITY)]);
        let mut masked = vec![E::NEG_INFINITY; row.len()];
        masked[at] = E::POISON;
        rows.push(masked);
    }
    rows
}

fn spoil_only_themselves<E: Store>(vocab: usize, params: Params) {
    let clean: Vec<E> = normal_row(ROWS * vocab, 3.0, 0.0, vocab as u64);
    // The lowest row is named, though its span comes second.
    let spans = [Span::new(4, 8), Span::new(0, 4)];
    let transform = params.kernel();
    for_each_dispatch(|dispatch| {
        let (expected, result) = run(dispatch, &clean, vocab, &spans, transform);
        assert_eq!(result, Ok(()), "{dispatch:?}");
        for (i, broken) in broken_rows(&clean[..vocab]).iter().enumerate() {
            let mut rows = clean.clone();
            for row in [2, 5] {
                rows[row * vocab..][..vocab].copy_from_slice(broken);
            }
            let (found, result) = run(dispatch, &rows, vocab, &spans, transform);
            let place = format!("{dispatch:?}, {} V = {vocab}, fault {i}", E::NAME);
            assert_eq!(result, Err(Error::NonFiniteRows { first: 2, count: 2 }), "{place}");
            for row in 0..ROWS {
                if row == 2 || row == 5 {
                    assert!(found.log_probs[row].is_nan(), "{place}: {}", found.log_probs[row]);
                    let details = found.details[row];
                    assert!(details.entropy.is_nan() && details.mean_logit.is_nan(), "{place}");
                    assert!(details.log_sum_sq_probs.is_nan() && details.argmax == 0, "{place}");
                    refused_by_the_backward(dispatch, found.norms[row]);
                } else {
                    let bits = [&found, &expected].map(|out| out.log_probs[row].to_bits());
                    assert_eq!(bits[0], bits[1], "{place}, row {row}");
                    assert_eq!(found.norms[row], expected.norms[row], "{place}, row {row}");
                    assert_eq!(found.details[row], expected.details[row], "{place}, row {row}");
                }
            }
        }
    });
}

fn refused_by_the_backward(dispatch: Dispatch, norm: RowNorm) {
    let mut logits = [0.5_f32, 1.5];
    let (spans, norms) = ([Span::new(0, 1)], [norm]);
    let layout = Layout::new(&[0], &spans, 2).unwrap();
    let batch = GradBatch::new(&layout, &norms, &[1.0]);
    let view = LogitsMut::new(&mut logits, 1, 2).unwrap();
    let result = dpo_kernel::gradient::logit_grads_in_place(dispatch, view, &batch);
    assert!(matches!(result, Err(Error::InvalidValue { index: 0, .. })), "{result:?}");
    assert_eq!(logits, [0.5, 1.5], "unchanged");
}

#[test]
fn broken_rows_spoil_only_themselves() {
    for vocab in [1, 2, 17, 600] {
        for params in [Params::NONE, Params { softcap: Some(30.0), ..Params::NONE }] {
            for_each_element!(spoil_only_themselves(vocab, params));
        }
    }
}

/// −inf anywhere is masked vocabulary; probability and gradient are exactly 0.
#[test]
fn masks_are_exact() {
    fn exact<E: Store>() {
        for vocab in [2, 16, 17, 600, 1100] {
            for_each_dispatch(|dispatch| {
                let mut row = vec![E::NEG_INFINITY; vocab];
                row[vocab - 1] = E::from_f32(-3.5);
                let target = u32::try_from(vocab - 1).unwrap();
                let found = forward(dispatch, &row, target, Transform::NONE).unwrap();
                assert_eq!(found.log_prob.to_bits(), 0, "{dispatch:?}: alone in its row");
                let details = found.details;
                assert!(details.entropy < 1e-15 && details.log_sum_sq_probs == 0.0, "{details:?}");
                assert_eq!(found.details.argmax, target, "{dispatch:?}");
                assert_eq!(found.details.mean_logit, f32::NEG_INFINITY, "{dispatch:?}, {vocab}");
                let grads = gradient::<E, E>(dispatch, &row, target, Transform::NONE, 2.0);
                assert!(grads.iter().all(|g| g.to_f32() == 0.0), "{dispatch:?}: {grads:?}");
                // At the beginning of a block, and in one of its own.
                for at in [0, 512, 1024].into_iter().filter(|&at| at < vocab) {
                    let mut row = vec![E::NEG_INFINITY; vocab.min(at + 513)];
                    row[at] = E::from_f32(-3.5);
                    let target = u32::try_from(at).unwrap();
                    let found = forward(dispatch, &row, target, Transform::NONE).unwrap();
                    assert_eq!(found.log_prob.to_bits(), 0, "{dispatch:?}: alone in its row");
                    let mean = found.details.mean_logit;
                    assert_eq!(mean, f32::NEG_INFINITY, "{dispatch:?}, {at} of {vocab}");
                }
                // A masked target: −inf, no error, and a gradient that pushes nobody up.
                let found = forward(dispatch, &row, 0, Transform::NONE).unwrap();
                assert_eq!(found.log_prob, f32::NEG_INFINITY, "{dispatch:?}");
                let grads = gradient::<E, f32>(dispatch, &row, 0, Transform::NONE, 2.0);
                assert_eq!((grads[0], grads[vocab - 1]), (0.0, -2.0), "{dispatch:?}");
            });
        }
    }
    exact::<f32>();
    exact::<dpo_kernel::f16>();
    exact::<dpo_kernel::bf16>();
}

/// A target far above the others is all of the distribution, and one far below is none of it; both
/// have their numbers as long as these are numbers: in f64, 1 − p of a target 740 nats above is one.
#[test]
fn targets_far_from_the_others() {
    for_each_dispatch(|dispatch| {
        for vocab in [2, 600] {
            for distance in [300.5_f32, 360.0, 400.0, 499.0, 599.5, 601.0, 720.0, 760.0, 1e4] {
                let mut row = vec![0.0_f32; vocab];
                row[1] = distance;
                let above = forward(dispatch, &row, 1, Transform::NONE).unwrap();
                let details = above.details;
                // Differences of logarithms near 600.
                assert!((-1e-12..=0.0).contains(&details.log_sum_sq_probs), "{details:?}");
                assert!((0.0..1e-12).contains(&details.entropy), "{dispatch:?} {details:?}");
                assert_eq!(details.argmax, 1, "{dispatch:?} {distance}");
                // Others at 0, and where their base is another power of two, or their own value.
                for others in [0.0, -150.0, 90.0, 2000.0] {
                    let row: Vec<f32> = row.iter().map(|x| x + others).collect();
                    let mut stats: RowStats = RowStats::new(Transform::NONE, Some(1));
                    stats.fold(dispatch, &row, 0);
                    let distance = f64::from(row[1]) - f64::from(others);
                    let due = -(vocab as f64 - 1.0) * libm::exp(-distance);
                    let found = stats.log_prob().unwrap();
                    // Below 1e-300 digits go.
                    let bound = 1.2e-7 * due.abs() + 2e-308;
                    assert!(
                        (found - due).abs() <= bound,
                        "{dispatch:?} {distance} above {others}: {found:e} {due:e}"
                    );
                }
                row[1] = -distance;
                let below = forward(dispatch, &row, 1, Transform::NONE).unwrap();
                let due = -f64::from(distance) - libm::log(vocab as f64 - 1.0);
                let error = (f64::from(below.log_prob) - due).abs();
                assert!(error <= 1e-7 * -due, "{dispatch:?} {distance}: {}", below.log_prob);
            }
        }
    });
}

/// A large number is a logit like others, whose sum in an f32 lane overflows, but whose mean does
/// not.
#[test]
fn huge_logits_have_a_mean() {
    for_each_dispatch(|dispatch| {
        for x in [1e37_f32, -1e37, 3e38, -3e38, f32::MAX, f32::MIN] {
            for vocab in [1, 3, 40, 700] {
                let found = forward(dispatch, &vec![x; vocab], 0, Transform::NONE).unwrap();
                let mean = found.details.mean_logit;
                assert!((mean / x - 1.0).abs() < 1e-6, "{dispatch:?} {x}: {mean}");
                let uniform = libm::log(vocab as f64);
                let log_prob = f64::from(found.log_prob);
                let entropy = f64::from(found.details.entropy);
                assert!((log_prob + uniform).abs() < 1e-6, "{dispatch:?} {x}: {log_prob}");
                assert!((entropy - uniform).abs() < 1e-6, "{dispatch:?} {x}: {entropy}");
            }
        }
    });
}

/// Under a factor so small that distances between values have no room in f32, entropy is what it is.
#[test]
fn details_under_a_tiny_factor() {
    for_each_dispatch(|dispatch| {
        for factor in [1e-30_f32, 1e-24, 1e-21, 1e21, 9e29] {
            for vocab in [2, 63, 700] {
                for nats in [1.0_f64, 17.0, 40.0, 90.0, 150.0] {
                    let y: Vec<f64> =
                        (0..vocab).map(|i| nats * (f64::from(i * 37 % 64) / 63.0 - 0.3)).collect();
                    let row: Vec<f32> = y.iter().map(|y| (y / f64::from(factor)) as f32).collect();
                    let transform = Transform::new(factor, None, 1.0).unwrap();
                    let found = forward(dispatch, &row, 1, transform).unwrap().details;
                    let y: Vec<f64> =
                        row.iter().map(|&x| f64::from(x) * f64::from(factor)).collect();
                    let max = y.iter().copied().fold(f64::MIN, f64::max);
                    let sum: f64 = y.iter().map(|y| libm::exp(y - max)).sum();
                    let due: f64 = y
                        .iter()
                        .map(|y| {
                            let ln = y - max - libm::log(sum);
                            -libm::exp(ln) * ln
                        })
                        .sum();
                    let error = (f64::from(found.entropy) - due).abs();
                    // Far from 0 a term has an error of some 2^-24 of its logit.
                    let most = if nats > 100.0 { 1e-5 } else { 1e-6 };
                    assert!(error < most, "{dispatch:?} {factor} {vocab} {nats}: {found:?}, {due}");
                }
            }
        }
    });
}

/// Entropy and log Σp² of rows beyond the powers of two, whose blocks have shifts of their own: by the
/// differences that f32 holds there.
#[test]
fn details_of_huge_rows() {
    for_each_dispatch(|dispatch| {
        for (shift, step) in
            [(2000.0_f32, 0.25_f32), (-2000.0, 0.25), (5e4, 0.5), (-3e6, 1.0), (4e7, 4.0)]
        {
            for (vocab, factor) in [(5, 1.0_f32), (700, 1.0), (1100, 1.25), (1100, 0.75)] {
                let row: Vec<f32> =
                    (0..vocab).map(|i| shift + step * (i * 29 % 41) as f32).collect();
                let transform = Transform::new(factor, None, 1.0).unwrap();
                let found = forward(dispatch, &row, 1, transform).unwrap().details;
                let max = row.iter().copied().fold(f32::MIN, f32::max);
                let y: Vec<f64> = row
                    .iter()
                    .map(|&x| f64::from(factor) * (f64::from(x) - f64::from(max)))
                    .collect();
                let ln_sum = libm::log(y.iter().map(|y| libm::exp(*y)).sum());
                let entropy: f64 = y.iter().map(|y| libm::exp(y - ln_sum) * (ln_sum - y)).sum();
                let squares: f64 = y.iter().map(|y| libm::exp(2.0 * (y - ln_sum))).sum();
                let errors = [
                    f64::from(found.entropy) - entropy,
                    f64::from(found.log_sum_sq_probs) - libm::log(squares),
                ];
                let what = format!("{dispatch:?} {shift} {vocab} {factor}: {found:?} {entropy}");
                assert!(errors.iter().all(|error| error.abs() < 1e-6), "{what}: {errors:?}");
            }
        }
    });
}

/// Three equal logits in three blocks, as large as f32 lets distances be: what is large in the sums
/// cancels to the last digit.
#[test]
fn entropy_of_equal_huge_logits() {
    let due = libm::log(3.0) as f32;
    for_each_dispatch(|dispatch| {
        for i in 0..200_u16 {
            let v = (1e8 + 2.1e6 * f32::from(i)) * if i % 2 == 0 { 1.0 } else { -1.0 };
            let mut row = vec![f32::NEG_INFINITY; 1100];
            for column in [3, 600, 1050] {
                row[column] = v;
            }
            let found = forward(dispatch, &row, 600, Transform::NONE).unwrap().details;
            assert_eq!(found.entropy.to_bits(), due.to_bits(), "{dispatch:?} {v}: {found:?}");
        }
    });
}

/// Coefficients whose product with the transform's slope is beyond f32 are refused; the largest
/// below it give what they should.
#[test]
fn huge_coefficients_do_not_wrap() {
    let powers = [100, 120, 124, 125, 126, 127, 128, 129, 130, 131, 140, 200, 300, 500, 1000];
    for_each_dispatch(|dispatch| {
        for (power, slope) in powers.into_iter().flat_map(|p| [(p, 0), (p, 2), (p, -2)]) {
            let transform = Transform::new(libm::scalbnf(1.0, slope), None, 1.0).unwrap();
            for sign in [1.0, -1.0] {
                let c = sign * libm::scalbn(1.0, power);
                let row = [0.5_f32, 0.5, 0.5, 0.5, f32::NEG_INFINITY];
                let norm = forward(dispatch, &row, 0, transform).unwrap().norm;
                let mut out = [f32::NAN; 5];
                let (spans, norms, coefficients) = ([Span::new(0, 1)], [norm], [c]);
                let layout = Layout::new(&[0], &spans, 5).unwrap();
                let batch = GradBatch::new(&layout, &norms, &coefficients);
                let to = LogitsMut::new(&mut out, 1, 5).unwrap();
                let logits = Logits::new(&row, 1, 5).unwrap().with_transform(transform);
                let result = logit_grads(dispatch, logits, &batch, to);
                let d = libm::scalbn(c, slope);
                let expected = ((0.75 * d) as f32, (-0.25 * d) as f32);
                let of = format!("{dispatch:?}, c = 2^{power}, slope 2^{slope}");
                if power + slope < 128 {
                    assert_eq!(result, Ok(()), "{of}");
                    assert_eq!((out[0], out[1], out[4]), (expected.0, expected.1, 0.0), "{of}");
                } else {
                    let (buffer, value) = (Buffer::TokenCoefficients, c);
                    assert_eq!(
                        result,
                        Err(Error::InvalidValue { buffer, index: 0, value }),
                        "{of}"
                    );
                    assert!(out.iter().all(|x| x.is_nan()), "{of}: written {out:?}");
                }
            }
        }
    });
}

/// The loss names pairs whose log-probs are not numbers, and the others are complete.
#[test]
fn broken_pairs_are_named() {
    let good = [-1.0, -2.0, -3.0, -4.0];
    let pairs = [Pair::new(0, 1), Pair::new(2, 1), Pair::new(0, 2), Pair::new(3, 2)];
    let dpo = Dpo::new(0.1).unwrap();
    let run = |policy: [f64; 4], reference: [f64; 4]| {
        let policy = policy.map(|sum| SequenceLogProb { sum, count: 3 });
        let (mut losses, mut d) = ([PairLoss::default(); 4], [7.5; 4]);
        let out = PairOut::new(&mut losses, &mut d);
        let batch = PairBatch::new(&pairs, &policy, Reference::Sums(&reference), 2.0);
        (preference_loss(&dpo, &batch, out), losses, d)
    };
    let (clean, losses, d) = run(good, [-2.0; 4]);
    let mut total = Summary::default();
    total += clean.unwrap();
    assert_eq!((total.pairs, total.correct, total.ties), (4, 2, 0));
    assert!(d.iter().all(|d| d.is_finite()), "{d:?}");
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut policy = good;
        policy[3] = bad;
        for (policy, reference) in [(policy, [-2.0; 4]), (good, [-2.0, -2.0, -2.0, bad])] {
            let (result, found, d) = run(policy, reference);
            assert_eq!(result, Err(Error::NonFinitePairs { first: 3, count: 1 }), "{bad}");
            assert_eq!(found[..3], losses[..3], "{bad}: the other pairs");
            let PairLoss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } =
                found[3];
            let all = [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected];
            assert!(all.iter().all(|x| x.is_nan()), "{bad}: {:?}", found[3]);
            assert!(d[2].is_nan() && d[3].is_nan() && d[0].is_finite() && d[1].is_finite());
        }
        let mut policy = good;
        policy[1] = bad;
        let (result, ..) = run(policy, [-2.0; 4]);
        assert_eq!(result, Err(Error::NonFinitePairs { first: 0, count: 2 }), "{bad}");
        let pair = PairLogProbs::new(-1.0, -1.0, -1.0, -1.0).with_offset(bad);
        assert!(dpo.evaluate(&pair).loss.is_nan(), "an offset of {bad}");
    }
    // Both tails: the loss grows linearly, or keeps its digits down to nothing.
    let loss = |margin| dpo.evaluate(&PairLogProbs::new(margin, 0.0, 0.0, 0.0)).loss;
    assert_eq!(loss(-1e5), 1e4, "the far left is linear");
    assert!((loss(1000.0) / libm::exp(-100.0) - 1.0).abs() < 1e-13, "the far right is e^-z");
    assert!(loss(-1e300) > 1e298 && loss(1e300) == 0.0, "no overflow");
}

/// The sum of a mean over nothing is NaN, and the control of this file: clean rows are clean.
#[test]
fn planted_faults_are_caught() {
    let empty = Summary::default();
    for mean in [
        empty.mean_loss(),
        empty.mean_reward_chosen(),
        empty.mean_reward_rejected(),
        empty.mean_margin(),
        empty.accuracy(),
        SequenceLogProb::default().mean(),
    ] {
        assert!(mean.is_nan(), "the mean of nothing is {mean}");
    }
    let dispatch = Dispatch::detect();
    assert!(log_z::<f32>(dispatch, &[f32::NAN], Transform::NONE).is_nan());
    assert!(log_z::<f32>(dispatch, &[], Transform::NONE).is_nan(), "no column, no Z");
    assert!(!log_z(dispatch, &[f32::MIN], Transform::NONE).is_nan(), "f32::MIN is a number");
}
