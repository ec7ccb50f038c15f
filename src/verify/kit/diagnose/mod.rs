//! Which mistake explains what was found.
//!
//! Each mistake is made on the inputs of the calls that failed. It explains a call if every figure
//! of an output that is wrong is the one that the mistake gives, and none that is right would be
//! wrong under it. Calls that passed count against mistakes that would have shown in them.

mod candidates;
mod evidence;
mod verdict;

use alloc::vec::Vec;

use super::report::{Report, Wrong};
use super::{Mistake, Output};
use candidates::{Candidate, can_show, candidates_of, failing};
use evidence::KEPT_FAILING;
pub(super) use evidence::{Evidence, Slot};
use verdict::{Verdict, verdict};

/// Mistakes of one backend that show in the same output.
const ROUNDS: usize = 3;

/// Calls that a mistake explains to the last figure: fewer are not believed beside many others.
const FEW: usize = 3;

/// Names the causes of a report's failures.
pub(super) fn explain(report: &mut Report, evidence: &[Evidence]) {
    let outputs = report.offers.clone();
    let mut candidates: Vec<(Output, Vec<Candidate>)> = Vec::new();
    for &output in &outputs {
        let failing: Vec<usize> = failing(evidence, output);
        if !failing.is_empty() {
            candidates.push((output, candidates_of(report, evidence, output, &failing)));
        }
    }
    // One mistake often shows in several outputs: believed first.
    let totals: Vec<(Mistake, usize)> = totals(&candidates);
    let total = |mistake: Mistake| {
        totals.iter().find(|(other, _)| *other == mistake).map_or(0, |&(_, total)| total)
    };
    for (output, candidates) in &candidates {
        let mut left = failing(evidence, *output);
        let all = left.len();
        for _ in 0..ROUNDS {
            let of = |candidate: &Candidate| {
                left.iter().filter(|call| candidate.explained.contains(call)).count()
            };
            let most = candidates.iter().map(of).max().unwrap_or(0);
            // A few calls may be chance where many are left.
            if most == 0 || (most < FEW && most * 5 < all) {
                break;
            }
            // Of those that explain nearly as much, the one that explains other outputs too.
            let near: Vec<&Candidate> =
                candidates.iter().filter(|c| of(c) * 20 >= most * 19).collect();
            let alone = near.len() == 1;
            let merit = |mistake: Mistake| {
                let against = if alone { 0 } else { contradicted(report, evidence, mistake) };
                (total(mistake), core::cmp::Reverse(against))
            };
            let mut best: Option<(&Candidate, _)> = None;
            for candidate in near {
                let merit = merit(candidate.mistake);
                if best.as_ref().is_none_or(|(_, best)| merit > *best) {
                    best = Some((candidate, merit));
                }
            }
            let Some((best, _)) = best else { break };
            let (explained, rest): (Vec<usize>, Vec<usize>) =
                left.iter().partition(|call| best.explained.contains(call));
            assign(report, evidence, *output, &explained, best.mistake);
            left = rest;
        }
    }
    spread(report, evidence);
    count(report);
}

/// Narrow calls in which a mistake is looked for where nothing failed.
const WITNESSES: usize = 6;

/// How many outputs that are right throughout would be wrong under a mistake.
fn contradicted(report: &Report, evidence: &[Evidence], mistake: Mistake) -> usize {
    let right =
        |output: &&Output| can_show(mistake, **output) && failing(evidence, **output).is_empty();
    let contradicts = |output: &&Output| {
        let calls = evidence.iter().filter(|e| e.of(**output).next().is_some());
        calls
            .take(WITNESSES)
            .any(|e| verdict(&report.precision, e, **output, mistake, None) == Verdict::Contradicts)
    };
    report.offers.iter().filter(right).filter(contradicts).count()
}

fn totals(candidates: &[(Output, Vec<Candidate>)]) -> Vec<(Mistake, usize)> {
    let mut totals: Vec<(Mistake, usize)> = Vec::new();
    for candidate in candidates.iter().flat_map(|(_, candidates)| candidates) {
        let explained = candidate.explained.len();
        match totals.iter_mut().find(|(mistake, _)| *mistake == candidate.mistake) {
            Some((_, total)) => *total += explained,
            None => totals.push((candidate.mistake, explained)),
        }
    }
    totals
}

fn assign(
    report: &mut Report,
    evidence: &[Evidence],
    output: Output,
    calls: &[usize],
    mistake: Mistake,
) {
    for evidence in calls.iter().filter_map(|&call| evidence.get(call)) {
        let failures = report.failures.get_mut(evidence.failures.clone()).unwrap_or_default();
        let of = |failure: &&mut super::Failure| {
            failure.output == output && failure.wrong == Wrong::Figure
        };
        failures.iter_mut().filter(of).for_each(|failure| failure.cause = Some(mistake));
    }
}

/// Calls beyond those that were kept have the cause of their output, if it has a single one.
fn spread(report: &mut Report, evidence: &[Evidence]) {
    for output in report.offers.clone() {
        let mut causes: Vec<Mistake> = Vec::new();
        let of =
            |failure: &&super::Failure| failure.output == output && failure.wrong == Wrong::Figure;
        let known = report.failures.iter().filter(of).filter_map(|failure| failure.cause);
        known.for_each(|cause| {
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        });
        // Kept calls that nothing explains speak against it.
        let [cause] = causes.as_slice() else { continue };
        let wrong = |failure: &&mut super::Failure| {
            failure.output == output && failure.wrong == Wrong::Figure
        };
        let (mut without, mut with) = (0, 0);
        for failure in report.failures.iter_mut().filter(wrong) {
            if failure.cause.is_some() { with += 1 } else { without += 1 }
        }
        if with * 4 >= without && with >= KEPT_FAILING {
            // What was looked at and not explained stays so.
            let looked_at = |i: usize| evidence.iter().any(|e| e.failures.contains(&i));
            let rest = report.failures.iter_mut().enumerate().filter(|(i, _)| !looked_at(*i));
            let rest = rest.map(|(_, failure)| failure).filter(wrong);
            rest.for_each(|failure| failure.cause = Some(*cause));
        }
    }
}

fn count(report: &mut Report) {
    for cause in report.failures.iter().filter_map(|failure| failure.cause) {
        match report.causes.iter_mut().find(|(other, _)| *other == cause) {
            Some((_, count)) => *count += 1,
            None => report.causes.push((cause, 1)),
        }
    }
    report.causes.sort_by_key(|&(cause, count)| (core::cmp::Reverse(count), cause));
}
