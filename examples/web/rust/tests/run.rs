//! The run: its start, its bits, and that it learns what each loss asks for.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails where something is missing, and compares bits"
)]

use std::f64::consts::LN_2;

use dpo_kernel_web::model::Base;
use dpo_kernel_web::objective::{NAMES, Objective};
use dpo_kernel_web::pairs::{Examples, Pair};
use dpo_kernel_web::train::{Figures, Rate, Run};

const DIGESTS: [(&str, bool, &str); 10] = [
    ("sigmoid", false, "b6754f3f0c262be3"),
    ("r_dpo", false, "cf10a8a5b018a38c"),
    ("ld_dpo", false, "db87071f5f214992"),
    ("dpop_inside", false, "7db046738320cf40"),
    ("ipo", false, "68c3093b0a3146df"),
    ("sigmoid_norm", false, "ebb91e7e1d886c69"),
    ("simpo", false, "81d9c0b9b119bbcb"),
    ("cpo", false, "94fc67e0e03f3660"),
    ("orpo", false, "2b0b12e63073f00f"),
    ("sigmoid", true, "c79cf0303f5cc0a4"),
];

fn examples(longer: bool) -> Examples {
    let pairs = include_bytes!("../../page/pairs.jsonl");
    let pairs = dpo_kernel_web_reader::read("pairs.jsonl", pairs).unwrap();
    let pair = |pair: &dpo_kernel_web_reader::Pair| -> [String; 3] {
        [&pair.prompt, &pair.chosen, &pair.rejected].map(String::clone)
    };
    let pairs: Vec<[String; 3]> = pairs.iter().map(pair).collect();
    Examples::new(
        pairs.iter().map(|pair| -> Pair<'_> { pair.each_ref().map(String::as_str) }),
        longer,
    )
}

fn rate(rate: f64) -> Rate {
    Rate::new(rate).unwrap()
}

fn run(loss: &str, longer: bool) -> Run {
    let base = Base::new(include_bytes!("../../page/base.bin").to_vec()).unwrap();
    Run::new(base, &examples(longer), Objective::new(loss, None).unwrap(), rate(0.0007), 1).unwrap()
}

#[test]
fn starts_at_the_reference() {
    for loss in NAMES {
        let figures = run(loss, true).figures().unwrap();
        for Figures { correct, chosen, rejected, .. } in figures {
            assert_eq!((correct, chosen, rejected), (0, 0.0, 0.0), "{loss}");
        }
    }
    let run = run("sigmoid", false);
    let [train, held_out] = run.figures().unwrap();
    assert!((train.loss - LN_2).abs() < 1e-15 && (held_out.loss - LN_2).abs() < 1e-15);
    assert_eq!((train.pairs, held_out.pairs), (48, 12));
    assert_eq!(run.mean_length(true), run.mean_length(false));
    assert_eq!(run.sample(0, true, 1), run.sample(0, false, 1));
    assert_eq!(run.sample(12, true, 1), None);
}

#[test]
fn has_the_same_bits_everywhere() {
    // Of `dpo-kernel-web run --loss NAME --steps 10 [--longer]`. A change of the crate's roundings moves them.
    for (loss, longer, digest) in DIGESTS {
        let mut run = run(loss, longer);
        (0..10).for_each(|_| _ = run.step().unwrap());
        assert_eq!(format!("{:016x}", run.digest()), digest, "{loss}, longer: {longer}");
        let before = run.digest();
        run.figures().unwrap();
        assert_eq!(run.digest(), before, "looking changes nothing");
    }
}

#[test]
fn learns() {
    let trained = |loss: &str| {
        let mut run = run(loss, false);
        (0..60).for_each(|_| _ = run.step().unwrap());
        run.figures().unwrap()
    };
    for loss in NAMES {
        let [start, _] = run(loss, false).figures().unwrap();
        let [train, held_out] = trained(loss);
        assert!(train.loss < start.loss, "{loss}: {} after {}", train.loss, start.loss);
        assert!(train.chosen > train.rejected, "{loss}: {train:?}");
        assert!(held_out.correct >= 6, "{loss}: {held_out:?}");
    }
    // What the page says of both: DPO lets the chosen answer fall, DPOP does not.
    assert!(trained("dpop_inside")[0].chosen > 0.0);
    let mut dpo = run("sigmoid", false);
    (0..100).for_each(|_| _ = dpo.step().unwrap());
    assert!(dpo.figures().unwrap()[0].chosen < 0.0);
}

#[test]
fn a_rate_is_a_finite_number_above_0() {
    // The last two are 0 and infinite only as an f32.
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-50, 1e39] {
        assert_eq!(Rate::new(rate), None, "{rate}");
    }
    assert!(Rate::new(1e-45).is_some() && Rate::new(1e38).is_some());
}

#[test]
fn too_large_a_rate_is_an_error_and_changes_nothing() {
    let base = Base::new(include_bytes!("../../page/base.bin").to_vec()).unwrap();
    let objective = Objective::new("sigmoid", None).unwrap();
    let mut run = Run::new(base, &examples(false), objective, rate(1e30), 1).unwrap();
    let failed = (0..20).find_map(|_| run.step().err());
    assert!(failed.is_some(), "1e30 runs away");
    let (steps, digest) = (run.steps(), run.digest());
    assert!(run.step().is_err());
    assert_eq!((run.steps(), run.digest()), (steps, digest));
}
