//! The head of weights in memory, by the built-in product.

use super::pack::{Across, Along, Block};
use super::product::{
    AddBias, AddChain, AddRows, BlockColumn, DEPTH, PanelRow, ROWS, UNALIGNED, WIDTH, panel_rows,
};
use super::tile::{RowSums, States, TILE, Tile};
use super::traits::Head;
use crate::error::{Buffer, check_length};
use crate::{Dispatch, Element, Error, Transform};

/// Panels of a tile.
const PANELS: usize = TILE / WIDTH;
/// Panels of weighted rows that are packed together: 256 KiB, which leave room for a block of rows of
/// the tile in the second-level cache.
const AT_ONCE: usize = 4;

/// A head of V × H weights, row-major as trainers keep them (`lm_head.weight`, or the embedding
/// where the two are tied), by the built-in product.
///
/// ```text
/// y = transform(x · Wᵀ + b)
/// ```
///
/// # Numerics
/// Operands are widened to f32, sums are chains of 256 multiply-adds, added in f32. A logit depends
/// on its hidden state, its row of weights and the dispatch's arithmetic alone: not on the tile,
/// the batch, the level or the number of threads.
///
/// # Memory
/// `Head::numbers` is `max(min(H, 256) · (32 · panels + 12), min(V, 256) · 32) + 15`, with 16 panels
/// unless fewer are asked for: 524 KiB at most.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a, W> {
    weights: &'a [W],
    vocab: usize,
    size: usize,
    stride: usize,
    bias: Option<&'a [f32]>,
    transform: Transform,
    panels: usize,
}

impl<'a, W: Element> Linear<'a, W> {
    /// Contiguous weights: exactly `vocab · size` elements.
    ///
    /// # Errors
    /// [`Error::EmptyVocabulary`], [`Error::VocabularyTooLarge`], [`Error::EmptyHidden`],
    /// [`Error::ShapeOverflow`], [`Error::Length`].
    ///
    /// # Panics
    /// Never.
    pub fn new(weights: &'a [W], vocab: usize, size: usize) -> Result<Self, Error> {
        Self::with_stride(weights, vocab, size, size)
    }

    /// Rows `stride` elements apart, of which the first `size` are weights. The padding of the last
    /// row may be missing.
    ///
    /// # Errors
    /// As [`Linear::new`], and [`Error::StrideBelowHidden`].
    ///
    /// # Panics
    /// Never.
    pub fn with_stride(
        weights: &'a [W],
        vocab: usize,
        size: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        Self::of(Buffer::HeadWeights, weights, vocab, size, stride)
    }

    /// The same, of a buffer with another name.
    pub(super) fn of(
        buffer: Buffer,
        weights: &'a [W],
        vocab: usize,
        size: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        if vocab == 0 {
            return Err(Error::EmptyVocabulary);
        }
        if u32::try_from(vocab).is_err() {
            return Err(Error::VocabularyTooLarge { vocab });
        }
        super::hidden::check_shape(buffer, weights.len(), vocab, size, stride)?;
        let (bias, transform, panels) = (None, Transform::NONE, PANELS);
        Ok(Self { weights, vocab, size, stride, bias, transform, panels })
    }

    /// With a number for each column, which is added to its logits.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are V.
    ///
    /// # Panics
    /// Never.
    pub fn with_bias(mut self, bias: &'a [f32]) -> Result<Self, Error> {
        check_length(Buffer::HeadBias, self.vocab, bias.len())?;
        self.bias = Some(bias);
        Ok(self)
    }

    /// With scale, softcap and temperature.
    #[must_use]
    pub const fn with_transform(mut self, transform: Transform) -> Self {
        self.transform = transform;
        self
    }

    /// With fewer panels of 32 columns packed at once: less memory ([`HeadScratch`]), the same
    /// bits, more time. At least 1, and at most 16, which is the default.
    ///
    /// [`HeadScratch`]: super::HeadScratch
    #[must_use]
    pub fn with_panels(mut self, panels: usize) -> Self {
        self.panels = panels.clamp(1, PANELS);
        self
    }

