//! A rank from its command line to its end.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use dpo_kernel::Dispatch;
use ferrompi::{Communicator, Mpi, ThreadLevel};

use crate::args::{self, Options, Request};
use crate::comm::{Comm, Comms, Load, Shared};
use crate::error::Error;
use crate::finetune::objective::Found;
use crate::grid::{Grid, Place};
use crate::handshake::{Record, shake};
use crate::measure;
use crate::prepare::Prepared;
use crate::report::{partial_bytes, table};
use crate::state::{Keeper, Moments, restore};
use crate::train::Run;
use crate::watchdog::Watchdog;

const NAME: &str = "dpo-kernel-mpi";

/// A rank, from its arguments without the program's name. Ranks that refuse each other end in
/// order, with status 2; a rank that fails later ends all others.
#[must_use]
pub fn start(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let request = args::parse(arguments);
    if let Ok(Request::Help) = request {
        let _ = io::stdout().write_all(args::help().as_bytes());
        return ExitCode::SUCCESS;
    }
    let mpi = match Mpi::init_thread(ThreadLevel::Multiple) {
        Ok(mpi) => mpi,
        Err(error) => {
            eprintln!("{NAME}: MPI_Init_thread: {error}");
            return ExitCode::from(1);
        }
    };
    let world = mpi.world();
    let rank = world.rank();
    let options = request.map(|request| match request {
        Request::Run(options) => *options,
        Request::Help => Options::default(),
    });
    match job(&mpi, &world, options) {
        Ok(()) => ExitCode::SUCCESS,
        // All have it: one tells.
        Err(Error::Refused(lines)) => {
            if rank == 0 {
                for line in lines {
                    eprintln!("{NAME}: {line}");
                }
            }
            // A launcher ends all as soon as one has ended with a status: not before it is told.
            let _ = world.barrier();
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("{NAME}: rank {rank}: {error}");
            world.abort(1)
        }
    }
}

fn job(mpi: &Mpi, world: &Communicator, options: Result<Options, String>) -> Result<(), Error> {
    if mpi.thread_level() < ThreadLevel::Multiple {
        let found = mpi.thread_level();
        return Err(Error::Input(format!(
            "MPI gives {found:?} threads, the watchdog takes Multiple"
        )));
    }
    let begin = Instant::now();
    let copy = || world.duplicate().map_err(|source| Error::Mpi { what: "MPI_Comm_dup", source });
    let (main, control) = (copy()?, copy()?);
    let shared = Rc::new(Shared::default());
    let timeout = options.as_ref().map_or_else(|_| Options::default().timeout, |told| told.timeout);
    let watchdog = Watchdog::start(control, Arc::clone(&shared.progress), timeout);
    let world = Comm::new(main, Rc::clone(&shared));

    let ready = options.map_err(Error::Input).and_then(|options| ready(options, world.size));
    let record = match &ready {
        Ok(ready) => ready.prepared.record(ready.grid),
        Err(error) => Record { trouble: error.to_string(), ..Record::default() },
    };
    shake(&world, &record)?;
    let Ready { options, dispatch, grid, prepared } = ready?;
    let place = Place::new(grid, world.rank);
    let comms = Comms::new(place, world)?;
    if let Some(vocab) = options.measure {
        measure::run(&comms, dispatch, vocab, options.rows, &mut io::stdout())?;
    } else {
        train(&comms, &options, dispatch, &prepared, begin)?;
    }
    // Nobody's thread stops while another may still ask it.
    comms.world.barrier()?;
    drop(watchdog);
    Ok(())
}

/// A rank that can take part.
struct Ready {
    options: Options,
    dispatch: Dispatch,
    grid: Grid,
    prepared: Prepared,
}

fn ready(options: Options, ranks: usize) -> Result<Ready, Error> {
    let grid = options.grid.unwrap_or(Grid { vocab: 1, data: ranks });
    if grid.ranks() != ranks {
        let why = format!("--grid {grid} takes {} ranks, there are {ranks}", grid.ranks());
        return Err(Error::Input(why));
    }
    let dispatch = options.dispatch()?;
    let prepared = Prepared::new(&options, dispatch)?;
    Ok(Ready { options, dispatch, grid, prepared })
}

fn train(
    comms: &Comms,
    options: &Options,
    dispatch: Dispatch,
    prepared: &Prepared,
    begin: Instant,
) -> Result<(), Error> {
    let mut out: Box<dyn Write> =
        if comms.world.rank == 0 { Box::new(io::stdout()) } else { Box::new(io::sink()) };
    introduce(comms, dispatch, &mut out)?;
    let (mut replica, moments) = if let Some(state) = &prepared.state {
        let _ = writeln!(out, "state: goes on from phase {}, step {}", state.phase, state.step);
        restore(state, comms, prepared)?
    } else {
        let replica = prepared.shard_of(&prepared.model, comms.place)?;
        let moments = Moments::new(&replica, 0);
        (replica, moments)
    };
    let path = options.state.as_deref();
    let keeper = Keeper { path, every: options.every, settings: &prepared.settings };
    let mut run = Run::new(comms, dispatch, prepared, keeper);
    let scores = run.train(&mut replica, moments, &mut prepared.random.clone(), &mut out)?;
    let digests = run.digests(&replica)?;
    let seconds = begin.elapsed().as_secs_f64();
    let text = table(&comms.shared, comms.world.rank, seconds);
    let bytes = partial_bytes(&comms.shared, run.rows);
    let _ = write!(out, "{text}");
    let _ = writeln!(out, "partials: {bytes:.1} bytes a token and rank over {} tokens", run.rows);
    let _ = writeln!(out, "result: {}", figures(&scores));
    let _ = writeln!(
        out,
        "digests: losses={:016x} log_probs={:016x} gradients={:016x} weights={:016x}",
        digests.losses.0, digests.log_probs.0, digests.gradients.0, digests.weights.0
    );
    Ok(())
}

/// Who is where: what a message that names a rank, or a launcher's that names a process, means.
fn introduce(comms: &Comms, dispatch: Dispatch, out: &mut dyn Write) -> Result<(), Error> {
    let process = [u64::from(std::process::id())];
    let all = comms.world.gather(Load::Rest, &process, &vec![1; comms.world.size])?;
    let grid = comms.place.grid;
    let _ = writeln!(
        out,
        "grid: {} shards x {} groups, {:?} arithmetic, MPI {}",
        grid.vocab,
        grid.data,
        dispatch.arithmetic(),
        Mpi::library_version().unwrap_or_default().lines().next().unwrap_or_default(),
    );
    for (rank, process) in all.iter().enumerate() {
        let place = Place::new(grid, rank);
        let _ = writeln!(
            out,
            "rank {rank}: shard {}, group {}, process {process}",
            place.shard, place.group
        );
    }
    Ok(())
}

fn figures([train, held_out]: &[Found; 2]) -> String {
    format!(
        "loss={:.4} margin={:.4} train_accuracy={:.4} heldout_accuracy={:.4}",
        train.loss,
        train.summary.mean_margin(),
        train.summary.accuracy(),
        held_out.summary.accuracy()
    )
}
