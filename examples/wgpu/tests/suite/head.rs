//! The head without logits: the library's bits, f64, tiles, and faults planted in its shaders.

use crate::common::cases::TRANSFORMS;
use crate::common::heads::Case;
use crate::common::{Random, device, first_difference, open};
use dpo_kernel_wgpu::{DeviceOptions, Element, Gpu, Kernels};
use half::{bf16, f16};

/// Hidden gradients below it may have other bits.
const LEAST: f32 = 1e-34;

const SHAPES: [(usize, usize, usize); 10] = [
    (1, 1, 1),
    (1, 3, 2),
    (2, 17, 3),
    (4, 16, 15),
    (5, 17, 257),
    (9, 64, 1000),
    (7, 257, 513),
    (3, 513, 2049),
    (6, 256, 256),
    (6, 96, 5000),
];

fn cases<E: Element>() -> Vec<Case<E>> {
    let mut rng = Random(31);
    let mut cases: Vec<Case<E>> = Vec::new();
    for shape in SHAPES {
        cases.extend((0..3).map(|_| Case::random(&mut rng, shape)));
    }
    // Masked columns, a whole block among them; logits that rise from block to block.
    for step in [0.0, 40.0, -40.0, 500.0] {
        let mut case = Case::<E>::random(&mut rng, (6, 24, 3000));
        let bias = (0..case.vocab).map(|column| {
            let is_masked = column < 1100 || column % 7 == 1;
            if is_masked { f32::NEG_INFINITY } else { (column / 512) as f32 * step }
        });
        case.bias = Some(bias.collect());
        case.transform = TRANSFORMS[0];
        cases.push(case);
    }
    cases
}

fn check<E: Element>() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<E>::new(&gpu).expect("shaders");
    let mut worst = 0.0_f64;
    for case in cases::<E>() {
        let found = case.on_device(&kernels).expect("the device's figures");
        let expected = case.on_cpu();
        let what =
            format!("{} {:?} {:?}", E::NAME, (case.rows, case.size, case.vocab), case.transform);
        assert_eq!(first_difference(&found.0, &expected.0), None, "{what}: log p");
        for (at, (found, expected)) in found.1.iter().zip(&expected.1).enumerate() {
            let is_same = found.to_bits() == expected.to_bits()
                || (found.is_nan() && expected.is_nan())
                // Terms below 2^-124 of a row's base are 0, and its base differs by a power of two.
                || found.abs().max(expected.abs()) < LEAST;
            assert!(is_same, "{what}: gradient {at} is {found:e}, not {expected:e}");
        }
        worst = worst.max(case.judge(&found).unwrap_or_else(|error| panic!("{what}: {error}")));
    }
    println!("hidden gradients: {worst:.2} of 20, in 2^-24 of their terms");
    assert!(worst > 1.0, "nothing was measured");
}

#[test]
fn heads_of_f32() {
    check::<f32>();
}

#[test]
fn heads_of_f16() {
    check::<f16>();
}

#[test]
fn heads_of_bf16() {
    check::<bf16>();
}

#[test]
fn a_row_of_nan_spoils_no_other() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let mut case = Case::<f32>::random(&mut Random(37), (8, 20, 700));
    let clean = case.on_device(&kernels).expect("figures");
    for (row, x) in [(1, f32::NAN), (6, f32::INFINITY)] {
        case.hidden[row * case.stride + 5] = x;
    }
    let (log_probs, grads) = case.on_device(&kernels).expect("figures");
    for (row, log_prob) in log_probs.into_iter().enumerate() {
        let part = row * case.size..(row + 1) * case.size;
        if row == 1 || row == 6 {
            assert!(log_prob.is_nan(), "log p of row {row}");
            assert!(grads[part].iter().all(|x| x.is_nan()), "gradients of row {row}");
        } else {
            assert_eq!(log_prob.to_bits(), clean.0[row].to_bits(), "log p of row {row}");
            assert_eq!(first_difference(&grads[part.clone()], &clean.1[part]), None, "row {row}");
        }
    }
}

/// The same by tiles and at once.
fn tiles<E: Element>(small: &Gpu, large: &Gpu, shapes: &[(usize, usize, usize)]) {
    let mut rng = Random(39);
    let (small, large) = (Kernels::<E>::new(small), Kernels::<E>::new(large));
    let (small, large) = (small.expect("shaders"), large.expect("shaders"));
    for &shape in shapes {
        let case = Case::<E>::random(&mut rng, shape);
        let what = format!("{} {shape:?}", E::NAME);
        let found = case.on_device(&small).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = case.on_device(&large).expect("at once");
        assert_eq!(first_difference(&found.0, &expected.0), None, "{what}: log p");
        assert_eq!(first_difference(&found.1, &expected.1), None, "{what}: gradients");
    }
}

#[test]
fn tiles_of_a_small_device_change_nothing() {
    let options = DeviceOptions {
        max_binding: Some(1 << 16),
        max_workgroups: Some(100),
        ..DeviceOptions::default()
    };
    let Some(small) = open(&options) else { return };
    let Some(gpu) = device() else { return };
    // Weights take less than 64 KiB, gradients more. Tiles begin between two aligned places, and the
    // states of 50 rows of 16 bits are one tile where their gradients are two.
    tiles::<f32>(&small, &gpu, &[(50, 499, 31), (301, 61, 257)]);
    tiles::<f16>(&small, &gpu, &[(50, 499, 61), (410, 45, 700)]);
    tiles::<bf16>(&small, &gpu, &[(50, 499, 61), (410, 45, 700)]);
}

#[test]
fn planted_faults_are_found() {
    let Some(gpu) = device() else { return };
    let cases = cases::<f32>();
    for (fault, old, new) in [
        ("no bias", "return own(logit + bitcast<f32>(bits));", "return logit;"),
        ("the target is in the sum, too", "if column != numbers.goal {", "if true {"),
        (
            "the last column is left out",
            "let len = min(CHAIN, params.vocab - first);",
            "let len = min(CHAIN, params.vocab - first) - 1u;",
        ),
        (
            "a chain is forgotten",
            "logits[part] = own_4(logits[part] + sum);",
            "logits[part] = sum;",
        ),
        ("a tile has one row four times", "select(some, k, is_scored[k])", "some"),
        ("1 / Z twice", "factor = params.slope_double;", ""),
        ("a block is not summed again", "if any(base != ", "if false && any(base != "),
        ("blocks beside it are added twice", "is_done = is_done || !is_again[group];", ""),
    ] {
        let kernels = Kernels::<f32>::new(&gpu).and_then(|kernels| kernels.with_edit(old, new));
        let kernels = kernels.expect(fault);
        let seen =
            cases.iter().find_map(|case| case.judge(&case.on_device(&kernels).expect(fault)).err());
        println!("{fault}: {}", seen.unwrap_or_else(|| panic!("{fault} is not found")));
    }
}
