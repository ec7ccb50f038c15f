//! The layout: spans in any order, empty ones, labels of trainers.

use dpo_kernel::error::Buffer;
use dpo_kernel::{Error, IGNORE_INDEX, Layout, Span, Targets};

use crate::rows::Random;

/// Whether two spans share a row, pair by pair.
fn overlap(spans: &[Span]) -> bool {
    (0..spans.len()).any(|i| {
        spans[i + 1..].iter().any(|b| spans[i].start.max(b.start) < spans[i].end.min(b.end))
    })
}

/// Small random spans: in any order exactly those that overlap are refused, and in order exactly
/// those that do not ascend, too.
#[test]
fn overlaps_are_those_of_every_pair() {
    let mut random = Random::new(1);
    let targets = [0; 12];
    let (mut refused, mut out_of_order, mut accepted) = (0, 0, 0);
    for _ in 0..20_000 {
        let spans: Vec<Span> = (0..random.below(6))
            .map(|_| {
                let start = random.below(12);
                Span::new(start, start + random.below(13 - start).min(3))
            })
            .collect();
        let mut order = vec![usize::MAX; spans.len()];
        let any = Layout::in_any_order(&targets, &spans, 1, &mut order);
        let wrong = overlap(&spans);
        match any {
            Ok(layout) => {
                assert!(!wrong, "{spans:?}");
                let rows = (0..spans.len()).flat_map(|i| layout.scored_rows(i)).count();
                assert_eq!(rows, spans.iter().map(|s| s.end - s.start).sum::<usize>());
                accepted += 1;
            }
            Err(Error::SpansOverlap { first, second }) => {
                assert!(overlap(&[spans[first], spans[second]]), "{spans:?}: {first}, {second}");
                refused += 1;
            }
            Err(other) => panic!("{spans:?}: {other}"),
        }
        let full: Vec<Span> = spans.iter().copied().filter(|s| s.start < s.end).collect();
        let ascends = full.windows(2).all(|w| w[0].end <= w[1].start);
        let found = Layout::new(&targets, &spans, 1);
        assert_eq!(found.is_ok(), ascends, "{spans:?}");
        out_of_order += usize::from(matches!(found, Err(Error::SpansNotAscending { .. })));
    }
    assert!(refused > 1000 && out_of_order > 1000 && accepted > 1000, "{refused} {out_of_order}");
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
    let targets = Targets::of_i64(&[0, -1, 5], 0, &mut ids).map(|_| ());
    let vocab = IGNORE_INDEX as usize;
    assert_eq!(targets, Err(Error::TargetOutOfRange { row: 1, target: -1, vocab }));
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
