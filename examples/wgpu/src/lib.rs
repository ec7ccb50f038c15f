//! A host on a real GPU interface: the stages of dpo-kernel that touch logits, in WGSL.

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
