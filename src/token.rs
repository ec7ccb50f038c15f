//! Stage 2: from rows of logits to token log-probs.
//!
//! ```text
//! log p_t = y_t[target_t] − log Z_t = −log1p(rest_t / e^(y_t[target_t]))
//! ```
//!
//! One sweep over the logits of each scored row; what the backward needs is kept, 16 bytes a row.

use core::marker::PhantomData;
use core::ops::AddAssign;

use crate::element::per_type;
use crate::error::{Buffer, NonFinite, check_length};
use crate::executor::{Executor, Rows};
use crate::layout::{Layout, Span};
use crate::logits::Logits;
use crate::row::{
    Copies, Details, Extra, Finished, Fold, HELD, Nothing, RowDetails, RowNorm, RowStats,
    finish_rows, fold_all,
};
use crate::simd::{Dispatch, GROUP, SHORT_LOOPS};
use crate::{Element, Error};

/// Where [`token_log_probs`] writes: one entry a row, of which only scored rows are touched.
#[derive(Debug)]
pub struct TokenOut<'a> {
    log_probs: &'a mut [f32],
    norms: Option<&'a mut [RowNorm]>,
    details: Option<&'a mut [RowDetails]>,
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

    /// One entry a row in each, and the layout's logits.
    pub(crate) fn check<E: Element>(
        &self,
        logits: Logits<'_, E>,
        layout: &Layout<'_>,
    ) -> Result<(), Error> {
        layout.check_shape(logits.rows(), logits.vocab())?;
        self.check_lengths(layout)
    }

    /// One entry a row in each.
    pub(crate) fn check_lengths(&self, layout: &Layout<'_>) -> Result<(), Error> {
        let rows = layout.rows();
        check_length(Buffer::TokenLogProbs, rows, self.log_probs.len())?;
        if let Some(norms) = &self.norms {
            check_length(Buffer::RowNorms, rows, norms.len())?;
        }
        if let Some(details) = &self.details {
            check_length(Buffer::RowDetails, rows, details.len())?;
        }
        Ok(())
    }

    /// Whether details are asked for.
    pub(crate) const fn has_details(&self) -> bool {
        self.details.is_some()
    }

    /// Writes a row's results, but for its details.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "log-probs leave as f32")]
    pub(crate) fn write(&mut self, row: usize, of: &Finished) {
        if let Some(to) = self.log_probs.get_mut(row) {
            // −0, where log p underflows, becomes 0.
            *to = of.log_prob as f32 + 0.0;
        }
        if let Some(to) = self.norms.as_deref_mut().and_then(|norms| norms.get_mut(row)) {
            *to = of.norm;
        }
    }

    /// Where a row's details go, if they are asked for.
    #[inline(always)]
    pub(crate) fn details_of(&mut self, row: usize) -> Option<&mut RowDetails> {
        self.details.as_deref_mut().and_then(|to| to.get_mut(row))
    }

    /// The first `rows` entries of each, and the others.
    fn split_at(self, rows: usize) -> (Self, Self) {
        let log_probs = split(self.log_probs, rows);
        let norms = self.norms.map(|x| split(x, rows)).unzip();
        let details = self.details.map(|x| split(x, rows)).unzip();
        (
            Self { log_probs: log_probs.0, norms: norms.0, details: details.0 },
            Self { log_probs: log_probs.1, norms: norms.1, details: details.1 },
        )
    }
}

fn split<T>(x: &mut [T], at: usize) -> (&mut [T], &mut [T]) {
    let at = at.min(x.len());
    x.split_at_mut_checked(at).unwrap_or_default()
}

/// What a sweep over logits has counted; those of micro-batches and machines add up with `+=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[repr(C)]
pub struct TokenSummary {
    /// Scored tokens, whatever their weights.
    pub tokens: u64,
    /// Scored tokens, whatever their weights, whose target lies on a logit of its type's lowest
    /// finite value (−65504, −3.4e38): a column that a host masked with a number in place of −inf.
    /// The log-prob is that number, and it swamps the loss: mask with −inf, which
    /// [`Error::NonFinitePairs`] names, or look for the token in the data.
    pub masked_tokens: u64,
}

impl AddAssign for TokenSummary {
    fn add_assign(&mut self, other: Self) {
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.masked_tokens = self.masked_tokens.saturating_add(other.masked_tokens);
    }
}

