//! Stage 4: from sequence log-probs to a preference loss and its gradient, over a batch.

mod batch;
mod summary;

pub(crate) use batch::check_preferences;
pub use batch::{PairOut, preference_loss};
pub use summary::Summary;
