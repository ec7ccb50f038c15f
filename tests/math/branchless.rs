//! The branchless functions against `libm`.

use crate::source::branchless as source;

/// The largest relative difference to `libm`'s function, itself within an ulp.
fn worst(
    ours: impl Fn(f64) -> f64,
    theirs: fn(f64) -> f64,
    inputs: impl Iterator<Item = f64>,
) -> f64 {
    inputs.map(|x| ((ours(x) - theirs(x)) / theirs(x)).abs()).fold(0.0, f64::max)
}

fn exp(x: f64) -> f64 {
    let [y] = source::exp([x]);
    y
}

fn ln_1p(x: f64) -> f64 {
    let [y] = source::ln_1p([x]);
    y
}

/// Both ends, and between them hardly a number with few bits.
fn grid(from: f64, to: f64) -> impl Iterator<Item = f64> {
    (0..100_000).map(move |i| from + (to - from) * (f64::from(i) / 99_999.0))
}

#[test]
fn exp_is_libms() {
    let inputs = || grid(-699.9, 699.9).chain(grid(-2.0, 2.0));
    let found = worst(exp, libm::exp, inputs());
    assert!(found < 4.5e-16, "{found:e}");
    assert!(exp(0.0).to_bits() == 1.0_f64.to_bits(), "e^0");
    let wrong = worst(|x| exp(x) * (1.0 + 4.5e-16), libm::exp, inputs());
    assert!(wrong > 4.5e-16, "a planted fault of two ulp is seen: {wrong:e}");
}

#[test]
fn ln_1p_is_libms() {
    let powers = || grid(-690.0, 690.0).map(libm::exp);
    let inputs = || powers().chain(grid(1e-9, 3.0)).chain(grid(0.999, 1001.0));
    let found = worst(ln_1p, libm::log1p, inputs());
    assert!(found < 4.5e-16, "{found:e}");
    assert!(ln_1p(5e-324).to_bits() == 5e-324_f64.to_bits(), "the smallest");
    let wrong = worst(|x| ln_1p(x) * (1.0 + 4.5e-16), libm::log1p, inputs());
    assert!(wrong > 4.5e-16, "a planted fault of two ulp is seen: {wrong:e}");
}

#[test]
fn entries_do_not_depend_on_each_other() {
    let x = [-650.0, -1.5, 1e-7, 0.0, 0.7, 3.0, 99.0, 650.0];
    assert_eq!(source::exp(x).map(f64::to_bits), x.map(exp).map(f64::to_bits));
    let q = x.map(libm::exp);
    assert_eq!(source::ln_1p(q).map(f64::to_bits), q.map(ln_1p).map(f64::to_bits));
}