/// Log-prob of the target of every scored row: `log p = y[target] − log Z`.
///
/// `logits`, R × V, are those that `layout` was made for. Rows that are not scored are neither read
/// nor written. `executor` is a [`Dispatch`], or a `Parallel` for rows over
/// threads.
///
/// # Numerics
/// Natural logarithms, f32, ≤ 0. The error is that of log Z (0.5 ulp + 3e-8) and one rounding; near
/// 0 it is relative: a target that holds nearly all the mass keeps its small log-prob. A row's
/// result depends on nothing but its logits, its target and the dispatch's arithmetic. A target on
/// a masked (−inf) logit yields −inf.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::ShapeMismatch`]. After all other rows
/// are complete: [`Error::NonFiniteRows`] for rows with NaN, +inf, or nothing but −inf; their
/// results are NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{Dispatch, Layout, Logits, Span, TokenOut, token_log_probs};
/// let logits = [0.0_f32, 0.0, 20.0, 0.0];
/// let logits = Logits::new(&logits, 2, 2)?;
/// let mut log_probs = [0.0; 2];
/// let (targets, spans) = ([0, 0], [Span::new(0, 2)]);
/// let layout = Layout::new(&targets, &spans, 2)?;
/// token_log_probs(Dispatch::detect(), logits, &layout, TokenOut::new(&mut log_probs))?;
/// assert_eq!(log_probs[0], -core::f32::consts::LN_2);
/// assert!((log_probs[1] / -2.061153622438558e-9 - 1.0).abs() < 1e-6);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[inline(always)]
pub fn token_log_probs<X: Executor, E: Element>(
    executor: X,
    logits: Logits<'_, E>,
    layout: &Layout<'_>,
    out: TokenOut<'_>,
) -> Result<TokenSummary, Error> {
    // Decided in the caller's code, so that a host that asks for no details does not hold what
    // finds them.
    out.check(logits, layout)?;
    if out.details.is_some() {
        score(executor, Tokens::new(logits, layout, out, Details))
    } else {
        score(executor, Tokens::new(logits, layout, out, ()))
    }
}

fn score<X: Executor, E: Element, D: Scored>(
    executor: X,
    tokens: Tokens<'_, E, D>,
) -> Result<TokenSummary, Error> {
    let Found { bad, summary } = executor.execute(tokens);
    bad.rows().map(|()| summary)
}

/// [`token_log_probs`] of what was checked, without details; the caller judges rows that are not
/// finite.
#[inline(always)]
pub(crate) fn score_tokens<X: Executor, E: Element>(
    executor: X,
    logits: Logits<'_, E>,
    layout: &Layout<'_>,
    out: TokenOut<'_>,
) -> (NonFinite, TokenSummary) {
    let Found { bad, summary } = executor.execute(Tokens::new(logits, layout, out, ()));
    (bad, summary)
}

/// What the kernel reports of its rows.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    bad: NonFinite,
    summary: TokenSummary,
}

/// The kernel, on the scored rows among `rows`, whose results `out` has room for.
pub(crate) struct Tokens<'a, E, D> {
    logits: Logits<'a, E>,
    layout: &'a Layout<'a>,
    rows: Span,
    out: TokenOut<'a>,
    details: D,
}

impl<'a, E: Element, D> Tokens<'a, E, D> {
    /// All rows, of what was checked.
    fn new(logits: Logits<'a, E>, layout: &'a Layout<'a>, out: TokenOut<'a>, details: D) -> Self {
        Self { logits, layout, rows: Span::new(0, layout.rows()), out, details }
    }
}

/// An [`Extra`] whose kernel is compiled here, for each element type.
trait Scored: Extra + Send {
    fn score<E: Element>(dispatch: Dispatch, tokens: Tokens<'_, E, Self>) -> Found;
}

macro_rules! scored {
    ($extra:ident, $job:ident) => {
        struct $job<'a>(PhantomData<&'a ()>);
        per_type!($job<'a>, E, Tokens<'a, E, $extra> => Found, score_rows);

        impl Scored for $extra {
            #[inline(always)]
            fn score<E: Element>(dispatch: Dispatch, tokens: Tokens<'_, E, Self>) -> Found {
                E::call::<$job<'_>>(dispatch, tokens)
            }
        }
    };
}

scored!(Nothing, Plain);
scored!(Details, Detailed);

