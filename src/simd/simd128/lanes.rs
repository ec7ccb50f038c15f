//! The lanes of a part, by `wide`. Compiled for each of the parts, by whose modules it is included.

use super::part::{self, Floats, Part, Words};
use crate::simd::{LANES, Simd};
use half::{bf16, f16};

/// Lanes of the build's baseline; `FUSED` only where it has a
/// multiply-add with one rounding.
#[derive(Clone, Copy)]
pub(in crate::simd) struct Baseline<const FUSED: bool> {
    part: Part,
}

impl<const FUSED: bool> Baseline<FUSED> {
    pub(in crate::simd) const fn new() -> Self {
        Self { part: Part::first() }
    }
}

/// Bits of a where the mask has them, else of b. `select` of `wide` is not always inlined.
#[inline(always)]
fn blend(mask: Words, a: Words, b: Words) -> Words {
    b ^ (mask & (a ^ b))
}

impl<const FUSED: bool> Simd for Baseline<FUSED> {
    parts!();

    type F = Floats;
    const FUSED: bool = FUSED;
    const SMALL: bool = false;
    const PRODUCT: (usize, usize) = (6, 2);

    #[inline(always)]
    fn splat(self, x: f32) -> Floats {
        Floats::splat(x)
    }

    #[inline(always)]
    fn load_f32(self, x: &[f32; LANES]) -> Floats {
        Floats::new(self.part.load(x, 0.0))
    }

    /// Moves exponent and mantissa into f32's fields and corrects the bias by an exact product,
    /// which also normalises subnormals; infinities and NaN get the full exponent.
    ///
    /// The bits are sign-extended. Of zero-extended ones LLVM unpacks the sign separately, into an
    /// undefined register, and every load then waits for the last value of that register.
    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> Floats {
        let extended = part::widen_signed(self.part.load(x, f16::ZERO).map(f16::to_bits));
        let sign = extended & Words::splat(0x8000_0000);
        let scaled = Floats::from_bits((extended << 13_u32) & Words::splat(0x0fff_e000));
        let scaled = scaled * Floats::splat(f32::from_bits(0x7780_0000));
        let infinite = scaled.simd_ge(Floats::splat(65_536.0)).to_bits();
        let exponent = infinite & Words::splat(0x7f80_0000);
        Floats::from_bits(scaled.to_bits() | exponent | sign)
    }

    #[inline(always)]
    fn load_bf16(self, x: &[bf16; LANES]) -> Floats {
        Floats::from_bits(part::widen(self.part.load(x, bf16::ZERO).map(bf16::to_bits)) << 16_u32)
    }

    #[inline(always)]
    fn store_f32(self, a: Floats, out: &mut [f32; LANES]) {
        self.part.store(a.to_array(), out);
    }

    #[inline(always)]
    fn columns(self, rows: [&[f32; 4]; LANES]) -> [Floats; 4] {
        let mut columns = [[0.0; part::PART]; 4];
        for (j, &&[a, b, c, d]) in self.part.load(&rows, &[0.0; 4]).iter().enumerate() {
            for (column, x) in columns.iter_mut().zip([a, b, c, d]) {
                if let Some(to) = column.get_mut(j) {
                    *to = x;
                }
            }
        }
        let [a, b, c, d] = columns;
        [Floats::new(a), Floats::new(b), Floats::new(c), Floats::new(d)]
    }

    #[inline(always)]
    fn store_f16(self, a: Floats, out: &mut [f16; LANES]) {
        // 2^16 is where f16 has infinity: the bit pattern after that of its largest number.
        let size = self.abs(a).fast_min(Floats::splat(65_536.0));
        // `power` is 2^E, E the exponent of the size, or 2^-14 for subnormals. The addition rounds
        // the size to r, the eleven significant bits of f16:
        //   sum = 2^(E+13) + (15·1024 + r)·2^(E-10)
        // f16's bit pattern is r + (E + 14)·1024. That of `power`, shifted right by 13, is (E +
        // 127)·1024; with the 15·1024 of `sum` this is the pattern, because 15 + 127 ≡ 14 modulo 32
        // and the mask drops the multiples.
        let power = Floats::from_bits(size.to_bits() & Words::splat(0x7f80_0000));
        let power = power.fast_max(Floats::splat(f32::from_bits(0x3880_0000))).to_bits();
        let sum = size + Floats::from_bits(power + Words::splat((13 << 23) + 15 * 1024));
        let rounded = (sum.to_bits() + (power >> 13_u32)) & Words::splat(0x7fff);
        let nan = a.simd_ne(a).to_bits() & Words::splat(0x7e00);
        let sign = (a.to_bits() >> 16_u32) & Words::splat(0x8000);
        let kept = rounded | nan | sign;
        self.part.store(part::low_halves(kept).map(f16::from_bits), out);
    }

    #[inline(always)]
    fn store_bf16(self, a: Floats, out: &mut [bf16; LANES]) {
        // Adds half of the dropped bits' range, less one where the kept part is even: nearest, ties
        // to even.
        let bits = a.to_bits();
        let odd = (bits >> 16_u32) & Words::splat(1);
        let rounded = bits + Words::splat(0x7fff) + odd;
        let quiet = bits | Words::splat(0x40_0000);
        let nan = a.simd_ne(a).to_bits();
        let kept = blend(nan, quiet, rounded);
        self.part.store(part::high_halves(kept).map(bf16::from_bits), out);
    }

    #[inline(always)]
    fn add(self, a: Floats, b: Floats) -> Floats {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: Floats, b: Floats) -> Floats {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: Floats, b: Floats) -> Floats {
        a * b
    }

    #[inline(always)]
    fn div(self, a: Floats, b: Floats) -> Floats {
        a / b
    }

    #[inline(always)]
    fn abs(self, a: Floats) -> Floats {
        // `abs` of `wide` is not always inlined.
        Floats::from_bits(a.to_bits() & Words::splat(0x7fff_ffff))
    }

    #[inline(always)]
    fn mul_add(self, a: Floats, b: Floats, c: Floats) -> Floats {
        if FUSED { a.mul_add(b, c) } else { a * b + c }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: Floats, b: Floats, c: Floats) -> Floats {
        if FUSED { a.mul_neg_add(b, c) } else { c - a * b }
    }

    #[inline(always)]
    fn at_least(self, bound: Floats, x: Floats) -> Floats {
        // `fast_max` returns its first operand on NaN.
        x.fast_max(bound)
    }

    #[inline(always)]
    fn max(self, acc: Floats, x: Floats) -> Floats {
        acc.fast_max(x)
    }

    #[inline(always)]
    fn max_positive(self, acc: Floats, x: Floats) -> Floats {
        self.max(acc, x)
    }

    #[inline(always)]
    fn select_lt(self, a: Floats, b: Floats, x: Floats, y: Floats) -> Floats {
        Floats::from_bits(blend(a.simd_lt(b).to_bits(), x.to_bits(), y.to_bits()))
    }

    #[inline(always)]
    fn any_gt(self, a: Floats, b: Floats) -> bool {
        a.simd_gt(b).any()
    }

    #[inline(always)]
    fn to_exponent(self, a: Floats) -> Floats {
        Floats::from_bits(a.to_bits() << 23_u32)
    }

    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "a conversion that rounds")]
    fn bits_as_number(self, a: Floats) -> Floats {
        Floats::new(a.to_array().map(|x| x.to_bits().cast_signed() as f32))
    }

    #[inline(always)]
    fn largest(self, a: Floats) -> f32 {
        part::largest(a)
    }
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
