//! What a step starts from.

use dpo_kernel::head::{HeadRow, HeadScratch};
use dpo_kernel::step::StepSummary;
use dpo_kernel::{Executor, Layout};

use crate::error::Error;
use crate::node::Grad;
use crate::stages::{Reading, Stages};

/// What a step starts from: [`Logits`](crate::Logits), or a [`Head`](crate::Head). Sealed.
pub trait Input: Copy + private::Source {}

pub(crate) mod private {
    use super::{Error, Executor, Found, Layout, Reading, Room, Stages};

    /// The working side of `Input`, out of reach of other crates.
    #[allow(private_interfaces, private_bounds, reason = "sealed")]
    pub trait Source {
        /// Whether candle asks for a gradient by any of its tensors.
        fn is_tracked(&self) -> bool;

        /// What needs no gradient.
        fn read<X: Executor, R: Reading>(
            &self,
            executor: X,
            layout: &Layout<'_>,
            reading: R,
            room: &mut Room,
        ) -> Result<R::Found, Error>;

        /// The step, and a gradient for each tensor that candle asks for.
        fn step<X: Executor, S: Stages>(
            &self,
            executor: X,
            layout: &Layout<'_>,
            stages: S,
            room: &mut Room,
        ) -> Result<Found<S::Sums>, Error>;
    }
}

/// What a step has found.
pub(crate) type Found<S> = (StepSummary<S>, Vec<Grad>);

/// The memory that a head works in; it only grows.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) memory: Memory,
    /// u of an adapter, R × r
    pub(crate) projected: Vec<f32>,
    /// Gradients of hidden states that are no tensor as they are.
    pub(crate) hidden: Vec<f32>,
}

/// Scratch of the products.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    rows: Vec<HeadRow>,
    numbers: Vec<f32>,
}

impl Memory {
    /// For so many rows at once, and so many numbers.
    pub(crate) fn scratch(
        &mut self,
        rows: usize,
        numbers: usize,
    ) -> Result<HeadScratch<'_>, dpo_kernel::Error> {
        let rows = grow(&mut self.rows, rows, HeadRow::NEW)?;
        Ok(HeadScratch::new(rows, grow(&mut self.numbers, numbers, 0.0)?))
    }
}

/// A buffer of this length at least; its memory only grows.
pub(crate) fn grow<T: Clone>(
    buffer: &mut Vec<T>,
    len: usize,
    fill: T,
) -> Result<&mut [T], dpo_kernel::Error> {
    let more = len.saturating_sub(buffer.len());
    if buffer.try_reserve(more).is_err() {
        return Err(dpo_kernel::Error::OutOfMemory { elements: len });
    }
    if more > 0 {
        buffer.resize(len, fill);
    }
    Ok(buffer.get_mut(..len).unwrap_or_default())
}
