//! Storage of logits and gradients: f32, f16, bf16. Arithmetic is never done in 16 bits.

use crate::simd::{Dispatch, LANES, Simd};
use half::{bf16, f16};

/// An element type that logits and their gradients can be stored in.
///
/// Sealed: `f32`, [`struct@f16`] and [`bf16`]. Reading widens exactly; writing rounds once, to
/// nearest with ties to even.
pub trait Element: Copy + Send + Sync + private::Sealed + 'static {
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
    use super::{Dispatch, Element, LANES, PerType, Simd, bf16, f16};

    /// The working side of `Element`, out of reach of other crates.
    pub trait Sealed: Sized {
        /// Calls the function of a job that is compiled for this type.
        fn call<J: PerType>(dispatch: Dispatch, of: J::Of<Self>) -> J::Output
        where
            Self: Element;
        /// The same elements, if they are f32, f16 or bf16.
        fn as_f32(_: &[Self]) -> Option<&[f32]> {
            None
        }
        fn as_f16(_: &[Self]) -> Option<&[f16]> {
            None
        }
        fn as_bf16(_: &[Self]) -> Option<&[bf16]> {
            None
        }
        fn as_f32_mut(_: &mut [Self]) -> Option<&mut [f32]> {
            None
        }
        /// The same elements, if they are of this type.
        fn same<E: Element>(x: &[E]) -> Option<&[Self]>;
        fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::F;
        fn store<S: Simd>(s: S, a: S::F, out: &mut [Self; LANES]);
    }
}

macro_rules! element {
    ($t:ty, $job:ident, $same:ident $(+ $same_mut:ident)?, $load:ident, $store:ident, $neg_inf:expr, $zero:expr, $lowest:expr, $to:expr, $from:expr) => {
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
            fn $same(x: &[Self]) -> Option<&[Self]> {
                Some(x)
            }

            #[inline(always)]
            fn same<E: Element>(x: &[E]) -> Option<&[Self]> {
                E::$same(x)
            }

            $(
                #[inline(always)]
                fn $same_mut(x: &mut [Self]) -> Option<&mut [Self]> {
                    Some(x)
                }
            )?

            #[inline(always)]
            fn load<S: Simd>(s: S, x: &[Self; LANES]) -> S::F {
                s.$load(x)
            }

            #[inline(always)]
            fn store<S: Simd>(s: S, a: S::F, out: &mut [Self; LANES]) {
                s.$store(a, out);
            }
        }
    };
}

/// bf16's, which is above that of f32: logits are often widened after they were masked.
const LOWEST: f32 = f32::from_bits(0xff7f_0000);

element!(
    f32,
    f32,
    as_f32 + as_f32_mut,
    load_f32,
    store_f32,
    f32::NEG_INFINITY,
    0.0,
    LOWEST,
    |x| x,
    |x| x
);
element!(
    f16,
    f16,
    as_f16,
    load_f16,
    store_f16,
    f16::NEG_INFINITY,
    f16::ZERO,
    -65504.0,
    f16::to_f32,
    f16::from_f32
);
element!(
    bf16,
    bf16,
    as_bf16,
    load_bf16,
    store_bf16,
    bf16::NEG_INFINITY,
    bf16::ZERO,
    LOWEST,
    bf16::to_f32,
    bf16::from_f32
);
