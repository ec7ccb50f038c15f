//! Instruction levels and arithmetics, as values.

/// Which instructions a kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// What the build was compiled for: SSE2, NEON, simd128 or scalar code, through `wide`.
    Baseline,
    /// x86 with AVX2, FMA and F16C.
    Avx2,
    /// x86 with AVX-512 F, BW, DQ and VL, FMA and F16C.
    Avx512,
}

/// Which roundings a kernel performs. Each arithmetic has one result, the same on every level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arithmetic {
    /// Products and sums rounded once, by hardware FMA: the same bits on every machine that has it.
    Fused,
    /// Products and sums rounded apart: the same bits on every IEEE-754 machine.
    Portable,
}
