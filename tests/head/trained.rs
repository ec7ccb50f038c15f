//! A trained head's gradients against plain f64, and against themselves.

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::{GradBatch, Unscored};
use dpo_kernel::head::{
    HeadGrads, HeadRow, HeadScratch, HiddenMut, head_grads, head_token_log_probs,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Dispatch, Element, Error, Executor, TokenOut, bf16, f16};

use crate::case::{Case, DIRT};
use crate::forward::bits;
use crate::oracle::{Due, due};

/// What a forward and a backward with tiles made again gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained<G> {
    pub result: Result<(), Error>,
    /// R × (H + 1), the last of each row padding.
    pub hidden: Vec<f32>,
    /// V × (H + 2), the last two of each row padding.
    pub weights: Vec<G>,
    pub bias: Vec<f32>,
}

pub fn norms_of<E: Element, W: Element>(
    case: &Case<E, W>,
    executor: impl Executor,
) -> Vec<RowNorm> {
    let (head, layout) = (case.head(), case.layout());
    let (mut log_probs, mut norms) = (vec![DIRT; case.rows], vec![RowNorm::default(); case.rows]);
    let mut rows = vec![HeadRow::NEW; 7];
    let mut numbers = vec![f32::NAN; HeadScratch::numbers_over::<_, E, _>(executor, &head, 7)];
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let _ = head_token_log_probs(executor, case.hidden(), &head, &layout, out, scratch);
    norms
}

pub fn train<E: Element, W: Element, G: Element>(
    case: &Case<E, W>,
    executor: impl Executor,
    at_once: usize,
    is_added: bool,
) -> Trained<G> {
    train_and(case, executor, at_once, is_added, Unscored::Keep)
}

/// The same, and what becomes of rows that are not scored.
pub fn train_and<E: Element, W: Element, G: Element>(
    case: &Case<E, W>,
    executor: impl Executor,
    at_once: usize,
    is_added: bool,
    unscored: Unscored,
) -> Trained<G> {
    let (head, layout, norms) = (case.head(), case.layout(), norms_of(case, executor));
    let stride = case.size + 2;
    let mut found = Trained {
        result: Ok(()),
        hidden: vec![DIRT; case.rows * (case.size + 1)],
        weights: vec![G::from_f32(-3.0); case.vocab * stride],
        bias: vec![-3.0; case.vocab],
    };
    let hidden =
        HiddenMut::with_stride(&mut found.hidden, case.rows, case.size, case.size + 1).unwrap();
    let (vocab, size) = (case.vocab, case.size);
    let grads = HeadGrads::of_weights_with_stride(&mut found.weights, vocab, size, stride).unwrap();
    let mut grads = grads.with_bias(&mut found.bias);
    if is_added {
        grads = grads.added();
    }
    let mut rows = vec![HeadRow::NEW; at_once];
    let due = HeadScratch::numbers_trained::<_, E, _, G>(executor, &head, at_once, &grads);
    let mut numbers = vec![f32::NAN; due];
    let batch = GradBatch::new(&layout, &norms, &case.coefficients).with_unscored(unscored);
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    found.result = head_grads(executor, case.hidden(), &head, &batch, hidden, grads, scratch);
    found
}

/// Errors by the sizes of the terms, in units of 2⁻²⁴: the largest.
fn worst(found: impl Iterator<Item = f32>, grads: &[f64], sizes: &[f64]) -> f64 {
    let mut worst: f64 = 0.0;
    for ((found, grad), size) in found.zip(grads).zip(sizes) {
        let error = (f64::from(found) - grad).abs() * f64::from(1 << 24);
        worst = worst.max(if error == 0.0 { 0.0 } else { error / size });
    }
    worst
}

