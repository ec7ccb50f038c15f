//! A [`BatchCase`] through the kernels: the step, and its stages one by one.

use dpo_kernel::gradient::{GradBatch, logit_grads};
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::StepScratch;
use dpo_kernel::verify::cases::{BatchCase, stored, widened};
use dpo_kernel::{
    Dispatch, Dpo, Error, Layout, Logits, LogitsMut, Pair, PairBatch, PairLoss, PairOut, Reference,
    SequenceLogProb, Span, StepBatch, Summary, Targets, TokenOut, Transform, preference_loss,
    preference_step, sequence_log_probs, token_log_probs, verify,
};

use super::coefficients::coefficients;
use super::store::Store;

/// What a step leaves behind, whether it succeeds or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub summary: Result<Summary, Error>,
    /// NaN where nothing was written, as in all other fields.
    pub log_probs: Vec<f32>,
    pub sequences: Vec<SequenceLogProb>,
    pub d_log_probs: Vec<f64>,
    pub losses: Vec<PairLoss>,
    /// The gradients, widened.
    pub grads: Vec<f64>,
}

impl Found {
    /// All numbers by their bits, so that what is NaN is equal to itself.
    pub fn bits(&self) -> Vec<u64> {
        let loss = |loss: &PairLoss| {
            let PairLoss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } =
                *loss;
            [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected]
        };
        let log_probs = self.log_probs.iter().map(|&x| f64::from(x));
        let sums = self.sequences.iter().map(|sequence| sequence.sum);
        let wide = self.d_log_probs.iter().chain(&self.grads).copied();
        let losses = self.losses.iter().flat_map(loss);
        log_probs.chain(sums).chain(wide).chain(losses).map(f64::to_bits).collect()
    }
}

/// The kernels' form of a transform whose parameters f32 holds.
#[allow(clippy::cast_possible_truncation, reason = "exact by the contract of the cases")]
pub fn transform(exact: &verify::Transform) -> Transform {
    let verify::Transform { scale, softcap, temperature } = *exact;
    Transform::new(scale as f32, softcap.map(|c| c as f32), temperature as f32).unwrap()
}

/// The kernels' form of the loss.
pub fn loss(case: &BatchCase) -> Dpo {
    Dpo::new(case.dpo.beta).unwrap().with_label_smoothing(case.dpo.label_smoothing).unwrap()
}

pub fn spans(spans: &[(usize, usize)]) -> Vec<Span> {
    spans.iter().map(|&(start, end)| Span::new(start, end)).collect()
}

fn pairs(case: &BatchCase) -> Vec<Pair> {
    case.pairs.iter().map(|&(chosen, rejected)| Pair::new(chosen, rejected)).collect()
}

/// The case's layout, whose spans come in any order.
fn layout<'a>(case: &'a BatchCase, spans: &'a [Span], order: &'a mut [usize]) -> Layout<'a> {
    let targets = Targets::new(&case.layout.targets).with_ignore(case.layout.ignore);
    Layout::in_any_order(targets, spans, case.vocab(), order).unwrap()
}

fn nothing(case: &BatchCase) -> Found {
    let n = case.layout.spans.len();
    let nan = f64::NAN;
    Found {
        summary: Ok(Summary::default()),
        log_probs: vec![f32::NAN; case.rows()],
        sequences: vec![SequenceLogProb { sum: nan, count: 0 }; n],
        d_log_probs: vec![nan; n],
        losses: vec![PairLoss::default(); case.pairs.len()],
        grads: Vec::new(),
    }
}

