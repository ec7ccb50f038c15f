//! The lists of steps have the bits of the formulas that they stand for.

use crate::source::{branchless, formula};

fn same([x]: [f64; 1], y: f64) {
    assert_eq!(x.to_bits(), y.to_bits(), "{x:e} {y:e}");
}

/// Both ends, and between them hardly a number with few bits.
fn grid(from: f64, to: f64) -> impl Iterator<Item = f64> {
    (0..100_000).map(move |i| from + (to - from) * (f64::from(i) / 99_999.0))
}

#[test]
fn exp_has_the_bits_of_the_formula() {
    for x in grid(-699.9, 699.9).chain(grid(-2.0, 2.0)).chain([0.0, -0.0, 1e-300]) {
        same(branchless::exp([x]), formula::exp(x, &mut [f64::NAN; 11]));
    }
}

#[test]
fn ln_1p_has_the_bits_of_the_formula() {
    let powers = grid(-690.0, 690.0).map(libm::exp);
    for q in powers.chain(grid(0.0, 3.0)).chain([5e-324, 1e-17, 1.0]) {
        same(branchless::ln_1p([q]), formula::ln_1p(q, &mut [f64::NAN; 11]));
    }
}
