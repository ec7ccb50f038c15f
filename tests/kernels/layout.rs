//! The layout: spans in any order, empty ones, labels of trainers.

use dpo_kernel::error::Buffer;
use dpo_kernel::{Error, IGNORE_INDEX, Layout, Span, Targets};

use crate::rows::Random;

/// What the docs say of spans that lie within the targets, step by step: each span that is not empty
/// and the one before it, in their own order or sorted by (start, end).
fn expected(spans: &[Span], in_any_order: bool) -> Result<(), Error> {
    let mut order: Vec<usize> =
        (0..spans.len()).filter(|&i| spans[i].start < spans[i].end).collect();
    if in_any_order {
        order.sort_by_key(|&i| (spans[i].start, spans[i].end));
    }
    for pair in order.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        let rows = |i: usize| (spans[i].start..spans[i].end).collect::<Vec<_>>();
        if rows(first).iter().any(|row| rows(second).contains(row)) {
            return Err(Error::SpansOverlap { first, second });
        }
        if spans[second].start < spans[first].start {
            return Err(Error::SpansNotAscending { sequence: second });
        }
    }
    Ok(())
}

/// Small random spans, some of them empty: each refusal with its numbers, and each scored row once,
/// in the order of the rows and in the order of the sequences.
#[test]
fn spans_of_every_kind() {
    let mut random = Random::new(1);
    let targets: Vec<u32> =
        (0..12).map(|row| if row % 5 == 2 { IGNORE_INDEX } else { row }).collect();
    let (mut overlap, mut out_of_order, mut accepted, mut sorted) = (0, 0, 0, 0);
    for _ in 0..20_000 {
        let spans: Vec<Span> = (0..random.below(6))
            .map(|_| {
                let start = random.below(12);
                Span::new(start, start + random.below(13 - start).min(3))
            })
            .collect();
        let mut order = vec![usize::MAX; spans.len()];
        let any = Layout::in_any_order(&targets, &spans, 12, &mut order);
        let ascending = Layout::new(&targets, &spans, 12);
        assert_eq!(any.map(|_| ()), expected(&spans, true), "{spans:?}");
        assert_eq!(ascending.map(|_| ()), expected(&spans, false), "{spans:?}");
        overlap += usize::from(matches!(ascending, Err(Error::SpansOverlap { .. })));
        out_of_order += usize::from(matches!(ascending, Err(Error::SpansNotAscending { .. })));
        accepted += usize::from(ascending.is_ok());
        let Ok(layout) = any else { continue };
        sorted += usize::from(ascending.is_err());
        for (i, span) in spans.iter().enumerate() {
            let rows: Vec<usize> = layout.scored_rows(i).map(|(row, _)| row).collect();
            let those: Vec<usize> = (span.start..span.end).filter(|row| row % 5 != 2).collect();
            assert_eq!((rows, layout.tokens(i)), (those.clone(), those.len()), "{spans:?}");
        }
    }
    let seen = [overlap, out_of_order, accepted, sorted];
    assert!(seen.iter().all(|&count| count > 500), "{seen:?}");
}

/// n·log n: with n² comparisons this would not end.
#[test]
fn a_million_spans_in_reverse() {
    let n = 1 << 20;
    let targets = vec![0; n];
    let spans: Vec<Span> = (0..n).rev().map(|row| Span::new(row, row + 1)).collect();
    let mut order = vec![0; n];
    assert!(Layout::in_any_order(&targets, &spans, 1, &mut order).is_ok());
    let (buffer, expected, found) = (Buffer::SpanOrder, n, n - 1);
    let short = Layout::in_any_order(&targets, &spans, 1, &mut order[1..]).map(|_| ());
    assert_eq!(short, Err(Error::Length { buffer, expected, found }));
}

/// Packed batches of fixed shape end in empty segments; a sequence may have no scored row.
#[test]
fn empty_sequences_are_none() {
    let targets = [1, 2, 3, 4, IGNORE_INDEX, IGNORE_INDEX, 5, 6];
    let spans =
        [Span::new(0, 4), Span::new(4, 6), Span::new(6, 8), Span::new(8, 8), Span::default()];
    let layout = Layout::new(&targets, &spans, 7).unwrap();
    let tokens: Vec<usize> = (0..6).map(|sequence| layout.tokens(sequence)).collect();
    assert_eq!(tokens, [4, 0, 2, 0, 0, 0]);
    assert_eq!((layout.rows(), layout.sequences(), layout.vocab()), (8, 5, 7));
    assert_eq!(layout.scored_rows(2).collect::<Vec<_>>(), [(6, 5), (7, 6)]);
    assert_eq!((layout.spans(), layout.targets().ids()), (&spans[..], &targets[..]));
}

/// Labels as trainers write them, and the message of one that is no token.
#[test]
fn labels_of_trainers() {
    let mut ids = [7; 3];
    let targets = Targets::of_i64(&[-100, 0, 4_294_967_195], -100, &mut ids).unwrap();
    assert_eq!([0, 1, 2].map(|row| targets.scored(row)), [None, Some(0), Some(4_294_967_195)]);
    let vocab = IGNORE_INDEX as usize;
    // -100 too is a label that is wrong where it is not the one to ignore.
    for target in [-1, -100] {
        let targets = Targets::of_i64(&[0, target, 5], 0, &mut ids).map(|_| ());
        assert_eq!(targets, Err(Error::TargetOutOfRange { row: 1, target, vocab }));
    }
    // The id of the ignore value is none of a token's.
    for label in [i64::from(IGNORE_INDEX), 1 << 32, i64::MAX, i64::MIN] {
        let mut ids = [7];
        let found = Targets::of_i64(&[label], -1, &mut ids).map(|_| ());
        assert_eq!(found, Err(Error::TargetOutOfRange { row: 0, target: label, vocab }));
        assert_eq!(ids, [7], "unchanged");
    }
    let (buffer, expected, found) = (Buffer::Targets, 2, 3);
    let short = Targets::of_i64(&[1, 2], -100, &mut ids).map(|_| ());
    assert_eq!(short, Err(Error::Length { buffer, expected, found }));
    let text = Layout::new(&[u32::MAX], &[Span::new(0, 1)], 4).unwrap_err().to_string();
    assert!(text.contains("target -1,") && text.contains("the ignore value, -100"), "{text}");
    assert!(!text.contains("4294967295"), "{text}");
}
