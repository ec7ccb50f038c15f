//! A head in the place of a step's logits.

use super::logits::private::Sealed;
use super::logits::{ReadLogits, StepLogits};
use crate::error::NonFinite;
use crate::executor::Executor;
use crate::gradient::GradBatch;
use crate::head::{
    Forward, Head, HeadGrads, HeadScratch, Hidden, HiddenMut, blame, check_forward, check_shape,
    check_trained, head_grads, hidden_grads_in_place,
};
use crate::layout::Layout;
use crate::token::{TokenOut, TokenSummary};
use crate::{Element, Error};

/// Hidden states and a head, in the place of logits that are read alone ([`ReadLogits`]): an
/// evaluation, or the log-probs of a reference. As
/// [`head_token_log_probs`](crate::head::head_token_log_probs).
#[derive(Debug)]
pub struct ScoredHead<'a, E, H: ?Sized> {
    states: Hidden<'a, E>,
    head: &'a H,
    scratch: HeadScratch<'a>,
}

impl<'a, E: Element, H: Head<E> + ?Sized> ScoredHead<'a, E, H> {
    /// Of R × H states, a head, and scratch.
    pub const fn new(states: Hidden<'a, E>, head: &'a H, scratch: HeadScratch<'a>) -> Self {
        Self { states, head, scratch }
    }
}

impl<E: Element, H: Head<E> + ?Sized> StepLogits for ScoredHead<'_, E, H> {}
impl<E: Element, H: Head<E> + ?Sized> ReadLogits for ScoredHead<'_, E, H> {}

impl<E: Element, H: Head<E> + ?Sized> Sealed for ScoredHead<'_, E, H> {
    fn check<X: Executor>(&self, executor: X, layout: &Layout<'_>) -> Result<(), Error> {
        check_forward(executor, self.states, self.head, layout, &self.scratch)
    }

    fn score<X: Executor>(
        &mut self,
        executor: X,
        layout: &Layout<'_>,
        out: TokenOut<'_>,
    ) -> (NonFinite, TokenSummary) {
        let (states, head) = (self.states, self.head);
        Forward { executor, states, head, layout, out, sums: None }.run(self.scratch.reborrow())
    }

    fn blame(&mut self, error: Error) -> Error {
        blame(error, self.states, self.head, &mut self.scratch)
    }

    fn write_grads<X: Executor>(self, _: X, _: &GradBatch<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// Hidden states and a frozen head, in the place of the logits of
/// [`preference_step`](super::preference_step) and [`unpaired_step`](super::unpaired_step): one
/// stream over the weights, as [`head_forward`](crate::head::head_forward) and
/// [`hidden_grads_in_place`].
///
/// `grads`, R × H, hold hidden gradients afterwards, R × (H + r) of a head with an adapter, which
/// `Adapter::grads_in_place` then ends.
///
/// # Errors
/// Of the step: those of its stages, before anything is written those of shapes and scratch. **After
/// any other, `grads` hold sums that mean nothing.** [`Error::InvalidValue`] of the head's weights
/// comes in the place of [`Error::NonFiniteRows`] where a row of these is why.
#[derive(Debug)]
pub struct FrozenHead<'a, E, H: ?Sized> {
    states: Hidden<'a, E>,
    head: &'a H,
    grads: HiddenMut<'a, f32>,
    scratch: HeadScratch<'a>,
}

impl<'a, E: Element, H: Head<E> + ?Sized> FrozenHead<'a, E, H> {
    /// Of R × H states, a head, room for R × H gradients, and scratch.
    pub const fn new(
        states: Hidden<'a, E>,
        head: &'a H,
        grads: HiddenMut<'a, f32>,
        scratch: HeadScratch<'a>,
    ) -> Self {
        Self { states, head, grads, scratch }
    }
}

impl<E: Element, H: Head<E> + ?Sized> StepLogits for FrozenHead<'_, E, H> {}

