//! Pairs, parameters of DPO, and every loss with its own.

use dpo_kernel::verify::cases::PairCase;
use dpo_kernel::verify::cases::strategy::{Hardness, any_losses, losses, pair_cases};
use dpo_kernel::verify::{Curve, Divergence, Dpo, Loss, PairLogProbs};

use super::{Reach, grown, parsed};

fn see_pair(reach: &mut Reach, pair: &PairCase) {
    let PairCase { log_probs, weight, offset } = *pair;
    let PairLogProbs { policy_chosen, policy_rejected, reference_chosen, reference_rejected } =
        log_probs;
    reach.see("weight", weight.into());
    reach.see("offset", offset.into());
    let chosen = policy_chosen.to_bits() == reference_chosen.to_bits();
    let rejected = policy_rejected.to_bits() == reference_rejected.to_bits();
    for (is, kind) in [
        (chosen && rejected, "step 0"),
        (!chosen && !rejected, "both have moved"),
        (weight == 0.0, "left out"),
        (offset == 0.0, "no offset"),
    ] {
        if is {
            reach.kind(kind);
        }
    }
    for x in [policy_chosen, policy_rejected, reference_chosen, reference_rejected] {
        match x {
            x if !x.is_finite() => reach.kind("not finite"),
            x if x > 0.0 => reach.kind("above 0"),
            0.0 => reach.kind("certain"),
            x if x > -1e-6 => reach.kind("all but certain"),
            x if x < -2e4 => reach.kind("beyond all digits"),
            x => reach.see("log π", x),
        }
    }
}

#[test]
fn pairs_reach_their_ends() {
    let kinds = [
        "step 0",
        "both have moved",
        "left out",
        "no offset",
        "certain",
        "all but certain",
        "beyond all digits",
    ];
    let grown = grown(3000, &pair_cases(), see_pair);
    grown.counts(100, &kinds);
    grown.spans(&[("weight", 0.0, 2.0), ("offset", -100.0, 100.0), ("log π", -1e4, -1e-6)]);
    let parsed = parsed::<PairCase>(20_000, see_pair);
    parsed.counts(5, &[&kinds[..], &["not finite", "above 0"]].concat());
    // A quarter of all log-probs each.
    for kind in ["all but certain", "beyond all digits"] {
        assert!(parsed.kinds[kind] > 5000, "{kind}: {:?}", parsed.kinds);
    }
    parsed.spans(&[
        ("weight", 0.0, 255.0 / 64.0),
        ("offset", -128.0, 128.0),
        ("log π", -2e4, -1e-6),
    ]);
}

fn see_dpo(reach: &mut Reach, dpo: &Dpo) {
    let Dpo { beta, label_smoothing } = *dpo;
    reach.see("β", beta);
    reach.see("ε", label_smoothing);
    if label_smoothing == 0.0 {
        reach.kind("no smoothing");
    } else if label_smoothing == 0.5 {
        reach.kind("nothing but smoothing");
    }
}

#[test]
fn losses_reach_their_ends() {
    let kinds = ["no smoothing", "nothing but smoothing"];
    for (hardness, low, high) in
        [(Hardness::Moderate, 0.05, 1.0), (Hardness::Adversarial, 1e-4, 1e3)]
    {
        let reach = grown(2000, &losses(hardness), see_dpo);
        reach.counts(300, &kinds);
        reach.spans(&[("β", low, high), ("ε", 0.0, 0.5)]);
    }
    let reach = parsed::<Dpo>(10_000, see_dpo);
    reach.counts(5, &kinds);
    reach.spans(&[("β", 2.0_f64.powi(-16), 2.0_f64.powi(16)), ("ε", 0.0, 0.5)]);
}

fn see_divergence(reach: &mut Reach, divergence: Divergence) {
    match divergence {
        Divergence::ReverseKl => reach.kind("reverse KL"),
        Divergence::ForwardKl => reach.kind("forward KL"),
        Divergence::JensenShannon => reach.kind("JS"),
        Divergence::Alpha(alpha) => {
            reach.kind("α-divergence");
            reach.see("α of a divergence", alpha);
        }
    }
}

