//! The stages on one dump, at one dispatch, each compared with what is expected of it.

use dpo_kernel::{
    Dispatch, Dpo, Element, Error, GradBatch, Logits, LogitsMut, PairBatch, PairLoss, PairOut,
    Reference, RowNorm, SequenceLogProb, Targets, TokenOut, logit_grads, logit_grads_in_place,
    preference_loss, sequence_log_probs, token_log_probs,
};

use crate::compare::{Figure, Report};
use crate::manifest::{self, Manifest};

/// Half a unit in the last place of an element type, relative, and half its smallest subnormal.
fn rounding<E: Element>() -> (f64, f64) {
    // The spacing above 1 tells the precision, the smallest number that does not vanish the floor.
    let one_up = |bits: i32| E::from_f32(1.0 + 2_f32.powi(-bits)).to_f32() > 1.0;
    let precision = (1..=23).rev().find(|&bits| one_up(bits)).unwrap_or(1);
    let smallest = (24..=149).rev().find(|&bits| E::from_f32(2_f32.powi(-bits)).to_f32() > 0.0);
    (2_f64.powi(-precision - 1), 2_f64.powi(-smallest.unwrap_or(24) - 1))
}

/// Runs the pipeline; whether every figure was within its tolerance.
pub fn run<E: Element>(
    dispatch: Dispatch,
    m: &Manifest,
    data: &[E],
    brief: bool,
) -> Result<bool, Error> {
    println!("{:?} {:?}", dispatch.level(), dispatch.arithmetic());
    let mut report = Report { failed: false, brief };
    let view = Logits::with_stride(data, m.rows, m.vocab, m.stride)?;
    let logits = view.with_transform(m.transform);
    let targets = Targets::new(&m.targets).with_ignore(m.ignore);
    let spans = m.spans.as_slice();

    let mut log_probs = vec![f32::NAN; m.rows];
    let mut norms = vec![RowNorm::default(); m.rows];
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    token_log_probs(dispatch, logits, targets, spans, out)?;
    compare_tokens(&mut report, m, targets, &log_probs);

    let mut policy = vec![SequenceLogProb::default(); spans.len()];
    sequence_log_probs(&log_probs, targets, spans, None, &mut policy)?;
    compare_sequences(&mut report, m, "policy log-probs", &policy, m.expected.sequences.as_ref());

    let mut stored = vec![SequenceLogProb::default(); spans.len()];
    let reference = match &m.reference {
        manifest::Reference::Tokens(tokens) => {
            sequence_log_probs(tokens, targets, spans, None, &mut stored)?;
            let expected = m.expected.reference_sequences.as_ref();
            compare_sequences(&mut report, m, "reference log-probs", &stored, expected);
            Reference::Sequences(&stored)
        }
        manifest::Reference::Sequences(sums) => Reference::Sums(sums),
    };

    let loss = Dpo::new(m.beta)?.with_label_smoothing(m.label_smoothing)?;
    let batch = PairBatch::new(&m.pairs, &policy, reference, m.pairs.len() as f64);
    let mut losses = vec![PairLoss::default(); m.pairs.len()];
    let mut d_log_probs = vec![0.0; spans.len()];
    let out = PairOut { losses: &mut losses, d_log_probs: &mut d_log_probs };
    let summary = preference_loss(&loss, &batch, out)?;
    compare_losses(&mut report, m, &losses, summary.mean_loss());

    let batch = GradBatch::new(targets, spans, &norms, &d_log_probs);
    let mut wide = vec![0.0_f32; data.len()];
    logit_grads(
        dispatch,
        logits,
        &batch,
        LogitsMut::with_stride(&mut wide, m.rows, m.vocab, m.stride)?,
    )?;
    compare_grads(&mut report, m, "gradient in f32", targets, &wide, (0.0, 0.0));

    if size_of::<E>() < size_of::<f32>() {
        let mut narrow = data.to_vec();
        let view = LogitsMut::with_stride(&mut narrow, m.rows, m.vocab, m.stride)?;
        logit_grads_in_place(dispatch, view.with_transform(m.transform), &batch)?;
        compare_grads(&mut report, m, "gradient in place", targets, &narrow, rounding::<E>());
    }
    Ok(!report.failed)
}

fn compare_tokens(report: &mut Report, m: &Manifest, targets: Targets<'_>, log_probs: &[f32]) {
    let Some(expected) = &m.expected.tokens else { return };
    for (sequence, span) in m.spans.iter().enumerate() {
        let figures: Vec<_> = (span.start..span.end)
            .filter(|&row| targets.scored(row).is_some())
            .filter_map(|row| {
                let expected = (*expected.get(row)?)?;
                let found = f64::from(*log_probs.get(row)?);
                let figure = Figure { expected, found, tolerance: m.tolerances.token };
                Some((format!("row {row}"), figure))
            })
            .collect();
        report.figures(&format!("log-probs, sequence {sequence}"), &figures);
    }
}

fn compare_sequences(
    report: &mut Report,
    m: &Manifest,
    name: &str,
    found: &[SequenceLogProb],
    expected: Option<&Vec<f64>>,
) {
    for (i, (found, &expected)) in found.iter().zip(expected.into_iter().flatten()).enumerate() {
        let tolerance = m.tolerances.sequence;
        report.figure(&format!("{name}[{i}]"), Figure { expected, found: found.sum, tolerance });
    }
}

fn compare_losses(report: &mut Report, m: &Manifest, losses: &[PairLoss], mean: f64) {
    let tolerance = m.tolerances.loss;
    let expected = m.expected.pair_losses.iter().flatten();
    for (i, (found, &expected)) in losses.iter().zip(expected).enumerate() {
        report.figure(
            &format!("loss of pair {i}"),
            Figure { expected, found: found.loss, tolerance },
        );
    }
    if let Some(expected) = m.expected.loss {
        report.figure("mean loss", Figure { expected, found: mean, tolerance });
    }
}

/// Norms and entries; `rounding` is what storage adds: relative, and absolute where that is less than
/// the smallest number.
fn compare_grads<E: Element>(
    report: &mut Report,
    m: &Manifest,
    name: &str,
    targets: Targets<'_>,
    grads: &[E],
    (relative, floor): (f64, f64),
) {
    let (mut l1, mut l2, mut count) = (0.0, 0.0, 0.0);
    for row in m.spans.iter().flat_map(|span| span.start..span.end) {
        if targets.scored(row).is_none() {
            continue;
        }
        let start = row * m.stride;
        for x in grads.get(start..start + m.vocab).unwrap_or_default() {
            let x = f64::from(x.to_f32());
            l1 += x.abs();
            l2 += x * x;
            count += 1.0;
        }
    }
    if let Some(expected) = m.expected.grad_l1 {
        let tolerance = expected * (m.tolerances.grad_norm + relative) + count * floor;
        report.figure(&format!("{name}: L1 norm"), Figure { expected, found: l1, tolerance });
    }
    if let Some(expected) = m.expected.grad_l2 {
        let tolerance = expected * (m.tolerances.grad_norm + relative) + count.sqrt() * floor;
        report
            .figure(&format!("{name}: L2 norm"), Figure { expected, found: l2.sqrt(), tolerance });
    }
    let figures: Vec<_> = m
        .expected
        .grad_entries
        .iter()
        .filter_map(|&(row, column, expected)| {
            let found = f64::from(grads.get(row * m.stride + column)?.to_f32());
            let tolerance = expected.abs() * (m.tolerances.grad_entry + relative) + floor;
            Some((format!("[{row}, {column}]"), Figure { expected, found, tolerance }))
        })
        .collect();
    report.figures(&format!("{name}:"), &figures);
}
