//! What is promised of the crate's figures, by type and arithmetic, each with the worst that was
//! measured and where.
//!
//! Inputs of the crate's tests are seeded, and a result has the same bits on every level, so what a
//! run measures does not change: there a bound that is exceeded fails, and so does one that is looser
//! than twice what the run measured ("can be tightened"). A host that compares its kernels with the
//! crate's adds these to what its own precision allows.
//!
//! ```
//! use dpo_kernel::verify::bounds::{Promised, promised};
//! use dpo_kernel::{Arithmetic, bf16};
//!
//! let bound = promised::<bf16>(Promised::LogZ, Arithmetic::Portable).unwrap();
//! assert_eq!(bound.name, "log Z of random bf16 rows, absolute");
//! assert!(bound.worst.0 <= bound.most);
//! ```

use crate::Element;
use crate::level::Arithmetic;

/// How far a figure may be off.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// What is measured, with its unit; for 16-bit storage against the exact value of what is
    /// stored.
    pub name: &'static str,
    /// The roundings that it holds for.
    pub arithmetic: Arithmetic,
    /// The bound, in the unit that the name says.
    pub most: f64,
    /// The worst measured, and its input.
    pub worst: (f64, &'static str),
}

/// Figures that have a bound for each storage type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promised {
    /// Token log-probs, beyond their rounding to f32, absolute.
    LogProb,
    /// log Z, absolute, of logits between ±300 or so.
    LogZ,
    /// log Z of logits near ±1000, absolute.
    LogZOfLargeLogits,
    /// p of a column, as part of (4 + |ln p|)·2⁻²⁴.
    Probability,
    /// 1 − p of a target, relative, in 2⁻²⁴.
    OneMinusP,
    /// Entropies, beyond their rounding to f32, absolute.
    Entropy,
    /// log Σp², beyond its rounding to f32, absolute.
    LogSumSqProbs,
    /// Means of logits, beyond their rounding to f32, in 2⁻²⁴ of the mean size.
    MeanLogit,
}

/// The bound of a figure that comes from logits stored in `E`.
///
/// # Panics
/// Never. `None` only if the table lacks the entry, which a test forbids.
#[must_use]
pub fn promised<E: Element>(figure: Promised, arithmetic: Arithmetic) -> Option<&'static Bound> {
    let [single, half, brain] = match figure {
        Promised::LogProb => [
            "token log-prob of f32 rows, beyond its rounding",
            "token log-prob of f16 rows, beyond its rounding",
            "token log-prob of bf16 rows, beyond its rounding",
        ],
        Promised::LogZ => [
            "log Z of random f32 rows, absolute",
            "log Z of random f16 rows, absolute",
            "log Z of random bf16 rows, absolute",
        ],
        Promised::LogZOfLargeLogits => [
            "log Z of random f32 rows near ±1000, absolute",
            "log Z of random f16 rows near ±1000, absolute",
            "log Z of random bf16 rows near ±1000, absolute",
        ],
        Promised::Probability => [
            "p of random f32 rows, part of (4 + |ln p|) 2^-24",
            "p of random f16 rows, part of (4 + |ln p|) 2^-24",
            "p of random bf16 rows, part of (4 + |ln p|) 2^-24",
        ],
        Promised::OneMinusP => [
            "1 - p of f32 targets, relative in 2^-24",
            "1 - p of f16 targets, relative in 2^-24",
            "1 - p of bf16 targets, relative in 2^-24",
        ],
        Promised::Entropy => [
            "entropy of f32 rows, beyond its rounding",
            "entropy of f16 rows, beyond its rounding",
            "entropy of bf16 rows, beyond its rounding",
        ],
        Promised::LogSumSqProbs => [
            "log of the sum of p^2 of f32 rows, beyond its rounding",
            "log of the sum of p^2 of f16 rows, beyond its rounding",
            "log of the sum of p^2 of bf16 rows, beyond its rounding",
        ],
        Promised::MeanLogit => [
            "mean logit of f32 rows, beyond its rounding, in 2^-24 of the mean size",
            "mean logit of f16 rows, beyond its rounding, in 2^-24 of the mean size",
            "mean logit of bf16 rows, beyond its rounding, in 2^-24 of the mean size",
        ],
    };
    // The lowest number tells f16 apart, the neighbour of 1 the others.
    let name = if E::LOWEST > -1e5 {
        half
    } else if E::from_f32(1.0 + f32::EPSILON).to_f32() > 1.0 {
        single
    } else {
        brain
    };
    BOUNDS.iter().find(|bound| bound.name == name && bound.arithmetic == arithmetic)
}