/// Errors of hidden states', weights' and bias's gradients, in units of 2⁻²⁴ of the sizes of their
/// terms, the largest of each. Nothing else may be written.
pub fn errors<E: Element, W: Element>(case: &Case<E, W>, dispatch: Dispatch) -> [f64; 3] {
    let logits = case.written_out(dispatch.arithmetic());
    let Due { hidden, weights, bias } = due(case, &logits);
    // A chain at once leaves the scratch no room that is not asked for.
    let found = train::<E, W, f32>(case, dispatch, case.rows.min(128), false);
    found.result.unwrap();
    let (rows, padding): (Vec<_>, Vec<_>) = split(&found.hidden, case.size, 1);
    assert!(padding.iter().all(|&x| x == DIRT), "{dispatch:?}: padding written");
    let scored: Vec<f32> = rows
        .chunks(case.size)
        .enumerate()
        .flat_map(|(i, row)| {
            let unscored = !case.is_scored(i);
            assert!(!unscored || row.iter().all(|&x| x == DIRT), "row {i} written");
            row.iter().map(move |&x| if unscored { 0.0 } else { x })
        })
        .collect();
    let (of_weights, padding) = split(&found.weights, case.size, 2);
    assert!(padding.iter().all(|&x| x == -3.0), "{dispatch:?}: padding written");
    [
        worst(scored.into_iter(), &hidden.0, &hidden.1),
        worst(of_weights.into_iter(), &weights.0, &weights.1),
        worst(found.bias.iter().copied(), &bias.0, &bias.1),
    ]
}

fn check<E: Element, W: Element>(case: &Case<E, W>) {
    for dispatch in Dispatch::available() {
        let of = errors(case, dispatch);
        assert!(of.iter().all(|of| *of <= 18.0), "{dispatch:?}: {of:?}");
    }
}

fn split<T: Copy>(x: &[T], size: usize, padding: usize) -> (Vec<T>, Vec<T>) {
    let of = |range: core::ops::Range<usize>| {
        x.chunks(size + padding).flat_map(|row| row[range.clone()].to_vec()).collect()
    };
    (of(0..size), of(size..size + padding))
}

#[test]
fn gradients_are_those_of_plain_f64() {
    for (rows, size, vocab) in
        [(1, 1, 1), (2, 3, 31), (13, 17, 511), (25, 33, 512), (5, 257, 513), (9, 70, 1300)]
    {
        let case = Case::<f32, f32>::new(rows, size, vocab, 77 + vocab as u64);
        check(&case);
        check(&case.with_bias(3));
    }
    check(&Case::<bf16, bf16>::new(9, 45, 600, 1));
    check(&Case::<f16, f32>::new(300, 35, 90, 2));
    // Two chains of tokens, which take more memory than this head's own product.
    check(&Case::<f32, f32>::new(300, 3, 90, 2));
}

#[test]
fn gradients_under_transforms() {
    let case = Case::<f32, f32>::new(9, 45, 1100, 1).with_bias(5);
    for (scale, softcap, temperature) in
        [(0.0625, None, 1.0), (1.0, None, 0.7), (1.0, Some(30.0), 1.0), (2.0, Some(5.0), 1.5)]
    {
        check(&case.clone().with_transform(scale, softcap, temperature));
    }
}

/// Levels of one arithmetic, rows at once: one result.
#[test]
fn gradients_have_the_same_bits_everywhere() {
    let case = Case::<bf16, f32>::new(300, 37, 600, 4).with_bias(9);
    for dispatch in Dispatch::available() {
        let alike =
            Dispatch::available().find(|d| d.arithmetic() == dispatch.arithmetic()).unwrap();
        let due = train::<_, _, f32>(&case, alike, 300, false);
        due.result.unwrap();
        for at_once in [128, 130, 199, 200, 201] {
            let found = train::<_, _, f32>(&case, dispatch, at_once, false);
            assert_eq!(bits(&found.hidden), bits(&due.hidden), "{dispatch:?}, {at_once} at once");
            assert_eq!(bits(&found.weights), bits(&due.weights), "{dispatch:?}, {at_once}");
            assert_eq!(bits(&found.bias), bits(&due.bias), "{dispatch:?}, {at_once} at once");
        }
    }
}

