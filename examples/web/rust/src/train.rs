//! The run: one step at a time, and between steps whatever is asked of it.
//!
//! The crate stands between logits and their gradients, stage by stage: each kernel is in the module once.
//!
//! ```text
//! token_log_probs ─▶ sequence_log_probs ─▶ preference_loss ─▶ token_coefficients ─▶ logit_grads_in_place
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use dpo_kernel::gradient::{GradBatch, logit_grads_in_place, token_coefficients};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Arithmetic, Dispatch, Error, Layout, Logits, LogitsMut, Pair, SequenceLogProb, Span, TokenOut,
    sequence_log_probs, token_log_probs,
};
use dpo_kernel_firmware::random::Random;
use dpo_kernel_firmware::report::Digest;

use crate::model::{Adam, Adapters, Base, Input, Row, scored};
use crate::objective::{Beside, Objective};
use crate::pairs::{Example, Examples};
use crate::sample::sample;
use crate::text::{VOCAB, spelled};

/// Pairs a step, at most.
pub const PAIRS: usize = 8;
/// Steps until the learning rate is whole.
const WARM_UP: f32 = 10.0;
/// A of a fresh adapter.
const BOUND: f32 = 0.3;

/// The arithmetic that gives the same bits everywhere, at the machine's fastest level.
pub fn dispatch() -> Dispatch {
    let detected = Dispatch::detect();
    Dispatch::new(detected.level(), Arithmetic::Portable).unwrap_or(detected)
}

/// Log-prob of every target: the one place where rows are folded, so that the module has one kernel for it.
///
/// # Errors
/// Those of [`token_log_probs`].
#[inline(never)]
pub fn log_probs(
    logits: &[f32],
    layout: &Layout<'_>,
    vocab: usize,
    norms: &mut [RowNorm],
) -> Result<Vec<f32>, Error> {
    let mut log_probs = alloc::vec![0.0; layout.rows()];
    let view = Logits::new(logits, layout.rows(), vocab)?;
    let out = TokenOut::new(&mut log_probs).with_norms(norms);
    token_log_probs(dispatch(), view, layout, out)?;
    Ok(log_probs)
}

/// Gradients in the place of logits: as above.
///
/// # Errors
/// Those of [`logit_grads_in_place`].
#[inline(never)]
pub fn gradients(logits: &mut [f32], vocab: usize, batch: &GradBatch<'_>) -> Result<(), Error> {
    let view = LogitsMut::new(logits, batch.layout.rows(), vocab)?;
    logit_grads_in_place(dispatch(), view, batch)
}

/// A pair, with what of it never changes.
#[derive(Clone, Debug)]
struct Known {
    example: Example,
    inputs: [Vec<Input>; 2],
    /// Under the reference: of all tokens alike, and as the objective weights them.
    plain: [SequenceLogProb; 2],
    weighted: [SequenceLogProb; 2],
}

/// How the pairs of one side stand. Log-ratios log π − log π_ref are in nats, whatever the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Pairs.
    pub pairs: u32,
    /// Pairs whose chosen answer gained more than the rejected one.
    pub correct: u32,
    /// Mean loss, as the objective has it.
    pub loss: f64,
    /// Mean log-ratio of the chosen answers.
    pub chosen: f64,
    /// Mean log-ratio of the rejected answers.
    pub rejected: f64,
}

/// A learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f32);

impl Rate {
    /// None, unless it is a finite number above 0 as an f32.
    pub fn new(rate: f64) -> Option<Self> {
        let rate = rate as f32;
        (rate.is_finite() && rate > 0.0).then_some(Self(rate))
    }
}

/// A run, between two steps.
#[derive(Debug)]
pub struct Run {
    base: Base,
    objective: Objective,
    rate: Rate,
    train: Vec<Known>,
    held_out: Vec<Known>,
    adapters: Adapters,
    adam: Adam,
    random: Random,
    order: Vec<usize>,
    at: usize,
    step: u32,
    last_loss: f64,
    /// Of the reference, which does not change.
    mean_length: f64,
}

impl Run {
    /// A fresh adapter, and the reference's log-probs of every pair. Order and adapter follow from the seed,
    /// of which 0 counts as 1.
    ///
    /// # Errors
    /// Those of the crate's stages; with a finite model there are none.
    pub fn new(
        base: Base,
        examples: &Examples,
        objective: Objective,
        rate: Rate,
        seed: u32,
    ) -> Result<Self, Error> {
        let mut random = Random(seed.max(1));
        let adapters = Adapters::start(BOUND, &mut random);
        let known = |examples: &[Example]| {
            let known = examples.iter().map(|example| Known::new(&base, &objective, example));
            known.collect::<Result<Vec<Known>, Error>>()
        };
        let (train, held_out) = (known(&examples.train)?, known(&examples.held_out)?);
        let order: Vec<usize> = (0..train.len()).collect();
        let at = order.len();
        let adam = Adam::default();
        let (step, last_loss) = (0, core::f64::consts::LN_2);
        let mut run = Self {
            base,
            objective,
            rate,
            train,
            held_out,
            adapters,
            adam,
            random,
            order,
            at,
            step,
            last_loss,
            mean_length: 0.0,
        };
        run.mean_length = run.drawn_length(None);
        Ok(run)
    }

