//! What the dumps say by themselves: other tokens, other positions, tokens that one side leaves
//! out; and what they cannot say.

use super::super::dump::Dump;
use super::super::figures::quantile;
use super::super::pair::{Fate, Pair, Side, agree};
use super::super::score::{View, predict};
use super::{Candidate, Cause, Finding, How, Verdict};

/// The share of the tokens that have to be the neighbour's for a shift to be named.
const SHARE: f64 = 0.9;
/// How much farther off than nine of ten others the middle one of the tokens at 0 has to be.
const FARTHER: f64 = 4.0;
/// Tokens that say which row is theirs, and by how much in the mean.
const FEWEST: usize = 16;
const CLEARLY: f64 = 1.0;

/// Whether two dumps are of other tokens; a shift by one is named as such. Rows that one side does
/// not score are not compared.
pub(crate) fn tokenisation(a: &Dump, b: &Dump) -> Option<Cause> {
    let (of_a, of_b) = (a.tokens.as_ref()?, b.tokens.as_ref()?);
    let differ = |&(_, (a, b)): &(usize, (i64, i64))| a >= 0 && b >= 0 && a != b;
    let first =
        of_a.iter().copied().zip(of_b.iter().copied()).enumerate().find(differ).map(|(row, _)| row);
    let row = match first {
        Some(row) => row,
        None if of_a.len() == of_b.len() => return None,
        // One goes on where the other ends.
        None => of_a.len().min(of_b.len()),
    };
    // (tokens that both score, those that differ) with B's `by` rows later
    let compared = |by: isize| {
        let neighbour = |row: usize| row.checked_add_signed(-by).and_then(|row| of_a.get(row));
        let both = of_b.iter().enumerate().filter_map(|(row, b)| Some((neighbour(row)?, b)));
        let scored = both.filter(|&(&a, &b)| a >= 0 && b >= 0);
        scored
            .fold((0_usize, 0_usize), |(all, other), (a, b)| (all + 1, other + usize::from(a != b)))
    };
    let in_place = compared(0).1;
    for by in [1, -1] {
        let (all, other) = compared(by);
        // Tokens that are mostly one and the same are so in every row.
        if all >= 8 && other as f64 <= (1.0 - SHARE) * all as f64 && 4 * other <= in_place {
            return Some(Cause::ShiftedTokens { by });
        }
    }
    Some(Cause::Tokenisation { row })
}

/// Positions and tokens that are treated otherwise; `told` is the hypothesis that explains most.
pub(crate) fn found(pair: &Pair, told: Option<&Candidate>) -> Vec<Finding> {
    let mut causes = Vec::new();
    if let (Some(a), Some(b)) = (&pair.a.positions, &pair.b.positions) {
        let differ =
            |&row: &usize| a.get(row) != b.get(row) && pair.fates.get(row) != Some(&Fate::Aside);
        causes.extend((0..pair.len()).find(differ).map(|row| Cause::Positions { row }));
    }
    for side in [Side::A, Side::B] {
        for (fate, side, how) in [
            (Fate::OnlyScored(side), side.other(), How::NotScored),
            (Fate::NotANumber(side), side, How::NotANumber),
            (Fate::Impossible(side), side, How::Impossible),
            (Fate::Zero(side), side, How::Zero),
        ] {
            let mut rows: Vec<_> =
                (0..pair.len()).filter(|&row| pair.fates.get(row) == Some(&fate)).collect();
            if how == How::Zero {
                rows = masks(pair, told, rows);
            }
            if let Some(&first) = rows.first() {
                causes.push(Cause::Masked { side, how, count: rows.len(), first });
            }
        }
    }
    causes.into_iter().map(|cause| Finding { cause, by: None, or: None }).collect()
}

