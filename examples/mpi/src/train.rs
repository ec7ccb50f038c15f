//! The run: three phases of steps on all ranks, with a state between any two.

use std::io::Write;

use dpo_kernel::loss::LossName;
use dpo_kernel::{Dispatch, SequenceLogProb};

use crate::comm::{Comms, Load};
use crate::digest::Digest;
use crate::error::Error;
use crate::finetune::linear::Adapter;
use crate::finetune::objective::{Found, Objective};
use crate::finetune::random::Random;
use crate::finetune::text::{Example, Sequence};
use crate::finetune::train::{Adam, Phase, batches};
use crate::prepare::Prepared;
use crate::state::{Keeper, Moments};
use crate::step::{Forward, Grads, Item, Replica};

/// Digests of everything that a run has computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Of each step's loss. Every rank has it.
    pub losses: Digest,
    /// Of each row's log p, each step. A rank adds what it alone has.
    pub log_probs: Digest,
    /// Of each weight's gradient, each step. A rank adds what it alone has.
    pub gradients: Digest,
    /// Of the weights at the end. A rank adds what it alone has.
    pub weights: Digest,
}

/// Places that a digest leaves for one step.
const STEP: u64 = 1 << 32;

/// A rank's run.
pub struct Run<'a> {
    /// Its communicators.
    pub comms: &'a Comms,
    /// Instructions and roundings.
    pub dispatch: Dispatch,
    /// Data and settings.
    pub prepared: &'a Prepared,
    /// Where states go.
    pub keeper: Keeper<'a>,
    /// What it has computed.
    pub digests: Digests,
    /// Rows of its group so far.
    pub rows: u64,
    /// Steps so far, over all phases.
    steps: u64,
}

impl<'a> Run<'a> {
    /// Before its first step.
    #[must_use]
    pub fn new(
        comms: &'a Comms,
        dispatch: Dispatch,
        prepared: &'a Prepared,
        keeper: Keeper<'a>,
    ) -> Self {
        Self { comms, dispatch, prepared, keeper, digests: Digests::default(), rows: 0, steps: 0 }
    }

