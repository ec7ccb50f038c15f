//! A head whose columns are shared by machines: merged, to the bit what one machine finds.

use core::ops::Range;

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    HeadGrads, HeadRow, HeadScratch, HiddenMut, Linear, head_shard_grads, head_shard_stats,
    head_token_log_probs,
};
use dpo_kernel::row::{Details, RowDetails, RowNorm, RowStats, shard_columns};
use dpo_kernel::{Dispatch, Element, Error, Executor, TokenOut, Transform, bf16, f16};

use crate::case::{Case, DIRT};
use crate::oracle::{Due, due};
use crate::trained::{norms_of, train};

/// The rows of the head that a machine has.
fn head_of<'a, W: Element>(case: &'a Case<f32, W>, columns: &Range<usize>) -> Linear<'a, W> {
    let weights = &case.weights[columns.start * case.stride..columns.end * case.stride];
    let head = Linear::with_stride(weights, columns.len(), case.size, case.stride).unwrap();
    let head = match &case.bias {
        Some(bias) => head.with_bias(&bias[columns.clone()]).unwrap(),
        None => head,
    };
    head.with_transform(case.transform)
}

/// What a row holds that nothing has written.
fn dirty() -> RowStats<Details> {
    let mut stats = RowStats::new(Transform::new(3.0, None, 1.0).unwrap(), Some(77));
    stats.fold(Dispatch::detect(), &[5.0_f32, 1.0], 77);
    stats
}

fn stats_of<W: Element>(
    case: &Case<f32, W>,
    dispatch: impl Executor,
    columns: &Range<usize>,
    at_once: usize,
) -> Vec<RowStats<Details>> {
    let (head, layout) = (head_of(case, columns), case.layout());
    let mut rows = vec![HeadRow::NEW; at_once];
    let mut numbers =
        vec![f32::NAN; HeadScratch::numbers_over::<_, f32, _>(dispatch, &head, at_once)];
    let mut stats = vec![dirty(); case.rows];
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let (hidden, first) = (case.hidden(), columns.start);
    head_shard_stats(dispatch, hidden, &head, first, &layout, &mut stats, scratch).unwrap();
    // Without details the same.
    let mut plain = vec![RowStats::<()>::new(Transform::NONE, None); case.rows];
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    head_shard_stats(dispatch, hidden, &head, first, &layout, &mut plain, scratch).unwrap();
    for (row, (plain, stats)) in plain.iter().zip(&stats).enumerate() {
        if case.is_scored(row) {
            assert_eq!(plain.log_z().to_bits(), stats.log_z().to_bits(), "row {row}");
            assert_eq!(stats.columns(), columns.len() as u64);
        } else {
            assert_eq!(*stats, dirty(), "row {row} is not scored");
        }
    }
    stats
}

/// Statistics through bytes, merged from the last shard to the first.
fn merged(
    parts: Vec<Vec<RowStats<Details>>>,
    case: &Case<f32, impl Element>,
) -> Vec<RowStats<Details>> {
    let mut parts = parts.into_iter().rev();
    let mut all = parts.next().unwrap();
    for part in parts {
        for row in (0..case.rows).filter(|&row| case.is_scored(row)) {
            let mut bytes = [0; RowStats::<Details>::BYTES];
            part[row].write_bytes(&mut bytes).unwrap();
            all[row].merge(&RowStats::from_bytes(case.transform, &bytes).unwrap()).unwrap();
        }
    }
    all
}

