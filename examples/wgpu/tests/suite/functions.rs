//! The functions of the shaders on this device: integers exactly, f32 against f64.

use crate::common::{Random, device};
use dpo_kernel_wgpu::{Element, Function, Kernels, Transform};
use half::{bf16, f16};

/// Arguments of a call.
const CALL: usize = 1 << 20;

pub fn words(x: f64) -> [u32; 2] {
    [x.to_bits() as u32, (x.to_bits() >> 32) as u32]
}

pub fn double([low, high]: [u32; 2]) -> f64 {
    f64::from_bits(u64::from(high) << 32 | u64::from(low))
}

fn call<E: Element>(
    kernels: &Kernels<'_, E>,
    function: Function,
    arguments: &[[[u32; 2]; 2]],
) -> Vec<[u32; 2]> {
    let mut found = Vec::new();
    for arguments in arguments.chunks(CALL) {
        found.extend(
            kernels.function(function, Transform::NONE, arguments).expect("the device's results"),
        );
    }
    found
}

/// Bits of f32 from one to another, `step` apart.
fn dense(from: f32, to: f32, step: usize) -> Vec<u32> {
    (from.to_bits()..=to.to_bits()).step_by(step).collect()
}

fn of_f32(bits: &[u32]) -> Vec<[[u32; 2]; 2]> {
    bits.iter().map(|&bits| [[bits, 0], [0, 0]]).collect()
}

/// The largest error of results beside f64, and where.
fn worst(
    found: impl Iterator<Item = (f64, f64, f32)>,
    error: impl Fn(f64, f64) -> f64,
) -> (f64, f32) {
    let mut worst = (0.0, f32::NAN);
    for (found, expected, at) in found {
        let error = error(found, expected);
        assert!(error.is_finite(), "{found} at {at}, not {expected}");
        if error > worst.0 {
            worst = (error, at);
        }
    }
    worst
}

/// A bound is neither exceeded nor more than twice as large as what is found.
fn check(what: &str, (found, at): (f64, f32), bound: f64) {
    println!("{what}: {found:.4} at {at:e}");
    assert!(found <= bound, "{what}: {found} at {at:e} is beyond {bound}");
    assert!(2.0 * found > bound, "{what}: {bound} can be tightened to {found}");
}

fn relative(found: f64, expected: f64) -> f64 {
    (found / expected - 1.0).abs() * 16_777_216.0
}

#[test]
fn exp_is_within_its_bound() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    // From 2^-40 on: below, e^d is 1 whatever the device does.
    for (sign, largest) in [(0x8000_0000, 87.3), (0, 69.0)] {
        let bits: Vec<u32> = dense(9.1e-13, largest, 401).into_iter().map(|x| x | sign).collect();
        let found = call(&kernels, Function::Exp, &of_f32(&bits));
        let figures = bits.iter().zip(&found).map(|(&bits, &[w, scale])| {
            let (d, scale) = (f32::from_bits(bits), f64::from(f32::from_bits(scale)));
            (scale + scale * f64::from(f32::from_bits(w)), f64::from(d).exp(), d)
        });
        check("e^d, relative in 2^-24", worst(figures, relative), 0.8);
    }
}

#[test]
fn exp_of_what_is_masked_is_zero() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let low = [f32::NEG_INFINITY, f32::MIN, -1e30, -1000.0, -88.4].map(f32::to_bits);
    for [w, scale] in call(&kernels, Function::Exp, &of_f32(&low)) {
        assert_eq!(scale, 0, "the scale, with w = {:e}", f32::from_bits(w));
        assert!(f32::from_bits(w).is_finite(), "w");
    }
}

#[test]
fn tanh_and_its_slope_are_within_their_bounds() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let bits = dense(1e-30, 60.0, 773);
    let negative: Vec<u32> = bits.iter().map(|x| x | 0x8000_0000).collect();
    for bits in [bits, negative] {
        let found = call(&kernels, Function::Tanh, &of_f32(&bits));
        let figures = bits.iter().zip(found).map(|(&bits, [found, _])| {
            let u = f32::from_bits(bits);
            (f64::from(f32::from_bits(found)), f64::from(u).tanh(), u)
        });
        check("tanh, relative in 2^-24", worst(figures, relative), 2.7);
    }
    let bits = dense(1e-30, 43.0, 773);
    let found = call(&kernels, Function::TanhSlope, &of_f32(&bits));
    let figures = bits.iter().zip(found).map(|(&bits, [found, _])| {
        let u = f32::from_bits(bits);
        let cosh = f64::from(u).cosh();
        (f64::from(f32::from_bits(found)), 1.0 / cosh / cosh, u)
    });
    check("1 - tanh^2, relative in 2^-24", worst(figures, relative), 5.0);
    let beyond = dense(44.1, f32::MAX, 9_999_991);
    for [found, _] in call(&kernels, Function::Tanh, &of_f32(&beyond)) {
        assert_eq!(f32::from_bits(found).to_bits(), 1.0_f32.to_bits(), "tanh");
    }
    for [found, _] in call(&kernels, Function::TanhSlope, &of_f32(&beyond)) {
        assert_eq!(found, 0, "the slope");
    }
}

