//! What must not change a bit: neighbours, strides, tiles, repetition, place; and what crosses the bus.

use std::fmt::Debug;

use crate::common::cases::random;
use crate::common::{Batch, DIRTY, Random, device, first_difference, open};
use dpo_kernel_wgpu::{DeviceOptions, Element, Kernels, Matrix};
use half::{bf16, f16};

/// The same rows, `stride` apart, behind `before` others.
fn moved<E: Element>(batch: &Batch<E>, stride: usize, before: usize, rng: &mut Random) -> Batch<E> {
    let mut other = random::<E>(rng, batch.vocab, before + batch.rows);
    other.stride = stride;
    other.ignore_index = batch.ignore_index;
    other.targets.fill(batch.ignore_index);
    other.targets[..before].fill(1);
    other.logits = (0..stride * other.rows).map(|i| E::from_f32((i % 7) as f32)).collect();
    for row in 0..batch.rows {
        let from = &batch.logits[row * batch.stride..][..batch.vocab];
        other.logits[(before + row) * stride..][..batch.vocab].copy_from_slice(from);
        other.targets[before + row] = batch.targets[row];
        other.coefficients[before + row] = batch.coefficients[row];
    }
    other
}

fn neighbours<E: Element + Debug>() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<E>::new(&gpu).expect("shaders");
    let mut rng = Random(21);
    for vocab in [3, 17, 513, 3001] {
        let batch = random::<E>(&mut rng, vocab, 5);
        let found = batch.on_device(&kernels).expect("figures");
        let again = batch.on_device(&kernels).expect("figures");
        assert_eq!(first_difference(&found.log_probs, &again.log_probs), None, "log p again");
        assert_eq!(first_difference(&found.grads, &again.grads), None, "gradients again");
        for (stride, before) in [(vocab, 0), (vocab + 1, 3), (vocab + 6, 64)] {
            let other =
                moved(&batch, stride, before, &mut rng).on_device(&kernels).expect("figures");
            let rest = &other.log_probs[before..];
            assert_eq!(first_difference(&found.log_probs, rest), None, "log p, {stride} apart");
            assert_eq!(first_difference(&found.log_z, &other.log_z[before..]), None, "log Z");
            for row in 0..batch.rows {
                let grads = &found.grads[row * batch.stride..][..vocab];
                let moved = &other.grads[(before + row) * stride..][..vocab];
                assert_eq!(first_difference(grads, moved), None, "gradients of row {row}");
            }
        }
    }
}

#[test]
fn neighbours_change_nothing_in_f32() {
    neighbours::<f32>();
}

#[test]
fn neighbours_change_nothing_in_f16() {
    neighbours::<f16>();
}

#[test]
fn neighbours_change_nothing_in_bf16() {
    neighbours::<bf16>();
}

/// In place: gradients where they are apart, logits everywhere else.
fn in_place<E: Element + Debug>() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<E>::new(&gpu).expect("shaders");
    let mut rng = Random(23);
    for vocab in [1, 2, 3, 16, 257, 1000] {
        let batch = random::<E>(&mut rng, vocab, 9);
        let apart = batch.on_device(&kernels).expect("figures").grads;
        let found = batch.in_place(&kernels).expect("gradients");
        let expected: Vec<E> = apart
            .iter()
            .zip(&batch.logits)
            .enumerate()
            .map(|(at, (&grad, &logit))| {
                let (row, column) = (at / batch.stride, at % batch.stride);
                let is_grad = batch.targets[row] != batch.ignore_index && column < vocab;
                assert!(
                    is_grad || grad.to_f32().to_bits() == DIRTY.to_bits(),
                    "dirty at {row}, {column}"
                );
                if is_grad { grad } else { logit }
            })
            .collect();
        assert_eq!(first_difference(&found, &expected), None, "{} V = {vocab}", E::NAME);
    }
}

#[test]
fn gradients_in_place_are_those_apart() {
    in_place::<f32>();
    in_place::<f16>();
    in_place::<bf16>();
}