fn score_rows<E: Element, D: Extra>(dispatch: Dispatch, mut tokens: Tokens<'_, E, D>) -> Found {
    tokens.score(dispatch)
}

impl<E: Element, D: Scored> Rows for Tokens<'_, E, D> {
    type Output = Found;

    #[inline(always)]
    fn run_on(self, dispatch: Dispatch) -> Found {
        D::score(dispatch, self)
    }

    fn shape(&self) -> (Span, usize) {
        (self.rows, self.logits.vocab())
    }

    fn split_at(self, rows: usize) -> (Self, Self) {
        let Self { logits, layout, details, .. } = self;
        let halves = self.rows.split_at(rows);
        let (above, below) = self.out.split_at(rows);
        (
            Self { logits, layout, rows: halves.0, out: above, details },
            Self { logits, layout, rows: halves.1, out: below, details },
        )
    }

    fn join(mut above: Found, below: Found) -> Found {
        above.summary += below.summary;
        Found { bad: above.bad.and(below.bad), ..above }
    }
}

impl<E: Element, D: Extra> Tokens<'_, E, D> {
    fn score(&mut self, dispatch: Dispatch) -> Found {
        let mut found = Found { bad: NonFinite::NONE, summary: TokenSummary::default() };
        let mut copies = [const { Copies::NEW }; HELD * GROUP];
        let mut scored = self.layout.scored_rows_within(self.rows);
        if !SHORT_LOOPS {
            for (row, target) in scored {
                let stats = RowStats::new(self.logits.transform(), Some(target));
                let fold = &mut [Fold::new(stats, self.logits.row(row), 0)];
                fold_all(dispatch, fold, &mut copies);
                let [Fold { stats, .. }] = fold;
                self.write_alone(row, stats, &stats.finish(), &mut found);
            }
            return found;
        }
        let (mut group, mut at) = ([Fold::EMPTY; GROUP], [0; GROUP]);
        loop {
            let mut count = 0;
            for ((fold, at), (row, target)) in group.iter_mut().zip(&mut at).zip(&mut scored) {
                let stats = RowStats::new(self.logits.transform(), Some(target));
                *fold = Fold::new(stats, self.logits.row(row), 0);
                *at = row;
                count += 1;
            }
            let Some(group) = group.get_mut(..count).filter(|group| !group.is_empty()) else {
                return found;
            };
            fold_all(dispatch, group, &mut copies);
            self.write(dispatch, group, &at, &mut found);
        }
    }

    /// Writes the results of folded rows. Not inlined: its variables are not on the stack during
    /// folds.
    #[inline(never)]
    fn write(
        &mut self,
        dispatch: Dispatch,
        folded: &[Fold<'_, E, D>],
        at: &[usize; GROUP],
        found: &mut Found,
    ) {
        let stats = folded.iter().map(|fold| &fold.stats);
        let finished = match folded.first() {
            Some(fold) if GROUP == 1 || folded.len() == 1 => [fold.stats.finish(); GROUP],
            _ => finish_rows(dispatch, stats),
        };
        for ((Fold { stats, .. }, finished), &row) in folded.iter().zip(finished).zip(at) {
            self.write_row(row, stats, &finished, found);
        }
    }

    /// [`Tokens::write_row`], by a call.
    #[inline(never)]
    fn write_alone(&mut self, row: usize, stats: &RowStats<D>, of: &Finished, found: &mut Found) {
        self.write_row(row, stats, of, found);
    }

    /// Writes the results of one row.
    #[inline(always)]
    fn write_row(&mut self, row: usize, stats: &RowStats<D>, of: &Finished, found: &mut Found) {
        if !of.norm.is_valid() {
            found.bad.see(row);
        }
        found.summary.tokens += 1;
        found.summary.masked_tokens += u64::from(self.is_masked(row));
        let row = row - self.rows.start;
        self.out.write(row, of);
        if let Some(to) = self.out.details_of(row) {
            stats.write_details(to);
        }
    }

    /// Whether the target of a row lies on its type's lowest finite value.
    fn is_masked(&self, row: usize) -> bool {
        let column = self.layout.targets().scored(row).and_then(|id| usize::try_from(id).ok());
        let logit = column.and_then(|column| self.logits.row(row).get(column));
        logit.is_some_and(|x| x.to_f32().is_finite() && x.to_f32() <= E::LOWEST)
    }
}
