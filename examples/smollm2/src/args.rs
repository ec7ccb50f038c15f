//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::lora::{Plan, Projection};

const USAGE: &str = "\
Fine-tunes SmolLM2-135M-Instruct, or another Llama in a GGUF file, by DPO with a LoRA adapter.

usage: smollm2 --model FILE.gguf [OPTION VALUE]... [--resume]

  --model FILE.gguf   weights, vocabulary and chat template
  --data FILE.jsonl   preference pairs: `prompt`, `chosen`, `rejected`, strings or lists
                      of messages; default: 160 pairs of this project's own
  --out DIR           where the adapter, the curves and the state go; default smollm2-run
  --resume            goes on after the last step that the state in --out has

  --steps N           default: as many as one pass over the pairs takes
  --batch N           pairs a step; default 4; the last of a pass is filled from the next
  --micro-batch N     pairs that go through the model together; default 1
  --lr X              learning rate; default 5e-4
  --schedule NAME     linear (to 0) or constant; default linear
  --beta X            how closely the policy is held to the reference; default 0.1
  --clip X            largest norm of a gradient, 0 for none; default 1
  --rank N            of the adapter; default 8
  --alpha X           scale of the adapter times its rank; default 16
  --targets A,B,…     of q_proj k_proj v_proj o_proj gate_proj up_proj down_proj;
                      default q_proj,v_proj
  --order NAME        shuffled (anew in each pass) or file; default shuffled
  --hold-out N        every N-th pair is held out, none for 0; default 8
  --max-tokens N      pairs with a longer sequence are left out; default 1024
  --seed N            adapter and order follow from it; default 1
  --sample-tokens N   of an answer before and after, to prompts that are held out if any are;
                      0 for no samples; default 48

  --dump FILE         one JSON object a step: loss, margin, log-probs, seconds, tokens
  --dump-tokens FILE  one JSON object a pair that is trained on, in the order of the file:
                      tokens of `prompt`, `chosen`, `rejected`
  --save-init DIR     the adapter before the first step
  --help              this text
";

/// What `--help` shows.
#[must_use]
pub const fn help() -> &'static str {
    USAGE
}

/// How the learning rate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Down to 0 in a straight line, from the first step's full rate on.
    Linear,
    /// The same in every step.
    Constant,
}

/// In which order pairs come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Drawn anew in each pass.
    Shuffled,
    /// As in the file.
    File,
}

/// What a run is made from.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each is an option, which the help explains")]
pub struct Options {
    pub model: PathBuf,
    pub data: Option<PathBuf>,
    pub out: PathBuf,
    pub resume: bool,
    pub steps: Option<usize>,
    pub batch: usize,
    pub micro_batch: usize,
    pub rate: f64,
    pub schedule: Schedule,
    pub beta: f64,
    pub clip: Option<f64>,
    pub plan: Plan,
    pub order: Order,
    pub hold_out: usize,
    pub max_tokens: usize,
    pub seed: u64,
    pub sample_tokens: usize,
    pub dump: Option<PathBuf>,
    pub dump_tokens: Option<PathBuf>,
    pub save_init: Option<PathBuf>,
}

impl Options {
    /// The defaults, of a model.
    #[must_use]
    pub fn new(model: PathBuf) -> Self {
        let targets = vec![Projection::Query, Projection::Value];
        Self {
            model,
            data: None,
            out: PathBuf::from("smollm2-run"),
            resume: false,
            steps: None,
            batch: 4,
            micro_batch: 1,
            rate: 5e-4,
            schedule: Schedule::Linear,
            beta: 0.1,
            clip: Some(1.0),
            plan: Plan { rank: 8, alpha: 16.0, targets },
            order: Order::Shuffled,
            hold_out: 8,
            max_tokens: 1024,
            seed: 1,
            sample_tokens: 48,
            dump: None,
            dump_tokens: None,
            save_init: None,
        }
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The help.
    Help,
    /// A run.
    Run(Box<Options>),
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// One or two lines that name the option and the value.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut options = Options::new(PathBuf::new());
    let mut args = args.into_iter();
    while let Some(name) = args.next() {
        let name = name.to_string_lossy().into_owned();
        match name.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--resume" => options.resume = true,
            _ => {
                let place = set(&mut options, &name)?;
                let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
                let refuse = |wanted: String| {
                    format!("{name} takes {wanted}, not `{}`", value.to_string_lossy())
                };
                place(&value).map_err(refuse)?;
            }
        }
    }
    if options.model.as_os_str().is_empty() {
        return Err("--model FILE.gguf is needed: --help says more".into());
    }
    Ok(Request::Run(Box::new(options)))
}