impl<E: Element, H: Head<E> + ?Sized> Sealed for FrozenHead<'_, E, H> {
    fn check<X: Executor>(&self, executor: X, layout: &Layout<'_>) -> Result<(), Error> {
        check_forward(executor, self.states, self.head, layout, &self.scratch)?;
        let grads = (self.grads.rows(), self.grads.size());
        check_shape((self.states.rows(), self.head.sums()), grads)
    }

    fn score<X: Executor>(
        &mut self,
        executor: X,
        layout: &Layout<'_>,
        out: TokenOut<'_>,
    ) -> (NonFinite, TokenSummary) {
        let Self { states, head, grads, scratch } = self;
        let (states, head, sums) = (*states, *head, Some(grads.reborrow()));
        Forward { executor, states, head, layout, out, sums }.run(scratch.reborrow())
    }

    fn blame(&mut self, error: Error) -> Error {
        blame(error, self.states, self.head, &mut self.scratch)
    }

    fn write_grads<X: Executor>(self, executor: X, batch: &GradBatch<'_>) -> Result<(), Error> {
        let Self { states, head, grads, scratch } = self;
        hidden_grads_in_place(executor, states, head, batch, grads, scratch)
    }
}

/// Hidden states and a head that is trained (its weights, its bias, or an adapter on it), in the
/// place of the logits of a step: as [`head_token_log_probs`](crate::head::head_token_log_probs) and
/// [`head_grads`].
///
/// `hidden`, R × H, hold hidden gradients afterwards, R × (H + r) of a head with an adapter, which
/// `Adapter::grads_in_place` then ends.
///
/// # Errors
/// Of the step: those of its stages, before gradients are written, but for one: hidden gradients
/// that are not finite, which [`head_grads`] finds in what it has written
/// ([`Error::NonFiniteRows`], [`Error::InvalidValue`] of the head's weights). What
/// [`HeadGrads::added`] adds is in the sums then.
#[derive(Debug)]
pub struct TrainedHead<'a, E, H: ?Sized, G> {
    forward: ScoredHead<'a, E, H>,
    hidden: HiddenMut<'a, f32>,
    grads: HeadGrads<'a, G>,
}

impl<'a, E: Element, H: Head<E> + ?Sized, G: Element> TrainedHead<'a, E, H, G> {
    /// Of R × H states, a head, room for hidden gradients and for the head's, and scratch.
    pub const fn new(
        states: Hidden<'a, E>,
        head: &'a H,
        hidden: HiddenMut<'a, f32>,
        grads: HeadGrads<'a, G>,
        scratch: HeadScratch<'a>,
    ) -> Self {
        Self { forward: ScoredHead::new(states, head, scratch), hidden, grads }
    }
}

impl<E: Element, H: Head<E> + ?Sized, G: Element> StepLogits for TrainedHead<'_, E, H, G> {}

impl<E: Element, H: Head<E> + ?Sized, G: Element> Sealed for TrainedHead<'_, E, H, G> {
    fn check<X: Executor>(&self, executor: X, layout: &Layout<'_>) -> Result<(), Error> {
        self.forward.check(executor, layout)?;
        let ScoredHead { states, head, scratch } = &self.forward;
        let hidden = (self.hidden.rows(), self.hidden.size());
        check_shape((states.rows(), head.sums()), hidden)?;
        check_trained(executor, *states, *head, &self.grads, layout, scratch)
    }

    fn score<X: Executor>(
        &mut self,
        executor: X,
        layout: &Layout<'_>,
        out: TokenOut<'_>,
    ) -> (NonFinite, TokenSummary) {
        self.forward.score(executor, layout, out)
    }

    fn blame(&mut self, error: Error) -> Error {
        self.forward.blame(error)
    }

    fn write_grads<X: Executor>(self, executor: X, batch: &GradBatch<'_>) -> Result<(), Error> {
        let Self { forward: ScoredHead { states, head, scratch }, hidden, grads } = self;
        head_grads(executor, states, head, batch, hidden, grads, scratch)
    }
}
