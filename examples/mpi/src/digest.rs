//! Digests of results: which bits they were, in one number.
//!
//! ```text
//! digest = Σ mix(index, bits) mod 2^64
//! ```
//!
//! The order in which numbers come does not count, their places do. So each rank adds up what it
//! has, and one sum of integers makes the digest of all.

/// Of what it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    /// Adds a number at a place.
    pub fn add(&mut self, place: u64, bits: u64) {
        self.0 = self.0.wrapping_add(mix(mix(place) ^ bits));
    }

    /// Adds numbers at places from `first` on.
    pub fn add_all(&mut self, first: u64, values: &[f32]) {
        for (place, value) in (first..).zip(values) {
            self.add(place, u64::from(value.to_bits()));
        }
    }

    /// Adds bytes at places from 0 on.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut digest = Self::default();
        for (place, byte) in (0..).zip(bytes) {
            digest.add(place, u64::from(*byte));
        }
        digest
    }
}

/// The last steps of `SplitMix64` (Steele, Lea, Flood 2014): every bit of the result depends on
/// every bit of the number.
const fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
