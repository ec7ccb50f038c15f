//! Pairs out of scored completions: the best of each prompt against its worst.

use core::cmp::Ordering;

use crate::error::{Buffer, check_length};
use crate::layout::{check_offsets, spans_between};
use crate::{Error, Pair, Span};

/// What [`best_worst_pairs`] made of the groups. Every group is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Selection {
    /// Groups that gave a pair.
    pub pairs: usize,
    /// Groups skipped because several completions share the best score, but not all.
    pub shared_best: usize,
    /// Groups skipped because all scores are equal.
    pub all_equal: usize,
    /// Groups skipped because they have fewer than two completions.
    pub too_small: usize,
}

/// The best completion of each prompt against its worst.
///
/// ```text
/// chosen = argmax score,  rejected = argmin score      over the completions of one prompt
/// ```
///
/// DPO learns from answers that somebody else wrote and never explores. Online and iterative DPO
/// sample completions from the policy itself, score them, and train on the pairs that this function
/// returns.
///
/// # Shapes
/// G groups, one a prompt. `group_offsets`, G + 1, ascending: group g is the completions
/// `[group_offsets[g], group_offsets[g + 1])`, as `cu_seqlens` has it for rows. `scores`, as many
/// as the last offset, in any unit: higher is better. Score i is of sequence i, and the pairs name
/// sequences by the same index. `out`, G: the first [`Selection::pairs`] entries are written in the
/// order of the groups, the others are left as they were.
///
/// # Ties
/// A group whose best score is shared is skipped and counted. Of several worst completions the
/// first is taken, so the result follows from the scores alone. Scores of few values (a verifier's
/// 0 and 1) share their best often. Where skipping wastes too much, break ties in the scores, by
/// length or by log-prob.
///
/// # Errors
/// Before anything is written: [`Error::OffsetsNotAscending`], [`Error::Length`],
/// [`Error::InvalidValue`] for a score in a group that is not finite.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::Pair;
/// use dpo_kernel::training::{Selection, best_worst_pairs};
/// let scores = [0.1, 0.9, -0.5, /* next prompt */ 0.3, 0.3];
/// let mut pairs = [Pair::default(); 2];
/// let found = best_worst_pairs(&scores, &[0, 3, 5], &mut pairs)?;
/// assert_eq!(found, Selection { pairs: 1, all_equal: 1, ..Selection::default() });
/// assert_eq!(pairs[..found.pairs], [Pair::new(1, 2)]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
///
/// Guo et al. 2024, arXiv 2402.04792 (online DPO, two completions a prompt); Dong et al. 2024,
/// arXiv 2405.07863 (iterative DPO, best and worst of several).
#[doc(alias = "online DPO")]
#[doc(alias = "iterative DPO")]
#[doc(alias = "OAIF")]
#[doc(alias = "on-policy")]
#[doc(alias = "best of n")]
#[doc(alias = "rejection sampling")]
pub fn best_worst_pairs<O: Copy + TryInto<usize>>(
    scores: &[f32],
    group_offsets: &[O],
    out: &mut [Pair],
) -> Result<Selection, Error> {
    check_offsets(group_offsets, Buffer::Pairs, out.len())?;
    let to_usize = |offset: O| offset.try_into().unwrap_or(usize::MAX);
    let expected = group_offsets.last().copied().map_or(0, to_usize);
    check_length(Buffer::Scores, expected, scores.len())?;
    let first = group_offsets.first().copied().map_or(0, to_usize);
    let mut in_groups = scores.iter().enumerate().skip(first);
    if let Some((index, &score)) = in_groups.find(|(_, score)| !score.is_finite()) {
        let value = f64::from(score);
        return Err(Error::InvalidValue { buffer: Buffer::Scores, index, value });
    }

    let mut found = Selection::default();
    let mut free = out.iter_mut();
    for Span { start, end } in spans_between(group_offsets) {
        match verdict(start, scores.get(start..end).unwrap_or_default()) {
            Verdict::Pair(pair) => {
                if let Some(to) = free.next() {
                    *to = pair;
                }
                found.pairs += 1;
            }
            Verdict::SharedBest => found.shared_best += 1,
            Verdict::AllEqual => found.all_equal += 1,
            Verdict::TooSmall => found.too_small += 1,
        }
    }
    Ok(found)
}

enum Verdict {
    Pair(Pair),
    SharedBest,
    AllEqual,
    TooSmall,
}

/// The verdict on a group whose first completion is `start`.
fn verdict(start: usize, scores: &[f32]) -> Verdict {
    let mut members = (start..).zip(scores.iter().copied());
    let Some(first) = members.next() else { return Verdict::TooSmall };
    let (mut best, mut worst) = (first, first);
    let mut is_shared = false;
    for (index, score) in members {
        match score.partial_cmp(&best.1) {
            Some(Ordering::Greater) => (best, is_shared) = ((index, score), false),
            Some(Ordering::Equal) => is_shared = true,
            _ => {}
        }
        if score < worst.1 {
            worst = (index, score);
        }
    }
    if scores.len() < 2 {
        Verdict::TooSmall
    } else if best.1 <= worst.1 {
        Verdict::AllEqual
    } else if is_shared {
        Verdict::SharedBest
    } else {
        Verdict::Pair(Pair::new(best.0, worst.0))
    }
}
