//! Pairs that prefer nothing: chosen and rejected are the same tokens.

use crate::error::{Buffer, check_length};
use crate::pair::check_indices;
use crate::span;
use crate::{Error, Pair, Span, Targets};

/// Flags the pairs whose two sequences score the same tokens in the same order, and counts them.
///
/// ```text
/// out[i] = (scored targets of chosen_i) == (scored targets of rejected_i)
/// ```
///
/// Such a pair prefers nothing. Its gradient is exactly 0 for good, its loss stays where it began
/// (ln 2 under DPO), and it pulls every mean towards that. Truncation makes such pairs: two answers
/// that differ only after the cut are the same before it. The host leaves the flagged pairs out or
/// gives them weight 0.
///
/// Only scored rows are compared: a row whose target is the ignore value is skipped. The two
/// answers of a pair are taken to share their prompt, which is not compared.
///
/// # Shapes
/// Targets, R; `spans`, N; `pairs` and `out`, P.
///
/// # Errors
/// Before anything is written: those of [`sequence_log_probs`](crate::sequence_log_probs) for
/// targets and spans, [`Error::Length`], [`Error::SequenceOutOfRange`],
/// [`Error::PairOfOneSequence`].
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{IGNORE_INDEX, Pair, Span, Targets};
/// use dpo_kernel::training::identical_pairs;
/// // Three answers: 7 8, then 7 8 again with an ignored row in between, then 7 9.
/// let targets = [7, 8, 7, IGNORE_INDEX, 8, 7, 9];
/// let spans = [Span::new(0, 2), Span::new(2, 5), Span::new(5, 7)];
/// let mut same = [false; 2];
/// let pairs = [Pair::new(0, 1), Pair::new(0, 2)];
/// assert_eq!(identical_pairs(Targets::new(&targets), &spans, &pairs, &mut same)?, 1);
/// assert_eq!(same, [true, false]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[doc(alias = "duplicate")]
#[doc(alias = "truncation")]
#[doc(alias = "ties")]
pub fn identical_pairs(
    targets: Targets<'_>,
    spans: &[Span],
    pairs: &[Pair],
    out: &mut [bool],
) -> Result<usize, Error> {
    span::check(targets, spans, targets.ids().len(), None)?;
    check_indices(pairs, spans.len())?;
    check_length(Buffer::PairFlags, pairs.len(), out.len())?;
    let tokens = |sequence: usize| {
        let span = spans.get(sequence).copied().unwrap_or_default();
        targets.scored_rows(span).map(|(_, id)| id)
    };
    let mut count = 0;
    for (pair, flag) in pairs.iter().zip(out) {
        *flag = tokens(pair.chosen).eq(tokens(pair.rejected));
        count += usize::from(*flag);
    }
    Ok(count)
}
