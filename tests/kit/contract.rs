//! What a run says of backends that fail, offer nothing, or answer with NaN; and that a plan is the
//! same whenever it is asked for.

use dpo_kernel::verify::kit::{
    Backend, Call, Given, Mistake, Output, Pairs, Plan, Precision, RowOut, Rows, Size, Unscored,
    run,
};
use dpo_kernel::verify::{PairResult, kit};
use dpo_kernel::{Element, bf16, f16};

use crate::plain::{Plain, Style};
use crate::planted::{SINGLE, report};

/// Fails in some calls.
struct Failing {
    plain: Plain<f32, f32>,
    calls: usize,
}

impl Backend for Failing {
    type Element = f32;
    type Error = String;

    fn name(&self) -> &str {
        "failing"
    }

    fn precision(&self) -> Precision {
        SINGLE
    }

    fn offers(&self) -> &[Output] {
        &[Output::LogProb, Output::PairLoss]
    }

    fn accepts(&mut self, call: &Call<f32>) -> Result<(), String> {
        match &call.given {
            Given::Rows(rows) if rows.transform.softcap.is_some() => Err("no softcap".into()),
            _ => Ok(()),
        }
    }

    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, f32>,
        out: &mut RowOut<'_>,
    ) -> Result<(), String> {
        self.calls += 1;
        if self.calls.is_multiple_of(5) {
            return Err(format!("launch {} failed", self.calls));
        }
        assert!(rows.transform.softcap.is_none(), "declined");
        self.plain.token_log_probs(rows, out).map_err(|error| error.to_string())
    }

    fn pair_loss(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), String> {
        self.plain.pair_loss(pairs, out).map_err(|error| error.to_string())
    }
}

#[test]
fn failed_and_declined_calls_are_listed_apart() {
    let mut backend = Failing { plain: Plain::new(Style::PLAIN, SINGLE), calls: 0 };
    let report = run(&mut backend, Plan::new(3));
    assert_eq!(report.errors.len(), backend.calls / 5);
    assert_eq!(report.errors[0].message, "launch 5 failed");
    assert!(!report.declined.is_empty());
    assert!(report.declined.iter().all(|call| call.message == "no softcap"));
    assert!(report.failures.is_empty(), "{report}");
    assert!(!report.is_accurate(), "a call that failed is no success");
    assert!(report.to_string().contains("failed: rows-"), "{report}");
}

#[test]
fn a_backend_that_offers_nothing_is_not_accurate() {
    let mut backend = Plain::<f32, f32>::new(Style::PLAIN, SINGLE).offering(&[]);
    let report = run(&mut backend, Plan::new(1));
    assert_eq!((report.calls, report.figures()), (0, 0));
    assert!(!report.is_accurate());
    assert!(report.failures.is_empty());
}

#[test]
fn nan_everywhere_fails_every_row_but_those_without_probabilities() {
    let report = report::<f32>(&[Mistake::AlwaysNan], &[Output::LogProb, Output::LogZ], 5);
    assert!(report.failures.len() > 1000);
    assert!(report.failures.iter().all(|failure| failure.found.is_nan()));
    assert!(report.failures.iter().all(|failure| !failure.expected.is_nan()));
    assert_eq!(report.causes[0].0, Mistake::AlwaysNan);
}

