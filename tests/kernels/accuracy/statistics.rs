//! The statistics of the sweep: entropy, log Σp², mean logit.

use dpo_kernel::{Transform, bf16, f16, verify};

use crate::common::levels::for_each_dispatch;
use crate::common::measure::Worst;
use crate::rows::{Random, Store, normal_row, ulp, widen};
use crate::run::forward;

fn random_rows<E: Store>([entropy, squares, mean]: [&'static str; 3]) {
    let [mut of_entropy, mut of_squares, mut of_mean] = [entropy, squares, mean].map(Worst::of);
    for vocab in [1, 2, 3, 15, 16, 17, 63, 64, 65, 511, 512, 513, 1000, 32_000] {
        for sigma in [0.5_f64, 1.0, 3.0, 8.0, 40.0] {
            for shift in [0.0_f64, 20.0, -20.0] {
                let seed = (vocab as u64 ^ sigma.to_bits() ^ shift.to_bits()).rotate_left(7);
                let row = normal_row::<E>(vocab, sigma, shift, seed);
                let x = widen(&row);
                let target = Random::new(seed).below(vocab) as u32;
                let (entropy, squares) = (verify::entropy(&x), verify::log_sum_sq_probs(&x));
                let mean = verify::mean_logit(&x);
                let size = x.iter().map(|x| x.abs()).sum::<f64>() / vocab as f64;
                let at = || format!("V = {vocab}, sigma = {sigma}, shift = {shift}");
                for_each_dispatch(|dispatch| {
                    let found = forward(dispatch, &row, target, Transform::NONE).unwrap().details;
                    let beyond = |found: f32, exact: f64| {
                        ((f64::from(found) - exact).abs() - 0.5 * ulp(exact)).max(0.0)
                    };
                    of_entropy.see(dispatch, beyond(found.entropy, entropy), at);
                    of_squares.see(dispatch, beyond(found.log_sum_sq_probs, squares), at);
                    let error = beyond(found.mean_logit, mean) / (size * 2.0_f64.powi(-24));
                    of_mean.see(dispatch, error, at);
                });
            }
        }
    }
    of_entropy.settle();
    of_squares.settle();
    of_mean.settle();
}

#[test]
fn of_f32_rows() {
    random_rows::<f32>([
        "entropy of f32 rows, beyond its rounding",
        "log of the sum of p^2 of f32 rows, beyond its rounding",
        "mean logit of f32 rows, beyond its rounding, in 2^-24 of the mean size",
    ]);
}

#[test]
fn of_f16_rows() {
    random_rows::<f16>([
        "entropy of f16 rows, beyond its rounding",
        "log of the sum of p^2 of f16 rows, beyond its rounding",
        "mean logit of f16 rows, beyond its rounding, in 2^-24 of the mean size",
    ]);
}

#[test]
fn of_bf16_rows() {
    random_rows::<bf16>([
        "entropy of bf16 rows, beyond its rounding",
        "log of the sum of p^2 of bf16 rows, beyond its rounding",
        "mean logit of bf16 rows, beyond its rounding, in 2^-24 of the mean size",
    ]);
}
