//! Why a call was refused.

use std::fmt;

use candle_core::{DType, DeviceLocation};

/// Which tensor an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operand {
    /// Of [`Logits::new`](crate::Logits::new).
    Logits,
    /// The hidden states of [`Head::new`](crate::Head::new).
    States,
    /// The weights of [`Head::new`](crate::Head::new).
    Weights,
    /// Of [`Head::with_bias`](crate::Head::with_bias).
    Bias,
    /// `lora_A` of [`Head::with_adapter`](crate::Head::with_adapter).
    AdapterA,
    /// `lora_B` of [`Head::with_adapter`](crate::Head::with_adapter).
    AdapterB,
}

impl Operand {
    /// The types that it may have.
    const fn dtypes(self) -> &'static str {
        match self {
            Self::Logits | Self::States | Self::Weights => "f32, f16 or bf16",
            Self::Bias | Self::AdapterA | Self::AdapterB => "f32",
        }
    }

    /// Whether a kernel exists for it only in f32.
    pub(crate) const fn is_single(self) -> bool {
        matches!(self, Self::Bias | Self::AdapterA | Self::AdapterB)
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logits => "logits",
            Self::States => "hidden states",
            Self::Weights => "head weights",
            Self::Bias => "head bias",
            Self::AdapterA => "adapter's A",
            Self::AdapterB => "adapter's B",
        })
    }
}

/// Why a call was refused, or which rows or pairs are not numbers. On any error no gradient exists.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// What dpo-kernel says: of targets, spans, pairs, reference, loss, and of rows or pairs that
    /// are not finite.
    Kernel(dpo_kernel::Error),
    /// What candle says.
    Candle(candle_core::Error),
    /// A tensor that is not on the CPU.
    Device {
        /// Which.
        operand: Operand,
        /// Where it is.
        found: DeviceLocation,
    },
    /// A tensor of a type that no kernel exists for.
    DType {
        /// Which.
        operand: Operand,
        /// Its type.
        found: DType,
    },
    /// A tensor whose rows are not contiguous, or lie at no constant distance that is at least
    /// their length.
    Strides {
        /// Which.
        operand: Operand,
        /// Its shape.
        dims: Vec<usize>,
        /// Its strides, in elements.
        strides: Vec<usize>,
    },
    /// A tensor of a shape that does not fit the others.
    Shape {
        /// Which.
        operand: Operand,
        /// What was due: letters for what is free, numbers for what the other tensors say.
        expected: String,
        /// Its shape.
        found: Vec<usize>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => error.fmt(f),
            Self::Candle(error) => error.fmt(f),
            Self::Device { operand, found } => write!(
                f,
                "{operand} on {found:?}, where only the CPU is computed on: move them with \
                 `to_device(&Device::Cpu)`, and the gradient goes back the same way"
            ),
            Self::DType { operand, found } => write!(
                f,
                "{operand} of {found:?}, where {} is due: convert them with `to_dtype`, and the \
                 gradient goes back the same way",
                operand.dtypes()
            ),
            Self::Strides { operand, dims, strides } => write!(
                f,
                "{operand} of shape {dims:?} and strides {strides:?}, whose rows are not contiguous \
                 or not at one distance: copy them with `contiguous()`"
            ),
            Self::Shape { operand, expected, found } => {
                write!(f, "{operand} of shape {found:?}, where {expected} is due")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Kernel(error) => Some(error),
            Self::Candle(error) => Some(error),
            _ => None,
        }
    }
}

impl From<dpo_kernel::Error> for Error {
    fn from(error: dpo_kernel::Error) -> Self {
        Self::Kernel(error)
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Candle(error)
    }
}

/// For functions that return candle's `Result`.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            error => Self::wrap(error),
        }
    }
}
