//! One batch on all ranks: from tokens to gradients that are the same on every grid.
//!
//! ```text
//! items (texts, or pairs) ─▶ own items through the model's body      a rank alone
//!                         ─▶ hidden states of the group's items      gathered over shards
//!                         ─▶ log-probs of the group's rows           partials exchanged over shards
//!                         ─▶ log-probs of all sequences              gathered over groups
//!                         ─▶ loss of the whole batch                 every rank, the same bits
//!                         ─▶ hidden gradients of own items           exact sums over shards
//!                         ─▶ gradients: the body's                   exact sums over items, all ranks
//!                                       the head's own columns       exact sums over items, groups
//! ```

use std::ops::Range;

use dpo_kernel::gradient::token_coefficients;
use dpo_kernel::{Dispatch, Layout, SequenceLogProb, Span, sequence_log_probs};

use crate::comm::{Comm, Comms, Load};
use crate::error::Error;
use crate::exact::{self, Fixed, NOT_FINITE};
use crate::finetune::batch::Scored;
use crate::finetune::linear::{Adapter, RANK, SCALE, matmul, transpose};
use crate::finetune::model::{Model, Tape};
use crate::finetune::objective::Objective;
use crate::head::{HeadShard, Pass};

/// What a rank trains: the model's body, whole, and a shard of its head.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its weights end where the head's W and B would begin.
    pub model: Model,
    /// The rest.
    pub shard: HeadShard,
}

/// What is split over ranks: a text, or a pair's two.
pub type Item<'a> = Vec<Scored<'a>>;

/// A batch, forward.
#[derive(Debug)]
pub struct Forward<'a> {
    replica: &'a Replica,
    comms: &'a Comms,
    dispatch: Dispatch,
    adapter: Adapter,
    /// Rows of the whole batch, and of it before this group.
    rows: usize,
    before: usize,
    /// Sequences of the whole batch, and which of them are the group's.
    counts: Vec<usize>,
    group: Range<usize>,
    /// Rows of each shard's rank within the group.
    blocks: Vec<Range<usize>>,
    /// By item of the group: its rows.
    items: Vec<Range<usize>>,
    all_items: usize,
    /// By own sequence: what the body left, its rows of the group, its item.
    tapes: Vec<(Tape, Range<usize>, usize)>,
    states: Vec<f32>,
    projected: Vec<f32>,
    targets: Vec<u32>,
    spans: Vec<Span>,
    pass: Pass,
    /// Log-probs of all sequences of the batch, in order.
    pub sequences: Vec<SequenceLogProb>,
}

/// Gradients of what is trained: on every rank that of the body, and of the shard's own columns.
#[derive(Debug, PartialEq)]
pub struct Grads {
    /// Of the base weights below the head, or of the adapters and the head's A.
    pub body: Vec<f32>,
    /// Of the shard's rows of W, or of B.
    pub shard: Vec<f32>,
}

fn rows_of(item: &Item<'_>) -> usize {
    item.iter().map(|(_, rows)| rows.len()).sum()
}

