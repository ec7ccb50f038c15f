//! Mistakes of precision: known by how far figures are off, because orders of additions differ.

use super::input::Input;
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
/// largest term and itself.
pub(super) fn is_narrow_sum(
    input: &Input,
    precision: &Precision,
    format: Format,
    one: &Judged,
) -> bool {
    let claimed =
        if one.output == Output::PairLoss { precision.pair } else { precision.arithmetic };
    if format >= claimed {
        return false;
    }
    if !one.expected.is_finite() || !one.found.is_finite() {
        return one.ok;
    }
    let off = (one.found - one.expected).abs();
    let unit = format.unit();
    match (input, one.output) {
        (Input::Pairs(pairs), _) => {
            let Some(pair) = pairs.log_probs.get(one.row) else { return false };
            let weight = pairs.weights.get(one.row).copied().unwrap_or(1.0);
            let offset = pairs.offsets.get(one.row).copied().unwrap_or(0.0);
            let narrow = Precision { pair: format, ..*precision };
            let allowed = super::bound::allowed_of_pair(&narrow, &pairs.dpo, pair, weight, offset);
            // A loss that is not finite has no bound.
            preference_loss(&pairs.dpo, pair, weight, offset).loss.is_finite()
                && allowed.get(one.column).is_some_and(|&allowed| off <= allowed)
        }
        (Input::Rows(rows), Output::LogZ | Output::LogProb) => {
            let start = rows.row_start(one.row);
            let x = rows.x.get(start..).and_then(|x| x.get(..rows.vocab)).unwrap_or_default();
            let y = x.iter().map(|&x| rows.transform.apply(x));
            let (mut max, mut size) = (f64::NEG_INFINITY, 0.0_f64);
            y.filter(|y| y.is_finite()).for_each(|y| {
                max = max.max(y);
                size = size.max(y.abs());
            });
            let log_z = crate::verify::log_sum_exp(
                &x.iter().map(|&x| rows.transform.apply(x)).collect::<alloc::vec::Vec<_>>(),
            );
            // Of the sum: at most all but the largest term, in proportion to the terms.
            #[allow(clippy::cast_precision_loss, reason = "columns are below 2^53")]
            let lost = (rows.vocab as f64 * 2.0 * unit).min(1.0) * (log_z - max).max(2.0 * unit);
            off <= lost + 4.0 * unit * (1.0 + one.expected.abs().min(log_z.abs() + size))
        }
        _ => false,
    }
}
