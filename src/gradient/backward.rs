//! The entries of the backward: into another buffer, in place, by tile.

use core::marker::PhantomData;
use core::ops::Range;
use core::slice::from_ref;

use super::batch::{GradBatch, RowGrad, Unscored, check_coefficient, check_norm};
use super::map::{Factors, Place, map_rows};
use crate::element::{GradElement, PerPair, per_type};
use crate::executor::{Executor, Rows};
use crate::layout::{Layout, Span};
use crate::logits::{Logits, LogitsMut, Shape};
use crate::row::RowNorm;
use crate::simd::stream::Stream;
use crate::simd::{Dispatch, GROUP, SHORT_LOOPS};
use crate::{Element, Error, Transform};

/// Writes the gradient of every scored row into another buffer: `c · (onehot − p) · dy/dx`.
///
/// `out` has the rows and vocabulary of `logits`, its own stride, and their type or f32. Rows that
/// are not scored are not read; whether they, and the padding columns of `out`, are written as 0 or
/// not at all says [`GradBatch::unscored`].
///
/// # Numerics
/// p within (4 + |ln p|)·2⁻²⁴ relative before the one rounding to storage (0.56 of that found);
/// under a softcap c at temperature T, with u = scale·x/c, (4 + 2c/T + 2|u| + |ln p|)·2.4·2⁻²⁴;
/// gradients below 2^−124 are 0, and so is dy/dx below 2^−124 of its largest. The target's c·(1 −
/// p) is exact to 2 ulp of f32 (6 at an adversary's worst) while 1 − p is normal, and rounded once;
/// under a softcap it is within (1 + 2c/T + 2|u|)·2.4·2⁻²⁴ relative (0.78 of that found). Masked
/// columns, and rows whose coefficient is 0, get exactly 0. The same bits as in place.
///
/// f16 ends at 65504 and begins at 6e-8: gradients of a mean over many pairs vanish there. Scale
/// the loss by a smaller divisor, as mixed-precision training does, or write to f32.
///
/// The transform is the logits' own: view them with the one that the forward used.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::ShapeMismatch`], [`Error::InvalidValue`]
/// for a norm that no forward has made, and for a coefficient that is not finite or whose product
/// with the transform's slope dy/dx goes beyond two thirds of f32's range;
/// [`Error::TransformOfGradients`] if `out` has a transform: only logits have one.
///
/// # Panics
/// Never. Norms of other logits give other numbers, not other memory.
pub fn logit_grads<X: Executor, E: Element, O: Element + GradElement<E>>(
    executor: X,
    logits: Logits<'_, E>,
    batch: &GradBatch<'_>,
    mut out: LogitsMut<'_, O>,
) -> Result<(), Error> {
    batch.check(logits.rows(), logits.vocab(), logits.transform())?;
    batch.layout.check_shape(out.rows(), out.vocab())?;
    if !out.transform().is_none() {
        return Err(Error::TransformOfGradients);
    }
    if batch.unscored == Unscored::Zero {
        zero_unscored(&mut out, batch.layout);
    }
    let rows = Span::new(0, logits.rows());
    executor.execute(Apart { logits, batch, rows, out });
    Ok(())
}

/// Replaces the logits of every scored row by their gradient, as [`logit_grads`].
///
/// Rows that are not scored and padding columns **still hold logits afterwards**, unless
/// [`GradBatch::unscored`] is [`Unscored::Zero`].
///
/// # Errors
/// As [`logit_grads`]; the logits are unchanged then.
///
/// # Panics
/// Never.
pub fn logit_grads_in_place<X: Executor, E: Element>(
    executor: X,
    mut logits: LogitsMut<'_, E>,
    batch: &GradBatch<'_>,
) -> Result<(), Error> {
    batch.check(logits.rows(), logits.vocab(), logits.transform())?;
    if batch.unscored == Unscored::Zero {
        zero_unscored(&mut logits, batch.layout);
    }
    sweep_in_place(executor, batch, logits);
    Ok(())
}

/// Not inlined, so that its argument is not on the stack of all other stages of a step.
#[inline(never)]
fn sweep_in_place<X: Executor, E: Element>(
    executor: X,
    batch: &GradBatch<'_>,
    logits: LogitsMut<'_, E>,
) {
    let rows = Span::new(0, logits.rows());
    executor.execute(InPlace { batch, rows, logits });
}

