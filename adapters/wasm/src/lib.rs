//! The stages and steps of dpo-kernel as exports of a WebAssembly module. The JavaScript beside it
//! (`index.js`) is the only caller: it lays out the memory and reads the results.
//!
//! ```text
//! allocate(bytes) release(block, bytes)     memory for logits, and for what a call works in
//! score                                     logits → log-probs of tokens and of sequences
//! sequence_log_probs                        log-probs of tokens → of sequences
//! pair_step, answer_step                    logits → loss and, in their place, gradients
//! pair_loss, answer_loss                    log-probs of sequences → loss and its gradients
//! ```
//!
//! All but the first two take a [`Call`](call::Call) and write an [`Outcome`](outcome::Outcome).
//! Nothing is kept between calls but the allocator's own state.
#![cfg_attr(target_family = "wasm", no_std)]
#![cfg_attr(
    not(any(feature = "f32", feature = "f16", feature = "bf16")),
    allow(
        dead_code,
        reason = "a build without types has no logits: only what is checked natively is so built"
    )
)]

pub mod call;
#[cfg(target_family = "wasm")]
pub mod memory;
pub mod outcome;
pub mod run;

#[cfg(feature = "losses")]
mod losses;
#[cfg(not(feature = "losses"))]
mod sigmoid;

#[cfg(feature = "losses")]
use losses as loss;
#[cfg(not(feature = "losses"))]
use sigmoid as loss;

/// Nothing in the kernels panics.
#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
