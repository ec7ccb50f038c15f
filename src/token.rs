//! Stage 2: from rows of logits to token log-probs.
//!
//! ```text
//! log p_t = y_t[target_t] − log Z_t = −log1p(rest_t / e^(y_t[target_t]))
//! ```
//!
//! One sweep over the logits of each scored row; what the backward needs is kept, 16 bytes a row.

use crate::error::{Buffer, NonFinite, check_length};
use crate::row::{BLOCK, Copies, Details, Extra, RowDetails, RowNorm, RowStats, finish_rows};
use crate::simd::{Dispatch, Kernel, Simd};
use crate::span::{self, Span, Targets};
use crate::{Element, Error, Logits};

/// Where [`token_log_probs`] writes: one entry a row, of which only scored rows are touched.
#[derive(Debug)]
pub struct TokenOut<'a> {
    pub(crate) log_probs: &'a mut [f32],
    pub(crate) norms: Option<&'a mut [RowNorm]>,
    pub(crate) details: Option<&'a mut [RowDetails]>,
}

impl<'a> TokenOut<'a> {
    /// Token log-probs alone, R of them: all that a reference model needs.
    #[must_use]
    pub const fn new(log_probs: &'a mut [f32]) -> Self {
        Self { log_probs, norms: None, details: None }
    }

    /// Also what the backward needs of each row, R of them.
    #[must_use]
    pub const fn with_norms(mut self, norms: &'a mut [RowNorm]) -> Self {
        self.norms = Some(norms);
        self
    }

    /// Also entropy, argmax, mean logit and log Σp² of each row, R of them, from the same sweep.
    #[must_use]
    pub const fn with_details(mut self, details: &'a mut [RowDetails]) -> Self {
        self.details = Some(details);
        self
    }
}

/// Log-prob of the target of every scored row: `log p = y[target] − log Z`.
///
/// Rows outside the spans, and rows whose target is the ignore value, are neither read nor written.
///
/// # Numerics
/// Natural logarithms, f32, ≤ 0. The error is that of log Z (0.5 ulp + 3e-8) and one rounding; near 0
/// it is relative: a target that holds nearly all the mass keeps its small log-prob. A row's result
/// depends on nothing but its logits, its target and the dispatch's arithmetic.
/// A target on a masked (−inf) logit yields −inf.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::SpanOutOfRange`],
/// [`Error::SpansOverlap`], [`Error::TargetOutOfRange`], [`Error::NoScoredTokens`].
/// After all other rows are complete: [`Error::NonFiniteRows`] for rows with NaN, +inf, or nothing but
/// −inf; their results are NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{Dispatch, Logits, Span, Targets, TokenOut, token_log_probs};
/// let logits = [0.0_f32, 0.0, 20.0, 0.0];
/// let logits = Logits::new(&logits, 2, 2)?;
/// let mut log_probs = [0.0; 2];
/// let (targets, spans) = ([0, 0], [Span::new(0, 2)]);
/// let out = TokenOut::new(&mut log_probs);
/// token_log_probs(Dispatch::detect(), logits, Targets::new(&targets), &spans, out)?;
/// assert_eq!(log_probs[0], -core::f32::consts::LN_2);
/// assert!((log_probs[1] / -2.061153622438558e-9 - 1.0).abs() < 1e-6);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[inline(always)]
pub fn token_log_probs<E: Element>(
    dispatch: Dispatch,
    logits: Logits<'_, E>,
    targets: Targets<'_>,
    spans: &[Span],
    out: TokenOut<'_>,
) -> Result<(), Error> {
    // Decided in the caller's code, so that a host that asks for no details does not hold what finds them.
    if out.details.is_some() {
        score(dispatch, Tokens::new(logits, targets, spans, out)?.collecting(Details))
    } else {
        score(dispatch, Tokens::new(logits, targets, spans, out)?)
    }
}

fn score<E: Element, D: Extra>(dispatch: Dispatch, tokens: Tokens<'_, E, D>) -> Result<(), Error> {
    dispatch.run(tokens).rows()
}

/// The kernel, on the scored rows among `rows`, whose results `out` has room for.
pub(crate) struct Tokens<'a, E, D> {
    pub(crate) logits: Logits<'a, E>,
    pub(crate) targets: Targets<'a>,
    pub(crate) spans: &'a [Span],
    pub(crate) rows: Span,
    pub(crate) out: TokenOut<'a>,
    pub(crate) moments: D,
}

