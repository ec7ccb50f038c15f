//! Stage 5: ∂L/∂log p back to the logits, apart and in place.

use criterion::{BatchSize, Criterion, Throughput};
use dpo_kernel::gradient::{GradBatch, logit_grads, logit_grads_in_place};
use dpo_kernel::{Dispatch, Element, LogitsMut};

use crate::batch::Batch;
use crate::{machine, name, plain, token};

/// ∂L/∂log p: large enough that f16 keeps most gradients.
const C: f32 = 64.0;
/// Rounding to any element type, and half of f16's least number.
const TOLERANCE: (f64, f64) = (1.0 / 200.0, 3.1e-8);

fn check<E: Element>(batch: &Batch<E>, found: &[E], dispatch: Dispatch) {
    for row in [0, batch.rows - 1] {
        let logits = batch.view().row(row);
        let log_z = plain::exact_log_z(logits);
        let found = &found[row * batch.vocab..(row + 1) * batch.vocab];
        for (column, (found, x)) in found.iter().zip(logits).enumerate() {
            let one = f64::from(u8::from(column == batch.ids[row] as usize));
            let exact = f64::from(C) * (one - (f64::from(x.to_f32()) - log_z).exp());
            let off = (f64::from(found.to_f32()) - exact).abs();
            let right = off <= TOLERANCE.0 * exact.abs() + TOLERANCE.1;
            assert!(right, "{dispatch:?}, row {row}, column {column}: off by {off}, is {exact}");
        }
    }
}

pub fn bench<E: Element>(c: &mut Criterion, element: &str, vocab: usize) {
    let mut batch = Batch::<E>::new(vocab);
    // The norms of the forward.
    token::check(&mut batch, Dispatch::detect());
    apart(c, element, &batch);
    in_place(c, element, &mut batch);
}

fn plain_loop<E: Element>(logits: &mut [E], batch: &Batch<E>) {
    for (row, &id) in logits.chunks_exact_mut(batch.vocab).zip(&batch.ids) {
        plain::grads(row, id, C);
    }
}

fn apart<E: Element>(c: &mut Criterion, element: &str, batch: &Batch<E>) {
    let (rows, vocab) = (batch.rows, batch.vocab);
    let (layout, coefficients) = (batch.layout(), vec![f64::from(C); rows]);
    let grads = GradBatch::new(&layout, &batch.norms, &coefficients);
    let mut out = vec![E::ZERO; rows * vocab];
    let mut group = c.benchmark_group(format!("logit_grads/{element}/{vocab}"));
    group.throughput(Throughput::Bytes(2 * batch.bytes()));
    group.bench_function("limit", |b| b.iter(|| out.copy_from_slice(batch.logits())));
    group.bench_function("plain loop", |b| {
        b.iter(|| {
            out.copy_from_slice(batch.logits());
            plain_loop(&mut out, batch);
        });
    });
    for dispatch in Dispatch::available() {
        let run = |out: &mut Vec<E>| {
            let out = LogitsMut::new(out, rows, vocab).unwrap();
            logit_grads(dispatch, batch.view(), &grads, out).unwrap();
        };
        run(&mut out);
        check(batch, &out, dispatch);
        group.bench_function(name(dispatch), |b| b.iter(|| run(&mut out)));
    }
    group.finish();
}

fn in_place<E: Element>(c: &mut Criterion, element: &str, batch: &mut Batch<E>) {
    let vocab = batch.vocab;
    let mut group = c.benchmark_group(format!("logit_grads_in_place/{element}/{vocab}"));
    group.throughput(Throughput::Bytes(2 * batch.bytes()));
    group.bench_function("limit", |b| {
        b.iter(|| machine::update(machine::words_mut(batch.logits_mut()), 0));
    });
    group.bench_function("plain loop", |b| {
        let fresh = || batch.logits().to_vec();
        b.iter_batched_ref(fresh, |x| plain_loop(x, batch), BatchSize::LargeInput);
    });
    let (layout, coefficients) = (batch.layout(), vec![f64::from(C); batch.rows]);
    let grads = GradBatch::new(&layout, &batch.norms, &coefficients);
    for dispatch in Dispatch::available() {
        let run = |x: &mut Vec<E>| {
            let logits = LogitsMut::new(x, batch.rows, vocab).unwrap();
            logit_grads_in_place(dispatch, logits, &grads).unwrap();
        };
        let mut once = batch.logits().to_vec();
        run(&mut once);
        check(batch, &once, dispatch);
        let fresh = || batch.logits().to_vec();
        group.bench_function(name(dispatch), |b| {
            b.iter_batched_ref(fresh, run, BatchSize::LargeInput);
        });
    }
    group.finish();
}
