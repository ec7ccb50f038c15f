//! What a head is, to the stages that fold its logits.

use super::outer::add_outer;
use super::tile::{ColumnSums, RowSums, States, Tile};
use crate::{Dispatch, Element, Transform};

/// A language-model head: makes a tile of logits out of hidden states, and weighs its rows.
///
/// ```text
/// logits    x_ij = Σ_h states_ih · W_jh + b_j        i a row, j a column of the vocabulary
/// back      s_ih ← scale_i · s_ih + Σ_j tile_ij · W_jh
/// ```
///
/// [`Linear`](super::Linear) is the one of weights in memory. Others (weights in four bits, on a
/// device, by another product of matrices) implement this trait: the stages ask for one tile after
/// the other, columns ascending, and for tiles of a target's column alone. All it returns but what a
/// tile holds is the same in every call. What a head returns of one row must not depend on which other rows
/// are asked for with it, or the promise of equal bits is lost.
pub trait Head<E: Element>: Sync {
    /// V.
    fn vocab(&self) -> usize;
    /// H.
    fn size(&self) -> usize;
    /// How many numbers a row of the head has, and with it a row of sums: H, and more of a head with
    /// an adapter.
    fn sums(&self) -> usize {
        self.size()
    }
    /// How many hidden states it belongs to, if it belongs to some: a head with an adapter does, by
    /// what the adapter has made of them.
    fn rows(&self) -> Option<usize> {
        None
    }
    /// What becomes of a logit before the softmax.
    fn transform(&self) -> Transform;
    /// How many numbers of memory it works in.
    fn numbers(&self) -> usize;
    /// Makes every logit of a tile: all columns of all its rows. `numbers` is memory, as many as it
    /// asks for, and their contents do not matter.
    fn logits(
        &self,
        dispatch: Dispatch,
        states: States<'_, E>,
        tile: &mut Tile<'_>,
        numbers: &mut [f32],
    );
    /// Adds the head's rows, weighted by a tile, to the sums of each row, which are first taken by
    /// their scales, once a tile.
    fn add_rows(
        &self,
        dispatch: Dispatch,
        tile: &Tile<'_>,
        sums: &mut RowSums<'_>,
        numbers: &mut [f32],
    );
    /// Adds the hidden states, weighted by each column of a tile, to the sums of that column:
    ///
    /// ```text
    /// s_jh ← s_jh + Σ_i tile_ij · states_ih        the first time without the s_jh that is there
    /// ```
    ///
    /// Of the head it needs nothing, so the built-in product does it, with 4,111 numbers of memory
    /// at least, unless a head has a faster one.
    fn add_states(
        &self,
        dispatch: Dispatch,
        states: States<'_, E>,
        tile: &Tile<'_>,
        sums: &mut ColumnSums<'_>,
        numbers: &mut [f32],
    ) {
        add_outer(dispatch, |i| states.row(i), states.size(), tile, sums, numbers);
    }
    /// Elements of row `column` of the head, from `from` on, as many as are asked for.
    fn row(&self, column: usize, from: usize, to: &mut [f32]);
}

impl<E: Element, H: Head<E> + ?Sized> Head<E> for &H {
    fn vocab(&self) -> usize {
        (**self).vocab()
    }

    fn size(&self) -> usize {
        (**self).size()
    }

    fn sums(&self) -> usize {
        (**self).sums()
    }

    fn rows(&self) -> Option<usize> {
        (**self).rows()
    }

    fn transform(&self) -> Transform {
        (**self).transform()
    }

    fn numbers(&self) -> usize {
        (**self).numbers()
    }

    fn logits(
        &self,
        dispatch: Dispatch,
        states: States<'_, E>,
        tile: &mut Tile<'_>,
        numbers: &mut [f32],
    ) {
        (**self).logits(dispatch, states, tile, numbers);
    }

    fn add_rows(
        &self,
        dispatch: Dispatch,
        tile: &Tile<'_>,
        sums: &mut RowSums<'_>,
        numbers: &mut [f32],
    ) {
        (**self).add_rows(dispatch, tile, sums, numbers);
    }

    fn add_states(
        &self,
        dispatch: Dispatch,
        states: States<'_, E>,
        tile: &Tile<'_>,
        sums: &mut ColumnSums<'_>,
        numbers: &mut [f32],
    ) {
        (**self).add_states(dispatch, states, tile, sums, numbers);
    }

    fn row(&self, column: usize, from: usize, to: &mut [f32]) {
        (**self).row(column, from, to);
    }
}
