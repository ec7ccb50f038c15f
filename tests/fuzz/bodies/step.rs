//! A whole step: its stages' bits, each stage's figures from those of the one before, the same on
//! every level; and the backward with zeros where nothing is scored.

use dpo_kernel::gradient::{GradBatch, Unscored, logit_grads_in_place};
use dpo_kernel::row::RowNorm;
use dpo_kernel::verify::cases::{BatchCase, PairCase, stored, widened};
use dpo_kernel::verify::{self, PairLogProbs, Tolerance, compare};
use dpo_kernel::{Dispatch, Error, Layout, LogitsMut, Summary, Targets, TokenOut, token_log_probs};

use super::batch::{Found, spans, stages, step, transform};
use super::coefficients::coefficients;
use super::levels::for_each_dispatch;
use super::row::same_on_levels;
use super::store::Store;
use super::tokens::{broken_rows, row_of};
use super::{gradients, loss};

pub fn check(case: &BatchCase) -> Result<(), String> {
    crate::for_each_storage!(check_storage(case))
}

fn check_storage<E: Store>(case: &BatchCase) -> Result<(), String> {
    let mut first = Vec::new();
    let mut result = Ok(());
    for_each_dispatch(|dispatch| {
        if result.is_ok() {
            result = check_level::<E>(case, dispatch)
                .and_then(|found| same_on_levels(&mut first, dispatch, found))
                .map_err(|why| format!("{dispatch:?}: {why}"));
        }
    });
    result
}

/// The bits of the step, if it is what it should be.
fn check_level<E: Store>(case: &BatchCase, dispatch: Dispatch) -> Result<String, String> {
    let found = step::<E>(case, dispatch);
    accepts::<E>(case, &found)?;
    // The stages alone do not know which rows nothing depends on, nor before the forward what is
    // empty.
    if !has_empty_answer(case) && broken_rows::<E>(case).iter().all(|&row| is_needed(case, row)) {
        let apart = stages::<E>(case, dispatch);
        let without_grads = |found: &Found| Found { grads: Vec::new(), ..found.clone() };
        if found.summary != apart.summary
            || without_grads(&found).bits() != without_grads(&apart).bits()
        {
            return Err(format!("the step is {found:?}, its stages are {apart:?}"));
        }
    }
    if found.summary.is_ok() {
        let zeroed = zeroed::<E>(case, &found, dispatch).map_err(|why| why.to_string())?;
        accepts_zeroed(case, &found.grads, &zeroed)?;
    }
    Ok(format!("{:?}", found.bits()))
}

/// The step's gradients once more, with zeros where nothing is scored.
pub fn zeroed<E: Store>(
    case: &BatchCase,
    found: &Found,
    dispatch: Dispatch,
) -> Result<Vec<f64>, Error> {
    let mut buffer: Vec<E> = stored(&case.logits);
    let (rows, spans) = (case.rows(), spans(&case.layout.spans));
    let targets = Targets::new(&case.layout.targets).with_ignore(case.layout.ignore);
    let mut order = vec![0; spans.len()];
    let layout = Layout::in_any_order(targets, &spans, case.vocab(), &mut order)?;
    let (mut log_probs, mut norms) = (vec![0.0; rows], vec![RowNorm::default(); rows]);
    let view = LogitsMut::with_stride(&mut buffer, rows, case.vocab(), case.stride)?
        .with_transform(transform(&case.transform));
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    // Rows without a norm are those that the step has not needed either.
    let _ = token_log_probs(dispatch, view.as_logits(), &layout, out);
    let token_weights = case.token_weights.as_deref();
    let coefficients = coefficients(&layout, &found.d_log_probs, token_weights, None)?;
    let batch = GradBatch::new(&layout, &norms, &coefficients).with_unscored(Unscored::Zero);
    logit_grads_in_place(dispatch, view, &batch)?;
    Ok(widened(&buffer))
}

