//! The one stream over a frozen head, a row and a tile at a time: for hosts that make their tiles of
//! logits themselves, and for [`head_forward`](super::head_forward) and its backward.
//!
//! ```text
//! sums = 0
//! for each tile of the row's columns:
//!     before = stats;  stats.fold(tile)
//!     scale = tile_terms_in_place(before, stats, tile)
//!     sums = scale · sums + Σ_j tile_j · W_j                     the host's product
//! c = ∂L/∂log p                                                   the loss
//! hidden_row_grads_in_place(stats, c, x[target], W[target], sums)
//! ```
//!
//! Parts of a row that were folded apart merge: the scale of a part's sums is what
//! [`tile_terms_in_place`] returns for no columns, from the part's statistics to the merged ones.

use crate::error::{Buffer, check_length};
use crate::gradient::{RowGrad, check_coefficient, check_norm, terms_in_place};
use crate::row::{Extra, RowNorm, RowStats, copy};
use crate::simd::{Kernel, LANES, Simd};
use crate::{Dispatch, Element, Error, Transform};

/// Numbers of the target's row that are widened at once.
const PART: usize = 4 * LANES;

/// Turns columns of a row, which were folded into its statistics, into the terms that the head's
/// rows are weighted by, and returns by what the sums so far are multiplied first.
///
/// ```text
/// tile_j ← e^(y_j) · dy/dx_j / base        0 for the target: it is put back with 1 − p
/// sums   ← scale · sums + Σ_j tile_j · W_j     the host's own product, scale being what is returned
/// ```
///
/// `stats` are the row's with this tile folded, `before` those that the sums so far are relative
/// to: mostly a copy that was made before the fold. The base of `stats` rises with the row's logits.
/// Tiles that begin at multiples of [`BLOCK`](crate::row::BLOCK) and are no longer give the bits of
/// [`head_forward`](super::head_forward); the terms of a longer one are relative to its last base.
/// All columns masked so far: zeros, and 1.
///
/// # Numerics
/// Terms as the gradients of [`logit_grads`](crate::gradient::logit_grads). The scale is a power of
/// two, so exact, unless logits are beyond 1300, where it is rounded once.
///
/// # Panics
/// Never. Statistics of other rows give other numbers, not other memory.
#[must_use = "the sums so far are multiplied by it"]
#[allow(private_bounds, reason = "sealed: () and Details")]
pub fn tile_terms_in_place<D: Extra>(
    dispatch: Dispatch,
    before: &RowStats<D>,
    stats: &RowStats<D>,
    tile: &mut [f32],
    first_column: u32,
) -> f32 {
    let transform = stats.transform();
    let Some(terms) = stats.terms() else {
        // All masked so far.
        tile.fill(0.0);
        return 1.0;
    };
    let target = stats.target().and_then(|target| target.checked_sub(first_column));
    let target = target.and_then(|target| usize::try_from(target).ok()).unwrap_or(usize::MAX);
    terms_in_place(dispatch, tile, transform, terms, target);
    match before.terms() {
        Some(before) if before != terms => before.scale_to(&terms, transform.factor()),
        _ => 1.0,
    }
}