fn check<W: Element>(case: &Case<f32, W>, shards: usize, at_once: usize) {
    let logits_due = |dispatch: Dispatch| due(case, &case.written_out(dispatch.arithmetic()));
    for dispatch in Dispatch::available() {
        let columns: Vec<_> = (0..shards).map(|i| shard_columns(case.vocab, shards, i)).collect();
        let columns: Vec<_> = columns.into_iter().filter(|columns| !columns.is_empty()).collect();
        let of = |columns| stats_of(case, dispatch, columns, at_once);
        let stats = merged(columns.iter().map(of).collect(), case);
        let due_norms = norms_of(case, dispatch);
        let mut norms = vec![RowNorm::default(); case.rows];
        let details = details_of(case, dispatch);
        for row in (0..case.rows).filter(|&row| case.is_scored(row)) {
            assert_eq!(
                stats[row].details(),
                details[row],
                "{dispatch:?} {shards} shards, row {row}"
            );
            norms[row] = stats[row].norm().unwrap();
            assert_eq!(norms[row], due_norms[row], "{dispatch:?} {shards} shards, row {row}");
        }
        let whole = train::<f32, W, f32>(case, dispatch, case.rows, false);
        let mut hidden = vec![0.0_f64; case.rows * case.size];
        for columns in &columns {
            let part = grads_of(case, dispatch, columns, &norms);
            for (i, column) in columns.clone().enumerate() {
                let found = &part.weights[i * case.size..][..case.size];
                let due = &whole.weights[column * (case.size + 2)..][..case.size];
                assert_eq!(found, due, "{dispatch:?} {shards} shards, column {column}");
            }
            assert_eq!(part.bias[..], whole.bias[columns.clone()], "{dispatch:?} {shards}");
            for (sum, part) in hidden.iter_mut().zip(&part.hidden) {
                *sum += f64::from(*part);
            }
        }
        let Due { hidden: (grads, sizes), .. } = logits_due(dispatch);
        for (i, ((found, grad), size)) in hidden.iter().zip(&grads).zip(&sizes).enumerate() {
            if case.is_scored(i / case.size) {
                let most = 18.0 * size / f64::from(1 << 24);
                assert!((found - grad).abs() <= most, "{dispatch:?} {i}: {found} is not {grad}");
            }
        }
    }
}

/// The details of the whole head.
fn details_of<W: Element>(case: &Case<f32, W>, dispatch: Dispatch) -> Vec<RowDetails> {
    let (head, layout) = (case.head(), case.layout());
    let mut log_probs = vec![DIRT; case.rows];
    let mut details = vec![RowDetails::default(); case.rows];
    let mut rows = vec![HeadRow::NEW; case.rows];
    let mut numbers = vec![f32::NAN; HeadScratch::numbers::<f32, _>(&head, case.rows)];
    let out = TokenOut::new(&mut log_probs).with_details(&mut details);
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    head_token_log_probs(dispatch, case.hidden(), &head, &layout, out, scratch).unwrap();
    details
}

