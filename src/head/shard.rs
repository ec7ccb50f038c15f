//! A head whose columns are shared by machines: statistics of the own columns, and their gradients
//! from merged norms.

use super::forward::{FoldRows, begin, check_states};
use super::hidden::{Hidden, HiddenMut};
use super::scratch::HeadScratch;
use super::sums::HeadGrads;
use super::tile::Tile;
use super::trained::backward;
use super::traits::Head;
use crate::error::{Buffer, check_length};
use crate::executor::Executor;
use crate::gradient::GradBatch;
use crate::layout::{Layout, Span};
use crate::row::{Extra, RowStats};
use crate::{Element, Error};

/// Statistics of the columns of a shard for every scored row, from hidden states.
///
/// ```text
/// y_j = transform(states · W_jᵀ + b_j)        j from first_column to first_column + V of the head
/// ```
///
/// `head` has the rows of W of this machine's columns alone, `layout` is of the whole vocabulary.
/// `out`, R of them, are written in rows that are scored. Those of all machines, merged in any
/// order ([`RowStats::merge`], [`RowStats::write_bytes`]), are those of the whole row, to the bit
/// where shards are whole blocks ([`shard_columns`](crate::row::shard_columns)) and in the same
/// arithmetic. An empty shard has no head: its statistics are [`RowStats::new`].
///
/// # Numerics
/// Logits, and with them the bits, are those of [`head_token_log_probs`](super::head_token_log_probs).
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::ShapeMismatch`] (found: where the shard
/// ends), [`Error::HiddenMismatch`]. A row that is not finite is no error: its merged log Z is NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::head::{HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut, Linear};
/// use dpo_kernel::head::{head_shard_grads, head_shard_stats};
/// use dpo_kernel::gradient::GradBatch;
/// use dpo_kernel::row::{RowNorm, RowStats};
/// use dpo_kernel::*;
/// # fn main() -> Result<(), Error> {
/// let dispatch = Dispatch::detect();
/// let (weights, states) = (vec![0.01_f32; 700 * 2], [1.0_f32, 2.0]);
/// let (targets, spans) = ([600], [Span::new(0, 1)]);
/// let layout = Layout::new(&targets, &spans, 700)?;
/// let states = Hidden::new(&states, 1, 2)?;
/// let mut room = [HeadRow::NEW; 1];
/// let shards = [(0, &weights[..512 * 2]), (512, &weights[512 * 2..])];
/// // Each machine has one of these, and the norm is made of all.
/// let mut row: RowStats = RowStats::new(Transform::NONE, Some(600));
/// for (first_column, weights) in shards {
///     let head = Linear::new(weights, weights.len() / 2, 2)?;
///     let mut numbers = vec![0.0; HeadScratch::numbers::<f32, _>(&head, 1)];
///     let scratch = HeadScratch::new(&mut room, &mut numbers);
///     let mut part = [RowStats::<()>::new(Transform::NONE, Some(600))];
///     head_shard_stats(dispatch, states, &head, first_column, &layout, &mut part, scratch)?;
///     row.merge(&part[0])?;
/// }
/// assert_eq!(row.columns(), 700);
/// assert!((row.log_z() - row.target_logit().unwrap_or(0.0) - (700.0_f64).ln()).abs() < 1e-7);
/// # Ok(())
/// # }
/// ```
#[allow(private_bounds, reason = "sealed: () and Details")]
pub fn head_shard_stats<X: Executor, E: Element, H: Head<E> + ?Sized, D: Extra>(
    executor: X,
    states: Hidden<'_, E>,
    head: &H,
    first_column: usize,
    layout: &Layout<'_>,
    out: &mut [RowStats<D>],
    scratch: HeadScratch<'_>,
) -> Result<(), Error> {
    check_states(states, head)?;
    check_columns(states, head, first_column, layout)?;
    scratch.check(executor, head)?;
    check_length(Buffer::RowStats, layout.rows(), out.len())?;
    let HeadScratch { rows: room, numbers, negligible } = scratch;
    let mut scored = layout.scored_rows_within(Span::new(0, layout.rows()));
    while let Some(rows) = begin(room, head.transform(), &mut scored) {
        let (tile, numbers) = Tile::split(&mut *numbers, rows.len());
        let work = FoldRows {
            states,
            head,
            first_column,
            rows: &mut *rows,
            tile,
            numbers,
            sums: None,
            with_details: D::ON,
            negligible,
        };
        executor.execute_shares(work, executor.threads());
        for of in &*rows {
            if let Some(to) = out.get_mut(of.row) {
                *to = of.stats.with_extra(D::from_sums(D::ON.then_some(of.details)));
            }
        }
    }
    Ok(())
}

/// The backward of a shard: gradients of its rows of the head, and its part of the hidden
/// gradients, which are the sum over all machines.
///
/// ```text
/// hidden_i = Σ_j d_ij · W_j        ∂L/∂W_j = Σ_i d_ij · states_i        j of the shard
/// ```
///
/// As [`head_grads`](super::head_grads), but that the norms of `batch` are of merged statistics
/// ([`RowStats::norm`]). A shard without a row's target writes −c · p of its columns, and nothing
/// else.
///
/// # Numerics
/// Gradients of the head have the bits of [`head_grads`](super::head_grads) on the whole head, where
/// shards begin at multiples of 512 columns. Hidden gradients are sums in f32 over the columns of the
/// shard: the host adds those of all machines, in an order that is always the same.
///
/// # Errors
/// As [`head_grads`](super::head_grads).
///
/// # Panics
/// Never.
#[allow(clippy::too_many_arguments, reason = "those of `head_grads`, and where the shard begins")]
pub fn head_shard_grads<X: Executor, E: Element, H: Head<E> + ?Sized, G: Element>(
    executor: X,
    states: Hidden<'_, E>,
    head: &H,
    first_column: usize,
    batch: &GradBatch<'_>,
    hidden: HiddenMut<'_, f32>,
    mut grads: HeadGrads<'_, G>,
    scratch: HeadScratch<'_>,
) -> Result<(), Error> {
    check_columns(states, head, first_column, batch.layout)?;
    batch.check(states.rows(), batch.layout.vocab(), head.transform())?;
    backward(executor, (states, head, first_column), batch, hidden, &mut grads, scratch)
}

/// The shard's columns are of the vocabulary.
fn check_columns<E: Element, H: Head<E> + ?Sized>(
    states: Hidden<'_, E>,
    head: &H,
    first_column: usize,
    layout: &Layout<'_>,
) -> Result<(), Error> {
    let end = first_column.saturating_add(head.vocab());
    layout.check_shape(states.rows(), if end <= layout.vocab() { layout.vocab() } else { end })
}
