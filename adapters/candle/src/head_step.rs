//! The step over a head: which gradients candle asks for, and where they go.
//!
//! | tracked | head of the step | gradients |
//! |---|---|---|
//! | states, A | `FrozenHead` | hidden, then through A |
//! | weights, bias, B too | `TrainedHead` | theirs, hidden, then through A |

use candle_core::{DType, Device, Tensor};
use dpo_kernel::gradient::Unscored;
use dpo_kernel::head::{Adapter, Head as AnyHead, HeadGrads, HeadScratch, Hidden, HiddenMut};
use dpo_kernel::step::{FrozenHead, ScoredHead, StepSummary, TrainedHead};
use dpo_kernel::{Element, Executor, Layout};

use crate::error::Error;
use crate::head::Head;
use crate::input::{Found, Memory, grow};
use crate::node::Grad;
use crate::number::{Float, Number, reserved, with_type};
use crate::stages::{Reading, Stages};

/// A step over hidden states and a head.
pub(crate) struct HeadStep<'a, E> {
    pub(crate) of: &'a Head<'a>,
    pub(crate) states: Hidden<'a, E>,
    pub(crate) head: &'a dyn AnyHead<E>,
    /// The type of the weights.
    pub(crate) weights: Float,
    /// The adapter that the head has, and what it made of the states.
    pub(crate) adapter: Option<(&'a Adapter<'a>, Hidden<'a, f32>)>,
    pub(crate) at_once: usize,
}

