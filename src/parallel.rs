//! The stages that touch logits, with rows over threads: feature `rayon`.
//!
//! ```text
//! rows   0 ──────────── R/2 ──────────── R      cut in halves until a part is small;
//!        [ part ][ part ][ part ][ part ]       each part runs as the whole does
//! ```
//!
//! The functions have the names, arguments, results and errors of those at the root: a host changes its
//! `use`. They run on the current rayon pool: the one that they are called in, or the global one. A call from
//! a thread outside the pool wakes it and waits for it, which took 10 to 30 microseconds on a virtual machine: a
//! loop over small batches belongs in `ThreadPool::install`.
//! Cutting is by rows, so spans may come in any order and length, and every part owns its rows of the
//! outputs. A row's result does not depend on its neighbours, so **no bit depends on the number of
//! threads**; checks come first, on the whole, and broken rows are counted over all parts.
//!
//! This module needs `std`, as rayon does. Rayon allocates, and panics if the system refuses its threads;
//! the promises of the rest of the crate about both end here.

use crate::error::NonFinite;
use crate::gradient::{Apart, InPlace};
use crate::row::{Details, Extra, RowDetails, RowNorm};
use crate::simd::{Dispatch, Kernel};
use crate::span::{Span, Targets};
use crate::token::{TokenOut, Tokens};
use crate::{Element, Error, GradBatch, Logits, LogitsMut};

/// Logits that are worth a thread's attention: some microseconds.
const PART: usize = 1 << 15;
/// Parts for each thread at most: so many even out ragged batches, and every part looks at all spans.
const PARTS: usize = 16;

/// [`token_log_probs`](crate::token_log_probs), with rows over threads.
///
/// # Errors
/// As there, with the same numbers.
///
/// # Panics
/// Where rayon does; see the [module](self).
///
/// # Example
/// ```
/// use dpo_kernel::{Dispatch, Logits, Span, Targets, TokenOut, parallel};
/// let logits = [0.0_f32, 0.0, 20.0, 0.0];
/// let logits = Logits::new(&logits, 2, 2)?;
/// let mut log_probs = [0.0; 2];
/// let (targets, spans) = ([0, 0], [Span::new(0, 2)]);
/// let out = TokenOut::new(&mut log_probs);
/// parallel::token_log_probs(Dispatch::detect(), logits, Targets::new(&targets), &spans, out)?;
/// assert_eq!(log_probs[0], -core::f32::consts::LN_2);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
pub fn token_log_probs<E: Element>(
    dispatch: Dispatch,
    logits: Logits<'_, E>,
    targets: Targets<'_>,
    spans: &[Span],
    out: TokenOut<'_>,
) -> Result<(), Error> {
    let tokens = Tokens::new(logits, targets, spans, out)?;
    let bad = if tokens.out.details.is_some() {
        run(dispatch, tokens.collecting(Details))
    } else {
        run(dispatch, tokens)
    };
    bad.rows()
}

/// [`logit_grads`](crate::logit_grads), with rows over threads.
///
/// # Errors
/// As there, with the same numbers.
///
/// # Panics
/// Where rayon does; see the [module](self).
pub fn logit_grads<E: Element, O: Element>(
    dispatch: Dispatch,
    logits: Logits<'_, E>,
    batch: &GradBatch<'_>,
    out: LogitsMut<'_, O>,
) -> Result<(), Error> {
    run(dispatch, Apart::new(logits, batch, out)?);
    Ok(())
}

/// [`logit_grads_in_place`](crate::logit_grads_in_place), with rows over threads.
///
/// # Errors
/// As there, with the same numbers.
///
/// # Panics
/// Where rayon does; see the [module](self).
pub fn logit_grads_in_place<E: Element>(
    dispatch: Dispatch,
    logits: LogitsMut<'_, E>,
    batch: &GradBatch<'_>,
) -> Result<(), Error> {
    run(dispatch, InPlace::new(logits, batch)?);
    Ok(())
}

