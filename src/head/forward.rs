//! The forward: tiles of logits, folded while they are there.

use super::blame::blame;
use super::hidden::{Hidden, HiddenMut};
use super::product::ROWS;
use super::row::HeadRow;
use super::scratch::{HeadScratch, leave_out};
use super::terms::{rescale, tile_terms_in_place};
use super::tile::{RowSums, States, TILE, Tile};
use super::traits::Head;
use crate::error::NonFinite;
use crate::executor::{Executor, Shares};
use crate::layout::{Layout, Span};
use crate::row::{Details, Finished, RowStats};
use crate::token::{TokenOut, TokenSummary};
use crate::{Dispatch, Element, Error, Transform};

/// Log-prob of the target of every scored row, from hidden states: no logit exists for longer than
/// a tile.
///
/// ```text
/// log p = y[target] − log Z        y = transform(states · Wᵀ + b)
/// ```
///
/// `states` are R × H, `layout` is of R rows and the head's V columns. Hidden states of rows that
/// are not scored are not read, and nothing is multiplied for them. `out` takes what that of
/// [`token_log_probs`](crate::token_log_probs) does.
///
/// # Numerics
/// The bits of [`token_log_probs`](crate::token_log_probs) on the logits that the head would write
/// out in f32, and of any other scratch.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::ShapeMismatch`],
/// [`Error::HiddenMismatch`]. After all other rows
/// are complete: [`Error::NonFiniteRows`] for rows whose logits hold NaN, +inf, or nothing but
/// −inf; their results are NaN. In its place [`Error::InvalidValue`] of
/// [`Buffer::HeadWeights`](crate::error::Buffer::HeadWeights), if a row of the head is why.
///
/// # Panics
/// Never.
pub fn head_token_log_probs<X: Executor, E: Element, H: Head<E> + ?Sized>(
    executor: X,
    states: Hidden<'_, E>,
    head: &H,
    layout: &Layout<'_>,
    out: TokenOut<'_>,
    mut scratch: HeadScratch<'_>,
) -> Result<TokenSummary, Error> {
    check_forward(executor, states, head, layout, &scratch)?;
    out.check_lengths(layout)?;
    let forward = Forward { executor, states, head, layout, out, sums: None };
    let (bad, summary) = forward.run(scratch.reborrow());
    bad.rows().map_err(|error| blame(error, states, head, &mut scratch))?;
    Ok(summary)
}

/// [`head_token_log_probs`], and what the backward of a frozen head needs: Σ p·W of each scored
/// row, so that no tile is made again.
///
/// ```text
/// sums = Σ_{j ≠ target} e^(y_j) · dy/dx_j · W_j / base        base a power of two below Z
/// ```
///
/// `sums`, R × H, are written in rows that are scored, relative to the row's norm. **They are no
/// gradients yet**: [`hidden_grads_in_place`](super::hidden_grads_in_place) and
/// [`hidden_grads`](super::hidden_grads) make such of them.
///
/// # Numerics
/// As [`head_token_log_probs`], but that a row whose sums are not finite is broken too: an infinite
/// weight masks its column for −∞ logits, and still spoils the sum, and one beyond 1e17 may overflow
/// under a term. The base rises with the row's
/// logits by powers of two: exact.
///
/// # Errors
/// As [`head_token_log_probs`].
///
/// # Panics
/// Never.
pub fn head_forward<X: Executor, E: Element, H: Head<E> + ?Sized>(
    executor: X,
    states: Hidden<'_, E>,
    head: &H,
    layout: &Layout<'_>,
    out: TokenOut<'_>,
    sums: HiddenMut<'_, f32>,
    mut scratch: HeadScratch<'_>,
) -> Result<TokenSummary, Error> {
    check_forward(executor, states, head, layout, &scratch)?;
    out.check_lengths(layout)?;
    check_shape((states.rows(), head.sums()), (sums.rows(), sums.size()))?;
    let sums = Some(sums);
    let forward = Forward { executor, states, head, layout, out, sums };
    let (bad, summary) = forward.run(scratch.reborrow());
    bad.rows().map_err(|error| blame(error, states, head, &mut scratch))?;
    Ok(summary)
}

/// What a forward asks of its input.
pub(crate) fn check_forward<X: Executor, E: Element, H: Head<E> + ?Sized>(
    executor: X,
    states: Hidden<'_, E>,
    head: &H,
    layout: &Layout<'_>,
    scratch: &HeadScratch<'_>,
) -> Result<(), Error> {
    check_states(states, head)?;
    layout.check_shape(states.rows(), head.vocab())?;
    scratch.check(executor, head)
}

