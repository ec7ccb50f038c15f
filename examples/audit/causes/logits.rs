//! Hypotheses that need the logits of a side: its log-probs are made again as the other engine may
//! have made them.

use super::super::dump::Logits;
use super::super::manifest::Parts;
use super::super::pair::{Fate, Pair, Side, agree};
use super::super::score::{self, Block, First, View, predict, predict_masked, targets};
use super::super::storage::Type;
use super::fit::{points, refine, size, start};
use super::{Candidate, Cause, Part};

/// Rows that a parameter is fitted to, and their elements: 64 MiB in f32.
const ROWS: usize = 160;
const ELEMENTS: usize = 1 << 24;
/// Rows, spread among them, that say where to start.
const FEW: usize = 32;

/// Predictions of the other side's log-probs from the logits of `side`; none without logits.
pub(crate) fn candidates(pair: &Pair, side: Side) -> Result<Vec<Candidate>, String> {
    let Some(logits) = pair.dump(side).logits() else { return Ok(Vec::new()) };
    let mut views = fixed(logits, side);
    if let Some(sample) = Sample::of(pair, side, logits)? {
        views.extend(sample.fitted(side, logits));
    }
    let asked: Vec<_> = views.iter().map(|of| of.1).collect();
    let predicted = predict(pair.dump(side), logits, &asked)?;
    let mut all: Vec<_> = views
        .into_iter()
        .zip(predicted)
        .map(|((cause, _, parameters), predicted)| Candidate {
            cause,
            predicts: side.other(),
            predicted,
            parameters,
            factor: 4.0,
        })
        .collect();
    if let Some(by) = pair.dump(side.other()).logits() {
        all.push(Candidate {
            cause: Cause::MaskedVocabulary { side: side.other() },
            predicts: side.other(),
            predicted: predict_masked(pair.dump(side), logits, by)?,
            parameters: 0,
            factor: 4.0,
        });
    }
    Ok(all)
}

/// A hypothesis, how it looks at the logits, and its parameters.
type Hypothesis = (Cause, View, u8);

/// Those with nothing to fit.
fn fixed(logits: &Logits, side: Side) -> Vec<Hypothesis> {
    let (of, parts) = (View::of(logits), logits.parts);
    let other = side.other();
    let mut all = Vec::new();
    if logits.rows.dtype == Type::F32 {
        for to in [Type::Bf16, Type::F16] {
            let cause = Cause::RoundedLogits { side: other, to };
            all.push((cause, View { first: First::Round(to), ..of }, 0));
        }
    }
    for by in [1, -1] {
        all.push((Cause::ShiftedRows { side: other, by }, View { by, ..of }, 0));
    }
    for (part, without) in [
        (Part::Scale, Parts { scale: 1.0, ..parts }),
        (Part::Softcap, Parts { softcap: None, ..parts }),
        (Part::Temperature, Parts { temperature: 1.0, ..parts }),
        (Part::All, Parts::NONE),
    ] {
        let known = all.iter().any(|(_, view, _): &Hypothesis| {
            view.by == 0 && view.parts == without && view.first == First::Nothing
        });
        if without != parts && !known {
            let cause = Cause::Missing { side: other, part };
            all.push((cause, View { parts: without, ..of }, 0));
        }
    }
    all
}

/// Rows of a side that differ.
struct Sample {
    few: Rows,
    all: Rows,
    /// The largest |logit|.
    largest: f64,
}

/// Logits, and the other side's log-probs of their tokens.
struct Rows {
    block: Block,
    observed: Vec<f64>,
}

impl Rows {
    /// Every so many of some rows, at most `count`.
    fn of(
        pair: &Pair,
        side: Side,
        logits: &Logits,
        rows: &[usize],
        count: usize,
    ) -> Result<Self, String> {
        let targets = targets(pair.dump(side), 0);
        let mut block = Block { data: Vec::new(), vocab: logits.vocab, targets: Vec::new() };
        let mut observed = Vec::new();
        for &row in rows.iter().step_by(rows.len().div_ceil(count).max(1)) {
            let mut one = score::block(logits, &targets, row..row + 1)?;
            block.data.append(&mut one.data);
            block.targets.append(&mut one.targets);
            observed.extend(pair.log_probs(side.other()).get(row));
        }
        Ok(Self { block, observed })
    }

    fn rounded(&self, to: Type) -> Self {
        let mut block = self.block.clone();
        block.round(to);
        Self { block, observed: self.observed.clone() }
    }
}

