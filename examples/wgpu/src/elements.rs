//! The types that logits, hidden states and weights may have.

use bytemuck::Pod;
use half::{bf16, f16};

/// f32, f16 or bf16. No feature of the adapter is needed for any.
pub trait Element: dpo_kernel::Element + Pod {
    /// WGSL that converts it.
    #[doc(hidden)]
    const SHADER: &'static str;
    /// Its name.
    const NAME: &'static str;
}

impl Element for f32 {
    const SHADER: &'static str = include_str!("shaders/elements_f32.wgsl");
    const NAME: &'static str = "f32";
}

impl Element for f16 {
    const SHADER: &'static str = include_str!("shaders/elements_f16.wgsl");
    const NAME: &'static str = "f16";
}

impl Element for bf16 {
    const SHADER: &'static str = include_str!("shaders/elements_bf16.wgsl");
    const NAME: &'static str = "bf16";
}
