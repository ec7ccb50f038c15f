//! Where the rows of a stage run: on the caller's thread, or over several.

use crate::Dispatch;
use crate::layout::Span;

/// What runs the stages that touch logits: a [`Dispatch`], on the caller's thread, or with the
/// feature `rayon` a `Parallel`, with rows over threads. The bits are the same. Sealed.
pub trait Executor: Copy + private::Execute {}

/// Work on rows, which can be cut in two.
pub trait Rows: Send + Sized {
    /// What it returns.
    type Output: Send;
    /// Does it, on this thread.
    fn run_on(self, dispatch: Dispatch) -> Self::Output;
    /// The rows, and the columns of each.
    fn shape(&self) -> (Span, usize);
    /// The first `rows` rows, and the others.
    fn split_at(self, rows: usize) -> (Self, Self);
    /// The outcome of both.
    fn join(above: Self::Output, below: Self::Output) -> Self::Output;
}

pub(crate) mod private {
    use super::Rows;

    /// The working side of `Executor`, out of reach of other crates.
    pub trait Execute {
        /// Does the work on all of its rows.
        fn execute<R: Rows>(self, rows: R) -> R::Output;
    }
}

impl Executor for Dispatch {}

impl private::Execute for Dispatch {
    #[inline]
    fn execute<R: Rows>(self, rows: R) -> R::Output {
        rows.run_on(self)
    }
}
