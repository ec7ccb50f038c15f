//! The comparison itself: what agrees, what does not, and what it says.

use dpo_kernel::verify::{Figure, Mismatch, Tolerance, compare, compare_all};
use dpo_kernel::{bf16, f16};

const INF: f64 = f64::INFINITY;

/// Neighbouring numbers are one ulp apart, at every size and in every type.
#[test]
fn ulps_are_distances_of_neighbours() {
    for x in [0.0, 1e-310, f64::MIN_POSITIVE, 0.1, 1.0, 1.5, 2.0, 1e300] {
        assert_eq!(f64::ulp(x), x.next_up() - x, "{x:e}");
    }
    for x in [0.0, 1e-45, 1e-40, f32::MIN_POSITIVE, 0.1, 1.0, 2.0 - 1e-6, 2.0, 3e38] {
        assert_eq!(f32::ulp(x.into()), f64::from(x.next_up()) - f64::from(x), "{x:e}");
        assert_eq!(f32::ulp((-x).into()), f32::ulp(x.into()), "{x:e}");
    }
    for bits in 0..0x7bff_u16 {
        let [x, next] = [bits, bits + 1].map(|bits| f16::from_bits(bits).value());
        assert_eq!(f16::ulp(x), next - x, "f16 {bits:#06x}");
    }
    for bits in 0..0x7f7f_u16 {
        let [x, next] = [bits, bits + 1].map(|bits| bf16::from_bits(bits).value());
        assert_eq!(bf16::ulp(x), next - x, "bf16 {bits:#06x}");
    }
}

/// The least number that rounds to infinity is halfway past the largest.
#[test]
fn overflow_begins_halfway() {
    let halfway = |largest: f64, ulp: f64| largest + ulp / 2.0;
    assert_eq!(f32::OVERFLOW, halfway(f32::MAX.into(), f32::ulp(f32::MAX.into())));
    assert_eq!(f16::OVERFLOW, halfway(f16::MAX.value(), f16::ulp(f16::MAX.value())));
    assert_eq!(bf16::OVERFLOW, halfway(bf16::MAX.value(), bf16::ulp(bf16::MAX.value())));
    assert_eq!(f32::OVERFLOW as f32, f32::INFINITY);
    assert_eq!(f32::OVERFLOW.next_down() as f32, f32::MAX);
}

#[test]
fn what_agrees() {
    let half = Tolerance::ulps(0.5);
    for (expected, found, tolerance) in [
        (1.0, 1.0_f32, Tolerance::EXACT),
        (0.0, -0.0, Tolerance::EXACT),
        (f64::NAN, f32::NAN, Tolerance::EXACT),
        (INF, f32::INFINITY, Tolerance::EXACT),
        (-INF, f32::NEG_INFINITY, half),
        (0.1, 0.1, half),
        (1e-50, 0.0, half),
        (1e39, f32::INFINITY, Tolerance::EXACT),
        (-1e39, f32::NEG_INFINITY, half),
        (3.0, 3.5, Tolerance::EXACT.and_absolute(0.5)),
        (3.0, 3.5, Tolerance::EXACT.and_relative(0.2)),
        (f64::from(f32::MAX) * (1.0 + 1e-8), f32::MAX, half),
    ] {
        let result = compare("x", 0.0, expected, found, tolerance);
        assert_eq!(result, Ok(()), "{expected:e} {found:e}");
    }
}

/// What a careless checker lets pass.
#[test]
fn what_does_not() {
    let wide = Tolerance::ulps(4.0).and_relative(0.1);
    for (expected, found, tolerance) in [
        (0.0, f32::NAN, wide.and_absolute(INF)),
        (f64::NAN, 0.0, wide.and_absolute(INF)),
        (INF, f32::MAX, wide.and_absolute(1e300)),
        (INF, f32::NEG_INFINITY, wide),
        (-INF, f32::INFINITY, wide),
        (1.0, f32::INFINITY, wide),
        (1e39, f32::NEG_INFINITY, wide),
        (0.0, 1e-30, wide),
        (0.0, 8e-45, wide),
        (1e-30, 0.0, wide),
        (1.0, -1.0, wide),
        (1.0, 1.2, wide),
        (1.0, 1.0 + f32::EPSILON, Tolerance::ulps(0.5)),
        (1.0, 1.0 + f32::EPSILON, Tolerance::EXACT.and_relative(1e-8)),
    ] {
        let result = compare("x", 0.5, expected, found, tolerance);
        assert!(result.is_err(), "{expected:e} {found:e} passed");
    }
    let [x, y, z] = [[1.0, 2.0], [1.0, 3.0], [1.0, 2.0]];
    let exact = |_| Tolerance::EXACT;
    assert_eq!(compare_all("x", &x, &x, &z, exact), Ok(()));
    let Err(Mismatch::Value { index, .. }) = compare_all("x", &x, &x, &y, exact) else {
        panic!("another number passed");
    };
    assert_eq!(index, 1, "the place of the first that is wrong");
    for short in [&x[..1], &[]] {
        let result = compare_all("x", short, &x, &x, exact);
        assert!(matches!(result, Err(Mismatch::Length { expected: 2, .. })), "{result:?}");
        assert!(compare_all("x", &x, &x, short, exact).is_err(), "fewer figures passed");
        assert!(compare_all("x", short, short, &x, exact).is_err(), "more figures passed");
    }
    // Figures that are compared one by one may each have their own tolerance.
    let second = |i| if i == 1 { Tolerance::EXACT.and_absolute(1.0) } else { Tolerance::EXACT };
    assert_eq!(compare_all("x", &x, &x, &y, second), Ok(()));
}

