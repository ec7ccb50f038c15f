//! Numbers that plain loops compute in: f64, f32, and 16-bit ones, each operation rounded.

use std::marker::PhantomData;
use std::ops::{Add, Div, Mul, Sub};

use dpo_kernel::{Element, bf16, f16};

pub trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + 'static
{
    fn of(x: f64) -> Self;
    fn wide(self) -> f64;

    fn zero() -> Self {
        Self::of(0.0)
    }

    fn one() -> Self {
        Self::of(1.0)
    }

    fn lowest() -> Self {
        Self::of(f64::NEG_INFINITY)
    }

    fn exp(self) -> Self {
        Self::of(self.wide().exp())
    }

    fn exp2(self) -> Self {
        Self::of(self.wide().exp2())
    }

    fn ln(self) -> Self {
        Self::of(self.wide().ln())
    }

    fn ln_1p(self) -> Self {
        Self::of(self.wide().ln_1p())
    }

    fn tanh(self) -> Self {
        Self::of(self.wide().tanh())
    }

    fn abs(self) -> Self {
        Self::of(self.wide().abs())
    }

    /// As GPUs have it: NaN is left out.
    fn max(self, other: Self) -> Self {
        if other > self { other } else { self }
    }

    fn neg(self) -> Self {
        Self::zero() - self
    }
}

impl Real for f64 {
    fn of(x: f64) -> Self {
        x
    }

    fn wide(self) -> f64 {
        self
    }
}

/// The functions are those of the platform in f32, not rounded ones of f64.
impl Real for f32 {
    fn of(x: f64) -> Self {
        x as Self
    }

    fn wide(self) -> f64 {
        self.into()
    }

    fn exp(self) -> Self {
        self.exp()
    }

    fn exp2(self) -> Self {
        self.exp2()
    }

    fn ln(self) -> Self {
        self.ln()
    }

    fn ln_1p(self) -> Self {
        self.ln_1p()
    }

    fn tanh(self) -> Self {
        self.tanh()
    }
}

/// Arithmetic in 16 bits: f32 has digits enough that its results round to the right ones.
pub struct Soft<T>(f32, PhantomData<T>);

impl<T> Clone for Soft<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Soft<T> {}

impl<T> PartialEq for Soft<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> PartialOrd for Soft<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.0.partial_cmp(&other.0)
    }
}

impl<T: Element> Soft<T> {
    fn rounded(x: f32) -> Self {
        Self(T::from_f32(x).to_f32(), PhantomData)
    }
}

macro_rules! operators {
    ($($operator:ident $function:ident $sign:tt),+) => {
        $(impl<T: Element> $operator for Soft<T> {
            type Output = Self;

            fn $function(self, other: Self) -> Self {
                Self::rounded(self.0 $sign other.0)
            }
        })+
    };
}

operators!(Add add +, Sub sub -, Mul mul *, Div div /);

macro_rules! soft {
    ($($t:ty),+) => {
        $(impl Real for Soft<$t> {
            fn of(x: f64) -> Self {
                Self::rounded(x as f32)
            }

            fn wide(self) -> f64 {
                self.0.into()
            }
        })+
    };
}

soft!(f16, bf16);
