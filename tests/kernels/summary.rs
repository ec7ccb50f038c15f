//! The counts of a summary, each against its definition.

use dpo_kernel::loss::{PairLogProbs, PreferenceLoss, SimPo};
use dpo_kernel::{Dpo, PairLoss, Summary};
use proptest::prelude::*;

fn pair(margin: f64, reward_chosen: f64) -> PairLoss {
    let reward_rejected = reward_chosen - margin;
    PairLoss { reward_chosen, reward_rejected, margin, ..PairLoss::default() }
}

fn summary_of(pairs: &[PairLoss]) -> Summary {
    let mut summary = Summary::default();
    for pair in pairs {
        summary += pair;
    }
    summary
}

/// What is wrong with a summary's counts.
fn objections(pairs: &[PairLoss], summary: &Summary) -> Vec<&'static str> {
    let count = |holds: fn(&&PairLoss) -> bool| pairs.iter().filter(holds).count() as u64;
    let n = pairs.len() as f64;
    let saturated = count(|p| p.margin.abs() >= 10.0) as f64;
    let displaced = count(|p| p.reward_chosen.is_sign_negative() && p.reward_chosen != 0.0) as f64;
    let claims = [
        ("pairs", summary.pairs == pairs.len() as u64),
        ("correct", summary.correct == count(|p| p.margin > 0.0)),
        ("ties", summary.ties == count(|p| p.margin == 0.0)),
        ("displaced", summary.displaced as f64 == displaced),
        ("displaced share", summary.displaced_share() == displaced / n),
        ("saturated", summary.saturated == count(|p| p.margin >= 10.0)),
        ("saturated wrong", summary.saturated_wrong == count(|p| p.margin <= -10.0)),
        ("saturated share", summary.saturated_share() == saturated / n),
    ];
    claims.into_iter().filter(|claim| !claim.1).map(|claim| claim.0).collect()
}

/// Margins and rewards around every threshold.
const VALUES: [f64; 13] =
    [-1e300, -10.5, -10.0, -9.999, -0.5, -5e-324, -0.0, 0.0, 5e-324, 0.5, 9.999, 10.0, 1e300];

fn all_pairs() -> Vec<PairLoss> {
    VALUES.into_iter().flat_map(|m| VALUES.into_iter().map(move |r| pair(m, r))).collect()
}

#[test]
fn counts_are_those_of_the_pairs() {
    let pairs = all_pairs();
    assert_eq!(objections(&pairs, &summary_of(&pairs)), [""; 0]);
    for one in &pairs {
        assert_eq!(objections(&[*one], &summary_of(&[*one])), [""; 0], "{one:?}");
    }
    let empty = Summary::default();
    assert!(empty.displaced_share().is_nan() && empty.saturated_share().is_nan());
}

#[test]
fn planted_faults_are_caught() {
    let pairs = all_pairs();
    let right = summary_of(&pairs);
    let faults: [(&str, fn(&mut Summary)); 5] = [
        ("ties", |s| s.ties -= 1),
        ("displaced", |s| s.displaced += 13),
        ("saturated", |s| s.saturated -= 13),
        ("saturated wrong", |s| std::mem::swap(&mut s.saturated_wrong, &mut s.correct)),
        ("pairs", |s| s.pairs += 1),
    ];
    for (name, fault) in faults {
        let mut wrong = right;
        fault(&mut wrong);
        assert!(objections(&pairs, &wrong).contains(&name), "{name} went unnoticed");
    }
}

/// What the threshold means: a gradient of less than a ten-thousandth of that at step 0, and no
/// less than a hundred-thousandth.
#[test]
fn a_saturated_pair_has_lost_its_gradient() {
    let dpo = Dpo::new(0.1).unwrap();
    let slope = |a: f64| dpo.evaluate(&PairLogProbs::new(a, 0.0, 0.0, 0.0)).d_chosen;
    let left = slope(100.0) / slope(0.0);
    assert!((1e-5..1e-4).contains(&left), "{left}");
    assert!(slope(-100.0) / slope(0.0) > 1.999, "a wrong one has all of it");
}

/// What is counted apart adds up, stays at its end, and is in no mean.
#[test]
fn what_is_counted_apart() {
    let mut summary = summary_of(&[pair(1.5, 0.5)]);
    assert_eq!((summary.left_out, summary.pairs), (0, 1));
    let mut other = Summary::default();
    (other.left_out, other.ties) = (3, u64::MAX - 1);
    summary += other;
    summary += other;
    assert_eq!((summary.pairs, summary.left_out, summary.ties), (1, 6, u64::MAX));
    assert_eq!((summary.mean_margin(), summary.accuracy()), (1.5, 1.0));
}

/// The margin is that of the rewards: neither γ nor an offset is subtracted.
#[test]
fn margins_are_of_rewards() {
    let pair = PairLogProbs::reference_free(-20.0, -30.0).with_tokens(10, 10);
    // z = 2·(−2 + 3) − 0.5 − 0.25, and the margin 2·(−2 + 3).
    let found = SimPo::new(2.0, 0.5).unwrap().evaluate(&pair.with_offset(0.25));
    assert_eq!(summary_of(&[found]).margin_sum, 2.0);
    assert!((found.loss - (-1.25_f64).exp().ln_1p()).abs() < 1e-15);
}

proptest! {
    #![proptest_config(crate::common::quiet::quiet())]

    #[test]
    fn merges_are_the_whole(
        values in prop::collection::vec((-200_i32..200, -80_i32..80), 0..40),
        cut in 0_usize..40,
    ) {
        let pairs: Vec<PairLoss> =
            values.iter().map(|&(m, r)| pair(f64::from(m) / 8.0, f64::from(r) / 8.0)).collect();
        let cut = cut.min(pairs.len());
        let mut merged = summary_of(&pairs[..cut]);
        merged += summary_of(&pairs[cut..]);
        prop_assert_eq!(merged, summary_of(&pairs));
        prop_assert!(pairs.is_empty() || objections(&pairs, &merged).is_empty());
    }
}
