//! Rows over threads: the same bits, errors and untouched memory for any number of threads.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::missing_assert_message,
    reason = "a test may panic, and makes its inputs by casts"
)]

use dpo_kernel::gradient::{
    GradBatch, Unscored, logit_grads, logit_grads_in_place, token_coefficients,
};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::{
    Dispatch, Element, Error, Executor, IGNORE_INDEX, Layout, Logits, LogitsMut, Parallel, Span,
    TokenOut, TokenSummary, Transform, bf16, f16, token_log_probs,
};

const THREADS: [usize; 4] = [1, 2, 3, 8];
/// What outputs hold before; nothing computes it.
const SENTINEL: f32 = 12345.678;

/// A batch as a host has it: spans in any order, rows between them, ignored rows, padding of NaN.
#[derive(Clone)]
struct Case<E> {
    logits: Vec<E>,
    rows: usize,
    vocab: usize,
    stride: usize,
    transform: Transform,
    targets: Vec<u32>,
    spans: Vec<Span>,
    d_log_probs: Vec<f64>,
    weights: Vec<f32>,
    broken_coefficient: Option<usize>,
}

fn case<E: Element>(rows: usize, vocab: usize, padding: usize, transform: Transform) -> Case<E> {
    let mut state = (rows * vocab) as u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as usize
    };
    // One row in seven is in no span, one in five is ignored; the first of a span never is.
    let (mut spans, mut start) = (Vec::new(), 0);
    while start < rows {
        let end = (start + 1 + random() % 9).min(rows);
        if random() % 7 > 0 || end == rows {
            spans.push(Span::new(start, end));
        }
        start = end;
    }
    for i in (1..spans.len()).rev() {
        spans.swap(i, random() % (i + 1));
    }
    let first = |row| spans.iter().any(|span| span.start == row);
    let targets = (0..rows).map(|row| {
        let ignored = random() % 5 == 0 && !first(row);
        if ignored { IGNORE_INDEX } else { (random() % vocab) as u32 }
    });
    let targets = targets.collect::<Vec<_>>();
    let stride = vocab + padding;
    // The last row ends at its vocabulary.
    let mut logits = vec![E::from_f32(f32::NAN); (rows - 1) * stride + vocab];
    for row in 0..rows {
        if targets[row] != IGNORE_INDEX && spans.iter().any(|s| (s.start..s.end).contains(&row)) {
            for x in &mut logits[row * stride..][..vocab] {
                *x = E::from_f32((random() % 4096) as f32 / 256.0 - 8.0);
            }
        }
    }
    let d_log_probs = (0..spans.len()).map(|i| i as f64 - 1.5).collect();
    let weights = (0..rows).map(|row| (row % 4) as f32).collect();
    let broken_coefficient = None;
    Case {
        logits,
        rows,
        vocab,
        stride,
        transform,
        targets,
        spans,
        d_log_probs,
        weights,
        broken_coefficient,
    }
}

/// Everything that the three functions leave behind, as bits or text, so that NaN equals itself.
#[derive(Debug, PartialEq)]
struct Found {
    log_probs: Vec<u32>,
    norms: Vec<String>,
    details: Vec<String>,
    apart: Vec<u32>,
    in_place: Vec<u32>,
    zeroed: Vec<u32>,
    summary: Option<TokenSummary>,
    outcomes: [String; 3],
}

fn bits<E: Element>(x: &[E]) -> Vec<u32> {
    x.iter().map(|x| x.to_f32().to_bits()).collect()
}

/// The stages on this thread alone or on those of the pool.
#[derive(Clone, Copy, PartialEq)]
enum On {
    One,
    Pool,
}

impl<E: Element> Case<E> {
    fn run(&self, dispatch: Dispatch, on: On) -> Found {
        self.run_with(dispatch, on, |_| ())
    }

    /// `spoil` may break the norms between forward and backward.
    fn run_with(&self, dispatch: Dispatch, on: On, spoil: impl FnOnce(&mut Vec<RowNorm>)) -> Found {
        match on {
            On::One => self.run_on(dispatch, spoil),
            On::Pool => self.run_on(Parallel::new(dispatch), spoil),
        }
    }

