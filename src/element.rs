//! Storage of logits and gradients: f32, f16, bf16. Arithmetic is never done in 16 bits.

use crate::simd::{Dispatch, LANES, Simd};
use half::{bf16, f16};

/// An element type that logits and their gradients can be stored in.
///
/// Sealed: `f32`, [`struct@f16`] and [`bf16`]. Reading widens exactly; writing rounds once, to
/// nearest with ties to even.
pub trait Element: Copy + Send + Sync + private::Sealed + 'static + GradElement<Self> {
    /// −inf, the value of masked vocabulary.
    const NEG_INFINITY: Self;
    /// Zero.
    const ZERO: Self;
    /// The lowest finite value that hosts mask with: −65504 of f16, −3.39e38 of the others.
    const LOWEST: f32;

    /// The value, exactly.
    fn to_f32(self) -> f32;
    /// The nearest value of this type, ties to even.
    fn from_f32(x: f32) -> Self;
}

/// A job that is compiled once for each element type, here. A generic function would be compiled in
/// every crate that calls it, again after each edit; one that goes through [`per_type!`] is linked.
///
/// The dispatch is an argument of its own: in a program that has one alone the linker's optimiser
/// sees it in a register, and drops the kernels of all others.
pub trait PerType {
    /// What it is given.
    type Of<E: Element>;
    /// What it returns.
    type Output;
    /// The job on f32.
    fn f32(dispatch: Dispatch, of: Self::Of<f32>) -> Self::Output;
    /// The job on f16.
    fn f16(dispatch: Dispatch, of: Self::Of<f16>) -> Self::Output;
    /// The job on bf16.
    fn bf16(dispatch: Dispatch, of: Self::Of<bf16>) -> Self::Output;
}

/// Types that gradients of logits of `E` may be stored as: `E` itself, and f32. Sealed.
pub trait GradElement<E>: private::Stores<E> {}

impl<E: Element> GradElement<E> for f32 {}
impl GradElement<Self> for f16 {}
impl GradElement<Self> for bf16 {}

/// A job that is one function for each pair of types that a backward may have, as [`PerType`].
pub trait PerPair<E: Element> {
    /// What it is given.
    type Of<O: Element + GradElement<E>>;
    /// The job where gradients are of the logits' type.
    fn same(dispatch: Dispatch, of: Self::Of<E>);
    /// The job where they are f32.
    fn wider(dispatch: Dispatch, of: Self::Of<f32>);
}

pub(crate) use private::Stores;

/// Makes a [`PerType`] of a generic function: `per_type!(Job, E, argument => result, function)`.
macro_rules! per_type {
    ($job:ty, $e:ident, $of:ty => $output:ty, $function:path) => {
        impl<'a> $crate::element::PerType for $job {
            type Of<$e: $crate::Element> = $of;
            type Output = $output;

            #[inline(never)]
            fn f32(dispatch: $crate::Dispatch, of: Self::Of<f32>) -> $output {
                $function(dispatch, of)
            }

            #[inline(never)]
            fn f16(dispatch: $crate::Dispatch, of: Self::Of<$crate::f16>) -> $output {
                $function(dispatch, of)
            }

            #[inline(never)]
            fn bf16(dispatch: $crate::Dispatch, of: Self::Of<$crate::bf16>) -> $output {
                $function(dispatch, of)
            }
        }
    };
}
pub(crate) use per_type;

mod private {
    use super::{Dispatch, Element, GradElement, LANES, PerPair, PerType, Simd, bf16, f16};

    /// The working side of `GradElement`, out of reach of other crates.
    pub trait Stores<E>: Sized {
        /// Calls the function of a job that is compiled for both types.
        fn call_pair<J: PerPair<E>>(dispatch: Dispatch, of: J::Of<Self>)
        where
            E: Element,
            Self: Element + GradElement<E>;
        /// A vector of logits, in the order of lanes that `store_grads` takes.
        fn load_logits<S: Simd>(s: S, x: &[E; LANES]) -> S::F;
        fn store_grads<S: Simd>(s: S, a: S::F, out: &mut [Self; LANES]);
    }

    impl<E: Element> Stores<E> for f32 {
        #[inline(always)]
        fn call_pair<J: PerPair<E>>(dispatch: Dispatch, of: J::Of<Self>) {
            J::wider(dispatch, of);
        }

        #[inline(always)]
        fn load_logits<S: Simd>(s: S, x: &[E; LANES]) -> S::F {
            E::load(s, x)
        }

        #[inline(always)]
        fn store_grads<S: Simd>(s: S, a: S::F, out: &mut [Self; LANES]) {
            s.store_f32(a, out);
        }
    }