macro_rules! bounds {
    ($($name:literal: $($arithmetic:ident $bound:literal ($worst:literal, $at:literal);)+)*) => {
        /// Every bound there is.
        pub const BOUNDS: &[Bound] = &[$($(Bound {
            name: $name,
            arithmetic: Arithmetic::$arithmetic,
            most: $bound,
            worst: ($worst, $at),
        },)+)*];
    };
}

bounds! {
    "1 - p of bf16 targets, relative in 2^-24":
        Fused 1.8e0 (1.5217e0, "V = 65, sigma = 40, shift = 0");
        Portable 1.8e0 (1.4376e0, "V = 513, sigma = 8, shift = 0");
    "1 - p of f16 targets, relative in 2^-24":
        Fused 1.8e0 (1.6442e0, "V = 17, sigma = 40, shift = 1000");
        Portable 1.8e0 (1.4461e0, "V = 64, sigma = 8, shift = -20");
    "1 - p of f32 targets, relative in 2^-24":
        Fused 2.1e0 (1.7498e0, "V = 513, sigma = 8, shift = 0");
        Portable 2.1e0 (1.7248e0, "V = 65, sigma = 8, shift = 0");
    "bias gradient of 4,096 equal tokens, in 2^-24 of its terms":
        Fused 1.3e1 (1.0070e1, "state 1.3157349");
        Portable 1.3e1 (1.0070e1, "state 1.3157349");
    "bias gradient of random heads, in 2^-24 of its terms":
        Fused 9.0e0 (6.2527e0, "bf16, R = 25, H = 33, V = 512, seed 0");
        Portable 9.0e0 (6.3980e0, "f16, R = 25, H = 33, V = 512, seed 0");
    "confident token leading 999 columns, in ulp":
        Fused 6.2e-1 (6.0393e-1, "log p = -3.162e-37");
        Portable 6.2e-1 (5.1242e-1, "log p = -3.162e-3");
    "confident token of 999 columns, in ulp":
        Fused 6.1e-1 (5.7545e-1, "log p = -1.585e-7 at column 700");
        Portable 6.1e-1 (5.0696e-1, "log p = -2.512e-7 at column 700");
    "confident token of two columns, in ulp":
        Fused 1.2e0 (9.6834e-1, "log p = -3.981e-35 at column 1");
        Portable 1.1e0 (9.0480e-1, "log p = -2.512e-33 at column 1");
    "entropy of PyTorch rows, beyond its rounding":
        Fused 3.1e-7 (2.5121e-7, "row 43");
        Portable 3.1e-7 (2.5121e-7, "row 43");
    "entropy of bf16 rows, beyond its rounding":
        Fused 1.1e-7 (6.2812e-8, "V = 511, sigma = 3, shift = 20");
        Portable 2.3e-7 (1.8662e-7, "V = 513, sigma = 1, shift = -20");
    "entropy of f16 rows, beyond its rounding":
        Fused 6.2e-8 (5.0516e-8, "V = 511, sigma = 8, shift = 0");
        Portable 6.5e-8 (3.5615e-8, "V = 511, sigma = 8, shift = 0");
    "entropy of f32 rows, beyond its rounding":
        Fused 7.3e-8 (5.9794e-8, "V = 511, sigma = 8, shift = 0");
        Portable 5.8e-8 (3.1664e-8, "V = 511, sigma = 3, shift = 20");
    "gradient of capped rows, part of (4 + 2c/T + 2|u| + |ln p|) 2^-24":
        Fused 2.4e0 (1.8615e0, "55.265556 tanh(1.6967615x/55.265556)/0.0625, row [32.8429, 33.4598]");
        Portable 2.4e0 (1.8615e0, "55.265556 tanh(1.6967615x/55.265556)/0.0625, row [32.8429, 33.4598]");
    "gradient of capped targets, relative in (1 + 2c/T + 2|u|) 2^-24":
        Fused 2.4e0 (1.8741e0, "55.265556 tanh(1.6967615x/55.265556)/0.0625, row [32.8429, 33.4598]");
        Portable 2.4e0 (1.8741e0, "55.265556 tanh(1.6967615x/55.265556)/0.0625, row [32.8429, 33.4598]");
    "gradient of scaled rows, part of (4 + |ln p|) 2^-24":
        Fused 6.7e-1 (5.5730e-1, "1x/0.7, V = 513, sigma = 3, shift = 0");
        Portable 5.2e-1 (4.3182e-1, "3.3x/0.9, V = 17, sigma = 0.5, shift = 0");
    "gradient of scaled targets, relative in 2^-24":
        Fused 1.5e0 (1.2102e0, "1x/2.5, V = 17, sigma = 3, shift = 20");
        Portable 1.5e0 (1.2102e0, "1x/2.5, V = 17, sigma = 3, shift = 20");
    "gradients of PyTorch rows, part of (4 + 2c/T + |ln p|) 2^-24":
        Fused 5.1e-1 (4.2441e-1, "row 79, column 77");
        Portable 4.0e-1 (3.3305e-1, "row 35, column 8");
    "hidden gradient of a flat row of 262,145 columns, in 2^-24 of its terms":
        Fused 3.0e2 (2.5614e2, "V = 262145, weights 1.0220642");
        Portable 3.0e2 (2.5614e2, "V = 262145, weights 1.0220642");
    "hidden gradient of a flat row of 513 columns, in 2^-24 of its terms":
        Fused 7.8e1 (6.4720e1, "V = 513, weights 1.9845123");
        Portable 7.8e1 (6.4720e1, "V = 513, weights 1.9845123");
    "hidden gradient of confident targets, in 2^-24 of its terms":
        Fused 4.8e0 (3.9604e0, "bf16, 1 - p = 1e-21, V = 600, target 3");
        Portable 6.0e0 (4.9559e0, "bf16, 1 - p = 1e-26, V = 600, target 3");
    "hidden gradient of random heads, in 2^-24 of its terms":
        Fused 1.5e1 (1.2495e1, "f16, H = 257, V = 513, seed 3");
        Portable 1.8e1 (1.4648e1, "f16, H = 257, V = 513, seed 3");
    "log Z of a peak over a flat tail, absolute":
        Fused 2.2e-7 (1.8167e-7, "V = 512, tail 16.75 below, peak 0 at 0");
        Portable 2.2e-7 (1.7881e-7, "V = 512, tail 16.75 below, peak 0 at 0");
    "log Z of capped rows, in ulp of c/temperature":
        Fused 2.5e0 (2.2253e0, "30.13415 tanh(1.9249645x/30.13415)/0.942, row [15.798272]");
        Portable 2.5e0 (2.2253e0, "30.13415 tanh(1.9249645x/30.13415)/0.942, row [15.798272]");
    "log Z of normalised rows, absolute":
        Fused 2.9e-8 (2.7644e-8, "V = 512, sigma = 8, seed 2");
        Portable 2.9e-8 (2.3872e-8, "V = 512, sigma = 8, seed 2");
    "log Z of random bf16 rows near ±1000, absolute":
        Fused 1.1e-7 (6.4519e-8, "V = 64, sigma = 8, shift = 1000");
        Portable 1.1e-7 (8.6606e-8, "V = 64, sigma = 8, shift = 1000");
    "log Z of random bf16 rows, absolute":
        Fused 9.7e-8 (7.9832e-8, "V = 63, sigma = 8, shift = -1");
        Portable 1.4e-7 (1.1297e-7, "V = 63, sigma = 8, shift = -1");
    "log Z of random f16 rows near ±1000, absolute":
        Fused 6.8e-8 (6.1238e-8, "V = 65, sigma = 40, shift = -1000");
        Portable 6.8e-8 (5.6025e-8, "V = 65, sigma = 40, shift = -1000");
    "log Z of random f16 rows, absolute":
        Fused 1.1e-7 (8.5302e-8, "V = 63, sigma = 8, shift = -20");
        Portable 1.1e-7 (8.5226e-8, "V = 63, sigma = 8, shift = -20");
    "log Z of random f32 rows near ±1000, absolute":
        Fused 7.6e-8 (7.2087e-8, "V = 512, sigma = 8, shift = 1000");
        Portable 7.4e-8 (6.1236e-8, "V = 512, sigma = 8, shift = 1000");
    "log Z of random f32 rows, absolute":
        Fused 1.1e-7 (9.0253e-8, "V = 63, sigma = 8, shift = -20");
        Portable 1.1e-7 (9.0249e-8, "V = 63, sigma = 8, shift = -20");
    "log Z of scaled rows, absolute":
        Fused 6.0e-8 (4.9171e-8, "1x/0.7, V = 513, sigma = 3, shift = 0");
        Portable 5.9e-8 (4.9103e-8, "1x/0.7, V = 513, sigma = 3, shift = 0");
    "log of the sum of p^2 of PyTorch rows, beyond its rounding":
        Fused 2.4e-7 (1.9387e-7, "row 83");
        Portable 2.4e-7 (1.9387e-7, "row 83");
    "log of the sum of p^2 of bf16 rows, beyond its rounding":
        Fused 2.0e-7 (1.6060e-7, "V = 511, sigma = 8, shift = 0");
        Portable 1.5e-7 (1.2816e-7, "V = 513, sigma = 40, shift = -20");
    "log of the sum of p^2 of f16 rows, beyond its rounding":
        Fused 1.6e-7 (1.5811e-7, "V = 511, sigma = 8, shift = 0");
        Portable 1.6e-7 (1.3319e-7, "V = 65, sigma = 8, shift = 0");
    "log of the sum of p^2 of f32 rows, beyond its rounding":
        Fused 1.9e-7 (1.8369e-7, "V = 511, sigma = 8, shift = 0");
        Portable 1.6e-7 (1.3153e-7, "V = 511, sigma = 8, shift = 0");
    "log-prob of huge logits, beyond its rounding":
        Fused 0e0 (0.0000e0, "1x/1, V = 1, sigma = 0.5, shift = 1500");
        Portable 0e0 (0.0000e0, "1x/1, V = 1, sigma = 0.5, shift = 1500");
    "mean logit of bf16 rows, beyond its rounding, in 2^-24 of the mean size":
        Fused 0.0e0 (0.0000e0, "V = 1, sigma = 0.5, shift = 0");
        Portable 0.0e0 (0.0000e0, "V = 1, sigma = 0.5, shift = 0");
    "mean logit of f16 rows, beyond its rounding, in 2^-24 of the mean size":
        Fused 1.0e-2 (8.5458e-3, "V = 513, sigma = 0.5, shift = 0");
        Portable 1.0e-2 (8.5458e-3, "V = 513, sigma = 0.5, shift = 0");
    "mean logit of f32 rows, beyond its rounding, in 2^-24 of the mean size":
        Fused 2.7e-1 (2.2352e-1, "V = 64, sigma = 1, shift = 20");
        Portable 2.7e-1 (2.2352e-1, "V = 64, sigma = 1, shift = 20");
    "p of random bf16 rows, part of (4 + |ln p|) 2^-24":
        Fused 6.1e-1 (5.0865e-1, "V = 64, sigma = 40, shift = 20");
        Portable 4.2e-1 (3.4783e-1, "V = 64, sigma = 8, shift = 1000");
    "p of random f16 rows, part of (4 + |ln p|) 2^-24":
        Fused 6.1e-1 (5.0945e-1, "V = 3, sigma = 1, shift = 20");
        Portable 4.1e-1 (3.7890e-1, "V = 17, sigma = 3, shift = 20");
    "p of random f32 rows, part of (4 + |ln p|) 2^-24":
        Fused 6.1e-1 (5.0002e-1, "V = 65, sigma = 40, shift = 1000");
        Portable 4.5e-1 (3.7152e-1, "V = 65, sigma = 8, shift = 20");
    "token log-prob of bf16 rows, beyond its rounding":
        Fused 3.9e-8 (3.1552e-8, "V = 63, sigma = 3, shift = 20");
        Portable 6.7e-9 (5.5784e-9, "V = 511, sigma = 8, shift = 0");
    "token log-prob of f16 rows, beyond its rounding":
        Fused 3.2e-8 (2.6591e-8, "V = 64, sigma = 8, shift = 20");
        Portable 3.2e-8 (2.6591e-8, "V = 64, sigma = 8, shift = 20");
    "token log-prob of f32 rows, beyond its rounding":
        Fused 1.9e-8 (1.5523e-8, "V = 65, sigma = 3, shift = 20");
        Portable 1.9e-8 (1.5523e-8, "V = 65, sigma = 3, shift = 20");
    "trained hidden gradient of random heads, in 2^-24 of its terms":
        Fused 2.0e1 (1.6721e1, "bf16, R = 13, H = 17, V = 511, seed 1");
        Portable 2.0e1 (1.6721e1, "bf16, R = 13, H = 17, V = 511, seed 1");
    "weight gradient of 4,096 equal tokens, in 2^-24 of its terms":
        Fused 3.0e1 (2.4793e1, "state 1.3157349");
        Portable 3.0e1 (2.4793e1, "state 1.3157349");
    "weight gradient of random heads, in 2^-24 of its terms":
        Fused 1.1e1 (7.8678e0, "f32, R = 25, H = 33, V = 512, seed 1");
        Portable 1.1e1 (8.3480e0, "bf16, R = 25, H = 33, V = 512, seed 0");
}
