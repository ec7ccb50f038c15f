//! The loss of the whole batch: golden figures, ties, order, and what it is for one pair.

use dpo_kernel::error::Buffer;
use dpo_kernel::loss::{Aot, PairLogProbs, PreferenceLoss};
use dpo_kernel::{
    Dpo, Error, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Summary,
    preference_loss,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::close;

/// Log-probs of P pairs; sequences 2 i and 2 i + 1 are pair i.
#[derive(Clone, Debug)]
struct Batch {
    policy: Vec<(f64, f64)>,
    reference: Vec<(f64, f64)>,
}

#[derive(Debug)]
struct Found {
    summary: Summary,
    losses: Vec<PairLoss>,
    d: Vec<f64>,
}

fn run(aot: Aot, batch: &Batch, divisor: f64) -> Result<Found, Error> {
    let flat = |x: &[(f64, f64)]| x.iter().flat_map(|&(c, r)| [c, r]).collect::<Vec<f64>>();
    let policy: Vec<_> =
        flat(&batch.policy).into_iter().map(|sum| SequenceLogProb { sum, count: 3 }).collect();
    let reference = flat(&batch.reference);
    let n = batch.policy.len();
    let pairs: Vec<Pair> = (0..n).map(|i| Pair::new(2 * i, 2 * i + 1)).collect();
    let batch = PairBatch::new(&pairs, &policy, Reference::Sums(&reference), divisor);
    let mut losses = vec![PairLoss { loss: f64::NAN, ..PairLoss::default() }; n];
    // What the order holds before does not matter.
    let (mut d, mut order) = (vec![f64::NAN; 2 * n], vec![usize::MAX; 2 * n]);
    let out = PairOut::new(&mut losses, &mut d);
    let summary = preference_loss(aot.over(&mut order), &batch, out)?;
    Ok(Found { summary, losses, d })
}

fn golden() -> Batch {
    Batch {
        policy: vec![(-20.5, -25.25), (-31.0, -30.0), (-12.25, -18.5)],
        reference: vec![(-21.0, -24.5), (-30.0, -31.5), (-13.0, -18.0)],
    }
}

#[test]
fn golden_figures() {
    let paired = Aot::paired(0.1).unwrap().with_label_smoothing(0.1).unwrap();
    let found = run(paired, &golden(), 3.0).unwrap();
    close("L", found.summary.mean_loss(), 0.697_045_830_171_060_56, 1e-15);
    let gc = [-0.012_293_020_887_541_5, -0.015_405_883_362_859_9, -0.012_293_020_887_541_5];
    for (i, expected) in gc.into_iter().enumerate() {
        close("gc", found.d[2 * i], expected, 1e-15);
        assert_eq!(found.d[2 * i], -found.d[2 * i + 1], "paired: one margin, two answers");
    }
    let unpaired = Aot::unpaired(0.1).unwrap().with_label_smoothing(0.1).unwrap();
    let found = run(unpaired, &golden(), 3.0).unwrap();
    close("L", found.summary.mean_loss(), 0.693_824_034_808_630_31, 1e-15);
    let gc = [-0.012_500_693_750_702, -0.013_541_655_816_650_3, -0.013_958_040_529_284_5];
    let gr = [0.013_541_655_816_650_3, 0.013_958_040_529_284_5, 0.012_500_693_750_702];
    for i in 0..3 {
        close("gc", found.d[2 * i], gc[i], 1e-15);
        close("gr", found.d[2 * i + 1], gr[i], 1e-15);
    }
}

/// The textbook: sorted with std, scattered by rank.
fn oracle(paired: bool, beta: f64, epsilon: f64, batch: &Batch) -> (Vec<f64>, Vec<f64>) {
    let n = batch.policy.len();
    let keys = |i: usize| {
        let ((c, r), (rc, rr)) = (batch.policy[i], batch.reference[i]);
        if paired { (c - r, rc - rr) } else { (c - rc, r - rr) }
    };
    let ranked = |key: &dyn Fn(usize) -> f64| {
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| key(i).partial_cmp(&key(j)).unwrap());
        order
    };
    let (left, right) = (ranked(&|i| keys(i).0), ranked(&|i| keys(i).1));
    let (mut losses, mut d) = (vec![0.0; n], vec![0.0; 2 * n]);
    for (&i, &j) in left.iter().zip(&right) {
        let z: f64 = beta * (keys(i).0 - keys(j).1);
        let log_sigmoid = |x: f64| x.min(0.0) - (-x.abs()).exp().ln_1p();
        losses[i] = -(1.0 - epsilon) * log_sigmoid(z) - epsilon * log_sigmoid(-z);
        let slope = beta * (epsilon - log_sigmoid(-z).exp());
        d[2 * i] = slope;
        d[2 * if paired { i } else { j } + 1] = -slope;
    }
    (losses, d)
}