/// The hidden size, and the number of states if the head belongs to some.
pub(super) fn check_states<E: Element, H: Head<E> + ?Sized>(
    states: Hidden<'_, E>,
    head: &H,
) -> Result<(), Error> {
    let expected = (head.rows().unwrap_or(states.rows()), head.size());
    check_shape(expected, (states.rows(), states.size()))
}

pub(crate) fn check_shape(expected: (usize, usize), found: (usize, usize)) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::HiddenMismatch { expected, found }) }
}

/// A forward over all scored rows, as many at once as there is room for.
pub(crate) struct Forward<'a, 'b, X, E, H: ?Sized> {
    pub(crate) executor: X,
    pub(crate) states: Hidden<'a, E>,
    pub(crate) head: &'a H,
    pub(crate) layout: &'a Layout<'a>,
    pub(crate) out: TokenOut<'b>,
    pub(crate) sums: Option<HiddenMut<'b, f32>>,
}

impl<X: Executor, E: Element, H: Head<E> + ?Sized> Forward<'_, '_, X, E, H> {
    pub(crate) fn run(mut self, scratch: HeadScratch<'_>) -> (NonFinite, TokenSummary) {
        let HeadScratch { rows: room, numbers, negligible } = scratch;
        let (mut bad, mut summary) = (NonFinite::NONE, TokenSummary::default());
        let transform = self.head.transform();
        let mut scored = self.layout.scored_rows_within(Span::new(0, self.layout.rows()));
        while let Some(rows) = begin(room, transform, &mut scored) {
            let (tile, numbers) = Tile::split(&mut *numbers, rows.len());
            let sums = self.sums.as_mut().map(HiddenMut::reborrow);
            let with_details = self.out.has_details();
            let (states, head) = (self.states, self.head);
            let rows_of = &mut *rows;
            let work = FoldRows {
                states,
                head,
                first_column: 0,
                rows: rows_of,
                tile,
                numbers,
                sums,
                with_details,
                negligible,
            };
            self.executor.execute_shares(work, self.executor.threads());
            for row in &*rows {
                self.finish(row, &mut bad, &mut summary);
            }
        }
        (bad, summary)
    }

    /// Writes the results of a row.
    fn finish(&mut self, of: &HeadRow, bad: &mut NonFinite, summary: &mut TokenSummary) {
        let mut finished = of.stats.finish();
        if let Some(sums) = &mut self.sums {
            let sums = sums.row_mut(of.row);
            rescale(sums, &of.stats, &finished.norm);
            // Of an infinite weight: its column is masked where the logit is −∞, but 0 · ∞ is not 0.
            if !sums.iter().all(|sum| sum.is_finite()) {
                finished = Finished::NAN;
            }
        }
        if !finished.norm.is_valid() {
            bad.see(of.row);
        }
        summary.tokens += 1;
        summary.masked_tokens += u64::from(of.is_masked);
        self.out.write(of.row, &finished);
        if let Some(to) = self.out.details_of(of.row) {
            *to = of.stats.with_extra::<Details>(of.details).details();
        }
    }
}

/// The next scored rows, as many as there is room for.
pub(super) fn begin<'r>(
    room: &'r mut [HeadRow],
    transform: Transform,
    scored: &mut impl Iterator<Item = (usize, u32)>,
) -> Option<&'r mut [HeadRow]> {
    let mut count = 0;
    for (to, (row, target)) in room.iter_mut().zip(scored) {
        let stats = RowStats::new(transform, Some(target));
        *to = HeadRow { row, stats, ..HeadRow::NEW };
        count += 1;
    }
    room.get_mut(..count).filter(|rows| !rows.is_empty())
}

/// Makes and folds every tile of some rows.
pub(super) struct FoldRows<'a, 'b, E, H: ?Sized> {
    pub(super) states: Hidden<'a, E>,
    pub(super) head: &'a H,
    /// The column of the row that the head's first is.
    pub(super) first_column: usize,
    pub(super) rows: &'b mut [HeadRow],
    pub(super) tile: &'b mut [f32],
    /// The head's, as often as there are threads.
    pub(super) numbers: &'b mut [f32],
    pub(super) sums: Option<HiddenMut<'b, f32>>,
    pub(super) with_details: bool,
    pub(super) negligible: f32,
}

