//! The library's portable arithmetic, bit for bit, on the device.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
mod common;
use common::*;
use dpo_kernel_wgpu::{Element, Kernels};

fn random<E: Element>(random: &mut Random, vocab: usize, rows: usize) -> Batch<E> {
    let stride = vocab + random.below(4);
    let mut logits = vec![E::from_f32(f32::NAN); rows * stride];
    let mut targets = Vec::new();
    for row in 0..rows {
        let deviation = [0.5, 1.0, 3.0, 8.0, 40.0][random.below(5)];
        let shift = [0.0, 0.0, 20.0, -1000.0, 1000.0, 1500.0][random.below(6)];
        for x in &mut logits[row * stride..][..vocab] {
            *x = E::from_f32((shift + random.normal(deviation)) as f32);
        }
        targets.push(random.below(vocab) as u32);
    }
    Batch {
        logits, rows, vocab, stride, targets, ignore_index: u32::MAX,
        coefficients: (0..rows).map(|_| random.normal(0.1)).collect(),
        scale: 1.0, softcap: None, temperature: 1.0,
    }
}

fn check<E: Element + std::fmt::Debug>() {
    let Some(gpu) = device() else { return };
    eprintln!("{}", gpu.name());
    let kernels = Kernels::<E>::new(&gpu).expect("kernels");
    let mut rng = Random(1);
    for vocab in [1, 2, 3, 15, 16, 17, 255, 256, 257, 1000, 32000] {
        let batch = random::<E>(&mut rng, vocab, 7);
        let start = std::time::Instant::now();
        let found = batch.on_device(&kernels).expect("device");
        let t = start.elapsed();
        let expected = batch.on_cpu();
        let d = [first_difference(&found.log_probs, &expected.log_probs), first_difference(&found.log_z, &expected.log_z), first_difference(&found.grads, &expected.grads)];
        eprintln!("{} V={vocab} {t:?} {d:?}", E::NAME);
        if d[0].is_some() { eprintln!("{:?}\n{:?}", found.log_probs, expected.log_probs); }
        if d[1].is_some() { eprintln!("{:?}\n{:?}", found.log_z, expected.log_z); }
        if let Some(i) = d[2] { eprintln!("{:?} {:?}", found.grads[i], expected.grads[i]); }
    }
}

#[test]
fn f32_() { check::<f32>(); }
#[test]
fn f16_() { check::<half::f16>(); }
#[test]
fn bf16_() { check::<half::bf16>(); }
