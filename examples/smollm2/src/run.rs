//! The whole job.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use dpo_kernel_candle::dpo_kernel::{Dpo, SequenceLogProb, Summary};
use serde_json::{Value, json};

use crate::args::Options;
use crate::batch::{Example, Examples};
use crate::chat::Chat;
use crate::gguf::Gguf;
use crate::lora::{Adapter, Loras};
use crate::model::Model;
use crate::optimizer::{AdamW, Hyper};
use crate::random::Random;
use crate::report::peak_memory;
use crate::state::{self, Progress};
use crate::train::{Referenced, Turns, log_probs, rate_at, step, summary};
use crate::{Outcome, curves, fault, file, sample, settings};

/// Pairs of this project's own writing: helpful or brief answers against rude or rambling ones.
const BUILT_IN: &[u8] = include_bytes!("../../finetune/pairs.jsonl");
/// How often the held-out pairs are looked at.
const LOOKS: usize = 5;
/// Prompts that are answered before and after.
const SAMPLES: usize = 2;

/// What does not change while a run trains.
struct Job<'a> {
    options: &'a Options,
    model: Model,
    chat: Chat,
    examples: Examples,
    loss: Dpo,
    steps: usize,
    settings: Value,
}

/// Trains, and leaves adapter, curves and state in the folder; what it has to tell goes to `out`.
///
/// # Errors
/// Of the files, of candle and of the crate.
pub fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let state_path = options.out.join("state.safetensors");
    if !options.resume {
        refuse_to_replace(&state_path)?;
    }
    let job = Job::new(options, out)?;
    let mut random = Random(options.seed);
    let adapter = Adapter::new(&job.model, options.plan.clone(), &mut random)?;
    let hyper = Hyper { clip: options.clip, ..Hyper::default() };
    let mut optimizer = AdamW::new(hyper, adapter.vars());
    let base = options.model.display().to_string();
    file::make_folder(&options.out)?;
    if let Some(folder) = &options.save_init {
        adapter.save(folder, &base)?;
    }
    writeln!(out, "adapter: {} numbers of rank {}", adapter.count(), options.plan.rank)?;
    let (reference, mut progress) = if options.resume {
        let found = state::read(&state_path, &job.settings, &adapter, &mut optimizer)?;
        writeln!(out, "resumed after step {}", found.1.records.len())?;
        found
    } else {
        let start = Instant::now();
        let reference = job.reference()?;
        let (pairs, seconds) = (reference.len() / 2, start.elapsed().as_secs_f64());
        writeln!(out, "reference: log-probs of {pairs} pairs, once, in {seconds:.1} s")?;
        (reference, Progress::default())
    };
    let (train, held_out) = reference
        .split_at_checked(2 * job.examples.train.len())
        .ok_or_else(|| fault("log-probs of too few pairs".into()))?;
    if progress.held_out.is_empty() && !held_out.is_empty() {
        let before = figures(&summary(&job.loss, held_out, held_out)?);
        progress.held_out.push((0, before));
    }
    tell_reference(train, held_out, out)?;
    if progress.records.is_empty() {
        job.samples("before", None, out)?;
    }

    let mut turns = Turns::new(job.examples.train.len(), options.order, random);
    (0..progress.records.len() * options.batch).for_each(|_| {
        turns.turn();
    });
    while progress.records.len() < job.steps {
        let done = progress.records.len();
        let batch: Vec<_> =
            (0..options.batch).filter_map(|_| job.pair(turns.turn(), train)).collect();
        let rate = rate_at(options, done, job.steps);
        let to = (&adapter, &mut optimizer);
        let how = (options.micro_batch, rate);
        let mut record = step(&job.model, to, &job.loss, &batch, how)?;
        record.step = done + 1;
        if !record.norm.is_finite() {
            return Err(fault(format!("step {}: the gradient is not finite", record.step)));
        }
        let line = record.line(job.steps);
        progress.records.push(record);
        if is_look(done + 1, job.steps) && !held_out.is_empty() {
            let policy = log_probs(&job.model, Some(&adapter.fixed()), &job.examples.held_out)?;
            progress.held_out.push((done + 1, figures(&summary(&job.loss, &policy, held_out)?)));
        }
        state::write(&state_path, &job.settings, &adapter, &optimizer, &reference, &progress)?;
        writeln!(out, "{line}")?;
        if let Some((step, [loss, margin, accuracy])) = progress.held_out.last()
            && *step == done + 1
        {
            writeln!(
                out,
                "held out   loss {loss:.4}  margin {margin:+.4}  accuracy {accuracy:.2}"
            )?;
        }
        out.flush()?;
    }
    // First what cannot be had again without a run.
    adapter.save(&options.out, &base)?;
    job.files(&progress)?;
    job.samples("after", Some(&adapter.fixed()), out)?;
    job.end(&progress, out)
}

