//! Scale, softcap and temperature, and logits too large for the exact reduction.

use dpo_kernel::verify;

use super::probabilities::{HALF_ULP, part_of_contract};
use crate::common::levels::for_each_dispatch;
use crate::common::measure::Worst;
use crate::rows::{Params, normal_row, ulp, widen};
use crate::run::{forward, gradient, log_z};

const LINEAR: [Params; 6] = [
    Params { scale: 0.0625, softcap: None, temperature: 1.0 },
    Params { scale: 1.0, softcap: None, temperature: 0.7 },
    Params { scale: 1.0, softcap: None, temperature: 2.5 },
    Params { scale: 3.3, softcap: None, temperature: 0.9 },
    Params { scale: 0.1, softcap: None, temperature: 0.1 },
    Params { scale: 1.000_000_1, softcap: None, temperature: 1.0 },
];

const CAPPED: [Params; 5] = [
    Params { scale: 1.0, softcap: Some(30.0), temperature: 1.0 },
    Params { scale: 1.0, softcap: Some(30.0), temperature: 0.7 },
    Params { scale: 0.0625, softcap: Some(50.0), temperature: 1.0 },
    Params { scale: 2.0, softcap: Some(5.0), temperature: 1.3 },
    Params { scale: 1.0, softcap: Some(1.0), temperature: 0.05 },
];

/// Found by a search: a value that is 2.2 half ulps off where c / temperature is just below a power
/// of two, and two that are off by 1.9 either way and close to each other.
const WORST: [(Params, &[f32]); 2] = [
    (Params { scale: 1.924_964_5, softcap: Some(30.134_15), temperature: 0.942 }, &[15.798_272]),
    (
        Params { scale: 1.696_761_5, softcap: Some(55.265_556), temperature: 0.0625 },
        &[32.842_9, 33.459_8],
    ),
];

/// Rows and their exact figures.
fn for_each_row(
    transforms: &[Params],
    shifts: &[f64],
    mut body: impl FnMut(Params, &[f32], &[f64], String),
) {
    for &params in transforms {
        for vocab in [1, 2, 17, 64, 513, 4096] {
            for sigma in [0.5, 3.0, 40.0] {
                for &shift in shifts {
                    let row =
                        normal_row::<f32>(vocab, sigma, shift, vocab as u64 ^ sigma.to_bits());
                    let y = params.apply(&widen(&row));
                    let at = format!("{params:?}, V = {vocab}, sigma = {sigma}, shift = {shift}");
                    body(params, &row, &y, at);
                }
            }
        }
    }
    let is_capped = transforms.iter().any(|params| params.softcap.is_some());
    for &(params, row) in WORST.iter().filter(|_| is_capped) {
        let y = params.apply(&widen(row));
        body(params, row, &y, format!("{params:?}, row {row:?}"));
    }
}

#[test]
fn log_z_of_scaled_rows() {
    let mut worst = Worst::of("log Z of scaled rows, absolute");
    for_each_row(&LINEAR, &[0.0, 20.0, -20.0], |params, row, y, at| {
        let exact = verify::log_sum_exp(y);
        for_each_dispatch(|dispatch| {
            let found = log_z(dispatch, row, params.kernel());
            super::log_z::within_contract(found, exact).unwrap_or_else(|why| panic!("{at}: {why}"));
            worst.see(dispatch, (found - exact).abs(), || at.clone());
        });
    });
    worst.settle();
}

#[test]
fn log_z_of_capped_rows() {
    let mut worst = Worst::of("log Z of capped rows, in ulp of c/temperature");
    for_each_row(&CAPPED, &[0.0, 20.0, -20.0, 1000.0], |params, row, y, at| {
        let exact = verify::log_sum_exp(y);
        let unit = ulp(f64::from(params.softcap.unwrap()) / f64::from(params.temperature));
        for_each_dispatch(|dispatch| {
            let found = log_z(dispatch, row, params.kernel());
            worst.see(dispatch, (found - exact).abs() / unit, || at.clone());
        });
    });
    worst.settle();
}

/// |y| > 1300: sums are relative to one of the row's logits.
#[test]
fn log_z_and_log_prob_of_huge_logits() {
    let mut worst = Worst::of("log-prob of huge logits, beyond its rounding");
    let both = [Params::NONE, LINEAR[1], LINEAR[3]];
    for_each_row(&both, &[1500.0, -1500.0, 1e4, -1e5, 1e6], |params, row, y, at| {
        let exact = verify::log_sum_exp(y);
        for target in [0, row.len() / 2] {
            let exact_log_prob = verify::log_prob(y, target);
            for_each_dispatch(|dispatch| {
                let found = log_z(dispatch, row, params.kernel());
                super::log_z::within_contract(found, exact)
                    .unwrap_or_else(|why| panic!("{dispatch:?}, {at}: {why}"));
                let target = u32::try_from(target).unwrap();
                let found = forward(dispatch, row, target, params.kernel()).unwrap().log_prob;
                let error = (f64::from(found) - exact_log_prob).abs() - 0.5 * ulp(exact_log_prob);
                worst.see(dispatch, error.max(0.0), || at.clone());
            });
        }
    });
    worst.settle();
}

