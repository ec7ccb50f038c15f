//! Golden figures: rows from PyTorch, losses from TRL and from 40-digit arithmetic.

use dpo_kernel::verify::{
    Dpo, IGNORE_INDEX, PairLogProbs, Transform, argmax, entropy, log_prob, log_sum_exp,
    log_sum_sq_probs, logit_grads, mean_logit, preference_loss, sequence_log_prob, sigmoid,
    softplus, transform_row,
};

use crate::close;
use crate::common::golden::{TrlAnswer, rows, trl_sigmoid};

#[test]
fn every_figure_of_every_row_of_torch() {
    let cases = rows();
    assert_eq!(cases.len(), 93, "rows of the golden file");
    for (i, case) in cases.iter().enumerate() {
        let transform =
            Transform { scale: case.scale, softcap: case.softcap, temperature: case.temperature };
        // PyTorch subtracts log Z from the logits, so its log-probs are as exact as log Z is.
        let tolerance = 1e-15 * case.log_sum_exp.abs().max(1.0);
        let x: Vec<f64> = case.logits.iter().map(|&x| f64::from(x)).collect();
        let mut y = vec![f64::NAN; x.len()];
        transform_row(&x, &transform, &mut y);
        let check =
            |what, found, expected| close(&format!("row {i}, {what}"), found, expected, tolerance);
        check("log Z", log_sum_exp(&y), case.log_sum_exp);
        check("log-prob", log_prob(&y, case.target), case.log_prob);
        check("entropy", entropy(&y), case.entropy);
        check("mean logit", mean_logit(&y), case.mean_logit);
        check("log Σp²", log_sum_sq_probs(&y), case.log_sum_sq_probs);
        assert_eq!(argmax(&y), Some(case.argmax), "row {i}, argmax");
        let mut dx = vec![f64::NAN; x.len()];
        logit_grads(&x, &transform, case.target, 1.0, &mut dx);
        for (&found, &expected) in dx.iter().zip(&case.grad_log_prob) {
            check("gradient", found, expected);
        }
        assert_eq!(dx.len(), case.grad_log_prob.len(), "row {i}, length");
    }
}

/// What TRL reports are means over the pairs; its gradients are those of the mean loss.
#[test]
fn every_figure_of_the_sigmoid_loss_of_trl() {
    const TOLERANCE: f64 = 1e-15;
    let cases = trl_sigmoid();
    assert_eq!(cases.len(), 2, "plain sigmoid cases of the golden file");
    for (i, case) in cases.iter().enumerate() {
        let check =
            |what, found, expected| close(&format!("case {i}, {what}"), found, expected, TOLERANCE);
        let dpo = Dpo { beta: case.beta, label_smoothing: 0.0 };
        let pairs = case.pairs.len() as f64;
        let mut means = [0.0; 7];
        for pair in &case.pairs {
            let sum = |log_probs: &[f64]| {
                let targets = vec![0; log_probs.len()];
                let span = (0, log_probs.len());
                sequence_log_prob(log_probs, &targets, IGNORE_INDEX, None, span).sum
            };
            let log_probs = PairLogProbs {
                policy_chosen: sum(&pair.chosen.policy),
                policy_rejected: sum(&pair.rejected.policy),
                reference_chosen: sum(&pair.chosen.reference),
                reference_rejected: sum(&pair.rejected.reference),
            };
            let result = preference_loss(&dpo, &log_probs, 1.0, 0.0);
            let tokens = |what, answer: &TrlAnswer, d: f64| {
                answer.grad.iter().for_each(|&grad| check(what, d / pairs, grad));
            };
            tokens("gradient of chosen tokens", &pair.chosen, result.d_chosen);
            tokens("gradient of rejected tokens", &pair.rejected, result.d_rejected);
            let figures = [
                result.loss,
                result.reward_chosen,
                result.reward_rejected,
                result.margin,
                f64::from(u8::from(result.margin > 0.0)),
                log_probs.policy_chosen,
                log_probs.policy_rejected,
            ];
            means.iter_mut().zip(figures).for_each(|(mean, figure)| *mean += figure / pairs);
        }
        let [loss, chosen, rejected, margin, accuracy, log_prob_chosen, log_prob_rejected] = means;
        check("loss", loss, case.loss);
        check("chosen reward", chosen, case.reward_chosen);
        check("rejected reward", rejected, case.reward_rejected);
        check("margin", margin, case.margin);
        check("chosen log-prob", log_prob_chosen, case.log_prob_chosen);
        check("rejected log-prob", log_prob_rejected, case.log_prob_rejected);
        // TRL takes this mean in float32.
        close("accuracy", accuracy, case.accuracy, 1e-7);
    }
}

