//! Collectives: the MPI library's own, counted and timed by what they carry.
//!
//! Floats are moved, never added: MPI adds and compares integers alone (see [`exact`](crate::exact)).

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrompi::{Communicator, MpiDatatype, ReduceOp};

use crate::error::{Error, check_length};
use crate::grid::Place;
use crate::watchdog::Progress;

/// What a collective carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Statistics of rows over a shard's columns, 64 bytes or fewer a row.
    Partials,
    /// Hidden states before the head.
    States,
    /// Gradients of hidden states behind it.
    HiddenGrads,
    /// Log-probs of sequences.
    Sequences,
    /// Gradients of weights.
    WeightGrads,
    /// Handshake, digests, checkpoints.
    Rest,
}

impl Load {
    /// All, in the order of a step.
    pub const ALL: [Self; 6] = [
        Self::States,
        Self::Partials,
        Self::Sequences,
        Self::HiddenGrads,
        Self::WeightGrads,
        Self::Rest,
    ];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Partials => "partials of rows",
            Self::States => "hidden states",
            Self::HiddenGrads => "hidden gradients",
            Self::Sequences => "sequence log-probs",
            Self::WeightGrads => "weight gradients",
            Self::Rest => "the rest",
        }
    }
}

/// What this rank has exchanged of one [`Load`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Collectives.
    pub calls: u64,
    /// Bytes that this rank gave.
    pub given: u64,
    /// Bytes that came from others, or that a sum was made over.
    pub taken: u64,
    /// Time within the calls, waiting for others included.
    pub time: Duration,
}

/// What all communicators of a rank share.
#[derive(Debug, Default)]
pub struct Shared {
    counts: RefCell<[Count; 6]>,
    /// For the watchdog.
    pub progress: Arc<Progress>,
}

impl Shared {
    /// What was exchanged so far.
    #[must_use]
    pub fn count(&self, load: Load) -> Count {
        self.counts.borrow().get(load as usize).copied().unwrap_or_default()
    }

    /// From 0 again.
    pub fn reset(&self) {
        *self.counts.borrow_mut() = Default::default();
    }
}

