//! The stages on one row or one batch, with all their buffers.

use dpo_kernel::gradient::{GradBatch, GradElement, logit_grads, logit_grads_in_place};
use dpo_kernel::row::RowStats;
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::{
    Dispatch, Error, Layout, Logits, LogitsMut, Span, TokenOut, Transform, token_log_probs,
};

use crate::rows::Store;

/// log Z of a row folded in one tile.
pub fn log_z<E: Store>(dispatch: Dispatch, row: &[E], transform: Transform) -> f64 {
    let mut stats = RowStats::<()>::new(transform, None);
    stats.fold(dispatch, row, 0);
    stats.log_z()
}

/// What the forward says of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forward {
    pub log_prob: f32,
    pub norm: RowNorm,
    pub details: RowDetails,
}

/// One row through [`token_log_probs`].
pub fn forward<E: Store>(
    dispatch: Dispatch,
    row: &[E],
    target: u32,
    transform: Transform,
) -> Result<Forward, Error> {
    let logits = Logits::new(row, 1, row.len())?.with_transform(transform);
    let (mut log_probs, mut norms) = ([f32::NAN], [RowNorm::default()]);
    let mut details = [RowDetails::default()];
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
    let (targets, spans) = ([target], [Span::new(0, 1)]);
    let layout = Layout::new(&targets, &spans, row.len())?;
    token_log_probs(dispatch, logits, &layout, out)?;
    Ok(Forward { log_prob: log_probs[0], norm: norms[0], details: details[0] })
}

/// One row's gradient for a coefficient c, into storage of type O.
pub fn gradient<E: Store, O: Store + GradElement<E>>(
    dispatch: Dispatch,
    row: &[E],
    target: u32,
    transform: Transform,
    c: f64,
) -> Vec<O> {
    let norm = forward(dispatch, row, target, transform).unwrap().norm;
    let logits = Logits::new(row, 1, row.len()).unwrap().with_transform(transform);
    let mut out = vec![O::POISON; row.len()];
    let (targets, spans) = ([target], [Span::new(0, 1)]);
    let layout = Layout::new(&targets, &spans, row.len()).unwrap();
    let (norms, coefficients) = ([norm], [c]);
    let batch = GradBatch::new(&layout, &norms, &coefficients);
    let to = LogitsMut::new(&mut out, 1, row.len()).unwrap();
    logit_grads(dispatch, logits, &batch, to).unwrap();
    out
}

/// The same over the logits themselves.
pub fn gradient_in_place<E: Store>(
    dispatch: Dispatch,
    row: &[E],
    target: u32,
    transform: Transform,
    c: f64,
) -> Vec<E> {
    let norm = forward(dispatch, row, target, transform).unwrap().norm;
    let mut out = row.to_vec();
    let (targets, spans) = ([target], [Span::new(0, 1)]);
    let layout = Layout::new(&targets, &spans, row.len()).unwrap();
    let (norms, coefficients) = ([norm], [c]);
    let batch = GradBatch::new(&layout, &norms, &coefficients);
    let logits = LogitsMut::new(&mut out, 1, row.len()).unwrap().with_transform(transform);
    logit_grads_in_place(dispatch, logits, &batch).unwrap();
    out
}

/// The bits of a slice, for comparisons that mean it.
pub fn bits<E: Store>(values: &[E]) -> Vec<u32> {
    values.iter().map(|x| x.bits()).collect()
}