#[test]
fn quotients_are_rounded_to_nearest() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let mut rng = Random(7);
    let mut pairs = Vec::new();
    for i in 0..1 << 20 {
        // As tanh and its slope have them.
        let b = 1.0 + rng.uniform() as f32 * if i % 2 == 0 { 1.0 } else { 3.0 };
        let a = match i % 3 {
            0 => rng.uniform() as f32 * 4.0,
            1 => f32::from_bits(b.to_bits() - rng.below(4) as u32),
            _ => f32::from_bits((3 << 23) + rng.below(0x3e80_0000) as u32),
        };
        pairs.push((a, b));
    }
    let arguments: Vec<_> =
        pairs.iter().map(|(a, b)| [[a.to_bits(), 0], [b.to_bits(), 0]]).collect();
    for ((a, b), [found, _]) in
        pairs.into_iter().zip(call(&kernels, Function::Quotient, &arguments))
    {
        assert_eq!(found, (a / b).to_bits(), "{a:e} / {b:e} is {:e}", f32::from_bits(found));
    }
}

/// Numbers of all sizes whose results are normal.
fn doubles(rng: &mut Random, count: usize) -> Vec<f64> {
    (0..count)
        .map(|i| {
            let exponent =
                if i % 4 == 0 { rng.below(600) as i32 - 300 } else { rng.below(60) as i32 - 30 };
            // Some of few bits, which give ties.
            let fraction = if i % 3 == 0 { rng.below(16) as f64 / 16.0 } else { rng.uniform() };
            let size = (1.0 + fraction) * 2_f64.powi(exponent);
            if rng.below(2) == 0 { size } else { -size }
        })
        .collect()
}

#[test]
fn doubles_have_the_bits_of_the_processor() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let mut rng = Random(11);
    let (a, mut b) = (doubles(&mut rng, CALL), doubles(&mut rng, CALL));
    for (i, (a, b)) in a.iter().zip(&mut b).enumerate() {
        match i % 16 {
            0 => *b = -a,
            1 => *b = -f64::from_bits(a.to_bits() + 1),
            2 => *b = 0.0,
            // A half ulp, and a little more or less.
            3 => *b = a.abs() * 2_f64.powi(-53),
            4 => *b = -a.abs() * 2_f64.powi(-54) * 1.000_000_1,
            _ => {}
        }
    }
    let arguments: Vec<_> = a.iter().zip(&b).map(|(&a, &b)| [words(a), words(b)]).collect();
    for (name, function, result) in [
        ("+", Function::Add, (|a, b| a + b) as fn(f64, f64) -> f64),
        ("*", Function::Mul, |a, b| a * b),
        ("/", Function::Div, |a, b| if b == 0.0 { f64::NAN } else { a / b }),
    ] {
        let found = call(&kernels, function, &arguments);
        for ((&a, &b), found) in a.iter().zip(&b).zip(found) {
            let expected = result(a, b);
            // What is subnormal becomes 0; nothing is divided by 0.
            if !expected.is_nan() && (expected == 0.0 || expected.is_normal()) {
                assert_eq!(words(expected), found, "{a:e} {name} {b:e} is {:e}", double(found));
            }
        }
    }
}

#[test]
fn doubles_and_f32_become_each_other() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let bits: Vec<u32> =
        (0..=u32::MAX).step_by(4093).filter(|&x| f32::from_bits(x).is_finite()).collect();
    for (&bits, found) in bits.iter().zip(call(&kernels, Function::OfF32, &of_f32(&bits))) {
        assert_eq!(found, words(f32::from_bits(bits).into()), "f64 of {bits:#x}");
    }
    let mut rng = Random(13);
    let mut numbers = Vec::new();
    for &bits in &bits {
        let (x, next) = (f64::from(f32::from_bits(bits)), f64::from(f32::from_bits(bits ^ 1)));
        let middle = x.midpoint(next);
        numbers.extend([x, middle, middle * (1.0 + f64::EPSILON), x + (next - x) * rng.uniform()]);
    }
    numbers.extend([
        1e300,
        -1e300,
        3.402_823_5e38,
        3.402_823_6e38,
        1e-46,
        -1e-300,
        7.0e-46,
        7.1e-46,
    ]);
    numbers.retain(|x| *x == 0.0 || x.is_normal());
    let arguments: Vec<_> = numbers.iter().map(|&x| [words(x), [0, 0]]).collect();
    for (&x, [found, _]) in numbers.iter().zip(call(&kernels, Function::ToF32, &arguments)) {
        assert_eq!(found, (x as f32).to_bits(), "f32 of {x:e}");
    }
}