    macro_rules! stores_itself {
        ($($t:ty)*) => {
            $(
                impl Stores<$t> for $t {
                    #[inline(always)]
                    fn call_pair<J: PerPair<$t>>(dispatch: Dispatch, of: J::Of<$t>) {
                        J::same(dispatch, of);
                    }

                    #[inline(always)]
                    fn load_logits<S: Simd>(s: S, x: &[$t; LANES]) -> S::F {
                        Self::load_mixed(s, x)
                    }

                    #[inline(always)]
                    fn store_grads<S: Simd>(s: S, a: S::F, out: &mut [$t; LANES]) {
                        Self::store_mixed(s, a, out);
                    }
                }
            )*
        };
    }
    stores_itself!(f16 bf16);

    /// The working side of `Element`, out of reach of other crates.
    pub trait Sealed: Sized {
        /// Calls the function of a job that is compiled for this type.
        fn call<J: PerType>(dispatch: Dispatch, of: J::Of<Self>) -> J::Output
        where
            Self: Element;
        fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::F;
        fn store<S: Simd>(s: S, a: S::F, out: &mut [Self; LANES]);
        /// Numbers of this type as f32, if that is what they are.
        fn as_f32s(numbers: &mut [Self]) -> Option<&mut [f32]>;
        /// As `load`, in the order of lanes that is cheapest for this type.
        #[inline(always)]
        fn load_mixed<S: Simd>(s: S, x: &[Self; LANES]) -> S::F {
            Self::load(s, x)
        }
        /// As `store`, of lanes in the order of `load_mixed`. NaN come from elements of this type,
        /// or from arithmetic.
        #[inline(always)]
        fn store_mixed<S: Simd>(s: S, a: S::F, out: &mut [Self; LANES]) {
            Self::store(s, a, out);
        }
        /// Σ (a + b), of lanes in the order of `load_mixed`.
        #[inline(always)]
        fn sum_mixed<S: Simd>(s: S, a: &S::Lanes, b: &S::Lanes) -> f64 {
            s.sum_f64(a, b)
        }
    }
}

macro_rules! element {
    ($t:ty, $job:ident, $load:ident, $store:ident $(+ $load_mixed:ident, $store_mixed:ident, $sum_mixed:ident)?, $neg_inf:expr, $zero:expr, $lowest:expr, $to:expr, $from:expr, $as_f32s:expr) => {
        impl Element for $t {
            const NEG_INFINITY: Self = $neg_inf;
            const ZERO: Self = $zero;
            const LOWEST: f32 = $lowest;

            #[inline]
            fn to_f32(self) -> f32 {
                $to(self)
            }

            #[inline]
            fn from_f32(x: f32) -> Self {
                $from(x)
            }
        }

        impl private::Sealed for $t {
            #[inline(always)]
            fn call<J: PerType>(dispatch: Dispatch, of: J::Of<Self>) -> J::Output {
                J::$job(dispatch, of)
            }

            #[inline(always)]
            fn as_f32s(numbers: &mut [Self]) -> Option<&mut [f32]> {
                $as_f32s(numbers)
            }

            #[inline(always)]
            fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::F {
                s.$load(x)
            }

            #[inline(always)]
            fn store<S: Simd>(s: S, a: S::F, out: &mut [Self; LANES]) {
                s.$store(a, out);
            }

            $(
                #[inline(always)]
                fn load_mixed<S: Simd>(s: S, x: &[Self; LANES]) -> S::F {
                    s.$load_mixed(x)
                }

                #[inline(always)]
                fn store_mixed<S: Simd>(s: S, a: S::F, out: &mut [Self; LANES]) {
                    s.$store_mixed(a, out);
                }

                #[inline(always)]
                fn sum_mixed<S: Simd>(s: S, a: &S::Lanes, b: &S::Lanes) -> f64 {
                    s.$sum_mixed(a, b)
                }
            )?
        }
    };
}

/// bf16's, which is above that of f32: logits are often widened after they were masked.
const LOWEST: f32 = f32::from_bits(0xff7f_0000);

element!(f32, f32, load_f32, store_f32, f32::NEG_INFINITY, 0.0, LOWEST, |x| x, |x| x, Some);
element!(
    f16,
    f16,
    load_f16,
    store_f16,
    f16::NEG_INFINITY,
    f16::ZERO,
    -65504.0,
    f16::to_f32,
    f16::from_f32,
    |_| None
);
element!(
    bf16,
    bf16,
    load_bf16,
    store_bf16 + load_bf16_mixed,
    store_bf16_mixed,
    sum_bf16_mixed,
    bf16::NEG_INFINITY,
    bf16::ZERO,
    LOWEST,
    bf16::to_f32,
    bf16::from_f32,
    |_| None
);
