//! Hypotheses that the log-probs alone can tell: another base, another sign, probabilities in their
//! place, all of them one row too early or too late, rounded to 16 bits.

use std::f64::consts::{LN_2, LN_10};

use super::super::pair::{Pair, Side};
use super::super::storage::Type;
use super::evidence::Stored;
use super::{Candidate, Cause};

/// What B's log-probs are, and then A's, under each hypothesis.
pub(crate) fn candidates(pair: &Pair) -> Vec<Candidate> {
    let mut all = Vec::new();
    for side in [Side::B, Side::A] {
        // `side` is the one that is at odds with natural logarithms of probabilities.
        let (own, plain) = (pair.finite(side), pair.finite(side.other()));
        // Those that are made of logits here are such logarithms.
        if pair.dump(side).logits().is_some() {
            continue;
        }
        let of = |cause: Cause, f: &dyn Fn(f64) -> f64| Candidate {
            cause,
            predicts: side,
            predicted: plain.iter().map(|&x| f(x)).collect(),
            parameters: 0,
            factor: 10.0,
        };
        all.push(of(Cause::LogBase { side, base: 2 }, &|x| x / LN_2));
        all.push(of(Cause::LogBase { side, base: 10 }, &|x| x / LN_10));
        // Of two lists with opposite signs, that which is above 0.
        if own.iter().any(|&x| x > 0.0) {
            all.push(of(Cause::Sign { side }, &|x| -x));
        }
        // Of confident tokens both p and ln p of an unlikely one are near 0.
        if own.iter().all(|&x| x.is_nan() || (0.0..=1.0).contains(&x)) {
            all.push(of(Cause::Probabilities { side }, &f64::exp));
        }
        let stored = Stored::of(pair.log_probs(side));
        if let Some(to @ (Type::F16 | Type::Bf16)) = stored.0
            && Stored::of(pair.log_probs(side.other())) != stored
        {
            // `Evidence` rounds what is predicted as the observed is rounded.
            all.push(of(Cause::RoundedLogProbs { side, to }, &|x| x));
        }
    }
    let made = [Side::A, Side::B].iter().all(|&side| pair.dump(side).logits().is_some());
    for by in [1, -1].into_iter().filter(|_| !made) {
        all.push(Candidate {
            cause: Cause::ShiftedLogProbs { by },
            predicts: Side::B,
            predicted: moved(pair, by),
            parameters: 0,
            factor: 4.0,
        });
    }
    all
}

/// B's log-prob of token t as A's of token t − `by`, within the sequence.
fn moved(pair: &Pair, by: isize) -> Vec<f64> {
    let of = if pair.a.spans.is_some() { &pair.a } else { &pair.b };
    let plain = pair.finite(Side::A);
    let from = |token: usize| {
        let span = of.span_of(token)?;
        let from = token.checked_add_signed(-by).filter(|from| span.contains(from))?;
        plain.get(from).copied()
    };
    (0..pair.len()).map(|token| from(token).unwrap_or(f64::NAN)).collect()
}
