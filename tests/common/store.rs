//! What tests need of a storage type.

use dpo_kernel::verify::Figure;
use dpo_kernel::{Element, bf16, f16};

/// An element type with a name, a NaN to poison memory with, and its bits.
pub trait Store: Element + Figure + std::fmt::Debug + PartialEq + 'static {
    const NAME: &'static str;
    /// A NaN that nobody writes by accident.
    const POISON: Self;
    fn bits(self) -> u32;
}

impl Store for f32 {
    const NAME: &'static str = "f32";
    const POISON: Self = f32::from_bits(0x7fc5_5aa5);
    fn bits(self) -> u32 {
        self.to_bits()
    }
}

impl Store for f16 {
    const NAME: &'static str = "f16";
    const POISON: Self = f16::from_bits(0x7e5a);
    fn bits(self) -> u32 {
        self.to_bits().into()
    }
}

impl Store for bf16 {
    const NAME: &'static str = "bf16";
    const POISON: Self = bf16::from_bits(0x7fda);
    fn bits(self) -> u32 {
        self.to_bits().into()
    }
}