impl<E: Number> HeadStep<'_, E> {
    /// What needs no gradient.
    pub(crate) fn read<X: Executor, R: Reading>(
        &self,
        executor: X,
        reading: R,
        memory: &mut Memory,
    ) -> Result<R::Found, Error> {
        let scratch = self.scratch(executor, memory)?;
        Ok(reading.read(executor, ScoredHead::new(self.states, self.head, scratch))?)
    }

    pub(crate) fn run<X: Executor, S: Stages>(
        &self,
        executor: X,
        layout: &Layout<'_>,
        stages: S,
        memory: &mut Memory,
        room: &mut Vec<f32>,
    ) -> Result<Found<S::Sums>, Error> {
        let (rows, sums) = (self.states.rows(), self.head.sums());
        let len = rows.saturating_mul(sums);
        let is_of_states = self.of.states.track_op();
        // Sums that are the states' gradient as they are become its tensor; others are kept here.
        let is_own = is_of_states && self.adapter.is_none() && E::DTYPE == DType::F32;
        let mut own = if is_own { f32::zeros(len)? } else { Vec::new() };
        let hidden = if is_own { &mut own[..] } else { grow(room, len, 0.0)? };

        let mut grads = Vec::new();
        let to = HiddenMut::new(&mut *hidden, rows, sums)?;
        let summary = self.write_grads(executor, stages, to, &mut grads, memory)?;
        self.end_adapter(executor, layout, hidden, &mut grads, memory)?;
        if is_of_states {
            let shape = self.of.states.shape();
            let grad = if is_own {
                Tensor::from_vec(own, shape, &Device::Cpu)?
            } else {
                Tensor::from_vec(self.rounded(hidden)?, shape, &Device::Cpu)?
            };
            grads.push(Grad { of: self.of.states.clone(), grad });
        }
        Ok((summary, grads))
    }

    /// The step, with the gradients of weights, bias and B that are asked for.
    fn write_grads<X: Executor, S: Stages>(
        &self,
        executor: X,
        stages: S,
        hidden: HiddenMut<'_, f32>,
        grads: &mut Vec<Grad>,
        memory: &mut Memory,
    ) -> Result<StepSummary<S::Sums>, Error> {
        let (vocab, size) = (self.head.vocab(), self.head.size());
        let weights = Some(self.of.weights).filter(|of| of.track_op());
        let bias = self.of.bias.filter(|of| of.track_op());
        let b = self.of.adapter.map(|of| of.b).filter(|of| of.track_op());
        let mut of_bias = bias.map(|_| f32::zeros(vocab)).transpose()?;
        let mut of_b = None;
        if let Some((_, u)) = self.adapter.filter(|_| b.is_some()) {
            of_b = Some((u, f32::zeros(vocab * u.size())?));
        }

        let to_bias = of_bias.as_deref_mut();
        let to_b = of_b.as_mut().map(|(u, grads)| (*u, &mut grads[..]));
        let summary = match (weights, to_bias, to_b) {
            (Some(of), to_bias, to_b) => with_type!(self.weights, G => {
                let mut of_weights = G::zeros(vocab * size)?;
                let mut to = HeadGrads::of_weights(&mut of_weights, vocab, size)?;
                if let Some(bias) = to_bias {
                    to = to.with_bias(bias);
                }
                if let Some((u, b)) = to_b {
                    to = to.with_adapter(u, b)?;
                }
                let summary = self.trained(executor, stages, hidden, to, memory)?;
                let grad = Tensor::from_vec(of_weights, of.shape(), &Device::Cpu)?;
                grads.push(Grad { of: of.clone(), grad });
                summary
            }),
            (None, Some(bias), to_b) => {
                let mut to = HeadGrads::of_bias(bias);
                if let Some((u, b)) = to_b {
                    to = to.with_adapter(u, b)?;
                }
                self.trained(executor, stages, hidden, to, memory)?
            }
            (None, None, Some((u, b))) => {
                self.trained(executor, stages, hidden, HeadGrads::of_adapter(u, b)?, memory)?
            }
            (None, None, None) => self.frozen(executor, stages, hidden, memory)?,
        };
        for (of, grad) in [(bias, of_bias), (b, of_b.map(|(_, grad)| grad))] {
            if let Some((of, grad)) = of.zip(grad) {
                let grad = Tensor::from_vec(grad, of.shape(), &Device::Cpu)?;
                grads.push(Grad { of: of.clone(), grad });
            }
        }
        Ok(summary)
    }

    fn frozen<X: Executor, S: Stages>(
        &self,
        executor: X,
        stages: S,
        hidden: HiddenMut<'_, f32>,
        memory: &mut Memory,
    ) -> Result<StepSummary<S::Sums>, Error> {
        let scratch = self.scratch(executor, memory)?;
        let logits = FrozenHead::new(self.states, self.head, hidden, scratch);
        Ok(stages.run(executor, logits, Unscored::Zero)?)
    }

    /// Of a forward, or of a step whose head is frozen.
    fn scratch<'m, X: Executor>(
        &self,
        executor: X,
        memory: &'m mut Memory,
    ) -> Result<HeadScratch<'m>, Error> {
        let numbers = HeadScratch::numbers_over(executor, self.head, self.at_once);
        Ok(memory.scratch(self.at_once, numbers)?.with_negligible(self.of.negligible)?)
    }

    fn trained<X: Executor, S: Stages, G: Element>(
        &self,
        executor: X,
        stages: S,
        hidden: HiddenMut<'_, f32>,
        grads: HeadGrads<'_, G>,
        memory: &mut Memory,
    ) -> Result<StepSummary<S::Sums>, Error> {
        let numbers = HeadScratch::numbers_trained(executor, self.head, self.at_once, &grads);
        let scratch = memory.scratch(self.at_once, numbers)?.with_negligible(self.of.negligible)?;
        let logits = TrainedHead::new(self.states, self.head, hidden, grads, scratch);
        Ok(stages.run(executor, logits, Unscored::Zero)?)
    }

    /// Brings what the adapter's u has of the gradient through A, to the states and to A itself.
    fn end_adapter<X: Executor>(
        &self,
        executor: X,
        layout: &Layout<'_>,
        hidden: &mut [f32],
        grads: &mut Vec<Grad>,
        memory: &mut Memory,
    ) -> Result<(), Error> {
        let Some(((adapter, _), lora)) = self.adapter.zip(self.of.adapter) else { return Ok(()) };
        let a = Some(lora.a).filter(|of| of.track_op());
        if a.is_none() && !self.of.states.track_op() {
            return Ok(());
        }
        let (rows, size, rank) = (self.states.rows(), self.head.size(), adapter.rank());
        let mut of_a = a.map(|_| f32::zeros(rank * size)).transpose()?;
        let scratch = memory.scratch(self.at_once, adapter.numbers(self.at_once))?;
        let to = HiddenMut::new(hidden, rows, self.head.sums())?;
        adapter.grads_in_place(executor, self.states, layout, to, of_a.as_deref_mut(), scratch)?;
        if let Some((of, grad)) = a.zip(of_a) {
            let grad = Tensor::from_vec(grad, of.shape(), &Device::Cpu)?;
            grads.push(Grad { of: of.clone(), grad });
        }
        Ok(())
    }

    /// The first H of each row, in the states' type.
    fn rounded(&self, hidden: &[f32]) -> Result<Vec<E>, Error> {
        let (size, sums) = (self.states.size(), self.head.sums().max(1));
        let mut all = reserved(self.states.rows().saturating_mul(size))?;
        for row in hidden.chunks(sums) {
            let row = row.get(..size).unwrap_or_default();
            all.extend(row.iter().map(|&x| <E as Element>::from_f32(x)));
        }
        Ok(all)
    }
}
