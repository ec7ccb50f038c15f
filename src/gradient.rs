//! Stage 5: from ∂L/∂log π back to the logits.
//!
//! ```text
//! ∂L/∂x_j = c · (onehot_j − p_j) · dy/dx_j       c = ∂L/∂log π(y) · token weight
//! ```
//!
//! The simple version subtracts a softmax from a one-hot row (`verify::rows::logit_grads`). This one
//! differs in that
//! 1. one sweep reads each logit and writes its gradient, in place if wanted: p is computed again from
//!    the 16 bytes that the forward kept;
//! 2. c, 1/Z and the transform's slope are one factor, whose power of two joins the exponential's
//!    integer N and whose mantissa multiplies once: p · c costs one multiply-add;
//! 3. results below 2^−124 become 0 instead of subnormal: a row of small probabilities must not
//!    run at the speed of the slow path of the machine;
//! 4. the target's gradient c·(1 − p) is stored afterwards from the saved 1 − p, rounded once: formed
//!    from an already rounded c·p it would lose a confident bf16 token altogether.

use crate::error::{Buffer, check_length};
use crate::row::{RowNorm, Values};
use crate::sequence::{check_token_weights, weight_of};
use crate::simd::exp::Exp;
use crate::simd::tanh::tanh_slope;
use crate::simd::{Dispatch, Kernel, LANES, Simd};
use crate::span::{self, Span, Targets};
use crate::{Element, Error, Logits, LogitsMut, Transform};

/// What the backward needs beside the logits: where they are scored, their norms, and ∂L/∂log π.
#[derive(Clone, Copy, Debug)]
pub struct GradBatch<'a> {
    /// Target of each row, R, as in the forward.
    pub targets: Targets<'a>,
    /// Rows of each sequence, N, as in the forward.
    pub spans: &'a [Span],
    /// What [`token_log_probs`](crate::token_log_probs) kept of these logits, R.
    pub norms: &'a [RowNorm],
    /// `∂L/∂log π` of each sequence, N.
    pub d_log_probs: &'a [f64],
    /// Token weights as in [`sequence_log_probs`](crate::sequence_log_probs), R; 1 without.
    pub token_weights: Option<&'a [f32]>,
}

impl<'a> GradBatch<'a> {
    /// A batch without token weights.
    #[must_use]
    pub const fn new(
        targets: Targets<'a>,
        spans: &'a [Span],
        norms: &'a [RowNorm],
        d_log_probs: &'a [f64],
    ) -> Self {
        Self { targets, spans, norms, d_log_probs, token_weights: None }
    }

    fn check(&self, rows: usize, vocab: usize, transform: Transform) -> Result<(), Error> {
        span::check(self.targets, self.spans, rows, Some(vocab))?;
        check_length(Buffer::RowNorms, rows, self.norms.len())?;
        check_length(Buffer::SequenceGrads, self.spans.len(), self.d_log_probs.len())?;
        check_token_weights(self.token_weights, rows)?;
        for (sequence, (&span, &d)) in self.spans.iter().zip(self.d_log_probs).enumerate() {
            check_coefficient(d, transform, sequence)?;
            for (row, _) in self.targets.scored_rows(span) {
                check_norm(self.norms.get(row), row)?;
                if let Some(weight) = weight_of(self.token_weights, row) {
                    check_coefficient(d * weight, transform, sequence)?;
                }
            }
        }
        Ok(())
    }

    /// The scored rows with their target, norm and coefficient c.
    fn rows(self) -> impl Iterator<Item = (usize, Column)> {
        self.spans.iter().zip(self.d_log_probs).flat_map(move |(&span, &d)| {
            self.targets.scored_rows(span).filter_map(move |(row, target)| {
                let coefficient = d * weight_of(self.token_weights, row).unwrap_or(1.0);
                let target = usize::try_from(target).ok()?;
                let norm = *self.norms.get(row)?;
                Some((row, Column { target, norm, coefficient }))
            })
        })
    }
}

/// A norm that a forward has made.
fn check_norm(norm: Option<&RowNorm>, row: usize) -> Result<(), Error> {
    let norm = norm.copied().unwrap_or(RowNorm::INVALID);
    if norm.is_valid() {
        Ok(())
    } else {
        let value = f64::from(norm.inverse);
        Err(Error::InvalidValue { buffer: Buffer::RowNorms, index: row, value })
    }
}

