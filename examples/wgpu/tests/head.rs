//! The head without logits: the bits of the library's, and what its memory may hold.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
mod common;
use common::*;
use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Layout, Span, TokenOut};
use dpo_kernel_wgpu::{Element, HeadOperands, Kernels, Matrix, Targets, Transform};

struct Case<E> {
    hidden: Vec<E>,
    weight: Vec<E>,
    bias: Option<Vec<f32>>,
    rows: usize,
    size: usize,
    vocab: usize,
    targets: Vec<u32>,
    coefficients: Vec<f64>,
    transform: Transform,
}

impl<E: Element> Case<E> {
    fn random(
        rng: &mut Random,
        rows: usize,
        size: usize,
        vocab: usize,
        transform: Transform,
    ) -> Self {
        let deviation = [1.0, 4.0, 20.0][rng.below(3)] / (size as f64).sqrt();
        Self {
            hidden: (0..rows * size).map(|_| E::from_f32(rng.normal(1.0) as f32)).collect(),
            weight: (0..vocab * size).map(|_| E::from_f32(rng.normal(deviation) as f32)).collect(),
            bias: (rng.below(2) == 0).then(|| (0..vocab).map(|_| rng.normal(1.0) as f32).collect()),
            rows,
            size,
            vocab,
            targets: (0..rows).map(|_| rng.below(vocab) as u32).collect(),
            coefficients: (0..rows).map(|_| rng.normal(0.1)).collect(),
            transform,
        }
    }
    fn on_device(&self, kernels: &Kernels<'_, E>) -> (Vec<f32>, Vec<f32>) {
        let gpu = kernels.gpu();
        let hidden =
            Matrix::new(gpu, &self.hidden, self.rows, self.size, self.size).expect("hidden");
        let weight =
            Matrix::new(gpu, &self.weight, self.vocab, self.size, self.size).expect("weight");
        let bias = self
            .bias
            .as_ref()
            .map(|bias| Matrix::new(gpu, bias, 1, self.vocab, self.vocab).expect("bias"));
        let head = HeadOperands { hidden: &hidden, weight: &weight, bias: bias.as_ref() };
        let scored = kernels
            .head_log_probs(&head, &Targets::new(&self.targets), self.transform)
            .expect("forward");
        let mut log_probs = vec![DIRTY; self.rows];
        scored.log_probs(gpu, &mut log_probs).expect("log-probs");
        let grads = kernels.hidden_grads(&head, &scored, &self.coefficients).expect("backward");
        let mut found = vec![0.0; self.rows * self.size];
        grads.read(gpu, &mut found).expect("gradients");
        (log_probs, found)
    }
    fn on_cpu(&self) -> (Vec<f32>, Vec<f32>) {
        let spans = [Span::new(0, self.rows)];
        let layout = Layout::new(&self.targets, &spans, self.vocab).expect("layout");
        let mut head = Linear::new(&self.weight, self.vocab, self.size)
            .expect("head")
            .with_transform(self.transform.of_library());
        if let Some(bias) = &self.bias {
            head = head.with_bias(bias).expect("bias");
        }
        let mut rows = vec![HeadRow::NEW; self.rows];
        let mut numbers = vec![0.0; HeadScratch::numbers::<E, _>(&head, self.rows)];
        let mut log_probs = vec![DIRTY; self.rows];
        let mut norms = vec![RowNorm::default(); self.rows];
        let mut sums = vec![0.0; self.rows * self.size];
        let states = Hidden::new(&self.hidden, self.rows, self.size).expect("states");
        head_forward(
            portable(),
            states,
            &head,
            &layout,
            TokenOut::new(&mut log_probs).with_norms(&mut norms),
            HiddenMut::new(&mut sums, self.rows, self.size).expect("sums"),
            HeadScratch::new(&mut rows, &mut numbers),
        )
        .expect("forward");
        hidden_grads_in_place(
            portable(),
            states,
            &head,
            &GradBatch::new(&layout, &norms, &self.coefficients),
            HiddenMut::new(&mut sums, self.rows, self.size).expect("sums"),
            HeadScratch::new(&mut rows, &mut numbers),
        )
        .expect("backward");
        (log_probs, sums)
    }
}

fn check<E: Element + std::fmt::Debug>() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<E>::new(&gpu).expect("kernels");
    let mut rng = Random(1);
    for (rows, size, vocab) in [
        (1, 1, 1),
        (1, 3, 2),
        (4, 16, 15),
        (5, 17, 257),
        (9, 64, 1000),
        (7, 257, 513),
        (3, 513, 2049),
        (13, 300, 5000),
    ] {
        for transform in [Transform::NONE, Transform::new(0.5, Some(8.0), 0.7).expect("t")] {
            let case = Case::<E>::random(&mut rng, rows, size, vocab, transform);
            let start = std::time::Instant::now();
            let found = case.on_device(&kernels);
            let t = start.elapsed();
            let expected = case.on_cpu();
            let d =
                [first_difference(&found.0, &expected.0), first_difference(&found.1, &expected.1)];
            eprintln!("{} R={rows} H={size} V={vocab} {t:?} {d:?}", E::NAME);
            if let Some(i) = d[0] {
                eprintln!("{i}: {:?} {:?}", found.0[i], expected.0[i]);
            }
            if let Some(i) = d[1] {
                eprintln!("{i}: {:?} {:?}", found.1[i], expected.1[i]);
            }
        }
    }
}
#[test]
fn f32_() {
    check::<f32>();
}
#[test]
fn bf16_() {
    check::<half::bf16>();
}
