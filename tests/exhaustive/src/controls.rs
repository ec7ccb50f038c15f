//! What must hold before a sweep means anything: the oracles are right, and faults are found.

use crate::oracle::{self, Big, FUNCTIONS, Function, MARGIN, exact};
use crate::random::Random;
use crate::sweep::sweep;

/// Runs all of them. The error says what failed.
pub(crate) fn run() -> Result<(), String> {
    golden()?;
    margins()?;
    planted()
}

/// The arbitrary-precision formulas against mpmath 1.3 at 400 bits, whose values are given as the
/// sum of two f64.
fn golden() -> Result<(), String> {
    type Case = (fn(f64) -> Big, f64, f64, f64);
    #[expect(clippy::unreadable_literal, reason = "as mpmath prints them")]
    const CASES: [Case; 9] = [
        (oracle::sigmoid, -2.5, 0.07585818002124355, 5.328066821693456e-18),
        (oracle::sigmoid, 0.1, 0.52497918747894, -2.5084310194303448e-17),
        (oracle::sigmoid, 17.0, 0.9999999586006245, 9.365325364566204e-18),
        (oracle::log_sigmoid, -2.5, -2.5788897342925496, 1.6971384488584093e-17),
        (oracle::log_sigmoid, 17.0, -4.139937633089748e-08, 2.609879075129995e-24),
        (oracle::log_sigmoid, 100.0, -3.720075976020836e-44, 1.5705024907732008e-60),
        (oracle::log1mexp, -1e-10, -23.025850929990458, 1.3231474362124215e-15),
        (oracle::log1mexp, -0.5, -0.9327521295671886, -1.261646187271656e-17),
        (oracle::log1mexp, -20.0, -2.061153624562735e-09, -2.301972480276147e-26),
    ];
    for (precise, x, hi, lo) in CASES {
        let value = precise(x);
        let error = ((&value - exact(hi) - exact(lo)) / &value).to_f64().value();
        // Two f64 hold 106 bits, a few fewer when zeros follow the first.
        if error.abs() > f64::EPSILON * f64::EPSILON {
            return Err(format!("arbitrary precision is off by {error:e} at {x}"));
        }
    }
    Ok(())
}

/// The f64 estimates against arbitrary precision: they must keep to an eighth of their margin.
fn margins() -> Result<(), String> {
    let mut random = Random::default();
    for function in &FUNCTIONS {
        for _ in 0..20_000 {
            let mut x = random.scalar();
            if function.name == "log1mexp" {
                x = -x.abs();
            }
            let x = f64::from(x);
            let (value, margin) = (function.estimate)(x);
            if !value.is_finite() || value.abs() < 1e-300 || value.abs() > 1e6 {
                continue;
            }
            let error = ((function.precise)(x) - exact(value)).to_f64().value().abs();
            if error > margin / 8.0 {
                return Err(format!("estimate of {} off by {error:e} at {x:e}", function.name));
            }
        }
    }
    println!("controls: estimates within {:e} of arbitrary precision", MARGIN / 8.0);
    Ok(())
}

/// Three faults, which a sweep over the stretch where each shows must report.
fn planted() -> Result<(), String> {
    let [sigmoid, log_sigmoid, ..] = FUNCTIONS;
    let faults: [(&str, Function, f32, f32); 3] = [
        (
            "log_sigmoid by the formula in f32",
            Function { tested: |x| -(1.0 + (-x).exp()).ln(), ..log_sigmoid },
            8.0,
            8.125,
        ),
        (
            "sigmoid rounded to f64 and again to f32",
            Function {
                #[expect(clippy::cast_possible_truncation, reason = "the fault")]
                tested: |x| (1.0 / (1.0 + (-f64::from(x)).exp())) as f32,
                ..sigmoid
            },
            f32::EPSILON,
            f32::EPSILON * 128.0,
        ),
        (
            "sigmoid with one bit wrong in one value",
            Function {
                tested: |x| {
                    let right = dpo_kernel::math::f32::sigmoid(x);
                    if x.to_bits() == 0x3F91_2345 { right.next_up() } else { right }
                },
                ..sigmoid
            },
            1.125,
            1.25,
        ),
    ];
    for (name, function, from, to) in faults {
        let found = sweep(&function, u64::from(from.to_bits())..u64::from(to.to_bits()));
        println!("controls: {name}: {} of {} caught", found.mismatches, found.inputs);
        if found.mismatches == 0 {
            return Err(format!("planted fault not found: {name}"));
        }
    }
    Ok(())
}
