//! Trains a head by DPO on the device and, from the same weights, on the processor: the same losses,
//! step by step.
//!
//! ```text
//! cargo run --release -- --help
//!
//!               hidden states, frozen           on the device for the whole run
//!                     │
//!     weights ──▶ logits ──▶ log-probs ──▶ 4 bytes a row down ─┐
//!        ▲            │                                         ▼
//!        │            │                          dpo-kernel: sums, loss, ∂L/∂log p
//!        │            ▼                                         │
//!        └── step ◀── gradients over the logits ◀── 8 bytes a row up
//! ```

mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    match program::start(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
