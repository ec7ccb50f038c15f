//! The scalar functions: golden values, special values, identities, and samples of all f32.
//!
//! `tests/exhaustive` runs the last over every f32, against arbitrary precision.

#![allow(
    clippy::missing_assert_message,
    clippy::unreadable_literal,
    clippy::excessive_precision,
    clippy::approx_constant,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test names what it compares; tables are printed as mpmath prints them"
)]

mod branchless;
mod decades;
mod formula;
mod frexp;
/// Functions that are private to the crate, compiled here once more: for unit tests the whole
/// library would be built a second time.
#[path = "../../src/math"]
mod source {
    pub(crate) mod branchless;
    pub(crate) mod formula;
    pub(crate) mod frexp;
}

use dpo_kernel::math;

/// |`found` − `expected`| in units in the last place of `expected`.
fn ulps(found: f64, expected: f64) -> f64 {
    if found.to_bits() == expected.to_bits() {
        return 0.0;
    }
    (found - expected).abs() / (expected.abs().next_up() - expected.abs())
}

#[track_caller]
fn assert_close(found: f64, expected: f64, bound: f64) {
    let error = ulps(found, expected);
    assert!(error <= bound, "{found:e} is {error} ulp from {expected:e}, more than {bound}");
}

#[track_caller]
fn assert_same(found: f32, expected: f32) {
    let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
    assert!(same, "{found:e} is not {expected:e}");
}

#[expect(clippy::cast_possible_truncation, reason = "a rounding that is wanted")]
fn nearest(x: f64) -> f32 {
    x as f32
}

#[test]
fn extremes() {
    // z, −log σ(z), σ(−z), σ(z) σ(−z), from 40 digits.
    let table = [
        (-1000.0, 1000.0, 1.0, 0.0),
        (-100.0, 100.0, 1.0, 3.720075976020836e-44),
        (-17.0, 17.000000041399376, 0.99999995860062453, 4.1399373760035016e-8),
        (-1e-8, 0.69314718555994532, 0.5000000025, 0.25),
        (0.0, 0.69314718055994531, 0.5, 0.25),
        (17.0, 4.1399376330897474e-8, 4.1399375473943306e-8, 4.1399373760035016e-8),
        (40.0, 4.248354255291589e-18, 4.248354255291589e-18, 4.248354255291589e-18),
        // At the f64 next to 88.8.
        (88.8, 2.720507997802789e-39, 2.720507997802789e-39, 2.720507997802789e-39),
        (100.0, 3.720075976020836e-44, 3.720075976020836e-44, 3.720075976020836e-44),
    ];
    for (z, loss, weight, slope) in table {
        assert_close(-math::log_sigmoid(z), loss, 1.0);
        assert_close(math::softplus(-z), loss, 1.0);
        assert_close(math::sigmoid(-z), weight, 1.0);
        assert_close(math::sigmoid(z) * math::sigmoid(-z), slope, 3.0);
        let single = nearest(z);
        if f64::from(single).to_bits() == z.to_bits() {
            assert_same(math::f32::log_sigmoid(single), nearest(-loss));
            assert_same(math::f32::sigmoid(-single), nearest(weight));
        }
    }
}

#[test]
fn golden_values_of_f64() {
    // x, σ(x), log σ(x), from 3000 bits.
    let table = [
        (-745.0, 5e-324, -745.0),
        (-700.0, 9.85967654375977e-305, -700.0),
        (-104.0, 6.813556821545298e-46, -104.0),
        (-37.5, 5.175555005801868e-17, -37.5),
        (-2.5, 0.07585818002124355, -2.5788897342925496),
        (-1.0, 0.2689414213699951, -1.3132616875182228),
        (-0.5, 0.37754066879814546, -0.9740769841801067),
        (-0.001, 0.4997500000208333, -0.6936473055599401),
        (1e-10, 0.500000000025, -0.6931471805099453),
        (0.25, 0.5621765008857981, -0.5759394198788436),
        (1.0, 0.7310585786300049, -0.3132616875182228),
        (3.0, 0.9525741268224333, -0.04858735157374206),
        (36.9, 0.9999999999999999, -9.430476078526807e-17),
        (104.0, 1.0, -6.813556821545298e-46),
        (708.0, 1.0, -3.307553003638408e-308),
    ];
    for (x, sigmoid, log_sigmoid) in table {
        assert_close(math::sigmoid(x), sigmoid, 1.0);
        assert_close(math::log_sigmoid(x), log_sigmoid, 1.0);
        assert_close(math::softplus(-x), -log_sigmoid, 1.0);
    }
}