#[test]
fn functions_of_doubles_are_within_their_bounds() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let mut rng = Random(17);
    let run = |function, x: &[f64]| {
        let arguments: Vec<_> = x.iter().map(|&x| [words(x), [0, 0]]).collect();
        call(&kernels, function, &arguments)
    };
    let relative = |found: f64, expected: f64| (found / expected - 1.0).abs() * 2_f64.powi(53);
    let x: Vec<f64> = (0..1 << 18).map(|_| rng.uniform() * 1400.0 - 700.0).collect();
    let found = run(Function::ExpDouble, &x);
    let figures = x.iter().zip(found).map(|(&x, found)| (double(found), x.exp(), x as f32));
    check("exp in f64, relative in 2^-53", worst(figures, relative), 3.0);
    let q: Vec<f64> = (0..1 << 18).map(|_| (rng.uniform() * 1300.0 - 600.0).exp()).collect();
    let found = run(Function::Ln1pDouble, &q);
    let figures = q.iter().zip(found).map(|(&q, found)| (double(found), q.ln_1p(), q as f32));
    check("ln(1 + q) in f64, relative in 2^-53", worst(figures, relative), 3.0);
    let x: Vec<f64> = (0..1 << 18).map(|_| 0.5 + (rng.uniform() * 60.0 - 30.0).exp()).collect();
    let found = run(Function::LnDouble, &x);
    let figures = x.iter().zip(found).map(|(&x, found)| (double(found), x.ln(), x as f32));
    let near = |found: f64, expected: f64| {
        (found - expected).abs() / expected.abs().max(1.0) * 2_f64.powi(53)
    };
    check("ln in f64, in 2^-53 of its size or 1", worst(figures, near), 3.0);
}

/// All 65,536 words of a type, both ways.
fn halves<E: Element>(of_bits: impl Fn(u16) -> E, to_bits: impl Fn(E) -> u16) {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<E>::new(&gpu).expect("shaders");
    // Two in a word, and which of them is meant.
    let arguments: Vec<_> = (0..=u16::MAX)
        .flat_map(|bits| {
            let word = u32::from(bits) | u32::from(!bits) << 16;
            [[[word, 2 * u32::from(bits)], [0, 0]], [[word, 2 * u32::from(bits) + 1], [0, 0]]]
        })
        .collect();
    let found = call(&kernels, Function::Decoded, &arguments);
    for (bits, found) in (0..=u16::MAX).zip(found.chunks(2)) {
        for (bits, [found, _]) in [bits, !bits].into_iter().zip(found) {
            let (expected, found) = (of_bits(bits).to_f32(), f32::from_bits(*found));
            let is_same =
                expected.to_bits() == found.to_bits() || (expected.is_nan() && found.is_nan());
            assert!(is_same, "{bits:#x} is {found:e}, not {expected:e}");
        }
    }
    // Each number, the middle to the next, and the neighbours of both; and others.
    let mut numbers = Vec::new();
    for bits in 0..=u16::MAX {
        let (x, next) = (of_bits(bits).to_f32(), of_bits(bits.wrapping_add(1)).to_f32());
        let middle = f64::from(x).midpoint(f64::from(next)) as f32;
        for x in [x, middle] {
            numbers.extend([x.to_bits(), x.to_bits().wrapping_add(1), x.to_bits().wrapping_sub(1)]);
        }
    }
    numbers.extend((0..=u32::MAX).step_by(65_521));
    let found = call(&kernels, Function::Encoded, &of_f32(&numbers));
    for (&bits, [found, _]) in numbers.iter().zip(found) {
        let (x, found) = (f32::from_bits(bits), found as u16);
        let expected = E::from_f32(x);
        let is_nan = expected.to_f32().is_nan() && of_bits(found).to_f32().is_nan();
        assert!(is_nan || to_bits(expected) == found, "{x:e} becomes {found:#x}");
    }
}

#[test]
fn f16_is_converted_exactly() {
    halves(f16::from_bits, f16::to_bits);
}

#[test]
fn bf16_is_converted_exactly() {
    halves(bf16::from_bits, bf16::to_bits);
}

#[test]
fn what_is_not_finite_is_told_by_its_bits() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let mut bits: Vec<u32> = (0..=u32::MAX).step_by(65_521).collect();
    for x in [f32::INFINITY, f32::NAN, f32::MAX, 0.0, f32::MIN_POSITIVE] {
        for sign in [0, 0x8000_0000] {
            bits.extend([x.to_bits() | sign, (x.to_bits() | sign).wrapping_add(1)]);
        }
    }
    for (&bits, [found, _]) in bits.iter().zip(call(&kernels, Function::IsBad, &of_f32(&bits))) {
        let x = f32::from_bits(bits);
        assert_eq!(found == 1, x.is_nan() || x == f32::INFINITY, "{x:e}, {bits:#x}");
    }
}
