//! What each twist does to a row, and which layouts are well-formed: by hand.

use dpo_kernel::verify::cases::{BatchCase, LayoutCase, Place, RowCase, Twist, stored, widened};
use dpo_kernel::verify::{Dpo, Transform};
use dpo_kernel::{bf16, f16};

const INF: f32 = f32::INFINITY;
const ROW: [f32; 5] = [1.0, -2.5, 0.25, 3.0, -1.0];

fn twisted(twist: Twist, target: usize) -> [f32; 5] {
    let mut row = ROW;
    twist.apply(&mut row, target);
    row
}

#[test]
fn twists_do_what_they_say() {
    // 65536ths: 13107 to a column of five, rounded down.
    let third = Place::At(30000);
    for (twist, expected) in [
        (Twist::Plain, ROW),
        (Twist::Ties(2.0), [0.0, -2.0, 0.0, 4.0, -0.0]),
        (Twist::Ties(0.5), [1.0, -2.5, 0.0, 3.0, -1.0]),
        (Twist::Equal, [1.0; 5]),
        (Twist::Shift(2.0), [3.0, -0.5, 2.25, 5.0, 1.0]),
        (Twist::Spread(-2.0), [-2.0, 5.0, -0.5, -6.0, 2.0]),
        (Twist::Lead(third, 10.0), [1.0, -2.5, 13.0, 3.0, -1.0]),
        (Twist::Lead(Place::Target, 1.0), [1.0, 4.0, 0.25, 3.0, -1.0]),
        (Twist::Peak(third, 10.0), [-7.0, -7.0, 3.0, -7.0, -7.0]),
        (Twist::Peak(Place::Target, 1.0), [2.0, 3.0, 2.0, 2.0, 2.0]),
        (Twist::Set(third, -INF), [1.0, -2.5, -INF, 3.0, -1.0]),
        (Twist::Set(Place::Target, 7.0), [1.0, 7.0, 0.25, 3.0, -1.0]),
        // Both ends masked, the target, 1, not, whichever end comes first.
        (Twist::Mask(0, 30000), [-INF, -2.5, -INF, 3.0, -1.0]),
        (Twist::Mask(40000, 30000), [1.0, -2.5, -INF, -INF, -1.0]),
        (Twist::Mask(14000, 14000), ROW),
        (Twist::Mask(65535, 65535), [1.0, -2.5, 0.25, 3.0, -INF]),
        (Twist::MaskEvery(2), [-INF, -2.5, -INF, 3.0, -INF]),
        (Twist::MaskEvery(3), [-INF, -2.5, 0.25, -INF, -1.0]),
        (Twist::MaskEvery(0), [-INF, -2.5, -INF, -INF, -INF]),
    ] {
        assert_eq!(twisted(twist, 1), expected, "{twist:?}");
    }
    let mut none: [f32; 0] = [];
    Twist::Equal.apply(&mut none, 0);
    Twist::Lead(Place::Target, 1.0).apply(&mut none, 0);
}

#[test]
fn places_are_parts_of_a_row() {
    for (at, vocab, column) in [
        (0, 5, 0),
        (13107, 5, 0),
        (13108, 5, 1),
        (65535, 5, 4),
        (65535, 1, 0),
        (32768, 65536, 32768),
        (65535, 65536, 65535),
        (32768, 200_000, 100_000),
        (65535, 200_000, 199_996),
        (1, 131_073, 2),
    ] {
        assert_eq!(Place::At(at).column(vocab, 3), column, "{at} of {vocab}");
    }
    assert_eq!(Place::Target.column(5, 3), 3);
}

/// What a type holds, exactly: rounded once.
#[test]
fn cases_are_what_a_type_holds() {
    let x = [1.0_f32, 1.0 + f32::EPSILON, 5.014_9, -INF];
    assert_eq!(widened(&stored::<f32>(&x)), x.map(f64::from));
    assert_eq!(widened(&stored::<f16>(&x)), [1.0, 1.0, 5.015_625, -f64::INFINITY]);
    assert_eq!(widened(&stored::<bf16>(&x)), [1.0, 1.0, 5.0, -f64::INFINITY]);
    let transform = Transform { scale: 2.0, softcap: None, temperature: 4.0 };
    let logits = vec![0.0, 2.0_f32.ln() * 2.0, 0.0];
    let row = RowCase { logits, transform, target: 1, coefficient: 3.0 };
    // y = 0, ln 2, 0 but for the rounding of f32: p = ¼, ½, ¼.
    let near = |found: &[f64], expected: &[f64], by: f64| {
        assert_eq!(found.len(), expected.len());
        let all = found.iter().zip(expected).all(|(x, y)| (x - y).abs() < by);
        assert!(all, "{found:?} is not {expected:?}");
    };
    near(&row.exact::<f32>(), &[0.0, 4.0_f64.ln(), 0.0], 1e-7);
    near(&row.transformed::<f32>(), &[0.0, 2.0_f64.ln(), 0.0], 1e-7);
    near(&[row.log_prob::<f32>()], &[-(2.0_f64.ln())], 1e-7);
    // 3 · (onehot − p) · ½.
    near(&row.grads::<f32>(), &[-0.375, 0.75, -0.375], 1e-7);
    // 1.0986 is 1.3862 in bf16, off by a thousandth.
    assert_ne!(row.exact::<bf16>(), row.exact::<f32>());
    assert_eq!(row.stored::<bf16>().len(), 3);
}

