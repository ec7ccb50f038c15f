//! Stage 1: row statistics, tile by tile, in plain memory that the host may send to other machines.

use core::ffi::c_void;

use super::argument::argument;
use super::dispatch::dpo_dispatch;
use super::logits::{Stored, Type, dpo_transform, for_type};
use super::memory::{Buffers, plain};
use super::names::*;
use super::report::report;
use super::status::{DPO_ERROR_ROW_STATS, Fault, dpo_error, dpo_status};
use crate::Dispatch;
use crate::row::{
    DetailSums, Details, Extra, ExtraSums, RowDetails, RowNorm, RowState, RowStats, Sum,
};

/// [`RowNorm`]
pub type dpo_row_norm = RowNorm;

/// [`RowDetails`]
pub type dpo_row_details = RowDetails;

/// The row has a target.
pub const DPO_ROW_TARGET: u32 = 1;
/// Details are collected too.
pub const DPO_ROW_DETAILS: u32 = 2;
/// The target's column was folded.
pub const DPO_ROW_TARGET_SEEN: u32 = 4;
/// A column above −inf was folded, other than the target's.
pub const DPO_ROW_BASE: u32 = 8;
/// A column was NaN or +inf, or the target's came twice.
pub const DPO_ROW_BROKEN: u32 = 16;
/// A column was −inf, as far as details are collected.
pub const DPO_ROW_MASKED: u32 = 32;
/// Bytes of the statistics of a row.
pub const DPO_ROW_BYTES: usize = crate::row::ROW_BYTES;
/// The same with details.
pub const DPO_ROW_DETAIL_BYTES: usize = crate::row::ROW_DETAIL_BYTES;

/// [`RowStats`]; but for `flags`, `target` and `transform`, numbers that only this library reads.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_row_stats {
    /// What turns an element into a logit.
    pub transform: dpo_transform,
    /// `DPO_ROW_…`
    pub flags: u32,
    /// The target, if the row has one.
    pub target: u32,
    /// Its value, if it was seen.
    pub target_value: f32,
    /// The largest shift of a block; 0 unless logits are beyond 1300.
    pub shift: f32,
    /// The largest value, of the details.
    pub max: f32,
    /// The first column of that value.
    pub argmax: u32,
    /// Which binary places the three numbers of a sum have: of `others`, `weighted`, `squares` and
    /// `values`. 0 of a sum of nothing.
    pub tops: [u32; 4],
    /// 0.
    pub reserved: u32,
    /// Columns folded.
    pub columns: u64,
    /// Sum of the terms of all columns but the target's.
    pub others: [i64; 3],
    /// Of the details: sum of term times value.
    pub weighted: [i64; 3],
    /// Of the details: sum of the squared terms.
    pub squares: [i64; 3],
    /// Of the details: sum of the values.
    pub values: [i64; 3],
}

/// What the statistics of a complete row amount to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_row_result {
    /// [`RowStats::log_z`]
    pub log_z: f64,
    /// [`RowStats::log_prob`]; NaN where there is none.
    pub log_prob: f64,
    /// [`RowStats::target_logit`]; NaN where there is none.
    pub target_logit: f64,
    /// [`RowStats::columns`]
    pub columns: u64,
    /// [`RowStats::norm`]; one that the backward refuses where there is none.
    pub norm: dpo_row_norm,
    /// [`RowStats::details`]; NaN where they are not collected.
    pub details: dpo_row_details,
}

plain!(dpo_row_stats, dpo_row_result);

const NO_DETAILS: RowDetails =
    RowDetails { entropy: f32::NAN, mean_logit: f32::NAN, log_sum_sq_probs: f32::NAN, argmax: 0 };

/// Nothing folded.
const NO_STATS: dpo_row_stats = dpo_row_stats {
    transform: dpo_transform { scale: 0.0, softcap: 0.0, temperature: 0.0 },
    flags: 0,
    target: 0,
    target_value: 0.0,
    shift: 0.0,
    max: 0.0,
    argmax: 0,
    tops: [0; 4],
    reserved: 0,
    columns: 0,
    others: [0; 3],
    weighted: [0; 3],
    squares: [0; 3],
    values: [0; 3],
};

/// What the numbers of a [`dpo_row_stats`] are.
pub(super) enum Stats {
    Plain(RowStats<()>),
    Detailed(RowStats<Details>),
}