impl<'a> Forward<'a> {
    /// Runs the batch up to the log-probs of all its sequences. Every rank calls this with the
    /// same items.
    ///
    /// # Errors
    /// What the shards, MPI or the library refuse.
    pub fn new(
        replica: &'a Replica,
        comms: &'a Comms,
        dispatch: Dispatch,
        all: &[Item<'_>],
        adapter: Adapter,
    ) -> Result<Self, Error> {
        let (place, model) = (comms.place, &replica.model);
        let width = model.width();
        let group_items = place.items_of_group(all.len());
        let group_of = all.get(group_items.clone()).unwrap_or_default();
        let before = all.iter().take(group_items.start).map(rows_of).sum();
        let sequences_before = all.iter().take(group_items.start).map(Vec::len).sum();
        let group =
            sequences_before..sequences_before + group_of.iter().map(Vec::len).sum::<usize>();

        let (mut targets, mut spans, mut items) = (Vec::new(), Vec::new(), Vec::new());
        let (mut own_states, mut tapes) = (Vec::new(), Vec::new());
        let mut blocks = Vec::new();
        for shard in 0..place.grid.vocab {
            let start = targets.len();
            let of_rank = place.items_of(all.len(), shard);
            for item in all.get(of_rank).unwrap_or_default() {
                let first = targets.len();
                for (tokens, rows) in item {
                    let at = targets.len();
                    // The shift by one: row t scores the token after it.
                    let next = tokens.iter().skip(rows.start + 1).take(rows.len());
                    targets.extend(next.map(|&token| u32::from(token)));
                    spans.push(Span { start: at, end: targets.len() });
                    if shard == place.shard && !rows.is_empty() {
                        let mut states = vec![0.0; rows.len() * width];
                        let tape = model.forward(tokens, rows.clone(), adapter, &mut states);
                        own_states.extend(states);
                        tapes.push((tape, at..targets.len(), items.len()));
                    }
                }
                items.push(first..targets.len());
            }
            blocks.push(start..targets.len());
        }
        let counts: Vec<usize> = blocks.iter().map(|rows| rows.len() * width).collect();
        let states = comms.vocab.gather(Load::States, &own_states, &counts)?;
        let projected = match adapter {
            Adapter::Off => Vec::new(),
            Adapter::On => project(replica, &states),
        };
        let shard = &replica.shard;
        let input = (states.as_slice(), projected.as_slice());
        let pass = shard.score(&comms.vocab, dispatch, adapter, input, &targets)?;
        let mut forward = Self {
            replica,
            comms,
            dispatch,
            adapter,
            rows: all.iter().map(rows_of).sum(),
            before,
            counts: sequences_of_groups(comms, all),
            group,
            blocks,
            items,
            all_items: all.len(),
            tapes,
            states,
            projected,
            targets,
            spans,
            pass,
            sequences: Vec::new(),
        };
        forward.sequences = forward.gather_sequences()?;
        Ok(forward)
    }

    /// log p of every row of this group, and how many rows of the batch come before.
    #[must_use]
    pub fn log_probs(&self) -> (usize, &[f32]) {
        (self.before, &self.pass.log_probs)
    }

    /// Rows of the whole batch.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    fn layout(&self) -> Result<Layout<'_>, Error> {
        Ok(Layout::new(&self.targets, &self.spans, self.replica.shard.vocab)?)
    }

    /// The group's sums, then everyone's, in the order of the batch.
    fn gather_sequences(&self) -> Result<Vec<SequenceLogProb>, Error> {
        let mut own = vec![SequenceLogProb::default(); self.spans.len()];
        sequence_log_probs(&self.pass.log_probs, &self.layout()?, None, &mut own)?;
        let own: Vec<u64> =
            own.iter().flat_map(|found| [found.sum.to_bits(), found.count as u64]).collect();
        let all = self.comms.data.gather(Load::Sequences, &own, &self.counts)?;
        let sequence = |numbers: &[u64; 2]| SequenceLogProb {
            sum: f64::from_bits(numbers[0]),
            count: usize::try_from(numbers[1]).unwrap_or(usize::MAX),
        };
        Ok(all.as_chunks().0.iter().map(sequence).collect())
    }

    /// The mean of −log p over all tokens of the batch, and the gradient.
    ///
    /// # Errors
    /// As [`Forward::new`].
    #[allow(clippy::cast_precision_loss, reason = "counts are small")]
    pub fn likelihood(mut self) -> Result<(f64, Grads), Error> {
        let rows = self.rows.max(1) as f64;
        let loss = -self.sequences.iter().map(|sequence| sequence.sum).sum::<f64>() / rows;
        let coefficients = vec![-1.0 / rows; self.targets.len()];
        Ok((loss, self.backward(&coefficients)?))
    }

    /// The loss of the batch's pairs, and the gradient. `reference` are the log-probs of their
    /// sequences under the reference.
    ///
    /// # Errors
    /// As [`Forward::new`].
    pub fn preference(
        mut self,
        objective: &Objective,
        reference: &[SequenceLogProb],
    ) -> Result<(f64, Grads), Error> {
        let found = objective.evaluate(&self.sequences, reference)?;
        let mut coefficients = vec![0.0; self.targets.len()];
        let of_group = found.d_log_probs.get(self.group.clone()).unwrap_or_default();
        token_coefficients(&self.layout()?, of_group, None, None, &mut coefficients)?;
        Ok((found.loss, self.backward(&coefficients)?))
    }

    fn backward(&mut self, coefficients: &[f64]) -> Result<Grads, Error> {
        let Replica { model, shard } = self.replica;
        let of_rows = (self.targets.as_slice(), coefficients);
        let vocab = &self.comms.vocab;
        let d = shard.backward(vocab, self.dispatch, &mut self.pass, of_rows, &self.blocks)?;
        let input = (self.states.as_slice(), self.projected.as_slice());
        let of_shard: Vec<Vec<f32>> =
            self.items.iter().map(|rows| shard.weight_grads(&self.pass, input, rows)).collect();
        let size = match self.adapter {
            Adapter::Off => (model.weights.base.len(), shard.w.len()),
            Adapter::On => (model.weights.adapter.len(), shard.b.len()),
        };
        let of_body = self.body_grads(d, size.0);
        let parts = self.all_items;
        Ok(Grads {
            body: sum_items(&self.comms.world, &of_body, size.0, parts)?,
            shard: sum_items(&self.comms.data, &of_shard, size.1, parts)?,
        })
    }

