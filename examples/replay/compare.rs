//! Found against expected, figure by figure.

use dpo_kernel::Span;

use super::manifest::{Manifest, Tolerances};
use super::pipeline::{Found, Gradient};
use super::report::{Figure, Report, worst_and_typical};
use super::storage::Rounding;

/// Results below it are 0 by the contract of the gradient.
const FLUSHED_BELOW: f64 = 4.701_977_403_289_15e-38; // 2⁻¹²⁴

pub(crate) fn compare(manifest: &Manifest, found: &Found) -> Report {
    let mut report = Report::default();
    let tokens: usize = found.sequences.iter().map(|sequence| sequence.count).sum();
    report.summarise(format!("{tokens} tokens"));
    report.summarise(format!("{} pairs", manifest.pairs.len()));
    compare_tokens(manifest, found, &mut report);
    compare_sequences(manifest, found, &mut report);
    compare_losses(manifest, found, &mut report);

    let Tolerances { norm, entry, .. } = manifest.tolerances;
    let computed = Bounds { norm, entry, absolute: FLUSHED_BELOW, elements: 0 };
    compare_gradient(manifest, "f32", &found.apart, &computed, &mut report);
    if let Some(l2) = manifest.expected.grad_l2 {
        let figure = Figure { found: found.apart.l2, expected: l2, bound: 0.0 };
        report.summarise(format!("grad L2 {:.1e} relative", figure.relative_error()));
    }
    let Rounding { relative, absolute } = manifest.dtype.rounding();
    let rounded = Bounds {
        norm: norm + relative,
        entry: entry + relative,
        absolute: FLUSHED_BELOW + absolute,
        elements: found.elements,
    };
    let place = format!("{} in place", manifest.dtype.name());
    compare_gradient(manifest, &place, &found.in_place, &rounded, &mut report);
    let Found { elements, differing, .. } = *found;
    let text = format!("{place}: {differing} of {elements} elements are not those in f32, rounded");
    report.judge(&text, differing == 0);
    report
}

fn compare_tokens(manifest: &Manifest, found: &Found, report: &mut Report) {
    let Some(expected) = &manifest.expected.tokens else { return };
    let Tolerances { token, token_typical, .. } = manifest.tolerances;
    let errors = |span: Span| {
        manifest.scored(span).map(|row| {
            let of = |x: Option<f64>| x.unwrap_or(f64::NAN);
            let expected = of(expected.get(row).copied());
            let found = of(found.tokens.get(row).copied().map(f64::from));
            Figure { found, expected, bound: token }.error()
        })
    };
    let all = manifest.spans.iter().flat_map(|&span| errors(span));
    if let Some((worst, typical)) = worst_and_typical(all) {
        let text = format!(
            "token log-probs: worst error {worst:.1e} of {token:.1e}, typical {typical:.1e} of \
             {token_typical:.1e}"
        );
        report.judge(&text, worst <= token && typical <= token_typical);
        report.summarise(format!("worst token log-prob error {worst:.1e}"));
        report.summarise(format!("typical {typical:.1e}"));
    }
    for (sequence, &span) in manifest.spans.iter().enumerate() {
        if let Some((worst, typical)) = worst_and_typical(errors(span)) {
            let tokens = errors(span).count();
            report.line(&format!(
                "  sequence {sequence}: {tokens} tokens, worst error {worst:.1e}, typical {typical:.1e}"
            ));
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "sequences have few tokens")]
fn compare_sequences(manifest: &Manifest, found: &Found, report: &mut Report) {
    let bounds = || found.sequences.iter().map(|x| manifest.tolerances.sequence * x.count as f64);
    let policy = || found.sequences.iter().map(|x| x.sum);
    if let Some(expected) = &manifest.expected.sequences {
        for (i, ((found, &expected), bound)) in policy().zip(expected).zip(bounds()).enumerate() {
            report.figure(&format!("log π of sequence {i}"), &Figure { found, expected, bound });
        }
    }
    if let Some(expected) = &manifest.expected.reference {
        let found = found.reference.iter();
        for (i, ((&found, &expected), bound)) in found.zip(expected).zip(bounds()).enumerate() {
            report
                .figure(&format!("log π_ref of sequence {i}"), &Figure { found, expected, bound });
        }
    }
}

fn compare_losses(manifest: &Manifest, found: &Found, report: &mut Report) {
    let bound = manifest.tolerances.loss;
    if let Some(expected) = &manifest.expected.losses {
        for (i, (&found, &expected)) in found.losses.iter().zip(expected).enumerate() {
            report.figure(&format!("loss of pair {i}"), &Figure { found, expected, bound });
        }
    }
    if let Some(expected) = manifest.expected.loss {
        let figure = Figure { found: found.loss, expected, bound };
        report.figure("mean loss", &figure);
        report.summarise(format!("loss {:.1e}", figure.error()));
    }
}

/// How far a gradient may be off: `entry · |g| + absolute`, and what follows for its norms.
struct Bounds {
    norm: f64,
    entry: f64,
    absolute: f64,
    /// The absolute part, n times in L1 and √n times in L2; 0 where it is too small to tell.
    elements: usize,
}

#[allow(clippy::cast_precision_loss, reason = "buffers are far below 2^53 elements")]
fn compare_gradient(
    manifest: &Manifest,
    place: &str,
    found: &Gradient,
    bounds: &Bounds,
    report: &mut Report,
) {
    let n = bounds.elements as f64;
    let norms = [
        ("L1", found.l1, manifest.expected.grad_l1, n),
        ("L2", found.l2, manifest.expected.grad_l2, n.sqrt()),
    ];
    for (name, found, expected, times) in norms {
        if let Some(expected) = expected {
            let bound = bounds.norm * expected + times * bounds.absolute;
            let figure = Figure { found, expected, bound };
            report.figure(&format!("gradient {name}, {place}"), &figure);
        }
    }
    let figures = manifest.expected.entries.iter().zip(&found.entries).map(|(entry, &found)| {
        let bound = bounds.entry * entry.value.abs() + bounds.absolute;
        (entry, Figure { found, expected: entry.value, bound })
    });
    let worst = figures.clone().max_by(|(_, a), (_, b)| a.share().total_cmp(&b.share()));
    if let (Some((entry, figure)), Some((_, typical))) =
        (worst, worst_and_typical(figures.clone().map(|(_, figure)| figure.relative_error())))
    {
        let text = format!(
            "gradient entries, {place}: {} entries, worst [{}, {}]: found {:e} expected {:e}, relative \
             error {:.1e}, {:.3} of its bound; typical relative error {typical:.1e}",
            manifest.expected.entries.len(),
            entry.row,
            entry.column,
            figure.found,
            figure.expected,
            figure.relative_error(),
            figure.share(),
        );
        report.judge(&text, figures.clone().all(|(_, figure)| figure.ok()));
    }
}