/// The three parts by themselves and together; an infinite part of 0 is 0.
#[test]
fn what_is_allowed() {
    let ulp = f64::from(f32::EPSILON);
    let all = Tolerance::ulps(2.0).and_relative(0.25).and_absolute(3.0);
    assert_eq!(all, Tolerance { ulps: 2.0, relative: 0.25, absolute: 3.0 });
    assert_eq!(all.and_relative(0.5).and_absolute(1.0).allowed::<f32>(1.0), 2.0 * ulp + 0.75 + 4.0);
    for (tolerance, expected, allowed) in [
        (Tolerance::EXACT, 1.5, 0.0),
        (Tolerance::ulps(0.5), 1.5, 0.5 * ulp),
        (Tolerance::ulps(0.5), -4.0, 2.0 * ulp),
        (Tolerance::EXACT.and_relative(0.5), -3.0, 1.5),
        (Tolerance::EXACT.and_absolute(0.5), -3.0, 0.5),
        (all, 1.5, 2.0 * ulp + 0.375 + 3.0),
        (Tolerance::EXACT.and_relative(INF), 0.0, 0.0),
        (Tolerance::EXACT, INF, 0.0),
    ] {
        assert_eq!(tolerance.allowed::<f32>(expected), allowed, "{tolerance:?} of {expected}");
    }
    let half = Tolerance::ulps(0.5);
    assert_eq!(half.allowed::<f64>(1.5), 0.5 * f64::EPSILON);
    assert_eq!(half.allowed::<f16>(1.5), 0.5 / 1024.0);
    assert_eq!(half.allowed::<bf16>(1.5), 0.5 / 128.0);
}

/// From where on infinity may be found: where expected and allowed reach what rounds to it.
#[test]
fn overflow_is_found_on_its_side_and_no_sooner() {
    let (one, far) = (Tolerance::EXACT, Tolerance::EXACT.and_absolute(32.0));
    for (expected, found, tolerance, agrees) in [
        (65520.0, INF, one, true),
        (65519.0, INF, one, false),
        (65519.0, INF, far, true),
        (-65520.0, -INF, one, true),
        (-65520.0, INF, one, false),
        (65520.0, -INF, one, false),
        (65504.0, INF, one, false),
        (65504.0, 65504.0, one, true),
        (65520.0, 65504.0, one, false),
        (65520.0, 65504.0, far, true),
    ] {
        let result = compare("x", 0.0, expected, f16::from_f64(found), tolerance);
        assert_eq!(result.is_ok(), agrees, "{expected} {found} {tolerance:?}");
    }
}

/// A bound is met, and passed by the next number.
#[test]
fn bounds_are_sharp() {
    for (expected, found, allowed, agrees) in [
        (1.0, 1.25, 0.25, true),
        (1.0, 1.25 + f64::EPSILON, 0.25, false),
        (1.0, 0.75, 0.25, true),
        (1.0, 0.75 - f64::EPSILON, 0.25, false),
        (0.0, -5e-324, 0.0, false),
        (0.0, -5e-324, 5e-324, true),
    ] {
        let result = compare("x", 0.0, expected, found, Tolerance::EXACT.and_absolute(allowed));
        assert_eq!(result.is_ok(), agrees, "{expected} {found} {allowed}");
    }
}

/// Every part of a message is the one that was put in.
#[test]
fn a_mismatch_holds_what_was_put_in() {
    let tolerance = |i: usize| Tolerance::EXACT.and_absolute(0.125 * (1.0 + i as f64));
    let found =
        compare_all("y", &[7.0, 8.0, 9.0], &[1.0, 2.0, 4.0], &[1.0_f32, 2.0, 4.5], tolerance);
    let expected = Mismatch::Value {
        what: "y",
        index: 2,
        input: 9.0,
        expected: 4.0,
        found: 4.5,
        ulps: 0.5 / f64::from(f32::EPSILON) / 4.0,
        allowed: 0.375,
    };
    assert_eq!(found, Err(expected));
    let lengths = |inputs: usize, expected: usize, found: usize| {
        let x = [0.0; 4];
        compare_all("z", &x[..inputs], &x[..expected], &x[..found], |_| Tolerance::EXACT)
    };
    let wrong = |expected, found| Err(Mismatch::Length { what: "z", expected, found });
    assert_eq!(lengths(1, 2, 2), wrong(2, 1), "inputs");
    assert_eq!(lengths(3, 3, 4), wrong(3, 4), "figures");
    assert_eq!(lengths(4, 4, 4), Ok(()), "as many");
    let nan = compare("n", 1.0, 2.0, f32::NAN, Tolerance::EXACT);
    assert!(matches!(nan, Err(Mismatch::Value { ulps, .. }) if ulps.is_nan()), "{nan:?}");
}

#[test]
fn what_it_says() {
    let why = compare("log p", -3.0, 1.0, 1.0 + 3.0 * f32::EPSILON, Tolerance::ulps(0.5));
    let why = why.unwrap_err();
    let Mismatch::Value { ulps, allowed, .. } = why else { panic!("{why}") };
    assert_eq!((ulps, allowed), (3.0, f64::from(f32::EPSILON) / 2.0));
    assert_eq!(
        why.to_string(),
        "log p[0] of input -3e0: expected 1e0, found 1.0000003576278687e0, 3.00 ulp apart where \
         5.960464477539063e-8 is allowed"
    );
    let why = compare_all("sums", &[], &[], &[0.0], |_| Tolerance::EXACT).unwrap_err();
    assert_eq!(why.to_string(), "sums: 0 expected, 1 found");
}
