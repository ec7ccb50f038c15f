//! exp and ln(1 + x) in f64 over arrays, without branches: the compiler computes several entries at
//! once in vector registers, and an entry's bits do not depend on the others.
//!
//! The functions of `libm` branch on their argument. Rows have arguments of all kinds, and a
//! mispredicted branch takes longer than the function.

use core::f64::consts::{LN_2, LOG2_E, SQRT_2};

/// 1.5 · 2⁵²: adding it leaves the nearest integer in the low bits.
pub(crate) const ROUND: f64 = 6_755_399_441_055_744.0;
/// ln 2 in two words. The first has 32 bits, so its products with exponents are exact.
pub(super) const LN_2_HIGH: f64 = f64::from_bits(LN_2.to_bits() & !0x1f_ffff);
pub(super) const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
pub(super) const MANTISSA: u64 = (1 << 52) - 1;
/// √½, the smallest mantissa: they are in [√½, √2).
pub(super) const LEAST: u64 = (SQRT_2 / 2.0).to_bits();

/// e^x, for |x| ≤ 700.
///
/// # Numerics
/// Taylor to r¹³ on |r| ≤ ln 2 / 2: found within 2.3e-16 of `libm`'s, relative.
#[inline(always)]
pub(crate) fn exp<const B: usize>(x: [f64; B]) -> [f64; B] {
    let mut y = x;
    for y in &mut y {
        let t = *y * LOG2_E + ROUND;
        let n = t - ROUND;
        let r = (*y - n * LN_2_HIGH) - n * LN_2_LOW;
        let (r2, r4, r8) = (r * r, r * r * (r * r), (r * r * (r * r)) * (r * r * (r * r)));
        let c2 = 1.0 / 2.0 + r * (1.0 / 6.0);
        let c4 = 1.0 / 24.0 + r * (1.0 / 120.0);
        let c6 = 1.0 / 720.0 + r * (1.0 / 5_040.0);
        let c8 = 1.0 / 40_320.0 + r * (1.0 / 362_880.0);
        let c10 = 1.0 / 3_628_800.0 + r * (1.0 / 39_916_800.0);
        let c12 = 1.0 / 479_001_600.0 + r * (1.0 / 6_227_020_800.0);
        let low = (c2 + r2 * c4) + r4 * (c6 + r2 * c8);
        let w = r + r2 * (low + r8 * (c10 + r2 * c12));
        let scale = f64::from_bits((t.to_bits().wrapping_add(1023)) << 52);
        *y = scale + scale * w;
    }
    y
}

/// ln(1 + q), for q ≥ 0.
///
/// # Numerics
/// With u = 1 + q = 2^k·(1 + f): ln(1 + f) = 2 artanh s, s = f/(2 + f), by its series to s²¹, plus
/// k·ln 2, plus what the addition 1 + q rounded away, divided by u. Found within 2.3e-16 of
/// `libm`'s, relative, down to the smallest q.
#[inline(always)]
pub(crate) fn ln_1p<const B: usize>(q: [f64; B]) -> [f64; B] {
    let mut y = q;
    for y in &mut y {
        let q = *y;
        let u = 1.0 + q;
        let (large, small) = if q > 1.0 { (q, 1.0) } else { (1.0, q) };
        let lost = small - (u - large);
        let bits = u.to_bits().wrapping_add(1.0_f64.to_bits() - LEAST);
        // The exponent as a number: its bits under those of 2⁵².
        let k = f64::from_bits((bits >> 52) | (1075 << 52)) - (4_503_599_627_370_496.0 + 1023.0);
        let f = f64::from_bits((bits & MANTISSA) + LEAST) - 1.0;
        let s = f / (2.0 + f);
        let (z, z2, z4) = (s * s, s * s * (s * s), (s * s * (s * s)) * (s * s * (s * s)));
        let c1 = 2.0 / 3.0 + z * (2.0 / 5.0);
        let c3 = 2.0 / 7.0 + z * (2.0 / 9.0);
        let c5 = 2.0 / 11.0 + z * (2.0 / 13.0);
        let c7 = 2.0 / 15.0 + z * (2.0 / 17.0);
        let c9 = 2.0 / 19.0 + z * (2.0 / 21.0);
        let tail = z * ((c1 + z2 * c3) + z4 * ((c5 + z2 * c7) + z4 * c9));
        // ln(1 + f) = f − (f²/2 − s·(f²/2 + tail)): f leads, and is exact.
        let half_square = 0.5 * f * f;
        let low = s * (half_square + tail) + (k * LN_2_LOW + lost / u);
        *y = k * LN_2_HIGH - ((half_square - low) - f);
    }
    y
}
