//! The baseline of targets without vector registers: the sixteen lanes one at a time.
//!
//! Sixteen lanes would be in memory there: 64 bytes of stack for each vector, and two loads and a
//! store for each operation of a lane. One lane fits in registers, with the constants, and only
//! sums are in memory from one lane to the next. The results are the same: lanes are only added at
//! the end of a block.

mod fma;

use super::{Kernel, LANES, Simd};
use half::{bf16, f16};

pub(super) use fma::PRESENT as HAS_FMA;

/// One lane of the sixteen; `FUSED` only where [`HAS_FMA`].
#[derive(Clone, Copy)]
pub(super) struct Baseline<const FUSED: bool> {
    lane: usize,
}

impl<const FUSED: bool> Baseline<FUSED> {
    const fn new() -> Self {
        Self { lane: 0 }
    }

    /// This lane of sixteen elements; `none` never comes out, because lanes are 0 to 15.
    #[inline(always)]
    fn load<T: Copy>(self, from: &[T; LANES], none: T) -> T {
        from.get(self.lane).copied().unwrap_or(none)
    }

    #[inline(always)]
    fn store<T>(self, x: T, to: &mut [T; LANES]) {
        if let Some(to) = to.get_mut(self.lane) {
            *to = x;
        }
    }
}

/// Enters the level.
#[inline(always)]
pub(super) fn run<const FUSED: bool, K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Baseline::<FUSED>::new())
}

impl<const FUSED: bool> Simd for Baseline<FUSED> {
    type F = f32;
    type Lanes = [f32; LANES];
    const FUSED: bool = FUSED;
    const SMALL: bool = true;
    const PRODUCT: (usize, usize) = (6, 2);

    #[inline(always)]
    fn parts(self) -> impl Iterator<Item = Self> {
        (0..LANES).map(|lane| Self { lane })
    }

    #[inline(always)]
    fn lanes(self, x: f32) -> [f32; LANES] {
        [x; LANES]
    }

    #[inline(always)]
    fn get(self, lanes: &[f32; LANES]) -> f32 {
        self.load(lanes, 0.0)
    }

    #[inline(always)]
    fn put(self, lanes: &mut [f32; LANES], a: f32) {
        self.store(a, lanes);
    }

    #[inline(always)]
    fn first(self, a: f32) -> f32 {
        a
    }

    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn load_f32(self, x: &[f32; LANES]) -> f32 {
        self.load(x, 0.0)
    }

    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> f32 {
        self.load(x, f16::ZERO).to_f32()
    }

    #[inline(always)]
    fn load_bf16(self, x: &[bf16; LANES]) -> f32 {
        self.load(x, bf16::ZERO).to_f32()
    }

    #[inline(always)]
    fn store_f32(self, a: f32, out: &mut [f32; LANES]) {
        self.store(a, out);
    }

    #[inline(always)]
    fn columns(self, rows: [&[f32; 4]; LANES]) -> [f32; 4] {
        *self.load(&rows, &[0.0; 4])
    }

    #[inline(always)]
    fn store_f16(self, a: f32, out: &mut [f16; LANES]) {
        self.store(f16::from_f32(a), out);
    }

    #[inline(always)]
    fn store_bf16(self, a: f32, out: &mut [bf16; LANES]) {
        self.store(bf16::from_f32(a), out);
    }

    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }

    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }

    #[inline(always)]
    fn abs(self, a: f32) -> f32 {
        a.abs()
    }

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        if FUSED { fma::mul_add(a, b, c) } else { a * b + c }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        if FUSED { fma::neg_mul_add(a, b, c) } else { c - a * b }
    }

    #[inline(always)]
    fn at_least(self, bound: f32, x: f32) -> f32 {
        if x < bound { bound } else { x }
    }

    #[inline(always)]
    fn max(self, acc: f32, x: f32) -> f32 {
        if x > acc { x } else { acc }
    }

    #[inline(always)]
    fn max_positive(self, acc: f32, x: f32) -> f32 {
        self.max(acc, x)
    }

    #[inline(always)]
    fn select_lt(self, a: f32, b: f32, x: f32, y: f32) -> f32 {
        if a < b { x } else { y }
    }

    #[inline(always)]
    fn any_gt(self, a: f32, b: f32) -> bool {
        a > b
    }

    #[inline(always)]
    fn to_exponent(self, a: f32) -> f32 {
        f32::from_bits(a.to_bits() << 23)
    }

    #[inline(always)]
    fn largest(self, a: f32) -> f32 {
        a
    }

    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "a conversion that rounds")]
    fn bits_as_number(self, a: f32) -> f32 {
        a.to_bits().cast_signed() as f32
    }

    #[inline(always)]
    fn sum_f64(self, a: &[f32; LANES], b: &[f32; LANES]) -> f64 {
        let quarter = |lane| quarter(a, b, lane);
        (quarter(0) + quarter(2)) + (quarter(1) + quarter(3))
    }
}

/// A lane and those 4, 8 and 12 after it, added in the order of [`Simd::sum_f64`]. Not inlined:
/// most of these targets compute f64 in software, by calls that take flash.
#[inline(never)]
fn quarter(a: &[f32; LANES], b: &[f32; LANES], lane: usize) -> f64 {
    let at = |x: &[f32; LANES], lane| x.get(lane).copied().map_or(0.0, f64::from);
    let sum = |lane| at(a, lane) + at(b, lane);
    (sum(lane) + sum(lane + 8)) + (sum(lane + 4) + sum(lane + 12))
}