/// Puts a value where it belongs, or says what is wanted.
type Place<'a> = Box<dyn FnOnce(&OsString) -> Result<(), String> + 'a>;

/// The place of an option's value.
fn set<'a>(options: &'a mut Options, name: &str) -> Result<Place<'a>, String> {
    Ok(match name {
        "--model" => path(&mut options.model),
        "--data" => some_path(&mut options.data),
        "--out" => path(&mut options.out),
        "--steps" => {
            let place = &mut options.steps;
            Box::new(|value| count(1, 1_000_000)(value).map(|steps| *place = Some(steps)))
        }
        "--batch" => number(&mut options.batch, count(1, 4096)),
        "--micro-batch" => number(&mut options.micro_batch, count(1, 4096)),
        "--lr" => number(&mut options.rate, real("a finite number above 0", 0.0)),
        "--schedule" => {
            let names = [("linear", Schedule::Linear), ("constant", Schedule::Constant)];
            number(&mut options.schedule, named(names))
        }
        "--beta" => number(&mut options.beta, real("a finite number above 0", 0.0)),
        "--clip" => {
            let place = &mut options.clip;
            Box::new(|value| {
                let clip = real("a finite number, 0 or above", -f64::MIN_POSITIVE)(value)?;
                *place = (clip > 0.0).then_some(clip);
                Ok(())
            })
        }
        "--rank" => number(&mut options.plan.rank, count(1, 256)),
        "--alpha" => number(&mut options.plan.alpha, real("a finite number above 0", 0.0)),
        "--targets" => number(&mut options.plan.targets, targets),
        "--order" => {
            let names = [("shuffled", Order::Shuffled), ("file", Order::File)];
            number(&mut options.order, named(names))
        }
        "--hold-out" => number(&mut options.hold_out, |value: &OsString| {
            let every = count(0, 1_000_000)(value).ok().filter(|every| *every != 1);
            every.ok_or_else(|| "0 or a number from 2 to 1000000".to_owned())
        }),
        "--max-tokens" => number(&mut options.max_tokens, count(2, 32_768)),
        "--seed" => number(&mut options.seed, |value: &OsString| {
            let seed = value.to_str().and_then(|text| text.parse().ok());
            seed.ok_or_else(|| "a whole number from 0 to 2^64 - 1".to_owned())
        }),
        "--sample-tokens" => number(&mut options.sample_tokens, count(0, 4096)),
        "--dump" => some_path(&mut options.dump),
        "--dump-tokens" => some_path(&mut options.dump_tokens),
        "--save-init" => some_path(&mut options.save_init),
        _ => return Err(format!("there is no option `{name}`: --help lists them")),
    })
}

fn number<'a, T>(
    place: &'a mut T,
    read: impl FnOnce(&OsString) -> Result<T, String> + 'a,
) -> Place<'a> {
    Box::new(move |value| read(value).map(|value| *place = value))
}

fn path(place: &mut PathBuf) -> Place<'_> {
    number(place, |value| Ok(PathBuf::from(value)))
}

fn some_path(place: &mut Option<PathBuf>) -> Place<'_> {
    number(place, |value| Ok(Some(PathBuf::from(value))))
}

fn count(least: usize, most: usize) -> impl Fn(&OsString) -> Result<usize, String> {
    move |value| {
        let count = value.to_str().and_then(|text| text.parse().ok());
        let count = count.filter(|count| (least..=most).contains(count));
        count.ok_or_else(|| format!("a number from {least} to {most}"))
    }
}

fn real(wanted: &'static str, above: f64) -> impl Fn(&OsString) -> Result<f64, String> {
    move |value| {
        let real = value.to_str().and_then(|text| text.parse().ok());
        let real = real.filter(|x: &f64| x.is_finite() && *x > above);
        real.ok_or_else(|| wanted.to_owned())
    }
}

fn named<T: Copy, const N: usize>(
    names: [(&'static str, T); N],
) -> impl Fn(&OsString) -> Result<T, String> {
    move |value| {
        let found = names.iter().find(|(name, _)| value.to_str() == Some(name));
        let wanted = || names.map(|(name, _)| name).join(" or ");
        found.map(|(_, value)| *value).ok_or_else(wanted)
    }
}

/// A list of projections, each once, in the order of the model.
fn targets(value: &OsString) -> Result<Vec<Projection>, String> {
    let wanted = || format!("some of {}", Projection::ALL.map(Projection::name).join(","));
    let names: Vec<&str> = value.to_str().ok_or_else(wanted)?.split(',').collect();
    let found = Projection::ALL.into_iter().filter(|target| names.contains(&target.name()));
    let found: Vec<Projection> = found.collect();
    if found.len() == names.len() { Ok(found) } else { Err(wanted()) }
}
