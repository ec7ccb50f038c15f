//! Instruction levels and arithmetics, as values: what a [`Dispatch`](crate::Dispatch) is made of.
//!
//! Whether this machine has a level is found out in `simd`, which also holds the instructions.

/// Which instructions a kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// What the build was compiled for: SSE2, NEON, simd128, or scalar code.
    Baseline,
    /// x86 with AVX2, FMA and F16C.
    Avx2,
    /// x86 with AVX-512 F, BW, DQ and VL, and all of [`Level::Avx2`].
    Avx512,
}

impl Level {
    /// Every level, slowest first.
    pub const ALL: &[Self] = &[Self::Baseline, Self::Avx2, Self::Avx512];
}

/// Which roundings a kernel performs. Each arithmetic has one result, the same on every level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arithmetic {
    /// Products and sums rounded once, by hardware FMA: the same bits on every machine that has it.
    Fused,
    /// Products and sums rounded separately: the same bits on every IEEE-754 machine.
    Portable,
}