/// One rounding, of the sum over all tokens, also where they are three groups of rows.
#[test]
fn narrow_gradients_are_rounded_once() {
    let case = Case::<f32, f32>::new(450, 20, 70, 4);
    let dispatch = Dispatch::detect();
    for is_added in [false, true] {
        let whole = train::<_, _, f32>(&case, dispatch, 300, is_added);
        let narrow = train::<_, _, bf16>(&case, dispatch, 128, is_added);
        for (i, (whole, narrow)) in whole.weights.iter().zip(&narrow.weights).enumerate() {
            assert_eq!(bf16::from_f32(*whole).to_bits(), narrow.to_bits(), "{i}, {is_added}");
        }
        assert_eq!(bits(&whole.bias), bits(&narrow.bias));
    }
}

/// Added to what is there.
#[test]
fn gradients_accumulate_if_asked_for() {
    let case = Case::<f32, f32>::new(15, 20, 70, 4);
    let dispatch = Dispatch::detect();
    let alone = train::<_, _, f32>(&case, dispatch, 15, false);
    let added = train::<_, _, f32>(&case, dispatch, 15, true);
    for (i, (alone, added)) in alone.weights.iter().zip(&added.weights).enumerate() {
        let due = if i % 22 < 20 { alone - 3.0 } else { -3.0 };
        assert_eq!(*added, due, "{i}");
    }
    for (alone, added) in alone.bias.iter().zip(&added.bias) {
        assert_eq!(*added, alone - 3.0);
    }
    assert_eq!(bits(&alone.hidden), bits(&added.hidden));
}

/// Coefficient 0: 0, and nothing to the head, whatever the row holds.
#[test]
fn rows_without_a_coefficient_reach_nothing() {
    let case = Case::<f32, f32>::new(9, 20, 40, 4);
    let mut without = case.clone();
    without.coefficients[3] = 0.0;
    without.states[3 * without.stride..][..20].fill(f32::NAN);
    let dispatch = Dispatch::detect();
    let found = train::<_, _, f32>(&without, dispatch, 9, false);
    assert_eq!(found.result, Ok(()));
    assert!(found.hidden[63..83].iter().all(|&d| d.to_bits() == 0));
    let mut unscored = case;
    unscored.targets[3] = dpo_kernel::IGNORE_INDEX;
    let due = train::<_, _, f32>(&unscored, dispatch, 9, false);
    assert_eq!(bits(&found.weights), bits(&due.weights));
    assert_eq!(bits(&found.bias), bits(&due.bias));
    // No row at all: zeros, not what was there.
    without.coefficients.fill(0.0);
    let found = train::<_, _, f32>(&without, dispatch, 9, false);
    assert_eq!(found.result, Ok(()));
    assert!(found.bias.iter().all(|d| d.to_bits() == 0));
    let (weights, _) = split(&found.weights, 20, 2);
    assert!(weights.iter().all(|d| d.to_bits() == 0));
}

#[test]
fn less_room_than_a_chain_is_refused() {
    let case = Case::<f32, f32>::new(30, 5, 9, 4);
    let due = |expected, found| Err(Error::Length { buffer: Buffer::HeadRows, expected, found });
    let dirty = train::<_, _, f32>(&case, Dispatch::detect(), 19, false);
    assert_eq!(dirty.result, due(20, 19));
    assert!(dirty.hidden.iter().all(|&x| x == DIRT) && dirty.bias.iter().all(|&x| x == -3.0));
    assert!(dirty.weights.iter().all(|&x| x == -3.0));
    assert_eq!(train::<_, _, f32>(&case, Dispatch::detect(), 20, false).result, Ok(()));
    let long = Case::<f32, f32>::new(300, 5, 9, 4);
    assert_eq!(train::<_, _, f32>(&long, Dispatch::detect(), 127, false).result, due(128, 127));
}
