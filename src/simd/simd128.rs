//! The baseline of wasm with simd128: lanes of the crate `wide`, four registers a vector.

use super::{Kernel, LANES, Simd};
use half::{bf16, f16};
use wide::{f32x16, u32x16};

/// Whether this build has a multiply-add with one rounding.
pub(super) const HAS_FMA: bool = false;

/// The sixteen lanes; `FUSED` never, because simd128 has no multiply-add.
#[derive(Clone, Copy)]
pub(super) struct Baseline<const FUSED: bool>;

impl<const FUSED: bool> Baseline<FUSED> {
    const fn new() -> Self {
        Self
    }
}

/// Enters the level.
#[inline(always)]
pub(super) fn run<const FUSED: bool, K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Baseline::<FUSED>::new())
}

#[inline(always)]
fn widen(x: [u16; LANES]) -> u32x16 {
    u32x16::new(x.map(u32::from))
}

/// Bits of a where the mask has them, else of b. `select` of `wide` is not always inlined.
#[inline(always)]
fn blend(mask: u32x16, a: u32x16, b: u32x16) -> u32x16 {
    b ^ (mask & (a ^ b))
}

impl<const FUSED: bool> Simd for Baseline<FUSED> {
    all_at_once!();

    type F = f32x16;
    const FUSED: bool = FUSED;
    const SMALL: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> f32x16 {
        f32x16::splat(x)
    }

    #[inline(always)]
    fn load_f32(self, x: &[f32; LANES]) -> f32x16 {
        f32x16::new(*x)
    }

    /// Moves exponent and mantissa into f32's fields and corrects the bias by an exact product,
    /// which also normalises subnormals; infinities and NaN get the full exponent.
    ///
    /// The bits are sign-extended. Of zero-extended ones LLVM unpacks the sign separately, into an
    /// undefined register, and every load then waits for the last value of that register.
    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> f32x16 {
        let mut extended = [0; LANES];
        for (to, x) in extended.iter_mut().zip(x) {
            *to = i32::from(x.to_bits().cast_signed()).cast_unsigned();
        }
        let extended = u32x16::new(extended);
        let sign = extended & u32x16::splat(0x8000_0000);
        let scaled = f32x16::from_bits((extended << 13_u32) & u32x16::splat(0x0fff_e000));
        let scaled = scaled * f32x16::splat(f32::from_bits(0x7780_0000));
        let infinite = scaled.simd_ge(f32x16::splat(65_536.0)).to_bits();
        let exponent = infinite & u32x16::splat(0x7f80_0000);
        f32x16::from_bits(scaled.to_bits() | exponent | sign)
    }

    #[inline(always)]
    fn load_bf16(self, x: &[bf16; LANES]) -> f32x16 {
        f32x16::from_bits(widen(x.map(bf16::to_bits)) << 16_u32)
    }

    #[inline(always)]
    fn store_f32(self, a: f32x16, out: &mut [f32; LANES]) {
        *out = a.to_array();
    }

    #[inline(always)]
    fn store_f16(self, a: f32x16, out: &mut [f16; LANES]) {
        // 2^16 is where f16 has infinity: the bit pattern after that of its largest number.
        let size = self.abs(a).fast_min(f32x16::splat(65_536.0));
        // `power` is 2^E, E the exponent of the size, or 2^-14 for subnormals. The addition rounds
        // the size to r, the eleven significant bits of f16:
        //   sum = 2^(E+13) + (15·1024 + r)·2^(E-10)
        // f16's bit pattern is r + (E + 14)·1024. That of `power`, shifted right by 13, is (E +
        // 127)·1024; with the 15·1024 of `sum` this is the pattern, because 15 + 127 ≡ 14 modulo 32
        // and the mask drops the multiples.
        let power = f32x16::from_bits(size.to_bits() & u32x16::splat(0x7f80_0000));
        let power = power.fast_max(f32x16::splat(f32::from_bits(0x3880_0000))).to_bits();
        let sum = size + f32x16::from_bits(power + u32x16::splat((13 << 23) + 15 * 1024));
        let rounded = (sum.to_bits() + (power >> 13_u32)) & u32x16::splat(0x7fff);
        let nan = a.simd_ne(a).to_bits() & u32x16::splat(0x7e00);
        let sign = (a.to_bits() >> 16_u32) & u32x16::splat(0x8000);
        let kept = rounded | nan | sign;
        for (to, b) in out.iter_mut().zip(kept.to_array()) {
            *to = f16::from_bits(low_half(b));
        }
    }