/// Whether every element of a buffer is the gradient that it was without zeros, or 0.
pub fn accepts_zeroed(case: &BatchCase, kept: &[f64], zeroed: &[f64]) -> Result<(), String> {
    for (i, (kept, found)) in kept.iter().zip(zeroed).enumerate() {
        let (row, column) = (i / case.stride, i % case.stride);
        let is_gradient = column < case.vocab() && case.layout.is_scored(row);
        let expected = if is_gradient { *kept } else { 0.0 };
        if found.to_bits() != expected.to_bits() {
            return Err(format!(
                "with zeros row {row}, column {column} is {found}, not {expected}"
            ));
        }
    }
    Ok(())
}

/// Whether a pair of weight ≠ 0 names a sequence.
fn is_named(case: &BatchCase, sequence: usize) -> bool {
    let has_weight = |i: usize| case.weights.as_ref().is_none_or(|weights| weights[i] != 0.0);
    let mut pairs = case.pairs.iter().enumerate();
    pairs.any(|(i, &(chosen, rejected))| has_weight(i) && [chosen, rejected].contains(&sequence))
}

/// Whether a row is scored with a weight ≠ 0.
fn has_weight(case: &BatchCase, row: usize) -> bool {
    case.layout.is_scored(row) && case.token_weights.as_ref().is_none_or(|w| w[row] != 0.0)
}

fn sequence_of(case: &BatchCase, row: usize) -> Option<usize> {
    case.layout.spans.iter().position(|&(start, end)| (start..end).contains(&row))
}

/// Whether the step depends on a row.
fn is_needed(case: &BatchCase, row: usize) -> bool {
    has_weight(case, row) && sequence_of(case, row).is_some_and(|i| is_named(case, i))
}

/// Whether a sequence has no token that counts.
fn is_empty(case: &BatchCase, sequence: usize) -> bool {
    let (start, end) = case.layout.spans[sequence];
    !(start..end).any(|row| has_weight(case, row))
}

/// Whether a pair of weight ≠ 0 names a sequence without tokens.
fn has_empty_answer(case: &BatchCase) -> bool {
    (0..case.layout.spans.len()).any(|i| is_named(case, i) && is_empty(case, i))
}

/// Whether the step is what the reference says, from its own token log-probs on.
pub fn accepts<E: Store>(case: &BatchCase, found: &Found) -> Result<(), String> {
    if has_empty_answer(case) {
        return match found.summary {
            Err(Error::NoScoredTokens { sequence: i })
                if is_named(case, i) && is_empty(case, i) =>
            {
                untouched::<E>(case, found)
            }
            _ => Err(format!("{:?} of an answer without tokens", found.summary)),
        };
    }
    let mut broken = broken_rows::<E>(case);
    broken.retain(|&row| is_needed(case, row));
    if let [first, ..] = broken[..] {
        let expected = Err(Error::NonFiniteRows { first, count: broken.len() });
        return matches(&found.summary, &expected).and_then(|()| untouched::<E>(case, found));
    }
    accepts_sequences(case, found)?;
    let expected = accepts_losses(case, found)?;
    if expected.is_err() {
        return matches(&found.summary, &expected).and_then(|()| untouched::<E>(case, found));
    }
    if found.summary.is_err() {
        return Err(format!("{:?}", found.summary));
    }
    accepts_grads::<E>(case, found)
}

fn matches(found: &Result<Summary, Error>, expected: &Result<(), Error>) -> Result<(), String> {
    if found.as_ref().err() == expected.as_ref().err() {
        Ok(())
    } else {
        Err(format!("{found:?}, not {expected:?}"))
    }
}

/// After an error the logits are what they were.
fn untouched<E: Store>(case: &BatchCase, found: &Found) -> Result<(), String> {
    let same = |(x, found): (&E, &f64)| f64::from(x.to_f32()).to_bits() == found.to_bits();
    if stored::<E>(&case.logits).iter().zip(&found.grads).all(same) {
        Ok(())
    } else {
        Err("the logits were written after an error".into())
    }
}

