//! Stage 1: fold a row of logits, tile by tile, into statistics that merge.
//!
//! ```text
//! rest = Σ_{j ≠ target} e^(y_j)        log Z = ln(rest + e^(y_target))
//! ```
//!
//! The simple version is a maximum and a sum of `exp(y - max)` (`verify::rows::log_z`). This one
//! differs in that
//! 1. there is one sweep: the sum is kept relative to 2^N, N an integer near the first block's maximum
//!    (the row's own maximum is not needed), and a block that turns out more than 2^60 above it is
//!    done again with a better N, which rescales what came before by an exact power of two;
//! 2. the target is left out of the sum and held apart, so 1 − p(target) = rest/Z never cancels: a
//!    confident token keeps the relative accuracy of its small log-prob;
//! 3. scales and mantissas of the terms ([`Exp`]) are summed apart, in sixteen f32 lanes: four vectors
//!    ([`QUAD`]), then the eight quads of a block, then blocks in f64, so the error does not grow with
//!    V. A power of two that ties with half an ulp of the sum is rounded away every time, a bias of
//!    3e-8; so what a quad loses in its block's sum of scales is given to the mantissas;
//! 4. the last quad is filled up with −inf, whose terms are exactly 0, so no column's term depends
//!    on where its row begins or ends;
//! 5. rows whose logits are too large for the exact reduction (|y| > 1300) are folded relative to one
//!    of their own logits instead of 0; the difference is exact wherever it matters.

mod finish;
mod moments;

use crate::simd::exp::{Exp, LN_2, MAX_EXPONENT};
use crate::simd::tanh::tanh;
use crate::simd::{Dispatch, Kernel, LANES, Simd};
use crate::{Element, Error, Transform};

pub(crate) use finish::Finished;
pub use finish::RowNorm;
use moments::BlockMoments;
pub(crate) use moments::Extra;
pub use moments::{Moments, RowDetails};

/// Columns that are summed in f32 before they are added up in f64.
///
/// Tiles that begin at multiples of it give the same bits as the whole row.
pub const BLOCK: usize = 512;

/// Vectors that are summed before they meet the block's sums.
const QUAD: usize = 4;

/// Their elements.
type Quad<E> = [[E; LANES]; QUAD];

/// How far, in powers of two, a block's maximum may exceed the reference before it is done again:
/// 32 terms of 2^60 and their squares still fit in f32.
const HEADROOM: i32 = 60;

/// Sums are kept relative to e^(k·shift) · 2^exponent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reference {
    pub(crate) shift: f32,
    pub(crate) exponent: i32,
}

impl Reference {
    /// A reference at the value v, exact where the reduction allows it, at a shift elsewhere.
    #[inline(always)]
    fn at(v: f32, factor: f64) -> Self {
        let n = libm::rint(f64::from(v) * factor * core::f64::consts::LOG2_E);
        if n.abs() <= f64::from(MAX_EXPONENT) {
            #[allow(clippy::cast_possible_truncation, reason = "|n| ≤ 1900")]
            Self { shift: 0.0, exponent: n as i32 }
        } else {
            Self { shift: v, exponent: 0 }
        }
    }

    /// The logarithm of the reference.
    #[inline(always)]
    fn ln(self, factor: f64) -> f64 {
        factor * f64::from(self.shift) + f64::from(self.exponent) * LN_2
    }
}

/// What a fold over (part of) a row has learnt. Parts of one row merge.
///
/// `D` is `()` for log Z and the target alone, or [`Moments`] for entropy, argmax, mean logit and
/// log Σp² from the same sweep.
///
/// # Numerics
/// A row folded in ascending tiles that begin at multiples of [`BLOCK`] gives the bits of the row
/// folded whole. Other tiles, and merges of shards, add the same terms in another order: log Z then
/// differs by at most 2⁻²⁴ relative to Z in the f32 part, some 1e-15 in the f64 part.
///
/// # Example
/// ```
/// use dpo_kernel::{Dispatch, RowStats, Transform};
/// let dispatch = Dispatch::detect();
/// let row = [1.0_f32, 2.0, 3.0, 4.0];
/// let (left, right) = row.split_at(2);
/// let mut a: RowStats = RowStats::new(Transform::NONE, Some(3));
/// let mut b = a;
/// a.fold(dispatch, left, 0);
/// b.fold(dispatch, right, 2);
/// a.merge(&b)?;
/// assert!((a.log_z() - 4.440189698561196).abs() < 1e-7);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowStats<D = ()> {
    transform: Transform,
    target: Option<u32>,
    /// Value of the target once its column was folded.
    target_value: Option<f32>,
    /// `None` until a column above −inf turned up.
    reference: Option<Reference>,
    /// Σ over the other columns, relative to the reference.
    rest: f64,
    columns: u64,
    moments: D,
}

