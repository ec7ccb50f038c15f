//! What a softcap makes of an element x: the value v = tanh(inner·x), of which the logit is a
//! multiple, and the slope of v relative to its largest.

use super::baseline;
use super::tanh::{tanh, tanh_slope};
use super::{Kernel, SHORT_LOOPS, Simd};

/// tanh(inner·x); infinities stay what they are.
#[inline(always)]
pub(crate) fn capped<S: Simd>(s: S, x: S::F, inner: S::F) -> S::F {
    let capped = tanh(s, s.mul(x, inner));
    let low = s.select_lt(x, s.splat(f32::MIN), x, capped);
    s.select_lt(s.splat(f32::MAX), x, x, low)
}

/// dv/dx, 1 at most.
#[inline(always)]
pub(crate) fn slope<S: Simd>(s: S, x: S::F, inner: S::F) -> S::F {
    tanh_slope(s, s.mul(x, inner))
}

/// A softcap: its factor on x and, where code is scarce, its functions.
///
/// Loops over one lane call them here, so that only a program that makes a softcap links them.
/// Other loops have them inlined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Softcap {
    pub(crate) inner: f32,
    functions: [&'static Functions; if SHORT_LOOPS { 0 } else { 1 }],
}

/// [`capped`] and [`slope`] of one element, in fused arithmetic or not.
#[derive(Debug)]
struct Functions {
    value: fn(bool, f32, f32) -> f32,
    slope: fn(bool, f32, f32) -> f32,
}

/// There is one table.
impl PartialEq for Functions {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Softcap {
    pub(crate) const fn new(inner: f32) -> Self {
        const TABLE: &Functions = &Functions { value: value_alone, slope: slope_alone };
        Self { inner, functions: [TABLE; if SHORT_LOOPS { 0 } else { 1 }] }
    }

    /// The value of one element, where code is scarce.
    pub(crate) fn value_alone(self, fused: bool, x: f32) -> f32 {
        self.functions.first().map_or(x, |functions| (functions.value)(fused, x, self.inner))
    }

    /// The slope at one element, where code is scarce.
    pub(crate) fn slope_alone(self, fused: bool, x: f32) -> f32 {
        self.functions.first().map_or(1.0, |functions| (functions.slope)(fused, x, self.inner))
    }
}

fn value_alone(fused: bool, x: f32, inner: f32) -> f32 {
    struct Value(f32, f32);

    impl Kernel for Value {
        type Output = f32;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            s.first(capped(s, s.splat(self.0), s.splat(self.1)))
        }
    }
    alone(fused, Value(x, inner))
}

fn slope_alone(fused: bool, x: f32, inner: f32) -> f32 {
    struct Slope(f32, f32);

    impl Kernel for Slope {
        type Output = f32;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            s.first(slope(s, s.splat(self.0), s.splat(self.1)))
        }
    }
    alone(fused, Slope(x, inner))
}

fn alone<K: Kernel>(fused: bool, kernel: K) -> K::Output {
    if fused && baseline::HAS_FMA {
        baseline::run::<true, K>(kernel)
    } else {
        baseline::run::<false, K>(kernel)
    }
}
