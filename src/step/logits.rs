//! The logits of a step, and where their gradients go.

use crate::executor::Executor;
use crate::gradient::{GradBatch, logit_grads, logit_grads_in_place};
use crate::layout::Layout;
use crate::logits::{Logits, LogitsMut};
use crate::{Element, Error};

/// The logits of a step, and where their gradients go: [`LogitsMut`] for gradients in the place of
/// the logits, or a pair of [`Logits`] and [`LogitsMut`] for gradients in another buffer, of the
/// logits' type or f32. Sealed.
pub trait StepLogits: private::Sealed {}

impl<E: Element> StepLogits for LogitsMut<'_, E> {}
impl<E: Element, O: Element> StepLogits for (Logits<'_, E>, LogitsMut<'_, O>) {}

pub(super) mod private {
    use super::{Element, Error, Executor, GradBatch, Layout, Logits};

    /// The working side of `StepLogits`, out of reach of other crates.
    pub trait Sealed {
        /// Storage of the logits.
        type Logit: Element;
        /// The logits, to read.
        fn logits(&self) -> Logits<'_, Self::Logit>;
        /// That logits and gradients are of the layout's shape.
        fn check(&self, layout: &Layout<'_>) -> Result<(), Error>;
        /// The last stage.
        fn write_grads<X: Executor>(self, executor: X, batch: &GradBatch<'_>) -> Result<(), Error>;
    }
}

impl<E: Element> private::Sealed for LogitsMut<'_, E> {
    type Logit = E;

    fn logits(&self) -> Logits<'_, E> {
        self.as_logits()
    }

    fn check(&self, layout: &Layout<'_>) -> Result<(), Error> {
        layout.check_shape(self.rows(), self.vocab())
    }

    fn write_grads<X: Executor>(self, executor: X, batch: &GradBatch<'_>) -> Result<(), Error> {
        logit_grads_in_place(executor, self, batch)
    }
}

impl<E: Element, O: Element> private::Sealed for (Logits<'_, E>, LogitsMut<'_, O>) {
    type Logit = E;

    fn logits(&self) -> Logits<'_, E> {
        self.0
    }

    fn check(&self, layout: &Layout<'_>) -> Result<(), Error> {
        layout.check_shape(self.0.rows(), self.0.vocab())?;
        layout.check_shape(self.1.rows(), self.1.vocab())?;
        if self.1.transform().is_none() { Ok(()) } else { Err(Error::TransformOfGradients) }
    }

    fn write_grads<X: Executor>(self, executor: X, batch: &GradBatch<'_>) -> Result<(), Error> {
        logit_grads(executor, self.0, batch, self.1)
    }
}
