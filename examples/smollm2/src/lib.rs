//! SmolLM2-135M-Instruct, fine-tuned by DPO with a LoRA adapter on a CPU.
//!
//! ```text
//! pairs.jsonl ─▶ batch: tokens ──┐
//! model.gguf ─▶ gguf ─▶ model ◀──┤   one set of weights, two models
//!                                │
//!     adapter off: reference     │     adapter on: policy
//!              │ once            │           │ every step
//!              ▼ hidden states   │           ▼ hidden states
//!         loss: log-probs ───────┴──▶ loss: DPO, hidden gradients ─▶ candle's backward ─▶ optimizer
//! ```

mod attention;
mod head;
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "the byte-level example's"
)]
#[path = "../../finetune/jsonl/mod.rs"]
mod jsonl;
mod numbers;
mod ops;
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "the byte-level example's"
)]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts are small")]
#[path = "../../finetune/random.rs"]
mod random;
mod rotary;
mod settings;
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "the byte-level example's"
)]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a picture's numbers are small"
)]
#[path = "../../finetune/svg.rs"]
mod svg;

pub mod args;
pub mod batch;
pub mod chat;
pub mod curves;
pub mod file;
pub mod gguf;
pub mod lora;
pub mod loss;
pub mod model;
pub mod optimizer;
pub mod report;
pub mod run;
pub mod sample;
pub mod state;
pub mod tokenizer;
pub mod train;
pub mod tree;

pub use random::Random;

/// What went wrong.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Nothing, or something, or what went wrong.
pub type Outcome<T = ()> = Result<T, Fault>;

fn fault(what: String) -> Fault {
    what.into()
}
