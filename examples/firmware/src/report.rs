//! What a run tells, as text that is the same wherever its bits are.

use core::fmt;

use dpo_kernel::Summary;

/// How the pairs stand after some steps.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub step: u32,
    pub steps: u32,
    pub train: Summary,
    pub held_out: Summary,
    /// Of every weight of the adapters, and of the losses and margins.
    pub digest: Digest,
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, steps, train, held_out, digest } = self;
        write!(
            f,
            "step {step:>2}/{steps}  loss {}  margin {}  accuracy {}/{}  held out {} {}/{}  bits {:016x}",
            Fixed(train.mean_loss()),
            Fixed(train.mean_margin()),
            train.correct,
            train.pairs,
            Fixed(held_out.mean_loss()),
            held_out.correct,
            held_out.pairs,
            digest.0,
        )
    }
}

/// A number to six places, without the code that `core` prints f64 with: 15 KiB of flash.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub f64);

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0.0 { "-" } else { "" };
        let millionths = (self.0.abs() * 1e6 + 0.5) as u64;
        write!(f, "{sign}{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
    }
}

/// 64 bits of many: every step is a bijection of the state, so one other bit shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Default for Digest {
    fn default() -> Self {
        // The first digits of π, so that leading zeros count.
        Self(0x3243_f6a8_885a_308d)
    }
}

impl Digest {
    pub const fn add(&mut self, bits: u64) {
        let product = (self.0 ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}
