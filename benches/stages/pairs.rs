//! Stages 3 and 4: token log-probs to sequences, and pairs of sequences to losses.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use dpo_kernel::{
    Dpo, Layout, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Span,
    preference_loss, sequence_log_probs,
};

use crate::batch::random;

const PAIRS: usize = 4096;
const TOKENS: usize = 64;
const BETA: f64 = 0.1;

/// −log σ(β (a − b)), as a textbook has it.
fn plain_loss(a: f64, b: f64) -> f64 {
    (-BETA * (a - b)).exp().ln_1p()
}

pub fn bench(c: &mut Criterion) {
    let mut random = random(7);
    let rows = 2 * PAIRS * TOKENS;
    let log_probs = (0..rows).map(|_| -(random() as f32) / 4_194_304.0).collect::<Vec<_>>();
    let ids = vec![0; rows];
    let spans = (0..2 * PAIRS).map(|i| Span::new(i * TOKENS, (i + 1) * TOKENS)).collect::<Vec<_>>();
    let mut sequences = vec![SequenceLogProb::default(); 2 * PAIRS];

    let mut group = c.benchmark_group(format!("sequence_log_probs/{}x{TOKENS}", 2 * PAIRS));
    group.throughput(Throughput::Bytes(size_of_val(log_probs.as_slice()) as u64));
    let layout = Layout::new(&ids, &spans, 1).unwrap();
    let mut run = || {
        sequence_log_probs(&log_probs, &layout, None, &mut sequences).unwrap();
    };
    run();
    group.bench_function("dpo-kernel", |b| b.iter(&mut run));
    group.bench_function("plain loop", |b| {
        b.iter(|| {
            for tokens in log_probs.chunks_exact(TOKENS) {
                black_box(tokens.iter().map(|&x| f64::from(x)).sum::<f64>());
            }
        });
    });
    group.finish();
    for (sequence, tokens) in sequences.iter().zip(log_probs.chunks_exact(TOKENS)) {
        let exact = tokens.iter().map(|&x| f64::from(x)).sum::<f64>();
        assert!((sequence.sum - exact).abs() < 1e-9, "{} is not {exact}", sequence.sum);
    }

    let pairs = (0..PAIRS).map(|i| Pair::new(2 * i, 2 * i + 1)).collect::<Vec<_>>();
    let reference =
        sequences.iter().map(|s| s.sum + f64::from(random()) / 16_777_216.0).collect::<Vec<_>>();
    let mut losses = vec![PairLoss::default(); PAIRS];
    let mut d_log_probs = vec![0.0; 2 * PAIRS];
    let loss = Dpo::new(BETA).unwrap();
    let batch = PairBatch::new(&pairs, &sequences, Reference::Sums(&reference), PAIRS as f64);
    let mut run = || {
        let out = PairOut::new(&mut losses, &mut d_log_probs);
        preference_loss(&loss, &batch, out).unwrap()
    };
    let ratio = |i: usize| sequences[i].sum - reference[i];
    let exact = (0..PAIRS).map(|i| plain_loss(ratio(2 * i), ratio(2 * i + 1))).sum::<f64>();
    let mean = run().mean_loss();
    assert!((mean - exact / PAIRS as f64).abs() < 1e-12, "the mean loss is {mean}");
    let mut group = c.benchmark_group(format!("preference_loss/dpo/{PAIRS}"));
    group.throughput(Throughput::Elements(PAIRS as u64));
    group.bench_function("dpo-kernel", |b| b.iter(&mut run));
    group.bench_function("plain loop, loss alone", |b| {
        b.iter(|| (0..PAIRS).map(|i| plain_loss(ratio(2 * i), ratio(2 * i + 1))).sum::<f64>());
    });
    group.finish();
}
