//! Log-probs of tokens: absolute where they are large, relative where the token is confident.

use dpo_kernel::{Transform, bf16, f16, verify};

use crate::common::levels::for_each_dispatch;
use crate::common::measure::Worst;
use crate::rows::{Random, Store, normal_row, ulp, widen};
use crate::run::forward;

fn random_rows<E: Store>(name: &'static str) {
    let mut worst = Worst::of(name);
    for vocab in [1, 2, 3, 15, 16, 17, 63, 64, 65, 511, 512, 513, 1000, 32_000] {
        for sigma in [0.5_f64, 1.0, 3.0, 8.0, 40.0] {
            for shift in [0.0_f64, 20.0, -20.0] {
                let seed = !(vocab as u64 ^ sigma.to_bits() ^ shift.to_bits());
                let row = normal_row::<E>(vocab, sigma, shift, seed);
                let x = widen(&row);
                let top = verify::argmax(&x).unwrap();
                for target in [0, vocab - 1, top, Random::new(seed).below(vocab)] {
                    let exact = verify::log_prob(&x, target);
                    let at = || format!("V = {vocab}, sigma = {sigma}, shift = {shift}");
                    for_each_dispatch(|dispatch| {
                        let t = u32::try_from(target).unwrap();
                        let found = forward(dispatch, &row, t, Transform::NONE).unwrap().log_prob;
                        assert!(found <= 0.0, "{dispatch:?}: a log-prob of {found}");
                        let error = (f64::from(found) - exact).abs() - 0.5 * ulp(exact);
                        worst.see(dispatch, error.max(0.0), at);
                    });
                }
            }
        }
    }
    worst.settle();
}

#[test]
fn of_f32_rows() {
    random_rows::<f32>("token log-prob of f32 rows, beyond its rounding");
}

#[test]
fn of_f16_rows() {
    random_rows::<f16>("token log-prob of f16 rows, beyond its rounding");
}

#[test]
fn of_bf16_rows() {
    random_rows::<bf16>("token log-prob of bf16 rows, beyond its rounding");
}

/// A token that is nearly certain keeps the digits of its log-prob, from −0.1 to −1e-38.
#[test]
fn of_confident_tokens() {
    let mut two = Worst::of("confident token of two columns, in ulp");
    let mut many = Worst::of("confident token of 999 columns, in ulp");
    for step in 0..=370 {
        let log_prob = -libm::exp10(-1.0 - f64::from(step) / 10.0);
        let lead = -libm::log(libm::expm1(-log_prob));
        let rest = normal_row::<f32>(998, 1.0, 0.0, step as u64);
        let below = verify::log_sum_exp(&widen(&rest));
        for (place, row) in [
            (0, vec![0.0, -lead as f32]),
            (1, vec![7.5 - lead as f32, 7.5]),
            (700, {
                // Its competitors come first, so that the sums are relative to them.
                let mut row = rest.clone();
                row.insert(700, (lead + below) as f32);
                row
            }),
        ] {
            let exact = verify::log_prob(&widen(&row), place);
            let at = || format!("log p = {exact:.3e} at column {place}");
            for_each_dispatch(|dispatch| {
                let target = u32::try_from(place).unwrap();
                let found = forward(dispatch, &row, target, Transform::NONE).unwrap().log_prob;
                let error = (f64::from(found) - exact).abs() / ulp(exact);
                let worst = if row.len() == 2 { &mut two } else { &mut many };
                worst.see(dispatch, error, at);
            });
        }
    }
    two.settle();
    many.settle();
}

/// The same where the target leads the first block: the sums are relative to its competitors all
/// the same. Beyond f32 the log-prob of a certain token is 0.
#[test]
fn of_tokens_more_certain_than_f32_can_say() {
    let mut worst = Worst::of("confident token leading 999 columns, in ulp");
    for step in 0..=370 {
        let log_prob = -libm::exp10(-1.0 - f64::from(step) / 10.0);
        let mut row = normal_row::<f32>(999, 1.0, 0.0, step as u64);
        row[3] = f32::NEG_INFINITY;
        let below = verify::log_sum_exp(&widen(&row));
        row[3] = (below - libm::log(libm::expm1(-log_prob))) as f32;
        let exact = verify::log_prob(&widen(&row), 3);
        for_each_dispatch(|dispatch| {
            let found = forward(dispatch, &row, 3, Transform::NONE).unwrap().log_prob;
            let error = (f64::from(found) - exact).abs() / ulp(exact);
            worst.see(dispatch, error, || format!("log p = {exact:.3e}"));
            assert!(found <= 0.0, "{dispatch:?}: {found} {exact}");
            let mut certain = row.clone();
            certain[3] = 400.0;
            let found = forward(dispatch, &certain, 3, Transform::NONE).unwrap().log_prob;
            assert_eq!(found.to_bits(), 0, "{dispatch:?}: no token is more certain than +0");
        });
    }
    worst.settle();
}
