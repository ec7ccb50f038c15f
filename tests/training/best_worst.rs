//! Best against worst, over all small groups and random packings.

use dpo_kernel::error::Buffer;
use dpo_kernel::training::{Selection, best_worst_pairs};
use dpo_kernel::{Error, Pair};
use proptest::prelude::*;

/// Nobody's pair.
const DIRTY: Pair = Pair::new(usize::MAX, usize::MAX);

type Select = fn(&[f32], &[u32], &mut [Pair]) -> Result<Selection, Error>;

/// By sorting: the first and the last of the scores in descending order, of equal scores the
/// earlier first among the best and, as the worst, the first of them too.
fn oracle(scores: &[f32], offsets: &[u32]) -> (Vec<Pair>, Selection) {
    let (mut pairs, mut found) = (Vec::new(), Selection::default());
    for bounds in offsets.windows(2) {
        let mut order: Vec<usize> = (bounds[0] as usize..bounds[1] as usize).collect();
        order.sort_by(|&i, &j| scores[j].partial_cmp(&scores[i]).unwrap());
        match order[..] {
            [] | [_] => found.too_small += 1,
            [best, second, ..] => {
                let worst = scores[order[order.len() - 1]];
                if scores[best] == worst {
                    found.all_equal += 1;
                } else if scores[best] == scores[second] {
                    found.shared_best += 1;
                } else {
                    let worst = *order.iter().find(|&&i| scores[i] == worst).unwrap();
                    pairs.push(Pair::new(best, worst));
                    found.pairs += 1;
                }
            }
        }
    }
    (pairs, found)
}

fn objection(select: Select, scores: &[f32], offsets: &[u32]) -> Option<String> {
    let mut out = vec![DIRTY; offsets.len() - 1];
    let found = select(scores, offsets, &mut out);
    let (mut pairs, expected) = oracle(scores, offsets);
    pairs.resize(out.len(), DIRTY);
    (found != Ok(expected) || out != pairs)
        .then(|| format!("{scores:?} {offsets:?}: {found:?} {out:?}, not {expected:?} {pairs:?}"))
}

/// Every group of up to five scores out of four values, two of them equal zeros; each once alone
/// and once between two others.
fn objection_to_small_groups(select: Select) -> Option<String> {
    const VALUES: [f32; 4] = [-1.5, 0.0, -0.0, 2.0];
    (0..=5_u32).find_map(|size| {
        (0..4_usize.pow(size)).find_map(|code| {
            let group: Vec<f32> = (0..size).map(|i| VALUES[code / 4_usize.pow(i) % 4]).collect();
            let between = [&[1.0, 3.0][..], &group, &[-4.0, -7.0, 0.0]].concat();
            objection(select, &group, &[0, size])
                .or_else(|| objection(select, &between, &[0, 2, 2 + size, 5 + size]))
        })
    })
}

#[test]
fn of_all_small_groups() {
    assert_eq!(objection_to_small_groups(best_worst_pairs), None);
}