fn layout(targets: &[u32], spans: &[(usize, usize)]) -> LayoutCase {
    LayoutCase { vocab: 4, targets: targets.to_vec(), ignore: 9, spans: spans.to_vec() }
}

#[test]
fn layouts_are_well_formed_or_not() {
    let targets = [0, 9, 3, 1, 7];
    for (spans, well_formed) in [
        (&[][..], true),
        (&[(0, 1)], true),
        (&[(2, 4), (0, 2)], true),
        (&[(0, 4)], true),
        // Nothing scored, nothing at all, backwards, past the rows, shared, no such token.
        (&[(1, 2)], false),
        (&[(0, 0)], false),
        (&[(2, 1)], false),
        (&[(3, 6)], false),
        (&[(5, 6)], false),
        (&[(0, 3), (2, 4)], false),
        (&[(0, 1), (0, 1)], false),
        (&[(3, 5)], false),
        (&[(4, 5)], false),
        (&[(0, 1), (1, 2)], false),
        (&[(usize::MAX, 0)], false),
    ] {
        assert_eq!(layout(&targets, spans).is_well_formed(), well_formed, "{spans:?}");
    }
    // The last id of the vocabulary is one, the next is none.
    assert!(layout(&[3], &[(0, 1)]).is_well_formed());
    assert!(!layout(&[4], &[(0, 1)]).is_well_formed());
    let case = layout(&targets, &[(0, 2), (3, 4)]);
    let scored: Vec<usize> = (0..7).filter(|&row| case.is_scored(row)).collect();
    assert_eq!(scored, [0, 3], "inside a span and not ignored");
}

/// A batch as the reference sees it: every field in its place, in the type's digits.
#[test]
fn batches_are_seen_field_by_field() {
    let case = BatchCase {
        logits: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        stride: 3,
        transform: Transform { scale: 2.0, softcap: Some(5.0), temperature: 0.5 },
        layout: LayoutCase {
            vocab: 2,
            targets: vec![0, 1],
            ignore: 8,
            spans: vec![(1, 2), (0, 1)],
        },
        token_weights: Some(vec![0.1, 0.7]),
        pairs: vec![(1, 0)],
        reference: vec![-1.5, -2.5],
        weights: Some(vec![0.3]),
        offsets: Some(vec![0.9]),
        dpo: Dpo { beta: 0.2, label_smoothing: 0.1 },
        divisor: 3.0,
    };
    assert_eq!((case.rows(), case.vocab()), (2, 2));
    let wide = |x: &[f32]| x.iter().copied().map(f64::from).collect::<Vec<_>>();
    case.with_exact::<f16, _>(|batch| {
        assert_eq!(batch.logits, widened(&stored::<f16>(&case.logits)));
        assert_eq!((batch.vocab, batch.stride, batch.ignore), (2, 3, 8));
        assert_eq!((batch.transform, batch.dpo, batch.divisor), (case.transform, case.dpo, 3.0));
        assert_eq!((batch.targets, batch.spans), (&[0, 1][..], &[(1, 2), (0, 1)][..]));
        assert_eq!((batch.pairs, batch.reference), (&[(1, 0)][..], &[-1.5, -2.5][..]));
        assert_eq!(batch.token_weights, Some(wide(&[0.1, 0.7]).as_slice()));
        assert_eq!(batch.pair_weights, Some(wide(&[0.3]).as_slice()));
        assert_eq!(batch.pair_offsets, Some(wide(&[0.9]).as_slice()));
    });
    let plain = BatchCase { token_weights: None, weights: None, offsets: None, ..case };
    plain.with_exact::<f32, _>(|batch| {
        let lists = [batch.token_weights, batch.pair_weights, batch.pair_offsets];
        assert_eq!(lists, [None; 3]);
    });
}
