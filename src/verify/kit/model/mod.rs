//! What a backend with one mistake would find.
//!
//! The models are written in f64 and follow the reference but for the mistake. Where a mistake
//! leaves a figure to chance, such as the last digits of a sum that nearly underflows, the figure is
//! [`ANY`](super::input::ANY).

mod gather;
mod grads;
mod head;
mod norm;
mod pair;

pub(super) use gather::rows;
pub(super) use head::head;
pub(super) use pair::pairs;
