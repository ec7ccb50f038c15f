//! Identical pairs, over all small answers with holes in them.

use dpo_kernel::error::Buffer;
use dpo_kernel::training::identical_pairs;
use dpo_kernel::{Error, IGNORE_INDEX, Layout, Pair, Span};

type Flag = fn(&Layout<'_>, &[Pair], &mut [bool]) -> Result<usize, Error>;

/// More than any token.
const VOCAB: usize = 8;

/// Answers of one to four rows over two tokens and the ignore value, at least one of them scored.
fn answers() -> Vec<Vec<u32>> {
    let ids = [5, 6, IGNORE_INDEX];
    let all = (1..=4_u32).flat_map(|size| {
        (0..3_usize.pow(size))
            .map(move |code| (0..size).map(|i| ids[code / 3_usize.pow(i) % 3]).collect::<Vec<_>>())
    });
    all.filter(|answer| answer.iter().any(|&id| id != IGNORE_INDEX)).collect()
}

/// Each answer against every other, laid out in one batch with a gap between them.
fn objection(flag: Flag) -> Option<String> {
    let answers = answers();
    let (mut targets, mut spans) = (vec![1], Vec::new());
    for answer in &answers {
        let start = targets.len();
        targets.extend(answer);
        spans.push(Span::new(start, targets.len()));
        targets.push(1);
    }
    let n = answers.len();
    let pairs: Vec<Pair> = (0..n)
        .flat_map(|i| (0..n).filter(move |&j| j != i).map(move |j| Pair::new(i, j)))
        .collect();
    let scored = |i: usize| -> Vec<u32> {
        answers[i].iter().copied().filter(|&id| id != IGNORE_INDEX).collect()
    };
    let expected: Vec<bool> =
        pairs.iter().map(|p| scored(p.chosen) == scored(p.rejected)).collect();
    let same = expected.iter().filter(|&&same| same).count();
    assert!(same > 100 && same < pairs.len() / 2, "{same} of {} tell", pairs.len());
    [false, true].into_iter().find_map(|dirty| {
        let mut out = vec![dirty; pairs.len()];
        let layout = Layout::new(&targets, &spans, VOCAB).unwrap();
        let found = flag(&layout, &pairs, &mut out);
        let at = out.iter().zip(&expected).position(|(a, b)| a != b);
        (found != Ok(same) || at.is_some()).then(|| format!("{found:?}, not {same}; at {at:?}"))
    })
}

#[test]
fn of_all_small_answers() {
    assert_eq!(objection(identical_pairs), None);
}

#[test]
fn planted_faults_are_caught() {
    /// The rows of the pairs' sequences, judged by something else.
    fn judged(
        (layout, pairs): (&Layout<'_>, &[Pair]),
        out: &mut [bool],
        same: impl Fn(&[u32], &[u32]) -> bool,
    ) -> usize {
        let rows =
            |i: usize| &layout.targets().ids()[layout.spans()[i].start..layout.spans()[i].end];
        for (pair, out) in pairs.iter().zip(&mut *out) {
            *out = same(rows(pair.chosen), rows(pair.rejected));
        }
        out.iter().filter(|&&same| same).count()
    }
    fn kept(ids: &[u32]) -> Vec<u32> {
        ids.iter().copied().filter(|&id| id != IGNORE_INDEX).collect()
    }
    let faults: [(&str, Flag); 4] = [
        ("holes compared", |l, p, out| Ok(judged((l, p), out, |a, b| a == b))),
        ("common start", |l, p, out| {
            Ok(judged((l, p), out, |a, b| kept(a).iter().zip(kept(b)).all(|(a, b)| *a == b)))
        }),
        ("lengths", |l, p, out| Ok(judged((l, p), out, |a, b| kept(a).len() == kept(b).len()))),
        ("in any order", |l, p, out| {
            Ok(judged((l, p), out, |a, b| {
                let (mut a, mut b) = (kept(a), kept(b));
                a.sort_unstable();
                b.sort_unstable();
                a == b
            }))
        }),
    ];
    for (name, fault) in faults {
        assert!(objection(fault).is_some(), "{name} went unnoticed");
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let targets = [5, 6, 5, IGNORE_INDEX];
    let spans = [Span::new(0, 1), Span::new(1, 3)];
    let pair = [Pair::new(0, 1)];
    let refused = |spans: &[Span], pairs: &[Pair], flags: usize| {
        let mut out = vec![true; flags];
        let layout = Layout::new(&targets, spans, VOCAB).unwrap();
        let error = identical_pairs(&layout, pairs, &mut out).unwrap_err();
        assert!(out.iter().all(|&flag| flag), "{error}");
        error
    };
    let expected = Error::SequenceOutOfRange { pair: 0, sequence: 2, sequences: 2 };
    assert_eq!(refused(&spans, &[Pair::new(0, 2)], 1), expected);
    let expected = Error::PairOfOneSequence { pair: 0, sequence: 1 };
    assert_eq!(refused(&spans, &[Pair::new(1, 1)], 1), expected);
    let expected = Error::Length { buffer: Buffer::PairFlags, expected: 1, found: 2 };
    assert_eq!(refused(&spans, &pair, 2), expected);
}
