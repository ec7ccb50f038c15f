//! LD-DPO's weights for every list of up to three pairs of four answers, in any order, against the
//! definition: a sequence that two pairs want weighted differently is refused.

use dpo_kernel::training::ld_token_weights;
use dpo_kernel::{Error, Layout, Pair, Span};

/// Tokens of each answer.
const TOKENS: [usize; 4] = [2, 4, 1, 3];
const TAIL: f64 = 0.25;

fn spans() -> Vec<Span> {
    let mut start = 0;
    TOKENS
        .iter()
        .map(|tokens| {
            start += tokens;
            Span::new(start - tokens, start)
        })
        .collect()
}

fn shared(pair: &Pair) -> usize {
    TOKENS[pair.chosen].min(TOKENS[pair.rejected])
}

/// The first pair that wants other weights than one before it, with the sequences of which it does.
fn conflict(pairs: &[Pair]) -> Option<(usize, Vec<usize>)> {
    (0..pairs.len()).find_map(|i| {
        let differs = |sequence: &usize| {
            let of = |pair: &Pair| shared(pair).min(TOKENS[*sequence]);
            let names = |pair: &&Pair| pair.chosen == *sequence || pair.rejected == *sequence;
            pairs[..i].iter().filter(names).any(|earlier| of(earlier) != of(&pairs[i]))
        };
        let both = [pairs[i].chosen, pairs[i].rejected];
        let found: Vec<usize> = both.into_iter().filter(differs).collect();
        (!found.is_empty()).then_some((i, found))
    })
}

fn check(pairs: &[Pair]) -> bool {
    let (ids, spans) = ([0_u32; 10], spans());
    let layout = Layout::new(&ids, &spans, 2).unwrap();
    let mut weights = [7.5_f32; 10];
    let found = ld_token_weights(TAIL, &layout, pairs, &mut weights);
    if let Some((pair, sequences)) = conflict(pairs) {
        let is_named = matches!(found, Err(Error::TokenWeightsDiffer { pair: i, sequence })
            if i == pair && sequences.contains(&sequence));
        assert!(is_named, "{pairs:?}: {found:?}, not {pair} with one of {sequences:?}");
        assert_eq!(weights, [7.5; 10], "nothing was written");
        return false;
    }
    assert_eq!(found, Ok(()), "{pairs:?}");
    let mut expected = [7.5_f32; 10];
    for pair in pairs {
        for sequence in [pair.chosen, pair.rejected] {
            for (token, row) in (spans[sequence].start..spans[sequence].end).enumerate() {
                expected[row] = if token < shared(pair) { 1.0 } else { TAIL as f32 };
            }
        }
    }
    assert_eq!(weights, expected, "{pairs:?}");
    true
}

#[test]
fn of_every_short_list() {
    let all: Vec<Pair> = (0..16)
        .map(|i| Pair::new(i / 4, i % 4))
        .filter(|pair| pair.chosen != pair.rejected)
        .collect();
    let (mut accepted, mut refused) = (0, 0);
    let mut count = |pairs: &[Pair]| {
        let to = if check(pairs) { &mut accepted } else { &mut refused };
        *to += 1;
    };
    count(&[]);
    for &first in &all {
        count(&[first]);
        for &second in &all {
            count(&[first, second]);
            for &third in &all {
                count(&[first, second, third]);
            }
        }
    }
    assert_eq!(accepted + refused, 1 + 12 + 144 + 1728);
    assert!(accepted > 100 && refused > 1000, "{accepted} accepted, {refused} refused");
}
