//! What the page of `examples/web` computes, in a browser and on a PC with the same bits.
//!
//! ```text
//! theory      bars and sliders ─▶ dpo_kernel::theory, preference_loss ─▶ the numbers of the five steps
//! training    pairs ─▶ text ─▶ model ─ logits ─▶ dpo_kernel::preference_step ─▶ gradients ─▶ Adam
//! exports     both, for JavaScript (wasm alone)
//! ```
//!
//! One language model serves twice, as in `examples/firmware`, whose layers it has: with the adapter off it is
//! the frozen reference, with it on the policy. Everything is + − × ÷, `libm` and the crate's portable
//! arithmetic in a fixed order, so that a run's digest is the same wherever it runs.
#![no_std]

extern crate alloc;

#[cfg(target_family = "wasm")]
mod exports;
pub mod model;
pub mod objective;
pub mod pairs;
pub mod sample;
pub mod text;
pub mod theory;
pub mod train;