impl Sample {
    fn of(pair: &Pair, side: Side, logits: &Logits) -> Result<Option<Self>, String> {
        let (own, others) = (pair.log_probs(side), pair.log_probs(side.other()));
        let differs = |&row: &usize| {
            let pair_of = own.get(row).zip(others.get(row));
            pair.fates.get(row) == Some(&Fate::Finite)
                && pair_of.is_some_and(|(&x, &y)| !agree(pair.tolerance, x, y))
        };
        let rows: Vec<_> = (0..pair.len()).filter(differs).collect();
        let most = (ELEMENTS / logits.vocab.max(1)).clamp(8, ROWS);
        let few = Rows::of(pair, side, logits, &rows, most.min(FEW))?;
        let all = Rows::of(pair, side, logits, &rows, most)?;
        let finite = all.block.data.iter().filter(|x| x.is_finite());
        let largest = f64::from(finite.fold(0_f32, |most, x| most.max(x.abs())));
        Ok(Some(Self { few, all, largest }).filter(|_| !rows.is_empty() && largest > 0.0))
    }

    /// All that have a parameter.
    fn fitted(&self, side: Side, logits: &Logits) -> Vec<Hypothesis> {
        let parts = logits.parts;
        let (other, largest) = (side.other(), self.largest * f64::from(parts.scale));
        let warmer = |x: f64| Parts {
            temperature: (f64::from(parts.temperature) * x.exp()) as f32,
            ..parts
        };
        let capped = |x: f64| Parts { softcap: Some((largest * x.exp()) as f32), ..parts };
        let temperature = |x: f64, rounded| {
            let value = f64::from(parts.temperature) * x.exp();
            Cause::Temperature { side: other, value, rounded }
        };
        let softcap =
            |x: f64, rounded| Cause::Softcap { side: other, value: largest * x.exp(), rounded };
        let roundings = match logits.rows.dtype {
            Type::F32 => &[Type::Bf16, Type::F16][..],
            Type::F16 | Type::Bf16 => &[],
        };
        let mut all = Vec::new();
        // From 1 / 64 to 64.
        self.with(roundings, (-4.16, 4.16, 49), warmer, temperature, &mut all);
        if parts.softcap.is_none() {
            // From a twentieth of the largest logit to where a cap hardly changes it.
            self.with(roundings, (-3.0, 3.0, 25), capped, softcap, &mut all);
            all.extend(self.uncapped(side, parts));
        }
        all
    }

    /// A parameter of the transform, alone and behind each rounding; none beyond the grid, where the
    /// log-probs hardly depend on it.
    fn with(
        &self,
        roundings: &[Type],
        (from, to, count): (f64, f64, u32),
        parts: impl Fn(f64) -> Parts,
        cause: impl Fn(f64, Option<Type>) -> Cause,
        all: &mut Vec<Hypothesis>,
    ) {
        let on = |rows: &Rows, x| rows.block.log_probs(First::Nothing, parts(x)).ok();
        let within = |x: &f64| (from..=to).contains(x);
        let start = start(&self.few.observed, points(from, to, count), |x| on(&self.few, x));
        let fitted = start.and_then(|x| refine(&self.all.observed, x, |x| on(&self.all, x)));
        let Some(x) = fitted.filter(within) else { return };
        let view = |x, first| View { first, parts: parts(x), by: 0 };
        all.push((cause(x, None), view(x, First::Nothing), 1));
        for &to in roundings {
            let rows = self.all.rounded(to);
            if let Some(x) = refine(&rows.observed, x, |x| on(&rows, x)).filter(within) {
                // It has to leave half of what the parameter alone leaves: 1.25³.
                all.push((cause(x, Some(to)), view(x, First::Round(to)), 4));
            }
        }
    }

    /// The cap taken off: the other side lacks it.
    fn uncapped(&self, side: Side, parts: Parts) -> Option<Hypothesis> {
        // Just above the largest logit to 20 times as much.
        let cap = |x: f64| self.largest * (1.0 + x.exp());
        let on = |rows: &Rows, x| rows.block.log_probs(First::Uncap(cap(x)), parts).ok();
        let x = start(&self.few.observed, points(-12.0, 3.0, 31), |x| on(&self.few, x))?;
        let x = refine(&self.few.observed, x, |x| on(&self.few, x))?;
        // An atanh a logit is slow, and what does not halve the differences will not be named.
        let few = &self.few;
        let left = size(&few.observed, &on(few, x)?)?;
        if left > 0.5 * size(&few.observed, &few.block.log_probs(First::Nothing, parts).ok()?)? {
            return None;
        }
        let x = refine(&self.all.observed, x, |x| on(&self.all, x))?;
        let cause = Cause::Softcap { side, value: cap(x), rounded: None };
        Some((cause, View { first: First::Uncap(cap(x)), parts, by: 0 }, 1))
    }
}
