//! The reduction of results to 64 bits.

use dpo_kernel::row::RowDetails;
use dpo_kernel::{PairLoss, SequenceLogProb, Summary, bf16, f16};

/// A running digest: `state ← mix((state ⊕ bits) · odd)` for each result.
///
/// Every step is a bijection of the state, and for a given state of the bits: of two runs that
/// differ in a single result, the digests differ for certain. Which NaN a machine makes is no
/// result (IEEE 754 leaves it open), so every NaN counts as the same one; the sign of zero counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    state: u64,
    results: u64,
}

impl Digest {
    pub const fn new() -> Self {
        // The first digits of π, so that leading zeros count.
        Self { state: 0x3243_f6a8_885a_308d, results: 0 }
    }

    /// The digest so far.
    pub const fn value(&self) -> u64 {
        self.state
    }

    /// How many results went into it.
    pub const fn results(&self) -> u64 {
        self.results
    }

    pub fn add(&mut self, result: impl Bits) {
        result.add_to(self);
    }

    pub fn add_all<T: Bits + Copy>(&mut self, results: &[T]) {
        for &result in results {
            result.add_to(self);
        }
    }

    /// Takes another digest in, as one result of many.
    pub const fn absorb(&mut self, other: &Self) {
        self.word(other.state);
        self.results += other.results - 1;
    }

    const fn word(&mut self, bits: u64) {
        let product = (self.state ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.state = product ^ (product >> 32);
        self.results += 1;
    }
}

/// A result as bits that are the same wherever the result is.
pub trait Bits {
    fn add_to(self, digest: &mut Digest);
}

macro_rules! float_bits {
    ($($t:ident),+) => { $(
        impl Bits for $t {
            fn add_to(self, digest: &mut Digest) {
                let canonical = if self.is_nan() { $t::NAN } else { self };
                digest.word(u64::from(canonical.to_bits()));
            }
        }
    )+ };
}

float_bits!(f32, f64, f16, bf16);

impl Bits for u32 {
    fn add_to(self, digest: &mut Digest) {
        digest.word(u64::from(self));
    }
}

impl Bits for u64 {
    fn add_to(self, digest: &mut Digest) {
        digest.word(self);
    }
}

impl Bits for usize {
    fn add_to(self, digest: &mut Digest) {
        digest.word(self as u64);
    }
}

impl<T: Bits> Bits for Option<T> {
    fn add_to(self, digest: &mut Digest) {
        match self {
            Some(result) => result.add_to(digest),
            None => digest.word(u64::MAX),
        }
    }
}

impl Bits for RowDetails {
    fn add_to(self, digest: &mut Digest) {
        digest.add_all(&[self.entropy, self.mean_logit, self.log_sum_sq_probs]);
        digest.add(self.argmax);
    }
}

impl Bits for SequenceLogProb {
    fn add_to(self, digest: &mut Digest) {
        digest.add(self.sum);
        digest.add(self.count);
    }
}

impl Bits for PairLoss {
    fn add_to(self, digest: &mut Digest) {
        digest.add_all(&[self.loss, self.reward_chosen, self.reward_rejected]);
        digest.add_all(&[self.margin, self.d_chosen, self.d_rejected]);
    }
}

impl Bits for Summary {
    fn add_to(self, digest: &mut Digest) {
        digest.add_all(&[self.pairs, self.correct, self.ties]);
        digest.add_all(&[self.loss_sum, self.margin_sum]);
        digest.add_all(&[self.reward_chosen_sum, self.reward_rejected_sum]);
    }
}