    /// Steps so far.
    pub const fn steps(&self) -> u32 {
        self.step
    }

    /// One step over the next pairs; their mean loss before it. Without a pair to train on it does nothing.
    ///
    /// # Errors
    /// Those of the step: numbers that are no longer finite. Weights have not changed then.
    pub fn step(&mut self) -> Result<f64, Error> {
        if self.at >= self.order.len() {
            self.random.shuffle(&mut self.order);
            self.at = 0;
        }
        let end = (self.at + PAIRS).min(self.order.len());
        let chosen = self.order.get(self.at..end).unwrap_or_default();
        let batch: Vec<&Known> = chosen.iter().filter_map(|&pair| self.train.get(pair)).collect();
        if batch.is_empty() {
            return Ok(self.last_loss);
        }
        let mut packed = Packed::new(&self.base, Some(&self.adapters), &batch);
        let reference: Vec<SequenceLogProb> = batch.iter().flat_map(|pair| pair.weighted).collect();
        let loss = packed.differentiate(&self.objective, &reference)?;

        let mut grads = Adapters::ZERO;
        let inputs = batch.iter().flat_map(|pair| pair.inputs.iter().flatten());
        for (x, dy) in inputs.zip(&packed.logits) {
            self.base.backward(&self.adapters, x, dy, &mut grads);
        }
        let rate = self.rate.0 * ((self.step + 1) as f32 / WARM_UP).min(1.0);
        self.adam.update(&mut self.adapters, &grads, rate);
        (self.at, self.step, self.last_loss) = (end, self.step + 1, loss);
        Ok(loss)
    }

    /// How the pairs stand: those trained on, those held out.
    ///
    /// # Errors
    /// As [`Run::step`].
    pub fn figures(&self) -> Result<[Figures; 2], Error> {
        Ok([self.figures_of(&self.train)?, self.figures_of(&self.held_out)?])
    }

    fn figures_of(&self, known: &[Known]) -> Result<Figures, Error> {
        let mut figures = Figures { pairs: known.len() as u32, ..Figures::default() };
        let mut loss = 0.0;
        for known in known.chunks(PAIRS) {
            let batch: Vec<&Known> = known.iter().collect();
            let packed = Packed::new(&self.base, Some(&self.adapters), &batch);
            let layout = Layout::new(&packed.targets, &packed.spans, VOCAB)?;
            let beside = self.objective.beside(&layout, &packed.pairs)?;
            let [plain, weighted] = packed.score(&layout, &beside, &mut packed.norms())?;
            let reference: Vec<SequenceLogProb> =
                known.iter().flat_map(|pair| pair.weighted).collect();
            let policy = [plain.as_slice(), &weighted];
            let found = self.objective.evaluate(&packed.pairs, &beside, policy, &reference)?;
            loss += found.loss * packed.pairs.len() as f64;
            for (known, policy) in known.iter().zip(plain.as_chunks::<2>().0) {
                let [a, b] = known.log_ratios(policy);
                figures.chosen += a;
                figures.rejected += b;
                figures.correct += u32::from(a > b);
            }
        }
        let pairs = f64::from(figures.pairs).max(1.0);
        figures.loss = loss / pairs;
        figures.chosen /= pairs;
        figures.rejected /= pairs;
        Ok(figures)
    }

    /// Prompts that answers are drawn for.
    pub fn prompts(&self) -> usize {
        self.shown().len()
    }

    /// Whose answers.
    const fn adapters(&self, policy: bool) -> Option<&Adapters> {
        if policy { Some(&self.adapters) } else { None }
    }

    /// A held-out prompt, or one that is trained on where none is held out, and an answer drawn from the policy
    /// or the reference.
    pub fn sample(&self, index: usize, policy: bool, seed: u32) -> Option<[String; 2]> {
        let known = self.shown().get(index)?;
        let opening = known.example.chosen.opening();
        let answer = sample(&self.base, self.adapters(policy), opening, seed);
        Some([spelled(opening), spelled(&answer)])
    }

    /// The mean length of drawn answers, three to each prompt that is shown.
    pub fn mean_length(&self, policy: bool) -> f64 {
        if policy { self.drawn_length(Some(&self.adapters)) } else { self.mean_length }
    }

    fn drawn_length(&self, adapters: Option<&Adapters>) -> f64 {
        let (mut symbols, mut answers) = (0, 0_u32);
        for known in self.shown() {
            for _ in 0..3 {
                answers += 1;
                let opening = known.example.chosen.opening();
                symbols += sample(&self.base, adapters, opening, answers).len();
            }
        }
        symbols as f64 / f64::from(answers.max(1))
    }