#[allow(private_bounds, reason = "sealed: () and Moments")]
impl<D: Extra> RowStats<D> {
    /// Nothing folded yet. With a target, its logit is kept apart when its column comes by.
    #[must_use]
    pub fn new(transform: Transform, target: Option<u32>) -> Self {
        Self::with_moments(transform, target, D::NONE)
    }

    #[inline(always)]
    pub(crate) const fn with_moments(
        transform: Transform,
        target: Option<u32>,
        moments: D,
    ) -> Self {
        Self {
            transform,
            target,
            target_value: None,
            reference: None,
            rest: 0.0,
            columns: 0,
            moments,
        }
    }

    /// Folds the columns `first_column..first_column + tile.len()`, each of which must come once.
    ///
    /// # Panics
    /// Never. NaN and +inf show in the results, which become NaN.
    pub fn fold<E: Element>(&mut self, dispatch: Dispatch, tile: &[E], first_column: u32) {
        dispatch.run(FoldTile { stats: self, tile, first_column });
    }

    /// Adds what another part of the same row learnt.
    ///
    /// # Errors
    /// [`Error::MergeOfDifferentRows`] if transform or target differ or both saw the target; nothing
    /// has changed then.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        let target_twice = self.target_value.is_some() && other.target_value.is_some();
        if self.transform != other.transform || self.target != other.target || target_twice {
            return Err(Error::MergeOfDifferentRows);
        }
        let mut other = *other;
        if let (Some(a), Some(b)) = (self.reference, other.reference) {
            let factor = self.transform.factor();
            let higher = if a.ln(factor) >= b.ln(factor) { a } else { b };
            self.rebase(higher);
            other.rebase(higher);
        }
        self.reference = self.reference.or(other.reference);
        self.target_value = self.target_value.or(other.target_value);
        self.rest += other.rest;
        self.columns += other.columns;
        self.moments.merge(&other.moments);
        Ok(())
    }

    /// Expresses the sums relative to another reference: exact between references at shift 0.
    fn rebase(&mut self, to: Reference) {
        if let Some(from) = self.reference
            && from != to
        {
            let factor = self.transform.factor();
            let delta = factor * (f64::from(from.shift) - f64::from(to.shift));
            let power = libm::rint(delta * core::f64::consts::LOG2_E).clamp(-1e6, 1e6);
            let part = if delta == 0.0 { 1.0 } else { libm::exp(delta - power * LN_2) };
            #[allow(clippy::cast_possible_truncation, reason = "clamped")]
            let power = power as i32 + from.exponent - to.exponent;
            let scale = |x: f64| libm::scalbn(x * part, power);
            let ln = delta + f64::from(from.exponent - to.exponent) * LN_2;
            self.moments.rescale(scale, ln, self.rest);
            self.rest = scale(self.rest);
        }
        self.reference = Some(to);
    }

    /// The fold inside a level: the kernel's body.
    #[inline(always)]
    pub(crate) fn fold_at<S: Simd, E: Element>(&mut self, s: S, tile: &[E], first_column: u32) {
        let hole = self
            .target
            .and_then(|target| target.checked_sub(first_column))
            .and_then(|hole| usize::try_from(hole).ok())
            .filter(|&hole| hole < tile.len());
        if let Some(x) = hole.and_then(|hole| tile.get(hole)) {
            self.target_value = Some(value_of(s, self.transform, x.to_f32()));
        }
        let mut blocks = Blocks { tile, hole, at: 0 };
        let mut overflowed = false;
        while let Some(block) = blocks.block() {
            // A block whose maximum is far above the reference is done again relative to itself,
            // where nothing overflows; one without a number is left out.
            let known = if overflowed { None } else { self.reference };
            let reference = if known.is_some() { known } else { self.start(s, &block) };
            let Some(reference) = reference else {
                blocks.at += BLOCK;
                overflowed = false;
                continue;
            };
            overflowed = if self.transform.is_none() && reference.shift.to_bits() == 0 {
                self.sum_blocks::<S, E, true>(s, &mut blocks, first_column, reference)
            } else {
                self.sum_blocks::<S, E, false>(s, &mut blocks, first_column, reference)
            };
        }
        self.columns += tile.len() as u64;
    }

    /// Chooses the reference from a block: `None` if it is all masked, or not numbers (then the sum
    /// has become NaN, for good). The target may lead: what then vanishes is below 2^−126 of it.
    #[inline(always)]
    fn start<S: Simd, E: Element>(&mut self, s: S, block: &Block<'_, E>) -> Option<Reference> {
        let values = Values::new(s, self.transform, 0.0);
        let mut top = s.splat(f32::NEG_INFINITY);
        let mut patch = [[E::NEG_INFINITY; LANES]; QUAD];
        for q in 0..block.quads() {
            for chunk in block.unmasked(q, &mut patch, E::NEG_INFINITY) {
                top = s.max(top, values.value(s, E::load(s, chunk)));
            }
        }
        let top = largest(s, top);
        if top == f32::INFINITY || (top == f32::NEG_INFINITY && block.has_nan()) {
            self.rest = f64::NAN;
            return None;
        }
        if top == f32::NEG_INFINITY {
            return None;
        }
        self.rebase(Reference::at(top, self.transform.factor()));
        self.reference
    }

    /// Adds blocks to the sums until one overflows the reference; whether one did.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "constants are rounded to f32 lanes")]
    fn sum_blocks<S: Simd, E: Element, const UNIT: bool>(
        &mut self,
        s: S,
        blocks: &mut Blocks<'_, E>,
        first_column: u32,
        reference: Reference,
    ) -> bool {
        let factor = if UNIT { 1.0 } else { self.transform.factor() };
        let exp = Exp::new(s, factor, reference.exponent);
        let values = Values::new(s, self.transform, reference.shift);
        let ceiling = f64::from(reference.exponent + HEADROOM) * LN_2 / factor;
        let ceiling = s.splat((f64::from(reference.shift) + ceiling) as f32);
        let middle = (f64::from(reference.exponent) * LN_2 / factor) as f32;
        // From the distance to `middle` to the distance to the reference.
        let correction = factor * f64::from(middle) - f64::from(reference.exponent) * LN_2;
        while let Some(block) = blocks.block() {
            let sums = sum_block::<S, E, D, UNIT>(s, &block, &exp, &values, s.splat(middle));
            if s.any_gt(sums.top, ceiling) {
                return true;
            }
            let rest = s.sum_f64(sums.scales, sums.mantissas);
            self.rest += rest;
            if D::ON {
                let zero = s.splat(0.0);
                let top = largest(s, sums.top);
                self.moments.add(BlockMoments {
                    about: factor * s.sum_f64(sums.about, zero) + correction * rest,
                    squares: s.sum_f64(sums.squares, zero),
                    total: s.sum_f64(sums.total, zero),
                    top,
                    top_column: || {
                        first_column
                            .saturating_add(low_u32(blocks.at))
                            .saturating_add(low_u32(block.position(s, &values, top)))
                    },
                });
            }
            blocks.at += BLOCK;
        }
        false
    }
}

