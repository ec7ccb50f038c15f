//! The step over pairs.

use super::logits::StepLogits;
use super::scratch::{StepScratch, StepSummary};
use super::stages::{broken_rows, count};
use crate::Error;
use crate::error::{Buffer, check_length};
use crate::executor::Executor;
use crate::gradient::{GradBatch, Unscored, write_coefficients};
use crate::layout::Layout;
use crate::loss::{BatchLoss, Nll, NllAnswers, NllBatch, NllSummary, check_nll, nll_loss};
use crate::pair::{Pair, PairBatch, PairLoss, Reference};
use crate::preference::{PairOut, Summary, add_up, check_preferences};
use crate::sequence::{SequenceLogProb, check_token_weights, sum_tokens};
use crate::token::TokenOut;

/// What a step over pairs is about: which rows are scored, preferences, and the frozen reference.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StepBatch<'a> {
    /// Which rows are scored, and the sequence of each.
    pub layout: &'a Layout<'a>,
    /// Preferences among the sequences, P.
    pub pairs: &'a [Pair],
    /// Log-probs of the sequences under the reference, N.
    pub reference: Reference<'a>,
    /// As [`PairBatch::weights`].
    pub weights: Option<&'a [f32]>,
    /// As [`PairBatch::offsets`].
    pub offsets: Option<&'a [f32]>,
    /// As in [`sequence_log_probs`](crate::sequence_log_probs); the reference's sums must have been
    /// weighted alike.
    pub token_weights: Option<&'a [f32]>,
    /// An NLL term, of tokens as they are, or [XPO's](crate::loss::Xpo).
    pub nll: Option<Nll>,
    /// The sequences that the NLL term is of, in the place of the chosen answers: gold answers
    /// (TPO), samples of the reference (XPO).
    pub nll_answers: Option<&'a [usize]>,
    /// Weights of the NLL term's answers. Without, chosen answers have those of their pairs, given
    /// ones 1.
    pub nll_weights: Option<&'a [f32]>,
    /// As [`PairBatch::divisor`].
    pub divisor: f64,
    /// What becomes of rows that are not scored and of padding columns.
    pub unscored: Unscored,
}

impl<'a> StepBatch<'a> {
    /// A step without weights and offsets, whose gradients `divisor` divides: the pairs of the
    /// whole (accumulated, global) batch.
    #[must_use]
    pub const fn new(
        layout: &'a Layout<'a>,
        pairs: &'a [Pair],
        reference: Reference<'a>,
        divisor: f64,
    ) -> Self {
        Self {
            layout,
            pairs,
            reference,
            weights: None,
            offsets: None,
            token_weights: None,
            nll: None,
            nll_answers: None,
            nll_weights: None,
            divisor,
            unscored: Unscored::Keep,
        }
    }

    /// With a weight for each pair.
    #[must_use]
    pub const fn with_weights(mut self, weights: &'a [f32]) -> Self {
        self.weights = Some(weights);
        self
    }

    /// With a margin offset for each pair.
    #[must_use]
    pub const fn with_offsets(mut self, offsets: &'a [f32]) -> Self {
        self.offsets = Some(offsets);
        self
    }

    /// With a weight for each token.
    #[must_use]
    pub const fn with_token_weights(mut self, token_weights: &'a [f32]) -> Self {
        self.token_weights = Some(token_weights);
        self
    }

    /// With an NLL term on the chosen answers, weighted as their pairs are.
    #[must_use]
    pub const fn with_nll(mut self, nll: Nll) -> Self {
        (self.nll, self.nll_answers) = (Some(nll), None);
        self
    }

    /// With an NLL term on the sequences of these indices.
    #[must_use]
    pub const fn with_nll_on(mut self, nll: Nll, answers: &'a [usize]) -> Self {
        (self.nll, self.nll_answers) = (Some(nll), Some(answers));
        self
    }

    /// With weights of the NLL term's answers.
    #[must_use]
    pub const fn with_nll_weights(mut self, nll_weights: &'a [f32]) -> Self {
        self.nll_weights = Some(nll_weights);
        self
    }

