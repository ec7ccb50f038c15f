//! Stage 5: from ∂L/∂log π back to the logits.

use core::ffi::c_void;

use super::argument::{growing, growing_argument};
use super::dispatch::dpo_dispatch;
use super::layout::{LayoutInput, dpo_layout};
use super::logits::{Stored, Type, dpo_logits, dpo_logits_mut, dpo_transform, for_type};
use super::memory::{Buffers, Input, Memory};
use super::names::*;
use super::report::report;
use super::row::dpo_row_norm;
use super::status::{Fault, dpo_error, dpo_status};
use crate::{
    Dispatch, GradBatch, RowNorm, bf16, f16, logit_grads, logit_grads_in_place, tile_grads_in_place,
};

/// What the backward needs of the forward and of the loss.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_grads {
    /// Of this struct, in bytes.
    pub size: usize,
    /// A norm for each row, from the forward.
    pub norms: *const dpo_row_norm,
    /// `∂L/∂log π` of each sequence.
    pub d_log_probs: *const f64,
    /// A weight for each row, or NULL.
    pub token_weights: *const f32,
    /// Of each sequence's tokens, from [`dpo_nll_loss`](super::dpo_nll_loss), or NULL.
    pub d_nll: *const f64,
}

/// Some columns of a row, and what its whole has said.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_tile {
    /// Of this struct, in bytes.
    pub size: usize,
    /// Elements of the type, replaced by their gradients.
    pub data: *mut c_void,
    /// How many.
    pub len: usize,
    /// `∂L/∂log p` of the row's target.
    pub coefficient: f64,
    /// The norm of the whole row.
    pub norm: dpo_row_norm,
    /// What turns an element into a logit.
    pub transform: dpo_transform,
    /// `DPO_TYPE_…`
    pub r#type: i32,
    /// Column of the first element.
    pub first_column: u32,
    /// Column of the row's target, in this tile or not.
    pub target: u32,
}

growing! {
    dpo_grads, DPO_BUFFER_BACKWARD => d_log_probs .. d_nll;
    dpo_tile, DPO_BUFFER_TILE => target .. target;
}

/// The buffers of [`dpo_grads`] and [`dpo_layout`].
struct GradsInput {
    layout: LayoutInput,
    norms: Input<RowNorm>,
    d_log_probs: Input<f64>,
    token_weights: Option<Input<f32>>,
    d_nll: Option<Input<f64>>,
}

impl dpo_grads {
    fn add_to(&self, buffers: &mut Buffers, layout: &dpo_layout) -> Result<GradsInput, Fault> {
        let dpo_layout { rows, count, .. } = *layout;
        let weights = DPO_BUFFER_TOKEN_WEIGHTS;
        Ok(GradsInput {
            layout: layout.add_to(buffers)?,
            norms: buffers.input(self.norms, rows, DPO_BUFFER_ROW_NORMS)?,
            d_log_probs: buffers.input(self.d_log_probs, count, DPO_BUFFER_SEQUENCE_GRADS)?,
            token_weights: buffers.optional_input(self.token_weights, rows, weights)?,
            d_nll: buffers.optional_input(self.d_nll, count, DPO_BUFFER_NLL_GRADS)?,
        })
    }
}

impl GradsInput {
    /// # Safety
    /// As [`Memory::slice`].
    unsafe fn get<'a>(self, memory: &Memory) -> GradBatch<'a> {
        // SAFETY: the caller's word, passed on for every buffer.
        unsafe {
            let (targets, spans) = self.layout.get(memory);
            let (norms, d) = (memory.slice(self.norms), memory.slice(self.d_log_probs));
            let mut batch = GradBatch::new(targets, spans, norms, d);
            batch.token_weights = memory.optional(self.token_weights);
            batch.d_nll = memory.optional(self.d_nll);
            batch
        }
    }
}