    /// Trains from where `replica` and `moments` stand to the end.
    ///
    /// # Errors
    /// What a step or a state refuses.
    pub fn train(
        &mut self,
        replica: &mut Replica,
        mut moments: Moments,
        random: &mut Random,
        out: &mut dyn Write,
    ) -> Result<[Found; 2], Error> {
        let examples = &self.prepared.examples;
        let chosen: Vec<&Sequence> = examples.train.iter().map(|pair| &pair.chosen).collect();
        let both: Vec<&Sequence> =
            examples.train.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]).collect();
        let recipe = self.prepared.recipe;
        for (phase, texts, plan) in [(0, both, recipe.pretraining), (1, chosen, recipe.supervised)]
        {
            let items: Vec<Item<'_>> =
                texts.iter().map(|text| vec![(text.tokens.as_slice(), text.all_rows())]).collect();
            self.phase(
                replica,
                &mut moments,
                (phase, &plan),
                &items,
                random,
                out,
                |forward, _| forward.likelihood(),
            )?;
        }

        let objective = Objective::new(LossName::Sigmoid, Some(self.prepared.beta))?;
        let items: Vec<Item<'_>> = examples.train.iter().map(pair).collect();
        let held_out: Vec<Item<'_>> = examples.held_out.iter().map(pair).collect();
        let reference = self.score(replica, &items, Adapter::Off)?;
        let held_reference = self.score(replica, &held_out, Adapter::Off)?;
        let plan = (2, &recipe.preference);
        self.phase(replica, &mut moments, plan, &items, random, out, |forward, indices| {
            let of_pair = |&pair: &usize| reference.get(2 * pair..2 * pair + 2).unwrap_or_default();
            let reference = indices.iter().flat_map(of_pair).copied().collect::<Vec<_>>();
            forward.preference(&objective, &reference)
        })?;

        self.add_weights(replica);
        let policy = self.score(replica, &items, Adapter::On)?;
        let held_policy = self.score(replica, &held_out, Adapter::On)?;
        Ok([
            objective.evaluate(&policy, &reference)?,
            objective.evaluate(&held_policy, &held_reference)?,
        ])
    }

    /// The steps of a phase that are not yet done. Batches that are done are drawn all the same:
    /// what follows out of the seed must not depend on where a run began.
    #[allow(clippy::too_many_arguments, reason = "a phase is what they are")]
    fn phase(
        &mut self,
        replica: &mut Replica,
        moments: &mut Moments,
        (phase, plan): (usize, &Phase),
        items: &[Item<'_>],
        random: &mut Random,
        out: &mut dyn Write,
        backward: impl Fn(Forward<'_>, &[usize]) -> Result<(f64, Grads), Error>,
    ) -> Result<(), Error> {
        let adapter = if phase == 2 { Adapter::On } else { Adapter::Off };
        let steps = self.prepared.steps(plan, items.len());
        let done = match phase.cmp(&moments.phase) {
            std::cmp::Ordering::Less => steps,
            std::cmp::Ordering::Equal => moments.step,
            std::cmp::Ordering::Greater => {
                *moments = Moments::new(replica, phase);
                0
            }
        };
        for (step, indices) in batches(items.len(), plan.batch, random).take(steps).enumerate() {
            self.steps += 1;
            if step < done {
                continue;
            }
            self.comms.shared.progress.step(step);
            let batch: Vec<Item<'_>> =
                indices.iter().filter_map(|&index| items.get(index).cloned()).collect();
            let forward = Forward::new(replica, self.comms, self.dispatch, &batch, adapter)?;
            self.add_log_probs(&forward);
            let (loss, grads) = backward(forward, &indices)?;
            self.add_step(loss, &grads, adapter, replica);
            moments.update(replica, &grads, adapter, plan.rate_at(step, steps));
            moments.step = step + 1;
            if (step + 1) * 4 / steps > step * 4 / steps {
                let name = ["pretrain", "supervise", "dpo"].get(phase).unwrap_or(&"");
                // Whoever closed the output does not want to read about it.
                let _ = writeln!(out, "{name:<9} step {:>4}/{steps}  loss {loss:.6}", step + 1);
            }
            self.keeper.keep(self.comms, replica, moments, step + 1 == steps)?;
        }
        Ok(())
    }

    /// Log-probs of all sequences, 16 items at a time.
    fn score(
        &mut self,
        replica: &Replica,
        items: &[Item<'_>],
        adapter: Adapter,
    ) -> Result<Vec<SequenceLogProb>, Error> {
        let mut out = Vec::with_capacity(2 * items.len());
        for items in items.chunks(16) {
            let forward = Forward::new(replica, self.comms, self.dispatch, items, adapter)?;
            self.steps += 1;
            self.add_log_probs(&forward);
            out.extend_from_slice(&forward.sequences);
        }
        Ok(out)
    }

    /// A group's first shard tells its rows: the others have the same.
    fn add_log_probs(&mut self, forward: &Forward<'_>) {
        self.rows += forward.log_probs().1.len() as u64;
        if self.comms.place.shard == 0 {
            let (before, log_probs) = forward.log_probs();
            self.digests.log_probs.add_all(self.steps * STEP + before as u64, log_probs);
        }
    }

    fn add_step(&mut self, loss: f64, grads: &Grads, adapter: Adapter, replica: &Replica) {
        self.digests.losses.add(self.steps, loss.to_bits());
        let (body, shard) = places(replica, adapter);
        add(
            &mut self.digests.gradients,
            self.comms,
            self.steps * STEP,
            (body, &grads.body),
            (shard, &grads.shard),
        );
    }

    fn add_weights(&mut self, replica: &Replica) {
        for (half, adapter) in [(0, Adapter::Off), (STEP, Adapter::On)] {
            let (body, shard) = places(replica, adapter);
            let weights = &replica.model.weights;
            let (own_body, own_shard) = match adapter {
                Adapter::Off => (&weights.base, &replica.shard.w),
                Adapter::On => (&weights.adapter, &replica.shard.b),
            };
            add(&mut self.digests.weights, self.comms, half, (body, own_body), (shard, own_shard));
        }
    }

    /// The digests of all ranks together.
    ///
    /// # Errors
    /// [`Error::Refused`] if ranks that must have the same have not; [`Error::Mpi`].
    pub fn digests(&self, replica: &Replica) -> Result<Digests, Error> {
        let comms = self.comms;
        let mut same = Digest::default();
        same.add_all(0, &replica.model.weights.base);
        same.add_all(STEP, &replica.model.weights.adapter);
        let own = [self.digests.losses.0, same.0];
        let all = comms.world.gather(Load::Rest, &own, &vec![own.len(); comms.world.size])?;
        agree(&all)?;
        let Digests { log_probs, gradients, weights, losses } = self.digests;
        let mut sums = [log_probs.0, gradients.0, weights.0];
        comms.world.sum_digests(&mut sums)?;
        let [log_probs, gradients, weights] = sums.map(Digest);
        Ok(Digests { losses, log_probs, gradients, weights })
    }
}

/// Compares what all ranks must have alike: two digests a rank, losses and weights.
///
/// # Errors
/// [`Error::Refused`], a line for each rank that differs from rank 0.
pub fn agree(all: &[u64]) -> Result<(), Error> {
    let ranks = all.as_chunks::<2>().0;
    let Some(first) = ranks.first() else { return Ok(()) };
    let mut lines = Vec::new();
    for (rank, digests) in ranks.iter().enumerate() {
        for ((name, found), expected) in ["losses", "weights"].iter().zip(digests).zip(first) {
            if found != expected {
                lines.push(format!(
                    "rank {rank}: digest of {name} {found:016x}, on rank 0 {expected:016x}"
                ));
            }
        }
    }
    if lines.is_empty() { Ok(()) } else { Err(Error::Refused(lines)) }
}

/// The two sequences of a pair, answers alone scored.
fn pair(example: &Example) -> Item<'_> {
    [&example.chosen, &example.rejected]
        .map(|sequence| (sequence.tokens.as_slice(), sequence.answer_rows()))
        .to_vec()
}

/// Where the body's numbers and the shard's begin in the vector that one process has.
fn places(replica: &Replica, adapter: Adapter) -> (u64, u64) {
    let (weights, shard) = (&replica.model.weights, &replica.shard);
    let (body, width) = match adapter {
        Adapter::Off => (weights.base.len(), shard.width),
        Adapter::On => (weights.adapter.len(), crate::finetune::linear::RANK),
    };
    (0, (body + shard.columns.start * width) as u64)
}

/// Rank 0 tells of the body, the first group of its shards: the others have the same.
fn add(
    digest: &mut Digest,
    comms: &Comms,
    at: u64,
    (body_at, body): (u64, &[f32]),
    (shard_at, shard): (u64, &[f32]),
) {
    if comms.world.rank == 0 {
        digest.add_all(at + body_at, body);
    }
    if comms.place.group == 0 {
        digest.add_all(at + shard_at, shard);
    }
}

impl Moments {
    /// A step of the body and of the shard.
    pub fn update(&mut self, replica: &mut Replica, grads: &Grads, adapter: Adapter, rate: f32) {
        let weights = &mut replica.model.weights;
        let (body, shard) = match adapter {
            Adapter::Off => (&mut weights.base, &mut replica.shard.w),
            Adapter::On => (&mut weights.adapter, &mut replica.shard.b),
        };
        let step = |adam: &mut Adam, to: &mut [f32], grads: &[f32]| adam.update(to, grads, rate);
        step(&mut self.body, body, &grads.body);
        step(&mut self.shard, shard, &grads.shard);
    }
}
