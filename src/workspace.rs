//! The buffers of a step, owned, for hosts that allocate: feature `alloc`.

use alloc::vec::Vec;

use crate::error::{Error, NonFinite};
use crate::executor::Executor;
use crate::layout::Layout;
use crate::loss::BatchLoss;
use crate::pair::PairLoss;
use crate::preference::Summary;
use crate::row::RowNorm;
use crate::sequence::{SequenceLogProb, check_token_weights, sequence_log_probs, weighted_rows};
use crate::step::{
    ReadLogits, StepBatch, StepLogits, StepScratch, StepSummary, UnpairedStepBatch,
    preference_step, unpaired_step,
};
use crate::token::TokenOut;
use crate::unpaired::{AnswerLoss, UnpairedBatchLoss, UnpairedSummary};

/// The scratch of a step: it grows to the largest batch that it has seen, and is used again.
///
/// Feature `alloc`. `preference_step` and `unpaired_step` are the functions of the same names,
/// without their buffers; what the stages found stays here until the next call.
///
/// # Example
/// ```
/// use dpo_kernel::*;
/// # fn main() -> Result<(), Error> {
/// # let mut logits = [0.5_f32, -1.0, 2.0, 0.0, 3.0, -0.5];
/// # let (targets, spans) = ([2, 0], [Span::new(0, 1), Span::new(1, 2)]);
/// # let reference = [-0.2413113, -3.0769466];
/// let mut workspace = Workspace::new();
/// let layout = Layout::new(&targets, &spans, 3)?;
/// let pairs = [Pair::new(0, 1)];
/// let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), 1.0);
/// let view = LogitsMut::new(&mut logits, 2, 3)?;
/// let summary = workspace.preference_step(Dispatch::detect(), &Dpo::new(0.1)?, view, &batch)?;
/// assert!((summary.mean_loss() - core::f64::consts::LN_2).abs() < 1e-6);
/// assert_eq!(workspace.pair_losses().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Workspace {
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    sequences: Vec<SequenceLogProb>,
    pair_losses: Vec<PairLoss>,
    answer_losses: Vec<AnswerLoss>,
    d_log_probs: Vec<f64>,
    d_nll: Vec<f64>,
    coefficients: Vec<f64>,
}

