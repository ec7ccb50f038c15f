//! Rows tile by tile. What statistics hold is the library's: whether a fold can have made them is
//! modelled here, what comes of them is compared with the Rust folds elsewhere.

use std::ffi::c_void;

use dpo_kernel::c::*;
use dpo_kernel::gradient::tile_grads_in_place;

use super::HiddenRow;
use super::memory::{Due, Ranges, Written, plain, says_size};
use super::report::{refusal, report_of, unknown, unused};
use super::structs::{dispatch_of, for_element, transform_of};

pub fn new_stats(
    transform: *const dpo_transform,
    flags: u32,
    target: u32,
    out: *mut dpo_row_stats,
    written: &mut Vec<Written>,
) -> Due<()> {
    let transform = plain(transform)?;
    if flags > 3 {
        return Err(unknown(DPO_BUFFER_OPTIONS, flags.cast_signed()));
    }
    if flags.is_multiple_of(2) && target != 0 {
        return Err(unused(DPO_BUFFER_TARGETS));
    }
    transform_of(transform)?;
    let out = Ranges::default().write(out, 1, DPO_BUFFER_OUT)?;
    // SAFETY: numbers, of which 0 is one.
    let zeros = unsafe { std::mem::zeroed::<dpo_row_stats>() };
    let due = dpo_row_stats { transform, flags, target, ..zeros };
    let due = if flags >= 2 { without_columns(due) } else { due };
    written.push(out.becomes("stats", vec![due]));
    Ok(())
}

/// Details of no columns: the largest of no logits, its column, and no sums.
pub(super) fn without_columns(stats: dpo_row_stats) -> dpo_row_stats {
    dpo_row_stats {
        max: f32::NEG_INFINITY,
        argmax: u32::MAX,
        tops: [stats.tops[0], 0, 0, 0],
        weighted: [0; 3],
        squares: [0; 3],
        values: [0; 3],
        ..stats
    }
}

/// Whether a fold can have made them.
pub(super) fn check_stats(stats: &dpo_row_stats) -> Due<()> {
    let refused = Err(refusal(DPO_ERROR_ROW_STATS, DPO_BUFFER_ROW_DETAILS, [0, 0]));
    let [has_target, has_value, has_base, is_broken] =
        [1, 4, 8, 16].map(|flag| stats.flags & flag != 0);
    if stats.flags > 63 || (!has_target && stats.target != 0) || stats.reserved != 0 {
        return refused;
    }
    transform_of(stats.transform)?;
    if stats.columns == 0 && (has_value || has_base || is_broken) {
        return refused;
    }
    // Integers, beside which the number of the highest is moved so that 0 is that of nothing.
    let is_sum = |places: [i64; 3], top: u32| match top {
        0 => places == [0; 3],
        top => top.abs_diff(1 << 31) < 1 << 26,
    };
    let [top, rest @ ..] = stats.tops;
    let is_base = if has_base {
        let positive = stats.others.iter().all(|&place| place >= 0) && stats.others != [0; 3];
        positive && top != 0 && !is_broken && is_shift(stats, top)
    } else {
        top == 0
    };
    if (has_value && !has_target) || !is_base || !is_sum(stats.others, top) {
        return refused;
    }
    let is_masked = stats.flags & DPO_ROW_MASKED != 0;
    if stats.flags & DPO_ROW_DETAILS == 0 {
        if is_masked {
            return refused;
        }
    } else {
        let sums = [stats.weighted, stats.squares, stats.values];
        let are_sums = sums.into_iter().zip(rest).all(|(places, top)| is_sum(places, top));
        let is_nothing = (sums, rest, is_masked) == ([[0; 3]; 3], [0; 3], false);
        let is_broken = is_broken && is_nothing && stats.max == f32::NEG_INFINITY;
        let is_made = match stats.columns {
            0 => is_nothing,
            _ if stats.flags & DPO_ROW_BROKEN != 0 => is_broken && stats.argmax == u32::MAX,
            _ => !stats.max.is_nan() && stats.squares >= [0; 3],
        };
        if !are_sums || !is_made {
            return refused;
        }
    }
    if stats.columns >= 1 << 53 {
        return refused;
    }
    Ok(())
}

/// Whether logits near the shift can have a sum at this place: 0 for those within some 1300, whose
/// sums are between 2^-2048 and 2^2048; beyond, sums between half and 2^10 times e^shift, or of e^0
/// where values are 32 nats and more from each other.
fn is_shift(stats: &dpo_row_stats, top: u32) -> bool {
    let place = i64::from(top) - (1 << 31);
    if stats.shift.to_bits() == 0 {
        return place.abs() <= 64;
    }
    let dpo_transform { scale, softcap, temperature } = stats.transform;
    let [scale, temperature] =
        [scale, temperature].map(|x| if x == 0.0 { 1.0 } else { f64::from(x) });
    let top = if softcap == 0.0 { scale } else { f64::from(softcap) };
    let y = top / temperature * f64::from(stats.shift);
    let bits = (y * std::f64::consts::LOG2_E).round();
    let least = if y.abs() >= 2_f64.powi(29) { 0.0 } else { (bits / 32.0).floor() };
    let is_beyond = !(-1862.0..=1877.0).contains(&bits);
    y.is_finite() && is_beyond && (place as f64 - least).abs() <= 1.0
}

