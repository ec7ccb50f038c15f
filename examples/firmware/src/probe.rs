//! The loss alone, on logits that are there: what is measured, and what a machine with 16 KiB of
//! RAM can do.

use dpo_kernel::row::RowNorm;
use dpo_kernel::step::StepScratch;
use dpo_kernel::{
    Dispatch, Dpo, Error, Layout, Logits, LogitsMut, Pair, PairLoss, Reference, SequenceLogProb,
    Span, StepBatch, Summary, TokenOut, preference_step, sequence_log_probs, token_log_probs,
};

use crate::random::Random;
use crate::report::Digest;

/// Elements of the logits: 2 KiB.
pub const LOGITS: usize = 512;
/// Rows at most.
pub const ROWS: usize = 16;

/// One pair's logits, and the buffers that the crate's stages fill.
#[derive(Debug)]
pub struct Probe {
    logits: [f32; LOGITS],
    targets: [u32; ROWS],
    log_probs: [f32; ROWS],
    norms: [RowNorm; ROWS],
    reference: [SequenceLogProb; 2],
    sequences: [SequenceLogProb; 2],
    losses: [PairLoss; 1],
    d_log_probs: [f64; 2],
    coefficients: [f64; ROWS],
    rows: usize,
    result: Result<Summary, Error>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            logits: [0.0; LOGITS],
            targets: [0; ROWS],
            log_probs: [0.0; ROWS],
            norms: [RowNorm::default(); ROWS],
            reference: [SequenceLogProb::default(); 2],
            sequences: [SequenceLogProb::default(); 2],
            losses: [PairLoss::default()],
            d_log_probs: [0.0; 2],
            coefficients: [0.0; ROWS],
            rows: 0,
            result: Ok(Summary::default()),
        }
    }
}

impl Probe {
    /// `rows` rows of some model's logits, in ±8.
    pub fn fill(&mut self, rows: usize, seed: u32) {
        self.rows = rows;
        let mut random = Random(seed);
        self.logits.fill_with(|| 8.0 * random.uniform());
        let vocab = self.vocab() as u32;
        self.targets.fill_with(|| random.bits().checked_rem(vocab).unwrap_or(0));
    }

    /// Columns of a row.
    #[must_use]
    pub fn vocab(&self) -> usize {
        LOGITS.checked_div(self.rows).unwrap_or(0)
    }

    /// Half of the rows for each answer.
    fn spans(&self) -> [Span; 2] {
        let middle = self.rows / 2;
        [Span::new(0, middle), Span::new(middle, self.rows)]
    }

    /// The reference's pass: stages token and sequence.
    pub fn forward(&mut self, dispatch: Dispatch) {
        if let Err(error) = self.try_forward(dispatch) {
            self.result = Err(error);
        }
    }

    fn try_forward(&mut self, dispatch: Dispatch) -> Result<(), Error> {
        let (rows, vocab, spans) = (self.rows, self.vocab(), self.spans());
        let layout = Layout::new(self.targets.get(..rows).unwrap_or_default(), &spans, vocab)?;
        let log_probs = self.log_probs.get_mut(..rows).unwrap_or_default();
        let logits = Logits::new(&self.logits, rows, vocab)?;
        token_log_probs(dispatch, logits, &layout, TokenOut::new(log_probs))?;
        sequence_log_probs(log_probs, &layout, None, &mut self.reference)
    }

    /// The policy's step: the logits become their gradients.
    pub fn step(&mut self, dispatch: Dispatch) {
        self.result = self.try_step(dispatch);
    }

    fn try_step(&mut self, dispatch: Dispatch) -> Result<Summary, Error> {
        let (rows, vocab, spans) = (self.rows, self.vocab(), self.spans());
        let layout = Layout::new(self.targets.get(..rows).unwrap_or_default(), &spans, vocab)?;
        let (reference, pairs) = (Reference::Sequences(&self.reference), [Pair::new(0, 1)]);
        let batch = StepBatch::new(&layout, &pairs, reference, 1.0);
        let scratch = StepScratch::new(
            self.log_probs.get_mut(..rows).unwrap_or_default(),
            self.norms.get_mut(..rows).unwrap_or_default(),
            &mut self.sequences,
            &mut self.losses,
            &mut self.d_log_probs,
            self.coefficients.get_mut(..rows).unwrap_or_default(),
        );
        let logits = LogitsMut::new(&mut self.logits, rows, vocab)?;
        Ok(preference_step(dispatch, &Dpo::new(0.1)?, logits, &batch, scratch)?.loss)
    }

    /// What the step found.
    ///
    /// # Errors
    /// That of the first call that failed; with finite logits there is none.
    pub const fn result(&self) -> Result<Summary, Error> {
        self.result
    }

    /// Every log-prob and every gradient.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        let log_probs = self.log_probs.iter().take(self.rows);
        log_probs.chain(&self.logits).for_each(|x| digest.add(x.to_bits().into()));
        digest
    }
}
