//! Pairs that prefer nothing: chosen and rejected are the same tokens.

use crate::error::{Buffer, check_length};
use crate::layout::Layout;
use crate::pair::check_indices;
use crate::{Error, Pair};

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
/// `layout`, of N sequences; `pairs` and `out`, P.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::SequenceOutOfRange`],
/// [`Error::PairOfOneSequence`].
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{IGNORE_INDEX, Layout, Pair, Span};
/// use dpo_kernel::training::identical_pairs;
/// // Three answers: 7 8, then 7 8 again with an ignored row in between, then 7 9.
/// let targets = [7, 8, 7, IGNORE_INDEX, 8, 7, 9];
/// let spans = [Span::new(0, 2), Span::new(2, 5), Span::new(5, 7)];
/// let layout = Layout::new(&targets, &spans, 10)?;
/// let mut same = [false; 2];
/// let pairs = [Pair::new(0, 1), Pair::new(0, 2)];
/// assert_eq!(identical_pairs(&layout, &pairs, &mut same)?, 1);
/// assert_eq!(same, [true, false]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[doc(alias = "duplicate")]
#[doc(alias = "truncation")]
#[doc(alias = "ties")]
pub fn identical_pairs(
    layout: &Layout<'_>,
    pairs: &[Pair],
    out: &mut [bool],
) -> Result<usize, Error> {
    check_indices(pairs, layout.sequences())?;
    check_length(Buffer::PairFlags, pairs.len(), out.len())?;
    let tokens = |sequence: usize| layout.scored_rows(sequence).map(|(_, id)| id);
    let mut count = 0;
    for (pair, flag) in pairs.iter().zip(out) {
        *flag = tokens(pair.chosen).eq(tokens(pair.rejected));
        count += usize::from(*flag);
    }
    Ok(count)
}
