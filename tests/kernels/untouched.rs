//! What is never read and never written: padding, rows outside the spans, ignored rows.

use dpo_kernel::gradient::{GradBatch, Unscored, logit_grads, logit_grads_in_place};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::{
    Dispatch, IGNORE_INDEX, Layout, Logits, LogitsMut, Span, TokenOut, Transform, token_log_probs,
};

use crate::common::coefficients::coefficients;
use crate::common::levels::for_each_dispatch;
use crate::rows::{Params, Random, Store, for_each_element, normal_row};
use crate::run::{bits, forward, gradient};

const ROWS: usize = 9;
/// Rows 1, 2, 3 and 5, 6 are in spans; row 2 is ignored.
const SPANS: [Span; 2] = [Span::new(5, 7), Span::new(1, 4)];
const SCORED: [usize; 4] = [1, 3, 5, 6];

struct Laid<E> {
    buffer: Vec<E>,
    targets: Vec<u32>,
    rows: Vec<Vec<E>>,
    offset: usize,
    stride: usize,
}

fn laid_out<E: Store>(vocab: usize, padding: usize, offset: usize) -> Laid<E> {
    let stride = vocab + padding;
    // The last row ends at its vocabulary, without padding.
    let mut buffer = vec![E::POISON; offset + (ROWS - 1) * stride + vocab];
    // Targets of rows that are not scored are out of range: nobody looks.
    let mut targets = vec![u32::MAX - 7; ROWS];
    targets[2] = IGNORE_INDEX;
    let mut random = Random::new(vocab as u64);
    let mut rows = vec![Vec::new(); ROWS];
    for row in SCORED {
        rows[row] = normal_row(vocab, 3.0, row as f64, random.bits());
        targets[row] = u32::try_from(random.below(vocab)).unwrap();
        buffer[offset + row * stride..][..vocab].copy_from_slice(&rows[row]);
    }
    Laid { buffer, targets, rows, offset, stride }
}

const SENTINEL: f32 = 12345.678;