impl<'a> Job<'a> {
    fn new(options: &'a Options, out: &mut dyn Write) -> Outcome<Self> {
        let mut gguf = Gguf::open(&options.model)?;
        let (model, chat) = (Model::read(&mut gguf)?, Chat::read(&gguf)?);
        let shape = model.shape();
        writeln!(
            out,
            "model: {}: {} blocks of width {}, {} tokens",
            gguf.name(),
            shape.blocks,
            shape.width,
            model.head().dim(0)?
        )?;
        let (name, bytes) = match &options.data {
            None => ("built-in pairs".to_owned(), BUILT_IN.to_vec()),
            Some(path) => {
                let name = path.display().to_string();
                let bytes = fs::read(path).map_err(|error| fault(format!("{name}: {error}")))?;
                (name, bytes)
            }
        };
        let limit = options.max_tokens.min(model.limit());
        let examples = Examples::read(&chat, &name, &bytes, limit, options.hold_out)?;
        writeln!(
            out,
            "data: {name}: {} pairs to train on, {} held out; left out: {} with equal or empty \
             answers, {} above {limit} tokens",
            examples.train.len(),
            examples.held_out.len(),
            examples.equal,
            examples.long
        )?;
        if let Some(path) = &options.dump_tokens {
            file::write_whole(path, token_lines(&examples.train).as_bytes())?;
        }
        let steps = options.steps.unwrap_or_else(|| examples.train.len().div_ceil(options.batch));
        let settings = settings::of(options, steps, &examples)?;
        let loss = Dpo::new(options.beta)?;
        Ok(Self { options, model, chat, examples, loss, steps, settings })
    }

    /// Log-probs of all pairs with the adapter off: those to train on, then the held-out ones.
    fn reference(&self) -> Outcome<Vec<SequenceLogProb>> {
        let mut found = log_probs(&self.model, None, &self.examples.train)?;
        found.extend(log_probs(&self.model, None, &self.examples.held_out)?);
        Ok(found)
    }