/// [`preference_step`].
pub fn step<E: Store>(case: &BatchCase, dispatch: Dispatch) -> Found {
    let mut logits: Vec<E> = stored(&case.logits);
    let (spans, pairs) = (spans(&case.layout.spans), pairs(case));
    let mut order = vec![0; spans.len()];
    let layout = layout(case, &spans, &mut order);
    let reference = Reference::Sums(&case.reference);
    let mut batch = StepBatch::new(&layout, &pairs, reference, case.divisor);
    if let Some(weights) = &case.weights {
        batch = batch.with_weights(weights);
    }
    if let Some(offsets) = &case.offsets {
        batch = batch.with_offsets(offsets);
    }
    if let Some(token_weights) = &case.token_weights {
        batch = batch.with_token_weights(token_weights);
    }
    let mut found = nothing(case);
    let mut norms = vec![RowNorm::default(); case.rows()];
    let mut coefficients = vec![f64::NAN; case.rows()];
    let scratch = StepScratch::new(
        &mut found.log_probs,
        &mut norms,
        &mut found.sequences,
        &mut found.losses,
        &mut found.d_log_probs,
        &mut coefficients,
    );
    let view = LogitsMut::with_stride(&mut logits, case.rows(), case.vocab(), case.stride)
        .unwrap()
        .with_transform(transform(&case.transform));
    found.summary =
        preference_step(dispatch, &loss(case), view, &batch, scratch).map(|summary| summary.loss);
    found.grads = widened(&logits);
    found
}

/// The stages one by one, gradients apart into f32; stops at the first error, as the step does.
pub fn stages<E: Store>(case: &BatchCase, dispatch: Dispatch) -> Found {
    let mut found = nothing(case);
    found.grads = vec![f64::NAN; case.logits.len()];
    found.summary = try_stages::<E>(case, dispatch, &mut found);
    found
}

fn try_stages<E: Store>(
    case: &BatchCase,
    dispatch: Dispatch,
    found: &mut Found,
) -> Result<Summary, Error> {
    let logits: Vec<E> = stored(&case.logits);
    let (spans, pairs) = (spans(&case.layout.spans), pairs(case));
    let mut order = vec![0; spans.len()];
    let layout = layout(case, &spans, &mut order);
    let token_weights = case.token_weights.as_deref();
    let view = Logits::with_stride(&logits, case.rows(), case.vocab(), case.stride)?
        .with_transform(transform(&case.transform));
    let mut norms = vec![RowNorm::default(); case.rows()];
    let out = TokenOut::new(&mut found.log_probs).with_norms(&mut norms);
    let broken = match token_log_probs(dispatch, view, &layout, out) {
        Ok(_) => Vec::new(),
        Err(Error::NonFiniteRows { .. }) => {
            (0..case.rows()).filter(|&row| found.log_probs[row].is_nan()).collect()
        }
        Err(other) => return Err(other),
    };
    sequence_log_probs(&found.log_probs, &layout, token_weights, &mut found.sequences)?;
    let reference = Reference::Sums(&case.reference);
    let mut batch = PairBatch::new(&pairs, &found.sequences, reference, case.divisor);
    if let Some(weights) = &case.weights {
        batch = batch.with_weights(weights);
    }
    if let Some(offsets) = &case.offsets {
        batch = batch.with_offsets(offsets);
    }
    let out = PairOut::new(&mut found.losses, &mut found.d_log_probs);
    let summary = preference_loss(&loss(case), &batch, out).map_err(|error| {
        // Rows that a pair depends on are named before the pair.
        let is_read = |row: &usize| {
            let weight = token_weights.map_or(1.0, |weights| weights[*row]);
            (0..spans.len()).any(|sequence| {
                let named = pairs.iter().enumerate().any(|(i, pair)| {
                    let there = case.weights.as_ref().is_none_or(|weights| weights[i] != 0.0);
                    there && (pair.chosen == sequence || pair.rejected == sequence)
                });
                named && layout.scored_rows(sequence).any(|(scored, _)| scored == *row)
            }) && weight != 0.0
        };
        let read: Vec<usize> = broken.iter().copied().filter(is_read).collect();
        match read.first() {
            Some(&first) => Error::NonFiniteRows { first, count: read.len() },
            None => error,
        }
    })?;
    let coefficients = coefficients(&layout, &found.d_log_probs, token_weights, None)?;
    let batch = GradBatch::new(&layout, &norms, &coefficients);
    let mut grads = vec![f32::NAN; logits.len()];
    let to = LogitsMut::with_stride(&mut grads, case.rows(), case.vocab(), case.stride)?;
    logit_grads(dispatch, view, &batch, to)?;
    found.grads = widened(&grads);
    Ok(summary)
}