/// Columns are counted in u32, as target ids are.
fn low_u32(x: usize) -> u32 {
    u32::try_from(x).unwrap_or(u32::MAX)
}

/// One block's sums per lane, relative to a reference.
struct BlockSums<F> {
    scales: F,
    mantissas: F,
    /// The largest value, the target's left out.
    top: F,
    /// Σ term · (d − middle)
    about: F,
    /// Σ term²
    squares: F,
    /// Σ v of all columns, the target's too
    total: F,
}

/// The loop.
#[inline(always)]
fn sum_block<S: Simd, E: Element, D: Extra, const UNIT: bool>(
    s: S,
    block: &Block<'_, E>,
    exp: &Exp<S>,
    values: &Values<S>,
    middle: S::F,
) -> BlockSums<S::F> {
    let zero = s.splat(0.0);
    let mut sums = BlockSums {
        scales: zero,
        mantissas: zero,
        top: s.splat(f32::NEG_INFINITY),
        about: zero,
        squares: zero,
        total: zero,
    };
    let mut patch = [[E::NEG_INFINITY; LANES]; QUAD];
    for q in 0..block.quads() {
        let (mut scales, mut mantissas) = (zero, zero);
        for chunk in block.masked(q, &mut patch) {
            let x = E::load(s, chunk);
            let v = if UNIT { x } else { values.value(s, x) };
            let d = if UNIT { x } else { s.sub(v, values.shift) };
            sums.top = s.max(sums.top, v);
            let (scale, w) = exp.eval::<UNIT>(s, d);
            scales = s.add(scales, scale);
            mantissas = s.mul_add(w, scale, mantissas);
            if D::ON {
                let term = s.mul_add(w, scale, scale);
                let distance = s.sub(exp.bounded(s, d), middle);
                sums.about = s.mul_add(term, distance, sums.about);
                sums.squares = s.mul_add(term, term, sums.squares);
            }
        }
        let sum = s.add(sums.scales, scales);
        // What the addition rounded away, exactly unless the quad outweighs the sum.
        let lost = s.sub(scales, s.sub(sum, sums.scales));
        sums.scales = sum;
        sums.mantissas = s.add(sums.mantissas, s.add(mantissas, lost));
        if D::ON {
            for chunk in block.unmasked(q, &mut patch, E::ZERO) {
                let x = E::load(s, chunk);
                sums.total = s.add(sums.total, if UNIT { x } else { values.value(s, x) });
            }
        }
    }
    sums
}

