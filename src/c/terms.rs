//! The one stream over a frozen head by the host's own loop over tiles.

use core::ffi::c_void;

use super::dispatch::dpo_dispatch;
use super::logits::{Stored, Type, for_type};
use super::memory::Buffers;
use super::names::*;
use super::report::report;
use super::row::{Stats, dpo_row_stats};
use super::status::{Fault, dpo_error, dpo_status};
use crate::Dispatch;
use crate::head::{hidden_row_grads_in_place, tile_terms_in_place};

/// [`tile_terms_in_place`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_tile_terms_in_place(
    dispatch: dpo_dispatch,
    before: *const dpo_row_stats,
    stats: *const dpo_row_stats,
    tile: *mut f32,
    len: usize,
    first_column: u32,
    scale: *mut f32,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let dispatch = dispatch.check()?;
        let mut buffers = Buffers::new();
        let before = buffers.input(before, 1, DPO_BUFFER_ARGUMENT)?;
        let stats = buffers.input(stats, 1, DPO_BUFFER_ARGUMENT)?;
        let tile = buffers.output(tile, len, DPO_BUFFER_TILE)?;
        let scale = buffers.output(scale, 1, DPO_BUFFER_OUT)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (before, stats, tile, scale) = unsafe {
            let scale = memory.slice_mut(scale);
            (memory.slice(before), memory.slice(stats), memory.slice_mut(tile), scale)
        };
        for ((before, stats), scale) in before.iter().zip(stats).zip(scale) {
            let (before, stats) = (before.read()?.plain(), stats.read()?.plain());
            *scale = tile_terms_in_place(dispatch, &before, &stats, &mut *tile, first_column);
        }
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`hidden_row_grads_in_place`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_hidden_row_grads_in_place(
    dispatch: dpo_dispatch,
    stats: *const dpo_row_stats,
    coefficient: f64,
    target_logit: f32,
    r#type: i32,
    target_row: *const c_void,
    sums: *mut f32,
    len: usize,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        let dispatch = dispatch.check()?;
        let of = Row { stats, coefficient, target_logit };
        for_type!(Type::of(r#type)?, W => {
            // SAFETY: the caller's word, passed on.
            unsafe { row_grads::<W>(dispatch, &of, target_row.cast(), sums, len) }
        })
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// What is said of a row.
struct Row {
    stats: *const dpo_row_stats,
    coefficient: f64,
    target_logit: f32,
}

/// # Safety
/// That of [`dpo_hidden_row_grads_in_place`].
unsafe fn row_grads<W: Stored>(
    dispatch: Dispatch,
    of: &Row,
    target_row: *const W,
    sums: *mut f32,
    len: usize,
) -> Result<(), Fault> {
    let mut buffers = Buffers::new();
    let stats = buffers.input(of.stats, 1, DPO_BUFFER_ARGUMENT)?;
    let row = buffers.input(target_row, len, DPO_BUFFER_HEAD_WEIGHTS)?;
    let sums = buffers.output(sums, len, DPO_BUFFER_HIDDEN_GRADS)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for every buffer of the call.
    let (stats, row, sums) =
        unsafe { (memory.slice(stats), memory.slice(row), memory.slice_mut(sums)) };
    for stats in stats {
        let (stats, c, x) = (stats.read()?.plain(), of.coefficient, of.target_logit);
        hidden_row_grads_in_place(dispatch, &stats, c, x, row, &mut *sums)?;
    }
    Ok(())
}

impl Stats {
    /// Without what was collected beside.
    fn plain(&self) -> crate::row::RowStats<()> {
        match self {
            Self::Plain(stats) => *stats,
            Self::Detailed(stats) => stats.with_extra(()),
        }
    }
}
