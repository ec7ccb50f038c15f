//! From elements x to the values v of which the logits are multiples under a softcap, y = k·v.

use crate::simd::softcap::capped;
use crate::simd::{Kernel, LANES, Simd};
use crate::{Dispatch, Element, Transform};

/// Writes v = tanh(inner·x) of as many elements as both have, for a loop that exists for f32 alone.
pub(super) fn cap<E: Element>(
    dispatch: Dispatch,
    from: &[E],
    transform: Transform,
    to: &mut [f32],
) {
    if let Some(softcap) = transform.softcap() {
        dispatch.run(Cap { from, inner: softcap.inner, to });
    }
}

/// As many elements as both have.
pub(crate) fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from;
    }
}

struct Cap<'a, E> {
    from: &'a [E],
    inner: f32,
    to: &'a mut [f32],
}

impl<E: Element> Kernel for Cap<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (from, rest) = self.from.as_chunks::<LANES>();
        let (to, rest_to) = self.to.as_chunks_mut::<LANES>();
        // The last elements, which do not fill a vector, go through one that does.
        let (mut last, mut last_to) = ([E::ZERO; LANES], [0.0; LANES]);
        copy(rest, &mut last);
        for i in 0..from.len() + usize::from(!rest.is_empty()) {
            let (from, to) = (from.get(i).unwrap_or(&last), to.get_mut(i).unwrap_or(&mut last_to));
            for s in s.parts() {
                let v = capped(s, E::load(s, from), s.splat(self.inner));
                s.store_f32(v, to);
            }
        }
        copy(&last_to, rest_to);
    }
}
