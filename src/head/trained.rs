//! The backward of a trained head: every tile again, its products with the head's rows and with the
//! hidden states.

use core::ops::Range;

use super::blame::blame;
use super::chains::{next, whole_chains};
use super::forward::{check_shape, check_states, share_of_rows, split};
use super::grads::{all_rows, zero_unscored};
use super::hidden::{Hidden, HiddenMut};
use super::outer::{NUMBERS, add_columns, add_outer};
use super::row::HeadRow;
use super::scratch::{HeadScratch, leave_out};
use super::sums::{Gradients, HeadGrads, Sums, check_trained};
use super::tile::{RowSums, States, TILE, Tile};
use super::traits::Head;
use crate::error::NonFinite;
use crate::executor::{Executor, Shares};
use crate::gradient::{GradBatch, RowGrad, tile_in_place};
use crate::row::RowStats;
use crate::{Dispatch, Element, Error};

/// The backward of a trained head: gradients with respect to hidden states, weights, bias and
/// adapter, from hidden states and coefficients. Tiles are made again.
///
/// ```text
/// d_ij = c_i · (onehot − p)_ij · dy/dx      ∂L/∂states_i = Σ_j d_ij · W_j
/// ∂L/∂W_j = Σ_i d_ij · states_i             ∂L/∂b_j = Σ_i d_ij
/// ```
///
/// `batch` is what the backward of logits takes, with the norms of
/// [`head_token_log_probs`](super::head_token_log_probs); `hidden` R × H (R × (H + r) with an
/// adapter) as of [`hidden_grads_in_place`](super::hidden_grads_in_place). Every gradient of the
/// head is written, 0 where no row reaches it. Rows whose coefficient is 0 are not multiplied.
///
/// # Numerics
/// d is that of [`logit_grads`](crate::gradient::logit_grads). Gradients of the head are summed in
/// f32 over all rows, in chains of 128, and rounded to their type once. Bits depend neither on the
/// scratch nor on the number of threads.
///
/// # Errors
/// As [`hidden_grads_in_place`](super::hidden_grads_in_place). [`Error::Length`] of
/// [`Buffer::HeadRows`](crate::error::Buffer) where there is room neither for all scored rows nor for 128: whole chains go
/// through the head together. After all is written: [`Error::InvalidValue`] of
/// [`Buffer::HeadWeights`](crate::error::Buffer) or [`Error::NonFiniteRows`], where hidden gradients are not finite: the
/// head has a weight that is not, or one of 1e38.
///
/// # Panics
/// Never.
pub fn head_grads<X: Executor, E: Element, H: Head<E> + ?Sized, G: Element>(
    executor: X,
    states: Hidden<'_, E>,
    head: &H,
    batch: &GradBatch<'_>,
    hidden: HiddenMut<'_, f32>,
    mut grads: HeadGrads<'_, G>,
    scratch: HeadScratch<'_>,
) -> Result<(), Error> {
    batch.check(states.rows(), head.vocab(), head.transform())?;
    backward(executor, (states, head, 0), batch, hidden, &mut grads, scratch)
}

