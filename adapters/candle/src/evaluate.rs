//! What has no gradient: a reference, a loss on held-out pairs. The stages of a step but the last.

use dpo_kernel::error::{Buffer, Error as KernelError};
use dpo_kernel::loss::{BatchLoss, Nll, NllBatch, NllSummary, nll_loss};
use dpo_kernel::step::{StepSummary, UnpairedStepBatch};
use dpo_kernel::unpaired::{
    UnpairedBatch, UnpairedBatchLoss, UnpairedOut, UnpairedSummary, unpaired_loss,
};
use dpo_kernel::{
    Executor, Layout, PairBatch, PairOut, SequenceLogProb, StepBatch, Summary, TokenOut,
    preference_loss, sequence_log_probs,
};

use crate::error::Error;
use crate::input::Input;
use crate::workspace::Workspace;

/// The loss of pairs.
pub(crate) fn pairs<X: Executor, L: BatchLoss, I: Input>(
    to: &mut Workspace,
    executor: X,
    loss: L,
    input: &I,
    batch: &StepBatch<'_>,
) -> Result<StepSummary<Summary>, Error> {
    let StepBatch { layout, pairs, reference, weights, offsets, token_weights, divisor, .. } =
        *batch;
    check_term(batch)?;
    to.grow(layout, pairs.len(), 0)?;
    let mut summary = StepSummary::default();
    let out = TokenOut::new(&mut to.log_probs);
    summary.tokens = input.score(executor, layout, out, &mut to.room)?;
    if let Some(term) = batch.nll {
        // Of the tokens as they are.
        sequence_log_probs(&to.log_probs, layout, None, &mut to.sequences)?;
        summary.nll = nll_loss(&term, &nll_batch(batch, &to.sequences), &mut to.d_nll)?;
    }
    sequence_log_probs(&to.log_probs, layout, token_weights, &mut to.sequences)?;
    let mut of_pairs = PairBatch::new(pairs, &to.sequences, reference, divisor);
    (of_pairs.weights, of_pairs.offsets) = (weights, offsets);
    let out = PairOut::new(&mut to.pair_losses, &mut to.d_log_probs);
    summary.loss = preference_loss(loss, &of_pairs, out)?;
    Ok(summary)
}

/// The loss of answers without a partner.
pub(crate) fn answers<X: Executor, L: UnpairedBatchLoss, I: Input>(
    to: &mut Workspace,
    executor: X,
    loss: L,
    input: &I,
    batch: &UnpairedStepBatch<'_>,
) -> Result<StepSummary<UnpairedSummary>, Error> {
    let UnpairedStepBatch { layout, answers, reference, weights, token_weights, divisor, .. } =
        *batch;
    to.grow(layout, 0, answers.len())?;
    let mut summary = StepSummary::default();
    let out = TokenOut::new(&mut to.log_probs);
    summary.tokens = input.score(executor, layout, out, &mut to.room)?;
    sequence_log_probs(&to.log_probs, layout, token_weights, &mut to.sequences)?;
    let mut of_answers = UnpairedBatch::new(answers, &to.sequences, reference, divisor);
    of_answers.weights = weights;
    let out = UnpairedOut::new(&mut to.answer_losses, &mut to.d_log_probs);
    summary.loss = unpaired_loss(loss, &of_answers, out)?;
    Ok(summary)
}

/// Log-probs of the sequences.
pub(crate) fn score<X: Executor, I: Input>(
    to: &mut Workspace,
    executor: X,
    input: &I,
    layout: &Layout<'_>,
    token_weights: Option<&[f32]>,
) -> Result<(), Error> {
    to.grow(layout, 0, 0)?;
    let found = input.score(executor, layout, TokenOut::new(&mut to.log_probs), &mut to.room);
    if let Err(error) = found {
        refuse_weighted_rows(&to.log_probs, layout, token_weights, error)?;
    }
    Ok(sequence_log_probs(&to.log_probs, layout, token_weights, &mut to.sequences)?)
}

/// An error that comes after all other rows are complete is none if no row of weight ≠ 0 is broken.
fn refuse_weighted_rows(
    log_probs: &[f32],
    layout: &Layout<'_>,
    token_weights: Option<&[f32]>,
    error: Error,
) -> Result<(), Error> {
    let is_late = |error: &KernelError| match error {
        KernelError::NonFiniteRows { .. } => true,
        KernelError::InvalidValue { buffer, .. } => *buffer == Buffer::HeadWeights,
        _ => false,
    };
    let Error::Kernel(found) = error else { return Err(error) };
    if !is_late(&found) {
        return Err(error);
    }
    let has_weight = |row: usize| {
        token_weights.is_none_or(|weights| weights.get(row).is_some_and(|&weight| weight != 0.0))
    };
    let rows = (0..layout.sequences()).flat_map(|i| layout.scored_rows(i)).map(|(row, _)| row);
    let is_broken = |row: &usize| log_probs.get(*row).is_some_and(|x| x.is_nan());
    let mut broken = rows.filter(|&row| has_weight(row)).filter(is_broken);
    let Some(first) = broken.next() else { return Ok(()) };
    let count = broken.count() + 1;
    Err(match found {
        KernelError::NonFiniteRows { .. } => KernelError::NonFiniteRows { first, count }.into(),
        found => found.into(),
    })
}

/// Answers and weights of a term that is not there.
fn check_term(batch: &StepBatch<'_>) -> Result<(), KernelError> {
    let buffer = match (&batch.nll, batch.nll_answers, batch.nll_weights) {
        (None, Some(_), _) => Buffer::Answers,
        (None, _, Some(_)) => Buffer::AnswerWeights,
        _ => return Ok(()),
    };
    Err(KernelError::InputUnused { buffer })
}

/// The NLL term's answers and their weights.
fn nll_batch<'a>(batch: &StepBatch<'a>, policy: &'a [SequenceLogProb]) -> NllBatch<'a> {
    let (mut found, weights) = match batch.nll_answers {
        Some(answers) => (NllBatch::of_sequences(answers, policy), batch.nll_weights),
        None => {
            let weights = batch.nll_weights.or(batch.weights);
            (NllBatch::of_chosen(batch.pairs, policy), weights)
        }
    };
    found.weights = weights;
    found
}

/// The term's loss over its divisor, which is had from the gradient of one token of weight 1:
/// the term tells neither.
pub(crate) fn mean_nll(term: &Nll, found: &NllSummary) -> f64 {
    let token = [SequenceLogProb { sum: -1.0, count: 1 }];
    let mut d_token = [0.0];
    match nll_loss(term, &NllBatch::of_sequences(&[0], &token), &mut d_token) {
        // weight / (weight / divisor); a term of weight 0 has left everything out.
        Ok(of_token) if of_token.sequences == 1 => {
            found.loss_sum / (of_token.loss_sum / -d_token[0])
        }
        _ => 0.0,
    }
}
