//! A low-rank adapter on the head.

use super::chains::{check_chains, next, whole_chains};
use super::forward::{check_shape, split};
use super::grads::all_rows;
use super::hidden::{Hidden, HiddenMut};
use super::linear::Linear;
use super::outer::{NUMBERS, add_outer};
use super::product::WIDTH;
use super::row::HeadRow;
use super::scratch::HeadScratch;
use super::tile::{ColumnSums, RowSums, States, TILE, Tile};
use super::traits::Head;
use crate::error::{Buffer, Parameter, check_length};
use crate::executor::Executor;
use crate::layout::Layout;
use crate::{Dispatch, Element, Error, Transform};

/// A low-rank adapter (`LoRA`, Hu et al. 2021, arXiv 2106.09685) on a head: W + scale · B · A.
///
/// ```text
/// u = scale · A · states             r numbers a row, made once a forward: `project`
/// x = states · Wᵀ + b + u · Bᵀ       `Adapted`, whose rows have H + r numbers: [W | B]
/// ∂L/∂states, then ∂L/∂u             of hidden_grads or head_grads, R × (H + r)
/// ∂L/∂states += scale · ∂L/∂u · A,   ∂L/∂A = scale · Σ ∂L/∂u ⊗ states      `grads_in_place`
/// ∂L/∂B                              of head_grads
/// ```
///
/// A is `r × H` (`lora_A.weight`), B `V × r` (`lora_B.weight`), row-major in f32, scale is α/r, or
/// α/√r.
#[derive(Clone, Copy, Debug)]
pub struct Adapter<'a> {
    down: Linear<'a, f32>,
    up: Linear<'a, f32>,
    scale: f32,
}

impl<'a> Adapter<'a> {
    /// Of `a`, r × H, and `b`, V × r.
    ///
    /// # Errors
    /// [`Error::EmptyVocabulary`], [`Error::EmptyHidden`] where H or r is 0,
    /// [`Error::VocabularyTooLarge`], [`Error::ShapeOverflow`]; [`Error::Parameter`] unless
    /// scale is finite; and [`Error::Length`] of [`Buffer::Adapter`].
    ///
    /// # Panics
    /// Never.
    pub fn new(
        a: &'a [f32],
        b: &'a [f32],
        rank: usize,
        size: usize,
        vocab: usize,
        scale: f32,
    ) -> Result<Self, Error> {
        Parameter::AdapterScale.check(f64::from(scale), scale.is_finite())?;
        let up = Linear::of(Buffer::Adapter, b, vocab, rank, rank)?;
        let down = Linear::of(Buffer::Adapter, a, rank, size, size)?;
        let down = down.with_panels(rank.div_ceil(WIDTH));
        Ok(Self { down, up, scale })
    }

    /// r.
    #[must_use]
    pub fn rank(&self) -> usize {
        Head::<f32>::vocab(&self.down)
    }

    /// How many numbers [`HeadScratch`] needs for [`Adapter::project`] and
    /// [`Adapter::grads_in_place`].
    #[must_use]
    pub fn numbers(&self, rows: usize) -> usize {
        let numbers = Head::<f32>::numbers(&self.down).max(NUMBERS);
        Tile::numbers(rows).saturating_add(numbers)
    }

