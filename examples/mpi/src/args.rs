//! The command line of a rank.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use dpo_kernel::{Arithmetic, Dispatch, Error as Kernel, Level};

use crate::grid::Grid;

const USAGE: &str = "\
DPO on the ranks of MPI: the same bits on every grid.

usage: mpirun -n RANKS dpo-kernel-mpi [OPTION VALUE]...

  --grid SHARDSxGROUPS   shards of the vocabulary x groups of pairs; RANKS is
                         their product; default 1xRANKS
  --data FILE.jsonl      preference pairs, in the forms that `finetune` reads;
                         default: built-in pairs
  --beta X               default 0.1
  --seed N               split, weights and order follow from it; default 1
  --limit N              at most N steps of each of the three phases
  --arithmetic NAME      fused or portable; default: what the machine has
  --timeout SECONDS      how long a rank waits in one collective before it asks
                         the others where they are; default 60
  --state FILE           where rank 0 keeps the state of the run; a run whose
                         file is there goes on from it
  --every N              steps between two writes of it; default 50
  --measure VOCAB        no training: time of fold, exchange and merge at this
                         vocabulary
  --rows N               rows of --measure; default 64
  --help                 this text
";

/// What `--help` shows.
#[must_use]
pub const fn help() -> &'static str {
    USAGE
}

/// What a run is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// None: every rank a group.
    pub grid: Option<Grid>,
    /// None: the built-in pairs.
    pub data: Option<PathBuf>,
    /// β of DPO.
    pub beta: f64,
    /// Everything random follows from it.
    pub seed: u64,
    /// Steps of a phase at most.
    pub limit: Option<usize>,
    /// None: the machine's fastest.
    pub arithmetic: Option<Arithmetic>,
    /// Of the watchdog.
    pub timeout: Duration,
    /// The file of the state.
    pub state: Option<PathBuf>,
    /// Steps between two writes.
    pub every: usize,
    /// Columns to measure with.
    pub measure: Option<usize>,
    /// Rows to measure with.
    pub rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            grid: None,
            data: None,
            beta: 0.1,
            seed: 1,
            limit: None,
            arithmetic: None,
            timeout: Duration::from_secs(60),
            state: None,
            every: 50,
            measure: None,
            rows: 64,
        }
    }
}

impl Options {
    /// The instructions and roundings that it asks for.
    ///
    /// # Errors
    /// The machine does not have them.
    pub fn dispatch(&self) -> Result<Dispatch, Kernel> {
        let detected = Dispatch::detect();
        match self.arithmetic {
            None => Ok(detected),
            Some(arithmetic) => Dispatch::new(Level::detect(), arithmetic),
        }
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The text of `--help`.
    Help,
    /// A run.
    Run(Box<Options>),
}

/// Reads the command line, without the program's name.
///
/// # Errors
/// Names the option and the value.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut options = Options::default();
    let mut args = args.into_iter();
    while let Some(name) = args.next() {
        let name = name.to_string_lossy().into_owned();
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(Request::Help);
        }
        let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
        let refuse = |text: &str, wanted: &str| format!("{name} takes {wanted}, not `{text}`");
        let mut count = |least: usize| -> Result<usize, String> {
            let text = value()?.to_string_lossy().into_owned();
            let found = text.parse().ok().filter(|count| (least..=1 << 24).contains(count));
            found.ok_or_else(|| refuse(&text, &format!("a number from {least} to {}", 1 << 24)))
        };
        match name.as_str() {
            "--limit" => options.limit = Some(count(1)?),
            "--every" => options.every = count(1)?,
            "--measure" => options.measure = Some(count(1)?),
            "--rows" => options.rows = count(1)?,
            "--data" => options.data = Some(value()?.into()),
            "--state" => options.state = Some(value()?.into()),
            "--grid" | "--beta" | "--seed" | "--arithmetic" | "--timeout" => {
                let text = value()?.to_string_lossy().into_owned();
                let positive = || text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0);
                let refuse = |wanted| refuse(&text, wanted);
                match name.as_str() {
                    "--grid" => options.grid = Some(text.parse()?),
                    "--beta" => {
                        options.beta =
                            positive().ok_or_else(|| refuse("a finite number above 0"))?;
                    }
                    "--seed" => {
                        let seed = text.parse();
                        options.seed =
                            seed.map_err(|_| refuse("a whole number from 0 to 2^64 - 1"))?;
                    }
                    "--timeout" => {
                        let seconds = positive().filter(|seconds| *seconds <= 1e6);
                        let seconds =
                            seconds.ok_or_else(|| refuse("seconds, above 0, to 1000000"))?;
                        options.timeout = Duration::from_secs_f64(seconds);
                    }
                    _ => {
                        options.arithmetic = Some(match text.as_str() {
                            "fused" => Arithmetic::Fused,
                            "portable" => Arithmetic::Portable,
                            _ => return Err(refuse("fused or portable")),
                        });
                    }
                }
            }
            _ => return Err(format!("there is no option `{name}`: --help lists them")),
        }
    }
    Ok(Request::Run(Box::new(options)))
}
