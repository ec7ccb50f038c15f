//! A low-rank adapter on the head: against logits that are written out, and plain f64.

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    Adapted, Adapter, HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward,
    head_grads, head_token_log_probs, hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Arithmetic, Dispatch, Error, Executor, Logits, TokenOut, token_log_probs};

use crate::case::{Case, DIRT, Random};
use crate::forward::bits;
use crate::oracle::logit_grads;

/// A case, and an adapter on its head.
pub struct Low {
    pub case: Case<f32, f32>,
    rank: usize,
    scale: f32,
    a: Vec<f32>,
    pub b: Vec<f32>,
    /// What gradients of B and bias are added to, if they are.
    pub before: Option<f32>,
}

/// What came out of both ways.
#[derive(Debug, PartialEq)]
pub struct Found {
    projected: Vec<f32>,
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    /// R × H of the frozen way and of the trained one.
    pub hidden: [Vec<f32>; 2],
    /// r × H of both.
    pub a: [Vec<f32>; 2],
    pub b: Vec<f32>,
    pub bias: Vec<f32>,
}

impl Low {
    pub fn new(rows: usize, size: usize, vocab: usize, rank: usize) -> Self {
        let mut random = Random(11);
        let case = Case::new(rows, size, vocab, 5).with_bias(8);
        let a = (0..rank * size).map(|_| 0.3 * random.unit()).collect();
        let b = (0..vocab * rank).map(|_| 0.3 * random.unit()).collect();
        Self { case, rank, scale: 1.5, a, b, before: None }
    }