/// Implementations with one fault each.
#[test]
fn planted_faults_are_caught() {
    fn swapped(scores: &[f32], offsets: &[u32], out: &mut [Pair]) -> Result<Selection, Error> {
        let found = best_worst_pairs(scores, offsets, out)?;
        out[..found.pairs].iter_mut().for_each(|p| *p = Pair::new(p.rejected, p.chosen));
        Ok(found)
    }
    fn local(scores: &[f32], offsets: &[u32], out: &mut [Pair]) -> Result<Selection, Error> {
        let found = best_worst_pairs(scores, offsets, out)?;
        for pair in &mut out[..found.pairs] {
            let start = *offsets.iter().rfind(|&&o| o as usize <= pair.chosen).unwrap() as usize;
            *pair = Pair::new(pair.chosen - start, pair.rejected - start);
        }
        Ok(found)
    }
    fn last_worst(scores: &[f32], offsets: &[u32], out: &mut [Pair]) -> Result<Selection, Error> {
        let found = best_worst_pairs(scores, offsets, out)?;
        for pair in &mut out[..found.pairs] {
            let end = *offsets.iter().find(|&&o| o as usize > pair.chosen).unwrap() as usize;
            let worst = scores[pair.rejected];
            pair.rejected = (0..end).rev().find(|&i| scores[i] == worst).unwrap();
        }
        Ok(found)
    }
    fn wipes(scores: &[f32], offsets: &[u32], out: &mut [Pair]) -> Result<Selection, Error> {
        out.fill(Pair::default());
        best_worst_pairs(scores, offsets, out)
    }
    fn lumps(scores: &[f32], offsets: &[u32], out: &mut [Pair]) -> Result<Selection, Error> {
        let mut found = best_worst_pairs(scores, offsets, out)?;
        found.all_equal += std::mem::take(&mut found.shared_best);
        Ok(found)
    }
    fn by_bits(scores: &[f32], offsets: &[u32], out: &mut [Pair]) -> Result<Selection, Error> {
        // −0 below +0, as a total order has it.
        let scores: Vec<f32> = scores
            .iter()
            .map(|&x| if x == 0.0 && x.is_sign_negative() { -1e-30 } else { x })
            .collect();
        best_worst_pairs(&scores, offsets, out)
    }
    for (name, fault) in [
        ("swapped", swapped as Select),
        ("local", local),
        ("last worst", last_worst),
        ("wipes", wipes),
        ("lumps", lumps),
        ("by bits", by_bits),
    ] {
        assert!(objection_to_small_groups(fault).is_some(), "{name} went unnoticed");
    }
}

proptest! {
    #![proptest_config(crate::common::quiet::quiet())]

    #[test]
    fn of_random_packings(groups in prop::collection::vec(prop::collection::vec(-3_i8..4, 0..7), 0..12)) {
        let mut offsets = vec![0_u32];
        offsets.extend(groups.iter().scan(0, |end, group| {
            *end += group.len() as u32;
            Some(*end)
        }));
        let scores: Vec<f32> = groups.concat().into_iter().map(|x| f32::from(x) / 4.0).collect();
        prop_assert_eq!(objection(best_worst_pairs, &scores, &offsets), None);
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let refused = |scores: &[f32], offsets: &[u32], groups: usize| {
        let mut out = vec![DIRTY; groups];
        let error = best_worst_pairs(scores, offsets, &mut out).unwrap_err();
        assert_eq!(out, vec![DIRTY; groups], "{error}");
        error
    };
    assert_eq!(refused(&[], &[], 0), Error::OffsetsNotAscending { index: 0 });
    assert_eq!(refused(&[1.0; 4], &[0, 3, 2, 4], 3), Error::OffsetsNotAscending { index: 2 });
    let length = |buffer, expected, found| Error::Length { buffer, expected, found };
    assert_eq!(refused(&[1.0, 2.0], &[0, 2], 2), length(Buffer::Pairs, 1, 2));
    assert_eq!(refused(&[1.0, 2.0], &[0, 3], 1), length(Buffer::Scores, 3, 2));
    assert_eq!(refused(&[1.0, 2.0], &[0, 1], 1), length(Buffer::Scores, 1, 2));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = refused(&[1.0, 2.0, 3.0, bad], &[0, 2, 4], 2);
        let Error::InvalidValue { buffer: Buffer::Scores, index: 3, value } = error else {
            panic!("{error:?}");
        };
        assert!(value.to_bits() == f64::from(bad).to_bits() || bad.is_nan());
        // Counted from the first score, not from the first group.
        let error = refused(&[1.0, 2.0, 3.0, bad], &[1, 4], 1);
        assert!(matches!(error, Error::InvalidValue { index: 3, .. }), "{error:?}");
    }
}

/// Groups may start after the first score; what comes before belongs to nobody and is not looked
/// at.
#[test]
fn scores_before_the_first_group_are_not_read() {
    let mut out = [DIRTY];
    let found = best_worst_pairs(&[f32::NAN, 1.0, 0.0], &[1, 3], &mut out).unwrap();
    assert_eq!((found.pairs, out), (1, [Pair::new(1, 2)]));
    assert_eq!(best_worst_pairs(&[f32::NAN], &[1], &mut []), Ok(Selection::default()));
}
