//! Stage 4: from sequence log-probs to a preference loss and its gradient, over a batch.

mod batch;
mod summary;

pub use batch::{PairOut, preference_loss};
pub(crate) use batch::{add_up, check_preferences};
pub use summary::Summary;
