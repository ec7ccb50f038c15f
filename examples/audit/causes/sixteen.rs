//! Differences of the size that 16-bit logits make, where nothing can be predicted token by token,
//! because the digits that rounding took are lost. Where the other side has them, rounding was tried
//! and did not explain the tokens: the sizes are a note then, as of a model that ran in 16 bits.

use super::super::figures::quantile;
use super::super::pair::{Pair, Side};
use super::super::score::{First, View, each_block, predict, round};
use super::super::storage::Type;
use super::{Cause, Finding};

/// Quantiles of |Δ| that have to be within this factor of those that rounding makes.
const FACTOR: f64 = 1.6;
/// Tokens that a comparison of sizes needs.
const FEWEST: usize = 48;
/// Log-probs whose tokens are compared: those of confident tokens have every size, and so no middle.
const DOUBTFUL: f64 = -0.1;

/// Compares sizes, if the logits of one side are 16-bit numbers and the other's are not known to
/// be.
pub(crate) fn found(pair: &Pair, notes: &mut Vec<String>) -> Result<Option<Finding>, String> {
    for side in [Side::A, Side::B] {
        let Some(to) = stored(pair, side)? else { continue };
        // From logits that are rounded already: what an unknown part of the last digit makes.
        let has_digits = pair.dump(side.other()).logits().is_some();
        let (from, first) = match stored(pair, side.other())? {
            Some(_) => continue,
            None if has_digits => (side.other(), First::Round(to)),
            None => (side, First::Dither(to)),
        };
        let Some(logits) = pair.dump(from).logits() else { continue };
        let view = View { first, ..View::of(logits) };
        let moved = predict(pair.dump(from), logits, &[view])?;
        let plain = pair.finite(from);
        let doubtful = || plain.iter().map(|x| (..DOUBTFUL).contains(x));
        let rounding = moved.iter().flatten().zip(&plain).map(|(x, y)| (x - y).abs());
        let differences = pair.finite(Side::A).into_iter().zip(pair.finite(Side::B));
        let differences = differences.map(|(a, b)| (b - a).abs());
        let rounding = rounding.zip(doubtful()).filter_map(|(x, of)| of.then_some(x));
        let differences = differences.zip(doubtful()).filter_map(|(x, of)| of.then_some(x));
        let (Some(rounding), Some(found)) = (sizes(rounding), sizes(differences)) else { continue };
        let ratio = found.0 / rounding.0;
        let alike = |ratio: f64| (1.0 / FACTOR..=FACTOR).contains(&ratio);
        if !has_digits && alike(ratio) && alike(found.1 / rounding.1) {
            let cause = Cause::SizeOfRounding { side, to, ratio };
            return Ok(Some(Finding { cause, by: None, or: None }));
        }
        let rest = if has_digits {
            ", but not token by token: something else differs before the logits"
        } else {
            ""
        };
        notes.push(format!(
            "{}'s logits are {} numbers; rounding logits makes differences of median {:.2e}, found are \
             {:.2e}, {:.1} times as much{rest}",
            side.name(),
            to.name(),
            rounding.0,
            found.0,
            ratio,
        ));
    }
    Ok(None)
}

/// The 16-bit type that all of a side's logits are numbers of.
fn stored(pair: &Pair, side: Side) -> Result<Option<Type>, String> {
    let Some(logits) = pair.dump(side).logits() else { return Ok(None) };
    if logits.rows.dtype != Type::F32 {
        return Ok(Some(logits.rows.dtype));
    }
    let mut left = vec![Type::Bf16, Type::F16];
    each_block(logits, &[], |_, block| {
        let all = |to: &Type| {
            // NaN is no number of either.
            let same = |&x: &f32| x.is_nan() || round(x, *to).to_bits() == x.to_bits();
            block.data.iter().all(same)
        };
        left.retain(all);
        Ok(())
    })?;
    Ok(left.first().copied())
}

/// Median and 90 % quantile.
fn sizes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = values.filter(|x| x.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let found = (quantile(&values, 0.5)?, quantile(&values, 0.9)?);
    Some(found).filter(|found| values.len() >= FEWEST && found.0 > 0.0)
}
