//! Token log-probs and logit gradients on every level, beside a plain loop over the same logits.
//!
//! Group id `stage/type/V`; throughput in bytes of logits read (and written). Results are checked
//! before they are timed.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(clippy::unwrap_used, reason = "a bench may stop")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dpo_kernel::{
    Dispatch, Element, GradBatch, Logits, LogitsMut, RowNorm, Span, Targets, TokenOut, bf16, f16,
    logit_grads_in_place, token_log_probs,
};

const VOCABS: [usize; 3] = [256, 32_000, 131_072];
const ROWS: usize = 32;

/// Reproducible logits in ±10.
fn logits<E: Element>(len: usize) -> Vec<E> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        #[allow(clippy::cast_precision_loss, reason = "24 bits")]
        let unit = (state >> 40) as f32 / 16_777_216.0;
        E::from_f32(unit * 20.0 - 10.0)
    };
    core::iter::repeat_with(next).take(len).collect()
}

/// What most code does: a maximum, a sum of `exp`, a logarithm.
fn plain<E: Element>(row: &[E], target: usize) -> f32 {
    let top = row.iter().map(|x| x.to_f32()).fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = row.iter().map(|x| (x.to_f32() - top).exp()).sum();
    row.get(target).map_or(f32::NAN, |x| x.to_f32() - top - sum.ln())
}

fn stages<E: Element>(c: &mut Criterion, name: &str) {
    for vocab in VOCABS {
        let data: Vec<E> = logits(ROWS * vocab);
        let targets: Vec<u32> =
            (0..ROWS).map(|i| u32::try_from(i * 7919 % vocab).unwrap()).collect();
        let (spans, targets) = ([Span::new(0, ROWS)], Targets::new(&targets));
        let view = Logits::new(&data, ROWS, vocab).unwrap();
        let (mut log_probs, mut norms) = ([0.0; ROWS], [RowNorm::default(); ROWS]);
        let bytes = u64::try_from(size_of_val(data.as_slice())).unwrap();

        let mut group = c.benchmark_group(format!("token_log_probs/{name}/{vocab}"));
        group.throughput(Throughput::Bytes(bytes));
        for dispatch in Dispatch::available() {
            let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
            token_log_probs(dispatch, view, targets, &spans, out).unwrap();
            for (row, &found) in log_probs.iter().enumerate() {
                let target = usize::try_from(targets.scored(row).unwrap()).unwrap();
                assert!((found - plain(view.row(row), target)).abs() < 1e-2, "row {row}");
            }
            let id = BenchmarkId::from_parameter(format!(
                "{:?} {:?}",
                dispatch.level(),
                dispatch.arithmetic()
            ));
            group.bench_function(id, |b| {
                b.iter(|| {
                    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
                    token_log_probs(dispatch, view, targets, &spans, out)
                });
            });
        }
        group.bench_function("plain loop", |b| {
            b.iter(|| (0..ROWS).map(|row| plain(view.row(row), 0)).sum::<f32>());
        });
        group.finish();

        let mut group = c.benchmark_group(format!("logit_grads_in_place/{name}/{vocab}"));
        group.throughput(Throughput::Bytes(2 * bytes));
        for dispatch in Dispatch::available() {
            let id = BenchmarkId::from_parameter(format!(
                "{:?} {:?}",
                dispatch.level(),
                dispatch.arithmetic()
            ));
            group.bench_function(id, |b| {
                let batch = GradBatch::new(targets, &spans, &norms, &[0.05]);
                let fresh = || data.clone();
                b.iter_batched_ref(
                    fresh,
                    |x| {
                        logit_grads_in_place(
                            dispatch,
                            LogitsMut::new(x, ROWS, vocab).unwrap(),
                            &batch,
                        )
                    },
                    BatchSize::LargeInput,
                );
            });
        }
        group.finish();
    }
}

fn all(c: &mut Criterion) {
    stages::<f32>(c, "f32");
    stages::<bf16>(c, "bf16");
    stages::<f16>(c, "f16");
}

criterion_group!(benches, all);
criterion_main!(benches);