impl<'a, E: Element> Tokens<'a, E, ()> {
    /// All rows, after every check.
    pub(crate) fn new(
        logits: Logits<'a, E>,
        targets: Targets<'a>,
        spans: &'a [Span],
        out: TokenOut<'a>,
    ) -> Result<Self, Error> {
        let rows = logits.rows();
        span::check(targets, spans, rows, Some(logits.vocab()))?;
        check_length(Buffer::TokenLogProbs, rows, out.log_probs.len())?;
        if let Some(norms) = &out.norms {
            check_length(Buffer::RowNorms, rows, norms.len())?;
        }
        if let Some(details) = &out.details {
            check_length(Buffer::RowDetails, rows, details.len())?;
        }
        Ok(Self { logits, targets, spans, rows: Span::new(0, rows), out, moments: () })
    }

    /// The same with statistics of each row.
    pub(crate) fn collecting<D>(self, moments: D) -> Tokens<'a, E, D> {
        let Self { logits, targets, spans, rows, out, moments: () } = self;
        Tokens { logits, targets, spans, rows, out, moments }
    }
}

impl<E: Element, D: Extra> Kernel for Tokens<'_, E, D> {
    type Output = NonFinite;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> NonFinite {
        // Side by side, eight rows cost little more than one; a row alone takes less memory.
        if S::WIDE { self.rows::<S, 8>(s) } else { self.rows::<S, 1>(s) }
    }
}

impl<E: Element, D: Extra> Tokens<'_, E, D> {
    #[inline(always)]
    fn rows<S: Simd, const B: usize>(mut self, s: S) -> NonFinite {
        let mut bad = NonFinite::NONE;
        let empty = RowStats::new(self.logits.transform(), None);
        let mut copies = Copies::NEW;
        let (mut group, mut at, mut count) = ([empty; B], [0; B], 0);
        for &span in self.spans {
            for (row, target) in self.targets.scored_rows(span.within(self.rows)) {
                if let (Some(stats), Some(at)) = (group.get_mut(count), at.get_mut(count)) {
                    *at = row;
                    *stats = RowStats::new(self.logits.transform(), Some(target));
                    count += 1;
                }
                if count == B {
                    bad = bad.and(self.fold_and_write(s, &mut group, &at, &mut copies));
                    count = 0;
                }
            }
        }
        if let Some(group) = group.get_mut(..count) {
            bad = bad.and(self.fold_and_write(s, group, &at, &mut copies));
        }
        bad
    }

    /// Folds up to B rows, `at` saying which, and writes their results; which are not finite.
    ///
    /// Where there are several, those of one block are all begun before any is folded; longer ones would wait
    /// there for memory that the fold of the row before has not asked for yet.
    #[inline(always)]
    fn fold_and_write<S: Simd, const B: usize>(
        &mut self,
        s: S,
        group: &mut [RowStats<D>],
        at: &[usize; B],
        copies: &mut Copies<E>,
    ) -> NonFinite {
        if B > 1 && self.logits.vocab() <= BLOCK {
            for (stats, &row) in group.iter_mut().zip(at) {
                stats.begin(s, self.logits.row(row), copies);
            }
        }
        for (stats, &row) in group.iter_mut().zip(at) {
            stats.fold_at(s, self.logits.row(row), 0, copies);
        }
        self.out.write(group, at, self.rows.start)
    }
}

impl TokenOut<'_> {
    /// The results of up to B rows, `first` being the row of the first entry; which are not finite.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "log-probs leave as f32")]
    fn write<D: Extra, const B: usize>(
        &mut self,
        folded: &[RowStats<D>],
        at: &[usize; B],
        first: usize,
    ) -> NonFinite {
        let mut bad = NonFinite::NONE;
        let finished = finish_rows::<D, B>(folded);
        for ((stats, finished), &row) in folded.iter().zip(finished).zip(at) {
            if !finished.norm.is_valid() {
                bad.see(row);
            }
            let row = row - first;
            if let Some(to) = self.log_probs.get_mut(row) {
                // −0, where log p underflows, becomes 0.
                *to = finished.log_prob as f32 + 0.0;
            }
            if let Some(to) = self.norms.as_deref_mut().and_then(|norms| norms.get_mut(row)) {
                *to = finished.norm;
            }
            if let Some(to) = self.details.as_deref_mut().and_then(|to| to.get_mut(row)) {
                stats.write_details(to);
            }
        }
        bad
    }
}