    pub fn adapter(&self) -> Adapter<'_> {
        let Self { case, rank, scale, a, b, .. } = self;
        Adapter::new(a, b, *rank, case.size, case.vocab, *scale).unwrap()
    }

    /// In the product's order: chains of 256, the adapter's after the bias.
    fn written_out(&self, arithmetic: Arithmetic) -> (Vec<f32>, Vec<f32>) {
        let Self { case, rank, .. } = self;
        let mul_add = |a: f32, b: f32, c: f32| match arithmetic {
            Arithmetic::Fused => a.mul_add(b, c),
            Arithmetic::Portable => c + a * b,
        };
        let mut logits = case.written_out(arithmetic);
        let mut projected = vec![DIRT; case.rows * rank];
        for row in (0..case.rows).filter(|&row| case.is_scored(row)) {
            let u = &mut projected[row * rank..][..*rank];
            for (k, u) in u.iter_mut().enumerate() {
                let mut sum = 0.0_f32;
                for h in 0..case.size {
                    sum =
                        mul_add(case.states[row * case.stride + h], self.a[k * case.size + h], sum);
                }
                *u = self.scale * sum;
            }
            for column in 0..case.vocab {
                for (u, b) in u.chunks(256).zip(self.b[column * rank..].chunks(256)) {
                    let chain = u.iter().zip(b).fold(0.0, |sum, (u, b)| mul_add(*u, *b, sum));
                    logits[row * case.vocab + column] += chain;
                }
            }
        }
        (logits, projected)
    }

    pub fn run<X: Executor>(&self, executor: X, at_once: usize) -> Found {
        let Self { case, rank, .. } = self;
        let (rows, size, vocab, rank) = (case.rows, case.size, case.vocab, *rank);
        let (adapter, layout, states) = (self.adapter(), case.layout(), case.hidden());
        let mut room = vec![HeadRow::NEW; at_once];
        let mut projected = vec![DIRT; rows * rank];
        let view = HiddenMut::new(&mut projected, rows, rank).unwrap();
        let mut numbers = vec![f32::NAN; adapter.numbers(at_once)];
        let scratch = HeadScratch::new(&mut room, &mut numbers);
        adapter.project(executor, states, &layout, view, scratch).unwrap();
        let u = Hidden::new(&projected, rows, rank).unwrap();
        let head = Adapted::new::<f32>(case.head(), &adapter, u).unwrap();

        let wide = size + rank;
        let (mut log_probs, mut norms) = (vec![DIRT; rows], vec![RowNorm::default(); rows]);
        let mut frozen = vec![DIRT; rows * wide];
        let mut numbers =
            vec![f32::NAN; HeadScratch::numbers_over::<_, f32, _>(executor, &head, at_once)];
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let sums = HiddenMut::new(&mut frozen, rows, wide).unwrap();
        let scratch = HeadScratch::new(&mut room, &mut numbers);
        head_forward(executor, states, &head, &layout, out, sums, scratch).unwrap();
        let batch = GradBatch::new(&layout, &norms, &case.coefficients);
        let sums = HiddenMut::new(&mut frozen, rows, wide).unwrap();
        let scratch = HeadScratch::new(&mut room, &mut numbers);
        hidden_grads_in_place(executor, states, &head, &batch, sums, scratch).unwrap();

        let before = self.before.unwrap_or(DIRT);
        let (mut trained, mut b, mut bias) =
            (vec![DIRT; rows * wide], vec![before; vocab * rank], vec![before; vocab]);
        let hidden = HiddenMut::new(&mut trained, rows, wide).unwrap();
        let grads = HeadGrads::of_adapter(u, &mut b).unwrap().with_bias(&mut bias);
        let grads = if self.before.is_some() { grads.added() } else { grads };
        let due = HeadScratch::numbers_trained::<_, f32, _, f32>(executor, &head, at_once, &grads);
        let mut numbers = vec![f32::NAN; due];
        let scratch = HeadScratch::new(&mut room, &mut numbers);
        head_grads(executor, states, &head, &batch, hidden, grads, scratch).unwrap();

        let mut numbers = vec![f32::NAN; adapter.numbers(at_once)];
        let mut end = |grads: &mut Vec<f32>| {
            let mut a = vec![DIRT; rank * size];
            let view = HiddenMut::new(grads, rows, wide).unwrap();
            let scratch = HeadScratch::new(&mut room, &mut numbers);
            adapter.grads_in_place(executor, states, &layout, view, Some(&mut a), scratch).unwrap();
            let narrow = grads.chunks(wide).flat_map(|row| row[..size].to_vec()).collect();
            (narrow, a)
        };
        let (frozen, trained) = (end(&mut frozen), end(&mut trained));
        Found {
            projected,
            log_probs,
            norms,
            hidden: [frozen.0, trained.0],
            a: [frozen.1, trained.1],
            b,
            bias,
        }
    }

    /// Gradients of hidden states, A and B in f64, with the sizes of their terms.
    fn due(&self, logits: &[f32], projected: &[f32]) -> [(Vec<f64>, Vec<f64>); 3] {
        let Self { case, rank, scale, .. } = self;
        let (size, vocab, rank) = (case.size, case.vocab, *rank);
        let zeros = |len: usize| (vec![0.0; len], vec![0.0; len]);
        let [mut hidden, mut a, mut b] = [case.rows * size, rank * size, vocab * rank].map(zeros);
        let add = |to: &mut (Vec<f64>, Vec<f64>), at: usize, term: f64, size: f64| {
            to.0[at] += term;
            to.1[at] += size;
        };
        let scale = f64::from(*scale);
        for row in (0..case.rows).filter(|&row| case.is_scored(row)) {
            let d = logit_grads(case, row, &logits[row * vocab..][..vocab]);
            let (mut d_u, mut sizes) = (vec![0.0; rank], vec![0.0; rank]);
            for (column, d) in d.iter().enumerate() {
                for k in 0..rank {
                    let term = d * f64::from(self.b[column * rank + k]);
                    d_u[k] += term;
                    sizes[k] += term.abs();
                    let u = f64::from(projected[row * rank + k]);
                    add(&mut b, column * rank + k, d * u, (d * u).abs());
                }
                for h in 0..size {
                    let term = d * f64::from(case.weights[column * case.stride + h]);
                    add(&mut hidden, row * size + h, term, term.abs());
                }
            }
            for k in 0..rank {
                for h in 0..size {
                    let w = scale * f64::from(self.a[k * size + h]);
                    add(&mut hidden, row * size + h, d_u[k] * w, (sizes[k] * w).abs());
                    let x = scale * f64::from(case.states[row * case.stride + h]);
                    add(&mut a, k * size + h, d_u[k] * x, (sizes[k] * x).abs());
                }
            }
        }
        [hidden, a, b]
    }
}

fn worst(found: &[f32], due: &(Vec<f64>, Vec<f64>), counts: impl Fn(usize) -> bool) -> f64 {
    let mut worst: f64 = 0.0;
    for (i, found) in found.iter().enumerate().filter(|(i, _)| counts(*i)) {
        let error = (f64::from(*found) - due.0[i]).abs() * f64::from(1 << 24);
        worst = worst.max(if error == 0.0 { 0.0 } else { error / due.1[i] });
    }
    worst
}

