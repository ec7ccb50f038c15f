//! Which mistake explains what was found.
//!
//! Each mistake is made on the inputs of the calls that failed. It explains a call if every figure
//! of an output that is wrong is the one that the mistake gives, and none that is right would be
//! wrong under it. Calls that passed count against mistakes that would have shown in them.

use alloc::vec::Vec;
use core::ops::Range;

use super::call::Answer;
use super::input::{Input, RowFigures, is_any};
use super::judge::{Judged, agrees};
use super::narrow::{is_narrow_sum, is_rounded};
use super::report::{Report, Wrong};
use super::{Mistake, Output, Precision, model};

/// A call with its answer, kept to find causes in.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) input: Input,
    pub(super) answer: Answer,
    /// The answer to the call before.
    pub(super) last: Answer,
    pub(super) judged: Vec<Judged>,
    /// Its failures in the report.
    pub(super) failures: Range<usize>,
}

impl Evidence {
    fn of(&self, output: Output) -> impl Iterator<Item = &Judged> {
        self.judged.iter().filter(move |one| one.output == output)
    }

    fn fails(&self, output: Output) -> bool {
        self.of(output).any(|one| !one.ok)
    }
}

/// What a mistake says of an output of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Its figures are those that were found, wrong ones among them.
    Explains,
    /// It would not show here, or leaves all to chance.
    Silent,
    /// It would have given other figures.
    Contradicts,
}

/// The failing calls of an output that are looked at first, to leave out most mistakes.
const SCREENED: usize = 6;
/// Mistakes of one backend that show in the same output.
const ROUNDS: usize = 3;

/// A mistake, with the calls that it explains.
struct Candidate {
    mistake: Mistake,
    explained: Vec<usize>,
}

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
        for round in 0..ROUNDS {
            let of = |candidate: &Candidate| {
                left.iter().filter(|call| candidate.explained.contains(call)).count()
            };
            let most = candidates.iter().map(of).max().unwrap_or(0);
            if most == 0 || (round > 0 && most * 5 < all) {
                break;
            }
            // Of those that explain nearly as much, the one that explains other outputs too.
            let mut best: Option<&Candidate> = None;
            for candidate in candidates.iter().filter(|c| of(c) * 20 >= most * 19) {
                if best.is_none_or(|best| total(candidate.mistake) > total(best.mistake)) {
                    best = Some(candidate);
                }
            }
            let Some(best) = best else { break };
            let (explained, rest): (Vec<usize>, Vec<usize>) =
                left.iter().partition(|call| best.explained.contains(call));
            assign(report, evidence, *output, &explained, best.mistake);
            left = rest;
        }
    }
    spread(report);
    count(report);
}

fn failing(evidence: &[Evidence], output: Output) -> Vec<usize> {
    (0..evidence.len()).filter(|&i| evidence.get(i).is_some_and(|e| e.fails(output))).collect()
}

