//! One parameter, fitted to the log-probs of some rows.
//!
//! The best of a grid by the median of |r| is a place to start; Gauss–Newton steps on the rows that
//! are not far off lead on from there, since a few rows may differ for reasons of their own.

use super::super::figures::median;

/// Steps of Gauss–Newton at most.
const STEPS: usize = 16;
/// For the slope of each row's log-prob, by central differences.
const NUDGE: f64 = 1e-3;
/// The parameters are logarithms: a step changes what they stand for by a fifth.
const FURTHEST: f64 = 0.2;

/// The point of a grid that brings `predict` nearest to `observed`; `None` if none can be
/// predicted.
pub(crate) fn start(
    observed: &[f64],
    grid: impl Iterator<Item = f64>,
    predict: impl Fn(f64) -> Option<Vec<f64>>,
) -> Option<f64> {
    let tried = grid.filter_map(|x| off(observed, &predict(x)?).map(|(size, _)| (size, x)));
    tried.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, x)| x)
}

/// The parameter to which a point leads on; `None` if the point cannot be predicted.
pub(crate) fn refine(
    observed: &[f64],
    from: f64,
    predict: impl Fn(f64) -> Option<Vec<f64>>,
) -> Option<f64> {
    let mut at = from;
    let (mut size, mut rest) = off(observed, &predict(at)?)?;
    for _ in 0..STEPS {
        let (Some(above), Some(below)) = (predict(at + NUDGE), predict(at - NUDGE)) else { break };
        let slopes = above.iter().zip(&below).map(|(above, below)| (above - below) / (2.0 * NUDGE));
        let (mut along, mut squares) = (0.0, 0.0);
        for (r, slope) in rest.iter().zip(slopes) {
            // NaN is not near either.
            if r.abs() <= 4.0 * size && slope.is_finite() {
                along += slope * r;
                squares += slope * slope;
            }
        }
        let mut step = (along / squares).clamp(-FURTHEST, FURTHEST);
        let mut better = None;
        for _ in 0..6 {
            better = predict(at + step)
                .and_then(|found| off(observed, &found))
                .filter(|(next, _)| *next < size);
            if better.is_some() || step.is_nan() {
                break;
            }
            step *= 0.5;
        }
        let Some(next) = better else { break };
        at += step;
        (size, rest) = next;
    }
    Some(at)
}

/// The median of |r|, and r.
fn off(observed: &[f64], predicted: &[f64]) -> Option<(f64, Vec<f64>)> {
    let rest: Vec<f64> = observed.iter().zip(predicted).map(|(y, x)| y - x).collect();
    let size = median(rest.iter().map(|r| r.abs()).filter(|r| !r.is_nan()).collect())?;
    Some((size, rest))
}

/// The median of what is left.
pub(crate) fn size(observed: &[f64], predicted: &[f64]) -> Option<f64> {
    off(observed, predicted).map(|(size, _)| size)
}

/// `count` points from one number to another, both included.
pub(crate) fn points(from: f64, to: f64, count: u32) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| from + (to - from) * f64::from(i) / f64::from(count - 1))
}