#[test]
fn golden_values_of_log1mexp() {
    let table = [
        (-1e-300, -690.7755278982137),
        (-1e-10, -23.025850929990457),
        (-1e-7, -16.118095700958319),
        (-1e-3, -6.9082552373154707),
        (-0.6931, -0.69319436334600089),
        (-0.7, -0.68634100280838511),
        (-20.0, -2.061153624562735e-9),
        (-700.0, -9.85967654375977e-305),
    ];
    for (x, expected) in table {
        assert_close(math::log1mexp(x), expected, 1.0);
    }
}

#[test]
fn golden_values_of_logaddexp() {
    let table = [
        (0.0, 0.0, 0.6931471805599453),
        (1.0, 2.0, 2.313261687518223),
        (-1000.0, -1001.0, -999.6867383124818),
        (1000.0, 999.0, 1000.3132616875182),
        (700.0, -700.0, 700.0),
    ];
    for (a, b, expected) in table {
        assert_close(math::logaddexp(a, b), expected, 1.0);
        assert_close(math::logaddexp(b, a), expected, 1.0);
        assert_same(math::f32::logaddexp(nearest(a), nearest(b)), nearest(expected));
    }
}

#[test]
fn special_values() {
    const INF: f64 = f64::INFINITY;
    type Case = (fn(f64) -> f64, fn(f32) -> f32, [(f64, f64); 5]);
    let nan = f64::NAN;
    // A limit that is approached from below 0 is −0.
    let table: [Case; 4] = [
        (
            math::log_sigmoid,
            math::f32::log_sigmoid,
            [(-INF, -INF), (INF, -0.0), (f64::MAX, -0.0), (-1e30, -1e30), (nan, nan)],
        ),
        (
            math::sigmoid,
            math::f32::sigmoid,
            [(-INF, 0.0), (INF, 1.0), (-0.0, 0.5), (-f64::MAX, 0.0), (nan, nan)],
        ),
        (
            math::softplus,
            math::f32::softplus,
            [(-INF, 0.0), (INF, INF), (1e30, 1e30), (-f64::MAX, 0.0), (nan, nan)],
        ),
        (
            math::log1mexp,
            math::f32::log1mexp,
            [(-INF, -0.0), (0.0, -INF), (-0.0, -INF), (1e-30, nan), (nan, nan)],
        ),
    ];
    for (double, single, cases) in table {
        for (x, expected) in cases {
            let found = double(x);
            let same = found.to_bits() == expected.to_bits() || (found.is_nan() && x.is_nan());
            assert!(same || (found.is_nan() && expected.is_nan()), "{x:e}: {found:e}");
            assert_same(single(nearest(x)), nearest(expected));
        }
    }
    for (a, b, expected) in [
        (-INF, -INF, -INF),
        (INF, INF, INF),
        (-INF, INF, INF),
        (-INF, 1.5, 1.5),
        (INF, 1.5, INF),
        (f64::MAX, -f64::MAX, f64::MAX),
        (nan, -INF, nan),
        (nan, INF, nan),
        (nan, 0.0, nan),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            let found = math::logaddexp(a, b);
            let same = found.to_bits() == expected.to_bits();
            assert!(same || (found.is_nan() && expected.is_nan()), "{a:e}, {b:e}: {found:e}");
            if a.abs() < 1e300 || a.is_infinite() {
                assert_same(math::f32::logaddexp(nearest(a), nearest(b)), nearest(expected));
            }
        }
    }
}

/// A f32 function and an f64 value of it by another formula, from the platform's library.
struct Single {
    name: &'static str,
    tested: fn(f32) -> f32,
    oracle: fn(f64) -> f64,
}

