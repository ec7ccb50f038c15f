//! The entries of the backward: apart, in place, by tile.

use super::batch::{Column, GradBatch, check_coefficient, check_norm};
use super::map::{Map, in_place, write_target};
use crate::row::RowNorm;
use crate::simd::{Dispatch, Kernel, Simd};
use crate::span::Span;
use crate::{Element, Error, Logits, LogitsMut, Transform};

/// Writes the gradient of every scored row into another buffer: `c · (onehot − p) · dy/dx`.
///
/// `out` has the rows and vocabulary of `logits`, its own stride, and their type or f32. Rows outside
/// the spans, and rows whose target is the ignore value, are neither read nor written.
///
/// # Numerics
/// p within (4 + |ln p|)·2⁻²⁴ relative before the one rounding to storage (0.56 of that found); under a
/// softcap c at temperature T, with u = scale·x/c, (4 + 2c/T + 2|u| + |ln p|)·1.2·2⁻²⁴; gradients below 2^−124
/// are 0, and so is dy/dx below 2^−124 of its largest. The target's c·(1 − p) is exact to 2 ulp of f32 (6 at
/// an adversary's worst) while 1 − p is normal, and rounded once; under a softcap it is within
/// (1 + 2c/T + 2|u|)·2⁻²⁴ relative (0.78 of that found).
/// Masked columns, and rows whose coefficient is 0, get exactly 0. The same bits as in place.
///
/// f16 ends at 65504 and begins at 6e-8: gradients of a mean over many pairs vanish there. Scale the
/// loss by a smaller divisor, as mixed-precision training does, or write to f32.
///
/// The transform is the logits' own: view them with the one that the forward used.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::ShapeMismatch`], [`Error::SpanOutOfRange`],
/// [`Error::SpansOverlap`], [`Error::TargetOutOfRange`], [`Error::NoScoredTokens`],
/// [`Error::InvalidValue`] for a norm that no forward has made, for a token weight that is not finite,
/// and for a coefficient that is not finite or beyond two thirds of f32's range;
/// [`Error::TransformOfGradients`] if `out` has a transform: only logits have one.
///
/// # Panics
/// Never. Norms of other logits give other numbers, not other memory.
pub fn logit_grads<E: Element, O: Element>(
    dispatch: Dispatch,
    logits: Logits<'_, E>,
    batch: &GradBatch<'_>,
    out: LogitsMut<'_, O>,
) -> Result<(), Error> {
    dispatch.run(Apart::new(logits, batch, out)?);
    Ok(())
}

/// Replaces the logits of every scored row by their gradient, as [`logit_grads`].
///
/// # Errors
/// As [`logit_grads`]; the logits are unchanged then.
///
/// # Panics
/// Never.
pub fn logit_grads_in_place<E: Element>(
    dispatch: Dispatch,
    logits: LogitsMut<'_, E>,
    batch: &GradBatch<'_>,
) -> Result<(), Error> {
    dispatch.run(InPlace::new(logits, batch)?);
    Ok(())
}

/// The gradient of one tile of a row, for a head that makes its logits block by block: replaces the
/// columns `first_column..first_column + tile.len()` of a row with target `target`.
///
/// `norm` comes from the row's merged [`RowStats`](crate::row::RowStats), `coefficient` is c.
///
/// # Errors
/// [`Error::InvalidValue`] for a norm that no forward has made, or a coefficient that is not finite or
/// beyond two thirds of f32's range.
///
/// # Panics
/// Never.
pub fn tile_grads_in_place<E: Element>(
    dispatch: Dispatch,
    tile: &mut [E],
    first_column: u32,
    transform: Transform,
    target: u32,
    norm: RowNorm,
    coefficient: f64,
) -> Result<(), Error> {
    check_norm(Some(&norm), 0)?;
    check_coefficient(coefficient, transform, 0)?;
    // A target outside this tile has its gradient elsewhere.
    let target = target.checked_sub(first_column).and_then(|t| usize::try_from(t).ok());
    let column = Column { target: target.unwrap_or(usize::MAX), norm, coefficient };
    dispatch.run(Tile { elements: tile, transform, column });
    Ok(())
}

/// The kernel, on the scored rows among `rows`, whose gradients `out` has room for.
pub(crate) struct Apart<'a, E, O> {
    pub(crate) logits: Logits<'a, E>,
    pub(crate) batch: GradBatch<'a>,
    pub(crate) rows: Span,
    pub(crate) out: LogitsMut<'a, O>,
}

impl<'a, E: Element, O: Element> Apart<'a, E, O> {
    /// All rows, after every check.
    pub(crate) fn new(
        logits: Logits<'a, E>,
        batch: &GradBatch<'a>,
        out: LogitsMut<'a, O>,
    ) -> Result<Self, Error> {
        let expected = (logits.rows(), logits.vocab());
        let found = (out.rows(), out.vocab());
        if expected != found {
            return Err(Error::ShapeMismatch { expected, found });
        }
        if !out.transform().is_none() {
            return Err(Error::TransformOfGradients);
        }
        batch.check(logits.rows(), logits.vocab(), logits.transform())?;
        Ok(Self { logits, batch: *batch, rows: Span::new(0, logits.rows()), out })
    }
}

impl<E: Element, O: Element> Kernel for Apart<'_, E, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let transform = self.logits.transform();
        for (row, column) in self.batch.rows(self.rows) {
            let from = self.logits.row(row);
            let to = self.out.row_mut(row - self.rows.start);
            if column.is_without_gradient() {
                to.fill(O::ZERO);
                continue;
            }
            let target = column.target_grad(s, transform, from);
            let map = Map::new(s, transform, &column);
            if map.short {
                map.apart::<true, E, O>(s, from, to);
            } else {
                map.apart::<false, E, O>(s, from, to);
            }
            write_target(to, column.target, target);
        }
    }
}

/// The kernel, on the scored rows among `rows`, which are those of `logits`.
pub(crate) struct InPlace<'a, E> {
    pub(crate) batch: GradBatch<'a>,
    pub(crate) rows: Span,
    pub(crate) logits: LogitsMut<'a, E>,
}

impl<'a, E: Element> InPlace<'a, E> {
    /// All rows, after every check.
    pub(crate) fn new(logits: LogitsMut<'a, E>, batch: &GradBatch<'a>) -> Result<Self, Error> {
        batch.check(logits.rows(), logits.vocab(), logits.transform())?;
        Ok(Self { batch: *batch, rows: Span::new(0, logits.rows()), logits })
    }
}

impl<E: Element> Kernel for InPlace<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let transform = self.logits.transform();
        for (row, column) in self.batch.rows(self.rows) {
            in_place(s, self.logits.row_mut(row - self.rows.start), transform, &column);
        }
    }
}

struct Tile<'a, E> {
    elements: &'a mut [E],
    transform: Transform,
    column: Column,
}

impl<E: Element> Kernel for Tile<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        in_place(s, self.elements, self.transform, &self.column);
    }
}
