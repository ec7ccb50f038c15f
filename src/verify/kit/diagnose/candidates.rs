//! The mistakes that explain calls of an output, and are not contradicted.

use alloc::vec::Vec;

use super::super::kernel::Kernel;
use super::super::narrow::{TYPICAL, is_sum_of, of_narrow_sum};
use super::super::report::Report;
use super::super::{Format, Mistake, Output, Precision};
use super::evidence::Evidence;
use super::verdict::{Verdict, verdict};

/// The failing calls of an output that are looked at first, to leave out most mistakes.
const SCREENED: usize = 6;

/// Figures of a call that is wide.
const WIDE: usize = 5000;
/// Fewer figures than these are all looked at: two mistakes may leave few calls to each.
const CHEAP: usize = 8000;

/// A mistake, with the calls that it explains.
pub(super) struct Candidate {
    pub(super) mistake: Mistake,
    pub(super) explained: Vec<usize>,
}

pub(super) fn failing(evidence: &[Evidence], output: Output) -> Vec<usize> {
    (0..evidence.len()).filter(|&i| evidence.get(i).is_some_and(|e| e.fails(output))).collect()
}

pub(super) fn candidates_of(
    report: &Report,
    evidence: &[Evidence],
    output: Output,
    failing: &[usize],
) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let constant = constant(evidence, output);
    let figures = failing.iter().filter_map(|&i| evidence.get(i)).map(|e| e.judged.len());
    let cheap = figures.sum::<usize>() < CHEAP;
    // Narrow calls first: models of wide ones take long.
    let mut order = failing.to_vec();
    order.sort_by_key(|&i| evidence.get(i).map_or(0, |e| e.judged.len()));
    let verdict = |mistake, i: usize| {
        evidence
            .get(i)
            .map_or(Verdict::Silent, |e| verdict(&report.precision, e, output, mistake, constant))
    };
    // Spread over the failing calls, so that one odd call does not decide; wide ones, whose models
    // take long, where there is nothing else.
    let narrow =
        order.iter().take_while(|&&i| evidence.get(i).is_some_and(|e| e.judged.len() < WIDE));
    let looked_at = match narrow.count() {
        0 => order.len(),
        narrow => narrow,
    };
    let step = if cheap { 1 } else { looked_at.div_ceil(SCREENED).max(1) };
    let screened = order.iter().take(looked_at).step_by(step);
    Mistake::each(|mistake| {
        if !can_show(mistake, output) {
            return;
        }
        if !screened.clone().any(|&i| verdict(mistake, i) == Verdict::Explains) {
            return;
        }
        let explained: Vec<usize> =
            order.iter().copied().filter(|&i| verdict(mistake, i) == Verdict::Explains).collect();
        let passing = (0..evidence.len()).filter(|i| !failing.contains(i));
        let contradicted = passing.filter(|&i| verdict(mistake, i) == Verdict::Contradicts).count();
        let typical = match mistake {
            Mistake::NarrowSums(format) => {
                let all = explained.iter().filter_map(|&i| evidence.get(i));
                // Far from exact is not enough: other mistakes are as far off. Figures of pairs were
                // seen to be numbers of the format.
                is_typical(&report.precision, all.clone(), output, format)
                    && (output == Output::PairLoss
                        || is_on_grid(&report.precision, all, output, format))
            }
            _ => true,
        };
        // What shows in every call has to explain them all.
        let everywhere = !is_unconditional(mistake)
            || failing.iter().filter(|&&i| verdict(mistake, i) == Verdict::Contradicts).count()
                * 20
                <= explained.len();
        if typical && everywhere && contradicted * 20 <= explained.len() {
            candidates.push(Candidate { mistake, explained });
        }
    });
    let has = |candidates: &[Candidate], mistake| {
        candidates.iter().any(|candidate| candidate.mistake == mistake)
    };
    // What was kept in bf16 fits the wide bounds of f16 too.
    if has(&candidates, Mistake::NarrowSums(Format::Bf16))
        && is_on_grid(&report.precision, evidence.iter(), output, Format::Bf16)
    {
        candidates.retain(|candidate| candidate.mistake != Mistake::NarrowSums(Format::F16));
    }
    candidates
}

/// Whether wrong figures come from sums that a format holds: nine in ten of those that tell.
fn is_on_grid<'a>(
    precision: &Precision,
    evidence: impl Iterator<Item = &'a Evidence>,
    output: Output,
    format: Format,
) -> bool {
    let (mut told, mut on_grid) = (0, 0);
    for e in evidence {
        for one in e.of(output).filter(|one| !one.ok) {
            let is_sum = is_sum_of(&e.input, precision, format, one);
            told += usize::from(is_sum.is_some());
            on_grid += usize::from(is_sum == Some(true));
        }
    }
    told > 0 && on_grid * 10 >= told * 9
}

/// Whether half of the wrong figures are off by what sums in a format are off.
fn is_typical<'a>(
    precision: &Precision,
    evidence: impl Iterator<Item = &'a Evidence>,
    output: Output,
    format: Format,
) -> bool {
    let (mut wrong, mut typical) = (0, 0);
    for e in evidence {
        for one in e.of(output).filter(|one| !one.ok) {
            let share = of_narrow_sum(&e.input, precision, format, one);
            wrong += 1;
            typical += usize::from(share.is_some_and(|share| share >= TYPICAL));
        }
    }
    typical * 2 >= wrong
}

/// Whether a mistake shows whatever the input is.
const fn is_unconditional(mistake: Mistake) -> bool {
    matches!(
        mistake,
        Mistake::Unwritten
            | Mistake::Zeros
            | Mistake::AlwaysNan
            | Mistake::Constant
            | Mistake::LastCall
            | Mistake::Accumulates
    )
}

/// Whether a mistake is one of the kernel that an output comes from.
pub(super) const fn can_show(mistake: Mistake, output: Output) -> bool {
    let of_pairs = matches!(output, Output::PairLoss);
    let of_head = matches!(output, Output::HeadLogProb | Output::HeadLogZ | Output::HiddenGrads);
    // What is written beside figures is seen as such.
    if matches!(mistake, Mistake::WritesUnscoredRows | Mistake::WritesPadding) {
        return false;
    }
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
