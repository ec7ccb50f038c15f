//! A host on a real GPU interface: the stages of dpo-kernel that touch logits, as WGSL compute shaders.
//!
//! ```text
//!  on the device                                                      on the host: dpo-kernel
//!  logits ──fold──▶ states ──finish──▶ log-probs ── 4 bytes a row ──▶ sequence_log_probs
//!     │                        └─────▶ norms                               │ loss, ∂L/∂log π
//!     ▼                                  │                                 ▼
//!  gradients ◀──map── numbers ◀──factors─┴──────── 8 bytes a row ◀─── token_coefficients
//! ```
//!
//! [`Kernels::token_log_probs`] is the way down, [`Kernels::logit_grads`] and
//! [`Kernels::logit_grads_in_place`] the way back. [`Kernels::head_log_probs`] and
//! [`Kernels::hidden_grads`] do the same from hidden states, with no logits in memory. Elements are
//! f32, f16 or bf16; no feature of the adapter is needed for any. `src/shaders` has the shaders: read
//! `rows.wgsl` first, then `blocks.wgsl`, `fold.wgsl`, `exp.wgsl` and `places.wgsl`.
//!
//! # Numerics
//! The shaders do what the library's portable arithmetic does, in its order: sixteen lanes, blocks of
//! 512 columns, power-of-two bases, the target apart; blocks are added exactly, in any order. So they
//! have its bits wherever f32 additions and products are rounded to nearest, as WGSL says they
//! are, and its bounds: log Z within ½ ulp of f32 + 2.2e-7, p in gradients within
//! 0.67·(4 + |ln p|)·2⁻²⁴ relative. That is tested on an adapter, not promised for all: WGSL lets a
//! compiler reorder sums, and what the shaders do against that (`own` in `params.wgsl`) is a trick. Differences remain
//! where f32 is subnormal: a gradient below 2⁻¹²⁴ may be 0, and hidden gradients below 1e-34 may have
//! other bits.
//!
//! −inf logits are masked vocabulary. A row with NaN or +inf, or with nothing but −inf, has NaN for
//! log-prob, log Z and gradient, alone. Both are told by their bits. Of a head, they are told where its
//! logits are made: NaN in weights or states is seen as far as the device's products keep it.

mod device;
mod elements;
mod error;
mod formula;
mod functions;
mod head;
mod kernels;
mod linear;
mod matrix;
mod params;
mod rows;

pub use device::{DeviceOptions, Gpu};
pub use elements::Element;
pub use error::Error;
pub use functions::Function;
pub use head::HeadOperands;
pub use kernels::Kernels;
pub use matrix::Matrix;
pub use params::Transform;
pub use rows::{Scored, Targets};
