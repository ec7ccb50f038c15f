//! `xorshift32` (Marsaglia 2003): 32 bits of state, three shifts a number.

/// Never 0.
#[derive(Clone, Debug)]
pub struct Random(pub u32);

impl Random {
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// Uniform in [−1, 1): a multiple of 2⁻²³, so exact.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / 8_388_608.0 - 1.0
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.bits() as usize) % (last + 1));
        }
    }
}
