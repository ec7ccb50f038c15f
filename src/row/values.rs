//! From elements x to the values v of which the logits are multiples: y = k·v.

use crate::Transform;
use crate::simd::Simd;
use crate::simd::tanh::tanh;

/// The constants of v = tanh(inner·x), or v = x, in every lane; and the shift of the row's base.
pub(crate) struct Values<S: Simd> {
    pub(crate) inner: Option<S::F>,
    pub(crate) shift: S::F,
}

impl<S: Simd> Values<S> {
    #[inline(always)]
    pub(crate) fn new(s: S, transform: Transform, shift: f32) -> Self {
        let mut values = Self { inner: None, shift: s.splat(shift) };
        // Not `map`: a closure is not compiled for the level's instructions.
        if let Some(inner) = transform.inner() {
            values.inner = Some(s.splat(inner));
        }
        values
    }

    /// tanh(inner·x) or x.
    #[inline(always)]
    pub(crate) fn value(&self, s: S, x: S::F) -> S::F {
        match self.inner {
            None => x,
            Some(inner) if S::SMALL => capped_out_of_line(s, x, inner),
            Some(inner) => capped(s, x, inner),
        }
    }
}

/// `capped`, not inlined: where code is scarce its callers share one copy.
#[inline(never)]
fn capped_out_of_line<S: Simd>(s: S, x: S::F, inner: S::F) -> S::F {
    capped(s, x, inner)
}

/// tanh(inner·x); infinities stay what they are.
#[inline(always)]
fn capped<S: Simd>(s: S, x: S::F, inner: S::F) -> S::F {
    let capped = tanh(s, s.mul(x, inner));
    let low = s.select_lt(x, s.splat(f32::MIN), x, capped);
    s.select_lt(s.splat(f32::MAX), x, x, low)
}

/// The value of one element, by the same instructions as those of its row: the same bits.
#[inline(always)]
pub(super) fn value_of<S: Simd>(s: S, transform: Transform, x: f32) -> f32 {
    let values = Values::new(s, transform, 0.0);
    s.first(values.value(s, s.splat(x)))
}
