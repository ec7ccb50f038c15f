//! Token weights of LD-DPO: tokens past the length of the pair's shorter answer count less.

use crate::Error;
use crate::error::{Buffer, Parameter, check_length};
use crate::layout::Layout;
use crate::pair::{Pair, check_indices};

/// Token weights of LD-DPO, length-desensitized DPO: 1 up to the length of the pair's shorter
/// answer, α past it.
///
/// ```text
/// log π̂(y) = Σ_{t ≤ l} log p_t + α·Σ_{t > l} log p_t      l = min(n_w, n_l), in scored tokens
/// ```
///
/// Sum **both** the policy and the reference with these weights
/// ([`sequence_log_probs`](crate::sequence_log_probs) takes them), as TRL does from 0.29 on. With a
/// reference of plain sums the loss does not start at ln 2. So the reference must be stored per
/// token. With α = 1, or answers of equal length, the loss is exactly that without weights.
///
/// # Shapes
/// `layout` and `weights`, R; `pairs`, P. `weights` is written in the rows of sequences
/// that a pair names, scored or not. Its other rows are left as they were.
///
/// # Errors
/// Before anything is written: [`Error::Parameter`] unless α ∈ [0, 1]; [`Error::Length`] unless
/// `weights` has a weight for each row; the errors of pairs, as
/// [`identical_pairs`](crate::training::identical_pairs) has them; [`Error::TokenWeightsDiffer`] if
/// a sequence stands in two pairs whose shorter answers differ in length so that one weight cannot
/// serve both.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{Layout, Pair, Span};
/// use dpo_kernel::training::ld_token_weights;
/// let (ids, spans) = ([5, 6, 7, 8, 9], [Span::new(0, 2), Span::new(2, 5)]);
/// let layout = Layout::new(&ids, &spans, 10)?;
/// let mut weights = [1.0; 5];
/// ld_token_weights(0.25, &layout, &[Pair::new(0, 1)], &mut weights)?;
/// assert_eq!(weights, [1.0, 1.0, 1.0, 1.0, 0.25]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
///
/// Liu et al. 2024, arXiv 2409.06411.
#[doc(alias = "LD-DPO")]
#[doc(alias = "ld_dpo")]
#[doc(alias = "ld_alpha")]
#[doc(alias = "length-desensitized")]
pub fn ld_token_weights(
    alpha: f64,
    layout: &Layout<'_>,
    pairs: &[Pair],
    weights: &mut [f32],
) -> Result<(), Error> {
    let alpha = Parameter::TailWeight.check(alpha, (0.0..=1.0).contains(&alpha))?;
    #[allow(clippy::cast_possible_truncation, reason = "weights are f32")]
    let tail = alpha as f32;
    check_length(Buffer::TokenWeights, layout.rows(), weights.len())?;
    check_indices(pairs, layout.sequences())?;
    let rows = |i: usize| layout.spans().get(i).map_or(0..0, |span| span.start..span.end);
    let tokens = |i: usize| layout.tokens(i);
    let shared = |pair: &Pair| tokens(pair.chosen).min(tokens(pair.rejected));
    check_shared(pairs, tokens, shared)?;

    for pair in pairs {
        let length = shared(pair);
        for sequence in [pair.chosen, pair.rejected] {
            let mut token = 0;
            for row in rows(sequence) {
                token += usize::from(layout.targets().scored(row).is_some());
                if let Some(to) = weights.get_mut(row) {
                    *to = if token <= length { 1.0 } else { tail };
                }
            }
        }
    }
    Ok(())
}

/// One set of weights for each sequence. Where chosen and rejected sequences ascend, as they mostly
/// do, one pass is enough; others are compared in pairs, because there is nowhere to note them.
fn check_shared(
    pairs: &[Pair],
    tokens: impl Fn(usize) -> usize,
    shared: impl Fn(&Pair) -> usize,
) -> Result<(), Error> {
    // Past its own end a sequence has no token to weigh.
    let differ = |x: &Pair, y: &Pair, sequence| {
        let own = tokens(sequence);
        shared(x).min(own) != shared(y).min(own)
    };
    let ascend = |of: fn(&Pair) -> usize| pairs.is_sorted_by(|x, y| of(x) < of(y));
    if ascend(|pair| pair.chosen) && ascend(|pair| pair.rejected) {
        return check_ascending(pairs, differ);
    }
    for (i, later) in pairs.iter().enumerate() {
        for earlier in pairs.iter().take(i) {
            for sequence in [later.chosen, later.rejected] {
                let is_shared = earlier.chosen == sequence || earlier.rejected == sequence;
                if is_shared && differ(earlier, later, sequence) {
                    return Err(Error::TokenWeightsDiffer { pair: i, sequence });
                }
            }
        }
    }
    Ok(())
}

/// Of pairs whose chosen sequences ascend, and whose rejected ones do: a sequence stands in two
/// pairs only as chosen in one and rejected in the other.
fn check_ascending(
    pairs: &[Pair],
    differ: impl Fn(&Pair, &Pair, usize) -> bool,
) -> Result<(), Error> {
    let mut rejected = pairs.iter().enumerate().peekable();
    let mut first: Option<(usize, usize)> = None;
    for (i, of_chosen) in pairs.iter().enumerate() {
        let sequence = of_chosen.chosen;
        while rejected.next_if(|(_, pair)| pair.rejected < sequence).is_some() {}
        if let Some(&(j, of_rejected)) = rejected.peek()
            && of_rejected.rejected == sequence
            && differ(of_chosen, of_rejected, sequence)
        {
            let found = (i.max(j), sequence);
            first = Some(first.map_or(found, |first| first.min(found)));
        }
    }
    match first {
        None => Ok(()),
        Some((pair, sequence)) => Err(Error::TokenWeightsDiffer { pair, sequence }),
    }
}
