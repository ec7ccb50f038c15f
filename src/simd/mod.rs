//! The lanes: sixteen f32 at a time, the same operations on every level.
//!
//! A kernel is a struct of borrowed operands with one generic `run` ([`Kernel`]), written once over
//! [`Simd`]; [`Dispatch`] is the value that says on which instructions and with which roundings it
//! runs. Instruction sets, and the `unsafe` that they need, are in this room only: loads of exactly
//! sixteen elements, streams over one buffer or two, and the calls that enter a level after its
//! detection. (`src/c` has the
//! `unsafe` of the C ABI.)
//!
//! On every level a vector is sixteen *virtual* lanes: one AVX-512 register, two AVX2 registers,
//! four SSE2/NEON/simd128 registers, or one lane after another. Sums are formed per lane and
//! reduced by one fixed tree, so no result depends on the width of the machine. A level without
//! vector registers works on one lane at a time, in a scalar register. What a level works on at
//! once is a *part* of the vector: all lanes, a register of NEON or simd128, two of SSE2, or one
//! lane.

/// The methods about parts, for a level that works on all lanes at once.
#[allow(unused_macros, reason = "unused in builds whose only level works on one lane")]
macro_rules! all_at_once {
    () => {
        type Lanes = Self::F;

        #[inline(always)]
        fn parts(self) -> impl Iterator<Item = Self> {
            core::iter::once(self)
        }

        #[inline(always)]
        fn lanes(self, x: f32) -> Self::F {
            self.splat(x)
        }

        #[inline(always)]
        fn get(self, lanes: &Self::F) -> Self::F {
            *lanes
        }

        #[inline(always)]
        fn put(self, lanes: &mut Self::F, a: Self::F) {
            *lanes = a;
        }

        #[inline(always)]
        fn first(self, a: Self::F) -> f32 {
            let mut out = [0.0; LANES];
            self.store_f32(a, &mut out);
            let [first, ..] = out;
            first
        }
    };
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod avx2;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod avx512;
#[cfg(target_feature = "sse2")]
#[path = "sse2.rs"]
mod baseline;
#[cfg(target_feature = "simd128")]
#[path = "simd128/mod.rs"]
mod baseline;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[path = "neon.rs"]
mod baseline;
#[cfg(not(any(
    target_feature = "sse2",
    target_feature = "simd128",
    all(target_arch = "aarch64", target_feature = "neon")
)))]
#[path = "scalar/mod.rs"]
mod baseline;
mod detect;
mod dispatch;
pub(crate) mod exp;
mod prefetch;
pub(crate) mod quad;
pub(crate) mod softcap;
pub(crate) mod stream;
mod tanh;

use half::{bf16, f16};

pub use dispatch::Dispatch;
pub(crate) use prefetch::{fetch, fetch_ahead};

/// Lanes of a vector, on every level.
pub(crate) const LANES: usize = 16;

/// Rows that enter a level together: what an entry costs is shared, and the chains of instructions
/// that short rows wait for overlap. One where the only level works on one lane: several take
/// memory.
pub(crate) const GROUP: usize = if cfg!(any(
    target_arch = "x86",
    target_arch = "x86_64",
    target_feature = "simd128",
    all(target_arch = "aarch64", target_feature = "neon")
)) {
    8
} else {
    1
};

/// Whether rows whose logits are their elements have loops of their own. Where code is scarce they
/// share those of all other rows, by a branch.
pub(crate) const SHORT_LOOPS: bool = GROUP > 1;

/// What a loop does with the vectors that it reads. A level of few registers has it choose how many
/// lanes a part has: in few of them chains of instructions wait, of many some are on the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "of levels of few registers only")]
pub(crate) enum Loop {
    /// Each becomes another.
    Map,
    /// They are summed.
    Sums,
    /// They are summed, and so are details.
    Details,
    /// They are factors of a product of matrices, whose sums fill the registers.
    Product,
}

/// Work that can be entered at any level.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;
    /// What the work is.
    #[allow(dead_code, reason = "of levels of few registers only")]
    const LOOP: Loop = Loop::Map;
    /// The work, generic over the level. Implementations are `#[inline(always)]`: only what is
    /// inlined into the level's entry is compiled for its instructions.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// A local variable aligned to a cache line: it aligns the stack frame of the level's entry.
///
/// The compiler does not align a frame for the vector registers that it spills there. Where a
/// spilled register crosses a cache line, or worse a page, a loop takes up to twice as long;
/// whether one does depends on the address of the stack.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[repr(align(64))]
#[allow(dead_code, reason = "it is there for its alignment")]
struct CacheLine([u8; 64]);

