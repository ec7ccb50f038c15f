//! Where the rows of a stage run: on the caller's thread, or over several.

use crate::Dispatch;
use crate::layout::Span;
use crate::simd::Kernel;

/// What runs the stages that touch logits: a [`Dispatch`], on the caller's thread, or with the
/// feature `rayon` a `Parallel`, with rows over threads. The bits are the same. Sealed.
pub trait Executor: Copy + private::Execute {}

/// A kernel over rows that can be cut in two.
pub trait Rows: Kernel<Output: Send> + Send + Sized {
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
        /// Runs a kernel on all of its rows.
        fn execute<K: Rows>(self, kernel: K) -> K::Output;
    }
}

impl Executor for Dispatch {}

impl private::Execute for Dispatch {
    #[inline]
    fn execute<K: Rows>(self, kernel: K) -> K::Output {
        self.run(kernel)
    }
}
