//! Between ranks and file: a shard's part of weights and moments, whole vectors of all shards.

use std::path::Path;

use crate::checkpoint::State;
use crate::comm::{Comms, Load};
use crate::error::{Error, check_length};
use crate::finetune::linear::RANK;
use crate::finetune::train::Adam;
use crate::prepare::Prepared;
use crate::shards::columns;
use crate::step::Replica;

/// Where a rank's training stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// 0 and 1 train the base weights, 2 the adapter.
    pub phase: usize,
    /// Steps of the phase that are done.
    pub step: usize,
    /// Of the body's numbers.
    pub body: Adam,
    /// Of the shard's.
    pub shard: Adam,
}

impl Moments {
    /// At the start of a phase.
    #[must_use]
    pub fn new(replica: &Replica, phase: usize) -> Self {
        let weights = &replica.model.weights;
        let (body, shard) = if phase == 2 {
            (weights.adapter.len(), replica.shard.b.len())
        } else {
            (weights.base.len(), replica.shard.w.len())
        };
        Self { phase, step: 0, body: Adam::new(body), shard: Adam::new(shard) }
    }
}

/// Writes states.
#[derive(Clone, Copy, Debug)]
pub struct Keeper<'a> {
    /// Where; None: nowhere.
    pub path: Option<&'a Path>,
    /// Steps between two.
    pub every: usize,
    /// What a state is told apart by.
    pub settings: &'a [(String, String)],
}

impl Keeper<'_> {
    /// After a step: writes a state if it is time, or if the phase has ended.
    ///
    /// # Errors
    /// [`Error::File`] on rank 0, [`Error::Mpi`].
    pub fn keep(
        &self,
        comms: &Comms,
        replica: &Replica,
        moments: &Moments,
        is_last: bool,
    ) -> Result<(), Error> {
        let Some(path) = self.path else { return Ok(()) };
        if !is_last && !moments.step.is_multiple_of(self.every) {
            return Ok(());
        }
        // The other groups have the same.
        if comms.place.group != 0 {
            return Ok(());
        }
        let (shard, weights) = (&replica.shard, &replica.model.weights);
        let trained = if moments.phase == 2 { RANK } else { shard.width };
        let whole = |body: &[f32], own: &[f32], width: usize| -> Result<Vec<f32>, Error> {
            let sizes = (0..comms.place.grid.vocab).map(|index| {
                columns(shard.vocab, shard.unit, comms.place.grid.vocab, index).len() * width
            });
            let all = comms.vocab.gather(Load::Rest, own, &sizes.collect::<Vec<_>>())?;
            Ok([body, &all].concat())
        };
        let vectors = [
            whole(&weights.base, &shard.w, shard.width)?,
            whole(&weights.adapter, &shard.b, RANK)?,
            whole(&moments.body.mean, &moments.shard.mean, trained)?,
            whole(&moments.body.square, &moments.shard.square, trained)?,
        ];
        if comms.world.rank != 0 {
            return Ok(());
        }
        let (settings, phase, step) = (self.settings.to_vec(), moments.phase, moments.step);
        State { settings, phase, step, vectors }.write(path)
    }
}

/// A rank's part of a state.
///
/// # Errors
/// [`Error::Length`] for a state of another shape.
pub fn restore(
    state: &State,
    comms: &Comms,
    prepared: &Prepared,
) -> Result<(Replica, Moments), Error> {
    let [base, adapter, mean, square] = &state.vectors;
    let mut whole = prepared.model.clone();
    check_length("base weights of the state", whole.weights.base.len(), base.len())?;
    check_length("adapter weights of the state", whole.weights.adapter.len(), adapter.len())?;
    let trained = if state.phase == 2 { adapter.len() } else { base.len() };
    check_length("means of the state", trained, mean.len())?;
    check_length("squares of the state", trained, square.len())?;
    whole.weights.base.clone_from(base);
    whole.weights.adapter.clone_from(adapter);
    let replica = prepared.shard_of(&whole, comms.place)?;
    let mut moments = Moments::new(&replica, state.phase);
    moments.step = state.step;
    let columns = &replica.shard.columns;
    let width = if state.phase == 2 { RANK } else { replica.shard.width };
    let split = |whole: &[f32], body: &mut [f32], shard: &mut [f32]| {
        let (of_body, of_head) = whole.split_at(body.len());
        body.copy_from_slice(of_body);
        let own = of_head.get(columns.start * width..columns.end * width).unwrap_or_default();
        shard.iter_mut().zip(own).for_each(|(to, value)| *to = *value);
    };
    split(mean, &mut moments.body.mean, &mut moments.shard.mean);
    split(square, &mut moments.body.square, &mut moments.shard.square);
    let step = i32::try_from(state.step).unwrap_or(i32::MAX);
    (moments.body.step, moments.shard.step) = (step, step);
    Ok((replica, moments))
}
