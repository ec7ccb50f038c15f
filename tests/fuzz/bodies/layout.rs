//! Spans and targets, right or wrong: refused exactly where they are not well-formed, with no output
//! written, and summed as the reference sums.

use arbitrary::{Arbitrary, Result as Made, Unstructured};
use dpo_kernel::verify::cases::LayoutCase;
use dpo_kernel::verify::{self, Tolerance, compare};
use dpo_kernel::{
    Dispatch, Error, Logits, SequenceLogProb, Span, Targets, TokenOut, sequence_log_probs,
    spans_of_batch, spans_of_offsets, token_log_probs,
};

use super::batch::spans;

/// A layout, and offsets of a packed batch.
#[derive(Clone, Debug)]
pub struct Case {
    pub layout: LayoutCase,
    pub offsets: Vec<u32>,
    pub rows_each: usize,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Made<Self> {
        let offset = |u: &mut Unstructured<'a>| {
            Ok(if u.ratio(1, 9)? { u.arbitrary()? } else { u.arbitrary::<u8>()?.into() })
        };
        let mut offsets =
            (0..u.int_in_range(0..=5_u8)?).map(|_| offset(u)).collect::<Made<Vec<u32>>>()?;
        if u.arbitrary()? {
            offsets.sort_unstable();
        }
        let rows_each = if u.arbitrary()? { u.arbitrary()? } else { u.arbitrary::<u8>()?.into() };
        Ok(Self { layout: u.arbitrary()?, offsets, rows_each })
    }
}

const UNTOUCHED: SequenceLogProb = SequenceLogProb { sum: 12345.678, count: usize::MAX };

pub fn check(case: &Case) -> Result<(), String> {
    let layout = &case.layout;
    let spans = spans(&layout.spans);
    let log_probs: Vec<f32> = (0..layout.targets.len()).map(|row| -0.25 - row as f32).collect();
    let targets = Targets::new(&layout.targets).with_ignore(layout.ignore);
    let mut sums = vec![UNTOUCHED; spans.len()];
    let result = sequence_log_probs(&log_probs, targets, &spans, None, &mut sums);
    accepts_sums(layout, &log_probs, result, &sums)?;
    accepts_forward(layout, targets, &spans)?;
    check_batch(case.rows_each)?;
    check_offsets(&case.offsets)
}

/// The stage over log-probs, which does not know the vocabulary.
pub fn accepts_sums(
    layout: &LayoutCase,
    log_probs: &[f32],
    result: Result<(), Error>,
    sums: &[SequenceLogProb],
) -> Result<(), String> {
    let any_target = LayoutCase { vocab: usize::MAX, ..layout.clone() };
    if result.is_ok() != any_target.is_well_formed() {
        return Err(format!("{result:?}"));
    }
    if result.is_err() {
        let untouched = sums.iter().all(|sum| *sum == UNTOUCHED);
        return if untouched { Ok(()) } else { Err("sums were written after an error".into()) };
    }
    let log_probs: Vec<f64> = log_probs.iter().copied().map(f64::from).collect();
    for (i, (&span, found)) in layout.spans.iter().zip(sums).enumerate() {
        let (targets, ignore) = (&layout.targets, layout.ignore);
        let expected = verify::sequence_log_prob(&log_probs, targets, ignore, None, span);
        // Multiples of ¼ add up exactly.
        compare("log π", i as f64, expected.sum, found.sum, Tolerance::EXACT)
            .map_err(|why| why.to_string())?;
        if found.count != expected.count {
            return Err(format!("span {i} counts {}, not {}", found.count, expected.count));
        }
    }
    Ok(())
}

/// The stage over logits, which does.
fn accepts_forward(
    layout: &LayoutCase,
    targets: Targets<'_>,
    spans: &[Span],
) -> Result<(), String> {
    let rows = layout.targets.len();
    let logits = vec![0.0_f32; rows * layout.vocab];
    let logits = Logits::new(&logits, rows, layout.vocab).map_err(|why| why.to_string())?;
    let mut log_probs = vec![1.0_f32; rows];
    let out = TokenOut::new(&mut log_probs);
    let result = token_log_probs(Dispatch::detect(), logits, targets, spans, out);
    if result.is_ok() != layout.is_well_formed() {
        return Err(format!("{result:?} of logits"));
    }
    for (row, log_prob) in log_probs.into_iter().enumerate() {
        if (log_prob <= 0.0) != (result.is_ok() && layout.is_scored(row)) {
            return Err(format!("row {row} has {log_prob}"));
        }
    }
    Ok(())
}

fn check_batch(rows_each: usize) -> Result<(), String> {
    let mut spans = [Span::new(7, 3); 3];
    let result = spans_of_batch(rows_each, &mut spans);
    let wide = rows_each as u128;
    let right = if 3 * wide > usize::MAX as u128 {
        result.is_err() && spans == [Span::new(7, 3); 3]
    } else {
        let expected = [0, 1, 2].map(|i| Span::new(i * rows_each, (i + 1) * rows_each));
        result.is_ok() && spans == expected
    };
    if right { Ok(()) } else { Err(format!("3 × {rows_each} rows: {result:?} {spans:?}")) }
}

fn check_offsets(offsets: &[u32]) -> Result<(), String> {
    let mut spans = vec![Span::new(7, 3); offsets.len().saturating_sub(1)];
    let result = spans_of_offsets(offsets, &mut spans);
    let ascending = !offsets.is_empty() && offsets.is_sorted();
    let expected = offsets.windows(2).map(|edge| Span::new(edge[0] as usize, edge[1] as usize));
    let right = if ascending {
        result.is_ok() && expected.eq(spans.iter().copied())
    } else {
        result.is_err() && spans.iter().all(|&span| span == Span::new(7, 3))
    };
    if right { Ok(()) } else { Err(format!("{offsets:?}: {result:?} {spans:?}")) }
}