/// The largest lane, NaN left out. In halves: sixteen dependent comparisons would cost a short row more
/// than its logits.
#[inline(always)]
fn largest<S: Simd>(s: S, a: S::F) -> f32 {
    // `f32::max` prefers numbers to NaN.
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = s.to_array(a);
    let (a, b, c, d) = (a.max(i), b.max(j), c.max(k), d.max(l));
    let (e, f, g, h) = (e.max(m), f.max(n), g.max(o), h.max(p));
    let top = (a.max(e).max(c.max(g))).max(b.max(f).max(d.max(h)));
    if top.is_nan() { f32::NEG_INFINITY } else { top }
}

/// From elements to the values v that the exponential takes: y = k·v.
pub(crate) struct Values<S: Simd> {
    pub(crate) inner: Option<S::F>,
    pub(crate) shift: S::F,
}

impl<S: Simd> Values<S> {
    #[inline(always)]
    pub(crate) fn new(s: S, transform: Transform, shift: f32) -> Self {
        let mut values = Self { inner: None, shift: s.splat(shift) };
        // Not `map`: closures do not take part in a level's instructions.
        if let Some(inner) = transform.inner() {
            values.inner = Some(s.splat(inner));
        }
        values
    }

    /// tanh(inner·x) or x; infinities stay what they are under a softcap too.
    #[inline(always)]
    pub(crate) fn value(&self, s: S, x: S::F) -> S::F {
        match self.inner {
            None => x,
            Some(inner) => {
                let capped = tanh(s, s.mul(x, inner));
                let low = s.select_lt(x, s.splat(f32::MIN), x, capped);
                s.select_lt(s.splat(f32::MAX), x, x, low)
            }
        }
    }
}

/// The value of one element, through the same lanes as its row.
#[inline(always)]
fn value_of<S: Simd>(s: S, transform: Transform, x: f32) -> f32 {
    let values = Values::new(s, transform, 0.0);
    let [v, ..] = s.to_array(values.value(s, s.splat(x)));
    v
}

