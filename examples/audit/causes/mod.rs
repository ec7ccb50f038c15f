//! Why two dumps differ. A cause is a hypothesis: one side's log-probs are predicted from the other
//! side's dump, and the hypothesis is named if the differences fall to rounding, or most of the
//! way.

mod evidence;
mod facts;
mod fit;
mod logits;
mod name;
mod series;
mod sixteen;

use super::pair::{Fate, Pair, Side};
use super::storage::Type;
pub(crate) use evidence::{Evidence, Strength};
pub(crate) use facts::tokenisation;

/// What can be named.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cause {
    /// The tokens are others, from this row on.
    Tokenisation { row: usize },
    /// B's tokens are A's, `by` rows later.
    ShiftedTokens { by: isize },
    /// The positions are others, from this row on.
    Positions { row: usize },
    /// B's log-prob of token t is A's of token t − `by`.
    ShiftedLogProbs { by: isize },
    /// `side` scored token t by row t + `by`.
    ShiftedRows { side: Side, by: isize },
    /// `side` holds logarithms to this base.
    LogBase { side: Side, base: u8 },
    /// `side` holds −log p.
    Sign { side: Side },
    /// `side` holds p.
    Probabilities { side: Side },
    /// The log-probs of `side` were rounded.
    RoundedLogProbs { side: Side, to: Type },
    /// The logits of `side` were rounded.
    RoundedLogits { side: Side, to: Type },
    /// `side` is the other's logits divided by this.
    Temperature { side: Side, value: f64, rounded: Option<Type> },
    /// `side` has a cap that the other lacks.
    Softcap { side: Side, value: f64, rounded: Option<Type> },
    /// `side` lacks what the other states.
    Missing { side: Side, part: Part },
    /// `side` has columns at −inf, or lacks columns, that the other has.
    MaskedVocabulary { side: Side },
    /// Tokens that only `side` treats so.
    Masked { side: Side, how: How, count: usize, first: usize },
    /// The differences are as large as rounding the logits of `side` makes them.
    SizeOfRounding { side: Side, to: Type, ratio: f64 },
}

/// A part of a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Scale,
    Softcap,
    Temperature,
    All,
}

/// What stands in the place of a log-prob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    NotScored,
    NotANumber,
    Impossible,
    Zero,
}

/// A hypothesis, and the log-probs that it predicts of one side.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) cause: Cause,
    pub(crate) predicts: Side,
    pub(crate) predicted: Vec<f64>,
    /// Fitted or chosen numbers: of two that explain all, the one with fewer is named.
    pub(crate) parameters: u8,
    /// How far the median must fall where something remains.
    pub(crate) factor: f64,
}

/// A cause that is named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding {
    pub(crate) cause: Cause,
    /// How it was found; `None` for what the dumps say by themselves.
    pub(crate) by: Option<(Strength, Evidence)>,
    /// Another that explains as much.
    pub(crate) or: Option<Cause>,
}

/// What the audit has to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) agree: bool,
    pub(crate) causes: Vec<Finding>,
    /// What cannot be told, and what is worth knowing beside the causes.
    pub(crate) notes: Vec<String>,
}

/// Looks for the causes of the differences.
pub(crate) fn verdict(pair: &Pair) -> Result<Verdict, String> {
    let mut verdict = Verdict { causes: facts::found(pair, None), ..Verdict::default() };
    verdict.agree = pair.agrees() && verdict.causes.is_empty();
    for side in [Side::A, Side::B] {
        verdict.notes.extend(facts::misplaced(pair, side)?);
    }
    if verdict.agree {
        return Ok(verdict);
    }
    let mut candidates = series::candidates(pair);
    for side in [Side::A, Side::B] {
        candidates.append(&mut logits::candidates(pair, side)?);
    }
    let best = best(pair, &candidates);
    if let Some((candidate, finding)) = best {
        verdict.causes = facts::found(pair, Some(candidate));
        verdict.causes.push(finding);
    }
    let differing = facts::differing(pair);
    if best.is_none() && differing > 0 {
        verdict.causes.extend(sixteen::found(pair, &mut verdict.notes)?);
    }
    facts::notes(pair, differing, &mut verdict);
    Ok(verdict)
}

/// The hypothesis that explains most, with one of another kind that explains as much.
fn best<'a>(pair: &Pair, candidates: &'a [Candidate]) -> Option<(&'a Candidate, Finding)> {
    let mut strong: Vec<(&Candidate, Strength, Evidence)> = Vec::new();
    // Tokens with a number on one side alone, or with what is none: all that a hypothesis explains
    // may be luck if these are more.
    let aside = |fate: &&Fate| !matches!(fate, Fate::Finite | Fate::Aside | Fate::OnlyScored(_));
    let aside = pair.fates.iter().filter(aside).count();
    for candidate in candidates {
        let observed = pair.finite(candidate.predicts);
        let plain = pair.finite(candidate.predicts.other());
        let of = Evidence::of(&observed, &plain, &candidate.predicted, pair.tolerance);
        if let Some((evidence, strength)) = of
            .filter(|evidence| evidence.used >= aside)
            .and_then(|evidence| Some((evidence, evidence.strength(candidate.factor)?)))
        {
            strong.push((candidate, strength, evidence));
        }
    }
    let rank = |of: &(&Candidate, Strength, Evidence)| match of.1 {
        Strength::All => (0, of.0.parameters, of.2.after.0),
        // A parameter more has to bring the rest down by a fifth.
        Strength::Most => (1, 0, of.2.after.0 * 1.25_f64.powi(of.0.parameters.into())),
    };
    strong.sort_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
    });
    let (first, rest) = strong.split_first()?;
    let as_good = |of: &&(&Candidate, Strength, Evidence)| {
        let (mine, other) = (rank(first), rank(of));
        (mine.0, mine.1) == (other.0, other.1)
            && (mine.0 == 0 || other.2 <= 1.25 * mine.2)
            && !name::same_kind(first.0.cause, of.0.cause)
    };
    let or = rest.iter().find(as_good).map(|of| of.0.cause);
    Some((first.0, Finding { cause: first.0.cause, by: Some((first.1, first.2)), or }))
}
