//! The whole step in one call, for the common case: it only composes the stages.

use crate::error::{Buffer, check_length};
use crate::loss::{BatchLoss, Nll, NllAnswers, NllBatch, NllSummary, check_nll, nll_loss};
use crate::pair::{PairBatch, PairLoss, Reference};
use crate::preference::{PairOut, check_preferences, preference_loss};
use crate::sequence::check_token_weights;
use crate::span;
use crate::{
    Dispatch, Element, Error, GradBatch, LogitsMut, Pair, RowNorm, SequenceLogProb, Span, Summary,
    Targets, TokenOut, logit_grads_in_place, sequence_log_probs, token_log_probs,
};

/// What a step is about: targets, sequences, preferences and the frozen reference.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StepBatch<'a> {
    /// Target of each row, R.
    pub targets: Targets<'a>,
    /// Rows of each sequence, N.
    pub spans: &'a [Span],
    /// Preferences among the sequences, P.
    pub pairs: &'a [Pair],
    /// Log-probs of the sequences under the reference, N.
    pub reference: Reference<'a>,
    /// As [`PairBatch::weights`].
    pub weights: Option<&'a [f32]>,
    /// As [`PairBatch::offsets`].
    pub offsets: Option<&'a [f32]>,
    /// As in [`sequence_log_probs`]; the reference's sums must have been weighted alike.
    pub token_weights: Option<&'a [f32]>,
    /// As [`PairBatch::divisor`].
    pub divisor: f64,
}

impl<'a> StepBatch<'a> {
    /// A step without weights and offsets.
    #[must_use]
    pub const fn new(
        targets: Targets<'a>,
        spans: &'a [Span],
        pairs: &'a [Pair],
        reference: Reference<'a>,
        divisor: f64,
    ) -> Self {
        Self {
            targets,
            spans,
            pairs,
            reference,
            weights: None,
            offsets: None,
            token_weights: None,
            divisor,
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
}

/// Buffers of a step; afterwards they hold what the stages found.
#[derive(Debug)]
pub struct StepScratch<'a> {
    /// Token log-probs, R.
    pub log_probs: &'a mut [f32],
    /// Norms of the rows, R.
    pub norms: &'a mut [RowNorm],
    /// Policy log-probs of the sequences, N.
    pub sequences: &'a mut [SequenceLogProb],
    /// ∂L/∂log π of the sequences, N.
    pub d_log_probs: &'a mut [f64],
    /// Losses of the pairs, P.
    pub losses: &'a mut [PairLoss],
    /// An NLL term on the chosen answers, if the objective has one.
    pub nll: Option<NllStep<'a>>,
}

/// An NLL term of a step, and where it goes.
#[derive(Debug)]
pub struct NllStep<'a> {
    /// The term.
    pub term: Nll,
    /// Its gradient with respect to the token log-probs of each sequence, N.
    pub d_log_probs: &'a mut [f64],
    /// Its sums.
    pub summary: &'a mut NllSummary,
}

