//! p and 1 − p, as the backward writes them for c = 1.

use dpo_kernel::{bf16, f16, verify};

use crate::common::levels::for_each_dispatch;
use crate::common::measure::Worst;
use crate::rows::{Params, Random, Store, normal_row, widen};
use crate::run::gradient;

/// Gradients below it may be 0.
pub const FLUSHED: f64 = 4.701_977_403_289_15e-38; // 2^-124

/// 2⁻²⁴.
pub const HALF_ULP: f64 = 5.960_464_477_539_063e-8;

/// Error of a gradient −p·slope as a part of the contract (4 + |ln p|)·2⁻²⁴; `extra` adds to the 4.
pub fn part_of_contract(found: f32, exact: f64, ln_p: f64, extra: f64) -> f64 {
    let found = f64::from(found);
    if exact.abs() < FLUSHED {
        // Flushed, or kept with all its digits.
        return if found.abs() <= 2.0 * FLUSHED { 0.0 } else { f64::INFINITY };
    }
    (found - exact).abs() / exact.abs() / ((4.0 + extra + ln_p.abs()) * HALF_ULP)
}

fn random_rows<E: Store>(of_p: &'static str, of_rest: &'static str) {
    let (mut of_p, mut of_rest) = (Worst::of(of_p), Worst::of(of_rest));
    for vocab in [1, 2, 3, 15, 17, 64, 65, 513, 1000, 32_000] {
        for sigma in [0.5_f64, 1.0, 3.0, 8.0, 40.0] {
            for shift in [0.0_f64, 20.0, -20.0, 1000.0, -1000.0] {
                let seed = vocab as u64 ^ sigma.to_bits() ^ shift.to_bits();
                let row = normal_row::<E>(vocab, sigma, shift, seed);
                let x = widen(&row);
                let top = verify::argmax(&x).unwrap();
                for target in [top, Random::new(seed).below(vocab)] {
                    let mut exact = vec![f64::NAN; vocab];
                    verify::logit_grads(&x, &Params::NONE.exact(), target, 1.0, &mut exact);
                    let at = || format!("V = {vocab}, sigma = {sigma}, shift = {shift}");
                    for_each_dispatch(|dispatch| {
                        let t = u32::try_from(target).unwrap();
                        let transform = Params::NONE.kernel();
                        let found = gradient::<E, f32>(dispatch, &row, t, transform, 1.0);
                        let mut worst = 0.0_f64;
                        for (j, (&found, &exact)) in found.iter().zip(&exact).enumerate() {
                            if j == target {
                                let error = (f64::from(found) - exact).abs();
                                let part = if exact < 1.2e-38 { error } else { error / exact };
                                of_rest.see(dispatch, part / HALF_ULP, at);
                            } else {
                                let part = part_of_contract(found, exact, libm::log(-exact), 0.0);
                                worst = if part > worst || part.is_nan() { part } else { worst };
                            }
                        }
                        assert!(worst <= 1.0, "{dispatch:?}, {}: {worst} of the bound", at());
                        of_p.see(dispatch, worst, at);
                    });
                }
            }
        }
    }
    of_p.settle();
    of_rest.settle();
}

#[test]
fn of_f32_rows() {
    random_rows::<f32>(
        "p of random f32 rows, part of (4 + |ln p|) 2^-24",
        "1 - p of f32 targets, relative in 2^-24",
    );
}

#[test]
fn of_f16_rows() {
    random_rows::<f16>(
        "p of random f16 rows, part of (4 + |ln p|) 2^-24",
        "1 - p of f16 targets, relative in 2^-24",
    );
}

#[test]
fn of_bf16_rows() {
    random_rows::<bf16>(
        "p of random bf16 rows, part of (4 + |ln p|) 2^-24",
        "1 - p of bf16 targets, relative in 2^-24",
    );
}

/// Flushing begins where it may and no earlier, and coefficients move it along.
#[test]
fn small_gradients_are_zero_not_subnormal() {
    for_each_dispatch(|dispatch| {
        for c in [1.0, -1.0, 1e-10, 1e-30, 1e10, -1e-44] {
            for depth in 0..220 {
                let row = [0.0_f32, -0.5 * depth as f32, -1000.0, f32::NEG_INFINITY, f32::MIN];
                let transform = Params::NONE.kernel();
                let found = gradient::<f32, f32>(dispatch, &row, 0, transform, c);
                let mut exact = [f64::NAN; 5];
                verify::logit_grads(&widen(&row), &Params::NONE.exact(), 0, c, &mut exact);
                let part =
                    part_of_contract(found[1], exact[1], libm::log(exact[1].abs() / c.abs()), 1.0);
                assert!(part <= 1.0, "{dispatch:?}, c = {c}, {row:?}: {found:?} {exact:?}");
                assert!(found[1] == 0.0 || found[1].is_normal(), "{dispatch:?}: {found:?}");
                assert_eq!(
                    found[2..],
                    [0.0; 3],
                    "{dispatch:?}: far below, masked, and masked by MIN"
                );
            }
        }
    });
}

#[test]
fn planted_faults_are_caught() {
    let p = 0.3_f64;
    let right = -p as f32;
    assert!(part_of_contract(right, -p, p.ln(), 0.0) <= 1.0, "the right one passes");
    for wrong in [-right, right * (1.0 + 1e-6), 0.0, f32::NAN, f32::INFINITY] {
        let part = part_of_contract(wrong, -p, p.ln(), 0.0);
        assert!(part > 1.0 || part.is_nan(), "{wrong} passed");
    }
    assert!(part_of_contract(1e-30, -1e-40, -92.1, 0.0) > 1.0, "a plausible number passed");
}