    /// With another fate of rows that are not scored and of padding columns.
    #[must_use]
    pub const fn with_unscored(mut self, unscored: Unscored) -> Self {
        self.unscored = unscored;
        self
    }

    /// The number whose gradient a step writes, from the summary of this step: Σ L / divisor, and
    /// with an NLL term Σ NLL / its divisor. Over micro-batches with the divisors of the whole batch
    /// these numbers add up.
    #[must_use]
    pub fn total_loss(&self, summary: &StepSummary<Summary>) -> f64 {
        let of_term = self.nll.map_or(0.0, |nll| summary.nll.loss_sum / nll.divisor());
        summary.loss.loss_sum / self.divisor + of_term
    }

    /// No answers and no weights of a term that is not there.
    fn check_term(&self) -> Result<(), Error> {
        match (&self.nll, self.nll_answers, self.nll_weights) {
            (None, Some(_), _) => Err(Error::InputUnused { buffer: Buffer::Answers }),
            (None, _, Some(_)) => Err(Error::InputUnused { buffer: Buffer::AnswerWeights }),
            _ => Ok(()),
        }
    }

    /// The NLL term's answers and their weights.
    fn nll_batch(&self) -> (NllAnswers<'a>, Option<&'a [f32]>) {
        match self.nll_answers {
            Some(sequences) => (NllAnswers::Sequences(sequences), self.nll_weights),
            None => (NllAnswers::Chosen(self.pairs), self.nll_weights.or(self.weights)),
        }
    }
}

/// Policy logits → loss summary and logit gradients, in place or in another buffer.
///
/// ```text
/// token_log_probs → sequence_log_probs → preference_loss → token_coefficients → logit_grads
/// ```
///
/// `loss` is whatever [`preference_loss`](crate::preference_loss) takes: a reference to a loss of
/// pairs, one for each pair, or one of the whole batch. `logits` is a
/// [`LogitsMut`](crate::LogitsMut) whose scored rows are replaced by their gradients, or (logits,
/// gradients). What else is in the buffer **still holds logits** afterwards, unless
/// [`StepBatch::unscored`] says otherwise. Or it is a [`FrozenHead`](super::FrozenHead) or a
/// [`TrainedHead`](super::TrainedHead), which say what their errors leave.
///
/// # Errors
/// Those of the stages. Shapes, counts and parameters are checked before anything is written. Rows
/// or pairs that are not finite are found before the backward, and logits and gradients are
/// unchanged, as on any error; they are no error where nothing of weight ≠ 0 depends on them. After
/// [`Error::NonFiniteRows`], rows that pairs or the NLL term depend on, and after
/// [`Error::NonFinitePairs`] all of the scratch but `coefficients` is of this step; see "Masked
/// rows" on the [front page](crate) for how to go on without them.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::*;
/// use dpo_kernel::step::StepScratch;
/// use dpo_kernel::row::RowNorm;
/// // Two answers of one token each, vocabulary 3; the reference is the policy: step 0.
/// let mut logits = [0.5_f32, -1.0, 2.0, 0.0, 3.0, -0.5];
/// let (targets, spans) = ([2, 0], [Span::new(0, 1), Span::new(1, 2)]);
/// let layout = Layout::new(&targets, &spans, 3)?;
/// let (pairs, reference) = ([Pair::new(0, 1)], [-0.2413113, -3.0769466]);
/// let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), 1.0);
///
/// let (mut log_probs, mut norms) = ([0.0; 2], [RowNorm::default(); 2]);
/// let (mut sequences, mut losses) = ([SequenceLogProb::default(); 2], [PairLoss::default()]);
/// let (mut d_log_probs, mut coefficients) = ([0.0; 2], [0.0; 2]);
/// let scratch = StepScratch::new(
///     &mut log_probs, &mut norms, &mut sequences, &mut losses, &mut d_log_probs, &mut coefficients,
/// );
/// let view = LogitsMut::new(&mut logits, 2, 3)?;
/// let summary = preference_step(Dispatch::detect(), &Dpo::new(0.1)?, view, &batch, scratch)?;
/// assert!((summary.mean_loss() - core::f64::consts::LN_2).abs() < 1e-6);
/// assert!(logits[2] < 0.0 && logits[3] > 0.0, "descent raises the chosen token's logit");
/// # Ok::<(), Error>(())
/// ```
pub fn preference_step<X: Executor, L: BatchLoss, G: StepLogits>(
    executor: X,
    loss: L,
    mut logits: G,
    batch: &StepBatch<'_>,
    scratch: StepScratch<'_>,
) -> Result<StepSummary<Summary>, Error> {
    let StepBatch { layout, token_weights, .. } = *batch;
    check_step(executor, &loss, &logits, batch, &scratch)?;
    let (answers, nll_weights) = batch.nll_batch();
    batch.check_term()?;
    if let Some(nll) = &batch.nll {
        let sequences = layout.sequences();
        check_nll(nll, answers, nll_weights, sequences, |i| layout.tokens(i))?;
        check_length(Buffer::NllGrads, sequences, scratch.d_nll.len())?;
    }

    let StepScratch { log_probs, norms, sequences, losses, d_log_probs, d_nll, coefficients } =
        scratch;
    let out = TokenOut::new(log_probs).with_norms(norms);
    let (_, tokens) = logits.score(executor, layout, out);
    let (mut nll, mut of_nll, mut d_likelihood) = (NllSummary::default(), Ok(()), None);
    if let Some(term) = batch.nll {
        // Of the tokens as they are, so before the sums with token weights.
        sum_tokens(log_probs, layout, None, sequences);
        let of_answers = NllBatch { answers, policy: sequences, weights: nll_weights };
        of_nll = nll_loss(&term, &of_answers, d_nll).map(|found| nll = found);
        d_likelihood = Some(&*d_nll);
    }
    sum_tokens(log_probs, layout, token_weights, sequences);
    let mut sums = Summary::default();
    evaluate(loss, batch, sequences, losses);
    let out = PairOut::new(losses, d_log_probs);
    let of_loss = add_up(batch.pairs, batch.weights, batch.divisor, out, &mut sums);
    if of_loss.is_err() || of_nll.is_err() {
        let broken = broken_rows(layout, norms, d_log_probs, token_weights, d_likelihood);
        broken.rows().map_err(|error| logits.blame(error))?;
    }
    of_loss?;
    of_nll?;
    write_coefficients(layout, d_log_probs, token_weights, d_likelihood, coefficients);
    let grads = GradBatch::new(layout, norms, coefficients).with_unscored(batch.unscored);
    logits.write_grads(executor, &grads)?;
    Ok(StepSummary { loss: sums, tokens, nll })
}

