//! log Z of random and of adversarial rows.
//!
//! `RowStats::log_z` leaves as f64, so what is measured is the error of the f32 part itself. The
//! contract, 0.5 ulp of f32 + 3e-8, leaves room for the one rounding that f32 results take.

use dpo_kernel::row::RowStats;
use dpo_kernel::{Dispatch, Transform, bf16, f16, verify};

use crate::common::levels::for_each_dispatch;
use crate::common::measure::Worst;
use crate::rows::{Random, Store, normal_row, stored, ulp, widen};
use crate::run::log_z;

const VOCABS: [usize; 17] =
    [1, 2, 3, 15, 16, 17, 63, 64, 65, 511, 512, 513, 1000, 32_000, 50_257, 131_072, 262_144];
const SIGMAS: [f64; 5] = [0.5, 1.0, 3.0, 8.0, 40.0];
const SHIFTS: [f64; 7] = [0.0, 1.0, -1.0, 20.0, -20.0, 1000.0, -1000.0];

/// The contract of `RowStats::log_z`.
pub fn within_contract(found: f64, exact: f64) -> Result<(), String> {
    let error = (found - exact).abs();
    if error <= 0.5 * ulp(exact) + 3e-8 {
        Ok(())
    } else {
        Err(format!("log Z {found} is not {exact}, off by {error:e}"))
    }
}

/// With a target the sum is formed in another way; log Z must not notice.
fn log_z_with_target<E: Store>(dispatch: Dispatch, row: &[E], target: usize) -> f64 {
    let mut stats = RowStats::<()>::new(Transform::NONE, Some(u32::try_from(target).unwrap()));
    stats.fold(dispatch, row, 0);
    stats.log_z()
}

fn random_rows<E: Store>(near: &'static str, far: &'static str) {
    let (mut near, mut far) = (Worst::of(near), Worst::of(far));
    for vocab in VOCABS {
        for sigma in SIGMAS {
            for shift in SHIFTS {
                let seed = vocab as u64 ^ sigma.to_bits() ^ shift.to_bits();
                let row = normal_row::<E>(vocab, sigma, shift, seed);
                let exact = verify::log_sum_exp(&widen(&row));
                let at = || format!("V = {vocab}, sigma = {sigma}, shift = {shift}");
                for_each_dispatch(|dispatch| {
                    let found = log_z(dispatch, &row, Transform::NONE);
                    within_contract(found, exact)
                        .unwrap_or_else(|why| panic!("{dispatch:?}, {}: {why}", at()));
                    let worst = if shift.abs() < 1000.0 { &mut near } else { &mut far };
                    worst.see(dispatch, (found - exact).abs(), at);
                    let target = Random::new(seed).below(vocab);
                    let found = log_z_with_target(dispatch, &row, target);
                    within_contract(found, exact)
                        .unwrap_or_else(|why| panic!("{dispatch:?}, {}, target: {why}", at()));
                });
            }
        }
    }
    near.settle();
    far.settle();
}

#[test]
fn random_rows_in_f32() {
    random_rows::<f32>(
        "log Z of random f32 rows, absolute",
        "log Z of random f32 rows near ±1000, absolute",
    );
}

#[test]
fn random_rows_in_f16() {
    random_rows::<f16>(
        "log Z of random f16 rows, absolute",
        "log Z of random f16 rows near ±1000, absolute",
    );
}

#[test]
fn random_rows_in_bf16() {
    random_rows::<bf16>(
        "log Z of random bf16 rows, absolute",
        "log Z of random bf16 rows near ±1000, absolute",
    );
}

/// One peak that is not the target over a flat tail far below: each of the eight quads of the tail
/// that share the peak's lane may lose half an ulp of it, all in one direction, so the error may
/// come to 8 · 2⁻²⁴ = 4.8e-7. That is more than the 3e-8 that hold for rows of any spread.
#[test]
fn one_peak_over_a_flat_tail() {
    let mut worst = Worst::of("log Z of a peak over a flat tail, absolute");
    let mut random = Random::new(15);
    for vocab in [512, 1000, 32_000, 50_257, 131_072, 262_144] {
        for step in 0..64 {
            let depth = 4.0 + f64::from(step) / 4.0;
            for (place, level) in [(0, 0.0), (vocab / 2, 3.0), (vocab - 1, -7.0)] {
                // The tail is flat to the bit in the first, and has 1/64 of noise in the others.
                let noise = if place == 0 { 0.0 } else { 1.0 / 64.0 };
                let mut row: Vec<f32> = Vec::new();
                row.resize_with(vocab, || (level - depth + noise * random.unit()) as f32);
                row[place] = level as f32;
                let exact = verify::log_sum_exp(&widen(&row));
                for_each_dispatch(|dispatch| {
                    let found = log_z(dispatch, &row, Transform::NONE);
                    worst.see(dispatch, (found - exact).abs(), || {
                        format!("V = {vocab}, tail {depth} below, peak {level} at {place}")
                    });
                });
            }
        }
    }
    worst.settle();
}