    fn run_on<X: Executor>(&self, on: X, spoil: impl FnOnce(&mut Vec<RowNorm>)) -> Found {
        let Self { rows, vocab, stride, transform, spans, .. } = self;
        let (rows, vocab, stride, transform) = (*rows, *vocab, *stride, *transform);
        let mut order = vec![0; spans.len()];
        let layout = Layout::in_any_order(&self.targets, spans, vocab, &mut order).unwrap();
        let view = Logits::with_stride(&self.logits, rows, vocab, stride).unwrap();
        let view = view.with_transform(transform);
        let mut log_probs = vec![SENTINEL; rows];
        let mut norms = vec![RowNorm::default(); rows];
        let mut details = vec![RowDetails::default(); rows];
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
        let forward = token_log_probs(on, view, &layout, out);
        // Without details another kernel runs.
        let mut alone = vec![SENTINEL; rows];
        let out = TokenOut::new(&mut alone);
        let again = token_log_probs(on, view, &layout, out);
        assert_eq!(forward, again);
        assert_eq!(bits(&alone), bits(&log_probs), "details change no log-prob");
        spoil(&mut norms);
        let mut coefficients = vec![f64::NAN; rows];
        let weights = Some(&self.weights[..]);
        token_coefficients(&layout, &self.d_log_probs, weights, None, &mut coefficients).unwrap();
        if let Some(row) = self.broken_coefficient {
            coefficients[row] = f64::INFINITY;
        }
        let batch = GradBatch::new(&layout, &norms, &coefficients);
        let mut apart = vec![SENTINEL; rows * stride];
        let to = LogitsMut::with_stride(&mut apart, rows, vocab, stride).unwrap();
        let first = logit_grads(on, view, &batch, to);
        let mut logits = self.logits.clone();
        let to = LogitsMut::with_stride(&mut logits, rows, vocab, stride).unwrap();
        let to = to.with_transform(transform);
        let second = logit_grads_in_place(on, to, &batch);
        let mut zeroed = self.logits.clone();
        let to = LogitsMut::with_stride(&mut zeroed, rows, vocab, stride).unwrap();
        let batch = batch.with_unscored(Unscored::Zero);
        assert_eq!(
            logit_grads_in_place(on, to.with_transform(transform), &batch).is_ok(),
            second.is_ok()
        );
        Found {
            log_probs: bits(&log_probs),
            norms: norms.iter().map(|norm| format!("{norm:?}")).collect(),
            details: details.iter().map(|details| format!("{details:?}")).collect(),
            apart: bits(&apart),
            in_place: bits(&logits),
            zeroed: bits(&zeroed),
            summary: forward.ok(),
            outcomes: [forward.map(|_| ()), first, second].map(|outcome| format!("{outcome:?}")),
        }
    }
}

/// Runs a body in pools of each size.
fn in_pools(body: impl Fn(usize) + Sync) {
    for threads in THREADS {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| body(threads));
    }
}

