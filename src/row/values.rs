//! From elements x to the values v of which the logits are multiples, y = k·v, and from f32 back to
//! storage: for loops that exist for f32 alone.

use crate::simd::tanh::tanh;
use crate::simd::{Kernel, LANES, Simd};
use crate::{Dispatch, Element};

/// Writes v = tanh(inner·x), or v = x without a softcap, of as many elements as both have.
pub(crate) fn widen<E: Element>(
    dispatch: Dispatch,
    from: &[E],
    inner: Option<f32>,
    to: &mut [f32],
) {
    match E::as_f32(from) {
        Some(from) if inner.is_none() => copy(from, to),
        _ => dispatch.run(Convert { from, inner, to }),
    }
}

/// Writes f32 in another type, rounded once: as many elements as both have.
pub(crate) fn narrow<O: Element>(dispatch: Dispatch, from: &[f32], to: &mut [O]) {
    dispatch.run(Convert { from, inner: None, to });
}

/// As many elements as both have.
pub(crate) fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from;
    }
}

/// tanh(inner·x), or x, in another type.
struct Convert<'a, E, O> {
    from: &'a [E],
    inner: Option<f32>,
    to: &'a mut [O],
}

impl<E: Element, O: Element> Kernel for Convert<'_, E, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (from, rest) = self.from.as_chunks::<LANES>();
        let (to, rest_to) = self.to.as_chunks_mut::<LANES>();
        // The last elements, which do not fill a vector, go through one that does.
        let (mut last, mut converted) = ([E::ZERO; LANES], [O::ZERO; LANES]);
        copy(rest, &mut last);
        for i in 0..from.len() + usize::from(!rest.is_empty()) {
            let (from, to) =
                (from.get(i).unwrap_or(&last), to.get_mut(i).unwrap_or(&mut converted));
            convert(s, from, self.inner, to);
        }
        copy(&converted, rest_to);
    }
}

#[inline(always)]
fn convert<S: Simd, E: Element, O: Element>(
    s: S,
    from: &[E; LANES],
    inner: Option<f32>,
    to: &mut [O; LANES],
) {
    for s in s.parts() {
        let x = E::load(s, from);
        let v = match inner {
            None => x,
            Some(inner) => capped(s, x, s.splat(inner)),
        };
        O::store(s, v, to);
    }
}

/// tanh(inner·x); infinities stay what they are.
#[inline(always)]
pub(crate) fn capped<S: Simd>(s: S, x: S::F, inner: S::F) -> S::F {
    let capped = tanh(s, s.mul(x, inner));
    let low = s.select_lt(x, s.splat(f32::MIN), x, capped);
    s.select_lt(s.splat(f32::MAX), x, x, low)
}
