//! Values as powers of two and a part, integers as f64, and blocks in any order.

use crate::common::cases::random;
use crate::common::{Batch, Random, device, first_difference};
use crate::functions::{double, words};
use dpo_kernel_wgpu::{Element, Function, Kernels, Transform};
use half::bf16;

const SCALES: [f32; 4] = [1.0, 0.0625, 0.7, 3.3];

/// From here on equal values alone add up: they have no power.
const FAR: f64 = 536_870_912.0;

/// (n, e^y / 2^n) for y = k·v, from the words of a product that is not rounded.
fn place(k: f64, v: f64) -> (i32, f64) {
    // ln 2 less its f64.
    const LN_2_REST: f64 = 2.319_046_813_846_299_6e-17;
    let y = k * v;
    let n = (y * std::f64::consts::LOG2_E).round_ties_even();
    let rest = (-n).mul_add(std::f64::consts::LN_2, y) - n * LN_2_REST + k.mul_add(v, -y);
    (n as i32, rest.exp())
}

/// Values whose bases are no powers of two.
fn shifts(rng: &mut Random) -> Vec<f32> {
    let mut shifts: Vec<f32> = (0..200_000)
        .map(|i| {
            let size = 2_f64.powf(10.3 + 117.0 * rng.uniform()) * (1.0 + rng.uniform()) / 2.0;
            // Most of them where there is a part.
            let size = if i % 4 == 0 { size } else { 2_f64.powf(10.3 + 19.0 * rng.uniform()) };
            if i % 2 == 0 { size as f32 } else { -size as f32 }
        })
        .collect();
    shifts.extend([f32::MAX, f32::MIN, 5.3687e8, 5.3688e8, -5.3687e8, -5.3688e8]);
    shifts
}

/// The largest error of a part by one scale, in 2^-53; an error if a power is another.
fn worst_part(kernels: &Kernels<'_, f32>, scale: f32) -> Result<f64, String> {
    let shifts = shifts(&mut Random(41));
    let arguments: Vec<_> = shifts.iter().map(|v| [[v.to_bits(), 0], [0, 0]]).collect();
    let transform = Transform::new(scale, None, 0.9).expect("a transform");
    let k = f64::from(scale) / f64::from(0.9_f32);
    let call = |function| kernels.function(function, transform, &arguments).expect("results");
    let (powers, parts) = (call(Function::PlacePower), call(Function::PlacePart));
    let mut worst = 0.0_f64;
    for ((&v, power), part) in shifts.iter().zip(powers).zip(parts) {
        let (power, part) = (power[0] as i32, double(part));
        let v = f64::from(v);
        if (k * v).abs() >= FAR {
            if part.to_bits() != 1.0_f64.to_bits() || power != 0 {
                return Err(format!("{v:e} has the place {power}, {part}"));
            }
            continue;
        }
        let (expected_power, expected) = place(k, v);
        if power != expected_power {
            return Err(format!("{v:e} has the power {power}, not {expected_power}"));
        }
        worst = worst.max((part / expected - 1.0).abs() * 2_f64.powi(53));
    }
    Ok(worst)
}

#[test]
fn values_are_powers_of_two_and_a_part() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    for scale in SCALES {
        let worst = worst_part(&kernels, scale).unwrap_or_else(|error| panic!("{error}"));
        println!("the part by {scale}, relative in 2^-53: {worst:.2}");
        assert!(worst <= 3.0, "a part is {worst} * 2^-53 away, by {scale}");
    }
}

/// The 32 bits of a positive number from 2^(32 place) on.
fn digits(x: f64, place: i32) -> u64 {
    let mantissa = u128::from(x.to_bits() & ((1 << 52) - 1) | 1 << 52);
    let down = 32 * place - ((x.to_bits() >> 52) as i32 - 1075);
    let moved = match down {
        0..128 => mantissa >> down,
        -32..0 => mantissa << -down,
        _ => 0,
    };
    (moved & 0xffff_ffff) as u64
}

/// Two blocks' sums as places, of which the lowest fall out where the blocks are far apart.
fn places_of_two(kernels: &Kernels<'_, f32>) -> Result<(), String> {
    let mut rng = Random(61);
    let mut fraction = |i: usize| match i % 5 {
        0 => 0.0,
        1 => 1.0 - f64::EPSILON,
        _ => rng.uniform(),
    };
    let pairs: Vec<(f64, f64)> = (0..1200 * 64)
        .map(|i| {
            // 0 to 149 powers of two apart, from every bit of a place on.
            let (lead, apart) = ((i / 300 % 64) as i32 * 9 - 300, (i / 2 % 150) as i32);
            let a = (1.0 + fraction(i)) * 2_f64.powi(lead);
            let b = (1.0 + fraction(i / 5)) * 2_f64.powi(lead - apart);
            if i % 2 == 0 { (a, b) } else { (b, a) }
        })
        .collect();
    let arguments: Vec<_> = pairs.iter().map(|&(a, b)| [words(a), words(b)]).collect();
    let call = |function| kernels.function(function, Transform::NONE, &arguments).expect("results");
    let tops = call(Function::TopPlace);
    for (down, function) in
        [(0, Function::HighPlace), (1, Function::MiddlePlace), (2, Function::LowPlace)]
    {
        for ((&(a, b), top), found) in pairs.iter().zip(&tops).zip(call(function)) {
            // From the exponents: a logarithm is rounded.
            let expected_top = ((a.max(b).to_bits() >> 52) as i32 - 1023) >> 5;
            if top[0] as i32 != expected_top {
                return Err(format!("{a:e} + {b:e} is from {} on, not {expected_top}", top[0]));
            }
            let place = expected_top - down;
            let expected = digits(a, place) + digits(b, place);
            let found = u64::from(found[1]) << 32 | u64::from(found[0]);
            if found != expected {
                return Err(format!("{a:e} + {b:e} has {found:#x} at {place}, not {expected:#x}"));
            }
        }
    }
    Ok(())
}