#[test]
fn log_probs_are_those_of_written_out_logits() {
    for low in [Low::new(9, 20, 700, 3), Low::new(5, 7, 40, 16), Low::new(3, 30, 513, 600)] {
        let case = &low.case;
        for dispatch in Dispatch::available() {
            let (logits, projected) = low.written_out(dispatch.arithmetic());
            let found = low.run(dispatch, 9);
            assert_eq!(bits(&found.projected), bits(&projected), "{dispatch:?}");
            let mut log_probs = vec![DIRT; case.rows];
            let mut norms = vec![RowNorm::default(); case.rows];
            let view = Logits::new(&logits, case.rows, case.vocab).unwrap();
            let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
            token_log_probs(dispatch, view, &case.layout(), out).unwrap();
            assert_eq!(bits(&found.log_probs), bits(&log_probs), "{dispatch:?}");
            assert_eq!(found.norms, norms, "{dispatch:?}");
        }
    }
}

#[test]
fn gradients_are_those_of_plain_f64() {
    let mut capped = Low::new(6, 9, 600, 2);
    capped.case = capped.case.with_transform(1.5, Some(4.0), 0.8);
    // Of rank 600, [W | B] and A are two tiles.
    for low in [
        capped,
        Low::new(9, 20, 700, 3),
        Low::new(5, 7, 40, 16),
        Low::new(1, 1, 2, 1),
        Low::new(4, 9, 530, 600),
        Low::new(300, 5, 40, 2),
    ] {
        let case = &low.case;
        for dispatch in Dispatch::available() {
            let (logits, projected) = low.written_out(dispatch.arithmetic());
            let found = low.run(dispatch, case.rows.min(128));
            let [hidden, a, b] = low.due(&logits, &projected);
            let scored = |i: usize| case.is_scored(i / case.size);
            let of = [
                worst(&found.hidden[0], &hidden, scored),
                worst(&found.hidden[1], &hidden, scored),
                worst(&found.a[0], &a, |_| true),
                worst(&found.a[1], &a, |_| true),
                worst(&found.b, &b, |_| true),
            ];
            assert!(of.iter().all(|of| *of < 20.0), "{dispatch:?}: {of:?}");
            for row in (0..case.rows).filter(|&row| !case.is_scored(row)) {
                for hidden in &found.hidden {
                    assert!(hidden[row * case.size..][..case.size].iter().all(|&x| x == DIRT));
                }
            }
        }
    }
}

/// B = 0, as every adapter begins: the head's own log-probs, and a gradient of B.
#[test]
fn an_adapter_of_zeros_changes_nothing() {
    let mut low = Low::new(9, 20, 700, 3);
    low.b.fill(0.0);
    let dispatch = Dispatch::detect();
    let (head, layout) = (low.case.head(), low.case.layout());
    let mut log_probs = vec![DIRT; 9];
    let mut rows = [HeadRow::NEW; 9];
    let mut numbers = vec![f32::NAN; HeadScratch::numbers::<f32, _>(&head, 9)];
    let (out, scratch) = (TokenOut::new(&mut log_probs), HeadScratch::new(&mut rows, &mut numbers));
    head_token_log_probs(dispatch, low.case.hidden(), &head, &layout, out, scratch).unwrap();
    let found = low.run(dispatch, 9);
    assert_eq!(bits(&found.log_probs), bits(&log_probs));
    assert!(found.a.iter().flatten().all(|&d| d == 0.0));
    assert!(found.b.iter().any(|&d| d != 0.0));
}

#[test]
fn shapes_are_checked() {
    let (a, b) = ([0.5_f32; 6], [0.5_f32; 8]);
    let of = |rank, size, vocab| Adapter::new(&a, &b, rank, size, vocab, 1.0).map(|_| ());
    let length = |expected, found| Err(Error::Length { buffer: Buffer::Adapter, expected, found });
    assert_eq!(of(2, 3, 4), Ok(()));
    assert_eq!(of(0, 3, 4), Err(Error::EmptyHidden));
    assert_eq!(of(2, 3, 0), Err(Error::EmptyVocabulary));
    assert_eq!(of(2, 0, 4), Err(Error::EmptyHidden));
    assert_eq!(of(2, 4, 4), length(8, 6));
    assert_eq!(of(2, 3, 5), length(10, 8));
    for scale in [f32::NAN, f32::INFINITY] {
        let found = Adapter::new(&a, &b, 2, 3, 4, scale).map(|_| ());
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, Err(format!("adapter scale is {scale} but must be finite")));
    }
    let adapter = Adapter::new(&a, &b, 2, 3, 4, 1.0).unwrap();
    assert_eq!(adapter.rank(), 2);
    let weights = [0.5_f32; 20];
    let projected = [0.5_f32; 6];
    let on = |vocab, size, rank| {
        let head = Linear::new(&weights[..vocab * size], vocab, size).unwrap();
        let u = Hidden::new(&projected[..3 * rank], 3, rank).unwrap();
        Adapted::new::<f32>(head, &adapter, u).map(|_| ())
    };
    let mismatch = |expected, found| Err(Error::HiddenMismatch { expected, found });
    assert_eq!(on(4, 3, 2), Ok(()));
    assert_eq!(on(5, 3, 2), mismatch((5, 3), (4, 3)));
    assert_eq!(on(4, 2, 2), mismatch((4, 2), (4, 3)));
    assert_eq!(on(4, 3, 1), mismatch((3, 2), (3, 1)));
}

