//! The logits of a step, and where their gradients go.

use crate::error::NonFinite;
use crate::executor::Executor;
use crate::gradient::{GradBatch, GradElement, logit_grads, logit_grads_in_place};
use crate::layout::Layout;
use crate::logits::{Logits, LogitsMut};
use crate::token::{TokenOut, TokenSummary, score_tokens};
use crate::{Element, Error};

/// The logits of a step, and where their gradients go: [`LogitsMut`] for gradients in the place of
/// the logits, or a pair of [`Logits`] and [`LogitsMut`] for gradients in another buffer, of the
/// logits' type or f32. Or a head in the place of logits that were written out:
/// [`FrozenHead`](super::FrozenHead), [`TrainedHead`](super::TrainedHead). Or [`ReadLogits`], for a
/// step without gradients. Sealed.
pub trait StepLogits: private::Sealed {}

/// Logits that are read alone: [`Logits`], or a head in their place,
/// [`ScoredHead`](super::ScoredHead). A step over them is an evaluation, as of held-out pairs: its
/// loss, log-probs and errors are those of a step, and no gradients are written. `Workspace::score`
/// takes them too. Sealed.
pub trait ReadLogits: StepLogits {}

impl<E: Element> StepLogits for Logits<'_, E> {}
impl<E: Element> ReadLogits for Logits<'_, E> {}

impl<E: Element> StepLogits for LogitsMut<'_, E> {}
impl<E: Element, O: Element + GradElement<E>> StepLogits for (Logits<'_, E>, LogitsMut<'_, O>) {}

pub(crate) mod private {
    use super::{Error, Executor, GradBatch, Layout, NonFinite, TokenOut, TokenSummary};

    /// The working side of `StepLogits`, out of reach of other crates.
    pub trait Sealed {
        /// That logits and gradients are of the layout's shape.
        fn check<X: Executor>(&self, executor: X, layout: &Layout<'_>) -> Result<(), Error>;
        /// The first stage, of what was checked; the caller judges rows that are not finite.
        fn score<X: Executor>(
            &mut self,
            executor: X,
            layout: &Layout<'_>,
            out: TokenOut<'_>,
        ) -> (NonFinite, TokenSummary);
        /// The error of rows that are not finite, or a better one.
        fn blame(&mut self, error: Error) -> Error {
            error
        }
        /// The last stage.
        fn write_grads<X: Executor>(self, executor: X, batch: &GradBatch<'_>) -> Result<(), Error>;
    }
}

impl<E: Element> private::Sealed for Logits<'_, E> {
    fn check<X: Executor>(&self, _: X, layout: &Layout<'_>) -> Result<(), Error> {
        layout.check_shape(self.rows(), self.vocab())
    }

    fn score<X: Executor>(
        &mut self,
        executor: X,
        layout: &Layout<'_>,
        out: TokenOut<'_>,
    ) -> (NonFinite, TokenSummary) {
        score_tokens(executor, *self, layout, out)
    }

    fn write_grads<X: Executor>(self, _: X, _: &GradBatch<'_>) -> Result<(), Error> {
        Ok(())
    }
}

impl<E: Element> private::Sealed for LogitsMut<'_, E> {
    fn check<X: Executor>(&self, _: X, layout: &Layout<'_>) -> Result<(), Error> {
        layout.check_shape(self.rows(), self.vocab())
    }

    fn score<X: Executor>(
        &mut self,
        executor: X,
        layout: &Layout<'_>,
        out: TokenOut<'_>,
    ) -> (NonFinite, TokenSummary) {
        score_tokens(executor, self.as_logits(), layout, out)
    }

    fn write_grads<X: Executor>(self, executor: X, batch: &GradBatch<'_>) -> Result<(), Error> {
        logit_grads_in_place(executor, self, batch)
    }
}

impl<E: Element, O: Element + GradElement<E>> private::Sealed
    for (Logits<'_, E>, LogitsMut<'_, O>)
{
    fn check<X: Executor>(&self, _: X, layout: &Layout<'_>) -> Result<(), Error> {
        layout.check_shape(self.0.rows(), self.0.vocab())?;
        layout.check_shape(self.1.rows(), self.1.vocab())?;
        if self.1.transform().is_none() { Ok(()) } else { Err(Error::TransformOfGradients) }
    }

    fn score<X: Executor>(
        &mut self,
        executor: X,
        layout: &Layout<'_>,
        out: TokenOut<'_>,
    ) -> (NonFinite, TokenSummary) {
        score_tokens(executor, self.0, layout, out)
    }

    fn write_grads<X: Executor>(self, executor: X, batch: &GradBatch<'_>) -> Result<(), Error> {
        logit_grads(executor, self.0, batch, self.1)
    }
}