#[derive(Debug, PartialEq)]
struct Part {
    hidden: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

fn grads_of<W: Element>(
    case: &Case<f32, W>,
    dispatch: impl Executor,
    columns: &Range<usize>,
    norms: &[RowNorm],
) -> Part {
    let (head, layout, rows, size) = (head_of(case, columns), case.layout(), case.rows, case.size);
    let mut part = Part {
        hidden: vec![DIRT; rows * size],
        weights: vec![DIRT; columns.len() * size],
        bias: vec![DIRT; columns.len()],
    };
    let grads = HeadGrads::of_weights(&mut part.weights, columns.len(), size).unwrap();
    let grads = grads.with_bias(&mut part.bias);
    let hidden = HiddenMut::new(&mut part.hidden, rows, size).unwrap();
    let mut room = vec![HeadRow::NEW; rows];
    let due = HeadScratch::numbers_trained::<_, f32, _, f32>(dispatch, &head, rows, &grads);
    let mut numbers = vec![f32::NAN; due];
    let scratch = HeadScratch::new(&mut room, &mut numbers);
    let batch = GradBatch::new(&layout, norms, &case.coefficients);
    let (states, first) = (case.hidden(), columns.start);
    head_shard_grads(dispatch, states, &head, first, &batch, hidden, grads, scratch).unwrap();
    part
}

#[test]
fn shards_are_the_head() {
    for (shards, at_once) in [(1, 7), (2, 3), (3, 13), (7, 1)] {
        check(&Case::<f32, f32>::new(13, 17, 1700, 5).with_bias(3), shards, at_once);
        check(&Case::<f32, f16>::new(7, 9, 1025, 6), shards, at_once);
        let capped = Case::<f32, bf16>::new(9, 33, 1536, 7).with_transform(1.5, Some(9.0), 0.7);
        check(&capped, shards, at_once);
    }
}

/// All targets stand in one shard: the others write their columns alone.
#[test]
fn shards_without_a_target() {
    for column in [0, 511, 512, 1100] {
        let case = Case::<f32, f32>::new(7, 5, 1101, 8).with_targets(|_| column);
        check(&case, 3, 4);
    }
}

/// The control: at another column a shard is not the row's.
#[test]
fn shards_elsewhere_are_seen() {
    let (case, dispatch) =
        (Case::<f32, f32>::new(4, 5, 1024, 9).with_targets(|_| 700), Dispatch::detect());
    let (right, wrong) = (512..1024, 0..512);
    let norms = norms_of(&case, dispatch);
    let found = grads_of(&case, dispatch, &right, &norms);
    let head = head_of(&case, &right);
    let (layout, mut hidden) = (case.layout(), vec![0.0; 4 * 5]);
    let mut weights = vec![0.0; 512 * 5];
    let grads = HeadGrads::of_weights(&mut weights, 512, 5).unwrap();
    let (mut room, batch) =
        (vec![HeadRow::NEW; 4], GradBatch::new(&layout, &norms, &case.coefficients));
    let due = HeadScratch::numbers_trained::<_, f32, _, f32>(dispatch, &head, 4, &grads);
    let (mut numbers, view) = (vec![0.0; due], HiddenMut::new(&mut hidden, 4, 5).unwrap());
    let scratch = HeadScratch::new(&mut room, &mut numbers);
    head_shard_grads(dispatch, case.hidden(), &head, wrong.start, &batch, view, grads, scratch)
        .unwrap();
    assert!(weights != found.weights);
    assert!(stats_of(&case, dispatch, &right, 4)[0].log_prob().is_some());
    assert!(stats_of(&case, dispatch, &wrong, 4)[0].log_prob().is_none());
}

/// Errors come before anything is written.
#[test]
fn what_does_not_fit_is_refused() {
    let (case, dispatch) = (Case::<f32, f32>::new(4, 5, 1024, 9), Dispatch::detect());
    let layout = case.layout();
    let mut room = vec![HeadRow::NEW; 4];
    let mut try_at = |first: usize, rows: usize, columns: Range<usize>| {
        let head = head_of(&case, &columns);
        let mut numbers = vec![0.0; HeadScratch::numbers::<f32, _>(&head, 4)];
        let mut stats = vec![dirty(); rows];
        let scratch = HeadScratch::new(&mut room, &mut numbers);
        let hidden = case.hidden();
        let found = head_shard_stats(dispatch, hidden, &head, first, &layout, &mut stats, scratch);
        let is_refused = stats.iter().all(|stats| *stats == dirty());
        assert_eq!(found.is_err(), is_refused);
        found
    };
    let beyond = |end| Err(Error::ShapeMismatch { expected: (4, 1024), found: (4, end) });
    assert_eq!(try_at(512, 4, 0..512), Ok(()));
    assert_eq!(try_at(513, 4, 0..512), beyond(1025));
    assert_eq!(try_at(usize::MAX, 4, 0..512), beyond(usize::MAX));
    let short = Error::Length { buffer: Buffer::RowStats, expected: 4, found: 3 };
    assert_eq!(try_at(0, 3, 0..512), Err(short));
    let (norms, mut hidden) = (norms_of(&case, dispatch), vec![DIRT; 20]);
    let head = head_of(&case, &(0..512));
    let (mut weights, batch) =
        (vec![DIRT; 512 * 5], GradBatch::new(&layout, &norms, &case.coefficients));
    let grads = HeadGrads::of_weights(&mut weights, 512, 5).unwrap();
    let (mut numbers, view) = (vec![0.0; 99_999], HiddenMut::new(&mut hidden, 4, 5).unwrap());
    let scratch = HeadScratch::new(&mut room, &mut numbers);
    let found = head_shard_grads(dispatch, case.hidden(), &head, 600, &batch, view, grads, scratch);
    assert_eq!(found, beyond(1112));
    assert!(hidden.iter().chain(&weights).all(|&x| x == DIRT));
}

/// Over threads, the same.
#[cfg(all(feature = "alloc", feature = "rayon"))]
#[test]
fn threads_change_nothing() {
    let case = Case::<f32, f32>::new(29, 9, 1300, 4).with_bias(5);
    let (columns, dispatch) = (512..1300, Dispatch::detect());
    let norms = norms_of(&case, dispatch);
    let due =
        (stats_of(&case, dispatch, &columns, 13), grads_of(&case, dispatch, &columns, &norms));
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let on = dpo_kernel::Parallel::new(dispatch);
        let found = pool
            .install(|| (stats_of(&case, on, &columns, 13), grads_of(&case, on, &columns, &norms)));
        assert_eq!(found, due, "{threads} threads");
    }
}