impl Workspace {
    /// No memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            log_probs: Vec::new(),
            norms: Vec::new(),
            sequences: Vec::new(),
            pair_losses: Vec::new(),
            answer_losses: Vec::new(),
            d_log_probs: Vec::new(),
            d_nll: Vec::new(),
            coefficients: Vec::new(),
        }
    }

    /// [`preference_step`], in these buffers.
    ///
    /// # Errors
    /// As there; [`Error::OutOfMemory`] where the buffers cannot grow.
    ///
    /// # Panics
    /// Never.
    pub fn preference_step<X: Executor, L: BatchLoss, G: StepLogits>(
        &mut self,
        executor: X,
        loss: L,
        logits: G,
        batch: &StepBatch<'_>,
    ) -> Result<StepSummary<Summary>, Error> {
        self.grow(batch.layout)?;
        grow(&mut self.pair_losses, batch.pairs.len(), PairLoss::default())?;
        self.answer_losses.clear();
        if batch.nll.is_some() {
            grow(&mut self.d_nll, batch.layout.sequences(), 0.0)?;
        }
        let scratch = StepScratch::new(
            &mut self.log_probs,
            &mut self.norms,
            &mut self.sequences,
            &mut self.pair_losses,
            &mut self.d_log_probs,
            &mut self.coefficients,
        );
        preference_step(executor, loss, logits, batch, scratch.with_nll(&mut self.d_nll))
    }

    /// [`unpaired_step`], in these buffers.
    ///
    /// # Errors
    /// As there; [`Error::OutOfMemory`] where the buffers cannot grow.
    ///
    /// # Panics
    /// Never.
    pub fn unpaired_step<X: Executor, L: UnpairedBatchLoss, G: StepLogits>(
        &mut self,
        executor: X,
        loss: L,
        logits: G,
        batch: &UnpairedStepBatch<'_>,
    ) -> Result<StepSummary<UnpairedSummary>, Error> {
        self.grow(batch.layout)?;
        self.pair_losses.clear();
        grow(&mut self.answer_losses, batch.answers.len(), AnswerLoss::default())?;
        let scratch = StepScratch::new(
            &mut self.log_probs,
            &mut self.norms,
            &mut self.sequences,
            &mut self.answer_losses,
            &mut self.d_log_probs,
            &mut self.coefficients,
        );
        unpaired_step(executor, loss, logits, batch, scratch)
    }

    /// Scores sequences without a loss: [`token_log_probs`](crate::token_log_probs), or
    /// [`head_token_log_probs`](crate::head::head_token_log_probs), then [`sequence_log_probs`], as a
    /// [`Reference`](crate::Reference) and K of KTO need it. Copy what is found before the next call.
    ///
    /// # Errors
    /// As there; rows that are not finite are an error only where their token weight is not 0.
    /// [`Error::OutOfMemory`] where the buffers cannot grow.
    ///
    /// # Panics
    /// Never.
    pub fn score<X: Executor, G: ReadLogits>(
        &mut self,
        executor: X,
        mut logits: G,
        layout: &Layout<'_>,
        token_weights: Option<&[f32]>,
    ) -> Result<&[SequenceLogProb], Error> {
        check_token_weights(token_weights, layout.rows())?;
        grow(&mut self.log_probs, layout.rows(), f32::NAN)?;
        grow(&mut self.sequences, layout.sequences(), SequenceLogProb::default())?;
        logits.check(executor, layout)?;
        let (bad, _) = logits.score(executor, layout, TokenOut::new(&mut self.log_probs));
        sequence_log_probs(&self.log_probs, layout, token_weights, &mut self.sequences)?;
        if bad.rows().is_err() {
            let bad = weighted_nan(&self.log_probs, layout, token_weights);
            bad.rows().map_err(|error| logits.blame(error))?;
        }
        Ok(&self.sequences)
    }

    /// Token log-probs of the last call, R; those of rows that are not scored are NaN or of an
    /// earlier call.
    #[must_use]
    pub fn log_probs(&self) -> &[f32] {
        &self.log_probs
    }

    /// Policy log-probs of the last call's sequences, N.
    #[must_use]
    pub fn sequences(&self) -> &[SequenceLogProb] {
        &self.sequences
    }

    /// Losses of the last step's pairs, P; none if it was one of answers.
    #[must_use]
    pub fn pair_losses(&self) -> &[PairLoss] {
        &self.pair_losses
    }

    /// Losses of the last step's answers, M; none if it was one of pairs.
    #[must_use]
    pub fn answer_losses(&self) -> &[AnswerLoss] {
        &self.answer_losses
    }

    fn grow(&mut self, layout: &Layout<'_>) -> Result<(), Error> {
        grow(&mut self.log_probs, layout.rows(), f32::NAN)?;
        grow(&mut self.norms, layout.rows(), RowNorm::default())?;
        grow(&mut self.coefficients, layout.rows(), 0.0)?;
        grow(&mut self.sequences, layout.sequences(), SequenceLogProb::default())?;
        grow(&mut self.d_log_probs, layout.sequences(), 0.0)
    }
}

/// The rows of weight ≠ 0 whose log-prob is NaN.
#[cold]
fn weighted_nan(
    log_probs: &[f32],
    layout: &Layout<'_>,
    token_weights: Option<&[f32]>,
) -> NonFinite {
    let mut bad = NonFinite::NONE;
    for (row, _) in (0..layout.sequences()).flat_map(|i| weighted_rows(layout, i, token_weights)) {
        if log_probs.get(row).is_some_and(|x| x.is_nan()) {
            bad.see(row);
        }
    }
    bad
}

/// A buffer of this length; its memory only grows.
fn grow<T: Clone>(buffer: &mut Vec<T>, len: usize, fill: T) -> Result<(), Error> {
    let more = len.saturating_sub(buffer.len());
    let elements = len;
    buffer.try_reserve(more).map_err(|_| Error::OutOfMemory { elements })?;
    buffer.resize(len, fill);
    Ok(())
}
