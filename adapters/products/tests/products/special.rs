//! What is not finite, sums of 16 bits, and what is refused.

use dpo_kernel::{Error, f16};
use dpo_kernel_products::{Gemm, GemmHead, MatrixMultiply, MatrixMultiplyHead, Product};

use crate::case::{Case, distance, run};

fn rows_are_named<P: Product>() {
    // Rows 1, 4 and 7 of eight are not scored.
    let shape = (8, 37, 530);
    let sound = Case::<f32, f16>::new(shape, 11);
    let due = run(&sound, &sound.linear(), 8);
    for poison in [f32::NAN, f32::INFINITY] {
        let mut case = Case::<f32, f16>::new(shape, 11);
        for row in [2, 5] {
            case.states[row * case.stride + 3] = poison;
        }
        let found = run(&case, &case.product::<P>(3), 8);
        let named = run(&case, &case.linear(), 8).summary;
        assert!(named.is_err(), "the built-in product names them");
        assert_eq!(found.summary, named, "{poison}");
        for row in [0, 2, 3, 5, 6] {
            let is_bad = row == 2 || row == 5;
            assert_eq!(found.log_probs[row].is_nan(), is_bad, "{poison}, row {row}");
            let apart = (found.log_probs[row] - due.log_probs[row]).abs();
            assert!(is_bad || apart < 1e-4, "{poison}, row {row}: {apart}");
        }
    }
    let mut case = Case::<f32, f16>::new(shape, 11);
    case.weights[529 * case.stride] = f16::INFINITY;
    let found = run(&case, &case.product::<P>(3), 8);
    assert_eq!(found.summary, run(&case, &case.linear(), 8).summary, "a weight");
    assert!(found.summary.is_err(), "an infinite weight");
}

#[test]
fn rows_that_are_not_finite_are_named() {
    rows_are_named::<Gemm>();
    rows_are_named::<MatrixMultiply>();
}

fn sums_are_of_f32<P: Product>() {
    // Sums in f16 end at 2,048, where adding 1 changes nothing.
    let mut case = Case::<f16, f16>::new((1, 4096, 2), 5);
    case.states.fill(f16::ONE);
    case.weights[..case.stride].fill(f16::ONE);
    case.weights[case.stride..].fill(f16::ZERO);
    case.targets[0] = 1;
    let found = run(&case, &case.product::<P>(256), 1);
    assert_eq!(found.log_probs[0].to_bits(), (-4096.0_f32).to_bits(), "{}", found.log_probs[0]);
    let apart = distance(&case, &found, &run(&case, &case.linear(), 1));
    assert!(apart.0 <= 1.0 && apart.1 <= 1.0, "{apart:?}");
}

#[test]
fn sixteen_bits_are_summed_in_f32() {
    sums_are_of_f32::<Gemm>();
    sums_are_of_f32::<MatrixMultiply>();
}

#[test]
fn shapes_are_checked_as_by_the_built_in_head() {
    let weights = [0.0_f32; 12];
    let new = |vocab, size| GemmHead::new(&weights, vocab, size).err();
    assert_eq!(new(4, 3), None, "4 x 3");
    assert_eq!(new(0, 3), Some(Error::EmptyVocabulary), "no columns");
    assert_eq!(new(3, 0), Some(Error::EmptyHidden), "no numbers");
    assert!(matches!(new(5, 3), Some(Error::Length { expected: 15, found: 12, .. })), "too few");
    assert!(matches!(new(3, 3), Some(Error::Length { expected: 9, found: 12, .. })), "too many");
    let narrow = MatrixMultiplyHead::with_stride(&weights, 4, 3, 2).err();
    assert_eq!(narrow, Some(Error::StrideBelowHidden { stride: 2, size: 3 }), "rows overlap");
    let head = MatrixMultiplyHead::new(&weights, 4, 3).expect("4 x 3");
    assert!(matches!(head.with_bias(&[0.0; 3]), Err(Error::Length { .. })), "a bias too few");
}