/// The same, of a head whose first column is that of a row; compiled once for all types of
/// gradients. The shape of the layout has been checked.
pub(super) fn backward<X: Executor, E: Element, H: Head<E> + ?Sized>(
    executor: X,
    (states, head, first_column): (Hidden<'_, E>, &H, usize),
    batch: &GradBatch<'_>,
    mut hidden: HiddenMut<'_, f32>,
    grads: &mut dyn Gradients<'_>,
    scratch: HeadScratch<'_>,
) -> Result<(), Error> {
    check_states(states, head)?;
    check_shape((states.rows(), head.sums()), (hidden.rows(), hidden.size()))?;
    check_trained(executor, states, head, &*grads, batch.layout, &scratch)?;
    let HeadScratch { rows: room, numbers, negligible } = scratch;
    let at_once = whole_chains(room);
    zero_unscored(batch, &mut hidden);
    for (row, _) in batch.layout.scored_rows_within(all_rows(batch.layout)) {
        hidden.row_mut(row).fill(0.0);
    }
    let vocab = head.vocab();
    let each = grads.numbers_each();
    let (sums, numbers) = split(numbers, TILE.min(vocab).saturating_mul(each));
    for from in (0..vocab).step_by(TILE) {
        let columns = from..vocab.min(from.saturating_add(TILE));
        let (room, _) = split(&mut *sums, each.saturating_mul(columns.end - from));
        let projected = grads.projected();
        let mut of_tile = grads.sums(&columns, &mut *room);
        let mut rows = active_rows(head, batch);
        while let Some(rows) = next(at_once, &mut rows) {
            let (rows, columns) = (&*rows, columns.clone());
            let count = rows.len();
            let (tile, numbers) = Tile::split(&mut *numbers, count);
            let work = TileGrads {
                states,
                head,
                first_column,
                rows,
                columns: columns.clone(),
                tile: &mut *tile,
                numbers: &mut *numbers,
                hidden: hidden.reborrow(),
                negligible,
            };
            executor.execute_shares(work, executor.threads());
            let tile = Tile::new(tile, count, columns);
            if negligible > 0.0 && (0..count).all(|i| tile.row(i).iter().all(|d| *d == 0.0)) {
                continue;
            }
            let states = States::new(states, rows);
            let sums = of_tile.reborrow();
            let work = ColumnGrads { states, head, tile: &tile, projected, sums, numbers };
            executor.execute_shares(work, executor.threads());
            of_tile.begin();
        }
        // No row reached these columns.
        of_tile.zero_if_first(head.size());
        grads.round(&columns, room);
    }
    let mut bad = NonFinite::NONE;
    for HeadRow { row, .. } in active_rows(head, batch) {
        if !hidden.row(row).iter().all(|d| d.is_finite()) {
            bad.see(row);
        }
    }
    let mut scratch = HeadScratch { rows: at_once, numbers, negligible };
    bad.rows().map_err(|error| blame(error, states, head, &mut scratch))
}

/// The scored rows with a coefficient.
fn active_rows<E: Element, H: Head<E> + ?Sized>(
    head: &H,
    batch: &GradBatch<'_>,
) -> impl Iterator<Item = HeadRow> {
    let transform = head.transform();
    let rows = batch.rows(all_rows(batch.layout));
    rows.filter(|(_, grad)| !grad.is_without_gradient()).map(move |(row, grad)| HeadRow {
        row,
        stats: RowStats::new(transform, u32::try_from(grad.target).ok()),
        norm: grad.norm,
        coefficient: grad.coefficient,
        ..HeadRow::NEW
    })
}

/// A tile of logits of some rows, its gradients, and their product with the head's rows.
struct TileGrads<'a, 'b, E, H: ?Sized> {
    states: Hidden<'a, E>,
    head: &'a H,
    first_column: usize,
    rows: &'b [HeadRow],
    columns: Range<usize>,
    tile: &'b mut [f32],
    numbers: &'b mut [f32],
    hidden: HiddenMut<'b, f32>,
    negligible: f32,
}

impl<E: Element, H: Head<E> + ?Sized> Shares for TileGrads<'_, '_, E, H> {
    #[allow(clippy::cast_possible_truncation, reason = "a bound, checked to be an f32")]
    fn run_on(self, dispatch: Dispatch) {
        let Self { states, head, first_column, rows, columns, tile, numbers, hidden, negligible } =
            self;
        if rows.is_empty() {
            return;
        }
        let (from, transform) = (columns.start.saturating_add(first_column), head.transform());
        let mut is_left_out = true;
        let mut tile = Tile::new(tile, rows.len(), columns);
        head.logits(dispatch, States::new(states, rows), &mut tile, &mut *numbers);
        for (i, of) in rows.iter().enumerate() {
            let HeadRow { norm, coefficient, .. } = *of;
            let (target, row) = (of.target(from), tile.row_mut(i));
            tile_in_place(dispatch, row, transform, RowGrad { target, norm, coefficient });
            let size = (coefficient * transform.slope()).abs() as f32;
            is_left_out &= target >= row.len() && leave_out(row, negligible * size);
        }
        if !is_left_out {
            head.add_rows(dispatch, &tile, &mut RowSums { sums: hidden, rows }, numbers);
        }
    }

    fn split(self, first: usize, others: usize) -> (Self, Self) {
        let Self { states, head, first_column, rows, columns, tile, numbers, hidden, negligible } =
            self;
        let count = share_of_rows(rows.len(), first, others);
        let of_head = head.numbers().max(NUMBERS);
        let (numbers, other_numbers) = split(numbers, first.saturating_mul(of_head));
        let (tile, other_tile) = split(tile, Tile::numbers(count));
        let end = rows.get(count).map_or(usize::MAX, |of| of.row);
        let (rows, other_rows) = rows.split_at_checked(count).unwrap_or((rows, &[]));
        let (hidden, other_hidden) = hidden.split_at(end);
        (
            Self {
                states,
                head,
                first_column,
                rows,
                columns: columns.clone(),
                tile,
                numbers,
                hidden,
                negligible,
            },
            Self {
                states,
                head,
                first_column,
                rows: other_rows,
                columns,
                tile: other_tile,
                numbers: other_numbers,
                hidden: other_hidden,
                negligible,
            },
        )
    }
}

/// What the rows of a group add to the sums of some columns.
struct ColumnGrads<'a, 'b, E, H: ?Sized> {
    states: States<'a, E>,
    head: &'a H,
    tile: &'a Tile<'a>,
    projected: Option<Hidden<'a, f32>>,
    sums: Sums<'b>,
    numbers: &'b mut [f32],
}

impl<E: Element, H: Head<E> + ?Sized> Shares for ColumnGrads<'_, '_, E, H> {
    fn run_on(self, dispatch: Dispatch) {
        let Self { states, head, tile, projected, sums, numbers } = self;
        if let Some(mut sums) = sums.weights {
            head.add_states(dispatch, states, tile, &mut sums, &mut *numbers);
        }
        if let (Some(mut sums), Some(projected)) = (sums.adapter, projected) {
            let row = |i: usize| states.index(i).map_or(&[][..], |row| projected.row(row));
            add_outer(dispatch, row, projected.size(), tile, &mut sums, numbers);
        }
        if let Some(mut sums) = sums.bias {
            add_columns(dispatch, tile, &mut sums);
        }
    }

    fn split(self, first: usize, others: usize) -> (Self, Self) {
        let Self { states, head, tile, projected, sums, numbers } = self;
        let columns = sums.columns.end.saturating_sub(sums.columns.start);
        let (sums, other_sums) = sums.split_at(share_of_rows(columns, first, others));
        let of_head = head.numbers().max(NUMBERS);
        let (numbers, other_numbers) = split(numbers, first.saturating_mul(of_head));
        (
            Self { states, head, tile, projected, sums, numbers },
            Self { states, head, tile, projected, sums: other_sums, numbers: other_numbers },
        )
    }
}
