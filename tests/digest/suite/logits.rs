//! Seeded logits, made column by column from integers: the same on every machine.

use dpo_kernel::{Element, Transform};

/// Some of everything that a model may do to its logits.
pub fn transforms() -> [Transform; 6] {
    [
        Transform::NONE,
        Transform::new(1.0, None, 0.7).unwrap(),
        Transform::new(1.0, Some(30.0), 1.0).unwrap(),
        Transform::new(0.0625, None, 1.0).unwrap(),
        Transform::new(1.5, Some(5.0), 0.3).unwrap(),
        Transform::new(1.0, None, 1e-3).unwrap(),
    ]
}

/// 64 bits of which each depends on all of seed and index (the finaliser of `SplitMix64`).
pub const fn bits(seed: u32, index: u32) -> u64 {
    let x = ((seed as u64) << 32 | index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// About normal, of deviation 1.15 in ±4: a sum of four signed 16-bit numbers, over 2^15. Exact.
pub fn bell(bits: u64) -> f32 {
    let part = |i: u32| i32::from((bits >> (16 * i)) as u16 as i16);
    (part(0) + part(1) + part(2) + part(3)) as f32 / 32_768.0
}

/// A number below `bound`.
pub fn below(bits: u64, bound: usize) -> usize {
    (bits % bound as u64) as usize
}

/// Kinds of rows.
pub const KINDS: u32 = 9;

/// Column `column` of row `seed`, of a kind of its own.
pub fn logit(seed: u32, column: u32) -> f32 {
    let random = bits(seed, column);
    let x = bell(random);
    let one_in = |n| below(random >> 32, n) == 0;
    match seed % KINDS {
        0 => 3.0 * x,
        1 => 40.0 * x,
        // Rising blocks: the reference of the sums has to follow.
        2 => x + column as f32 * 0.125 - 90.0,
        // Masked: a leading block and a quarter of the rest.
        3 if column < 600 && column % 600 < seed % 600 || one_in(4) => f32::NEG_INFINITY,
        // Beyond the exact reduction.
        4 => 8.0 * x + 3000.0,
        // Certain but for one column.
        5 if one_in(50) => 35.0,
        // e^y near 2^127, where the reduction's constants change sign, with zeros of both signs.
        6 if one_in(3) => 88.0 + x,
        6 if one_in(2) => -0.0,
        6 => 0.0,
        // Equal but for an ulp.
        7 => 1.0 + (random & 1) as f32 / 8_388_608.0,
        // Huge either way.
        8 if one_in(2) => x * 1e37,
        _ => x,
    }
}

/// Fills a tile of a row.
pub fn fill<E: Element>(seed: u32, first_column: usize, tile: &mut [E]) {
    for (column, to) in (first_column as u32..).zip(tile) {
        *to = E::from_f32(logit(seed, column));
    }
}