const SINGLES: [Single; 4] = [
    Single {
        name: "log_sigmoid",
        tested: math::f32::log_sigmoid,
        oracle: |x| if x < -700.0 { x } else { -(-x).exp().ln_1p() },
    },
    Single { name: "sigmoid", tested: math::f32::sigmoid, oracle: |x| 1.0 / (1.0 + (-x).exp()) },
    Single {
        name: "softplus",
        tested: math::f32::softplus,
        oracle: |x| if x > 700.0 { x } else { x.exp().ln_1p() },
    },
    Single {
        name: "log1mexp",
        tested: math::f32::log1mexp,
        oracle: |x| if x > -2.0 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() },
    },
];

/// What came of checking some inputs against the oracle, which cannot decide all.
#[derive(Debug, Default)]
struct Tally {
    checked: u32,
    undecided: u32,
    wrong: u32,
}

impl Tally {
    fn check(&mut self, function: &Single, x: f32) {
        /// Far more than the error of two library calls, far less than half an ulp of f32.
        const MARGIN: f64 = 1.0 / 35_184_372_088_832.0; // 2⁻⁴⁵
        let value = (function.oracle)(f64::from(x));
        let [low, high] = [1.0 - MARGIN, 1.0 + MARGIN].map(|factor| nearest(value * factor));
        let found = (function.tested)(x);
        self.checked += 1;
        if low.to_bits() != high.to_bits() && !value.is_nan() {
            self.undecided += 1;
        } else if found.to_bits() != low.to_bits() && !(found.is_nan() && value.is_nan()) {
            self.wrong += 1;
        }
    }
}

/// Every 4093rd f32, and all of those next to a power of two.
fn sample() -> impl Iterator<Item = f32> {
    let near_powers = (0..512_u32).flat_map(|exponent| {
        (0..16_u32).map(move |step| (exponent << 23).wrapping_add(step).wrapping_sub(8))
    });
    (0..=u32::MAX).step_by(4093).chain(near_powers).map(f32::from_bits)
}

#[test]
fn f32_results_are_correctly_rounded() {
    for function in &SINGLES {
        let mut tally = Tally::default();
        sample().for_each(|x| tally.check(function, x));
        assert_eq!(tally.wrong, 0, "{}: {tally:?}", function.name);
        assert!(tally.undecided < 100, "{}: {tally:?}", function.name);
    }
}

#[test]
fn the_check_of_f32_finds_a_wrong_formula() {
    let log_sigmoid = Single { tested: |x| -(1.0 + (-x).exp()).ln(), ..SINGLES[0] };
    let sigmoid = Single { tested: |x| 1.0 - 1.0 / (1.0 + x.exp()), ..SINGLES[1] };
    for function in [log_sigmoid, sigmoid] {
        let mut tally = Tally::default();
        sample().for_each(|x| tally.check(&function, x));
        assert!(tally.wrong > tally.checked / 100, "{}: {tally:?}", function.name);
    }
}

#[test]
fn f32_results_that_f64_rounds_wrongly() {
    // Found by running over all. Those of sigmoid are ½ + x/4 at a midpoint, less x³/48.
    let sigmoids = [
        (0x34c00000, 0x3f000001),
        (0x37660000, 0x3f000039),
        (0xb4400000, 0x3effffff),
        (0xb6ea0000, 0x3effffc6),
        (0xb7370000, 0x3effffa5),
        (0xb7730000, 0x3effff87),
    ];
    for (x, expected) in sigmoids.map(|(x, y)| (f32::from_bits(x), f32::from_bits(y))) {
        assert_same(math::f32::sigmoid(x), expected);
        assert!(nearest(math::sigmoid(f64::from(x))).to_bits() != expected.to_bits());
    }
    let (x, expected) = (f32::from_bits(0xb9ea41d0), f32::from_bits(0xbf3180bd));
    assert_same(math::f32::log_sigmoid(x), expected);
    assert!(nearest(math::log_sigmoid(f64::from(x))).to_bits() != expected.to_bits());
    // 2⁻⁵⁴·⁶ of its size away from a boundary, nearer than any other of log1mexp: by 300 bits.
    for (x, expected) in
        [(0x9f11_6ab7, 0xc233_b53e), (0x9f11_6ab8, 0xc233_b53e), (0x9f11_6ab9, 0xc233_b53d)]
    {
        assert_same(math::f32::log1mexp(f32::from_bits(x)), f32::from_bits(expected));
    }
}

