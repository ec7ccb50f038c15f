//! Stages 1 and 2: logits to row statistics, and to token log-probs.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use dpo_kernel::row::RowDetails;
use dpo_kernel::row::RowStats;
use dpo_kernel::{Dispatch, Element, TokenOut, Transform, token_log_probs};

use crate::batch::Batch;
use crate::{machine, name, plain};

fn run<E: Element>(batch: &mut Batch<E>, dispatch: Dispatch) {
    let mut log_probs = std::mem::take(&mut batch.log_probs);
    let mut norms = std::mem::take(&mut batch.norms);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    token_log_probs(dispatch, batch.view(), &batch.layout(), out).unwrap();
    (batch.log_probs, batch.norms) = (log_probs, norms);
}

/// Stops unless every row is right.
pub fn check<E: Element>(batch: &mut Batch<E>, dispatch: Dispatch) {
    run(batch, dispatch);
    for (row, &found) in batch.log_probs.iter().enumerate() {
        let logits = batch.view().row(row);
        let target = f64::from(logits[batch.ids[row] as usize].to_f32());
        let exact = target - plain::exact_log_z(logits);
        assert!(
            (f64::from(found) - exact).abs() < 1e-5,
            "{dispatch:?}, row {row}: {found} {exact}"
        );
    }
}

fn log_z<E: Element>(row: &[E], dispatch: Dispatch) -> f64 {
    let mut stats = RowStats::<()>::new(Transform::NONE, None);
    stats.fold(dispatch, row, 0);
    stats.log_z()
}

fn fold<E: Element>(c: &mut Criterion, element: &str, batch: &Batch<E>) {
    let rows = || batch.logits().chunks_exact(batch.vocab);
    let mut group = c.benchmark_group(format!("row_stats/{element}/{}", batch.vocab));
    group.throughput(Throughput::Bytes(batch.bytes()));
    group.bench_function("limit", |b| b.iter(|| machine::read(machine::words(batch.logits()))));
    group.bench_function("plain loop", |b| b.iter(|| rows().map(plain::log_z).sum::<f32>()));
    for dispatch in Dispatch::available() {
        for row in rows() {
            let (found, exact) = (log_z(row, dispatch), plain::exact_log_z(row));
            assert!((found - exact).abs() < 1e-6, "{dispatch:?}: {found} {exact}");
        }
        group.bench_function(name(dispatch), |b| {
            b.iter(|| rows().map(|row| log_z(row, dispatch)).sum::<f64>());
        });
    }
    group.finish();
}

pub fn bench<E: Element>(c: &mut Criterion, element: &str, vocab: usize) {
    let mut batch = Batch::<E>::new(vocab);
    fold(c, element, &batch);
    let mut group = c.benchmark_group(format!("token_log_probs/{element}/{vocab}"));
    group.throughput(Throughput::Bytes(batch.bytes()));
    group.bench_function("limit", |b| b.iter(|| machine::read(machine::words(batch.logits()))));
    group.bench_function("plain loop", |b| {
        b.iter(|| {
            for (row, &id) in batch.ids.iter().enumerate() {
                black_box(plain::log_prob(batch.view().row(row), id));
            }
        });
    });
    for dispatch in Dispatch::available() {
        check(&mut batch, dispatch);
        group.bench_function(name(dispatch), |b| b.iter(|| run(&mut batch, dispatch)));
    }
    let mut details = vec![RowDetails::default(); batch.rows];
    for dispatch in Dispatch::available() {
        let mut log_probs = vec![0.0; batch.rows];
        group.bench_function(format!("{} with details", name(dispatch)), |b| {
            b.iter(|| {
                let out = TokenOut::new(&mut log_probs).with_details(&mut details);
                token_log_probs(dispatch, batch.view(), &batch.layout(), out)
            });
        });
    }
    group.finish();
}
