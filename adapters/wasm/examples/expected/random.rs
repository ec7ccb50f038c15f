//! Seeded numbers, and their bits as JSON.

use serde_json::{Value, json};

/// xorshift64*, of Marsaglia and Vigna.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.bits() >> 32) % n
    }

    /// In ±1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    #[expect(clippy::cast_possible_truncation, reason = "of a seeded number")]
    pub(crate) fn unit_f32(&mut self) -> f32 {
        self.unit() as f32
    }
}

pub(crate) fn f64s(numbers: impl IntoIterator<Item = f64>) -> Value {
    json!(numbers.into_iter().map(hex).collect::<Vec<_>>())
}

pub(crate) fn hex(number: f64) -> String {
    format!("{:016x}", number.to_bits())
}

pub(crate) fn f32s(numbers: &[f32]) -> Value {
    json!(numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
}
