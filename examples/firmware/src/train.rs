//! The run: the reference's log-probs once, then passes over the pairs, each told to `tell`.

use dpo_kernel::{Arithmetic, Dispatch, Dpo, Error, Summary};

use crate::adam::Adam;
use crate::base::BASE;
use crate::batch::{Batch, Loss, PairReference};
use crate::model::Adapters;
use crate::pairs::{Example, HELD_OUT, TRAIN};
use crate::random::Random;
use crate::report::{Digest, Evaluation};

/// Pairs a step.
pub const PAIRS: usize = 4;
/// Passes over the pairs.
pub const PASSES: u32 = 8;
const STEPS: u32 = PASSES * (TRAIN.len() / PAIRS) as u32;
const BETA: f64 = 0.1;
const RATE: f32 = 0.01;
/// A of a fresh adapter.
const BOUND: f32 = 0.3;

const _: () = assert!(TRAIN.len().is_multiple_of(PAIRS), "every step has the same divisor");

/// Everything that a run keeps in RAM, 25 KiB.
#[derive(Debug)]
pub struct Run {
    adapters: Adapters,
    grads: Adapters,
    adam: Adam,
    batch: Batch,
    reference: [PairReference; TRAIN.len()],
    held_out: [PairReference; HELD_OUT.len()],
}

impl Run {
    /// Room for a run, to be placed where there is room.
    pub fn new() -> Self {
        Self {
            adapters: Adapters::ZERO,
            grads: Adapters::ZERO,
            adam: Adam::NEW,
            batch: Batch::default(),
            reference: [PairReference::default(); TRAIN.len()],
            held_out: [PairReference::default(); HELD_OUT.len()],
        }
    }

    /// Trains a fresh adapter; before the first step and after every pass `tell` hears how the
    /// pairs stand.
    ///
    /// # Errors
    /// Those of the crate's stages; with the model in flash there are none.
    pub fn train(
        &mut self,
        dispatch: Dispatch,
        mut tell: impl FnMut(&Evaluation),
    ) -> Result<(), Error> {
        let loss = Loss { dispatch, dpo: Dpo::new(BETA)? };
        let mut random = Random(20_231_218);
        self.adapters.hidden.start(BOUND, &mut random);
        self.adapters.head.start(BOUND, &mut random);
        self.adam.start();
        for (example, reference) in TRAIN.iter().zip(&mut self.reference) {
            *reference = self.batch.reference(dispatch, &BASE, example)?;
        }
        for (example, reference) in HELD_OUT.iter().zip(&mut self.held_out) {
            *reference = self.batch.reference(dispatch, &BASE, example)?;
        }
        tell(&self.evaluation(&loss, 0)?);
        let mut order: [usize; TRAIN.len()] = core::array::from_fn(|i| i);
        let mut step = 0;
        for _ in 0..PASSES {
            random.shuffle(&mut order);
            for pairs in order.as_chunks::<PAIRS>().0 {
                self.step(&loss, pairs, rate(step))?;
                step += 1;
            }
            tell(&self.evaluation(&loss, step)?);
        }
        Ok(())
    }

    fn step(&mut self, loss: &Loss, pairs: &[usize; PAIRS], rate: f32) -> Result<(), Error> {
        self.grads.fill(0.0);
        for &pair in pairs {
            let pair = (&TRAIN[pair], &self.reference[pair]);
            let model = (&BASE, &self.adapters);
            self.batch.step(loss, model, pair, PAIRS as u32, &mut self.grads)?;
        }
        self.adam.update(&mut self.adapters, &self.grads, rate);
        Ok(())
    }

    fn evaluation(&mut self, loss: &Loss, step: u32) -> Result<Evaluation, Error> {
        let model = (&BASE, &self.adapters);
        let mut sum = |examples: &[Example], references: &[PairReference]| {
            let mut summary = Summary::default();
            for pair in examples.iter().zip(references) {
                summary += self.batch.evaluate(loss, model, pair)?;
            }
            Ok(summary)
        };
        let (train, held_out) = (sum(&TRAIN, &self.reference)?, sum(&HELD_OUT, &self.held_out)?);
        let mut digest = Digest::default();
        self.adapters.parts().flatten().for_each(|weight| digest.add(weight.to_bits().into()));
        for summary in [&train, &held_out] {
            digest.add(summary.loss_sum.to_bits());
            digest.add(summary.margin_sum.to_bits());
        }
        Ok(Evaluation { step, steps: STEPS, train, held_out, digest })
    }
}

impl Default for Run {
    fn default() -> Self {
        Self::new()
    }
}

/// The learning rate at a step: down to zero in a straight line.
fn rate(step: u32) -> f32 {
    RATE * (1.0 - step as f32 / STEPS as f32)
}

/// The arithmetics that this machine has, each with its name and its fastest level.
pub fn arithmetics() -> impl Iterator<Item = (&'static str, Dispatch)> {
    [("portable", Arithmetic::Portable), ("fused", Arithmetic::Fused)].into_iter().filter_map(
        |(name, arithmetic)| {
            let level = Dispatch::detect().level();
            Some((name, Dispatch::new(level, arithmetic).ok()?))
        },
    )
}