/// [`logit_grads`], into the logits' own type or f32.
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_logit_grads(
    dispatch: dpo_dispatch,
    logits: *const dpo_logits,
    layout: *const dpo_layout,
    grads: *const dpo_grads,
    out: *const dpo_logits_mut,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the four structs.
        let (logits, batch, out) = unsafe {
            let batch = (growing_argument(layout)?, growing_argument(grads)?);
            (growing_argument(logits)?, batch, growing_argument(out)?)
        };
        let dispatch = dispatch.check()?;
        // SAFETY: the caller's word, passed on for each combination.
        unsafe {
            match (Type::of(logits.r#type)?, Type::of(out.r#type)?) {
                (Type::F32, Type::F32) => grads_into::<f32, f32>(dispatch, &logits, &batch, &out),
                (Type::F16, Type::F32) => grads_into::<f16, f32>(dispatch, &logits, &batch, &out),
                (Type::F16, Type::F16) => grads_into::<f16, f16>(dispatch, &logits, &batch, &out),
                (Type::Bf16, Type::F32) => grads_into::<bf16, f32>(dispatch, &logits, &batch, &out),
                (Type::Bf16, Type::Bf16) => {
                    grads_into::<bf16, bf16>(dispatch, &logits, &batch, &out)
                }
                _ => Err(Fault::unknown(DPO_BUFFER_TYPE, out.r#type)),
            }
        }
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// # Safety
/// That of [`dpo_logit_grads`].
unsafe fn grads_into<E: Stored, O: Stored>(
    dispatch: Dispatch,
    logits: &dpo_logits,
    (layout, grads): &(dpo_layout, dpo_grads),
    out: &dpo_logits_mut,
) -> Result<(), Fault> {
    let mut buffers = Buffers::new();
    let to = out.add_to::<O>(&mut buffers, DPO_BUFFER_GRADS)?;
    let from = logits.add_to::<E>(&mut buffers)?;
    let batch = grads.add_to(&mut buffers, layout)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for every buffer of the call.
    let (from, batch, to) =
        unsafe { (memory.slice(from), batch.get(&memory), memory.slice_mut(to)) };
    Ok(logit_grads(dispatch, logits.view(from)?, &batch, out.view(to)?)?)
}

/// [`logit_grads_in_place`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_logit_grads_in_place(
    dispatch: dpo_dispatch,
    logits: *const dpo_logits_mut,
    layout: *const dpo_layout,
    grads: *const dpo_grads,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the three structs.
        let (logits, layout, grads) = unsafe {
            (growing_argument(logits)?, growing_argument(layout)?, growing_argument(grads)?)
        };
        let dispatch = dispatch.check()?;
        for_type!(Type::of(logits.r#type)?, E => {
            let mut buffers = Buffers::new();
            let data = logits.add_to::<E>(&mut buffers, DPO_BUFFER_LOGITS)?;
            let batch = grads.add_to(&mut buffers, &layout)?;
            let memory = buffers.check()?;
            // SAFETY: the caller's word for every buffer of the call.
            let (data, batch) = unsafe { (memory.slice_mut(data), batch.get(&memory)) };
            Ok(logit_grads_in_place(dispatch, logits.view(data)?, &batch)?)
        })
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`tile_grads_in_place`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_tile_grads_in_place(
    dispatch: dpo_dispatch,
    tile: *const dpo_tile,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let tile = unsafe { growing_argument(tile)? };
        let (dispatch, transform) = (dispatch.check()?, tile.transform.check()?);
        let dpo_tile { data, len, first_column, target, norm, coefficient, .. } = tile;
        for_type!(Type::of(tile.r#type)?, E => {
            let mut buffers = Buffers::new();
            let data = buffers.output(data.cast::<E>(), len, DPO_BUFFER_TILE)?;
            let memory = buffers.check()?;
            // SAFETY: the caller's word for the tile.
            let data = unsafe { memory.slice_mut(data) };
            let first = first_column;
            Ok(tile_grads_in_place(dispatch, data, first, transform, target, norm, coefficient)?)
        })
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
