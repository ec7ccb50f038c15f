//! The points at which a formula changes: the kink of a hinge, what has no weight beside what is
//! infinite, answers that are certain.

use dpo_kernel::loss::{
    CpoHinge, Hinge, Orpo, PairLogProbs, PreferenceLoss, RewardModel, Slic, TpoHinge,
};

fn figures(loss: &dyn PreferenceLoss, chosen: f64, rejected: f64) -> [f64; 3] {
    let pair = PairLogProbs::new(chosen, rejected, 0.0, 0.0).with_tokens(1, 1);
    let found = loss.evaluate(&pair);
    [found.loss, found.d_chosen, found.d_rejected]
}

/// At z = δ a hinge is flat, as `relu` is in the trainers; a step before it has its whole slope.
#[test]
fn a_hinge_is_flat_at_its_kink() {
    let hinges: [(&dyn PreferenceLoss, f64); 4] = [
        (&Hinge::new(0.5).unwrap(), 0.5),
        (&CpoHinge::new(0.5).unwrap(), 0.5),
        (&TpoHinge::new(0.5).unwrap(), 0.5),
        (&Slic::new(0.5).unwrap(), 1.0),
    ];
    for (i, (loss, scale)) in hinges.into_iter().enumerate() {
        let kink = if i == 3 { 0.5 } else { 2.0_f64 };
        assert_eq!(figures(loss, kink, 0.0), [0.0, 0.0, 0.0], "hinge {i}");
        assert_eq!(figures(loss, kink.next_up(), 0.0), [0.0, 0.0, 0.0], "hinge {i}");
        let before = figures(loss, kink.next_down(), 0.0);
        assert!(before[0] > 0.0 && before[0] < 1e-15, "hinge {i}: {before:?}");
        assert_eq!(before[1..], [-scale, scale], "hinge {i}");
    }
}

/// Without a pull no sum of rewards is too large; with one it is.
#[test]
fn rewards_whose_squares_overflow() {
    let plain = RewardModel::new();
    assert_eq!(figures(&plain, 3e200, 1e200), [0.0, 0.0, 0.0]);
    assert_eq!(figures(&plain, 1e200, 3e200), [2e200, -1.0, 1.0]);
    let pulled = plain.with_centering(5e-324).unwrap();
    assert!(figures(&pulled, 3e200, 1e200)[0].is_nan());
}

/// A chosen answer that is certain has infinite odds: it costs nothing without label smoothing, and
/// has no number with it. Of two certain ones there are no odds.
#[test]
fn odds_of_what_is_certain() {
    let orpo = Orpo::new(0.5).unwrap();
    // U = Q/(P·(1 − Q)): a slope that does not vanish.
    let q = (-1.0_f64).exp();
    let [loss, chosen, rejected] = figures(&orpo, 0.0, -1.0);
    assert_eq!((loss, rejected), (0.0, 0.0));
    assert!((chosen + 0.5 * q / (1.0 - q)).abs() < 1e-15, "{chosen}");
    let smoothed = orpo.with_label_smoothing(0.25).unwrap();
    assert!(figures(&smoothed, 0.0, -1.0)[0].is_nan());
    assert!(figures(&orpo, -1.0, 0.0)[0].is_nan(), "the rejected one");
    assert!(figures(&orpo, 0.0, 0.0)[0].is_nan(), "both");
}