/// Turns a row's sums over all tiles into the gradient with respect to its hidden state, in place.
///
/// ```text
/// ∂L/∂state = c · ((1 − p_target) · dy/dx · W[target] − Σ_{j ≠ target} p_j · dy/dx_j · W_j)
/// ```
///
/// `stats` are those of the complete row, which the sums are relative to; `target_logit` is the
/// target's logit as the host made it, before the transform; `target_row` is the target's row of the
/// head. A long row may come in parts: sums and target's row of the same columns.
///
/// # Numerics
/// As [`hidden_grads_in_place`](super::hidden_grads_in_place).
///
/// # Errors
/// Before anything is written: [`Error::Length`] unless sums and target's row are as many,
/// [`Error::InvalidValue`] for a coefficient that is too large, and for a row without a finite log Z
/// or whose target was not folded, unless the coefficient is 0.
///
/// # Panics
/// Never.
#[allow(private_bounds, reason = "sealed: () and Details")]
pub fn hidden_row_grads_in_place<D: Extra, W: Element>(
    dispatch: Dispatch,
    stats: &RowStats<D>,
    coefficient: f64,
    target_logit: f32,
    target_row: &[W],
    sums: &mut [f32],
) -> Result<(), Error> {
    check_length(Buffer::HeadWeights, sums.len(), target_row.len())?;
    let transform = stats.transform();
    check_coefficient(coefficient, transform, 0)?;
    // It multiplies sums in which dy/dx is.
    check_coefficient(coefficient, Transform::NONE, 0)?;
    let norm = stats.norm().unwrap_or(RowNorm::INVALID);
    let grad = RowGrad { target: 0, norm, coefficient };
    if !grad.is_without_gradient() {
        check_norm(Some(&norm), 0)?;
    }
    rescale(sums, stats, &norm);
    let factors = Factors::new(dispatch, transform, &grad, target_logit);
    // Widened here, so that the kernel exists for f32 alone.
    let mut widened = [0.0; PART];
    for (sums, row) in sums.chunks_mut(PART).zip(target_row.chunks(PART)) {
        for (to, from) in widened.iter_mut().zip(row) {
            *to = from.to_f32();
        }
        let weights = widened.get(..row.len()).unwrap_or_default();
        Combine { factors, weights, sums }.run_on(dispatch);
    }
    Ok(())
}

/// Sums that are relative to the base of a row become relative to its norm.
pub(super) fn rescale<D: Extra>(sums: &mut [f32], stats: &RowStats<D>, norm: &RowNorm) {
    if let Some(terms) = stats.terms() {
        let scale = terms.scale_to(norm, stats.transform().factor());
        for sum in sums {
            *sum *= scale;
        }
    }
}

/// What the target's row of weights and the sums, relative to the row's norm, are multiplied by.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    target: f32,
    sums: f32,
}

impl Factors {
    /// Of a row whose target has this logit before the transform.
    #[allow(clippy::cast_possible_truncation, reason = "the one rounding to f32")]
    pub(super) fn new(
        dispatch: Dispatch,
        transform: Transform,
        grad: &RowGrad,
        target_logit: f32,
    ) -> Self {
        if grad.is_without_gradient() {
            return Self { target: 0.0, sums: 0.0 };
        }
        let alone = RowGrad { target: 0, ..*grad };
        let target = alone.target_grad(dispatch, transform, &[target_logit]);
        Self { target, sums: (-grad.coefficient * f64::from(grad.norm.inverse)) as f32 }
    }
}

/// In the place of sums, `target · weights + sums · sums`; 0 of a row without a gradient.
pub(super) struct Combine<'a> {
    pub(super) factors: Factors,
    pub(super) weights: &'a [f32],
    pub(super) sums: &'a mut [f32],
}

impl Combine<'_> {
    pub(super) fn run_on(self, dispatch: Dispatch) {
        let Factors { target, sums } = self.factors;
        if target.abs().to_bits() == 0 && sums.abs().to_bits() == 0 {
            self.sums.fill(0.0);
        } else {
            dispatch.run(self);
        }
    }
}

impl Kernel for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { factors, weights, sums } = self;
        let (mut from, mut to) = ([0.0; LANES], [0.0; LANES]);
        for (sums, weights) in sums.chunks_mut(LANES).zip(weights.chunks(LANES)) {
            copy(weights, &mut from);
            copy(sums, &mut to);
            for s in s.parts() {
                let sums = s.mul(s.load_f32(&to), s.splat(factors.sums));
                let grad = s.mul_add(s.load_f32(&from), s.splat(factors.target), sums);
                s.store_f32(grad, &mut to);
            }
            copy(&to, sums);
        }
    }
}
