//! The sixteen lanes at once, in as many registers as that takes.

use crate::simd::LANES;
pub(super) use wide::{f32x16 as Floats, u32x16 as Words};

/// Lanes of a part.
pub(super) const PART: usize = LANES;

/// All lanes.
#[derive(Clone, Copy)]
pub(super) struct Part;

#[allow(clippy::unused_self, reason = "the methods of a part that is not all lanes")]
impl Part {
    pub(super) const fn first() -> Self {
        Self
    }

    #[inline(always)]
    pub(super) fn load<T: Copy>(self, from: &[T; LANES], _none: T) -> [T; PART] {
        *from
    }

    #[inline(always)]
    pub(super) fn store<T>(self, xs: [T; PART], to: &mut [T; LANES]) {
        *to = xs;
    }
}

#[inline(always)]
pub(super) fn widen(x: [u16; PART]) -> Words {
    Words::new(x.map(u32::from))
}

#[inline(always)]
pub(super) fn widen_signed(x: [u16; PART]) -> Words {
    let mut extended = [0; PART];
    for (to, x) in extended.iter_mut().zip(x) {
        *to = i32::from(x.cast_signed()).cast_unsigned();
    }
    Words::new(extended)
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "keeps the low sixteen bits by intent")]
pub(super) fn low_halves(x: Words) -> [u16; PART] {
    let mut halves = [0; PART];
    for (to, x) in halves.iter_mut().zip(x.to_array()) {
        *to = x as u16;
    }
    halves
}

#[inline(always)]
pub(super) fn high_halves(x: Words) -> [u16; PART] {
    let mut halves = [0; PART];
    for (to, x) in halves.iter_mut().zip(x.to_array()) {
        *to = (x >> 16) as u16;
    }
    halves
}

#[inline(always)]
pub(super) fn largest(a: Floats) -> f32 {
    // By halves. Sixteen comparisons that wait for each other would cost a short row more than its
    // logits.
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = a.to_array();
    let (a, b, c, d) = (a.max(i), b.max(j), c.max(k), d.max(l));
    let (e, f, g, h) = (e.max(m), f.max(n), g.max(o), h.max(p));
    (a.max(e).max(c.max(g))).max(b.max(f).max(d.max(h)))
}

/// The methods of `Simd` about parts.
macro_rules! parts {
    () => {
        all_at_once!();

        #[inline(always)]
        fn sum_f64(self, a: &Floats, b: &Floats) -> f64 {
            sum_tree(a.to_array(), b.to_array())
        }
    };
}
