//! Rows over threads: feature `rayon`.
//!
//! ```text
//! rows   0 ──────────── R/2 ──────────── R      cut in halves until a part is small;
//!        [ part ][ part ][ part ][ part ]       each part runs as the whole does
//! ```

use crate::Dispatch;
use crate::executor::private::Execute;
use crate::executor::{Executor, Rows, Shares};
use crate::layout::Span;

/// Logits below which a part is not cut further: they take some microseconds, and handing a smaller
/// part to a thread would cost more than it saves.
const PART: usize = 1 << 15;
/// About how many parts a thread gets at most. Enough that threads which finish early find other
/// work in a ragged batch, and no more, because every part looks at all spans. Cutting in halves
/// may give up to about twice as many.
const PARTS: usize = 16;

/// Runs the stages that touch logits with rows over rayon's threads: given in the place of a
/// [`Dispatch`].
///
/// They run on the current rayon pool: the one that the stage is called in, or the global one. A
/// call from a thread outside the pool wakes it and waits for it, which took 10 to 30 microseconds
/// on a virtual machine: a loop over small batches belongs in `ThreadPool::install`. Cutting is by
/// rows, so spans may come in any order and length, and every part owns its rows of the outputs. A
/// row's result does not depend on its neighbours, so **no bit depends on the number of threads**;
/// checks come first, on the whole, and broken rows are counted over all parts.
///
/// It needs `std`, as rayon does. Rayon allocates, and panics if the system refuses its threads:
/// the promises of the rest of the crate about both end here.
///
/// # Example
/// ```
/// use dpo_kernel::{Dispatch, Layout, Logits, Parallel, Span, TokenOut, token_log_probs};
/// let logits = [0.0_f32, 0.0, 20.0, 0.0];
/// let logits = Logits::new(&logits, 2, 2)?;
/// let mut log_probs = [0.0; 2];
/// let (targets, spans) = ([0, 0], [Span::new(0, 2)]);
/// let layout = Layout::new(&targets, &spans, 2)?;
/// let threads = Parallel::new(Dispatch::detect());
/// token_log_probs(threads, logits, &layout, TokenOut::new(&mut log_probs))?;
/// assert_eq!(log_probs[0], -core::f32::consts::LN_2);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parallel {
    dispatch: Dispatch,
}

impl Parallel {
    /// Threads that run these instructions with these roundings.
    #[must_use]
    pub const fn new(dispatch: Dispatch) -> Self {
        Self { dispatch }
    }
}

impl Executor for Parallel {}

impl Execute for Parallel {
    fn execute<K: Rows>(self, kernel: K) -> K::Output {
        let (rows, vocab) = kernel.shape();
        let parts = PARTS.saturating_mul(rayon::current_num_threads());
        let most = (PART / vocab.max(1)).max(rows.end / parts).max(1);
        halve(self.dispatch, kernel, most)
    }

    fn execute_shares<W: Shares>(self, work: W, threads: usize) {
        share(self.dispatch, work, threads);
    }

    fn threads(self) -> usize {
        rayon::current_num_threads()
    }

    fn dispatch(self) -> Dispatch {
        self.dispatch
    }
}

/// Runs work on so many threads.
fn share<W: Shares>(dispatch: Dispatch, work: W, threads: usize) {
    if threads <= 1 {
        return work.run_on(dispatch);
    }
    let first = threads / 2;
    let (this, other) = work.split(first, threads - first);
    rayon::join(|| share(dispatch, this, first), || share(dispatch, other, threads - first));
}

/// Runs a kernel in parts of at most `most` rows.
fn halve<K: Rows>(dispatch: Dispatch, kernel: K, most: usize) -> K::Output {
    let (Span { start, end }, _) = kernel.shape();
    if end - start <= most {
        return kernel.run_on(dispatch);
    }
    let (above, below) = kernel.split_at((end - start) / 2);
    let (above, below) =
        rayon::join(|| halve(dispatch, above, most), || halve(dispatch, below, most));
    K::join(above, below)
}