fn same_bits<E: Element>(name: &str) {
    // Many short rows, rows of about a part, few rows longer than one, one row.
    for (rows, vocab, padding) in [(3000, 61, 3), (257, 1027, 0), (9, 40_001, 7), (1, 70_000, 0)] {
        for transform in [Transform::NONE, Transform::new(0.5, Some(30.0), 0.9).unwrap()] {
            let case = case::<E>(rows, vocab, padding, transform);
            let dispatch = Dispatch::detect();
            let expected = case.run(dispatch, On::One);
            assert_eq!(expected.outcomes, ["Ok(())"; 3]);
            in_pools(|threads| {
                let found = case.run(dispatch, On::Pool);
                assert!(found == expected, "{name}, {rows} x {vocab}, {threads} threads");
            });
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    same_bits::<f32>("f32");
    same_bits::<bf16>("bf16");
    same_bits::<f16>("f16");
}

#[test]
fn on_every_level() {
    let case = case::<f32>(200, 700, 1, Transform::NONE);
    for dispatch in Dispatch::available() {
        let expected = case.run(dispatch, On::One);
        in_pools(|threads| {
            let found = case.run(dispatch, On::Pool);
            assert!(found == expected, "{dispatch:?}, {threads} threads");
        });
    }
}

#[test]
fn rows_that_are_not_scored_are_left_alone() {
    let case = case::<f32>(1200, 130, 5, Transform::NONE);
    let before = bits(&case.logits);
    in_pools(|_| {
        let found = case.run(Dispatch::detect(), On::Pool);
        let mut left = 0;
        for row in 0..case.rows {
            let inside = case.spans.iter().any(|span| (span.start..span.end).contains(&row));
            let range = row * case.stride..row * case.stride + case.vocab;
            if !inside || case.targets[row] == IGNORE_INDEX {
                left += 1;
                assert_eq!(found.log_probs[row], SENTINEL.to_bits(), "row {row}");
                assert_eq!(found.norms[row], format!("{:?}", RowNorm::default()), "row {row}");
                assert_eq!(found.in_place[range.clone()], before[range.clone()], "row {row}");
                assert!(found.zeroed[range.clone()].iter().all(|&x| x == 0), "row {row}");
                assert!(found.apart[range].iter().all(|&x| x == SENTINEL.to_bits()), "row {row}");
            }
            let padding = row * case.stride + case.vocab..(row + 1) * case.stride;
            assert!(found.apart[padding.clone()].iter().all(|&x| x == SENTINEL.to_bits()));
            assert!(
                found.in_place.get(padding.clone()).is_none_or(|x| *x == before[padding.clone()])
            );
            assert!(found.zeroed.get(padding).is_none_or(|x| x.iter().all(|&x| x == 0)));
        }
        assert!(left > 100 && left < case.rows / 2, "{left} rows are not scored");
    });
}

#[test]
fn errors_are_the_same() {
    let dispatch = Dispatch::detect();
    let whole = case::<f32>(900, 101, 2, Transform::NONE);
    let scored =
        |case: &Case<f32>, i: usize| case.spans.iter().map(|span| span.start).nth(i).unwrap();
    let broken = |change: &dyn Fn(&mut Case<f32>)| {
        let mut case = whole.clone();
        change(&mut case);
        case
    };
    let rows_of_nan = broken(&|case| {
        for i in [3, 50, 11, 90] {
            let row = scored(case, i);
            case.logits[row * case.stride + i] = f32::NAN;
        }
    });
    // Counted from the first row of all, not of a thread's.
    let mut starts: Vec<usize> = whole.spans.iter().map(|span| span.start).collect();
    starts.sort_unstable();
    let late = [starts[starts.len() - 3], starts[starts.len() - 1]];
    assert!(late[0] > 800, "in the last part of several: {late:?}");
    let late_rows = broken(&|case| {
        for row in late {
            case.logits[row * case.stride + 7] = f32::NAN;
        }
    });
    let cases = [
        ("rows of NaN", &rows_of_nan, 4),
        ("late rows of NaN", &late_rows, 2),
        ("a coefficient", &broken(&|case| case.broken_coefficient = Some(scored(case, 9))), 0),
    ];
    for (name, case, count) in cases {
        let expected = case.run(dispatch, On::One);
        assert!(expected.outcomes[1] != "Ok(())", "{name} is no fault");
        in_pools(|threads| {
            let found = case.run(dispatch, On::Pool);
            assert!(found == expected, "{name}, {threads} threads: {:?}", found.outcomes);
        });
        if count > 0 {
            let first = [3, 50, 11, 90].map(|i| scored(case, i)).into_iter().min().unwrap();
            let first = if count == 2 { late[0] } else { first };
            let named = Error::NonFiniteRows { first, count };
            assert_eq!(expected.outcomes[0], format!("Err({named:?})"));
        }
    }
    // A norm that no forward has made, of a row whose weight is not 0.
    let mut rows = whole.spans.iter().map(|span| span.start);
    let row = rows.find(|&row| whole.weights[row] > 0.0).unwrap();
    let spoil = |norms: &mut Vec<RowNorm>| norms[row] = RowNorm::default();
    let expected = whole.run_with(dispatch, On::One, spoil);
    assert!(expected.outcomes[1..].iter().all(|outcome| outcome != "Ok(())"));
    in_pools(|_| assert!(whole.run_with(dispatch, On::Pool, spoil) == expected));
}

#[test]
fn outside_of_any_pool() {
    let case = case::<bf16>(300, 513, 0, Transform::NONE);
    let dispatch = Dispatch::detect();
    assert!(case.run(dispatch, On::Pool) == case.run(dispatch, On::One));
}

/// The comparison sees one row that went elsewhere.
#[test]
fn planted_faults_are_caught() {
    let case = case::<f32>(500, 64, 0, Transform::NONE);
    let dispatch = Dispatch::detect();
    let expected = case.run(dispatch, On::One);
    let mut narrow = case.clone();
    let scored_last = |span: &Span| narrow.targets[span.end - 1] != IGNORE_INDEX;
    let long = |span: &Span| span.end - span.start > 1 && scored_last(span);
    let long = narrow.spans.iter().position(long).unwrap();
    narrow.spans[long].end -= 1;
    let mut other = case.clone();
    other.logits[case.spans[0].start * case.stride] += 1e-3;
    for wrong in [narrow, other] {
        assert!(wrong.run(dispatch, On::Pool) != expected, "a planted fault");
    }
}