    /// Writes u = scale · A · states of every scored row, R × r, on the caller's thread.
    ///
    /// # Numerics
    /// Sums as those of [`Linear`]'s logits, then one multiplication.
    ///
    /// # Errors
    /// Before anything is written: [`Error::HiddenMismatch`]; [`Error::Length`] of
    /// [`Buffer::HeadRows`] and [`Buffer::HeadNumbers`].
    ///
    /// # Panics
    /// Never.
    pub fn project<X: Executor, E: Element>(
        &self,
        executor: X,
        states: Hidden<'_, E>,
        layout: &Layout<'_>,
        mut out: HiddenMut<'_, f32>,
        scratch: HeadScratch<'_>,
    ) -> Result<(), Error> {
        self.check(states, layout, &scratch)?;
        check_shape((states.rows(), self.rank()), (out.rows(), out.size()))?;
        let (dispatch, HeadScratch { rows: room, numbers, .. }) = (executor.dispatch(), scratch);
        let mut rows = scored(layout);
        while let Some(rows) = next(room, &mut rows) {
            let (tile, numbers) = Tile::split(&mut *numbers, rows.len());
            for from in (0..self.rank()).step_by(TILE) {
                let columns = from..self.rank().min(from.saturating_add(TILE));
                let mut tile = Tile::new(&mut *tile, rows.len(), columns.clone());
                self.down.logits(dispatch, States::new(states, rows), &mut tile, &mut *numbers);
                for (i, of) in rows.iter().enumerate() {
                    let to = out.row_mut(of.row).get_mut(columns.clone()).unwrap_or_default();
                    for (to, u) in to.iter_mut().zip(tile.row(i)) {
                        *to = self.scale * u;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the backward of an adapter on a head: takes R × (H + r) gradients of
    /// [`hidden_grads_in_place`](super::hidden_grads_in_place) or
    /// [`head_grads`](super::head_grads), adds what went through A to the first H of each row, and
    /// writes `∂L/∂A`, r × H, if asked for (it replaces what is there). The last r of each row stay as
    /// they are: `∂L/∂u`. **Once a backward.** Rows without any `∂L/∂u`, as those of coefficient 0,
    /// are not multiplied.
    ///
    /// # Numerics
    /// Sums as those of [`head_grads`](super::head_grads): within 20·2⁻²⁴ of Σ|terms| for weights of
    /// both signs.
    ///
    /// # Errors
    /// As [`Adapter::project`]. [`Error::Length`] of [`Buffer::HeadRows`] where there is room
    /// neither for all scored rows nor for 128.
    ///
    /// # Panics
    /// Never.
    pub fn grads_in_place<X: Executor, E: Element>(
        &self,
        executor: X,
        states: Hidden<'_, E>,
        layout: &Layout<'_>,
        mut grads: HiddenMut<'_, f32>,
        mut a: Option<&mut [f32]>,
        scratch: HeadScratch<'_>,
    ) -> Result<(), Error> {
        self.check(states, layout, &scratch)?;
        let (size, rank) = (states.size(), self.rank());
        check_shape((states.rows(), size.saturating_add(rank)), (grads.rows(), grads.size()))?;
        if let Some(a) = &a {
            check_length(Buffer::HeadGrads, rank.saturating_mul(size), a.len())?;
        }
        check_chains(scratch.rows.len(), layout)?;
        let (dispatch, HeadScratch { rows: room, numbers, .. }) = (executor.dispatch(), scratch);
        let room = whole_chains(room);
        let mut is_first = true;
        let mut rows = scored(layout);
        loop {
            let reach = |of: &HeadRow| {
                let d_u = grads.row(of.row).get(size..).unwrap_or_default();
                d_u.iter().any(|d| d.abs().to_bits() != 0)
            };
            let Some(rows) = next(room, &mut (&mut rows).filter(reach)) else { break };
            let (tile, numbers) = Tile::split(&mut *numbers, rows.len());
            for from in (0..rank).step_by(TILE) {
                let columns = from..rank.min(from.saturating_add(TILE));
                let mut tile = Tile::new(&mut *tile, rows.len(), columns.clone());
                for (i, of) in rows.iter().enumerate() {
                    let d_u = grads.row(of.row).get(size.saturating_add(from)..);
                    for (to, d_u) in tile.row_mut(i).iter_mut().zip(d_u.unwrap_or_default()) {
                        *to = self.scale * d_u;
                    }
                }
                let mut sums = RowSums { sums: grads.reborrow(), rows };
                Head::<f32>::add_rows(&self.down, dispatch, &tile, &mut sums, &mut *numbers);
                if let Some(a) = &mut a {
                    let (_, a) = split(a, from.saturating_mul(size));
                    let width = tile.width();
                    let (sums, _) = split(a, width.saturating_mul(size));
                    let (states, columns) = (States::new(states, rows), 0..width);
                    let mut sums = ColumnSums { columns, sums, stride: size, is_first };
                    let row = |i: usize| states.row(i);
                    add_outer(dispatch, row, size, &tile, &mut sums, &mut *numbers);
                }
            }
            is_first = false;
        }
        if let Some(a) = a.filter(|_| is_first) {
            a.fill(0.0);
        }
        Ok(())
    }

    fn check<E: Element>(
        &self,
        states: Hidden<'_, E>,
        layout: &Layout<'_>,
        scratch: &HeadScratch<'_>,
    ) -> Result<(), Error> {
        let size = Head::<f32>::size(&self.down);
        check_shape((layout.rows(), size), (states.rows(), states.size()))?;
        if scratch.rows.is_empty() {
            return Err(Error::Length { buffer: Buffer::HeadRows, expected: 1, found: 0 });
        }
        let (expected, found) = (self.numbers(scratch.rows.len()), scratch.numbers.len());
        if found < expected {
            return Err(Error::Length { buffer: Buffer::HeadNumbers, expected, found });
        }
        Ok(())
    }
}

fn scored(layout: &Layout<'_>) -> impl Iterator<Item = HeadRow> {
    let rows = layout.scored_rows_within(all_rows(layout));
    rows.map(|(row, _)| HeadRow { row, ..HeadRow::NEW })
}

/// A head with an adapter: whatever head, frozen or trained, and the adapter's product beside.
///
/// Rows of the head have H + r numbers, and so have sums and hidden gradients.
#[derive(Clone, Copy, Debug)]
pub struct Adapted<'a, H> {
    head: H,
    up: Linear<'a, f32>,
    /// H
    size: usize,
    /// u, R × r
    projected: Hidden<'a, f32>,
}

impl<'a, H> Adapted<'a, H> {
    /// Of a head, an adapter, and the states that it has projected.
    ///
    /// # Errors
    /// [`Error::HiddenMismatch`] unless the adapter is r × H and V × r of this head's V and H, and
    /// projected states have r numbers.
    ///
    /// # Panics
    /// Never.
    pub fn new<E: Element>(
        head: H,
        adapter: &Adapter<'a>,
        projected: Hidden<'a, f32>,
    ) -> Result<Self, Error>
    where
        H: Head<E>,
    {
        let (down, up) = (&adapter.down, adapter.up);
        let found = (Head::<f32>::vocab(&up), Head::<f32>::size(down));
        check_shape((head.vocab(), head.size()), found)?;
        check_shape((projected.rows(), adapter.rank()), (projected.rows(), projected.size()))?;
        Ok(Self { size: head.size(), head, up, projected })
    }

    fn rank(&self) -> usize {
        self.projected.size()
    }
}

impl<E: Element, H: Head<E>> Head<E> for Adapted<'_, H> {
    fn vocab(&self) -> usize {
        self.head.vocab()
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sums(&self) -> usize {
        self.size.saturating_add(self.rank())
    }

    fn rows(&self) -> Option<usize> {
        Some(self.projected.rows())
    }

    fn transform(&self) -> Transform {
        self.head.transform()
    }

    fn numbers(&self) -> usize {
        self.head.numbers().max(Head::<f32>::numbers(&self.up))
    }

    fn logits(
        &self,
        dispatch: Dispatch,
        states: States<'_, E>,
        tile: &mut Tile<'_>,
        numbers: &mut [f32],
    ) {
        self.head.logits(dispatch, states, tile, &mut *numbers);
        let row = |i: usize| states.index(i).map_or(&[][..], |row| self.projected.row(row));
        self.up.add_logits(dispatch, row, tile, numbers, false);
    }

    fn add_rows(
        &self,
        dispatch: Dispatch,
        tile: &Tile<'_>,
        sums: &mut RowSums<'_>,
        numbers: &mut [f32],
    ) {
        self.head.add_rows(dispatch, tile, sums, &mut *numbers);
        self.up.add_rows_from(self.size, dispatch, tile, sums, numbers);
    }

    fn add_states(
        &self,
        dispatch: Dispatch,
        states: States<'_, E>,
        tile: &Tile<'_>,
        sums: &mut ColumnSums<'_>,
        numbers: &mut [f32],
    ) {
        self.head.add_states(dispatch, states, tile, sums, numbers);
    }

    fn row(&self, column: usize, from: usize, to: &mut [f32]) {
        let (of_head, of_adapter) = split(to, self.size.saturating_sub(from));
        if !of_head.is_empty() {
            self.head.row(column, from, of_head);
        }
        Head::<f32>::row(&self.up, column, from.saturating_sub(self.size), of_adapter);
    }
}