#[test]
fn losses_to_forty_digits() {
    // 1/10 is not an f64: its neighbour moves the figures by a unit in the last place.
    const TOLERANCE: f64 = 2e-16;
    let pair = PairLogProbs {
        policy_chosen: -20.5,
        policy_rejected: -25.25,
        reference_chosen: -21.0,
        reference_rejected: -24.5,
    };
    // (ε, offset, L, ∂L/∂πc); an offset of 0.3 is that of ODPO, −0.02 that of R-DPO.
    let rows = [
        (0.0, 0.0, 0.632_599_035_317_169_07, -0.046_879_062_662_624_374),
        (0.1, 0.0, 0.645_099_035_317_169_07, -0.036_879_062_662_624_374),
        (0.0, 0.3, 0.784_470_430_663_046_82, -0.054_363_868_723_707_886),
        (0.0, 0.02, 0.642_024_672_948_695_43, -0.047_377_409_062_793_126),
    ];
    for (label_smoothing, offset, loss, d_chosen) in rows {
        let dpo = Dpo { beta: 0.1, label_smoothing };
        let found = preference_loss(&dpo, &pair, 1.0, offset);
        close("loss", found.loss, loss, TOLERANCE);
        close("gradient of chosen", found.d_chosen, d_chosen, TOLERANCE);
        close("gradient of rejected", found.d_rejected, -d_chosen, TOLERANCE);
        close("chosen reward", found.reward_chosen, 0.05, TOLERANCE);
        close("rejected reward", found.reward_rejected, -0.075, TOLERANCE);
        close("margin", found.margin, 0.125, TOLERANCE);
        let halved = preference_loss(&dpo, &pair, 0.5, offset);
        assert_eq!(
            (halved.loss, halved.d_chosen),
            (found.loss / 2.0, found.d_chosen / 2.0),
            "weight"
        );
    }
    let same = PairLogProbs { policy_chosen: -21.0, policy_rejected: -24.5, ..pair };
    let start = preference_loss(&Dpo { beta: 0.1, label_smoothing: 0.1 }, &same, 1.0, 0.0);
    assert_eq!(start.loss, core::f64::consts::LN_2, "policy and reference agree");
    assert_eq!(start.d_chosen, 0.1 * (0.1 - 0.5), "policy and reference agree");
}

#[test]
fn tails_to_forty_digits() {
    // (z, softplus(−z), σ(−z)), relative.
    let rows = [
        (-1000.0, 1000.0, 1.0),
        (-100.0, 100.0, 1.0),
        (-17.0, 17.000_000_041_399_376, 0.999_999_958_600_624_53),
        (-1e-8, 0.693_147_185_559_945_32, 0.500_000_002_5),
        (0.0, core::f64::consts::LN_2, 0.5),
        (17.0, 4.139_937_633_089_747_4e-8, 4.139_937_547_394_330_6e-8),
        (40.0, 4.248_354_255_291_589e-18, 4.248_354_255_291_589e-18),
        (88.8, 2.720_507_997_802_781_3e-39, 2.720_507_997_802_781_3e-39),
        (100.0, 3.720_075_976_020_836e-44, 3.720_075_976_020_836e-44),
    ];
    for (z, loss, slope) in rows {
        // 88.8 is not an f64; half a unit of it is 7·10⁻¹⁵ in the logarithm of the figures.
        close("softplus", softplus(-z) / loss, 1.0, 8e-15);
        close("sigmoid", sigmoid(-z) / slope, 1.0, 8e-15);
    }
}