    /// The weights from an element of a row on.
    fn from(&self, row: usize, column: usize) -> &'a [W] {
        let start = row.saturating_mul(self.stride).saturating_add(column);
        self.weights.get(start..).unwrap_or_default()
    }

    /// Makes a tile of logits without bias, or adds to one.
    pub(super) fn add_logits<'e, E: Element>(
        &self,
        dispatch: Dispatch,
        row: impl Fn(usize) -> &'e [E],
        tile: &mut Tile<'_>,
        numbers: &mut [f32],
        is_first: bool,
    ) {
        let (columns, width) = (tile.columns(), tile.width());
        let chain = self.size.min(DEPTH);
        let (block, numbers) = numbers.split_at_mut_checked(chain * ROWS).unwrap_or_default();
        let block: &mut [BlockColumn] = block.as_chunks_mut().0;
        let panels = panel_rows(numbers);
        let at_once = self.panels.clamp(1, PANELS) * WIDTH;
        for from in (0..self.size).step_by(DEPTH) {
            let depth = DEPTH.min(self.size - from);
            let block = block.get_mut(..depth).unwrap_or_default();
            // Not `step_by`, whose assertion the compiler keeps.
            let mut first = 0;
            while first < width {
                let count = at_once.min(width - first);
                let panels = panels.get_mut(..count.div_ceil(WIDTH) * depth).unwrap_or_default();
                dispatch.run(Across {
                    rows: self.from(columns.start.saturating_add(first), from),
                    stride: self.stride,
                    count,
                    depth,
                    panels: &mut *panels,
                });
                for (i, out) in tile.blocks_mut().chunks_mut(ROWS).enumerate() {
                    let mut rows = [&[] as &[E]; ROWS];
                    for (j, to) in rows.iter_mut().enumerate() {
                        let all = row(i * ROWS + j);
                        *to = all.get(from..from + depth).unwrap_or_default();
                    }
                    dispatch.run(Block { rows, block: &mut *block });
                    dispatch.run(AddChain {
                        block,
                        panels,
                        out,
                        first,
                        is_first: is_first && from == 0,
                    });
                }
                first += count;
            }
        }
    }

    /// Adds weighted rows to sums, from one of their numbers on.
    pub(super) fn add_rows_from(
        &self,
        place: usize,
        dispatch: Dispatch,
        tile: &Tile<'_>,
        sums: &mut RowSums<'_>,
        numbers: &mut [f32],
    ) {
        let (columns, panels) = (tile.columns(), panel_rows(numbers));
        // Whole chains, and some panels of them if there is room: rows are far apart, so what is
        // near in a row is read together.
        let at_once = (panels.len() - panels.len() % DEPTH).max(DEPTH);
        for first in (0..tile.width()).step_by(at_once) {
            let count = at_once.min(tile.width() - first);
            let width = panels.len().checked_div(count).unwrap_or(1).clamp(1, AT_ONCE) * WIDTH;
            let mut from = 0;
            while from < self.size {
                let width = width.min(self.size - from);
                let panels = panels.get_mut(..count * width.div_ceil(WIDTH)).unwrap_or_default();
                dispatch.run(Along {
                    rows: self.from(columns.start.saturating_add(first), from),
                    stride: self.stride,
                    count,
                    columns: width,
                    panels: &mut *panels,
                });
                let start = place.saturating_add(from);
                let to = start..start.saturating_add(width);
                add_panels(dispatch, tile, first, panels, count, sums, to);
                from += width;
            }
        }
    }
}

impl<E: Element, W: Element> Head<E> for Linear<'_, W> {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn size(&self) -> usize {
        self.size
    }

    fn transform(&self) -> Transform {
        self.transform
    }

    /// Panels of a chain, and a block of rows; or a panel of a chain's columns.
    fn numbers(&self) -> usize {
        let chain = self.size.min(DEPTH) * (self.panels * WIDTH + ROWS);
        chain.max(self.vocab.min(DEPTH) * WIDTH) + UNALIGNED
    }

    fn logits(
        &self,
        dispatch: Dispatch,
        states: States<'_, E>,
        tile: &mut Tile<'_>,
        numbers: &mut [f32],
    ) {
        self.add_logits(dispatch, |i| states.row(i), tile, numbers, true);
        if let Some(bias) = self.bias {
            let bias = bias.get(tile.columns()).unwrap_or_default();
            dispatch.run(AddBias { rows: tile.blocks_mut(), bias });
        }
    }

    fn add_rows(
        &self,
        dispatch: Dispatch,
        tile: &Tile<'_>,
        sums: &mut RowSums<'_>,
        numbers: &mut [f32],
    ) {
        self.add_rows_from(0, dispatch, tile, sums, numbers);
    }

    fn row(&self, column: usize, from: usize, to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(self.from(column, from)) {
            *to = from.to_f32();
        }
    }
}

/// Adds panels of the head's columns, weighted by a tile. A function of its own, so that its loop is
/// compiled once and not for each type of states and weights.
fn add_panels(
    dispatch: Dispatch,
    tile: &Tile<'_>,
    first: usize,
    panels: &[PanelRow],
    count: usize,
    sums: &mut RowSums<'_>,
    columns: core::ops::Range<usize>,
) {
    let (out, range) = sums.sums.parts();
    let width = columns.end.saturating_sub(columns.start);
    let rows = sums.rows.iter().map(|of| (range(of.row, columns.start, width), of.scale));
    dispatch.run(AddRows { tile: tile.blocks(), first, panels, count, rows, out });
}