/// Rows that have broken softmaxes before, held to the contract.
#[test]
fn adversarial_rows() {
    let huge = 3e38_f32;
    let tiny = f32::from_bits(1);
    let mut staircase: Vec<f32> = (0..3000).map(|j| (j / 100) as f32 * 50.0 - 700.0).collect();
    staircase.push(-1e30);
    let descending: Vec<f32> = staircase.iter().rev().copied().collect();
    let mut cases: Vec<(&str, Vec<f32>)> = vec![
        ("huge", vec![huge, huge, -huge]),
        ("huge alternating", (0..1000).map(|j| if j % 2 == 0 { huge } else { -huge }).collect()),
        ("all huge below", vec![-huge; 777]),
        ("f32::MAX", vec![f32::MAX; 5]),
        ("f32::MIN", vec![f32::MIN; 513]),
        ("f32::MIN mask", (0..2000).map(|j| if j < 1900 { f32::MIN } else { 1.5 }).collect()),
        ("mask behind", (0..2000).map(|j| if j > 3 { f32::MIN } else { 1.5 }).collect()),
        ("-1e4 mask", (0..2000).map(|j| if j % 7 > 0 { -1e4 } else { 0.25 }).collect()),
        ("subnormal", (0..100).map(|j| if j % 2 == 0 { tiny } else { -tiny }).collect()),
        ("zeros", (0..100).map(|j| if j % 2 == 0 { 0.0 } else { -0.0 }).collect()),
        ("ties", (0..1030).map(|j| (j % 3) as f32).collect()),
        ("staircase", staircase),
        ("staircase down", descending),
        ("at the limit of exponents", vec![1316.5, 1317.5, 1317.0, -1316.9]),
        ("far apart", vec![0.0, 1e5, -1e5, 1e5 - 1.0]),
        ("all masked before", [vec![f32::NEG_INFINITY; 1024], vec![0.5; 7]].concat()),
    ];
    for (vocab, x) in [(1, 0.1_f32), (7, -3.3), (512, 20.7), (50_257, 0.3), (262_144, -999.9)] {
        cases.push(("all equal", vec![x; vocab]));
    }
    for power in [-126, -125, -87, -61, -60, -59, 59, 60, 61, 62, 87, 125, 126] {
        // The second block is 2^power above or below the first.
        let y = (f64::from(power) * std::f64::consts::LN_2) as f32;
        cases.push(("step", [vec![0.0; 512], vec![y; 512], vec![0.0; 9]].concat()));
    }
    for (i, (what, row)) in cases.iter().enumerate() {
        let exact = verify::log_sum_exp(&widen(row));
        for_each_dispatch(|dispatch| {
            for target in [None, Some(0), Some(row.len() / 2), Some(row.len() - 1)] {
                let found = match target {
                    None => log_z(dispatch, row, Transform::NONE),
                    Some(target) => log_z_with_target(dispatch, row, target),
                };
                within_contract(found, exact)
                    .unwrap_or_else(|why| panic!("{dispatch:?}, {what} ({i}): {why}"));
            }
        });
    }
}

/// A row that has been through a softmax already has log Z = 0, where ulp-sized excuses end: what
/// is left is the error of the sum, relative to Z.
#[test]
fn rows_with_log_z_near_zero() {
    let mut worst = Worst::of("log Z of normalised rows, absolute");
    for vocab in [17, 64, 512, 1000, 32_000, 131_072] {
        for sigma in SIGMAS {
            for seed in 0..4 {
                let raw = normal_row::<f32>(vocab, sigma, 0.0, seed);
                let log_z_of_raw = verify::log_sum_exp(&widen(&raw));
                let row: Vec<f32> =
                    raw.iter().map(|&x| (f64::from(x) - log_z_of_raw) as f32).collect();
                let exact = verify::log_sum_exp(&widen(&row));
                for_each_dispatch(|dispatch| {
                    let found = log_z(dispatch, &row, Transform::NONE);
                    worst.see(dispatch, (found - exact).abs(), || {
                        format!("V = {vocab}, sigma = {sigma}, seed {seed}")
                    });
                });
            }
        }
    }
    worst.settle();
}

/// A wrong log Z by 1e-6 does not pass.
#[test]
fn planted_faults_are_caught() {
    let row = normal_row::<f32>(1000, 3.0, 0.0, 1);
    let exact = verify::log_sum_exp(&widen(&row));
    let dropped = verify::log_sum_exp(&widen(&row[..999]));
    for_each_dispatch(|dispatch| {
        let found = log_z(dispatch, &row, Transform::NONE);
        assert_eq!(within_contract(found, exact), Ok(()));
        for wrong in [found + 1e-6, found - 1e-6, dropped, f64::NAN, f64::INFINITY] {
            assert!(within_contract(wrong, exact).is_err(), "{wrong} passed");
        }
    });
    let stored = stored::<bf16>(&row);
    let exact = verify::log_sum_exp(&widen(&row));
    let found = log_z(Dispatch::detect(), &stored, Transform::NONE);
    assert!(within_contract(found, exact).is_err(), "the rounding to bf16 passed");
}
