//! Spans and targets, right or wrong: refused exactly where a row by row painting finds them wrong,
//! with an error that is true of them; and what is right is scored and summed as the reference
//! does.

use arbitrary::{Arbitrary, Result as Made, Unstructured};
use dpo_kernel::verify::cases::LayoutCase;
use dpo_kernel::verify::{self, Tolerance, compare};
use dpo_kernel::{
    Dispatch, Error, Layout, Logits, SequenceLogProb, Span, Targets, TokenOut, sequence_log_probs,
    token_log_probs,
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

pub fn check(case: &Case) -> Result<(), String> {
    check_layouts(&case.layout)?;
    check_labels(&case.layout)?;
    check_batch(case.rows_each)?;
    check_offsets(&case.offsets)
}

fn check_layouts(case: &LayoutCase) -> Result<(), String> {
    let spans = spans(&case.spans);
    let targets = Targets::new(&case.targets).with_ignore(case.ignore);
    let ascending = Layout::new(targets, &spans, case.vocab);
    accepts(case, Order::Ascending, ascending.map(drop))?;
    let mut order = vec![usize::MAX; spans.len()];
    let any = Layout::in_any_order(targets, &spans, case.vocab, &mut order);
    accepts(case, Order::Any, any.map(drop))?;
    for layout in [ascending, any].into_iter().flatten() {
        accepts_stages(case, &layout)?;
    }
    let mut order = vec![0; spans.len() + 1];
    match Layout::in_any_order(targets, &spans, case.vocab, &mut order) {
        Err(Error::Length { .. }) => Ok(()),
        other => Err(format!("an order with one index too many: {other:?}")),
    }
}

/// What spans are allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Any,
}

/// Whether a layout was made exactly where there is one, and refused for something that is so.
pub fn accepts(case: &LayoutCase, order: Order, found: Result<(), Error>) -> Result<(), String> {
    let (spans, rows) = (&case.spans, case.targets.len());
    let is_inside = |&(start, end): &(usize, usize)| start <= end && end <= rows;
    let is_bad = |row: usize| {
        let target = case.targets[row];
        target != case.ignore && target as usize >= case.vocab
    };
    let is_painted = |row: usize| spans.iter().any(|&(start, end)| (start..end).contains(&row));
    let all_inside = spans.iter().all(is_inside);
    let all_fit = !(0..rows).any(|row| is_painted(row) && is_bad(row));
    let in_order = order == Order::Any || is_ascending(spans);
    let is_right = all_inside && are_disjoint(spans, rows) && in_order && all_fit;

    let is_true = match found {
        Ok(()) => is_right,
        Err(Error::SpanOutOfRange { sequence, start, end, rows: of }) => {
            spans.iter().position(|span| !is_inside(span)) == Some(sequence)
                && (spans[sequence], rows) == ((start, end), of)
        }
        Err(Error::SpansOverlap { first, second }) => {
            let [(start, end), other] = [first, second].map(|i| spans[i]);
            all_inside
                && first != second
                && (start..end).any(|row| (other.0..other.1).contains(&row))
        }
        Err(Error::SpansNotAscending { sequence }) => {
            let before = spans[..sequence].iter().rev().find(|(start, end)| start != end);
            all_inside
                && order == Order::Ascending
                && spans[sequence].0 != spans[sequence].1
                && before.is_some_and(|&(start, _)| spans[sequence].1 <= start)
        }
        Err(Error::TargetOutOfRange { row, target, vocab }) => {
            let id = case.targets[row];
            // Ids from 2³¹ on are reported as the negative numbers that hosts wrote.
            let written = if id >> 31 == 0 { i64::from(id) } else { i64::from(id) - (1 << 32) };
            all_inside && is_painted(row) && is_bad(row) && (target, vocab) == (written, case.vocab)
        }
        Err(_) => false,
    };
    if is_true { Ok(()) } else { Err(format!("{order:?}: {found:?}, right: {is_right}")) }
}

/// By painting the rows one by one; the spans lie inside.
fn are_disjoint(spans: &[(usize, usize)], rows: usize) -> bool {
    let mut free = vec![true; rows];
    spans.iter().all(|&(start, end)| {
        free.get_mut(start..end).is_some_and(|rows| rows.iter_mut().all(std::mem::take))
    })
}

/// Spans that have rows begin where the one before them ends, or later.
fn is_ascending(spans: &[(usize, usize)]) -> bool {
    let with_rows: Vec<_> = spans.iter().filter(|(start, end)| start != end).collect();
    with_rows.windows(2).all(|two| two[0].1 <= two[1].0)
}

