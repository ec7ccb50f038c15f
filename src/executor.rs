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

/// Work that is shared out to threads, where each has memory of its own.
pub trait Shares: Send + Sized {
    /// Does it, on this thread.
    fn run_on(self, dispatch: Dispatch);
    /// The shares of the first `first` threads, and those of `others` more.
    fn split(self, first: usize, others: usize) -> (Self, Self);
}

pub(crate) mod private {
    use super::{Dispatch, Rows, Shares};

    /// The working side of `Executor`, out of reach of other crates.
    pub trait Execute {
        /// Does the work on all of its rows.
        fn execute<R: Rows>(self, rows: R) -> R::Output;
        /// Does the work of so many threads.
        fn execute_shares<W: Shares>(self, work: W, threads: usize);
        /// How many threads there are.
        fn threads(self) -> usize;
        /// What each of them runs.
        fn dispatch(self) -> Dispatch;
    }
}

impl Executor for Dispatch {}

impl private::Execute for Dispatch {
    #[inline]
    fn execute<R: Rows>(self, rows: R) -> R::Output {
        rows.run_on(self)
    }

    #[inline]
    fn execute_shares<W: Shares>(self, work: W, _: usize) {
        work.run_on(self);
    }

    #[inline]
    fn threads(self) -> usize {
        1
    }

    #[inline]
    fn dispatch(self) -> Dispatch {
        self
    }
}