    #[inline(always)]
    fn store_bf16(self, a: f32x16, out: &mut [bf16; LANES]) {
        // Adds half of the dropped bits' range, less one where the kept part is even: nearest, ties
        // to even.
        let bits = a.to_bits();
        let odd = (bits >> 16_u32) & u32x16::splat(1);
        let rounded = bits + u32x16::splat(0x7fff) + odd;
        let quiet = bits | u32x16::splat(0x40_0000);
        let nan = a.simd_ne(a).to_bits();
        let kept = blend(nan, quiet, rounded);
        for (to, b) in out.iter_mut().zip(kept.to_array()) {
            *to = bf16::from_bits(high_half(b));
        }
    }

    #[inline(always)]
    fn add(self, a: f32x16, b: f32x16) -> f32x16 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32x16, b: f32x16) -> f32x16 {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: f32x16, b: f32x16) -> f32x16 {
        a * b
    }

    #[inline(always)]
    fn div(self, a: f32x16, b: f32x16) -> f32x16 {
        a / b
    }

    #[inline(always)]
    fn abs(self, a: f32x16) -> f32x16 {
        // `abs` of `wide` is not always inlined.
        f32x16::from_bits(a.to_bits() & u32x16::splat(0x7fff_ffff))
    }

    #[inline(always)]
    fn mul_add(self, a: f32x16, b: f32x16, c: f32x16) -> f32x16 {
        a * b + c
    }

    #[inline(always)]
    fn neg_mul_add(self, a: f32x16, b: f32x16, c: f32x16) -> f32x16 {
        c - a * b
    }

    #[inline(always)]
    fn at_least(self, bound: f32x16, x: f32x16) -> f32x16 {
        // `fast_max` returns its first operand where either is NaN.
        x.fast_max(bound)
    }

    #[inline(always)]
    fn max(self, acc: f32x16, x: f32x16) -> f32x16 {
        acc.fast_max(x)
    }

    #[inline(always)]
    fn max_positive(self, acc: f32x16, x: f32x16) -> f32x16 {
        self.max(acc, x)
    }

    #[inline(always)]
    fn select_lt(self, a: f32x16, b: f32x16, x: f32x16, y: f32x16) -> f32x16 {
        f32x16::from_bits(blend(a.simd_lt(b).to_bits(), x.to_bits(), y.to_bits()))
    }

    #[inline(always)]
    fn any_gt(self, a: f32x16, b: f32x16) -> bool {
        a.simd_gt(b).any()
    }

    #[inline(always)]
    fn to_exponent(self, a: f32x16) -> f32x16 {
        f32x16::from_bits(a.to_bits() << 23_u32)
    }

    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "a conversion that rounds")]
    fn bits_as_number(self, a: f32x16) -> f32x16 {
        f32x16::new(a.to_array().map(|x| x.to_bits().cast_signed() as f32))
    }

    #[inline(always)]
    fn largest(self, a: f32x16) -> f32 {
        // By halves. Sixteen comparisons that wait for each other would cost a short row more than
        // its logits.
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = a.to_array();
        let (a, b, c, d) = (a.max(i), b.max(j), c.max(k), d.max(l));
        let (e, f, g, h) = (e.max(m), f.max(n), g.max(o), h.max(p));
        (a.max(e).max(c.max(g))).max(b.max(f).max(d.max(h)))
    }

    #[inline(always)]
    fn sum_f64(self, a: &f32x16, b: &f32x16) -> f64 {
        sum_tree(a.to_array(), b.to_array())
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "keeps the low sixteen bits by intent")]
fn low_half(b: u32) -> u16 {
    b as u16
}

#[inline(always)]
const fn high_half(b: u32) -> u16 {
    (b >> 16) as u16
}

/// The fixed tree of [`Simd::sum_f64`], for levels that reduce in scalar code.
#[inline(always)]
fn sum_tree(a: [f32; LANES], b: [f32; LANES]) -> f64 {
    let mut d = [0.0_f64; LANES];
    for ((d, a), b) in d.iter_mut().zip(a).zip(b) {
        *d = f64::from(a) + f64::from(b);
    }
    let [d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15] = d;
    let (e0, e1, e2, e3) = (d0 + d8, d1 + d9, d2 + d10, d3 + d11);
    let (e4, e5, e6, e7) = (d4 + d12, d5 + d13, d6 + d14, d7 + d15);
    let (f0, f1, f2, f3) = (e0 + e4, e1 + e5, e2 + e6, e3 + e7);
    (f0 + f2) + (f1 + f3)
}
