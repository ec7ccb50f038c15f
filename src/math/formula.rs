//! [`branchless`](super::branchless)'s exp and ln(1 + x) of one number, bit for bit, as lists of
//! steps: where f64 is software, an operation that is written out takes ten times the code of a
//! step.

use core::f64::consts::LOG2_E;

use super::branchless::{LEAST, LN_2_HIGH, LN_2_LOW, MANTISSA, ROUND};

/// `to = a op b`: two bits of operation, four of the register `to`, five of each operand, which is
/// one of sixteen registers or, from 16 on, one of sixteen constants.
#[derive(Clone, Copy)]
struct Step(u16);

const fn step(op: u16, to: u16, a: u16, b: u16) -> Step {
    Step(op << 14 | to << 10 | a << 5 | b)
}

const fn add(to: u16, a: u16, b: u16) -> Step {
    step(0, to, a, b)
}

const fn sub(to: u16, a: u16, b: u16) -> Step {
    step(1, to, a, b)
}

const fn mul(to: u16, a: u16, b: u16) -> Step {
    step(2, to, a, b)
}

const fn div(to: u16, a: u16, b: u16) -> Step {
    step(3, to, a, b)
}

/// The i-th constant, as an operand.
const fn c(i: u16) -> u16 {
    16 + i
}

/// Memory for the formulas; what it holds does not matter.
pub(crate) type Registers = [f64; 11];

/// Takes the steps one after another.
#[inline(never)]
fn run(steps: &[Step], constants: &[f64; 16], registers: &mut Registers) {
    for &Step(bits) in steps {
        let operand = |bits: u16| {
            let of: &[f64] = if bits & 16 == 0 { registers } else { constants };
            of.get(usize::from(bits & 15)).copied().unwrap_or(f64::NAN)
        };
        let (a, b) = (operand(bits >> 5), operand(bits));
        let found = match bits >> 14 {
            0 => a + b,
            1 => a - b,
            2 => a * b,
            _ => a / b,
        };
        if let Some(to) = registers.get_mut(usize::from(bits >> 10 & 15)) {
            *to = found;
        }
    }
}

/// As [`branchless::exp`](super::branchless::exp).
pub(crate) fn exp(x: f64, registers: &mut Registers) -> f64 {
    const CONSTANTS: [f64; 16] = [
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
    // x, and then r.
    const X: u16 = 0;
    const T: u16 = 1;
    const N: u16 = 2;
    const R2: u16 = 3;
    // r⁴, and then r⁸.
    const R4: u16 = 4;
    const W: u16 = 5;
    const A: u16 = 6;
    const B: u16 = 7;
    const STEPS: [Step; 34] = [
        mul(T, X, c(12)),
        add(T, T, c(13)),
        sub(N, T, c(13)),
        mul(A, N, c(14)),
        sub(X, X, A),
        mul(A, N, c(15)),
        sub(X, X, A),
        mul(R2, X, X),
        mul(R4, R2, R2),
        // c2 + r²·c4
        mul(W, X, c(1)),
        add(W, c(0), W),
        mul(A, X, c(3)),
        add(A, c(2), A),
        mul(A, R2, A),
        add(W, W, A),
        // + r⁴·(c6 + r²·c8)
        mul(A, X, c(5)),
        add(A, c(4), A),
        mul(B, X, c(7)),
        add(B, c(6), B),
        mul(B, R2, B),
        add(A, A, B),
        mul(A, R4, A),
        add(W, W, A),
        // + r⁸·(c10 + r²·c12)
        mul(A, X, c(9)),
        add(A, c(8), A),
        mul(B, X, c(11)),
        add(B, c(10), B),
        mul(B, R2, B),
        add(A, A, B),
        mul(R4, R4, R4),
        mul(A, R4, A),
        add(W, W, A),
        // r + r²·all of it
        mul(W, R2, W),
        add(W, X, W),
    ];
    let [at_x, ..] = &mut *registers;
    *at_x = x;
    run(&STEPS, &CONSTANTS, registers);
    let [_, t, _, _, _, w, ..] = *registers;
    let scale = f64::from_bits((t.to_bits().wrapping_add(1023)) << 52);
    scale + scale * w
}

/// As [`branchless::ln_1p`](super::branchless::ln_1p).
pub(crate) fn ln_1p(q: f64, registers: &mut Registers) -> f64 {
    const CONSTANTS: [f64; 16] = [
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
    // u, and then f²/2.
    const U: u16 = 0;
    // The larger of 1 and q, and then z.
    const Z: u16 = 1;
    // The smaller, and then what the addition rounded away, divided by u.
    const LOST: u16 = 2;
    const K: u16 = 3;
    const F: u16 = 4;
    const S: u16 = 5;
    const Z2: u16 = 6;
    const Z4: u16 = 7;
    const Y: u16 = 8;
    const A: u16 = 9;
    const B: u16 = 10;
    const STEPS: [Step; 40] = [
        sub(A, U, Z),
        sub(LOST, LOST, A),
        div(LOST, LOST, U),
        sub(K, K, c(15)),
        sub(F, F, c(10)),
        add(A, c(11), F),
        div(S, F, A),
        mul(Z, S, S),
        mul(Z2, Z, Z),
        mul(Z4, Z2, Z2),
        // c1 + z²·c3
        mul(Y, Z, c(1)),
        add(Y, c(0), Y),
        mul(A, Z, c(3)),
        add(A, c(2), A),
        mul(A, Z2, A),
        add(Y, Y, A),
        // + z⁴·(c5 + z²·c7 + z⁴·c9)
        mul(A, Z, c(5)),
        add(A, c(4), A),
        mul(B, Z, c(7)),
        add(B, c(6), B),
        mul(B, Z2, B),
        add(A, A, B),
        mul(B, Z, c(9)),
        add(B, c(8), B),
        mul(B, Z4, B),
        add(A, A, B),
        mul(A, Z4, A),
        add(Y, Y, A),
        // The tail.
        mul(Y, Z, Y),
        mul(U, c(12), F),
        mul(U, U, F),
        add(Y, U, Y),
        mul(Y, S, Y),
        mul(A, K, c(13)),
        add(A, A, LOST),
        add(Y, Y, A),
        sub(Y, U, Y),
        sub(Y, Y, F),
        mul(K, K, c(14)),
        sub(Y, K, Y),
    ];
    let u = 1.0 + q;
    let (large, small) = if q.to_bits() > 1.0_f64.to_bits() { (q, 1.0) } else { (1.0, q) };
    let bits = u.to_bits().wrapping_add(1.0_f64.to_bits() - LEAST);
    let k = f64::from_bits((bits >> 52) | (1075 << 52));
    let f = f64::from_bits((bits & MANTISSA) + LEAST);
    let [to_u, to_large, to_small, to_k, to_f, ..] = &mut *registers;
    (*to_u, *to_large, *to_small, *to_k, *to_f) = (u, large, small, k, f);
    run(&STEPS, &CONSTANTS, registers);
    let [_, _, _, _, _, _, _, _, y, ..] = *registers;
    y
}