impl dpo_row_stats {
    pub(super) fn read(&self) -> Result<Stats, Fault> {
        let has = |flag| self.flags & flag != 0;
        let fault = Fault::Call(DPO_ERROR_ROW_STATS, DPO_BUFFER_ROW_DETAILS, [0, 0]);
        let known = DPO_ROW_TARGET
            | DPO_ROW_DETAILS
            | DPO_ROW_TARGET_SEEN
            | DPO_ROW_BASE
            | DPO_ROW_BROKEN
            | DPO_ROW_MASKED;
        // A target without its flag would be ignored; `dpo_row_stats_new` refuses it too.
        let is_unused = (!has(DPO_ROW_TARGET) && self.target != 0)
            || (!has(DPO_ROW_DETAILS) && has(DPO_ROW_MASKED));
        if self.flags & !known != 0 || is_unused || self.reserved != 0 {
            return Err(fault);
        }
        let transform = self.transform.check()?;
        let target = has(DPO_ROW_TARGET).then_some(self.target);
        let [others, weighted, squares, values] = self.tops.map(top_of);
        let numbers = RowState {
            target_value: has(DPO_ROW_TARGET_SEEN).then_some(self.target_value),
            shift: has(DPO_ROW_BASE).then_some(self.shift),
            others: Sum { places: self.others, top: others },
            is_broken: has(DPO_ROW_BROKEN),
            columns: self.columns,
        };
        let stats = if has(DPO_ROW_DETAILS) {
            // Before the first column the largest value is not 0, even if the host has cleared all
            // fields.
            let DetailSums { max, argmax, .. } = DetailSums::NONE;
            let (max, argmax) =
                if self.columns == 0 { (max, argmax) } else { (self.max, self.argmax) };
            let sums = DetailSums {
                weighted: Sum { places: self.weighted, top: weighted },
                squares: Sum { places: self.squares, top: squares },
                values: Sum { places: self.values, top: values },
                is_masked: has(DPO_ROW_MASKED),
                max,
                argmax,
            };
            RowStats::from_state(transform, target, numbers, sums).map(Stats::Detailed)
        } else {
            RowStats::from_state(transform, target, numbers, ()).map(Stats::Plain)
        };
        stats.ok_or(fault)
    }

    /// Takes over the sums; transform and target stay.
    fn write(&mut self, stats: &Stats) {
        let (numbers, details) = match stats {
            Stats::Plain(stats) => (stats.state(), None),
            Stats::Detailed(stats) => (stats.state(), Some(stats.extra())),
        };
        if let Some(DetailSums { weighted, squares, values, max, argmax, .. }) = details {
            let tops = [numbers.others.top, weighted.top, squares.top, values.top];
            let tops = tops.map(top_in_c);
            let sums = [weighted, squares, values].map(|sum| sum.places);
            let [weighted, squares, values] = sums;
            *self = Self { max, argmax, tops, weighted, squares, values, ..*self };
        }
        let flag = |on: bool, flag: u32| if on { flag } else { 0 };
        let [top, ..] = &mut self.tops;
        *top = top_in_c(numbers.others.top);
        *self = Self {
            flags: (self.flags & (DPO_ROW_TARGET | DPO_ROW_DETAILS))
                | flag(numbers.target_value.is_some(), DPO_ROW_TARGET_SEEN)
                | flag(numbers.shift.is_some(), DPO_ROW_BASE)
                | flag(numbers.is_broken, DPO_ROW_BROKEN)
                | flag(details.is_some_and(|sums| sums.is_masked), DPO_ROW_MASKED),
            target_value: numbers.target_value.unwrap_or_default(),
            shift: numbers.shift.unwrap_or_default(),
            others: numbers.others.places,
            columns: numbers.columns,
            ..*self
        };
    }
}

/// The place in C, where 0 is that of nothing.
const fn top_in_c(top: i32) -> u32 {
    top.wrapping_sub(i32::MIN).cast_unsigned()
}

const fn top_of(in_c: u32) -> i32 {
    in_c.cast_signed().wrapping_add(i32::MIN)
}