    /// A pair with its reference.
    fn pair<'b>(&'b self, index: usize, reference: &[SequenceLogProb]) -> Option<Referenced<'b>> {
        let found = reference.get(2 * index..)?.first_chunk()?;
        Some((self.examples.train.get(index)?, *found))
    }

    /// Answers to the first prompts.
    fn samples(&self, when: &str, loras: Option<&Loras>, out: &mut dyn Write) -> Outcome {
        if self.options.sample_tokens == 0 {
            return Ok(());
        }
        for prompt in self.examples.prompts.iter().take(SAMPLES) {
            let limit = self.options.sample_tokens;
            let answer = sample::answer(&self.model, &self.chat, loras, prompt, limit)?;
            writeln!(out, "sample, {when}")?;
            writeln!(out, "  prompt:  {}", sample::one_line(prompt, 160))?;
            writeln!(out, "  answer:  {}", sample::one_line(&answer, 1000))?;
        }
        Ok(())
    }

    /// Curves, and the dump.
    fn files(&self, progress: &Progress) -> Outcome {
        let Options { rate, beta, batch, plan, seed, .. } = self.options;
        let subtitle = format!(
            "β {beta}, learning rate {rate}, {batch} pairs a step, rank {}, {} pairs, {} held out, seed {seed}",
            plan.rank,
            self.examples.train.len(),
            self.examples.held_out.len()
        );
        let path = self.options.out.join("curve.svg");
        file::write_whole(&path, curves::svg(progress, &subtitle).as_bytes())?;
        if let Some(path) = &self.options.dump {
            let mut lines = String::new();
            for record in &progress.records {
                // Writing to a string cannot fail.
                let _ = writeln!(lines, "{}", record.json());
            }
            file::write_whole(path, lines.as_bytes())?;
        }
        Ok(())
    }

    /// The result.
    fn end(&self, progress: &Progress, out: &mut dyn Write) -> Outcome {
        let (mut seconds, mut loss_seconds, mut tokens) = (0.0, 0.0, 0);
        for record in &progress.records {
            seconds += record.seconds;
            loss_seconds += record.loss_seconds;
            tokens += record.tokens;
        }
        #[allow(clippy::cast_precision_loss, reason = "counts are small")]
        let (steps, tokens) = (progress.records.len() as f64, tokens as f64);
        let folder = self.options.out.display();
        writeln!(out, "adapter_model.safetensors, adapter_config.json, curve.svg in {folder}")?;
        let memory = peak_memory().map_or("n/a".to_owned(), |memory| format!("{memory} MiB"));
        writeln!(
            out,
            "a step: {:.2} s, {:.2} of it the loss part; {:.0} tokens/s; most memory {memory}",
            seconds / steps,
            loss_seconds / steps,
            tokens / seconds
        )?;
        let last = progress.records.last();
        let (loss, margin) = last.map_or((f64::NAN, f64::NAN), |last| (last.loss, last.margin));
        write!(out, "result: steps={steps} loss={loss:.4} margin={margin:.4}")?;
        if let Some((_, [loss, margin, accuracy])) = progress.held_out.last() {
            write!(
                out,
                " heldout_loss={loss:.4} heldout_margin={margin:.4} heldout_accuracy={accuracy:.4}"
            )?;
        }
        writeln!(out)?;
        Ok(())
    }
}

/// A run without `--resume` would put its first step in the place of all that the state has.
fn refuse_to_replace(state: &Path) -> Outcome {
    let path = state.display();
    if !state.try_exists().map_err(|error| fault(format!("{path}: {error}")))? {
        return Ok(());
    }
    let found = match state::steps(state) {
        Ok(1) => "of 1 step".to_owned(),
        Ok(steps) => format!("of {steps} steps"),
        Err(_) => "that is broken".to_owned(),
    };
    Err(fault(format!(
        "{path}: there is a state {found}: --resume goes on with it, another --out leaves it as it is"
    )))
}

fn tell_reference(
    train: &[SequenceLogProb],
    held_out: &[SequenceLogProb],
    out: &mut dyn Write,
) -> Outcome {
    let sides = [("to train on", train), ("held out", held_out)];
    for (name, found) in sides.into_iter().filter(|(_, found)| !found.is_empty()) {
        let better = found.chunks_exact(2).filter(|pair| matches!(pair, [a, b] if a.sum > b.sum));
        let (better, pairs) = (better.count(), found.len() / 2);
        writeln!(
            out,
            "reference: the chosen answer is likelier in {better} of {pairs} pairs {name}"
        )?;
    }
    Ok(())
}

fn figures(found: &Summary) -> [f64; 3] {
    [found.mean_loss(), found.mean_margin(), found.accuracy()]
}

/// Whether the held-out pairs are looked at after this step: the last one included.
const fn is_look(step: usize, steps: usize) -> bool {
    step * LOOKS / steps > (step - 1) * LOOKS / steps
}

fn token_lines(examples: &[Example]) -> String {
    let line = |Example { prompt, chosen, rejected }: &Example| {
        format!("{}\n", json!({ "prompt": prompt, "chosen": chosen, "rejected": rejected }))
    };
    examples.iter().map(line).collect()
}
