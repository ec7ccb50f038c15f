//! What a mistake says of one output of a call.

use alloc::vec::Vec;

use super::super::call::Answer;
use super::super::input::{Input, RowFigures, is_any};
use super::super::judge::{Judged, agrees, judge};
use super::super::kernel::Kernel;
use super::super::narrow::{is_of_one, is_rounded, of_narrow_sum};
use super::super::{Mistake, Output, Precision, Target, model};
use super::evidence::Evidence;

/// What a mistake says of an output of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its figures are those that were found, wrong ones among them.
    Explains,
    /// It would not show here, or leaves all to chance.
    Silent,
    /// It would have given other figures.
    Contradicts,
}

pub(super) fn verdict(
    precision: &Precision,
    evidence: &Evidence,
    output: Output,
    mistake: Mistake,
    constant: Option<f64>,
) -> Verdict {
    let Evidence { input, .. } = evidence;
    let judged: Vec<&Judged> = evidence.of(output).collect();
    match mistake {
        // Only the place of a figure tells.
        Mistake::IndexOf32Bits => return of_place(input, &judged),
        Mistake::OutputRounded(format) => return of_bounds(&judged, |one| is_rounded(one, format)),
        Mistake::NarrowSums(format) => {
            let narrow = |one: &Judged| of_narrow_sum(input, precision, format, one).is_some();
            return of_bounds(&judged, narrow);
        }
        Mistake::TargetNotApart => return not_apart(precision, evidence, output, &judged),
        // 1 − p has the digits of 1, whatever they happen to be.
        Mistake::SaturatedSlope => {
            return of_bounds(&judged, |one| one.ok || is_of_one(input, precision, one));
        }
        _ => {}
    }
    let wants = |other: Output| other == output;
    let rows: Vec<Option<RowFigures>> = match (mistake.kernel(), input) {
        (Kernel::Any, _) | (_, Input::Pairs(_)) => Vec::new(),
        (_, Input::Rows(rows)) => model::rows(rows, precision, mistake, &wants),
        (_, Input::Head(head)) => model::head(head, precision, mistake, &wants),
    };
    let pairs = match input {
        Input::Pairs(pairs) => model::pairs(pairs, precision, mistake),
        _ => Vec::new(),
    };
    let first = evidence.of(output).map(|one| one.row).min().unwrap_or(0);
    let exact_of = |row: usize, column: usize| {
        let same = |one: &&&Judged| one.row == row && one.column == column;
        judged.iter().find(same).map_or(super::super::input::ANY, |one| one.expected)
    };
    let predicted = |one: &Judged| match mistake {
        Mistake::Unwritten => evidence.before,
        Mistake::Zeros => 0.0,
        Mistake::AlwaysNan => f64::NAN,
        Mistake::Constant => constant.unwrap_or(super::super::input::ANY),
        Mistake::LastCall => last_of(evidence, one),
        Mistake::Accumulates => evidence.before + one.expected,
        Mistake::FirstRow => exact_of(first, one.column),
        Mistake::RowBefore => match one.row.checked_sub(1) {
            Some(row) => exact_of(row, one.column),
            None => super::super::input::ANY,
        },
        Mistake::RowAfter => exact_of(one.row + 1, one.column),
        _ if output == Output::PairLoss => {
            pairs.get(one.row).and_then(|p| p.get(one.column)).copied().unwrap_or(f64::NAN)
        }
        _ => match rows.get(one.row) {
            Some(Some(figures)) => figures.get(output, one.column),
            _ => super::super::input::ANY,
        },
    };
    of_figures(precision, &judged, predicted)
}

/// Whether all figures are right for a target that is one of the sum, where one kept apart is promised.
fn not_apart(
    precision: &Precision,
    Evidence { input, .. }: &Evidence,
    output: Output,
    judged: &[&Judged],
) -> Verdict {
    if precision.target != Target::Apart {
        return Verdict::Silent;
    }
    let precision = Precision { target: Target::InSum, ..*precision };
    // The same figures in the same order, each with the bound that it would have then.
    let wider = judge(input, &Answer::default(), &precision, &[output]);
    let allowed = wider.iter().filter(|one| one.output == output).map(|one| one.allowed);
    let fits = |(one, allowed): (&&Judged, f64)| {
        one.ok
            || (agrees(one.expected, one.found, allowed, one.format)
                && has_digits_of_1(&precision, one))
    };
    if !judged.iter().zip(allowed).all(fits) {
        return Verdict::Contradicts;
    }
    if judged.iter().all(|one| one.ok) { Verdict::Silent } else { Verdict::Explains }
}

/// Whether a small log-prob is that of a sum near 1, or a difference of numbers near 1: a multiple of
/// the last digit of what is below 1. Others do not tell.
fn has_digits_of_1(precision: &Precision, one: &Judged) -> bool {
    let tells = matches!(one.output, Output::LogProb | Output::HeadLogProb)
        && one.found.abs() < 1.0 / 128.0
        && precision.output >= precision.arithmetic;
    let is_multiple = |x: f64| {
        let digits = x / precision.arithmetic.unit();
        (digits - libm::rint(digits)).abs()
            <= 1e-3 + 2.0 * precision.arithmetic.unit() * digits.abs()
    };
    !tells || is_multiple(one.found) || is_multiple(libm::expm1(-one.found))
}

/// Whether all wrong figures, and no others, lie beyond 2³¹ elements.
fn of_place(input: &Input, judged: &[&Judged]) -> Verdict {
    let Input::Rows(rows) = input else { return Verdict::Silent };
    let beyond = |one: &Judged| {
        let end = one.row.saturating_mul(rows.stride_of_call).saturating_add(rows.vocab);
        u64::try_from(end).is_ok_and(|end| end > 1 << 31)
    };
    if !judged.iter().any(|one| beyond(one)) {
        let any = judged.iter().any(|one| !one.ok);
        return if any { Verdict::Contradicts } else { Verdict::Silent };
    }
    of_bounds(judged, |one| one.ok || beyond(one))
}

/// The figure that was right in the call before: results come one call late.
fn last_of(evidence: &Evidence, one: &Judged) -> f64 {
    let same = |last: &&Judged| {
        last.output == one.output && last.row == one.row && last.column == one.column
    };
    // Gradients of another width lie elsewhere.
    if matches!(one.output, Output::LogitGrads | Output::HiddenGrads) {
        return super::super::input::ANY;
    }
    evidence.last.iter().find(same).map_or(super::super::input::ANY, |last| last.expected)
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
        } else if matches_found(precision, one, by_mistake) && is_nearer(one, by_mistake) {
            explained |= shows;
        } else {
            return Verdict::Contradicts;
        }
    }
    if explained { Verdict::Explains } else { Verdict::Silent }
}

/// Whether the mistake's figure is nearer to what was found than the right one.
fn is_nearer(one: &Judged, by_mistake: f64) -> bool {
    let [right, by_mistake] = [one.expected, by_mistake].map(|x| (one.found - x).abs());
    by_mistake < right || right.is_nan() || right.is_infinite()
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
    let right = if one.expected.is_finite() { one.allowed } else { 0.0 };
    let allowed =
        4.0 * right + 2.0 * one.format.ulp(by_mistake) + 64.0 * unit.unit() * by_mistake.abs();
    agrees(by_mistake, one.found, allowed, one.format)
}
