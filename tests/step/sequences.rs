//! Sums of token log-probs, each figure worked out by hand in binary fractions.

use dpo_kernel::error::Buffer;
use dpo_kernel::{Error, IGNORE_INDEX, Layout, SequenceLogProb, Span, sequence_log_probs};

const DIRTY: SequenceLogProb = SequenceLogProb { sum: 9.25, count: 77 };

#[test]
fn sums_counts_and_means() {
    let targets = [1, 2, IGNORE_INDEX, 3, 4, 5, 6, 0];
    let spans = [Span::new(4, 6), Span::new(0, 4), Span::new(7, 7), Span::new(6, 7)];
    let mut order = [0; 4];
    let layout = Layout::in_any_order(&targets, &spans, 9, &mut order).unwrap();
    // Row 2 is ignored, row 7 of no sequence.
    let log_probs = [-0.5, -0.25, f32::NAN, -8.0, -0.125, -2.0, -16.0, f32::NAN];
    let mut out = [DIRTY; 4];
    sequence_log_probs(&log_probs, &layout, None, &mut out).unwrap();
    assert_eq!(out.map(|s| (s.sum, s.count)), [(-2.125, 2), (-8.75, 3), (0.0, 0), (-16.0, 1)]);
    assert_eq!([out[0].mean(), out[3].mean()], [-1.0625, -16.0]);
    assert_eq!(out[1].mean(), -8.75 / 3.0);
    assert!(out[2].mean().is_nan(), "0 / 0");

    // Of weight 0, 1 and 4, a fraction, and below 0; a token of weight 0 may be NaN.
    let weights = [4.0, 0.0, 7.0, 0.5, -1.0, 1.0, 0.0, 3.0];
    let log_probs = [-0.5, f32::NAN, f32::NAN, -8.0, -0.125, -2.0, f32::NEG_INFINITY, f32::NAN];
    let mut out = [DIRTY; 4];
    sequence_log_probs(&log_probs, &layout, Some(&weights), &mut out).unwrap();
    assert_eq!(out.map(|s| (s.sum, s.count)), [(-1.875, 2), (-6.0, 2), (0.0, 0), (0.0, 0)]);
    assert_eq!(out[1].mean(), -3.0, "over the tokens of weight other than 0, not over Σ w = 4.5");
}

/// Sums are in f64 and in the order of the rows.
#[test]
fn in_double_precision() {
    let targets = [0; 3];
    let spans = [Span::new(0, 3)];
    let layout = Layout::new(&targets, &spans, 1).unwrap();
    let mut out = [DIRTY];
    // In f32 the last would vanish.
    let log_probs = [-16_777_216.0, -1.0, -0.5];
    sequence_log_probs(&log_probs, &layout, None, &mut out).unwrap();
    assert_eq!((out[0].sum, out[0].count), (-16_777_217.5, 3));
    // A product in f32 would be 1.
    let weight = [1.0 + f32::EPSILON, 0.0, 0.0];
    let log_probs = [f32::EPSILON - 1.0, 0.0, 0.0];
    sequence_log_probs(&log_probs, &layout, Some(&weight), &mut out).unwrap();
    let exact = -(1.0 - f64::from(f32::EPSILON) * f64::from(f32::EPSILON));
    assert_eq!((out[0].sum, out[0].count), (exact, 1));
}

/// What is no number passes into the sum of its own sequence.
#[test]
fn what_is_no_number_passes_on() {
    let targets = [0; 4];
    let spans = [Span::new(0, 2), Span::new(2, 3), Span::new(3, 4)];
    let layout = Layout::new(&targets, &spans, 1).unwrap();
    let mut out = [DIRTY; 3];
    let log_probs = [f32::NAN, -1.0, f32::NEG_INFINITY, -0.5];
    sequence_log_probs(&log_probs, &layout, None, &mut out).unwrap();
    assert!(out[0].sum.is_nan() && out[0].count == 2);
    assert_eq!((out[1].sum, out[1].count), (f64::NEG_INFINITY, 1));
    assert_eq!((out[2].sum, out[2].count), (-0.5, 1));
}

/// Every length one too short and one too long, and a weight that is none: nothing is written.
#[test]
fn refusals_write_nothing() {
    let targets = [0; 3];
    let spans = [Span::new(0, 2), Span::new(2, 3)];
    let layout = Layout::new(&targets, &spans, 1).unwrap();
    let (log_probs, weights) = ([-1.0; 4], [1.0; 4]);
    let length = |buffer, expected, found| Err(Error::Length { buffer, expected, found });
    for (p, w, n, expected) in [
        (2, 3, 2, length(Buffer::TokenLogProbs, 3, 2)),
        (4, 3, 2, length(Buffer::TokenLogProbs, 3, 4)),
        (3, 2, 2, length(Buffer::TokenWeights, 3, 2)),
        (3, 4, 2, length(Buffer::TokenWeights, 3, 4)),
        (3, 3, 1, length(Buffer::Sequences, 2, 1)),
        (3, 3, 3, length(Buffer::Sequences, 2, 3)),
        (3, 3, 2, Ok(())),
    ] {
        let mut out = vec![DIRTY; n];
        let found = sequence_log_probs(&log_probs[..p], &layout, Some(&weights[..w]), &mut out);
        assert_eq!(found, expected);
        assert_eq!(out.iter().all(|s| *s == DIRTY), expected.is_err(), "{found:?}");
    }
    for (index, value) in [(0, f32::INFINITY), (2, f32::NEG_INFINITY), (1, f32::NAN)] {
        let (mut weights, mut out) = ([1.0; 3], [DIRTY; 2]);
        weights[index] = value;
        let found = sequence_log_probs(&log_probs[..3], &layout, Some(&weights), &mut out);
        let Err(Error::InvalidValue { buffer, index: at, value: named }) = found else {
            panic!("{found:?}")
        };
        assert_eq!((buffer, at), (Buffer::TokenWeights, index));
        assert_eq!(named.to_bits(), f64::from(value).to_bits());
        assert_eq!(out, [DIRTY; 2]);
    }
}