fn batches() -> impl Strategy<Value = Batch> {
    // Few distinct values: most keys are tied.
    let value = prop_oneof![(-6..0_i32).prop_map(|x| f64::from(x) * 0.5), -9.0..-1.0_f64];
    let value = value.boxed();
    let answers = move || vec((value.clone(), value.clone()), 40);
    (1..40_usize, answers(), answers()).prop_map(|(n, mut policy, mut reference)| {
        policy.truncate(n);
        reference.truncate(n);
        Batch { policy, reference }
    })
}

fn objection(found: &Found, (losses, d): &(Vec<f64>, Vec<f64>)) -> Option<String> {
    let far = |x: f64, y: f64| (x - y).is_nan() || (x - y).abs() > 1e-14;
    let loss = found.losses.iter().zip(losses).position(|(x, &y)| far(x.loss, y));
    let grad = found.d.iter().zip(d).position(|(&x, &y)| far(x, y));
    (loss.is_some() || grad.is_some()).then(|| format!("pair {loss:?}, gradient {grad:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..Default::default() })]

    #[test]
    fn equals_the_textbook(batch in batches(), beta in 0.01..1.0_f64, epsilon in 0.0..0.5_f64) {
        for paired in [true, false] {
            let aot = if paired { Aot::paired(beta) } else { Aot::unpaired(beta) };
            let aot = aot.unwrap().with_label_smoothing(epsilon).unwrap();
            let found = run(aot, &batch, 1.0).unwrap();
            let right = oracle(paired, beta, epsilon, &batch);
            prop_assert_eq!(objection(&found, &right), None);
            // Rewards are the pairs' own.
            let dpo = Dpo::new(beta).unwrap();
            for (i, loss) in found.losses.iter().enumerate() {
                let ((c, r), (rc, rr)) = (batch.policy[i], batch.reference[i]);
                let own = dpo.evaluate(&PairLogProbs::new(c, r, rc, rr));
                prop_assert_eq!(
                    (loss.reward_chosen, loss.reward_rejected, loss.margin),
                    (own.reward_chosen, own.reward_rejected, own.margin)
                );
            }
        }
    }

    /// One pair is conservative DPO; paired to rounding of its keys, unpaired to the last bit.
    #[test]
    fn with_one_pair_is_dpo(policy in (-30.0..0.0_f64, -30.0..0.0_f64), reference in (-30.0..0.0_f64, -30.0..0.0_f64), epsilon in 0.0..0.5_f64) {
        let batch = Batch { policy: vec![policy], reference: vec![reference] };
        let dpo = Dpo::new(0.1).unwrap().with_label_smoothing(epsilon).unwrap();
        let expected = dpo.evaluate(&PairLogProbs::new(policy.0, policy.1, reference.0, reference.1));
        let smooth = |aot: Result<Aot, Error>| aot.unwrap().with_label_smoothing(epsilon).unwrap();
        let found = run(smooth(Aot::unpaired(0.1)), &batch, 1.0).unwrap();
        prop_assert_eq!(found.losses[0], expected);
        let found = run(smooth(Aot::paired(0.1)), &batch, 1.0).unwrap();
        prop_assert!((found.losses[0].loss - expected.loss).abs() < 1e-14);
        prop_assert!((found.losses[0].d_chosen - expected.d_chosen).abs() < 1e-14);
    }
}

/// At step 0 every rank meets itself: ln 2 and ∓β/2 to the last bit, ties or not.
#[test]
fn step_zero() {
    let same = vec![(-20.1, -25.3), (-31.7, -30.2), (-20.1, -25.3), (-1e6, -0.1)];
    let batch = Batch { policy: same.clone(), reference: same };
    for aot in [Aot::paired(0.1).unwrap(), Aot::unpaired(0.1).unwrap()] {
        let found = run(aot, &batch, 1.0).unwrap();
        for (i, loss) in found.losses.iter().enumerate() {
            assert_eq!((loss.loss, loss.margin), (core::f64::consts::LN_2, 0.0));
            assert_eq!((found.d[2 * i], found.d[2 * i + 1]), (-0.05, 0.05));
        }
    }
}

/// Equal keys stand in the pairs' order, and −0 equals 0.
#[test]
fn ties_keep_the_order() {
    let batch = Batch {
        policy: vec![(-2.0, -2.0); 3],
        // The keys of the right side are 0, −0, 0 and then 1, for the first pair.
        reference: vec![(-2.0, -3.0), (-2.0, -2.0), (-2.0, -2.0)],
    };
    let found = run(Aot::paired(1.0).unwrap(), &batch, 1.0).unwrap();
    let (tied, last) = (found.losses[0].loss, found.losses[2].loss);
    assert_eq!((tied, found.losses[1].loss), (core::f64::consts::LN_2, core::f64::consts::LN_2));
    assert!((last - 1.0_f64.exp().ln_1p()).abs() < 1e-15, "the last of the tied meets the largest");
    // The other way around, the tied ones meet 0, 0 and 1 in their order.
    let batch = Batch { policy: batch.reference, reference: batch.policy };
    let found = run(Aot::paired(1.0).unwrap(), &batch, 1.0).unwrap();
    assert!(found.losses[0].loss < 0.5 && found.losses[1].loss == found.losses[2].loss);
}

#[test]
fn what_it_refuses() {
    let pairs = [Pair::new(0, 1)];
    let policy = [-20.5, -25.25].map(|sum| SequenceLogProb { sum, count: 10 });
    let sums = Reference::Sums(&[-21.0, -24.5]);
    let batch = PairBatch::new(&pairs, &policy, sums, 1.0);
    let run = |batch: &PairBatch<'_>, length: usize| {
        let mut order = vec![7; length];
        let (mut losses, mut d) = ([PairLoss { loss: 7.5, ..PairLoss::default() }], [7.5; 2]);
        let out = PairOut::new(&mut losses, &mut d);
        let found = preference_loss(Aot::paired(0.1).unwrap().over(&mut order), batch, out);
        let untouched = losses[0].loss == 7.5 && d == [7.5; 2] && order.iter().all(|&i| i == 7);
        assert!(untouched || found.is_ok(), "{found:?} after writing");
        found.map(|_| ())
    };
    assert_eq!(run(&batch, 2), Ok(()));
    for length in [0, 1, 3] {
        let buffer = Buffer::PairOrder;
        let expected = Err(Error::Length { buffer, expected: 2, found: length });
        assert_eq!(run(&batch, length), expected);
    }
    let unused = |buffer| Err(Error::InputUnused { buffer });
    let (buffer, index) = (Buffer::PairWeights, 0);
    for weight in [0.0, -0.0, 1.0] {
        assert_eq!(run(&batch.with_weights(&[weight]), 2), Ok(()));
    }
    for weight in [0.5_f32, 2.0, 1.000_000_1] {
        let error = Error::InvalidValue { buffer, index, value: weight.into() };
        assert_eq!(run(&batch.with_weights(&[weight]), 2), Err(error));
    }
    assert_eq!(run(&batch.with_offsets(&[0.5]), 2), unused(Buffer::PairOffsets));
    let free = PairBatch::new(&pairs, &policy, Reference::Free, 1.0);
    assert_eq!(run(&free, 2), Err(Error::ReferenceMissing));
}

/// A pair without a number has no rank, so none of the batch has.
#[test]
fn one_broken_pair_breaks_all() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for aot in [Aot::paired(0.1).unwrap(), Aot::unpaired(0.1).unwrap()] {
            // Each of them is in one of the two keys that are sorted, or in both.
            for place in 0..4 {
                let mut batch = golden();
                *match place {
                    0 => &mut batch.policy[1].0,
                    1 => &mut batch.policy[1].1,
                    2 => &mut batch.reference[1].0,
                    _ => &mut batch.reference[1].1,
                } = bad;
                let error = run(aot, &batch, 1.0).unwrap_err();
                assert_eq!(error, Error::NonFinitePairs { first: 0, count: 3 }, "{bad} {place}");
            }
        }
    }
}

#[test]
fn planted_faults_are_caught() {
    let batch = golden();
    let found = run(Aot::paired(0.1).unwrap(), &batch, 1.0).unwrap();
    let right = oracle(true, 0.1, 0.0, &batch);
    assert_eq!(objection(&found, &right), None);
    assert!(objection(&found, &oracle(false, 0.1, 0.0, &batch)).is_some(), "paired or not");
    assert!(objection(&found, &oracle(true, 0.1, 0.01, &batch)).is_some(), "smoothing");
    assert!(objection(&found, &oracle(true, 0.11, 0.0, &batch)).is_some(), "β");
    let (losses, mut d) = right;
    d.swap(0, 2);
    assert!(objection(&found, &(losses, d)).is_some(), "the scatter");
}