/// What the stages make of a layout.
fn accepts_stages(case: &LayoutCase, layout: &Layout<'_>) -> Result<(), String> {
    let sizes = (layout.rows(), layout.sequences(), layout.vocab());
    if sizes != (case.targets.len(), case.spans.len(), case.vocab) {
        return Err(format!("a layout of {sizes:?}"));
    }
    let log_probs: Vec<f32> = (0..case.targets.len()).map(|row| -0.25 - row as f32).collect();
    let nothing = SequenceLogProb { sum: f64::NAN, count: usize::MAX };
    let mut sums = vec![nothing; case.spans.len()];
    sequence_log_probs(&log_probs, layout, None, &mut sums).map_err(|why| why.to_string())?;
    accepts_sums(case, &log_probs, &sums)?;
    if sums.iter().enumerate().any(|(i, sum)| sum.count != layout.tokens(i)) {
        return Err(format!("{sums:?} count other tokens than the layout"));
    }
    accepts_forward(case, layout)
}

/// The stage over log-probs.
pub fn accepts_sums(
    case: &LayoutCase,
    log_probs: &[f32],
    sums: &[SequenceLogProb],
) -> Result<(), String> {
    let log_probs: Vec<f64> = log_probs.iter().copied().map(f64::from).collect();
    for (i, (&span, found)) in case.spans.iter().zip(sums).enumerate() {
        let (targets, ignore) = (&case.targets, case.ignore);
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

/// The stage over logits.
fn accepts_forward(case: &LayoutCase, layout: &Layout<'_>) -> Result<(), String> {
    let rows = case.targets.len();
    let logits = vec![0.0_f32; rows * case.vocab];
    let logits = Logits::new(&logits, rows, case.vocab).map_err(|why| why.to_string())?;
    let mut log_probs = vec![1.0_f32; rows];
    let out = TokenOut::new(&mut log_probs);
    token_log_probs(Dispatch::detect(), logits, layout, out).map_err(|why| why.to_string())?;
    let is_wrong = |&row: &usize| (log_probs[row] <= 0.0) != case.is_scored(row);
    match (0..rows).find(is_wrong) {
        None => Ok(()),
        Some(row) => Err(format!("row {row} has {}", log_probs[row])),
    }
}

/// The same targets as trainers keep them, in i64 with −100.
fn check_labels(case: &LayoutCase) -> Result<(), String> {
    let label = |&id: &u32| if id == case.ignore { -100 } else { i64::from(id) };
    let labels: Vec<i64> = case.targets.iter().map(label).collect();
    let mut ids = vec![7; labels.len()];
    let has_id = |label: i64| label == -100 || label < (1 << 32) - 100;
    let wrong = labels.iter().position(|&label| !has_id(label));
    match (Targets::of_i64(&labels, -100, &mut ids), wrong) {
        (Err(Error::TargetOutOfRange { row, target, .. }), Some(wrong)) => {
            let is_true = row == wrong && target == labels[row] && ids.iter().all(|&id| id == 7);
            if is_true { Ok(()) } else { Err(format!("label {wrong}: row {row} has {target}")) }
        }
        (Ok(found), None) => {
            let expected = Targets::new(&case.targets).with_ignore(case.ignore);
            let same = |row| found.scored(row) == expected.scored(row);
            if (0..labels.len()).all(same) { Ok(()) } else { Err(format!("{found:?}")) }
        }
        (found, wrong) => Err(format!("wrong labels from {wrong:?} on: {found:?}")),
    }
}

fn check_batch(rows_each: usize) -> Result<(), String> {
    let mut spans = [Span::new(7, 3); 3];
    let result = Span::of_batch(rows_each, &mut spans);
    let wide = rows_each as u128;
    let right = if 3 * wide > usize::MAX as u128 {
        result.is_err() && spans == [Span::new(7, 3); 3]
    } else {
        let expected = [0, 1, 2].map(|i| Span::new(i * rows_each, (i + 1) * rows_each));
        result.is_ok() && spans == expected
    };
    if right { Ok(()) } else { Err(format!("3 × {rows_each} rows: {result:?} {spans:?}")) }
}

/// Offsets of u32, and the same bits as i32, in which the largest are negative.
fn check_offsets(offsets: &[u32]) -> Result<(), String> {
    let signed: Vec<i32> = offsets.iter().map(|&offset| offset.cast_signed()).collect();
    let untouched = vec![Span::new(7, 3); offsets.len().saturating_sub(1)];
    let [mut spans, mut of_signed] = [untouched.clone(), untouched.clone()];
    let result = Span::of_offsets(offsets, &mut spans);
    let signed_result = Span::of_offsets(&signed, &mut of_signed);
    let is_ascending = !offsets.is_empty() && offsets.is_sorted();
    let is_not_negative = signed.iter().all(|&offset| offset >= 0);
    let edges = offsets.windows(2);
    let expected: Vec<_> = edges.map(|e| Span::new(e[0] as usize, e[1] as usize)).collect();
    let of = |right: bool| if right { &expected } else { &untouched };
    let right = result.is_ok() == is_ascending
        && spans == *of(is_ascending)
        && signed_result.is_ok() == (is_ascending && is_not_negative)
        && of_signed == *of(is_ascending && is_not_negative);
    if right { Ok(()) } else { Err(format!("{offsets:?}: {result:?} {spans:?} {signed_result:?}")) }
}