/// The gradient of one tile of a row, for a head that makes its logits block by block: replaces the
/// columns `first_column..first_column + tile.len()` of a row with target `target`.
///
/// `norm` comes from the row's merged [`RowStats`](crate::row::RowStats), `coefficient` is c.
///
/// # Errors
/// [`Error::InvalidValue`] for a coefficient whose product with the transform's slope is not finite
/// or is beyond two thirds of f32's range, and for a norm that no forward has made unless the
/// coefficient is 0.
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
    check_coefficient(coefficient, transform, 0)?;
    if coefficient != 0.0 {
        check_norm(Some(&norm), 0)?;
    }
    // A target outside this tile has its gradient elsewhere.
    let target = target.checked_sub(first_column).and_then(|t| usize::try_from(t).ok());
    let grad = RowGrad { target: target.unwrap_or(usize::MAX), norm, coefficient };
    E::call::<TileJob<'_>>(dispatch, Tile { elements: tile, transform, grad });
    Ok(())
}

/// Writes 0 where no gradient belongs: a sweep of its own, because it is memory alone.
#[inline(never)]
fn zero_unscored<O: Element>(to: &mut LogitsMut<'_, O>, layout: &Layout<'_>) {
    let mut next = 0;
    for (row, _) in layout.scored_rows_within(Span::new(0, layout.rows())) {
        (next..row).for_each(|row| to.whole_row_mut(row).fill(O::ZERO));
        to.padding_mut(row).fill(O::ZERO);
        next = row + 1;
    }
    (next..layout.rows()).for_each(|row| to.whole_row_mut(row).fill(O::ZERO));
}

/// The kernel, on the scored rows among `rows`, whose gradients `out` has room for.
struct Apart<'a, E, O> {
    logits: Logits<'a, E>,
    batch: &'a GradBatch<'a>,
    rows: Span,
    out: LogitsMut<'a, O>,
}

impl<'a, E: Element, O: Element + GradElement<E>> Rows for Apart<'a, E, O> {
    type Output = ();

    #[inline(always)]
    fn run_on(self, dispatch: Dispatch) {
        let Self { logits, batch, rows, out } = self;
        let ((logits, from), (out, to)) = (logits.into_parts(), out.into_parts());
        let stream = Stream::apart(logits, out);
        let rows = GradRows { batch, rows, first: 0, from, to: to.stride, stream };
        O::call_pair::<Backward<'a>>(dispatch, rows);
    }

    fn shape(&self) -> (Span, usize) {
        (self.rows, self.logits.vocab())
    }

    fn split_at(self, rows: usize) -> (Self, Self) {
        let Self { logits, batch, .. } = self;
        let (halves, (above, below)) = (self.rows.split_at(rows), self.out.split_at(rows));
        (
            Self { logits, batch, rows: halves.0, out: above },
            Self { logits, batch, rows: halves.1, out: below },
        )
    }

    fn join((): (), (): ()) {}
}

/// The kernel, on the scored rows among `rows`, which are those of `logits`.
struct InPlace<'a, E> {
    batch: &'a GradBatch<'a>,
    rows: Span,
    logits: LogitsMut<'a, E>,
}

impl<'a, E: Element> Rows for InPlace<'a, E> {
    type Output = ();

    #[inline(always)]
    fn run_on(self, dispatch: Dispatch) {
        let Self { batch, rows, logits } = self;
        let (first, (elements, shape)) = (rows.start, logits.into_parts());
        let stream = Stream::in_place(elements);
        let rows = GradRows { batch, rows, first, from: shape, to: shape.stride, stream };
        E::call::<Same<'a>>(dispatch, rows);
    }

    fn shape(&self) -> (Span, usize) {
        (self.rows, self.logits.vocab())
    }

    fn split_at(self, rows: usize) -> (Self, Self) {
        let batch = self.batch;
        let (halves, (above, below)) = (self.rows.split_at(rows), self.logits.split_at(rows));
        (
            Self { batch, rows: halves.0, logits: above },
            Self { batch, rows: halves.1, logits: below },
        )
    }

    fn join((): (), (): ()) {}
}

/// The scored rows among `rows`, and the elements that hold them.
struct GradRows<'a, E, O> {
    batch: &'a GradBatch<'a>,
    rows: Span,
    /// The row that the elements to read begin with. Those to write begin with `rows`.
    first: usize,
    from: Shape,
    /// Elements from one row of gradients to the next.
    to: usize,
    stream: Stream<'a, E, O>,
}

struct Backward<'a>(PhantomData<&'a ()>);