/// Ranks that talk to each other. Of one rank it makes no call.
pub struct Comm {
    inner: Option<Communicator>,
    /// This rank among them.
    pub rank: usize,
    /// How many they are.
    pub size: usize,
    shared: Rc<Shared>,
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Comm")
            .field("rank", &self.rank)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Comm {
    /// One rank alone.
    #[must_use]
    pub fn alone(shared: Rc<Shared>) -> Self {
        Self { inner: None, rank: 0, size: 1, shared }
    }

    /// The ranks of a communicator.
    #[must_use]
    pub fn new(inner: Communicator, shared: Rc<Shared>) -> Self {
        let [rank, size] =
            [inner.rank(), inner.size()].map(|number| usize::try_from(number).unwrap_or(0));
        Self { inner: Some(inner).filter(|_| size > 1), rank, size, shared }
    }

    fn run<R>(
        &self,
        (what, load): (&'static str, Load),
        (given, taken): (usize, usize),
        call: impl FnOnce(&Communicator) -> ferrompi::Result<R>,
    ) -> Result<Option<R>, Error> {
        let Some(inner) = &self.inner else { return Ok(None) };
        self.shared.progress.enter();
        let start = Instant::now();
        let result = call(inner);
        let time = start.elapsed();
        self.shared.progress.leave();
        if let Some(count) = self.shared.counts.borrow_mut().get_mut(load as usize) {
            count.calls += 1;
            count.given += given as u64;
            count.taken += taken as u64;
            count.time += time;
        }
        result.map(Some).map_err(|source| Error::Mpi { what, source })
    }

    /// Everyone's elements, in the order of ranks; `counts` says how many each one has.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::TooMany`], [`Error::Mpi`].
    pub fn gather<T: MpiDatatype + Copy + Default>(
        &self,
        load: Load,
        mine: &[T],
        counts: &[usize],
    ) -> Result<Vec<T>, Error> {
        check_length("ranks of a gather", self.size, counts.len())?;
        let own = counts.get(self.rank).copied().unwrap_or_default();
        check_length("what a rank gives to a gather", own, mine.len())?;
        if self.size == 1 {
            return Ok(mine.to_vec());
        }
        let total = counts.iter().sum();
        let (sizes, starts) = places(total, counts)?;
        let mut all = vec![T::default(); total];
        let bytes = (size_of_val(mine), (total - own) * size_of::<T>());
        self.run(("MPI_Allgatherv", load), bytes, |inner| {
            inner.allgatherv(mine, &mut all, &sizes, &starts)
        })?;
        Ok(all)
    }

    /// Of everyone's parts for this rank, in the order of ranks. What this rank gives is in parts
    /// for all ranks, in order; `counts` says how long the part for each rank is, on every rank.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::TooMany`], [`Error::Mpi`].
    pub fn transpose(&self, load: Load, mine: &[u8], counts: &[usize]) -> Result<Vec<u8>, Error> {
        check_length("ranks of an exchange", self.size, counts.len())?;
        check_length("what a rank gives to an exchange", counts.iter().sum(), mine.len())?;
        if self.size == 1 {
            return Ok(mine.to_vec());
        }
        let own = counts.get(self.rank).copied().unwrap_or_default();
        let (given, given_at) = places(mine.len(), counts)?;
        let (taken, taken_at) = places(own * self.size, &vec![own; self.size])?;
        let mut all = vec![0; own * self.size];
        let bytes = (mine.len() - own, all.len() - own);
        self.run(("MPI_Alltoallv", load), bytes, |inner| {
            inner.alltoallv(mine, &given, &given_at, &mut all, &taken, &taken_at)
        })?;
        Ok(all)
    }

    /// The largest of everyone's integers, element by element.
    ///
    /// # Errors
    /// [`Error::Mpi`].
    pub fn max(&self, load: Load, values: &mut [i32]) -> Result<(), Error> {
        let bytes = size_of_val(values);
        self.run(("MPI_Allreduce of i32", load), (bytes, bytes), |inner| {
            inner.allreduce_inplace(values, ReduceOp::Max)
        })?;
        Ok(())
    }

    /// Sums of everyone's integers.
    ///
    /// # Errors
    /// [`Error::Mpi`].
    pub fn sum(&self, load: Load, values: &mut [i64]) -> Result<(), Error> {
        let bytes = size_of_val(values);
        self.run(("MPI_Allreduce of i64", load), (bytes, bytes), |inner| {
            inner.allreduce_inplace(values, ReduceOp::Sum)
        })?;
        Ok(())
    }

    /// Sums modulo 2^64.
    ///
    /// # Errors
    /// [`Error::Mpi`].
    pub fn sum_digests(&self, values: &mut [u64]) -> Result<(), Error> {
        let bytes = size_of_val(values);
        self.run(("MPI_Allreduce of u64", Load::Rest), (bytes, bytes), |inner| {
            inner.allreduce_inplace(values, ReduceOp::Sum)
        })?;
        Ok(())
    }

    /// This rank's block of the sums of everyone's integers, blocks of equal length.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Mpi`].
    pub fn sum_blocks(&self, load: Load, values: Vec<i64>) -> Result<Vec<i64>, Error> {
        let block = values.len() / self.size.max(1);
        check_length("blocks of a sum", block * self.size, values.len())?;
        if self.size == 1 {
            return Ok(values);
        }
        let mut out = vec![0; block];
        let bytes = (size_of_val(&*values), size_of_val(&*out));
        self.run(("MPI_Reduce_scatter_block of i64", load), bytes, |inner| {
            inner.reduce_scatter_block(&values, &mut out, ReduceOp::Sum)
        })?;
        Ok(out)
    }

    /// Waits for everyone.
    ///
    /// # Errors
    /// [`Error::Mpi`].
    pub fn barrier(&self) -> Result<(), Error> {
        self.run(("MPI_Barrier", Load::Rest), (0, 0), Communicator::barrier)?;
        Ok(())
    }
}

/// Lengths and starts of parts, as MPI takes them.
fn places(total: usize, counts: &[usize]) -> Result<(Vec<i32>, Vec<i32>), Error> {
    i32::try_from(total).map_err(|_| Error::TooMany { what: "a collective", found: total })?;
    // Each is at most the total.
    let sizes: Vec<i32> =
        counts.iter().map(|&count| i32::try_from(count).unwrap_or(i32::MAX)).collect();
    let starts = sizes.iter().scan(0, |at, size| Some(std::mem::replace(at, *at + size)));
    Ok((sizes.clone(), starts.collect()))
}

/// A rank's communicators.
#[derive(Debug)]
pub struct Comms {
    /// Where it stands.
    pub place: Place,
    /// All ranks.
    pub world: Comm,
    /// The shards of its group.
    pub vocab: Comm,
    /// The groups that have its shard.
    pub data: Comm,
    /// Counts and progress.
    pub shared: Rc<Shared>,
}

impl Comms {
    /// One rank alone.
    #[must_use]
    pub fn alone(place: Place) -> Self {
        let shared = Rc::new(Shared::default());
        let [world, vocab, data] = [(); 3].map(|()| Comm::alone(Rc::clone(&shared)));
        Self { place, world, vocab, data, shared }
    }

    /// Splits the world. Every rank of it calls this.
    ///
    /// # Errors
    /// [`Error::Mpi`].
    pub fn new(place: Place, world: Comm) -> Result<Self, Error> {
        let shared = Rc::clone(&world.shared);
        let split = |color: usize, key: usize| -> Result<Comm, Error> {
            let Some(inner) = &world.inner else { return Ok(Comm::alone(Rc::clone(&shared))) };
            let [color, key] = [color, key].map(|number| i32::try_from(number).unwrap_or(i32::MAX));
            let found = inner
                .split(Some(color), key)
                .map_err(|source| Error::Mpi { what: "MPI_Comm_split", source })?;
            Ok(found.map_or_else(
                || Comm::alone(Rc::clone(&shared)),
                |inner| Comm::new(inner, Rc::clone(&shared)),
            ))
        };
        let vocab = split(place.group, place.shard)?;
        let data = split(place.shard, place.group)?;
        Ok(Self { place, world, vocab, data, shared })
    }
}
