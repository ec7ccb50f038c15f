//! Sums as integers: any order, one result; near the exact sum; within 64 bits at the worst.

use dpo_kernel_mpi::exact::{Fixed, NOT_FINITE, ZERO, exponent};
use dpo_kernel_mpi::finetune::random::Random;

fn sum(values: &[f32], parts: usize) -> f32 {
    let fixed = Fixed::new(exponent(values), parts).unwrap();
    fixed.float(values.iter().map(|&x| fixed.integer(x)).sum())
}

/// Numbers of many sizes.
fn numbers(count: usize, random: &mut Random) -> Vec<f32> {
    (0..count).map(|_| random.normal() * 2.0_f32.powi((random.bits() % 24) as i32 - 12)).collect()
}

#[test]
fn an_exponent_is_the_least_power_above() {
    for power in -126..128 {
        let x = 2.0_f32.powi(power);
        assert_eq!(exponent(&[x]), power + 1, "2^{power} is below 2^{}", power + 1);
        assert_eq!(exponent(&[-x.next_down(), 0.0]), power.max(-126), "just below 2^{power}");
    }
    assert_eq!(exponent(&[f32::MAX, -1.0]), 128);
    assert_eq!(exponent(&[f32::from_bits(1)]), -126, "subnormal");
    assert_eq!(exponent(&[0.0, -0.0]), ZERO);
    assert_eq!(exponent(&[]), ZERO);
    for odd in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(exponent(&[1.0, odd, 2.0]), NOT_FINITE);
    }
    assert!(Fixed::new(ZERO, 4).is_none() && Fixed::new(NOT_FINITE, 4).is_none());
}

#[test]
fn every_order_and_grouping_gives_the_same_bits() {
    let mut random = Random(5);
    let mut float_orders_differ = false;
    for count in [1, 2, 3, 16, 100] {
        let mut values = numbers(count, &mut random);
        let (expected, in_order) = (sum(&values, count), values.iter().sum::<f32>());
        for _ in 0..50 {
            random.shuffle(&mut values);
            assert_eq!(sum(&values, count).to_bits(), expected.to_bits(), "{count} numbers");
            float_orders_differ |= values.iter().sum::<f32>().to_bits() != in_order.to_bits();
            let fixed = Fixed::new(exponent(&values), count).unwrap();
            let (left, right) = values.split_at(count / 3);
            let part = |values: &[f32]| values.iter().map(|&x| fixed.integer(x)).sum::<i64>();
            assert_eq!(fixed.float(part(left) + part(right)).to_bits(), expected.to_bits());
        }
    }
    assert!(float_orders_differ, "the numbers would tell a sum of floats");
}

#[test]
fn the_sum_is_the_exact_one_rounded() {
    // 24 bits within 2^−24 of the largest, 100 parts: nothing is rounded before the end, and f64
    // adds without error too.
    let mut random = Random(6);
    for count in [2, 16, 100] {
        let values: Vec<f32> = (0..count).map(|_| random.uniform() - 0.5).collect();
        let exact: f64 = values.iter().map(|&x| f64::from(x)).sum();
        assert_eq!(sum(&values, count).to_bits(), (exact as f32).to_bits(), "{count} numbers");
    }
    // Cancellation to the last bit.
    assert_eq!(sum(&[1.0, 2.0_f32.powi(-30), -1.0], 3).to_bits(), 2.0_f32.powi(-30).to_bits());
}

#[test]
fn the_worst_sum_fits_into_64_bits() {
    for parts in [1, 2, 3, 16, 1000, 4096] {
        for top in [f32::MAX, 1.0, f32::MIN_POSITIVE, f32::from_bits(1)] {
            let fixed = Fixed::new(exponent(&[top]), parts).unwrap();
            let one = fixed.integer(top);
            let all = one.checked_mul(parts as i64).expect("no overflow");
            assert!(all.unsigned_abs() <= 1 << 62, "{parts} times {top:e}");
            let expected = f64::from(top) * parts as f64;
            let found = f64::from(fixed.float(all));
            // Beyond f32 the sum is infinite, as it must be.
            let is_near = (found - expected).abs() <= expected * 2.0_f64.powi(-24);
            assert!(is_near || expected > f64::from(f32::MAX), "{parts} times {top:e}: {found:e}");
        }
    }
}