impl<'a, E: Element> PerPair<E> for Backward<'a> {
    type Of<O: Element + GradElement<E>> = GradRows<'a, E, O>;

    #[inline(always)]
    fn same(dispatch: Dispatch, rows: GradRows<'a, E, E>) {
        E::call::<Same<'a>>(dispatch, rows);
    }

    #[inline(always)]
    fn wider(dispatch: Dispatch, rows: GradRows<'a, E, f32>) {
        E::call::<Wider<'a>>(dispatch, rows);
    }
}

/// Gradients of the logits' type.
struct Same<'a>(PhantomData<&'a ()>);
per_type!(Same<'a>, E, GradRows<'a, E, E> => (), write_rows);

/// Gradients in f32.
struct Wider<'a>(PhantomData<&'a ()>);
per_type!(Wider<'a>, E, GradRows<'a, E, f32> => (), write_rows);

fn write_rows<E: Element, O: Element + GradElement<E>>(
    dispatch: Dispatch,
    mut rows: GradRows<'_, E, O>,
) {
    // Borrowed: moved, they would be in memory twice.
    let GradRows { batch, rows, first, from, to, stream } = &mut rows;
    let (mut scored, transform) = (batch.rows(*rows), from.transform);
    let place = |stream: &mut _, row: usize, grad: &RowGrad| {
        let (from, to) = (from.range(row - *first), to.saturating_mul(row - rows.start));
        place_of(dispatch, grad, stream, transform, from, to)
    };
    if !SHORT_LOOPS {
        for (row, grad) in scored {
            let place = place(stream, row, &grad);
            map_rows(dispatch, stream, from_ref(&place));
        }
        return;
    }
    let mut group = [const { Place::NONE }; GROUP];
    loop {
        let mut count = 0;
        for (to, (row, grad)) in group.iter_mut().zip(&mut scored) {
            *to = place(stream, row, &grad);
            count += 1;
        }
        let mut places = group.get(..count).unwrap_or_default();
        if places.is_empty() {
            return;
        }
        while let [first, ..] = places {
            let others = places.iter().position(|place| !place.factors.is_alike(&first.factors));
            let (alike, rest) =
                places.split_at_checked(others.unwrap_or(count)).unwrap_or((places, &[]));
            map_rows(dispatch, stream, alike);
            places = rest;
        }
    }
}

/// What is left to do of a row: nothing where c = 0.
fn place_of<E: Element, O: Element>(
    dispatch: Dispatch,
    grad: &RowGrad,
    stream: &mut Stream<'_, E, O>,
    transform: Transform,
    from: Range<usize>,
    to: usize,
) -> Place {
    let len = from.len();
    let mut row = stream.part(from.start, to, len);
    if grad.is_without_gradient() {
        row.target().fill(O::ZERO);
        return Place::NONE;
    }
    let target = grad.target_grad(dispatch, transform, row.source());
    let factors = Factors::new(dispatch, transform, grad);
    Place { from: from.start, to, len, factors, column: grad.target, target }
}

struct TileJob<'a>(PhantomData<&'a ()>);
per_type!(TileJob<'a>, E, Tile<'a, E> => (), in_place_tile);

fn in_place_tile<E: Element>(dispatch: Dispatch, tile: Tile<'_, E>) {
    let Tile { elements, transform, grad } = tile;
    let columns = 0..elements.len();
    let mut stream = Stream::in_place(elements);
    let place = place_of(dispatch, &grad, &mut stream, transform, columns, 0);
    map_rows(dispatch, &mut stream, from_ref(&place));
}

/// In the place of logits, their terms relative to a base, times dy/dx; 0 in that of the target.
pub(crate) fn terms_in_place(
    dispatch: Dispatch,
    elements: &mut [f32],
    transform: Transform,
    terms: RowNorm,
    target: usize,
) {
    let grad = RowGrad { target, norm: terms, coefficient: -1.0 };
    tile_in_place(dispatch, elements, transform, grad);
}

/// In the place of a tile's logits, their gradients. The target is counted from the tile's first
/// column, and may be elsewhere.
pub(crate) fn tile_in_place(
    dispatch: Dispatch,
    elements: &mut [f32],
    transform: Transform,
    grad: RowGrad,
) {
    in_place_tile(dispatch, Tile { elements, transform, grad });
}

struct Tile<'a, E> {
    elements: &'a mut [E],
    transform: Transform,
    grad: RowGrad,
}
