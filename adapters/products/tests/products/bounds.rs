//! How far log-probs and gradients are from those of the built-in product, over all types, shapes
//! and products.

use dpo_kernel::{Element, bf16, f16};
use dpo_kernel_products::{Gemm, MatrixMultiply, Product};

use crate::case::{Case, Random, distance, run};

/// The page of the library has them. Of log-probs, of gradients.
const BOUNDS: (f64, f64) = (24.0, 40.0);

/// R × H × V, and how many rows are multiplied at once: one token, one number, vocabularies that are
/// a multiple of nothing, more rows than fit at once.
const SHAPES: [(usize, usize, usize, usize); 9] = [
    (1, 1, 1, 256),
    (1, 1, 700, 1),
    (5, 1, 33, 2),
    (7, 5, 513, 256),
    (1, 576, 1030, 256),
    (14, 64, 1025, 4),
    (40, 33, 600, 11),
    (25, 257, 77, 256),
    (64, 128, 512, 17),
];

fn worst<E: Element, W: Element, P: Product>(seed: u64, worst: &mut (f64, f64)) {
    let mut random = Random(seed);
    for (rows, size, vocab, at_once) in SHAPES {
        let mut case = Case::<E, W>::new((rows, size, vocab), random.bits());
        if random.below(2) == 0 {
            case = case.with_bias(random.bits());
        }
        case = match random.below(3) {
            0 => case.with_transform(0.75, Some(20.0), 1.25),
            1 => case.with_transform(1.5, None, 0.5),
            _ => case,
        };
        let due = run(&case, &case.linear(), rows);
        let found = run(&case, &case.product::<P>(at_once), 1 + random.below(rows));
        assert_eq!(found.summary, due.summary, "{rows} x {size} x {vocab}");
        let apart = distance(&case, &found, &due);
        assert!(
            apart.0 <= BOUNDS.0 && apart.1 <= BOUNDS.1,
            "{rows} x {size} x {vocab}: {apart:?} units, seed {seed}"
        );
        *worst = (worst.0.max(apart.0), worst.1.max(apart.1));
    }
}

fn all_types<P: Product>(seed: u64) -> (f64, f64) {
    let mut found = (0.0, 0.0);
    worst::<f32, f32, P>(seed, &mut found);
    worst::<f32, f16, P>(seed + 1, &mut found);
    worst::<f32, bf16, P>(seed + 2, &mut found);
    worst::<f16, f32, P>(seed + 3, &mut found);
    worst::<f16, f16, P>(seed + 4, &mut found);
    worst::<f16, bf16, P>(seed + 5, &mut found);
    worst::<bf16, f32, P>(seed + 6, &mut found);
    worst::<bf16, f16, P>(seed + 7, &mut found);
    worst::<bf16, bf16, P>(seed + 8, &mut found);
    found
}

#[test]
fn products_are_near_the_built_in_one() {
    let (gemm, other) = (all_types::<Gemm>(100), all_types::<MatrixMultiply>(200));
    println!("gemm {gemm:?}, matrixmultiply {other:?}");
}

/// The search behind the bounds: `cargo test --release --all-features -- --ignored --nocapture`.
#[test]
#[ignore = "minutes"]
fn search() {
    let mut worst = [(0.0_f64, 0.0_f64); 2];
    for seed in 0..200 {
        let found =
            [all_types::<Gemm>(seed * 1000), all_types::<MatrixMultiply>(seed * 1000 + 500)];
        for (worst, found) in worst.iter_mut().zip(found) {
            *worst = (worst.0.max(found.0), worst.1.max(found.1));
        }
    }
    println!("log-probs and gradients: gemm {:?}, matrixmultiply {:?}", worst[0], worst[1]);
    let (log_probs, grads) = (worst[0].0.max(worst[1].0), worst[0].1.max(worst[1].1));
    assert!(2.0 * log_probs >= BOUNDS.0 && 2.0 * grads >= BOUNDS.1, "a bound can be tightened");
}

/// Small faults are far outside of the bounds.
#[test]
fn planted_faults_are_found() {
    let mut case = Case::<f32, bf16>::new((6, 40, 700), 3).with_bias(4);
    let due = run(&case, &case.linear(), 6);
    let bias = case.bias.take();
    let without_bias = run(&case, &case.product::<Gemm>(256), 6);
    let apart = distance(&case, &without_bias, &due);
    assert!(apart.0 > 1e3 * BOUNDS.0 && apart.1 > 1e3 * BOUNDS.1, "no bias: {apart:?}");
    case.bias = bias;
    // The last column of the last tile, as a fault of widths would lose it.
    let last = 699 * case.stride;
    case.weights[last..last + 40].fill(bf16::from_f32(0.0));
    let without_column = run(&case, &case.product::<MatrixMultiply>(256), 6);
    let apart = distance(&case, &without_column, &due);
    assert!(apart.0 > 10.0 * BOUNDS.0 && apart.1 > 10.0 * BOUNDS.1, "a column: {apart:?}");
}