#[test]
fn f32_results_are_monotone() {
    type Case = (fn(f32) -> f32, [f32; 4]);
    let falling: Case = (|x| -math::f32::log1mexp(x), [-1e-3, -0.6931472, -16.0, -103.9]);
    let rising: [Case; 3] = [
        (math::f32::log_sigmoid, [-17.0, 0.0, 16.6, 103.9]),
        (math::f32::sigmoid, [-103.9, 0.0, 17.3, -88.0]),
        (math::f32::softplus, [-103.9, 0.0, 17.0, -16.6]),
    ];
    for (function, starts) in rising.into_iter().chain([falling]) {
        for start in starts {
            let mut x = start;
            for _ in 0..20_000 {
                let next = x.next_up();
                assert!(function(x) <= function(next), "falls after {x:e}");
                x = next;
            }
        }
    }
}

#[test]
fn identities() {
    for x in (-2000..=2000).map(|step| f64::from(step) * 0.173) {
        let (sigmoid, mirrored) = (math::sigmoid(x), math::sigmoid(-x));
        assert_close(sigmoid + mirrored, 1.0, 1.0);
        assert_close(math::log_sigmoid(x) + math::softplus(-x) + 1.0, 1.0, 0.0);
        // The logarithm of the odds: exact but for the roundings of its two terms.
        let odds = math::log_sigmoid(x) - math::log_sigmoid(-x);
        assert!((odds - x).abs() <= 4.0 * f64::EPSILON * x.abs().max(1.0), "{x}: {odds}");
        assert_close(math::logaddexp(x, 0.0), math::softplus(x), 0.0);
        assert_close(math::logaddexp(0.0, x), math::softplus(x), 0.0);
        let log_mirrored = math::log1mexp(math::log_sigmoid(-x.abs()));
        // The exponential of the rounded logarithm magnifies that rounding by |x|.
        assert_close(log_mirrored, math::log_sigmoid(x.abs()), 4.0 + x.abs());
        assert_close(math::logaddexp(x + 8.0, 8.0), 8.0 + math::softplus(x), 8.0);

        let x = nearest(x);
        assert_same(math::f32::softplus(x), -math::f32::log_sigmoid(-x));
        assert_same(math::f32::logaddexp(x, 0.0), math::f32::softplus(x));
        assert_same(math::f32::logaddexp(0.0, x), math::f32::softplus(x));
        let sum = f64::from(math::f32::sigmoid(x)) + f64::from(math::f32::sigmoid(-x));
        assert!((sum - 1.0).abs() <= f64::from(f32::EPSILON) / 2.0, "{x}: {sum}");
    }
}

#[test]
fn logaddexp_of_f32_that_cancels() {
    // log(1 − e^a) in f32, so that log(eᵃ + eᵇ) is a rounding error; the results are from mpmath.
    let table = [
        (-0.6931471824645996, -0.6931471824645996, -1.904654299957768e-09),
        (-0.5, -0.9327521324157715, -1.1208300383592535e-09),
        (-0.009999999776482582, -4.610166072845459, -3.1124509373085364e-10),
        (-3.0, -0.05106918141245842, -4.4636901768202047e-10),
        (-10.0, -4.54009605164174e-05, -1.459215644148032e-13),
        (-9.999999747378752e-06, -11.512930870056152, -3.798261108823144e-12),
        (-15.5, -1.8553915026586765e-07, 3.2081172529886542e-15),
    ];
    for (a, b, expected) in table {
        assert_same(math::f32::logaddexp(nearest(a), nearest(b)), nearest(expected));
        // In f64 the error stays small beside the arguments.
        assert!((math::logaddexp(a, b) - expected).abs() <= f64::EPSILON * a.min(b).abs());
    }
}