/// Sixteen f32 lanes. A value of the implementing type proves that its instructions exist here.
///
/// A kernel repeats what it does to a vector for each of [`Simd::parts`]: once where a part is all
/// sixteen lanes, four times where it is four, sixteen times where it is one. What must be kept
/// from one part to the next is in [`Simd::Lanes`]; a value that is the same in every lane serves
/// for every part.
pub trait Simd: Copy {
    /// The f32 of a part.
    type F: Copy;
    /// The f32 of all parts.
    type Lanes: Copy;
    /// Whether [`Simd::mul_add`] rounds once.
    const FUSED: bool;
    /// Whether a part is one lane.
    const SMALL: bool;
    /// Rows, and vectors of each, whose sums a product of matrices keeps in registers.
    const PRODUCT: (usize, usize);

    /// All parts, from any of them.
    fn parts(self) -> impl Iterator<Item = Self>;
    /// `x` in every lane.
    fn lanes(self, x: f32) -> Self::Lanes;
    /// This part of the lanes.
    fn get(self, lanes: &Self::Lanes) -> Self::F;
    /// Replaces this part of the lanes.
    fn put(self, lanes: &mut Self::Lanes, a: Self::F);
    /// The first lane of a part.
    fn first(self, a: Self::F) -> f32;

    fn splat(self, x: f32) -> Self::F;
    fn load_f32(self, x: &[f32; LANES]) -> Self::F;
    fn load_f16(self, x: &[f16; LANES]) -> Self::F;
    fn load_bf16(self, x: &[bf16; LANES]) -> Self::F;
    fn store_f32(self, a: Self::F, out: &mut [f32; LANES]);
    /// Four columns of sixteen rows: lane j of vector k is `rows[j][k]`.
    fn columns(self, rows: [&[f32; 4]; LANES]) -> [Self::F; 4];
    /// Rounds to nearest, ties to even; NaN stays a NaN, not always the same.
    fn store_f16(self, a: Self::F, out: &mut [f16; LANES]);
    /// Rounds to nearest, ties to even; NaN stays a NaN.
    fn store_bf16(self, a: Self::F, out: &mut [bf16; LANES]);
    /// As [`Simd::load_bf16`], in the order of lanes that is cheapest here.
    #[inline(always)]
    fn load_bf16_mixed(self, x: &[bf16; LANES]) -> Self::F {
        self.load_bf16(x)
    }
    /// As [`Simd::store_bf16`], of lanes in the order of [`Simd::load_bf16_mixed`]. Their NaN come
    /// from bf16 or from arithmetic: the bits that are dropped are 0.
    #[inline(always)]
    fn store_bf16_mixed(self, a: Self::F, out: &mut [bf16; LANES]) {
        self.store_bf16(a, out);
    }
    /// As [`Simd::sum_f64`], of lanes in the order of [`Simd::load_bf16_mixed`].
    #[inline(always)]
    fn sum_bf16_mixed(self, a: &Self::Lanes, b: &Self::Lanes) -> f64 {
        self.sum_f64(a, b)
    }

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    /// a · b + c: rounded once in fused arithmetic, twice in portable arithmetic.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// A constant that a multiply-add is to add to. Where the instruction overwrites it, it comes
    /// from memory: a copy of a register would take a port of arithmetic.
    #[inline(always)]
    fn addend(self, c: &Self::F) -> Self::F {
        *c
    }
    /// c − a · b, likewise.
    fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The larger of a bound and x; a NaN in `x` is kept.
    fn at_least(self, bound: Self::F, x: Self::F) -> Self::F;
    /// Running maximum. A NaN in `x` may be ignored or kept: callers learn of NaN from their sums.
    fn max(self, acc: Self::F, x: Self::F) -> Self::F;
    /// Running maximum of positive numbers, which are ordered as their bits are: a maximum of
    /// integers, on machines that have execution ports for it. Whether a NaN is kept may depend on
    /// its sign.
    fn max_positive(self, acc: Self::F, x: Self::F) -> Self::F;
    /// a < b ? x : y, per lane; y where either is NaN.
    fn select_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F;
    /// Whether a > b in any lane of a part.
    fn any_gt(self, a: Self::F, b: Self::F) -> bool;
    /// The bits of `a` shifted into the exponent field: `a.to_bits() << 23`.
    fn to_exponent(self, a: Self::F) -> Self::F;
    /// The largest lane of a part whose lanes come from [`Simd::max`]. A NaN among them may be
    /// ignored or kept.
    fn largest(self, a: Self::F) -> f32;
    /// The bits of `a` as a signed integer, converted.
    fn bits_as_number(self, a: Self::F) -> Self::F;
    /// Σ (a + b) over the lanes in f64: per lane first, then halves 8, 4, 2, 1.
    fn sum_f64(self, a: &Self::Lanes, b: &Self::Lanes) -> f64;
}
