#![doc = include_str!("../README.md")]

mod error;
mod head;
mod head_step;
mod input;
mod logits;
mod matrix;
mod node;
mod number;
mod stages;
mod workspace;

pub use dpo_kernel;
pub use error::{Error, Operand};
pub use head::Head;
pub use input::Input;
pub use logits::Logits;
pub use workspace::{Step, Workspace};
