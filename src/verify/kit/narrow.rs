//! Mistakes of precision: known by how far figures are off, because orders of additions differ.

use alloc::vec::Vec;

use super::input::{Input, RowsInput};
use super::judge::{Judged, agrees};
use super::{Format, Output, Precision};
use crate::verify::preference_loss;

/// Whether a figure is the right one, rounded to a format narrower than its own.
pub(super) fn is_rounded(one: &Judged, format: Format) -> bool {
    if format >= one.format || one.output == Output::Argmax {
        return false;
    }
    let representable = !one.found.is_finite() || format.round(one.found) == one.found;
    let allowed = one.allowed + super::bound::rounding(format, one.expected);
    representable && agrees(one.expected, one.found, allowed, format)
}

/// Whether a figure is what sums in a narrower format than was promised may come to, in any order:
/// terms that are below the last digit of the sum so far are lost, so that it lies between its
/// largest term and itself. The share of what they may come to; None where they may not.
pub(super) fn of_narrow_sum(
    input: &Input,
    precision: &Precision,
    format: Format,
    one: &Judged,
) -> Option<f64> {
    let claimed =
        if one.output == Output::PairLoss { precision.pair } else { precision.arithmetic };
    if format >= claimed {
        return None;
    }
    if !one.expected.is_finite() || !one.found.is_finite() {
        return one.ok.then_some(0.0);
    }
    let off = (one.found - one.expected).abs();
    let unit = format.unit();
    match (input, one.output) {
        (Input::Pairs(pairs), _) => {
            let pair = pairs.log_probs.get(one.row)?;
            let weight = pairs.weights.get(one.row).copied().unwrap_or(1.0);
            let offset = pairs.offsets.get(one.row).copied().unwrap_or(0.0);
            let narrow = Precision { pair: format, ..*precision };
            let allowed = super::bound::allowed_of_pair(&narrow, &pairs.dpo, pair, weight, offset);
            // A loss that is not finite has no bound.
            // What was computed in it is a number of it.
            if format.round(one.found) != one.found {
                return None;
            }
            let exact = preference_loss(&pairs.dpo, pair, weight, offset);
            let allowed = allowed.get(one.column).filter(|_| exact.loss.is_finite())?;
            share(off, *allowed)
        }
        (Input::Rows(rows), Output::LogZ | Output::LogProb) => {
            let y = row_of(rows, one.row);
            let (mut max, mut size) = (f64::NEG_INFINITY, 0.0_f64);
            y.iter().filter(|y| y.is_finite()).for_each(|&y| {
                max = max.max(y);
                size = size.max(y.abs());
            });
            let log_z = crate::verify::log_sum_exp(&y);
            // Of the sum: at most all but the largest term, in proportion to the terms.
            #[allow(clippy::cast_precision_loss, reason = "columns are below 2^53")]
            let lost = (rows.vocab as f64 * 2.0 * unit).min(1.0) * (log_z - max).max(2.0 * unit);
            share(off, lost + 4.0 * unit * (1.0 + one.expected.abs().min(log_z.abs() + size)))
        }
        _ => None,
    }
}

/// Whether a derivative of a pair is off by no more than the last digits of 1.
pub(super) fn is_of_one(input: &Input, precision: &Precision, one: &Judged) -> bool {
    let Input::Pairs(pairs) = input else { return false };
    let weight = pairs.weights.get(one.row).copied().unwrap_or(0.0);
    let size = weight * pairs.dpo.beta;
    one.column >= 4 && (one.found - one.expected).abs() <= 4.0 * precision.pair.unit() * size
}

/// y of a row.
fn row_of(rows: &RowsInput, row: usize) -> Vec<f64> {
    let x = rows.x.get(rows.row_start(row)..).and_then(|x| x.get(..rows.vocab));
    x.unwrap_or_default().iter().map(|&x| rows.transform.apply(x)).collect()
}

/// Whether the sum behind a log Z, or a log-prob, is a number of a format; None where f32 has no
/// digits left to tell, and where no sum stands alone behind a figure.
pub(super) fn is_sum_of(
    input: &Input,
    precision: &Precision,
    format: Format,
    one: &Judged,
) -> Option<bool> {
    let Input::Rows(rows) = input else { return None };
    if !one.found.is_finite() {
        return None;
    }
    let y = row_of(rows, one.row);
    let log_z = match (one.output, rows.targets.get(one.row)) {
        (Output::LogZ, _) => one.found,
        (Output::LogProb, Some(&target)) => y.get(target as usize)? - one.found,
        _ => return None,
    };
    let max = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = libm::exp(log_z - max);
    let off = 8.0 * precision.unit() * (1.0 + log_z.abs() + max.abs() + one.found.abs()) * sum;
    let tells = off <= 0.25 * format.ulp(sum);
    tells.then(|| (format.round(sum) - sum).abs() <= off)
}

fn share(off: f64, allowed: f64) -> Option<f64> {
    (off <= allowed).then(|| if allowed > 0.0 { off / allowed } else { 0.0 })
}

/// The share that sums in a narrow format reach in most figures that are wrong: what is off by much
/// less was added in more digits.
pub(super) const TYPICAL: f64 = 1.0 / 4096.0;