/// A kernel over rows that can be cut in two.
trait Rows: Kernel<Output: Send> + Send {
    /// The rows, and the columns of each.
    fn shape(&self) -> (Span, usize);
    /// The first `rows` rows, and the others.
    fn split_at(self, rows: usize) -> (Self, Self)
    where
        Self: Sized;
    /// The outcome of both.
    fn join(above: Self::Output, below: Self::Output) -> Self::Output;
}

fn run<K: Rows>(dispatch: Dispatch, kernel: K) -> K::Output {
    let (rows, vocab) = kernel.shape();
    let parts = PARTS.saturating_mul(rayon::current_num_threads());
    let most = (PART / vocab.max(1)).max(rows.end / parts).max(1);
    halve(dispatch, kernel, most)
}

/// Runs a kernel in parts of at most `most` rows.
fn halve<K: Rows>(dispatch: Dispatch, kernel: K, most: usize) -> K::Output {
    let (Span { start, end }, _) = kernel.shape();
    if end - start <= most {
        return dispatch.run(kernel);
    }
    let (above, below) = kernel.split_at((end - start) / 2);
    let (above, below) =
        rayon::join(|| halve(dispatch, above, most), || halve(dispatch, below, most));
    K::join(above, below)
}

impl Span {
    fn split_at(self, rows: usize) -> (Self, Self) {
        let middle = self.start + rows;
        (Self::new(self.start, middle), Self::new(middle, self.end))
    }
}

fn split<T>(x: &mut [T], at: usize) -> (&mut [T], &mut [T]) {
    let at = at.min(x.len());
    x.split_at_mut(at)
}

fn split_some<T>(x: Option<&mut [T]>, at: usize) -> (Option<&mut [T]>, Option<&mut [T]>) {
    x.map(|x| split(x, at)).unzip()
}

impl<E: Element, D: Extra + Send> Rows for Tokens<'_, E, D> {
    fn shape(&self) -> (Span, usize) {
        (self.rows, self.logits.vocab())
    }

    fn split_at(self, rows: usize) -> (Self, Self) {
        let Self { logits, targets, spans, moments, .. } = self;
        let halves = self.rows.split_at(rows);
        let log_probs = split::<f32>(self.out.log_probs, rows);
        let norms = split_some::<RowNorm>(self.out.norms, rows);
        let details = split_some::<RowDetails>(self.out.details, rows);
        let above = TokenOut { log_probs: log_probs.0, norms: norms.0, details: details.0 };
        let below = TokenOut { log_probs: log_probs.1, norms: norms.1, details: details.1 };
        (
            Self { logits, targets, spans, rows: halves.0, out: above, moments },
            Self { logits, targets, spans, rows: halves.1, out: below, moments },
        )
    }

    fn join(above: NonFinite, below: NonFinite) -> NonFinite {
        above.and(below)
    }
}

impl<E: Element, O: Element> Rows for Apart<'_, E, O> {
    fn shape(&self) -> (Span, usize) {
        (self.rows, self.logits.vocab())
    }

    fn split_at(self, rows: usize) -> (Self, Self) {
        let Self { logits, batch, .. } = self;
        let (halves, (above, below)) = (self.rows.split_at(rows), self.out.split_at(rows));
        (
            Self { logits, batch, rows: halves.0, out: above },
            Self { logits, batch, rows: halves.1, out: below },
        )
    }

    fn join((): (), (): ()) {}
}

impl<E: Element> Rows for InPlace<'_, E> {
    fn shape(&self) -> (Span, usize) {
        (self.rows, self.logits.vocab())
    }

    fn split_at(self, rows: usize) -> (Self, Self) {
        let batch = self.batch;
        let (halves, (above, below)) = (self.rows.split_at(rows), self.logits.split_at(rows));
        (
            Self { batch, rows: halves.0, logits: above },
            Self { batch, rows: halves.1, logits: below },
        )
    }

    fn join((): (), (): ()) {}
}
