//! Reproducible random arguments.

/// The generator `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Default)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator of its own for each `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed << 40)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let unit = (self.bits() >> 11) as f64 / 9_007_199_254_740_992.0;
        unit
    }

    /// A number of either sign: every other one uniform in ±`largest`, the rest with a uniform
    /// logarithm down to 2⁻⁶⁰ `largest`.
    pub(crate) fn real(&mut self, largest: f64) -> f64 {
        let sign = if self.bits() & 1 == 0 { largest } else { -largest };
        let magnitude = self.unit();
        if self.bits() & 1 == 0 { sign * magnitude } else { sign * (-60.0 * magnitude).exp2() }
    }

    /// An f32 in ±110, where the functions are neither constant nor the identity.
    pub(crate) fn scalar(&mut self) -> f32 {
        #[expect(clippy::cast_possible_truncation, reason = "an f32 is wanted")]
        let x = self.real(110.0) as f32;
        x
    }
}