#[test]
fn zeros_in_rows_that_are_not_scored_are_strays_unless_declared() {
    struct Zeroing(Plain<f32, f32>, Unscored);
    impl Backend for Zeroing {
        type Element = f32;
        type Error = String;

        fn name(&self) -> &str {
            "zeroing"
        }

        fn precision(&self) -> Precision {
            SINGLE
        }

        fn offers(&self) -> &[Output] {
            &[Output::LogProb]
        }

        fn unscored(&self) -> Unscored {
            self.1
        }

        fn token_log_probs(
            &mut self,
            rows: &Rows<'_, f32>,
            out: &mut RowOut<'_>,
        ) -> Result<(), String> {
            self.0.token_log_probs(rows, out).map_err(|error| error.to_string())?;
            for row in (0..rows.rows).filter(|&row| !rows.is_scored(row)) {
                out.log_probs[row] = 0.0;
            }
            Ok(())
        }
    }
    let of = |unscored| {
        let plain = Plain::new(Style::PLAIN, SINGLE);
        run(&mut Zeroing(plain, unscored), Plan::new(6))
    };
    assert!(of(Unscored::Zero).is_clean());
    let report = of(Unscored::Untouched);
    assert!(!report.is_accurate());
    assert_eq!(report.causes.len(), 1);
    assert_eq!(report.causes[0].0, Mistake::WritesUnscoredRows);
    assert!(report.failures.iter().all(|failure| failure.wrong == kit::Wrong::UnscoredRow));
}

/// The bits of a call.
fn bits(call: &Call<f32>) -> Vec<u64> {
    let of = |x: &[f32]| x.iter().map(|x| u64::from(x.to_bits())).collect::<Vec<_>>();
    match &call.given {
        Given::Rows(rows) => [of(&rows.logits), of(&rows.coefficients)].concat(),
        Given::Pairs(pairs) => {
            let all = pairs.log_probs.iter().flat_map(|p| [p.policy_chosen, p.reference_rejected]);
            all.chain(pairs.weights.iter().copied()).map(f64::to_bits).collect()
        }
        Given::Head(head) => [of(&head.hidden), of(&head.weight), of(&head.coefficients)].concat(),
    }
}

#[test]
fn a_call_is_found_by_its_name_with_the_same_data() {
    let plan = Plan::new(21);
    let calls: Vec<Call<f32>> = plan.groups().flat_map(|group| group.calls).collect();
    let mut names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    for call in calls.iter().step_by(29) {
        let found = plan.call::<f32>(&call.name).unwrap();
        assert_eq!(found.input, call.input);
        assert_eq!(bits(&found), bits(call), "{}", call.name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), calls.len(), "no name twice");
    assert!(plan.call::<f32>("rows-9999").is_none());
    // The longer plan has more.
    let full = Plan { size: Size::Full, ..plan };
    assert!(full.groups::<bf16>().count() > 2 * plan.groups::<bf16>().count());
}

#[test]
fn seeds_differ_and_repeat() {
    let all = |seed| -> Vec<Vec<u64>> {
        Plan::new(seed).groups().flat_map(|group| group.calls).map(|call| bits(&call)).collect()
    };
    let (a, b) = (all(1), all(2));
    assert_eq!(a, all(1));
    let same = a.iter().filter(|call| !call.is_empty() && b.contains(call)).count();
    assert!(same * 50 < a.len(), "{same} of {} calls are those of another seed", a.len());
    let text = |seed| report::<f16>(&[Mistake::NoScale], &Output::ALL, seed).to_string();
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
}

fn coefficients_of<E: Element>(seed: u64) -> Vec<f32> {
    let of = |call: Call<E>| match call.given {
        Given::Rows(rows) => rows.coefficients,
        Given::Head(head) => head.coefficients,
        Given::Pairs(_) => Vec::new(),
    };
    Plan::new(seed).groups::<E>().flat_map(|group| group.calls).flat_map(of).collect()
}

/// Hosts that keep coefficients as they keep logits round none, and those that clamp or flush them
/// are seen.
#[test]
fn coefficients_are_numbers_of_the_storage_of_all_sizes() {
    fn check<E: Element>(least: f32, most: f32) {
        for seed in 0..4 {
            let all = coefficients_of::<E>(seed);
            assert!(all.iter().all(|&c| E::from_f32(c).to_f32() == c));
            let sizes = || all.iter().map(|c| c.abs()).filter(|c| *c > 0.0);
            assert!(sizes().any(|c| c < least) && sizes().any(|c| c > most), "seed {seed}");
        }
    }
    check::<f32>(1e-7, 1e3);
    check::<bf16>(1e-7, 1e3);
    check::<f16>(1e-3, 1e3);
}
