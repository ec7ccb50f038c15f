//! The element types that candle and dpo-kernel share.

use bytemuck::Zeroable;
use candle_core::{DType, WithDType};
use dpo_kernel::{Element, Error, bf16, f16};
use half::vec::HalfBitsVecExt;

/// An element type of both.
pub(crate) trait Number: Element + WithDType {
    /// So many zeros, of pages that the system hands out zeroed: none is touched before it is
    /// written, which for the rows of a prompt is never.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]
    fn zeros(len: usize) -> Result<Vec<Self>, Error>;
}

impl Number for f32 {
    fn zeros(len: usize) -> Result<Vec<Self>, Error> {
        zeroed(len)
    }
}

// By their bits.
impl Number for f16 {
    fn zeros(len: usize) -> Result<Vec<Self>, Error> {
        zeroed::<u16>(len).map(HalfBitsVecExt::reinterpret_into)
    }
}

impl Number for bf16 {
    fn zeros(len: usize) -> Result<Vec<Self>, Error> {
        zeroed::<u16>(len).map(HalfBitsVecExt::reinterpret_into)
    }
}

fn zeroed<T: Zeroable>(len: usize) -> Result<Vec<T>, Error> {
    bytemuck::try_zeroed_vec(len).map_err(|()| Error::OutOfMemory { elements: len })
}

/// An empty buffer that so many elements fit into.
pub(crate) fn reserved<T>(len: usize) -> Result<Vec<T>, Error> {
    let mut buffer = Vec::new();
    match buffer.try_reserve_exact(len) {
        Ok(()) => Ok(buffer),
        Err(_) => Err(Error::OutOfMemory { elements: len }),
    }
}

/// A data type that a kernel exists for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float {
    F32,
    F16,
    BF16,
}

impl Float {
    pub(crate) const fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F32 => Some(Self::F32),
            DType::F16 => Some(Self::F16),
            DType::BF16 => Some(Self::BF16),
            _ => None,
        }
    }
}

/// Evaluates an expression with a type's name bound to what a [`Float`] stands for.
macro_rules! with_type {
    ($float:expr, $name:ident => $body:expr) => {
        match $float {
            $crate::number::Float::F32 => {
                type $name = f32;
                $body
            }
            $crate::number::Float::F16 => {
                type $name = ::dpo_kernel::f16;
                $body
            }
            $crate::number::Float::BF16 => {
                type $name = ::dpo_kernel::bf16;
                $body
            }
        }
    };
}
pub(crate) use with_type;
