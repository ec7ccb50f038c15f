//! A whole step: its stages' bits, each stage's figures from those of the one before, the same on every
//! level.

use dpo_kernel::verify::cases::{BatchCase, PairCase, stored};
use dpo_kernel::verify::{self, PairLogProbs, Tolerance, compare};
use dpo_kernel::{Error, Summary};

use super::batch::{Found, stages, step};
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
        if result.is_err() {
            return;
        }
        let (found, apart) = (step::<E>(case, dispatch), stages::<E>(case, dispatch));
        let without_grads = |found: &Found| Found { grads: Vec::new(), ..found.clone() };
        result = if found.summary != apart.summary
            || without_grads(&found).bits() != without_grads(&apart).bits()
        {
            Err(format!("the step is {found:?}, its stages are {apart:?}"))
        } else {
            accepts::<E>(case, &found)
        };
        result = result
            .clone()
            .and_then(|()| same_on_levels(&mut first, dispatch, format!("{:?}", found.bits())))
            .map_err(|why| format!("{dispatch:?}: {why}"));
    });
    result
}

/// Whether the step is what the reference says, from its own token log-probs on.
pub fn accepts<E: Store>(case: &BatchCase, found: &Found) -> Result<(), String> {
    let broken = broken_rows::<E>(case);
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
    let sequence_of =
        |row| case.layout.spans.iter().position(|&(start, end)| (start..end).contains(&row));
    for row in 0..case.rows() {
        let start = row * case.stride;
        let end = case.logits.len().min(start + case.stride);
        let written = &found.grads[start..end];
        let scored = sequence_of(row).filter(|_| case.layout.is_scored(row));
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