/// Policy logits → loss summary, with the logits of the scored rows replaced by their gradients.
///
/// ```text
/// token_log_probs → sequence_log_probs → preference_loss → logit_grads_in_place
/// ```
///
/// `loss` is whatever [`preference_loss`] takes: a reference to a loss of pairs, one for each pair, or one
/// of the whole batch. An NLL term beside it has the weights of the pairs and is of the tokens as they are,
/// without `token_weights`. Losses
/// of unpaired answers take the stages, with [`unpaired_loss`](crate::unpaired::unpaired_loss) as the third.
///
/// # Errors
/// Those of the stages. Shapes, spans, targets, counts and parameters are checked before anything is
/// written. Rows or pairs that are not finite are found before the backward, and the logits are
/// unchanged, as on any error. After [`Error::NonFiniteRows`] only `log_probs` and `norms` are of this
/// step, after [`Error::NonFinitePairs`] all of the scratch; see "Masked rows" on the
/// [front page](crate) for how to go on without them.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{loss::*, *};
/// // Two answers of one token each, vocabulary 3; the reference is the policy: step 0.
/// let mut logits = [0.5_f32, -1.0, 2.0, 0.0, 3.0, -0.5];
/// let (targets, spans) = ([2, 0], [Span::new(0, 1), Span::new(1, 2)]);
/// let reference = [-0.2413113, -3.0769466];
/// let (mut log_probs, mut norms) = ([0.0; 2], [RowNorm::default(); 2]);
/// let (mut sequences, mut d_log_probs) = ([SequenceLogProb::default(); 2], [0.0; 2]);
/// let mut losses = [PairLoss::default()];
/// let scratch = StepScratch {
///     log_probs: &mut log_probs,
///     norms: &mut norms,
///     sequences: &mut sequences,
///     d_log_probs: &mut d_log_probs,
///     losses: &mut losses,
///     nll: None,
/// };
/// let (pairs, reference) = ([Pair::new(0, 1)], Reference::Sums(&reference));
/// let batch = StepBatch::new(Targets::new(&targets), &spans, &pairs, reference, 1.0);
/// let view = LogitsMut::new(&mut logits, 2, 3)?;
/// let summary = preference_step(Dispatch::detect(), &Dpo::new(0.1)?, view, &batch, scratch)?;
/// assert!((summary.mean_loss() - core::f64::consts::LN_2).abs() < 1e-6);
/// assert!(logits[2] < 0.0 && logits[3] > 0.0, "descent raises the chosen token's logit");
/// # Ok::<(), Error>(())
/// ```
pub fn preference_step<E: Element, L: BatchLoss>(
    dispatch: Dispatch,
    loss: L,
    logits: LogitsMut<'_, E>,
    batch: &StepBatch<'_>,
    scratch: StepScratch<'_>,
) -> Result<Summary, Error> {
    let StepBatch { targets, spans, pairs, reference, weights, offsets, token_weights, divisor } =
        *batch;
    let StepScratch { log_probs, norms, sequences, d_log_probs, losses, nll } = scratch;
    check_length(Buffer::Sequences, spans.len(), sequences.len())?;
    check_token_weights(token_weights, logits.rows())?;
    span::check(targets, spans, logits.rows(), Some(logits.vocab()))?;
    let tokens = |i: usize| spans.get(i).map_or(0, |&span| targets.scored_rows(span).count());
    let batch = PairBatch { pairs, policy: &[], reference, weights, offsets, divisor };
    check_preferences(&loss, &batch, spans.len(), tokens)?;
    check_length(Buffer::SequenceGrads, spans.len(), d_log_probs.len())?;
    check_length(Buffer::PairLosses, pairs.len(), losses.len())?;
    if let Some(nll) = &nll {
        let answers = NllAnswers::Chosen(pairs);
        check_nll(&nll.term, answers, weights, spans.len(), tokens)?;
        check_length(Buffer::NllGrads, spans.len(), nll.d_log_probs.len())?;
    }

    let out = TokenOut::new(log_probs).with_norms(norms);
    token_log_probs(dispatch, logits.as_logits(), targets, spans, out)?;
    let (mut d_nll, mut likelihood) = (None, Ok(()));
    if let Some(NllStep { term, d_log_probs, summary }) = nll {
        // Of the tokens as they are, so before the sums with token weights.
        sequence_log_probs(log_probs, targets, spans, None, sequences)?;
        let mut chosen = NllBatch::of_chosen(pairs, sequences);
        chosen.weights = weights;
        likelihood = nll_loss(&term, &chosen, d_log_probs).map(|found| *summary = found);
        d_nll = Some(&*d_log_probs);
    }
    sequence_log_probs(log_probs, targets, spans, token_weights, sequences)?;
    let batch = PairBatch { pairs, policy: sequences, reference, weights, offsets, divisor };
    let out = PairOut { losses, d_log_probs };
    let summary = preference_loss(loss, &batch, out)?;
    likelihood?;
    let batch = GradBatch { targets, spans, norms, d_log_probs, token_weights, d_nll };
    logit_grads_in_place(dispatch, logits, &batch)?;
    Ok(summary)
}