impl<E: Element, H: Head<E> + ?Sized> Shares for FoldRows<'_, '_, E, H> {
    #[allow(clippy::cast_possible_truncation, reason = "a bound, of a slope that is an f32")]
    fn run_on(mut self, dispatch: Dispatch) {
        let Self { states, head, first_column, rows, tile, numbers, negligible, .. } = self;
        if rows.is_empty() {
            return;
        }
        if let Some(sums) = &mut self.sums {
            for of in &*rows {
                sums.row_mut(of.row).fill(0.0);
            }
        }
        let vocab = head.vocab();
        // Terms have the logits' slope.
        let negligible = f64::from(negligible) * head.transform().slope();
        for from in (0..vocab).step_by(TILE) {
            let columns = from..vocab.min(from.saturating_add(TILE));
            let mut tile = Tile::new(&mut *tile, rows.len(), columns);
            head.logits(dispatch, States::new(states, rows), &mut tile, &mut *numbers);
            let from = first_column.saturating_add(from);
            let mut is_left_out = true;
            for (i, of) in rows.iter_mut().enumerate() {
                let before = of.stats;
                of.fold(dispatch, tile.row(i), from, self.with_details);
                if self.sums.is_some() {
                    let (tile, from) = (tile.row_mut(i), column_id(from));
                    of.scale = tile_terms_in_place(dispatch, &before, &of.stats, tile, from);
                    // Z is no less than the sum so far, to which the terms are relative.
                    let below = negligible * of.stats.sum_of_terms();
                    is_left_out &= leave_out(tile, below as f32);
                    // A logit at the softcap moves the base, and has no slope.
                    is_left_out &= of.scale.to_bits() == 1.0_f32.to_bits();
                }
            }
            if let Some(sums) = self.sums.as_mut().filter(|_| !is_left_out) {
                let mut sums = RowSums { sums: sums.reborrow(), rows };
                head.add_rows(dispatch, &tile, &mut sums, &mut *numbers);
            }
        }
    }

    fn split(self, first: usize, others: usize) -> (Self, Self) {
        let Self {
            states,
            head,
            first_column,
            rows,
            tile,
            numbers,
            sums,
            with_details,
            negligible,
        } = self;
        let count = share_of_rows(rows.len(), first, others);
        let (numbers, other_numbers) = split(numbers, first.saturating_mul(head.numbers()));
        let (tile, other_tile) = split(tile, Tile::numbers(count));
        let end = rows.get(count).map_or(usize::MAX, |of| of.row);
        let (rows, other_rows) = split(rows, count);
        let (sums, other_sums) = sums.map(|sums| sums.split_at(end)).unzip();
        (
            Self {
                states,
                head,
                first_column,
                rows,
                tile,
                numbers,
                sums,
                with_details,
                negligible,
            },
            Self {
                states,
                head,
                first_column,
                rows: other_rows,
                tile: other_tile,
                numbers: other_numbers,
                sums: other_sums,
                with_details,
                negligible,
            },
        )
    }
}

/// How many of some rows the first threads take: whole blocks of the product.
pub(super) const fn share_of_rows(rows: usize, first: usize, others: usize) -> usize {
    let threads = first.saturating_add(others);
    let share = match rows.saturating_mul(first).checked_div(threads) {
        Some(share) => share.next_multiple_of(ROWS),
        None => rows,
    };
    if share < rows { share } else { rows }
}

pub(super) fn split<T>(x: &mut [T], at: usize) -> (&mut [T], &mut [T]) {
    let at = at.min(x.len());
    x.split_at_mut_checked(at).unwrap_or_default()
}

impl HeadRow {
    fn fold(&mut self, dispatch: Dispatch, logits: &[f32], from: usize, with_details: bool) {
        if let Some(&x) = logits.get(self.target(from)) {
            self.is_masked = x.is_finite() && x <= <f32 as Element>::LOWEST;
        }
        let from = column_id(from);
        if with_details {
            let mut stats = self.stats.with_extra::<Details>(self.details);
            stats.fold(dispatch, logits, from);
            self.details = stats.extra();
            self.stats = stats.with_extra(());
        } else {
            self.stats.fold(dispatch, logits, from);
        }
    }

    /// The target's place in the tile that begins at a column, if it is not before.
    pub(super) fn target(&self, from: usize) -> usize {
        let target = self.stats.target().and_then(|id| usize::try_from(id).ok());
        target.and_then(|target| target.checked_sub(from)).unwrap_or(usize::MAX)
    }
}

/// A column as the fold counts them; a head's are below 2^32.
fn column_id(column: usize) -> u32 {
    u32::try_from(column).unwrap_or(u32::MAX)
}