fn accepts_sequences(case: &BatchCase, found: &Found) -> Result<(), String> {
    let log_probs: Vec<f64> = found.log_probs.iter().copied().map(f64::from).collect();
    let weights: Option<Vec<f64>> =
        case.token_weights.as_ref().map(|w| w.iter().copied().map(f64::from).collect());
    for (i, (&span, sequence)) in case.layout.spans.iter().zip(&found.sequences).enumerate() {
        let (targets, ignore) = (&case.layout.targets, case.layout.ignore);
        let expected =
            verify::sequence_log_prob(&log_probs, targets, ignore, weights.as_deref(), span);
        let terms = (span.0..span.1).filter(|&row| case.layout.is_scored(row)).map(|row| {
            let weight = weights.as_ref().map_or(1.0, |w| w[row]);
            if weight == 0.0 { 0.0 } else { (weight * log_probs[row]).abs() }
        });
        let tolerance = Tolerance::EXACT.and_absolute(8.0 * f64::EPSILON * terms.sum::<f64>());
        let tolerance = if expected.sum.is_finite() { tolerance } else { Tolerance::EXACT };
        compare("log π", i as f64, expected.sum, sequence.sum, tolerance)
            .map_err(|why| why.to_string())?;
        if sequence.count != expected.count {
            return Err(format!("sequence {i} counts {} tokens", sequence.count));
        }
    }
    Ok(())
}

/// What the step must return, from the losses of its pairs.
fn accepts_losses(case: &BatchCase, found: &Found) -> Result<Result<(), Error>, String> {
    let mut grads = vec![(0.0, 0.0); case.layout.spans.len()];
    let mut broken = Vec::new();
    for (i, (&(chosen, rejected), loss)) in case.pairs.iter().zip(&found.losses).enumerate() {
        let log_probs = PairLogProbs {
            policy_chosen: found.sequences[chosen].sum,
            policy_rejected: found.sequences[rejected].sum,
            reference_chosen: case.reference[chosen],
            reference_rejected: case.reference[rejected],
        };
        let entry = |x: &Option<Vec<f32>>, default| x.as_ref().map_or(default, |x| x[i]);
        let (weight, offset) = (entry(&case.weights, 1.0), entry(&case.offsets, 0.0));
        let pair = PairCase { log_probs, weight, offset };
        loss::accepts(&loss::Case::of_dpo(pair, case.dpo), loss)
            .map_err(|why| format!("pair {i}: {why}"))?;
        if loss.loss.is_nan() {
            broken.push(i);
        }
        for (sequence, d) in [(chosen, loss.d_chosen), (rejected, loss.d_rejected)] {
            let (sum, size) = &mut grads[sequence];
            *sum += d / case.divisor;
            *size += (d / case.divisor).abs();
        }
    }
    for (i, (&(expected, size), &found)) in grads.iter().zip(&found.d_log_probs).enumerate() {
        let tolerance = if expected.is_nan() { 0.0 } else { 4.0 * f64::EPSILON * size };
        let tolerance = Tolerance::EXACT.and_absolute(tolerance);
        compare("∂L/∂log π", i as f64, expected, found, tolerance)
            .map_err(|why| why.to_string())?;
    }
    Ok(match broken[..] {
        [] => Ok(()),
        [first, ..] => Err(Error::NonFinitePairs { first, count: broken.len() }),
    })
}

fn accepts_grads<E: Store>(case: &BatchCase, found: &Found) -> Result<(), String> {
    for row in 0..case.rows() {
        let start = row * case.stride;
        let end = case.logits.len().min(start + case.stride);
        let written = &found.grads[start..end];
        let scored = sequence_of(case, row).filter(|_| case.layout.is_scored(row));
        let width = if scored.is_some() { case.vocab() } else { 0 };
        if !written[width..].iter().all(|g| g.is_nan()) {
            return Err(format!("row {row} was written where nobody may write"));
        }
        if let Some(sequence) = scored {
            let weight = case.token_weights.as_ref().map_or(1.0, |w| f64::from(w[row]));
            let mut one = row_of(case, row);
            one.coefficient = found.d_log_probs[sequence] * weight;
            // In the step's own storage, which holds the gradients exactly.
            let grads: Vec<E> = written[..width].iter().map(|&g| E::from_f32(g as f32)).collect();
            gradients::accepts::<E, E>(&one, &grads).map_err(|why| format!("row {row}: {why}"))?;
        }
    }
    Ok(())
}