/// Projected states of another batch are refused, not taken for none.
#[test]
fn projected_states_belong_to_their_rows() {
    let low = Low::new(9, 20, 70, 3);
    let (adapter, layout) = (low.adapter(), low.case.layout());
    let projected = vec![0.5; 8 * 3];
    let u = Hidden::new(&projected, 8, 3).unwrap();
    let head = Adapted::new::<f32>(low.case.head(), &adapter, u).unwrap();
    let mut log_probs = vec![DIRT; 9];
    let mut rows = [HeadRow::NEW; 9];
    let mut numbers = vec![f32::NAN; HeadScratch::numbers::<f32, _>(&head, 9)];
    let (out, scratch) = (TokenOut::new(&mut log_probs), HeadScratch::new(&mut rows, &mut numbers));
    let states = low.case.hidden();
    let found = head_token_log_probs(Dispatch::detect(), states, &head, &layout, out, scratch);
    let due = Error::HiddenMismatch { expected: (8, 20), found: (9, 20) };
    assert_eq!(found.map(|_| ()), Err(due));
    assert!(log_probs.iter().all(|&x| x == DIRT));
}

/// Coefficient 0: nothing to A and B, whatever the row holds.
#[test]
fn rows_without_a_coefficient_reach_nothing() {
    let mut low = Low::new(9, 20, 70, 3);
    low.case.coefficients[3] = 0.0;
    let mut without = Low::new(9, 20, 70, 3);
    without.case.coefficients[3] = 0.0;
    // Not at once: the forward refuses what the backward must bear.
    let dispatch = Dispatch::detect();
    let due = low.run(dispatch, 9);
    let mut grads = vec![0.25_f32; 9 * 23];
    grads[3 * 23..][20..23].fill(0.0);
    let layout = low.case.layout();
    let run = |low: &Low| {
        let (mut grads, mut a) = (grads.clone(), vec![DIRT; 3 * 20]);
        let mut rows = [HeadRow::NEW; 9];
        let mut numbers = vec![f32::NAN; low.adapter().numbers(9)];
        let view = HiddenMut::new(&mut grads, 9, 23).unwrap();
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        let (states, into) = (low.case.hidden(), Some(&mut a[..]));
        low.adapter().grads_in_place(dispatch, states, &layout, view, into, scratch).unwrap();
        bits(&a)
    };
    let stride = without.case.stride;
    without.case.states[3 * stride..][..20].fill(f32::NAN);
    assert_eq!(run(&without), run(&low));
    assert!(due.a.iter().flatten().all(|d| d.is_finite()), "the control");
}

/// A gradient of B is of a head that has an adapter, of this rank.
#[test]
fn heads_without_an_adapter_have_no_gradient_of_it() {
    let case = Case::<f32, f32>::new(9, 20, 70, 3);
    let (head, layout, dispatch) = (case.head(), case.layout(), Dispatch::detect());
    let norms = crate::trained::norms_of(&case, dispatch);
    let (u, mut b, mut hidden) = (vec![0.5; 9 * 3], vec![DIRT; 70 * 3], vec![DIRT; 9 * 20]);
    let grads = HeadGrads::of_adapter(Hidden::new(&u, 9, 3).unwrap(), &mut b).unwrap();
    let due = HeadScratch::numbers_trained::<_, f32, _, f32>(dispatch, &head, 9, &grads);
    let (mut rows, mut numbers) = ([HeadRow::NEW; 9], vec![f32::NAN; due]);
    let batch = GradBatch::new(&layout, &norms, &case.coefficients);
    let view = HiddenMut::new(&mut hidden, 9, 20).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let found = head_grads(dispatch, case.hidden(), &head, &batch, view, grads, scratch);
    assert_eq!(found, Err(Error::HiddenMismatch { expected: (9, 0), found: (9, 3) }));
    assert!(hidden.iter().chain(&b).all(|&x| x == DIRT));
}
