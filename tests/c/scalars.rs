//! The scalar functions by their C names: near the plain formula, and to the bit those of `math`.

use dpo_kernel::c::*;
use dpo_kernel::math;

use crate::abi::Same;

type Of64 = (&'static str, extern "C" fn(f64) -> f64, fn(f64) -> f64, fn(f64) -> f64);
type Of32 = (&'static str, extern "C" fn(f32) -> f32, fn(f32) -> f32, fn(f64) -> f64);

const POINTS: [f64; 7] = [-30.0, -2.5, -0.7, -0.125, 0.3, 1.0, 20.0];

#[test]
fn scalars_are_those_of_rust() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let log_sigmoid = |x: f64| -(-x).exp().ln_1p();
    let softplus = |x: f64| x.exp().ln_1p();
    let log1mexp = |x: f64| if x < -1.0 { (-x.exp()).ln_1p() } else { (-x.exp_m1()).ln() };
    let of_f64: [Of64; 4] = [
        ("sigmoid", dpo_sigmoid, math::sigmoid, sigmoid),
        ("log_sigmoid", dpo_log_sigmoid, math::log_sigmoid, log_sigmoid),
        ("softplus", dpo_softplus, math::softplus, softplus),
        ("log1mexp", dpo_log1mexp, math::log1mexp, log1mexp),
    ];
    for (name, c, rust, plain) in of_f64 {
        for x in POINTS.into_iter().chain([f64::NAN]) {
            let (found, due) = (c(x), plain(x));
            assert!(found.same(&rust(x)), "{name}({x})");
            let is_near = (found - due).abs() <= 1e-12 * due.abs().max(1e-12);
            assert!(is_near || (found.is_nan() && due.is_nan()), "{name}({x}) is {found}");
        }
    }
    let of_f32: [Of32; 4] = [
        ("sigmoid", dpo_sigmoid_f32, math::f32::sigmoid, sigmoid),
        ("log_sigmoid", dpo_log_sigmoid_f32, math::f32::log_sigmoid, log_sigmoid),
        ("softplus", dpo_softplus_f32, math::f32::softplus, softplus),
        ("log1mexp", dpo_log1mexp_f32, math::f32::log1mexp, log1mexp),
    ];
    for (name, c, rust, plain) in of_f32 {
        for x in POINTS.into_iter().chain([f64::NAN]) {
            let (found, due) = (c(x as f32), plain(f64::from(x as f32)));
            assert!(found.same(&rust(x as f32)), "{name}({x})");
            assert!(found.same(&(due as f32)) || due.is_nan(), "{name}({x}) is {found}");
        }
    }
    for (a, b) in [(1.0, 2.0), (-3.0, 0.5), (700.0, -700.0), (0.25, 0.25)] {
        let due = f64::max(a, b) + (-f64::abs(a - b)).exp().ln_1p();
        assert!((dpo_logaddexp(a, b) - due).abs() < 1e-12, "{a}, {b}");
        assert!(dpo_logaddexp(a, b).same(&math::logaddexp(a, b)), "{a}, {b}");
        let (a, b) = (a as f32, b as f32);
        assert!(dpo_logaddexp_f32(a, b).same(&math::f32::logaddexp(a, b)), "{a}, {b}");
        assert!((f64::from(dpo_logaddexp_f32(a, b)) - due).abs() < 1e-6 * due.abs(), "{a}, {b}");
    }
}