/// The parameters of any loss, by what they are.
fn see_loss(reach: &mut Reach, loss: &Loss) {
    let curve = match *loss {
        Loss::Relative { curve, divergence, mean, scale: _, beta } => {
            see_divergence(reach, divergence);
            reach.see("β", beta);
            reach.kind(if mean { "means" } else { "sums" });
            Some(curve)
        }
        Loss::Free { curve, mean, alpha, gamma, scale: _, beta } => {
            reach.kind(if mean { "free means" } else { "free sums" });
            reach.see("α", alpha);
            reach.see("γ", gamma);
            reach.see("β", beta);
            Some(curve)
        }
        Loss::Orpo { lambda, epsilon } => {
            reach.kind("ORPO");
            reach.see("β", lambda);
            reach.see("ε", epsilon);
            None
        }
        Loss::Nca { beta } => {
            reach.kind("NCA");
            reach.see("β", beta);
            None
        }
        Loss::Bco { beta, delta } => {
            reach.kind("BCO");
            reach.see("β", beta);
            reach.see("Δ", delta);
            None
        }
        Loss::SppoHard { beta } => {
            reach.kind("SPPO");
            reach.see("β", beta);
            None
        }
        Loss::Kto { beta, kl, weights } => {
            reach.kind("KTO");
            reach.see("β", beta);
            reach.see("K", kl);
            reach.see("w_D", weights.0);
            reach.see("w_U", weights.1);
            None
        }
        Loss::ApoDown { beta } => {
            reach.kind("APO-down");
            reach.see("β", beta);
            None
        }
        Loss::CalDpo { beta } => {
            reach.kind("Cal-DPO");
            reach.see("β", beta);
            None
        }
        Loss::DpopInside { beta, lambda } | Loss::DpopOutside { beta, lambda } => {
            reach.kind("DPOP");
            reach.see("β", beta);
            reach.see("λ", lambda);
            None
        }
        Loss::RewardModel { centering } => {
            reach.kind("reward model");
            reach.see("c", centering);
            None
        }
    };
    match curve {
        None => {}
        Some(Curve::Logistic(epsilon) | Curve::Robust(epsilon)) => reach.see("ε", epsilon),
        Some(Curve::Hinge(delta)) => reach.see("δ", delta),
        Some(Curve::Square(_)) => reach.kind("square"),
        Some(Curve::ForwardGap(_)) => reach.kind("forward gap"),
        Some(Curve::BackwardGap(gap)) => reach.see("Δ", gap),
        Some(Curve::Blend(tau)) => reach.see("τ", tau),
    }
}

#[test]
fn every_loss_occurs_with_every_parameter() {
    for reach in [grown(60_000, &any_losses(), see_loss), parsed::<Loss>(120_000, see_loss)] {
        reach.counts(
            20,
            &[
                "reverse KL",
                "forward KL",
                "JS",
                "α-divergence",
                "means",
                "sums",
                "free means",
                "free sums",
                "ORPO",
                "NCA",
                "BCO",
                "SPPO",
                "KTO",
                "APO-down",
                "Cal-DPO",
                "DPOP",
                "reward model",
                "square",
                "forward gap",
            ],
        );
        reach.spans(&[
            ("β", 1e-3 * (1.0 - 1e-12), 10.0),
            ("ε", 0.01, 0.49),
            ("γ", 0.0, 1.0),
            ("α", -0.5, 0.5),
            ("τ", 0.05, 1.0),
            ("δ", 0.1, 1.1),
            ("λ", 0.0, 50.0),
            ("K", 0.0, 2.0),
            ("w_D", 1.0, 1.0),
            ("w_U", 0.0, 2.0),
            ("Δ", -2.0, 2.0),
            ("c", 0.0, 1.0),
            ("α of a divergence", 0.4, 1.0),
        ]);
    }
}