/// A coefficient that fits in f32 with the transform's slope.
fn check_coefficient(c: f64, transform: Transform, sequence: usize) -> Result<(), Error> {
    if (c * transform.slope()).abs() <= f64::from(f32::MAX) / 4.0 {
        Ok(())
    } else {
        Err(Error::InvalidValue { buffer: Buffer::SequenceGrads, index: sequence, value: c })
    }
}

/// One row's part in the backward.
#[derive(Clone, Copy)]
struct Column {
    target: usize,
    norm: RowNorm,
    coefficient: f64,
}

/// Writes the gradient of every scored row into another buffer: `c · (onehot − p) · dy/dx`.
///
/// `out` has the rows and vocabulary of `logits`, its own stride, and their type or f32. Rows outside
/// the spans, and rows whose target is the ignore value, are neither read nor written.
///
/// # Numerics
/// p within (4 + |ln p|)·2⁻²⁴ relative before the one rounding to storage; gradients below 2^−124
/// are 0; the target's c·(1 − p) is exact to 2 ulp of f32 and rounded once. Masked columns get exactly
/// 0. The same bits as in place.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::ShapeMismatch`], [`Error::SpanOutOfRange`],
/// [`Error::SpansOverlap`], [`Error::TargetOutOfRange`], [`Error::NoScoredTokens`],
/// [`Error::InvalidValue`] for a norm that no forward has made, for a token weight that is not finite,
/// and for a coefficient that is not finite or beyond a quarter of f32's range;
/// [`Error::TransformOfGradients`] if `out` has a transform: only logits have one.
///
/// # Panics
/// Never. Norms of other logits give other numbers, not other memory.
pub fn logit_grads<E: Element, O: Element>(
    dispatch: Dispatch,
    logits: Logits<'_, E>,
    batch: &GradBatch<'_>,
    mut out: LogitsMut<'_, O>,
) -> Result<(), Error> {
    let expected = (logits.rows(), logits.vocab());
    let found = (out.rows(), out.vocab());
    if expected != found {
        return Err(Error::ShapeMismatch { expected, found });
    }
    if !out.transform().is_none() {
        return Err(Error::TransformOfGradients);
    }
    batch.check(logits.rows(), logits.vocab(), logits.transform())?;
    dispatch.run(Apart { logits, batch: *batch, out: out.reborrow() });
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
    mut logits: LogitsMut<'_, E>,
    batch: &GradBatch<'_>,
) -> Result<(), Error> {
    batch.check(logits.rows(), logits.vocab(), logits.transform())?;
    dispatch.run(InPlace { batch: *batch, logits: logits.reborrow() });
    Ok(())
}

/// The gradient of one tile of a row, for a head that makes its logits block by block: replaces the
/// columns `first_column..first_column + tile.len()` of a row with target `target`.
///
/// `norm` comes from the row's merged [`RowStats`](crate::RowStats), `coefficient` is c.
///
/// # Errors
/// [`Error::InvalidValue`] for a norm that no forward has made, or a coefficient that is not finite or
/// beyond a quarter of f32's range.
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

struct Apart<'a, E, O> {
    logits: Logits<'a, E>,
    batch: GradBatch<'a>,
    out: LogitsMut<'a, O>,
}

impl<E: Element, O: Element> Kernel for Apart<'_, E, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let transform = self.logits.transform();
        for (row, column) in self.batch.rows() {
            let from = self.logits.row(row);
            let to = self.out.row_mut(row);
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

struct InPlace<'a, E> {
    batch: GradBatch<'a>,
    logits: LogitsMut<'a, E>,
}