fn candidates_of(
    report: &Report,
    evidence: &[Evidence],
    output: Output,
    failing: &[usize],
) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let constant = constant(evidence, output);
    // Narrow calls first: models of wide ones take long.
    let mut order = failing.to_vec();
    order.sort_by_key(|&i| evidence.get(i).map_or(0, |e| e.judged.len()));
    let verdict = |mistake, i: usize| {
        evidence
            .get(i)
            .map_or(Verdict::Silent, |e| verdict(&report.precision, e, output, mistake, constant))
    };
    Mistake::each(|mistake| {
        if !can_show(mistake, output) {
            return;
        }
        // Spread over the failing calls, so that one odd call does not decide.
        let step = order.len().div_ceil(SCREENED).max(1);
        let mut screened = order.iter().step_by(step);
        if !screened.any(|&i| verdict(mistake, i) == Verdict::Explains) {
            return;
        }
        let explained: Vec<usize> =
            order.iter().copied().filter(|&i| verdict(mistake, i) == Verdict::Explains).collect();
        let passing = (0..evidence.len()).filter(|i| !failing.contains(i));
        let contradicted = passing.filter(|&i| verdict(mistake, i) == Verdict::Contradicts).count();
        if contradicted * 20 <= explained.len() {
            candidates.push(Candidate { mistake, explained });
        }
    });
    candidates
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
fn spread(report: &mut Report) {
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
        if with * 4 >= without && with >= super::run::KEPT_FAILING {
            let wrong = report.failures.iter_mut().filter(wrong);
            wrong.for_each(|failure| failure.cause = Some(*cause));
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

/// Whether a mistake is one of the kernel that an output comes from.
const fn can_show(mistake: Mistake, output: Output) -> bool {
    let of_pairs = matches!(output, Output::PairLoss);
    let of_head = matches!(output, Output::HeadLogProb | Output::HeadLogZ | Output::HiddenGrads);
    match mistake.kernel() {
        Kernel::Any => true,
        Kernel::Rows => !of_pairs,
        Kernel::Pairs => of_pairs,
        Kernel::Head => of_head,
    }
}

/// The one number that an output has in all calls.
fn constant(evidence: &[Evidence], output: Output) -> Option<f64> {
    let mut all = evidence.iter().flat_map(|e| e.of(output)).map(|one| one.found);
    let first = all.next()?;
    (first != 0.0 && !first.is_nan() && all.all(|x| x == first)).then_some(first)
}

fn verdict(
    precision: &Precision,
    evidence: &Evidence,
    output: Output,
    mistake: Mistake,
    constant: Option<f64>,
) -> Verdict {
    let Evidence { input, .. } = evidence;
    let judged: Vec<&Judged> = evidence.of(output).collect();
    match mistake {
        Mistake::OutputRounded(format) => return of_bounds(&judged, |one| is_rounded(one, format)),
        Mistake::NarrowSums(format) => {
            let narrow = |one: &Judged| is_narrow_sum(input, precision, format, one);
            return of_bounds(&judged, narrow);
        }
        _ => {}
    }
    let wants = |other: Output| other == output;
    let rows: Vec<Option<RowFigures>> = match (mistake.kernel(), input) {
        (Kernel::Any, _) => Vec::new(),
        (_, Input::Rows(rows)) => model::rows(rows, precision, mistake, &wants),
        (_, Input::Head(head)) => model::head(head, precision, mistake, &wants),
        (_, Input::Pairs(_)) => Vec::new(),
    };
    let pairs = match input {
        Input::Pairs(pairs) => model::pairs(pairs, precision, mistake),
        _ => Vec::new(),
    };
    let first = evidence.of(output).map(|one| one.row).min().unwrap_or(0);
    let exact_of = |row: usize, column: usize| {
        let same = |one: &&&Judged| one.row == row && one.column == column;
        judged.iter().find(same).map_or(super::input::ANY, |one| one.expected)
    };
    let predicted = |one: &Judged| match mistake {
        Mistake::Unwritten => evidence.answer.before,
        Mistake::Zeros => 0.0,
        Mistake::AlwaysNan => f64::NAN,
        Mistake::Constant => constant.unwrap_or(super::input::ANY),
        Mistake::LastCall => last_of(evidence, one),
        Mistake::Accumulates => evidence.answer.before + one.expected,
        Mistake::FirstRow => exact_of(first, one.column),
        Mistake::RowBefore => match one.row.checked_sub(1) {
            Some(row) => exact_of(row, one.column),
            None => super::input::ANY,
        },
        Mistake::RowAfter => exact_of(one.row + 1, one.column),
        _ if output == Output::PairLoss => {
            pairs.get(one.row).and_then(|p| p.get(one.column)).copied().unwrap_or(f64::NAN)
        }
        _ => match rows.get(one.row) {
            Some(Some(figures)) => figures.get(output, one.column),
            _ => super::input::ANY,
        },
    };
    of_figures(precision, &judged, predicted)
}

/// The figure in the answer before this one.
fn last_of(evidence: &Evidence, one: &Judged) -> f64 {
    let last = &evidence.last;
    let list = last.list(one.output);
    let width = match (&evidence.input, one.output) {
        (Input::Rows(rows), Output::LogitGrads) => rows.vocab,
        (Input::Head(head), Output::HiddenGrads) => head.hidden_size,
        (Input::Pairs(_), _) => {
            let pair = last.pairs.as_ref().and_then(|pairs| pairs.get(one.row));
            let figures = pair.map(super::input::pair_figures);
            return figures.and_then(|f| f.get(one.column).copied()).unwrap_or(super::input::ANY);
        }
        _ => 1,
    };
    // Gradients of another width lie elsewhere.
    let at = list.get(one.row * width + one.column).copied();
    if width == 1 { at.unwrap_or(super::input::ANY) } else { super::input::ANY }
}

fn of_figures(
    precision: &Precision,
    judged: &[&Judged],
    predicted: impl Fn(&Judged) -> f64,
) -> Verdict {
    let mut explained = false;
    for one in judged {
        let by_mistake = predicted(one);
        if is_any(by_mistake) {
            continue;
        }
        let shows = !agrees(one.expected, by_mistake, one.allowed, one.format);
        if one.ok {
            if shows && !matches_found(precision, one, by_mistake) {
                return Verdict::Contradicts;
            }
        } else if shows && matches_found(precision, one, by_mistake) {
            explained = true;
        } else {
            return Verdict::Contradicts;
        }
    }
    if explained { Verdict::Explains } else { Verdict::Silent }
}

/// Mistakes that are known by how far figures are off.
fn of_bounds(judged: &[&Judged], fits: impl Fn(&Judged) -> bool) -> Verdict {
    let mut explained = false;
    for one in judged {
        if !fits(one) {
            return Verdict::Contradicts;
        }
        explained |= !one.ok;
    }
    if explained { Verdict::Explains } else { Verdict::Silent }
}

/// The model is exact, the backend rounds: at the mistake's own size as at the right one's.
fn matches_found(precision: &Precision, one: &Judged, by_mistake: f64) -> bool {
    if one.output == Output::Argmax {
        return by_mistake == one.found;
    }
    let unit = if one.output == Output::PairLoss { precision.pair } else { precision.arithmetic };
    let allowed = 4.0 * one.allowed
        + 2.0 * one.format.ulp(by_mistake)
        + 64.0 * unit.unit() * by_mistake.abs();
    agrees(by_mistake, one.found, allowed, one.format)
}

/// The kernel that a mistake is made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// Any: outputs are not what was computed.
    Any,
    Rows,
    Pairs,
    Head,
}