fn forward_and_backward<E: Store>(dispatch: Dispatch, vocab: usize, padding: usize, offset: usize) {
    let Laid { mut buffer, targets, rows, offset, stride } = laid_out::<E>(vocab, padding, offset);
    let params = Params { scale: 1.0, softcap: None, temperature: 0.8 };
    let transform = if padding % 2 == 0 { params.kernel() } else { Transform::NONE };
    let before = bits(&buffer);
    let place = format!("{dispatch:?}, {} V = {vocab} + {padding}, offset {offset}", E::NAME);

    // Dirty outputs, one entry of which must change for each scored row.
    let mut log_probs = vec![SENTINEL; ROWS];
    let dirty = forward(dispatch, &[1.0_f32, 2.0], 0, Transform::NONE).unwrap();
    let mut norms: Vec<RowNorm> = vec![dirty.norm; ROWS];
    let mut details: Vec<RowDetails> = vec![dirty.details; ROWS];
    let logits = Logits::with_stride(&buffer[offset..], ROWS, vocab, stride)
        .unwrap()
        .with_transform(transform);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
    let mut order = [7; 2];
    let layout = Layout::in_any_order(&targets, &SPANS, vocab, &mut order).unwrap();
    token_log_probs(dispatch, logits, &layout, out).unwrap_or_else(|why| panic!("{place}: {why}"));
    for row in 0..ROWS {
        if SCORED.contains(&row) {
            let alone = forward(dispatch, &rows[row], targets[row], transform).unwrap();
            assert_eq!(log_probs[row].to_bits(), alone.log_prob.to_bits(), "{place}, row {row}");
            assert_eq!((norms[row], details[row]), (alone.norm, alone.details), "{place}, {row}");
        } else {
            assert_eq!(log_probs[row].to_bits(), SENTINEL.to_bits(), "{place}, row {row}");
            assert_eq!((norms[row], details[row]), (dirty.norm, dirty.details), "{place}, {row}");
        }
    }
    assert_eq!(bits(&buffer), before, "{place}: the forward wrote into the logits");

    // Apart, with another stride and dirty memory of another NaN.
    let c_of = |row: usize| if row < 4 { -0.5 } else { 0.75 };
    let coefficients = coefficients(&layout, &[0.75, -0.5], None, None).unwrap();
    for (row, c) in coefficients.iter().enumerate() {
        let expected = if SCORED.contains(&row) { c_of(row) } else { f64::NAN };
        assert_eq!(c.to_bits(), expected.to_bits(), "{place}: coefficient {row}");
    }
    let batch = GradBatch::new(&layout, &norms, &coefficients);
    let other = vocab + 5;
    let mut apart = vec![E::from_f32(SENTINEL); ROWS * other];
    let to = LogitsMut::with_stride(&mut apart, ROWS, vocab, other).unwrap();
    logit_grads(dispatch, logits, &batch, to).unwrap();
    assert_eq!(bits(&buffer), before, "{place}: the backward apart wrote into the logits");
    let here = LogitsMut::with_stride(&mut buffer[offset..], ROWS, vocab, stride)
        .unwrap()
        .with_transform(transform);
    logit_grads_in_place(dispatch, here, &batch).unwrap();

    let mut expected_apart = vec![E::from_f32(SENTINEL); ROWS * other];
    let mut expected = vec![E::POISON; before.len()];
    for row in SCORED {
        let alone = gradient::<E, E>(dispatch, &rows[row], targets[row], transform, c_of(row));
        expected_apart[row * other..][..vocab].copy_from_slice(&alone);
        expected[offset + row * stride..][..vocab].copy_from_slice(&alone);
    }
    assert_eq!(bits(&apart), bits(&expected_apart), "{place}: apart");
    assert_eq!(bits(&buffer), bits(&expected), "{place}: in place");

    // With zeros elsewhere, of the same logits.
    let Laid { mut buffer, .. } = laid_out::<E>(vocab, padding, offset);
    let batch = batch.with_unscored(Unscored::Zero);
    let logits = Logits::with_stride(&buffer[offset..], ROWS, vocab, stride).unwrap();
    let mut apart = vec![E::from_f32(SENTINEL); ROWS * other];
    let to = LogitsMut::with_stride(&mut apart, ROWS, vocab, other).unwrap();
    logit_grads(dispatch, logits.with_transform(transform), &batch, to).unwrap();
    let here = LogitsMut::with_stride(&mut buffer[offset..], ROWS, vocab, stride)
        .unwrap()
        .with_transform(transform);
    logit_grads_in_place(dispatch, here, &batch).unwrap();
    let zeros = |of: &[E], start: usize, stride: usize| -> Vec<E> {
        let zero = |(i, x): (usize, &E)| {
            let (row, column) = ((i - start) / stride, (i - start) % stride);
            let scored = SCORED.contains(&row) && column < vocab;
            if scored { *x } else { E::from_f32(0.0) }
        };
        let (before, rows) = of.split_at(start);
        let rows = rows.iter().enumerate().map(|(i, x)| zero((i + start, x)));
        before.iter().copied().chain(rows).collect()
    };
    assert_eq!(bits(&apart), bits(&zeros(&expected_apart, 0, other)), "{place}: zeros apart");
    assert_eq!(bits(&buffer), bits(&zeros(&expected, offset, stride)), "{place}: zeros in place");
}

#[test]
fn padding_and_rows_that_are_not_scored() {
    for_each_dispatch(|dispatch| {
        for vocab in [1, 2, 15, 16, 17, 63, 64, 65, 100, 513, 1027] {
            for (padding, offset) in [(0, 0), (1, 1), (2, 5), (15, 3), (64, 7)] {
                for_each_element!(forward_and_backward(dispatch, vocab, padding, offset));
            }
        }
    });
}