impl<E: Element> Kernel for InPlace<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let transform = self.logits.transform();
        for (row, column) in self.batch.rows() {
            in_place(s, self.logits.row_mut(row), transform, &column);
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

impl Column {
    /// c · (1 − p) · dy/dx of the target, rounded once; 0 if it is masked or not among `row`.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the one rounding to f32")]
    fn target_grad<S: Simd, E: Element>(&self, s: S, transform: Transform, row: &[E]) -> f32 {
        // A masked target stays masked, as every −inf column.
        let x = match row.get(self.target) {
            Some(x) if x.to_f32() > f32::NEG_INFINITY => x,
            _ => return 0.0,
        };
        let bend = match transform.inner() {
            None => 1.0,
            Some(inner) => {
                let u = s.mul(s.splat(x.to_f32()), s.splat(inner));
                let [slope, ..] = s.to_array(tanh_slope(s, u));
                f64::from(slope)
            }
        };
        (self.coefficient * f64::from(self.norm.rest) * transform.slope() * bend) as f32
    }
}

fn write_target<O: Element>(row: &mut [O], target: usize, grad: f32) {
    if let Some(to) = row.get_mut(target) {
        *to = O::from_f32(grad);
    }
}

/// x ↦ −c · p(x) · dy/dx, for one row.
struct Map<S: Simd> {
    exp: Exp<S>,
    values: Values<S>,
    /// −c · slope / Z without its power of two, in ±[2, 4); 0 where the row has no gradient.
    factor: S::F,
    /// Whether y = x without a shift.
    short: bool,
}

impl<S: Simd> Map<S> {
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the one rounding of the row's factor")]
    fn new(s: S, transform: Transform, column: &Column) -> Self {
        let norm = column.norm;
        let factor = -column.coefficient * transform.slope() * f64::from(norm.inverse);
        let (half, power) = libm::frexp(factor);
        // 4 · half ∈ ±[2, 4) keeps every product a normal number while 2^(n − N) is one.
        let exponent = norm.exponent.saturating_sub(power.saturating_sub(2));
        Self {
            exp: Exp::new(s, transform.factor(), exponent),
            values: Values::new(s, transform, norm.shift),
            factor: s.splat((4.0 * half) as f32),
            short: transform.is_none() && norm.shift.to_bits() == 0,
        }
    }

    #[inline(always)]
    fn apply<const UNIT: bool>(&self, s: S, x: S::F) -> S::F {
        let d = if UNIT { x } else { s.sub(self.values.value(s, x), self.values.shift) };
        let (scale, w) = self.exp.eval::<UNIT>(s, d);
        let scale = s.mul(self.factor, scale);
        let y = s.mul_add(w, scale, scale);
        match self.values.inner {
            Some(inner) if !UNIT => s.mul(y, tanh_slope(s, s.mul(x, inner))),
            _ => y,
        }
    }

    /// A row in place. The last vector, filled up with masked columns, goes through a copy.
    #[inline(always)]
    fn update<const UNIT: bool, E: Element>(&self, s: S, row: &mut [E]) {
        let (whole, rest) = row.as_chunks_mut::<LANES>();
        for chunk in whole {
            let y = self.apply::<UNIT>(s, E::load(s, chunk));
            E::store(s, y, chunk);
        }
        if !rest.is_empty() {
            let mut tail = [E::NEG_INFINITY; LANES];
            copy(rest, &mut tail);
            let y = self.apply::<UNIT>(s, E::load(s, &tail));
            E::store(s, y, &mut tail);
            copy(&tail, rest);
        }
    }

    /// A row into another.
    #[inline(always)]
    fn apart<const UNIT: bool, E: Element, O: Element>(&self, s: S, from: &[E], to: &mut [O]) {
        let (whole, rest) = from.as_chunks::<LANES>();
        let (whole_out, rest_out) = to.as_chunks_mut::<LANES>();
        for (chunk, out) in whole.iter().zip(whole_out) {
            let y = self.apply::<UNIT>(s, E::load(s, chunk));
            O::store(s, y, out);
        }
        if !rest.is_empty() {
            let mut tail = [E::NEG_INFINITY; LANES];
            copy(rest, &mut tail);
            let mut tail_out = [O::ZERO; LANES];
            O::store(s, self.apply::<UNIT>(s, E::load(s, &tail)), &mut tail_out);
            copy(&tail_out, rest_out);
        }
    }
}

/// As many elements as both have.
fn copy<E: Element>(from: &[E], to: &mut [E]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from;
    }
}

#[inline(always)]
fn in_place<S: Simd, E: Element>(s: S, row: &mut [E], transform: Transform, column: &Column) {
    let target = column.target_grad(s, transform, row);
    let map = Map::new(s, transform, column);
    if map.short {
        map.update::<true, E>(s, row);
    } else {
        map.update::<false, E>(s, row);
    }
    write_target(row, column.target, target);
}
