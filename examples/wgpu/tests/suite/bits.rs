//! The library's portable arithmetic, bit for bit, on the device: log-probs, log Z and gradients.
//!
//! WGSL does not promise it: it promises that f32 additions and products are rounded to nearest, and
//! the shaders keep a compiler from doing anything else with them. Where this fails on an adapter,
//! `functions` says what of it is not so there; the bounds of `oracle` may still hold.

use std::fmt::Debug;

use crate::common::cases::{SIZES, TRANSFORMS, VOCABULARIES, framed, random, special};
use crate::common::{Batch, Random, device, first_difference};
use dpo_kernel_wgpu::{Element, Kernels};
use half::{bf16, f16};

fn check<E: Element + Debug>(kernels: &Kernels<'_, E>, batch: &Batch<E>, what: &str) {
    let found = batch.on_device(kernels).expect("the device's figures");
    let expected = batch.on_cpu();
    let what = format!("{} {what}, V = {}", E::NAME, batch.vocab);
    for (name, found, expected) in
        [("log p", &found.log_probs, &expected.log_probs), ("log Z", &found.log_z, &expected.log_z)]
    {
        if let Some(row) = first_difference(found, expected) {
            panic!("{what}: {name} of row {row} is {:e}, not {:e}", found[row], expected[row]);
        }
    }
    if let Some(at) = first_difference(&found.grads, &expected.grads) {
        let (row, column) = (at / batch.stride, at % batch.stride);
        let (found, expected) = (found.grads[at], expected.grads[at]);
        panic!("{what}: the gradient at {row}, {column} is {found:?}, not {expected:?}");
    }
}

fn random_rows<E: Element + Debug>() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<E>::new(&gpu).expect("shaders");
    let mut rng = Random(1);
    for (index, vocab) in SIZES.into_iter().chain(VOCABULARIES).enumerate() {
        let rows = if vocab < 2000 { 24 } else { 5 };
        let mut batch = random::<E>(&mut rng, vocab, rows);
        check(&kernels, &batch, "random rows");
        (batch.scale, batch.softcap, batch.temperature) = TRANSFORMS[index % TRANSFORMS.len()];
        check(&kernels, &batch, "transformed rows");
    }
}

fn special_rows<E: Element + Debug>() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<E>::new(&gpu).expect("shaders");
    for named in special() {
        let mut batch = framed::<E>(&named);
        for (scale, softcap, temperature) in TRANSFORMS {
            (batch.scale, batch.softcap, batch.temperature) = (scale, softcap, temperature);
            let what = format!("{} ({scale}, {softcap:?}, {temperature})", named.0);
            check(&kernels, &batch, &what);
        }
    }
}

#[test]
fn random_rows_in_f32() {
    random_rows::<f32>();
}

#[test]
fn random_rows_in_f16() {
    random_rows::<f16>();
}

#[test]
fn random_rows_in_bf16() {
    random_rows::<bf16>();
}

#[test]
fn special_rows_in_f32() {
    special_rows::<f32>();
}

#[test]
fn special_rows_in_f16() {
    special_rows::<f16>();
}

#[test]
fn special_rows_in_bf16() {
    special_rows::<bf16>();
}

/// Blocks of a row far from each other, near the ends of what is relative to one power of two, and
/// beyond all of them.
#[test]
fn blocks_of_every_size() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let mut rng = Random(23);
    for (index, transform) in TRANSFORMS.into_iter().cycle().take(48).enumerate() {
        let mut batch = random::<f32>(&mut rng, 512 * 11 + 77, 6);
        (batch.scale, batch.softcap, batch.temperature) = transform;
        let k = f64::from(batch.scale) / f64::from(batch.temperature);
        // In powers of two.
        let sizes: &[f64] = match index / TRANSFORMS.len() {
            0 => &[0.0, 10.0, 40.0, 70.0],
            1 => &[55.5, -40.5, 151.5, -136.5],
            2 => &[1879.5, 1878.0, 1881.0, 1850.0],
            3 => &[-1864.5, -1863.0, -1866.0, -1900.0],
            4 => &[3000.0, 3010.0, 3040.0, 3100.0],
            5 => &[-4000.0, -3960.0, 0.0, -3900.0],
            6 => &[7.7e8, 7.8e8, -7.7e8, 100.0],
            _ => &[1e12, -1e12, 1e6, -1e6],
        };
        for row in 0..batch.rows {
            if batch.targets[row] == batch.ignore_index {
                continue;
            }
            let deviation = [0.0, 0.3, 4.0][rng.below(3)];
            let columns = &mut batch.logits[row * batch.stride..][..batch.vocab];
            for block in columns.chunks_mut(512) {
                let size = sizes[rng.below(sizes.len())] * std::f64::consts::LN_2 / k;
                block.fill_with(|| (size - rng.normal(deviation).abs() / k) as f32);
            }
        }
        check(&kernels, &batch, "blocks of every size");
    }
}

#[test]
fn coefficients_of_every_size() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let mut batch = random::<f32>(&mut Random(9), 300, 40);
    let sizes = [0.0, -0.0, 1e-300, 1e-37, 1e-20, 1.0, -1.0, 1e20, 2e38, -2e38];
    for (c, size) in batch.coefficients.iter_mut().zip(sizes.into_iter().cycle()) {
        *c = size;
    }
    check(&kernels, &batch, "coefficients");
}
