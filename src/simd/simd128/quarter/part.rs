//! Four lanes at a time, in one register of simd128.
//!
//! All sixteen at once, for a quad, are 64 values where V8 has fifteen registers. It orders
//! operations without side effects by itself, and kept most of the fold's values in memory: token
//! log-probs of f32 took 1.57 ns a logit, and take 0.77 in quarters (Node.js 20, Zen 4). Gradients,
//! which are stored as they are made, are as fast whole, and of 16 bits faster.

use core::arch::wasm32::{
    i32x4_extend_low_i16x8, u32x4, u32x4_extend_low_u16x8, u32x4_extract_lane, u32x4_shuffle,
    u64x2_extract_lane, u64x2_shr, u64x2_splat, v128, v128_or,
};

use crate::simd::LANES;
pub(super) use wide::{f32x4 as Floats, u32x4 as Words};

/// Lanes of a part.
pub(super) const PART: usize = 4;
/// Parts of a vector.
pub(super) const PARTS: usize = LANES / PART;

/// Which four of the sixteen lanes.
#[derive(Clone, Copy)]
pub(super) struct Part(usize);

impl Part {
    pub(super) const fn first() -> Self {
        Self(0)
    }

    /// All of them.
    #[inline(always)]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..PARTS).map(Self)
    }

    /// Its element of four; `none` never comes out.
    #[inline(always)]
    pub(super) fn get<T: Copy>(self, from: &[T; PARTS], none: T) -> T {
        from.get(self.0 % PARTS).copied().unwrap_or(none)
    }

    /// Replaces its element of four.
    #[inline(always)]
    pub(super) fn put<T>(self, to: &mut [T; PARTS], x: T) {
        if let Some(to) = to.get_mut(self.0 % PARTS) {
            *to = x;
        }
    }

    /// Its elements of sixteen; `none` never comes out.
    #[inline(always)]
    pub(super) fn load<T: Copy>(self, from: &[T; LANES], none: T) -> [T; PART] {
        let (parts, _) = from.as_chunks();
        parts.get(self.0 % PARTS).copied().unwrap_or([none; PART])
    }

    /// Replaces its elements of sixteen.
    #[inline(always)]
    pub(super) fn store<T>(self, xs: [T; PART], to: &mut [T; LANES]) {
        let (parts, _) = to.as_chunks_mut();
        if let Some(to) = parts.get_mut(self.0 % PARTS) {
            *to = xs;
        }
    }
}

/// Four halves of words in both halves of a register. As an array of four they would be put into it
/// one by one.
#[inline(always)]
fn halves([a, b, c, d]: [u16; PART]) -> v128 {
    let [a, b, c, d] = [u64::from(a), u64::from(b), u64::from(c), u64::from(d)];
    u64x2_splat(a | b << 16 | c << 32 | d << 48)
}

#[inline(always)]
fn words(x: v128) -> Words {
    Words::new([
        u32x4_extract_lane::<0>(x),
        u32x4_extract_lane::<1>(x),
        u32x4_extract_lane::<2>(x),
        u32x4_extract_lane::<3>(x),
    ])
}

#[inline(always)]
pub(super) fn widen(x: [u16; PART]) -> Words {
    words(u32x4_extend_low_u16x8(halves(x)))
}

#[inline(always)]
pub(super) fn widen_signed(x: [u16; PART]) -> Words {
    words(i32x4_extend_low_i16x8(halves(x)))
}

/// The low halves; the high ones are 0.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "keeps sixteen bits at a time by intent")]
pub(super) fn low_halves(x: Words) -> [u16; PART] {
    let [a, b, c, d] = x.to_array();
    let x = u32x4(a, b, c, d);
    let pairs = v128_or(x, u64x2_shr(x, 16));
    let all = u64x2_extract_lane::<0>(u32x4_shuffle::<0, 2, 0, 2>(pairs, pairs));
    [all as u16, (all >> 16) as u16, (all >> 32) as u16, (all >> 48) as u16]
}

#[inline(always)]
pub(super) fn high_halves(x: Words) -> [u16; PART] {
    low_halves(x >> 16_u32)
}

#[inline(always)]
pub(super) fn largest(a: Floats) -> f32 {
    let [a, b, c, d] = a.to_array();
    larger(larger(a, c), larger(b, d))
}

/// `f32::max` is a call here, because NaN has other rules there.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

/// The methods of `Simd` about parts.
macro_rules! parts {
    () => {
        type Lanes = [Floats; part::PARTS];

        #[inline(always)]
        fn parts(self) -> impl Iterator<Item = Self> {
            Part::all().map(|part| Self { part })
        }

        #[inline(always)]
        fn lanes(self, x: f32) -> Self::Lanes {
            [Floats::splat(x); part::PARTS]
        }

        #[inline(always)]
        fn get(self, lanes: &Self::Lanes) -> Floats {
            self.part.get(lanes, Floats::ZERO)
        }

        #[inline(always)]
        fn put(self, lanes: &mut Self::Lanes, a: Floats) {
            self.part.put(lanes, a);
        }

        #[inline(always)]
        fn first(self, a: Floats) -> f32 {
            let [first, ..] = a.to_array();
            first
        }

        #[inline(always)]
        fn sum_f64(self, a: &Self::Lanes, b: &Self::Lanes) -> f64 {
            let (mut x, mut y) = ([0.0; LANES], [0.0; LANES]);
            for s in self.parts() {
                s.store_f32(s.get(a), &mut x);
                s.store_f32(s.get(b), &mut y);
            }
            sum_tree(x, y)
        }
    };
}
