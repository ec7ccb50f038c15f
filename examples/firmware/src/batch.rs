//! One pair at a time between model and crate: the buffers, and the calls.
//!
//! The largest buffer is the logits of one pair. What a larger batch needs is a divisor: gradients
//! of several pairs add up in the adapters' gradients.

use dpo_kernel::row::RowNorm;
use dpo_kernel::step::StepScratch;
use dpo_kernel::{
    Dispatch, Dpo, Error, Layout, Logits, LogitsMut, Pair, PairBatch, PairLoss, PairOut, Reference,
    SequenceLogProb, Span, StepBatch, Summary, TokenOut, preference_loss, preference_step,
    sequence_log_probs, token_log_probs,
};

use crate::model::{Adapters, Base, backward, forward};
use crate::pairs::Example;
use crate::text::{LIMIT, Sequence, VOCAB};

/// Rows of the longest pair.
pub const ROWS: usize = 2 * (LIMIT + 1);

/// A pair's log-probs under the reference: chosen, rejected.
pub type PairReference = [SequenceLogProb; 2];

const PAIRS: [Pair; 1] = [Pair::new(0, 1)];

/// The buffers that the host owes the crate, and nothing else.
#[derive(Debug)]
pub struct Batch {
    logits: [[f32; VOCAB]; ROWS],
    targets: [u32; ROWS],
    log_probs: [f32; ROWS],
    norms: [RowNorm; ROWS],
    sequences: [SequenceLogProb; 2],
    losses: [PairLoss; 1],
    d_log_probs: [f64; 2],
    coefficients: [f64; ROWS],
}

/// How a pair's loss is computed.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    pub dispatch: Dispatch,
    pub dpo: Dpo,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            logits: [[0.0; VOCAB]; ROWS],
            targets: [0; ROWS],
            log_probs: [0.0; ROWS],
            norms: [RowNorm::default(); ROWS],
            sequences: [SequenceLogProb::default(); 2],
            losses: [PairLoss::default()],
            d_log_probs: [0.0; 2],
            coefficients: [0.0; ROWS],
        }
    }
}

/// A pair's texts, and where their rows lie.
struct Texts {
    texts: [Sequence; 2],
    spans: [Span; 2],
}

impl Texts {
    fn new(example: &Example) -> Self {
        let texts = [example.chosen, example.rejected];
        let texts = texts.map(|answer| Sequence::new(example.prompt, answer));
        let [first, second] = texts.each_ref().map(Sequence::rows);
        Self { texts, spans: [Span::new(0, first), Span::new(first, first + second)] }
    }

    fn rows(&self) -> usize {
        self.spans[1].end
    }

    /// Each text with its rows of a buffer.
    fn zip<'a, T>(
        &'a self,
        buffer: &'a mut [T],
    ) -> impl Iterator<Item = (&'a Sequence, &'a mut [T])> {
        let [first, second] = self.spans.map(|span| span.end - span.start);
        let (head, rest) = buffer.split_at_mut(first);
        let (tail, _) = rest.split_at_mut(second);
        self.texts.iter().zip([head, tail])
    }
}

impl Batch {
    /// Log-probs of a pair's answers with the adapter off.
    ///
    /// # Errors
    /// Those of the crate's stages; with a finite model there are none.
    pub fn reference(
        &mut self,
        dispatch: Dispatch,
        base: &Base,
        example: &Example,
    ) -> Result<PairReference, Error> {
        let texts = Texts::new(example);
        self.score(dispatch, base, None, &texts)?;
        Ok(self.sequences)
    }

    /// Loss and margin of a pair, without gradients.
    ///
    /// # Errors
    /// As [`Batch::reference`].
    pub fn evaluate(
        &mut self,
        loss: &Loss,
        (base, adapters): (&Base, &Adapters),
        (example, reference): (&Example, &PairReference),
    ) -> Result<Summary, Error> {
        let texts = Texts::new(example);
        self.score(loss.dispatch, base, Some(adapters), &texts)?;
        let reference = Reference::Sequences(reference);
        let batch = PairBatch::new(&PAIRS, &self.sequences, reference, 1.0);
        let out = PairOut::new(&mut self.losses, &mut self.d_log_probs);
        preference_loss(&loss.dpo, &batch, out)
    }

    /// A pair's share of a step over `pairs` of them: adds the adapters' gradients of the mean
    /// loss.
    ///
    /// # Errors
    /// As [`Batch::reference`]; `grads` is unchanged then.
    pub fn step(
        &mut self,
        loss: &Loss,
        (base, adapters): (&Base, &Adapters),
        (example, reference): (&Example, &PairReference),
        pairs: u32,
        grads: &mut Adapters,
    ) -> Result<Summary, Error> {
        let texts = Texts::new(example);
        let rows = self.forward(base, Some(adapters), &texts);
        let layout = Layout::new(self.targets.split_at(rows).0, &texts.spans, VOCAB)?;
        let reference = Reference::Sequences(reference);
        let batch = StepBatch::new(&layout, &PAIRS, reference, f64::from(pairs));
        let scratch = StepScratch::new(
            self.log_probs.split_at_mut(rows).0,
            self.norms.split_at_mut(rows).0,
            &mut self.sequences,
            &mut self.losses,
            &mut self.d_log_probs,
            self.coefficients.split_at_mut(rows).0,
        );
        let logits = self.logits.split_at_mut(rows).0.as_flattened_mut();
        let logits = LogitsMut::new(logits, rows, VOCAB)?;
        let summary = preference_step(loss.dispatch, &loss.dpo, logits, &batch, scratch)?;
        for (text, d_logits) in texts.zip(&mut self.logits) {
            backward(base, adapters, text, d_logits, grads);
        }
        Ok(summary.loss)
    }

    /// Logits and targets of a pair; its rows.
    fn forward(&mut self, base: &Base, adapters: Option<&Adapters>, texts: &Texts) -> usize {
        for (text, logits) in texts.zip(&mut self.logits) {
            forward(base, adapters, text, logits);
        }
        for (text, targets) in texts.zip(&mut self.targets) {
            for (target, &symbol) in targets.iter_mut().zip(text.answer()) {
                *target = u32::from(symbol);
            }
        }
        texts.rows()
    }

    /// Stages token and sequence.
    fn score(
        &mut self,
        dispatch: Dispatch,
        base: &Base,
        adapters: Option<&Adapters>,
        texts: &Texts,
    ) -> Result<(), Error> {
        let rows = self.forward(base, adapters, texts);
        let layout = Layout::new(self.targets.split_at(rows).0, &texts.spans, VOCAB)?;
        let log_probs = self.log_probs.split_at_mut(rows).0;
        let logits = Logits::new(self.logits.split_at(rows).0.as_flattened(), rows, VOCAB)?;
        token_log_probs(dispatch, logits, &layout, TokenOut::new(log_probs))?;
        sequence_log_probs(log_probs, &layout, None, &mut self.sequences)
    }
}
