//! The example `finetune`: its model, data and losses. The files are that example's own.

#[path = "../../finetune/batch.rs"]
pub mod batch;
#[path = "../../finetune/defaults.rs"]
pub mod defaults;
#[path = "../../finetune/head.rs"]
pub mod head;
#[allow(private_interfaces, reason = "as in the example")]
#[path = "../../finetune/jsonl/mod.rs"]
pub mod jsonl;
#[path = "../../finetune/linear.rs"]
pub mod linear;
#[path = "../../finetune/model.rs"]
pub mod model;
#[path = "../../finetune/norm.rs"]
pub mod norm;
#[path = "../../finetune/objective.rs"]
pub mod objective;
#[path = "../../finetune/random.rs"]
pub mod random;
#[path = "../../finetune/text.rs"]
pub mod text;
#[path = "../../finetune/train.rs"]
pub mod train;

/// Pairs of that example's own writing.
pub const BUILT_IN: &[u8] = include_bytes!("../../finetune/pairs.jsonl");
