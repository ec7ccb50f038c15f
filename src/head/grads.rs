//! The backward of a frozen head: from weighted rows and coefficients to hidden gradients.

use super::forward::{check_shape, check_states};
use super::hidden::{Hidden, HiddenMut};
use super::row::HeadRow;
use super::scratch::HeadScratch;
use super::terms::{Combine, Factors};
use super::tile::{States, TILE, Tile};
use super::traits::Head;
use crate::executor::Executor;
use crate::gradient::{GradBatch, RowGrad, Unscored};
use crate::layout::{Layout, Span};
use crate::row::copy;
use crate::{Dispatch, Element, Error, Transform};

/// Turns the sums of [`head_forward`](super::head_forward) into gradients with respect to the
/// hidden states, in place.
///
/// ```text
/// ∂L/∂states = c · ((1 − p_target) · dy/dx · W[target] − Σ_{j ≠ target} p_j · dy/dx_j · W_j)
/// ```
///
/// `batch` is what the backward of logits takes: the layout, norms of the forward, coefficients
/// `c = ∂L/∂log p`. States, head and layout are the forward's. Whether rows that are not scored are
/// written, as 0, says [`GradBatch::unscored`].
///
/// A product with nothing but the target's row of the head: small, and on the caller's thread.
///
/// **Once a forward**: afterwards the sums are gone, and gradients taken for sums give numbers, not an
/// error.
///
/// # Numerics
/// The target's share is exact to 2 ulp of f32: a confident token keeps its gradient. Of the sum,
/// every p is rounded as in [`logit_grads`](crate::gradient::logit_grads), once relative to the
/// row's base. Weights of 1e38 under coefficients above 1 give infinite gradients, which no error
/// names.
///
/// # Errors
/// Before anything is written: [`Error::Length`] ([`Buffer::HeadNumbers`](crate::error::Buffer) of a
/// short scratch), [`Error::ShapeMismatch`],
/// [`Error::HiddenMismatch`], [`Error::InvalidValue`] for a norm that no forward has made and for a
/// coefficient that is too large.
///
/// # Panics
/// Never.
pub fn hidden_grads_in_place<X: Executor, E: Element, H: Head<E> + ?Sized>(
    executor: X,
    states: Hidden<'_, E>,
    head: &H,
    batch: &GradBatch<'_>,
    mut sums: HiddenMut<'_, f32>,
    scratch: HeadScratch<'_>,
) -> Result<(), Error> {
    let dispatch = executor.dispatch();
    let mut grads = Grads::new(executor, states, head, batch, scratch)?;
    check_shape((states.rows(), head.sums()), (sums.rows(), sums.size()))?;
    zero_unscored(batch, &mut sums);
    for (row, grad) in batch.rows(all_rows(batch.layout)) {
        let factors = grads.factors(row, &grad);
        grads.by_parts(&grad, |from, weights, _| {
            let sums = sums.row_mut(row).get_mut(from..from.saturating_add(weights.len()));
            Combine { factors, weights, sums: sums.unwrap_or_default() }.run_on(dispatch);
        });
    }
    Ok(())
}

/// [`hidden_grads_in_place`], from R × H sums into another buffer of R × H, whose type may be
/// narrower. The sums stay as they are.
///
/// # Numerics
/// As there, then rounded once to the type of `out`: f16 ends at 65504.
///
/// # Errors
/// As [`hidden_grads_in_place`].
///
/// # Panics
/// Never.
pub fn hidden_grads<X: Executor, E: Element, O: Element, H: Head<E> + ?Sized>(
    executor: X,
    states: Hidden<'_, E>,
    head: &H,
    batch: &GradBatch<'_>,
    sums: Hidden<'_, f32>,
    mut out: HiddenMut<'_, O>,
    scratch: HeadScratch<'_>,
) -> Result<(), Error> {
    let dispatch = executor.dispatch();
    let mut grads = Grads::new(executor, states, head, batch, scratch)?;
    check_shape((states.rows(), head.sums()), (sums.rows(), sums.size()))?;
    check_shape((states.rows(), head.sums()), (out.rows(), out.size()))?;
    zero_unscored(batch, &mut out);
    for (row, grad) in batch.rows(all_rows(batch.layout)) {
        let factors = grads.factors(row, &grad);
        grads.by_parts(&grad, |from, weights, room| {
            let part = from..from.saturating_add(weights.len());
            let sums = sums.row(row).get(part.clone()).unwrap_or_default();
            let to = out.row_mut(row).get_mut(part).unwrap_or_default();
            copy(sums, room);
            Combine { factors, weights, sums: &mut *room }.run_on(dispatch);
            for (to, &from) in to.iter_mut().zip(&*room) {
                *to = O::from_f32(from);
            }
        });
    }
    Ok(())
}