/// Gradients are with respect to x: p · dy/dx.
fn gradients(name: &'static str, target_name: &'static str, transforms: &[Params]) {
    let (mut worst, mut at_target) = (Worst::of(name), Worst::of(target_name));
    for_each_row(transforms, &[0.0, 20.0, 1500.0], |params, row, y, at| {
        let target = row.len() / 2;
        let transform = params.exact();
        let x = widen(row);
        let mut exact = vec![f64::NAN; row.len()];
        verify::logit_grads(&x, &transform, target, 1.0, &mut exact);
        // y is off by some ulp of c/temperature, and p by as much, relatively.
        let extra =
            params.softcap.map_or(0.0, |c| 2.0 * f64::from(c) / f64::from(params.temperature));
        let log_z = verify::log_sum_exp(y);
        for_each_dispatch(|dispatch| {
            let t = u32::try_from(target).unwrap();
            let found = gradient::<f32, f32>(dispatch, row, t, params.kernel(), 1.0);
            let mut largest = 0.0_f64;
            for (j, (&found, &exact)) in found.iter().zip(&exact).enumerate() {
                // A slope that f32 cannot hold is 0.
                if transform.derivative(x[j]) < 1e-30 {
                    assert!(found.abs() < 1e-29, "{dispatch:?}, {at}: {found}");
                } else if j == target {
                    let error = (f64::from(found) - exact).abs();
                    let part = if exact < 1e-37 { error } else { error / exact };
                    let u = params
                        .softcap
                        .map_or(0.0, |c| 2.0 * x[j].abs() * f64::from(params.scale) / f64::from(c));
                    at_target.see(dispatch, part / ((1.0 + extra + u) * HALF_ULP), || at.clone());
                } else {
                    // The slope is an exponential of 2u, u rounded to f32.
                    let u = params
                        .softcap
                        .map_or(0.0, |c| 2.0 * x[j].abs() * f64::from(params.scale) / f64::from(c));
                    let part = part_of_contract(found, exact, y[j] - log_z, extra + u);
                    largest = if part > largest || part.is_nan() { part } else { largest };
                }
            }
            worst.see(dispatch, largest, || at.clone());
        });
    });
    worst.settle();
    at_target.settle();
}

#[test]
fn gradients_of_scaled_rows() {
    gradients(
        "gradient of scaled rows, part of (4 + |ln p|) 2^-24",
        "gradient of scaled targets, relative in 2^-24",
        &LINEAR,
    );
}

#[test]
fn gradients_of_capped_rows() {
    gradients(
        "gradient of capped rows, part of (4 + 2c/T + 2|u| + |ln p|) 2^-24",
        "gradient of capped targets, relative in (1 + 2c/T + 2|u|) 2^-24",
        &CAPPED,
    );
}

/// A transform of 1, none, 1 is no transform, bit for bit; masked logits stay masked under a cap.
#[test]
fn the_neutral_transform_and_masks() {
    let row = normal_row::<f32>(700, 3.0, 0.0, 9);
    for_each_dispatch(|dispatch| {
        let neutral = forward(dispatch, &row, 5, Params::NONE.kernel()).unwrap();
        assert_eq!(neutral, forward(dispatch, &row, 5, dpo_kernel::Transform::NONE).unwrap());
        for params in CAPPED {
            let masked = [0.5, f32::NEG_INFINITY, -0.25];
            let found = forward(dispatch, &masked, 1, params.kernel()).unwrap();
            assert_eq!(found.log_prob, f32::NEG_INFINITY, "{dispatch:?}, {params:?}");
            let grads = gradient::<f32, f32>(dispatch, &masked, 0, params.kernel(), 1.0);
            assert_eq!(grads[1], 0.0, "{dispatch:?}, {params:?}");
            for broken in [f32::INFINITY, f32::NAN] {
                let found = forward(dispatch, &[0.5, broken, -0.25], 0, params.kernel());
                assert!(found.is_err(), "{dispatch:?}, {params:?}: {broken} passed");
            }
        }
    });
}

/// What a forgotten or wrong transform would do must not pass.
#[test]
fn planted_faults_are_caught() {
    let row = normal_row::<f32>(100, 3.0, 0.0, 3);
    let x = widen(&row);
    let right = Params { scale: 1.25, softcap: Some(10.0), temperature: 0.75 };
    let log_z_of = |params: Params| verify::log_sum_exp(&params.apply(&x));
    for_each_dispatch(|dispatch| {
        let found = log_z(dispatch, &row, right.kernel());
        let unit = ulp(10.0 / 0.75);
        assert!((found - log_z_of(right)).abs() <= 4.0 * unit, "the right one passes");
        for wrong in [
            Params { scale: 1.0, ..right },
            Params { softcap: None, ..right },
            Params { temperature: 1.0, ..right },
        ] {
            assert!((found - log_z_of(wrong)).abs() > 4.0 * unit, "{wrong:?} passed");
        }
        // The derivative without the temperature.
        let found = gradient::<f32, f32>(dispatch, &row, 0, right.kernel(), 1.0);
        let mut exact = vec![f64::NAN; row.len()];
        verify::logit_grads(&x, &right.exact(), 0, 1.0, &mut exact);
        let y = right.apply(&x);
        let part = |factor: f64| {
            let ln_p = y[7] - verify::log_sum_exp(&y);
            part_of_contract(found[7], exact[7] * factor, ln_p, 27.0)
        };
        assert!(part(1.0) <= 1.0 && part(0.75) > 1.0 && part(-1.0) > 1.0, "{}", part(1.0));
    });
}