    /// Gradients of the body's weights, one vector for each own item.
    fn body_grads(&self, mut d: Vec<f32>, size: usize) -> Vec<Vec<f32>> {
        let (model, width) = (&self.replica.model, self.replica.model.width());
        let stride = self.replica.shard.stride(self.adapter);
        let place = self.comms.place;
        let first_row = self.blocks.get(place.shard).map_or(0, |rows| rows.start);
        let mut grads: Vec<Vec<f32>> = Vec::new();
        let mut last = None;
        for (tape, rows, item) in &self.tapes {
            if last.replace(*item) != Some(*item) {
                grads.push(vec![0.0; size]);
            }
            let Some(grads) = grads.last_mut() else { continue };
            let states = self.states.get(rows.start * width..rows.end * width).unwrap_or_default();
            let at = (rows.start - first_row) * stride..(rows.end - first_row) * stride;
            let d = d.get_mut(at).unwrap_or_default();
            if self.adapter == Adapter::On {
                self.a_grads(states, d, grads);
            }
            let d_states = d.chunks_exact(stride).map(|row| row.get(..width).unwrap_or_default());
            model.backward(tape, states, d_states, grads);
        }
        grads
    }

    /// From du to dA and on to dx: dA += s duᵀ x, dx += s du A.
    fn a_grads(&self, x: &[f32], d: &mut [f32], grads: &mut [f32]) {
        let (model, width) = (&self.replica.model, self.replica.model.width());
        let place = model.head.a.clone();
        let a = model.weights.adapter.get(place.clone()).unwrap_or_default();
        let stride = width + RANK;
        let du: Vec<f32> = d
            .chunks_exact(stride)
            .flat_map(|row| row.get(width..).unwrap_or_default().iter().map(|value| SCALE * value))
            .collect();
        let rows = du.len() / RANK;
        let d_a = matmul(&transpose(&du, RANK), x, rows, width);
        let to = grads.get_mut(place).unwrap_or_default();
        to.iter_mut().zip(d_a).for_each(|(to, value)| *to += value);
        let more = matmul(&du, a, RANK, width);
        for (row, more) in d.chunks_exact_mut(stride).zip(more.chunks_exact(width)) {
            row.iter_mut().zip(more).for_each(|(to, value)| *to += value);
        }
    }
}

/// u = s x Aᵀ of every row.
fn project(replica: &Replica, states: &[f32]) -> Vec<f32> {
    let (model, width) = (&replica.model, replica.model.width());
    let a = model.weights.adapter.get(model.head.a.clone()).unwrap_or_default();
    let mut u = matmul(states, &transpose(a, width), width, RANK);
    for value in &mut u {
        *value *= SCALE;
    }
    u
}

/// Numbers that each group gives of its sequences.
fn sequences_of_groups(comms: &Comms, all: &[Item<'_>]) -> Vec<usize> {
    let groups = (0..comms.place.grid.data).map(|group| {
        let place = crate::grid::Place { group, ..comms.place };
        all.get(place.items_of_group(all.len())).unwrap_or_default()
    });
    groups.map(|items| 2 * items.iter().map(Vec::len).sum::<usize>()).collect()
}

/// Σ of the vectors of all items, wherever they are.
///
/// # Errors
/// [`Error::NotFinite`] on every rank, [`Error::Mpi`].
pub fn sum_items(
    comm: &Comm,
    own: &[Vec<f32>],
    size: usize,
    all_items: usize,
) -> Result<Vec<f32>, Error> {
    let mut exponent = [own.iter().map(exact::exponent).max().unwrap_or(exact::ZERO)];
    comm.max(Load::WeightGrads, &mut exponent)?;
    let [exponent] = exponent;
    if exponent == NOT_FINITE {
        return Err(Error::NotFinite { what: "gradients of weights" });
    }
    let Some(fixed) = Fixed::new(exponent, all_items) else { return Ok(vec![0.0; size]) };
    let mut sums = vec![0_i64; size];
    for vector in own {
        sums.iter_mut().zip(vector).for_each(|(sum, &x)| *sum += fixed.integer(x));
    }
    comm.sum(Load::WeightGrads, &mut sums)?;
    Ok(sums.into_iter().map(|sum| fixed.float(sum)).collect())
}