pub(super) fn all_rows(layout: &Layout<'_>) -> Span {
    Span::new(0, layout.rows())
}

pub(super) fn zero_unscored<O: Element>(batch: &GradBatch<'_>, to: &mut HiddenMut<'_, O>) {
    if batch.unscored == Unscored::Zero {
        let mut row = 0;
        let ends = core::iter::once((batch.layout.rows(), 0));
        for (scored, _) in batch.layout.scored_rows_within(all_rows(batch.layout)).chain(ends) {
            while row < scored {
                to.row_mut(row).fill(O::ZERO);
                row += 1;
            }
            row = scored.saturating_add(1);
        }
    }
}

struct Grads<'a, E, H: ?Sized> {
    dispatch: Dispatch,
    states: Hidden<'a, E>,
    head: &'a H,
    scratch: HeadScratch<'a>,
}

impl<'a, E: Element, H: Head<E> + ?Sized> Grads<'a, E, H> {
    fn new<X: Executor>(
        executor: X,
        states: Hidden<'a, E>,
        head: &'a H,
        batch: &GradBatch<'_>,
        scratch: HeadScratch<'a>,
    ) -> Result<Self, Error> {
        batch.check(states.rows(), head.vocab(), head.transform())?;
        // c itself has to fit in f32 too: it multiplies sums in which dy/dx is.
        batch.check(states.rows(), head.vocab(), Transform::NONE)?;
        check_states(states, head)?;
        scratch.check(executor, head)?;
        Ok(Self { dispatch: executor.dispatch(), states, head, scratch })
    }

    fn factors(&mut self, row: usize, grad: &RowGrad) -> Factors {
        let transform = self.head.transform();
        // The target's logit, where it has a say: under a softcap, and where it may be masked.
        let has_say = transform.softcap().is_some() || grad.norm.complement >= 1.0;
        let logit = if has_say && !grad.is_without_gradient() {
            self.target_logit(row, grad.target)
        } else {
            0.0
        };
        Factors::new(self.dispatch, transform, grad, logit)
    }

    /// A tile of one logit.
    fn target_logit(&mut self, row: usize, target: usize) -> f32 {
        let (tile, numbers) =
            self.scratch.numbers.split_at_mut_checked(Tile::numbers(1)).unwrap_or_default();
        let mut tile = Tile::new(tile, 1, target..target.saturating_add(1));
        let rows = [HeadRow { row, ..HeadRow::NEW }];
        self.head.logits(self.dispatch, States::new(self.states, &rows), &mut tile, numbers);
        tile.row(0).first().copied().unwrap_or(f32::NAN)
    }

    /// Calls for each part of a row with the target's weights there, and as much memory beside.
    fn by_parts(&mut self, grad: &RowGrad, mut with: impl FnMut(usize, &[f32], &mut [f32])) {
        let size = self.head.sums();
        let (weights, room) = self.scratch.numbers.split_at_mut_checked(TILE).unwrap_or_default();
        for from in (0..size).step_by(TILE) {
            let len = TILE.min(size - from);
            let weights = weights.get_mut(..len).unwrap_or_default();
            self.head.row(grad.target, from, weights);
            with(from, weights, room.get_mut(..len).unwrap_or_default());
        }
    }
}