#[test]
fn blocks_are_added_place_by_place() {
    let Some(gpu) = device() else { return };
    places_of_two(&Kernels::new(&gpu).expect("shaders")).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn planted_faults_are_found() {
    let Some(gpu) = device() else { return };
    for (fault, old, new) in [
        ("a product is not rounded", "LN_2_REST)), low)", "LN_2_REST)), vec2<u32>(0u, 0u))"),
        ("ln 2 is its f64", "vec2<u32>(0x3b39803fu, 0x3c7abc9eu)", "vec2<u32>(0u, 0u)"),
        ("the sign is lost", "signed(lost, y)", "lost"),
        ("all values have powers", "const APART: i32 = 1052;", "const APART: i32 = 1053;"),
    ] {
        let kernels = Kernels::<f32>::new(&gpu).and_then(|kernels| kernels.with_edit(old, new));
        let found = worst_part(&kernels.expect(fault), 3.3);
        println!("{fault}: {found:?}");
        assert!(found.is_err() || found.is_ok_and(|worst| worst > 3.0), "{fault} is not found");
    }
    for (fault, old, new) in [
        ("what is 96 places lower stays", "min(top - known.top, 3)", "min(top - known.top, 2)"),
        ("a place is moved by 32 bits", "up > 32u", "up >= 32u"),
        (
            "sums have 32 bits",
            "sum.low = wide_add(sum.low, other.low);",
            "sum.low.x += other.low.x;",
        ),
    ] {
        let kernels = Kernels::<f32>::new(&gpu).and_then(|kernels| kernels.with_edit(old, new));
        let found = places_of_two(&kernels.expect(fault));
        println!("{fault}: {}", found.expect_err(fault));
    }
    let kernels = Kernels::<f32>::new(&gpu)
        .and_then(|kernels| kernels.with_edit("key_of(b.shift) > key_of(a.shift)", "false"))
        .expect("the first base stays");
    let found = any_order(&kernels).expect_err("the first base stays");
    println!("the first base stays: {found}");
}

#[test]
fn integers_are_rounded_to_nearest() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let mut rng = Random(43);
    let mut numbers: Vec<i64> = (0..200_000).map(|i| (rng.bits() >> (8 + i % 56)) as i64).collect();
    for lead in 53..56 {
        // Ties, and one beside them.
        let step = 1_i64 << (lead - 52);
        for n in 0..64 {
            let tie = (1 << lead) + n * step + step / 2;
            numbers.extend([tie - 1, tie, tie + 1, (2 << lead) - 1 - n]);
        }
    }
    numbers.extend(numbers.clone().into_iter().map(|x| -x));
    let arguments: Vec<_> =
        numbers.iter().map(|&x| [[x as u32, (x >> 32) as u32], [0, 0]]).collect();
    let found = kernels.function(Function::OfSigned, Transform::NONE, &arguments).expect("results");
    for (x, found) in numbers.into_iter().zip(found) {
        assert_eq!(found, words(x as f64), "f64 of {x} is {:e}", double(found));
    }
}

/// The same rows with their blocks in another order.
fn shuffled<E: Element>(batch: &Batch<E>, rng: &mut Random) -> Batch<E> {
    const BLOCK: usize = dpo_kernel::row::BLOCK;
    let mut other = batch.clone();
    let mut order: Vec<usize> = (0..batch.vocab / BLOCK).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, rng.below(last + 1));
    }
    for row in 0..batch.rows {
        let from = &batch.logits[row * batch.stride..][..batch.vocab];
        let to = &mut other.logits[row * batch.stride..][..batch.vocab];
        let target = batch.targets[row] as usize;
        for (block, &source) in order.iter().enumerate() {
            to[block * BLOCK..][..BLOCK].copy_from_slice(&from[source * BLOCK..][..BLOCK]);
            if batch.targets[row] != batch.ignore_index && target / BLOCK == source {
                other.targets[row] = (block * BLOCK + target % BLOCK) as u32;
            }
        }
    }
    other
}

fn any_order<E: Element>(kernels: &Kernels<'_, E>) -> Result<(), String> {
    let mut rng = Random(47);
    for (scale, steps) in [(1.0, 0.0), (1.0, 9.0), (0.7, 50.0), (3.3, 3000.0), (0.0625, 1e6)] {
        let mut batch = random::<E>(&mut rng, 512 * 19, 6);
        batch.scale = scale;
        batch.ignore_index = u32::MAX;
        batch.targets.fill(700);
        for (at, x) in batch.logits.iter_mut().enumerate() {
            let block = at % batch.stride / 512;
            *x = E::from_f32((rng.normal(2.0) + steps * (block * 7 % 19) as f64) as f32);
        }
        let expected = batch.on_device(kernels).expect("figures");
        for _ in 0..4 {
            let found = shuffled(&batch, &mut rng).on_device(kernels).expect("figures");
            for (name, found, expected) in [
                ("log p", &found.log_probs, &expected.log_probs),
                ("log Z", &found.log_z, &expected.log_z),
            ] {
                if let Some(row) = first_difference(found, expected) {
                    let (found, expected) = (found[row], expected[row]);
                    let what = format!("{} by {scale}, {steps} a block", E::NAME);
                    return Err(format!("{what}: {name} is {found:e}, not {expected:e}"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_order_of_blocks_changes_nothing() {
    let Some(gpu) = device() else { return };
    any_order(&Kernels::<f32>::new(&gpu).expect("shaders")).expect("f32");
    any_order(&Kernels::<bf16>::new(&gpu).expect("shaders")).expect("bf16");
}
