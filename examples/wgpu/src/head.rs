//! A head without logits: hidden states R × H by weights V × H, tile by tile in workgroup memory.

use wgpu::Buffer;

use crate::kernels::{Bound, Entry, Kernels, whole};
use crate::matrix::RowTile;
use crate::params::{BIAS, HEAD, Params};
use crate::rows::{Scored, Targets, count, finish};
use crate::{Element, Error, Matrix, Transform};

/// The operands of a head: `x[t] = W h[t] + b`.
#[derive(Clone, Copy, Debug)]
pub struct HeadOperands<'a, E> {
    /// R × H
    pub hidden: &'a Matrix<E>,
    /// V × H, without padding.
    pub weight: &'a Matrix<E>,
    /// V numbers as one row, or none.
    pub bias: Option<&'a Matrix<f32>>,
}

impl<E: Element> HeadOperands<'_, E> {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (expected, weight) = (self.hidden.columns(), self.weight);
        for (what, found) in
            [("a row of the head", weight.columns()), ("the head's stride", weight.stride())]
        {
            if found != expected {
                return Err(Error::Length { what, expected, found });
            }
        }
        self.bias.map_or(Ok(()), |bias| bias.check("bias", (1, weight.rows())))
    }
}

/// Bytes of a row's numbers of the backward.
const MAP: u64 = 64;

impl<E: Element> Kernels<'_, E> {
    /// As [`Kernels::token_log_probs`] of the logits that the head makes. They are never in the
    /// device's memory: a tile of four rows by 512 columns at a time is in a workgroup's.
    ///
    /// # Errors
    /// Before anything is computed: [`Error::Size`], [`Error::Length`], [`Error::Target`],
    /// [`Error::TooLarge`] (the head's weights are bound whole).
    pub fn head_log_probs(
        &self,
        head: &HeadOperands<'_, E>,
        targets: &Targets<'_>,
        transform: Transform,
    ) -> Result<Scored, Error> {
        head.check()?;
        let (rows, vocab) = (head.hidden.rows(), head.weight.rows());
        let tiles = head.hidden.tiles(self.gpu())?;
        let (scored, states) = self.scored(targets, rows, vocab, transform)?;
        let mut work = self.work();
        let none = self.gpu().bindable("no bias", 4)?;
        for tile in tiles {
            let params = self.head_params(head, &scored, tile)?;
            let [hidden, weight, bias] = self.operands(head, tile, &none);
            let bound = [whole(2, &scored.targets), whole(3, &states), hidden, weight, bias];
            work.dispatch(Entry::HeadFold, &params, &bound, ((tile.rows as u64).div_ceil(4), 1))?;
            finish(&mut work, &params, &states, &scored)?;
        }
        work.submit()?;
        Ok(scored)
    }

    fn head_params(
        &self,
        head: &HeadOperands<'_, E>,
        scored: &Scored,
        RowTile { first, rows }: RowTile,
    ) -> Result<Params, Error> {
        let (_, _, start) = head.hidden.part(self.gpu(), first, rows);
        let mut params = Params {
            rows: count(rows)?,
            vocab: count(head.weight.rows())?,
            stride: count(head.hidden.stride())?,
            start: count(usize::try_from(start).unwrap_or(usize::MAX))?,
            first_row: count(first)?,
            hidden_size: count(head.hidden.columns())?,
            ..Params::new(&scored.transform, scored.ignore_index)
        };
        params.flags |= HEAD | if head.bias.is_some() { BIAS } else { 0 };
        Ok(params)
    }

    fn operands<'a>(
        &self,
        head: &HeadOperands<'a, E>,
        RowTile { first, rows }: RowTile,
        none: &'a Buffer,
    ) -> [Bound<'a>; 3] {
        let (offset, size, _) = head.hidden.part(self.gpu(), first, rows);
        [
            Bound { at: 10, buffer: head.hidden.buffer(), part: Some((offset, size)) },
            whole(11, head.weight.buffer()),
            whole(12, head.bias.map_or(none, Matrix::buffer)),
        ]
    }

    /// The gradient with respect to the hidden states, R × H. `scored` is of these operands. Rows
    /// that are not scored are not written: they are 0.
    ///
    /// ```text
    /// c · ((1 − p_target) · dy/dx · W[target] − Σ_{j ≠ target} p_j · dy/dx_j · W_j)
    /// ```
    ///
    /// # Errors
    /// Before anything is computed: [`Error::Size`], [`Error::Length`], [`Error::Coefficient`],
    /// [`Error::TooLarge`].
    pub fn hidden_grads(
        &self,
        head: &HeadOperands<'_, E>,
        scored: &Scored,
        coefficients: &[f64],
    ) -> Result<Matrix<f32>, Error> {
        head.check()?;
        let gpu = self.gpu();
        let (rows, size) = (head.hidden.rows(), head.hidden.columns());
        scored.check(rows, head.weight.rows())?;
        let coefficients = self.coefficients(scored, coefficients)?;
        let maps = gpu.bindable("numbers of the backward", MAP * rows as u64)?;
        let grads = Matrix::<f32>::zeros(gpu, rows, size)?;
        let none = gpu.bindable("no bias", 4)?;
        let mut work = self.work();
        for tile in head.hidden.tiles_with(gpu, &grads)? {
            let params = self.head_params(head, scored, tile)?;
            let [hidden, weight, bias] = self.operands(head, tile, &none);
            let bound = [
                whole(1, &scored.targets),
                whole(2, &scored.norms),
                whole(3, &coefficients),
                whole(4, &maps),
                hidden,
                weight,
                bias,
            ];
            let groups = (tile.rows as u64).div_ceil(64);
            work.dispatch(Entry::HeadFactors, &params, &bound, (groups, 1))?;
            let (offset, size, out_start) = grads.part(gpu, tile.first, tile.rows);
            let out_start = count(usize::try_from(out_start).unwrap_or(usize::MAX))?;
            let params = Params { out_start, ..params };
            let out = Bound { at: 2, buffer: grads.buffer(), part: Some((offset, size)) };
            let bound = [whole(1, &maps), out, hidden, weight, bias];
            work.dispatch(Entry::HeadGrads, &params, &bound, ((tile.rows as u64).div_ceil(4), 1))?;
        }
        work.submit()?;
        Ok(grads)
    }
}