    /// The mean length of the answers that are trained on: chosen, rejected.
    pub fn data_lengths(&self) -> [f64; 2] {
        let mean = |answer: usize| {
            let lengths = self.train.iter().filter_map(|pair| {
                pair.example.texts().get(answer).map(|text| text.answer().len() - 1)
            });
            lengths.sum::<usize>() as f64 / self.train.len().max(1) as f64
        };
        [mean(0), mean(1)]
    }

    /// Pairs that answers are drawn for.
    fn shown(&self) -> &[Known] {
        if self.held_out.is_empty() { &self.train } else { &self.held_out }
    }

    /// 64 bits of every weight of the adapters and of the last step's loss.
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        self.adapters.parts().flatten().for_each(|weight| digest.add(weight.to_bits().into()));
        digest.add(self.last_loss.to_bits());
        digest.0
    }
}

impl Known {
    fn new(base: &Base, objective: &Objective, example: &Example) -> Result<Self, Error> {
        let inputs = example.texts().map(|text| scored(base, text));
        let none = [SequenceLogProb::default(); 2];
        let mut known = Self { example: example.clone(), inputs, plain: none, weighted: none };
        let packed = Packed::new(base, None, &[&known]);
        let layout = Layout::new(&packed.targets, &packed.spans, VOCAB)?;
        let beside = objective.beside(&layout, &packed.pairs)?;
        let [plain, weighted] = packed.score(&layout, &beside, &mut packed.norms())?;
        let two = |found: &[SequenceLogProb]| found.first_chunk().copied().unwrap_or(none);
        (known.plain, known.weighted) = (two(&plain), two(&weighted));
        Ok(known)
    }

    /// Of chosen and rejected answer, all tokens alike.
    fn log_ratios(&self, policy: &[SequenceLogProb; 2]) -> [f64; 2] {
        let ([chosen, rejected], [ref_chosen, ref_rejected]) = (policy, &self.plain);
        [chosen.sum - ref_chosen.sum, rejected.sum - ref_rejected.sum]
    }
}

/// Logits of some pairs, one sequence below the other: chosen, rejected, chosen, …
struct Packed {
    logits: Vec<Row>,
    targets: Vec<u32>,
    spans: Vec<Span>,
    pairs: Vec<Pair>,
}

impl Packed {
    fn new(base: &Base, adapters: Option<&Adapters>, batch: &[&Known]) -> Self {
        let (mut logits, mut targets, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        for (text, inputs) in
            batch.iter().flat_map(|pair| pair.example.texts().into_iter().zip(&pair.inputs))
        {
            let start = targets.len();
            logits.extend(inputs.iter().map(|x| base.logits(adapters, x)));
            targets.extend(text.answer().iter().copied().map(u32::from));
            spans.push(Span::new(start, targets.len()));
        }
        let pairs = (0..batch.len()).map(|pair| Pair::new(2 * pair, 2 * pair + 1)).collect();
        Self { logits, targets, spans, pairs }
    }

    fn norms(&self) -> Vec<RowNorm> {
        alloc::vec![RowNorm::default(); self.targets.len()]
    }

    /// Log-probs of the sequences: of all tokens alike, and weighted.
    fn score(
        &self,
        layout: &Layout<'_>,
        beside: &Beside,
        norms: &mut [RowNorm],
    ) -> Result<[Vec<SequenceLogProb>; 2], Error> {
        let log_probs = log_probs(self.logits.as_flattened(), layout, VOCAB, norms)?;
        let mut plain = alloc::vec![SequenceLogProb::default(); self.spans.len()];
        sequence_log_probs(&log_probs, layout, None, &mut plain)?;
        let mut weighted = plain.clone();
        if let Some(weights) = &beside.token_weights {
            sequence_log_probs(&log_probs, layout, Some(weights), &mut weighted)?;
        }
        Ok([plain, weighted])
    }

    /// The loss, its gradients in the place of the logits.
    fn differentiate(
        &mut self,
        objective: &Objective,
        reference: &[SequenceLogProb],
    ) -> Result<f64, Error> {
        let layout = Layout::new(&self.targets, &self.spans, VOCAB)?;
        let (beside, mut norms) = (objective.beside(&layout, &self.pairs)?, self.norms());
        let [plain, weighted] = self.score(&layout, &beside, &mut norms)?;
        let policy = [plain.as_slice(), &weighted];
        let found = objective.evaluate(&self.pairs, &beside, policy, reference)?;
        let mut coefficients = alloc::vec![0.0; self.targets.len()];
        let weights = beside.token_weights.as_deref();
        let (d_log_probs, d_nll) = (&found.d_log_probs, found.d_nll.as_deref());
        token_coefficients(&layout, d_log_probs, weights, d_nll, &mut coefficients)?;
        let batch = GradBatch::new(&layout, &norms, &coefficients);
        gradients(self.logits.as_flattened_mut(), VOCAB, &batch)?;
        Ok(found.loss)
    }
}
