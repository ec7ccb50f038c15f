//! exp and ln(1 + q) in f64 as lists of steps, for the interpreter in `formula.wgsl`.
//!
//! Steps, order and constants are those of the library's `src/math/branchless.rs`.

use std::f64::consts::{LN_2, LOG2_E, SQRT_2};

use bytemuck::{Pod, Zeroable};

const ADD: u32 = 0;
const SUB: u32 = 1;
const MUL: u32 = 2;
const DIV: u32 = 3;

/// The i-th constant, as an operand.
const fn c(i: u32) -> u32 {
    16 + i
}

/// Operation, result, operands. Registers of exp: 0 x and then r, 1 t, 2 n, 3 r², 4 r⁴ and then r⁸,
/// 5 w, 6 and 7 what is passed on.
const EXP: [[u32; 4]; 34] = [
    [MUL, 1, 0, c(12)],
    [ADD, 1, 1, c(13)],
    [SUB, 2, 1, c(13)],
    [MUL, 6, 2, c(14)],
    [SUB, 0, 0, 6],
    [MUL, 6, 2, c(15)],
    [SUB, 0, 0, 6],
    [MUL, 3, 0, 0],
    [MUL, 4, 3, 3],
    // c2 + r²·c4
    [MUL, 5, 0, c(1)],
    [ADD, 5, c(0), 5],
    [MUL, 6, 0, c(3)],
    [ADD, 6, c(2), 6],
    [MUL, 6, 3, 6],
    [ADD, 5, 5, 6],
    // + r⁴·(c6 + r²·c8)
    [MUL, 6, 0, c(5)],
    [ADD, 6, c(4), 6],
    [MUL, 7, 0, c(7)],
    [ADD, 7, c(6), 7],
    [MUL, 7, 3, 7],
    [ADD, 6, 6, 7],
    [MUL, 6, 4, 6],
    [ADD, 5, 5, 6],
    // + r⁸·(c10 + r²·c12)
    [MUL, 6, 0, c(9)],
    [ADD, 6, c(8), 6],
    [MUL, 7, 0, c(11)],
    [ADD, 7, c(10), 7],
    [MUL, 7, 3, 7],
    [ADD, 6, 6, 7],
    [MUL, 4, 4, 4],
    [MUL, 6, 4, 6],
    [ADD, 5, 5, 6],
    // r + r²·all of it
    [MUL, 5, 3, 5],
    [ADD, 5, 0, 5],
];

/// Registers of ln(1 + q): 0 u and then f²/2, 1 the larger of 1 and q and then z, 2 the smaller and
/// then what the addition rounded away by u, 3 k, 4 f, 5 s, 6 z², 7 z⁴, 8 the result.
const LN_1P: [[u32; 4]; 40] = [
    [SUB, 9, 0, 1],
    [SUB, 2, 2, 9],
    [DIV, 2, 2, 0],
    [SUB, 3, 3, c(15)],
    [SUB, 4, 4, c(10)],
    [ADD, 9, c(11), 4],
    [DIV, 5, 4, 9],
    [MUL, 1, 5, 5],
    [MUL, 6, 1, 1],
    [MUL, 7, 6, 6],
    // c1 + z²·c3
    [MUL, 8, 1, c(1)],
    [ADD, 8, c(0), 8],
    [MUL, 9, 1, c(3)],
    [ADD, 9, c(2), 9],
    [MUL, 9, 6, 9],
    [ADD, 8, 8, 9],
    // + z⁴·(c5 + z²·c7 + z⁴·c9)
    [MUL, 9, 1, c(5)],
    [ADD, 9, c(4), 9],
    [MUL, 10, 1, c(7)],
    [ADD, 10, c(6), 10],
    [MUL, 10, 6, 10],
    [ADD, 9, 9, 10],
    [MUL, 10, 1, c(9)],
    [ADD, 10, c(8), 10],
    [MUL, 10, 7, 10],
    [ADD, 9, 9, 10],
    [MUL, 9, 7, 9],
    [ADD, 8, 8, 9],
    // The tail.
    [MUL, 8, 1, 8],
    [MUL, 0, c(12), 4],
    [MUL, 0, 0, 4],
    [ADD, 8, 0, 8],
    [MUL, 8, 8, 5],
    [MUL, 9, 3, c(13)],
    [ADD, 9, 9, 2],
    [ADD, 8, 8, 9],
    [SUB, 8, 0, 8],
    [SUB, 8, 8, 4],
    [MUL, 3, 3, c(14)],
    [SUB, 8, 3, 8],
];

/// 1.5 · 2⁵²
const ROUND: f64 = 6_755_399_441_055_744.0;
/// ln 2 in two words, the first of 32 bits.
const LN_2_HIGH: f64 = f64::from_bits(LN_2.to_bits() & !0x1f_ffff);
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

const OF_EXP: [f64; 16] = [
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5_040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
    1.0 / 6_227_020_800.0,
    LOG2_E,
    ROUND,
    LN_2_HIGH,
    LN_2_LOW,
];

const OF_LN_1P: [f64; 16] = [
    2.0 / 3.0,
    2.0 / 5.0,
    2.0 / 7.0,
    2.0 / 9.0,
    2.0 / 11.0,
    2.0 / 13.0,
    2.0 / 15.0,
    2.0 / 17.0,
    2.0 / 19.0,
    2.0 / 21.0,
    1.0,
    2.0,
    0.5,
    LN_2_LOW,
    LN_2_HIGH,
    4_503_599_627_370_496.0 + 1023.0,
];

/// The words of a number, the low one first.
#[allow(clippy::cast_possible_truncation, reason = "two halves")]
pub(crate) const fn words(x: f64) -> [u32; 2] {
    [x.to_bits() as u32, (x.to_bits() >> 32) as u32]
}

/// As in `formula.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Formulas {
    steps: [[u32; 4]; 76],
    constants: [[u32; 4]; 16],
}

impl Formulas {
    pub(crate) fn new() -> Self {
        let mut steps = [[0; 4]; 76];
        for (to, from) in steps.iter_mut().zip(EXP.into_iter().chain(LN_1P)) {
            *to = from;
        }
        let both = |[a, b]: [u32; 2], [c, d]: [u32; 2]| [a, b, c, d];
        // After the steps: the least mantissa, √½, and ln 2.
        if let Some(to) = steps.get_mut(EXP.len() + LN_1P.len()) {
            *to = both(words(SQRT_2 / 2.0), words(LN_2));
        }
        let mut constants = [[0; 4]; 16];
        for (to, (a, b)) in constants.iter_mut().zip(OF_EXP.into_iter().zip(OF_LN_1P)) {
            *to = both(words(a), words(b));
        }
        Self { steps, constants }
    }
}