/// A tile's blocks, one at a time, and where its target is.
struct Blocks<'a, E> {
    tile: &'a [E],
    hole: Option<usize>,
    at: usize,
}

impl<'a, E: Element> Blocks<'a, E> {
    #[inline(always)]
    fn block(&self) -> Option<Block<'a, E>> {
        let rest = self.tile.get(self.at..).filter(|rest| !rest.is_empty())?;
        let elements = rest.get(..BLOCK).unwrap_or(rest);
        let hole = self.hole.and_then(|hole| hole.checked_sub(self.at)).unwrap_or(usize::MAX);
        Some(Block { elements, hole })
    }
}

/// Up to [`BLOCK`] columns, and which of them is the target's.
struct Block<'a, E> {
    elements: &'a [E],
    hole: usize,
}

impl<E: Element> Block<'_, E> {
    #[inline(always)]
    fn quads(&self) -> usize {
        self.elements.len().div_ceil(QUAD * LANES)
    }

    /// Quad q with the target's column and what lies past the end masked, in `patch` if need be.
    #[inline(always)]
    fn masked<'a>(&'a self, q: usize, patch: &'a mut Quad<E>) -> &'a Quad<E> {
        let (quads, _) = self.elements.as_chunks::<LANES>().0.as_chunks::<QUAD>();
        match quads.get(q) {
            Some(quad) if self.hole / (QUAD * LANES) != q => quad,
            _ => {
                let patch = self.copied(q, patch, E::NEG_INFINITY);
                if self.hole / (QUAD * LANES) == q
                    && let Some(x) = patch.as_flattened_mut().get_mut(self.hole % (QUAD * LANES))
                {
                    *x = E::NEG_INFINITY;
                }
                patch
            }
        }
    }

    /// Quad q as it is, filled up.
    #[inline(always)]
    fn unmasked<'a>(&'a self, q: usize, patch: &'a mut Quad<E>, fill: E) -> &'a Quad<E> {
        let (quads, _) = self.elements.as_chunks::<LANES>().0.as_chunks::<QUAD>();
        match quads.get(q) {
            Some(quad) => quad,
            None => self.copied(q, patch, fill),
        }
    }

    /// A copy of quad q, filled up with `fill`.
    #[inline(always)]
    fn copied<'a>(&self, q: usize, patch: &'a mut Quad<E>, fill: E) -> &'a mut Quad<E> {
        let (quads, rest) = self.elements.as_chunks::<LANES>().0.as_chunks::<QUAD>();
        if let Some(quad) = quads.get(q) {
            *patch = *quad;
        } else {
            *patch = [[fill; LANES]; QUAD];
            let (_, tail) = self.elements.as_chunks::<LANES>();
            for (to, from) in patch.iter_mut().zip(rest) {
                *to = *from;
            }
            if let Some(to) = patch.get_mut(rest.len()) {
                for (to, &from) in to.iter_mut().zip(tail) {
                    *to = from;
                }
            }
        }
        patch
    }

    /// The first column whose value is at least `top`, the target's left out.
    #[inline(always)]
    fn position<S: Simd>(&self, s: S, values: &Values<S>, top: f32) -> usize {
        let mut patch = [[E::NEG_INFINITY; LANES]; QUAD];
        for q in 0..self.quads() {
            for (i, chunk) in self.masked(q, &mut patch).iter().enumerate() {
                let lanes = s.to_array(values.value(s, E::load(s, chunk)));
                if let Some(lane) = lanes.iter().position(|&v| v >= top) {
                    return (q * QUAD + i) * LANES + lane;
                }
            }
        }
        usize::MAX
    }

    /// Asked only of blocks without a number.
    #[cold]
    #[inline(never)]
    fn has_nan(&self) -> bool {
        self.elements.iter().any(|x| x.to_f32().is_nan())
    }
}

struct FoldTile<'a, E, D> {
    stats: &'a mut RowStats<D>,
    tile: &'a [E],
    first_column: u32,
}

impl<E: Element, D: Extra> Kernel for FoldTile<'_, E, D> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.stats.fold_at(s, self.tile, self.first_column);
    }
}
