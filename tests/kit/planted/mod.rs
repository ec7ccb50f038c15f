//! Planted mistakes: each is made in the loops of `plain`, and the kit has to name it.
//!
//! A mistake is named in a seed if the report's first cause is that mistake. Below 95 % of the seeds
//! the tests fail, with a table.

mod cases;
mod near;
mod two;

use dpo_kernel::verify::kit::{
    Additions, Difference, Format, Mistake, Output, Plan, Precision, Report, Target, run,
};
use dpo_kernel::{Element, bf16, f16};

use crate::plain::{LogProb, Order, Plain, Style};
use cases::{HEADS, PAIRS, ROWS};

pub const SINGLE: Precision = Precision::new(Format::F32, Format::F32);

/// Seeds of each mistake and storage: `KIT_SEEDS=20` is what docs/kit.md shows.
fn seeds() -> u64 {
    std::env::var("KIT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

pub fn report<E: Element>(faults: &[Mistake], offers: &[Output], seed: u64) -> Report {
    let mut backend = Plain::<E, f32>::new(Style::PLAIN, SINGLE).offering(offers);
    backend.faults = faults.to_vec();
    run(&mut backend, Plan::new(seed))
}

/// A mistake's line of the table: how often it was named, for each storage.
struct Line {
    mistake: Mistake,
    named: Vec<(Format, u64, Vec<String>)>,
}

fn is_named(mistake: Mistake, report: &Report) -> Result<(), String> {
    let causes: Vec<String> =
        report.causes.iter().take(3).map(|(cause, count)| format!("{cause:?} {count}")).collect();
    match report.causes.first() {
        Some((cause, _))
            if *cause == mistake || cases::is_same(mistake, *cause, report.storage) =>
        {
            Ok(())
        }
        _ => Err(format!("{} of {}", causes.join(", "), report.failures.len())),
    }
}

fn line<E: Element>(line: &mut Line, offers: &[Output]) {
    let format = Format::of::<E>();
    if !cases::shows_in(line.mistake, format) {
        return;
    }
    let (mut named, mut others) = (0, Vec::new());
    for seed in 0..seeds() {
        let report = report::<E>(&[line.mistake], offers, 100 + seed);
        match is_named(line.mistake, &report) {
            Ok(()) => named += 1,
            Err(other) => others.push(other),
        }
    }
    line.named.push((format, named, others));
}

fn all_are_named(mistakes: Vec<Mistake>, offers: &[Output], storages: &[Format]) {
    let mut failed = Vec::new();
    let only = std::env::var("KIT_ONLY").unwrap_or_default();
    let stored = std::env::var("KIT_STORAGE").unwrap_or_default();
    for (i, mistake) in mistakes.into_iter().enumerate() {
        if !format!("{mistake:?}").contains(&only) {
            continue;
        }
        let mut of = Line { mistake, named: Vec::new() };
        for (at, storage) in storages.iter().enumerate() {
            // A short run takes each mistake on one storage, in turn.
            let turn = at == i % storages.len() || !cases::shows_in(mistake, Format::F32);
            let skipped = !stored.is_empty() && storage.name() != stored;
            if skipped || (seeds() == 1 && !turn) {
                continue;
            }
            match storage {
                Format::F16 => line::<f16>(&mut of, offers),
                Format::Bf16 => line::<bf16>(&mut of, offers),
                _ => line::<f32>(&mut of, offers),
            }
        }
        let counts: Vec<String> = of
            .named
            .iter()
            .map(|(format, n, _)| format!("{} {n}/{}", format.name(), seeds()))
            .collect();
        if std::env::var_os("KIT_TABLE").is_some() {
            println!("| {mistake} | {} |", counts.join(" | "));
        }
        if of.named.iter().any(|(_, n, _)| n * 20 < seeds() * 19) {
            let others: Vec<&String> =
                of.named.iter().flat_map(|(.., o)| o.iter().take(2)).collect();
            failed.push(format!("{mistake:?}: {}: {others:?}", counts.join(", ")));
        }
    }
    assert!(failed.is_empty(), "named in fewer than 95 of 100 seeds:\n{}", failed.join("\n"));
}

const ALL: [Format; 3] = [Format::F32, Format::F16, Format::Bf16];

#[test]
fn mistakes_of_any_kernel_are_named() {
    all_are_named(cases::of_any(), &Output::ALL, &ALL);
}

#[test]
fn mistakes_of_memory_are_named() {
    all_are_named(cases::of_memory(), ROWS, &ALL);
}

#[test]
fn mistakes_of_the_forward_are_named() {
    all_are_named(cases::of_forward(), ROWS, &ALL);
}

#[test]
fn mistakes_of_gradients_are_named() {
    all_are_named(cases::of_gradients(), ROWS, &ALL);
}

#[test]
fn mistakes_of_pairs_are_named() {
    all_are_named(cases::of_pairs(), PAIRS, &[Format::F32]);
}

#[test]
fn mistakes_of_heads_are_named() {
    all_are_named(cases::of_heads(), HEADS, &ALL);
}

/// A backend that promises to keep the target's term apart, and does not.
#[test]
fn a_target_that_is_not_apart_is_named() {
    fn named<E: Element>(offers: &[Output]) {
        let precision = Precision {
            difference: Difference::Shifted,
            target: Target::Apart,
            additions: Additions::Chain(18),
            ..SINGLE
        };
        let style = Style { log_prob: LogProb::Apart, order: Order::Tree, ..Style::PLAIN };
        let mut right = 0;
        for seed in 0..seeds() {
            let mut backend = Plain::<E, f32>::new(style, precision)
                .with(Mistake::TargetNotApart)
                .offering(offers);
            let report = run(&mut backend, Plan::new(100 + seed));
            right += u64::from(is_named(Mistake::TargetNotApart, &report).is_ok());
            assert!(seeds() > 1 || right == 1, "{:?} {}", report.causes, report.unexplained());
        }
        assert!(right * 20 >= seeds() * 19, "{right} of {}", seeds());
    }
    named::<f32>(ROWS);
    named::<bf16>(ROWS);
    named::<f16>(ROWS);
    named::<f32>(&[Output::LogProb]);
}

/// Where more than one seed is asked for: every width that a cause may have.
#[test]
fn all_other_widths_are_named() {
    if seeds() > 1 {
        let [memory, gradients, heads] = cases::other_widths();
        all_are_named(memory, ROWS, &ALL);
        all_are_named(gradients, ROWS, &ALL);
        all_are_named(heads, HEADS, &ALL);
    }
}

#[test]
fn sums_of_f32_are_named_where_f64_is_promised() {
    for seed in 100..100 + seeds() {
        let precision = Precision::new(Format::F64, Format::F64);
        let fault = Mistake::NarrowSums(Format::F32);
        let mut backend =
            Plain::<f32, f64>::new(Style::PLAIN, precision).offering(ROWS).with(fault);
        let report = run(&mut backend, Plan::new(seed));
        assert_eq!(is_named(fault, &report), Ok(()), "seed {seed}");
    }
}

/// With log-probs alone, few calls tell it from a number in place of −inf, and all of them pass.
#[test]
fn a_softcap_that_unmasks_is_named_by_log_probs_alone() {
    all_are_named(vec![Mistake::SoftcapUnmasks], &[Output::LogProb], &[Format::F32]);
    all_are_named(vec![Mistake::MaskIsNumber(-10_000)], &[Output::LogProb], &[Format::F32]);
}

#[test]
#[ignore = "shows one mistake"]
fn show() {
    let mut all = Vec::new();
    Mistake::each(|m| all.push(m));
    let only = std::env::var("KIT_ONLY").unwrap_or_default();
    let storage = std::env::var("KIT_STORAGE").unwrap_or_default();
    for mistake in all.into_iter().filter(|m| format!("{m:?}") == only) {
        let r = match storage.as_str() {
            "f16" => report::<f16>(&[mistake], ROWS, 100),
            "bf16" => report::<bf16>(&[mistake], ROWS, 100),
            _ => report::<f32>(&[mistake], ROWS, 100),
        };
        println!("{r}");
    }
}