/// The same by tiles and at once.
fn tiles<E: Element + Debug>(small: &Kernels<'_, E>, large: &Kernels<'_, E>) {
    let batch = random::<E>(&mut Random(27), 331, 300);
    let found = batch.on_device(small).expect("by tiles");
    let expected = batch.on_device(large).expect("at once");
    assert_eq!(first_difference(&found.log_probs, &expected.log_probs), None, "log p");
    assert_eq!(first_difference(&found.log_z, &expected.log_z), None, "log Z");
    assert_eq!(first_difference(&found.grads, &expected.grads), None, "gradients");
    let found = batch.in_place(small).expect("by tiles");
    let expected = batch.in_place(large).expect("at once");
    assert_eq!(first_difference(&found, &expected), None, "gradients in place");
}

#[test]
fn tiles_of_a_small_device_change_nothing() {
    // 64 KiB to bind and 100 workgroups: 300 rows of some 1.3 KiB are many dispatches.
    let options = DeviceOptions {
        max_binding: Some(1 << 16),
        max_workgroups: Some(100),
        ..DeviceOptions::default()
    };
    let Some(small) = open(&options) else { return };
    let Some(gpu) = device() else { return };
    assert_eq!((small.max_binding(), small.max_workgroups()), (1 << 16, 100), "the limits");
    tiles(
        &Kernels::<f32>::new(&small).expect("shaders"),
        &Kernels::<f32>::new(&gpu).expect("shaders"),
    );
    tiles(
        &Kernels::<bf16>::new(&small).expect("shaders"),
        &Kernels::<bf16>::new(&gpu).expect("shaders"),
    );
}

/// Gradients whose rows are closer or farther apart than the logits', by tiles and at once.
fn own_stride<E: Element + Debug>(small: &Kernels<'_, E>, large: &Kernels<'_, E>) {
    let mut rng = Random(33);
    for vocab in [1, 6, 331] {
        let batch = random::<E>(&mut rng, vocab, 120);
        let expected = batch.on_device(large).expect("figures").grads;
        for stride in [vocab, vocab + 1, vocab + 6, 3 * vocab + 1000] {
            for kernels in [small, large] {
                let found = batch.grads_apart(kernels, stride).expect("gradients");
                let what = format!("{} V = {vocab}, {stride} apart", E::NAME);
                for (row, (found, expected)) in
                    found.chunks(stride).zip(expected.chunks(batch.stride)).enumerate()
                {
                    let (found, padding) = found.split_at(vocab);
                    assert_eq!(first_difference(found, &expected[..vocab]), None, "{what}: {row}");
                    assert!(padding.iter().all(|x| x.to_f32() == DIRTY), "{what}: padding");
                }
            }
        }
    }
}

#[test]
fn gradients_may_have_a_stride_of_their_own() {
    // 16 KiB: a tile of gradients is fewer rows than one of logits.
    let options = DeviceOptions { max_binding: Some(1 << 14), ..DeviceOptions::default() };
    let Some(small) = open(&options) else { return };
    let Some(gpu) = device() else { return };
    own_stride(
        &Kernels::<f32>::new(&small).expect("shaders"),
        &Kernels::<f32>::new(&gpu).expect("shaders"),
    );
    own_stride(
        &Kernels::<f16>::new(&small).expect("shaders"),
        &Kernels::<f16>::new(&gpu).expect("shaders"),
    );
}

#[test]
fn a_step_moves_sixteen_bytes_a_row() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let batch = random::<f32>(&mut Random(29), 5000, 100);
    let mut logits =
        Matrix::new(&gpu, &batch.logits, batch.rows, batch.vocab, batch.stride).expect("logits");
    let before = gpu.traffic();
    let scored =
        kernels.token_log_probs(&logits, &batch.targets(), batch.transform()).expect("forward");
    let mut log_probs = vec![0.0; batch.rows];
    scored.log_probs(&gpu, &mut log_probs).expect("log-probs");
    kernels.logit_grads_in_place(&mut logits, &scored, &batch.coefficients).expect("backward");
    gpu.wait().expect("the end");
    let after = gpu.traffic();
    // Targets and coefficients; log-probs; and constants for four dispatches.
    assert_eq!(after.0 - before.0, 12 * 100 + 4 * 128, "bytes up");
    assert_eq!(after.1 - before.1, 4 * 100, "bytes down");
}