/// Tokens at 0 that are no rounded log-probs of confident tokens: no hypothesis predicts them, and
/// they are much farther off than the others.
fn masks(pair: &Pair, told: Option<&Candidate>, mut zeros: Vec<usize>) -> Vec<usize> {
    let off = |row: &usize| match told {
        Some(told) => {
            let both = pair.log_probs(told.predicts).get(*row).zip(told.predicted.get(*row))?;
            Some((*both.0, *both.1)).filter(|both| !both.1.is_nan())
        }
        None => pair.of_b.get(*row).copied().zip(pair.of_a.get(*row).copied()),
    };
    zeros.retain(|row| off(row).is_none_or(|(y, x)| !agree(pair.tolerance, y, x)));
    let sizes = |rows: &mut dyn Iterator<Item = usize>| {
        let mut sizes: Vec<f64> =
            rows.filter_map(|row| off(&row)).map(|(y, x)| (y - x).abs()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        sizes
    };
    let others = (0..pair.len()).filter(|&row| pair.fates.get(row) == Some(&Fate::Finite));
    let most = quantile(&sizes(&mut others.into_iter()), 0.9).unwrap_or(0.0);
    let middle = quantile(&sizes(&mut zeros.iter().copied()), 0.5).unwrap_or(f64::INFINITY);
    if middle > FARTHER * most { zeros } else { Vec::new() }
}

/// Tokens that are finite on both sides and differ by more than rounding.
pub(crate) fn differing(pair: &Pair) -> usize {
    let all = pair.fates.iter().zip(pair.of_a.iter().zip(&pair.of_b));
    all.filter(|&(&fate, (&a, &b))| fate == Fate::Finite && !agree(pair.tolerance, a, b)).count()
}

/// Whether the logits of a side score its tokens far better by another row than by their own: then
/// row t does not hold what predicts `tokens[t]`. Both sides may be so, and agree.
pub(crate) fn misplaced(pair: &Pair, side: Side) -> Result<Option<String>, String> {
    let dump = pair.dump(side);
    let Some(logits) = dump.logits() else { return Ok(None) };
    let own = View::of(logits);
    let found = predict(dump, logits, &[View { by: -1, ..own }, View { by: 1, ..own }])?;
    for (moved, which) in found.iter().zip(["before", "after"]) {
        let both = pair.log_probs(side).iter().zip(moved);
        let both = both.filter(|(x, y)| x.is_finite() && y.is_finite());
        let (count, of_own, of_moved) =
            both.fold((0_usize, 0.0, 0.0), |(n, a, b), (x, y)| (n + 1, a + x, b + y));
        let mean = |sum: f64| sum / count as f64;
        if count >= FEWEST && mean(of_moved) > mean(of_own) + CLEARLY {
            let name = side.name();
            return Ok(Some(format!(
                "{name}'s tokens have a mean log p of {:.2} by the row {which} their own, {:.2} by their \
                 own: row t has to hold the logits that predict tokens[t]",
                mean(of_moved),
                mean(of_own)
            )));
        }
    }
    Ok(None)
}

/// What cannot be told.
pub(crate) fn notes(pair: &Pair, differing: usize, verdict: &mut Verdict) {
    let notes = &mut verdict.notes;
    let found = verdict.causes.iter().any(|finding| finding.by.is_some());
    if differing > 0 && !found {
        if differing < 8 {
            notes.push(format!(
                "{differing} tokens differ by more than rounding: too few to tell a cause from luck"
            ));
        }
        match (pair.a.logits().is_some(), pair.b.logits().is_some()) {
            (false, false) => notes.push(
                "from log-probs alone a temperature, scale, softcap, rounding of logits, mask of the \
                 vocabulary or wrong row cannot be told: dump the logits of one side"
                    .to_owned(),
            ),
            (true, true) => {}
            (a, _) => {
                let (has, lacks) = if a { ("A", "B") } else { ("B", "A") };
                notes.push(format!(
                    "a mask of the vocabulary on one side is told only if {lacks} has logits too, and \
                     what {has}'s logits were before they were rounded or masked cannot be told"
                ));
            }
        }
    }
    if pair.a.tokens.is_none() || pair.b.tokens.is_none() {
        let which = match (&pair.a.tokens, &pair.b.tokens) {
            (None, None) => "neither dump names",
            (None, _) => "A does not name",
            _ => "B does not name",
        };
        notes.push(format!("{which} its tokens: that they are the same was not checked"));
    }
}