/// [`RowStats::new`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_row_stats_new(
    transform: *const dpo_transform,
    flags: u32,
    target: u32,
    out: *mut dpo_row_stats,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let transform = unsafe { argument(transform)? };
        if flags & !(DPO_ROW_TARGET | DPO_ROW_DETAILS) != 0 {
            return Err(Fault::unknown(DPO_BUFFER_OPTIONS, flags.cast_signed()));
        }
        if flags & DPO_ROW_TARGET == 0 && target != 0 {
            return Err(Fault::unused(DPO_BUFFER_TARGETS));
        }
        let target_of = (flags & DPO_ROW_TARGET != 0).then_some(target);
        let kernel = transform.check()?;
        let stats = if flags & DPO_ROW_DETAILS == 0 {
            Stats::Plain(RowStats::new(kernel, target_of))
        } else {
            Stats::Detailed(RowStats::new(kernel, target_of))
        };
        let mut buffers = Buffers::new();
        let out = buffers.output(out, 1, DPO_BUFFER_OUT)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for one element.
        for to in unsafe { memory.slice_mut(out) } {
            *to = dpo_row_stats { transform, flags, target, ..NO_STATS };
            to.write(&stats);
        }
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`RowStats::fold`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_row_stats_fold(
    dispatch: dpo_dispatch,
    stats: *mut dpo_row_stats,
    r#type: i32,
    tile: *const c_void,
    len: usize,
    first_column: u32,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let dispatch = dispatch.check()?;
        for_type!(Type::of(r#type)?, E => {
            // SAFETY: the caller's word, passed on.
            unsafe { fold::<E>(dispatch, stats, tile.cast(), len, first_column) }
        })
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// # Safety
/// That of [`dpo_row_stats_fold`].
unsafe fn fold<E: Stored>(
    dispatch: Dispatch,
    stats: *mut dpo_row_stats,
    tile: *const E,
    len: usize,
    first_column: u32,
) -> Result<(), Fault> {
    let mut buffers = Buffers::new();
    let tile = buffers.input(tile, len, DPO_BUFFER_TILE)?;
    let stats = buffers.output(stats, 1, DPO_BUFFER_OUT)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for both.
    let (tile, stats) = unsafe { (memory.slice(tile), memory.slice_mut(stats)) };
    for stats in stats {
        let mut folded = stats.read()?;
        match &mut folded {
            Stats::Plain(stats) => stats.fold(dispatch, tile, first_column),
            Stats::Detailed(stats) => stats.fold(dispatch, tile, first_column),
        }
        stats.write(&folded);
    }
    Ok(())
}

/// [`RowStats::merge`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_row_stats_merge(
    into: *mut dpo_row_stats,
    from: *const dpo_row_stats,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let mut buffers = Buffers::new();
        let from = buffers.input(from, 1, DPO_BUFFER_ARGUMENT)?;
        let into = buffers.output(into, 1, DPO_BUFFER_OUT)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for both.
        let (from, into) = unsafe { (memory.slice(from), memory.slice_mut(into)) };
        for (into, from) in into.iter_mut().zip(from) {
            let mut merged = into.read()?;
            match (&mut merged, &from.read()?) {
                (Stats::Plain(into), Stats::Plain(from)) => into.merge(from)?,
                (Stats::Detailed(into), Stats::Detailed(from)) => into.merge(from)?,
                _ => return Err(crate::Error::MergeOfDifferentRows.into()),
            }
            into.write(&merged);
        }
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`RowStats::write_bytes`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_row_stats_write_bytes(
    stats: *const dpo_row_stats,
    bytes: *mut u8,
    len: usize,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let mut buffers = Buffers::new();
        let stats = buffers.input(stats, 1, DPO_BUFFER_ARGUMENT)?;
        let bytes = buffers.output(bytes, len, DPO_BUFFER_ROW_BYTES)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for both.
        let (stats, bytes) = unsafe { (memory.slice(stats), memory.slice_mut(bytes)) };
        for stats in stats {
            match stats.read()? {
                Stats::Plain(stats) => stats.write_bytes(bytes)?,
                Stats::Detailed(stats) => stats.write_bytes(bytes)?,
            }
        }
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`RowStats::from_bytes`]; with details where there are as many bytes.
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_row_stats_from_bytes(
    transform: *const dpo_transform,
    bytes: *const u8,
    len: usize,
    out: *mut dpo_row_stats,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let transform = unsafe { argument(transform)? };
        let kernel = transform.check()?;
        let mut buffers = Buffers::new();
        let bytes = buffers.input(bytes, len, DPO_BUFFER_ROW_BYTES)?;
        let out = buffers.output(out, 1, DPO_BUFFER_OUT)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for both.
        let (bytes, out) = unsafe { (memory.slice(bytes), memory.slice_mut(out)) };
        let (stats, target, details) = if len == DPO_ROW_DETAIL_BYTES {
            let stats = RowStats::from_bytes(kernel, bytes)?;
            (Stats::Detailed(stats), stats.target(), DPO_ROW_DETAILS)
        } else {
            let stats = RowStats::from_bytes(kernel, bytes)?;
            (Stats::Plain(stats), stats.target(), 0)
        };
        let flags = details | if target.is_some() { DPO_ROW_TARGET } else { 0 };
        for to in out {
            *to = dpo_row_stats { transform, flags, target: target.unwrap_or(0), ..NO_STATS };
            to.write(&stats);
        }
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// log Z, log-prob, norm and details of the row.
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_row_stats_finish(
    stats: *const dpo_row_stats,
    out: *mut dpo_row_result,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let mut buffers = Buffers::new();
        let stats = buffers.input(stats, 1, DPO_BUFFER_ARGUMENT)?;
        let out = buffers.output(out, 1, DPO_BUFFER_OUT)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for both.
        let (stats, out) = unsafe { (memory.slice(stats), memory.slice_mut(out)) };
        for (stats, out) in stats.iter().zip(out) {
            *out = match stats.read()? {
                Stats::Plain(stats) => result(&stats, NO_DETAILS),
                Stats::Detailed(stats) => result(&stats, stats.details()),
            };
        }
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

fn result<D: Extra>(stats: &RowStats<D>, details: RowDetails) -> dpo_row_result {
    dpo_row_result {
        log_z: stats.log_z(),
        log_prob: stats.log_prob().unwrap_or(f64::NAN),
        target_logit: stats.target_logit().unwrap_or(f64::NAN),
        columns: stats.columns(),
        norm: stats.norm().unwrap_or(RowNorm::INVALID),
        details,
    }
}