// The stages below are not inlined, so that each has its variables on the stack no longer than it
// runs. The backward is: what becomes of rows that are not scored is known in the caller's code.

/// The loss of the step's pairs.
#[inline(never)]
fn evaluate<L: BatchLoss>(
    loss: L,
    batch: &StepBatch<'_>,
    policy: &[SequenceLogProb],
    losses: &mut [PairLoss],
) {
    let StepBatch { pairs, reference, weights, offsets, divisor, .. } = *batch;
    let of_pairs = PairBatch { pairs, policy, reference, weights, offsets, divisor };
    loss.evaluate_all(&of_pairs, losses);
}

/// The checks that need no log-probs, but those of the NLL term.
#[inline(never)]
fn check_step<X: Executor, L: BatchLoss, G: StepLogits>(
    executor: X,
    loss: &L,
    logits: &G,
    batch: &StepBatch<'_>,
    scratch: &StepScratch<'_>,
) -> Result<(), Error> {
    let StepBatch { layout, pairs, reference, weights, offsets, token_weights, divisor, .. } =
        *batch;
    let sequences = layout.sequences();
    check_token_weights(token_weights, layout.rows())?;
    let of_pairs = PairBatch { pairs, policy: &[], reference, weights, offsets, divisor };
    check_preferences(loss, &of_pairs, sequences, |i| count(layout, i, token_weights))?;
    logits.check(executor, layout)?;
    scratch.check(layout.rows(), sequences)?;
    check_length(Buffer::PairLosses, pairs.len(), scratch.losses.len())
}