pub fn fold(
    dispatch: dpo_dispatch,
    stats: *mut dpo_row_stats,
    kind: i32,
    (tile, len): (*const c_void, usize),
    written: &mut Vec<Written>,
) -> Due<()> {
    dispatch_of(dispatch)?;
    let mut ranges = Ranges::default();
    for_element!(kind, E => ranges.read(tile.cast::<E>(), len, DPO_BUFFER_TILE).map(|_| ()))?;
    let stats = ranges.write(stats, 1, DPO_BUFFER_OUT)?;
    ranges.are_apart()?;
    check_stats(&stats.get()[0])?;
    written.push(stats.becomes_anything());
    Ok(())
}

pub fn merge(
    into: *mut dpo_row_stats,
    from: *const dpo_row_stats,
    written: &mut Vec<Written>,
) -> Due<()> {
    let mut ranges = Ranges::default();
    let from = ranges.read(from, 1, DPO_BUFFER_ARGUMENT)?;
    let into = ranges.write(into, 1, DPO_BUFFER_OUT)?;
    ranges.are_apart()?;
    let (a, b) = (into.get()[0], from.get()[0]);
    check_stats(&a)?;
    check_stats(&b)?;
    let both = a.flags & b.flags;
    let transforms = (transform_of(a.transform)?, transform_of(b.transform)?);
    let is_one_row = (a.flags ^ b.flags) & (DPO_ROW_TARGET | DPO_ROW_DETAILS) == 0
        && a.target == b.target
        && transforms.0 == transforms.1
        && both & DPO_ROW_TARGET_SEEN == 0;
    if !is_one_row {
        return Err(refusal(DPO_ERROR_MERGE_OF_DIFFERENT_ROWS, 0, [0, 0]));
    }
    written.push(into.becomes_anything());
    Ok(())
}

pub fn finish(
    stats: *const dpo_row_stats,
    out: *mut dpo_row_result,
    written: &mut Vec<Written>,
) -> Due<()> {
    let mut ranges = Ranges::default();
    let stats = ranges.read(stats, 1, DPO_BUFFER_ARGUMENT)?;
    let out = ranges.write(out, 1, DPO_BUFFER_OUT)?;
    ranges.are_apart()?;
    check_stats(&stats.get()[0])?;
    written.push(out.becomes_anything());
    Ok(())
}

pub fn tile_grads(
    dispatch: dpo_dispatch,
    tile: *const dpo_tile,
    written: &mut Vec<Written>,
) -> Due<()> {
    let tile = says_size(tile)?;
    let (dispatch, transform) = (dispatch_of(dispatch)?, transform_of(tile.transform)?);
    for_element!(tile.r#type, E => {
        let data = Ranges::default().write(tile.data.cast::<E>(), tile.len, DPO_BUFFER_TILE)?;
        let mut due = data.get();
        let (first, target) = (tile.first_column, tile.target);
        let (norm, c) = (tile.norm, tile.coefficient);
        let result = tile_grads_in_place(dispatch, &mut due, first, transform, target, norm, c);
        written.push(data.becomes("tile", due));
        result.map_err(report_of)
    })
}

pub fn terms(
    dispatch: dpo_dispatch,
    of: [*const dpo_row_stats; 2],
    (tile, len): (*mut f32, usize),
    scale: *mut f32,
    written: &mut Vec<Written>,
) -> Due<()> {
    dispatch_of(dispatch)?;
    let mut ranges = Ranges::default();
    let before = ranges.read(of[0], 1, DPO_BUFFER_ARGUMENT)?;
    let stats = ranges.read(of[1], 1, DPO_BUFFER_ARGUMENT)?;
    let tile = ranges.write(tile, len, DPO_BUFFER_TILE)?;
    let scale = ranges.write(scale, 1, DPO_BUFFER_OUT)?;
    ranges.are_apart()?;
    check_stats(&before.get()[0])?;
    check_stats(&stats.get()[0])?;
    written.extend([tile.becomes_anything(), scale.becomes_anything()]);
    Ok(())
}

pub fn hidden_row(
    dispatch: dpo_dispatch,
    stats: *const dpo_row_stats,
    of: HiddenRow,
    written: &mut Vec<Written>,
) -> Due<()> {
    let dispatch = dispatch_of(dispatch)?;
    let mut ranges = Ranges::default();
    let (stats, sums) = for_element!(of.r#type, W => {
        let stats = ranges.read(stats, 1, DPO_BUFFER_ARGUMENT)?;
        ranges.read(of.target_row.cast::<W>(), of.len, DPO_BUFFER_HEAD_WEIGHTS)?;
        Ok((stats, ranges.write(of.sums, of.len, DPO_BUFFER_HIDDEN_GRADS)?))
    })?;
    ranges.are_apart()?;
    let stats = stats.get()[0];
    check_stats(&stats)?;
    // SAFETY: numbers, of which 0 is one; statistics that were found good, and room for the result.
    let norm = unsafe {
        let mut found = std::mem::zeroed::<dpo_row_result>();
        dpo_row_stats_finish(&raw const stats, &raw mut found, std::ptr::null_mut());
        found.norm
    };
    // A tile of no columns has the same checks of coefficient and norm.
    let (transform, target) = (transform_of(stats.transform)?, stats.target);
    let none: &mut [f32] = &mut [];
    tile_grads_in_place(dispatch, none, 0, transform, target, norm, of.coefficient)
        .map_err(report_of)?;
    written.push(sums.becomes_anything());
    Ok(())
}
