//! Stage 5: from ∂L/∂log π to the tokens, and back to the logits.

use core::ffi::c_void;

use super::argument::{growing, growing_argument};
use super::dispatch::dpo_dispatch;
use super::layout::{LayoutInput, dpo_layout};
use super::logits::{Type, dpo_logits, dpo_logits_mut, dpo_transform, for_type};
use super::memory::{Buffers, Input, Memory};
use super::names::*;
use super::place::Views;
use super::report::report;
use super::row::dpo_row_norm;
use super::status::{Fault, codes, dpo_error, dpo_status};
use crate::gradient::{GradBatch, Unscored, tile_grads_in_place, token_coefficients};
use crate::row::RowNorm;
use crate::step::Sealed;
use crate::{Dispatch, Error, Layout};

codes! {
    /// [`Unscored::Keep`]
    DPO_UNSCORED_KEEP = 0;
    /// [`Unscored::Zero`]
    DPO_UNSCORED_ZERO = 1;
}

/// What the backward needs of the forward and of the loss.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_grads {
    /// Of this struct, in bytes.
    pub size: usize,
    /// A norm for each row, from the forward.
    pub norms: *const dpo_row_norm,
    /// `∂L/∂log p` of each row.
    pub coefficients: *const f64,
    /// [`DPO_UNSCORED_KEEP`] or [`DPO_UNSCORED_ZERO`].
    pub unscored: i32,
    /// 0
    pub reserved: u32,
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
    dpo_grads, DPO_BUFFER_BACKWARD => coefficients .. reserved;
    dpo_tile, DPO_BUFFER_TILE => target .. target;
}

/// What becomes of rows that are not scored, by its number.
pub(super) const fn unscored(code: i32, subject: i32) -> Result<Unscored, Fault> {
    match code {
        DPO_UNSCORED_KEEP => Ok(Unscored::Keep),
        DPO_UNSCORED_ZERO => Ok(Unscored::Zero),
        other => Err(Fault::unknown(subject, other)),
    }
}

/// The buffers of [`dpo_grads`] and [`dpo_layout`].
pub(super) struct GradsInput {
    layout: LayoutInput,
    norms: Input<RowNorm>,
    coefficients: Input<f64>,
    unscored: Unscored,
}

impl dpo_grads {
    #[inline(never)]
    pub(super) fn add_to(
        &self,
        buffers: &mut Buffers,
        layout: &dpo_layout,
    ) -> Result<GradsInput, Fault> {
        let (rows, coefficients) = (layout.rows, DPO_BUFFER_TOKEN_COEFFICIENTS);
        if self.reserved != 0 {
            return Err(Fault::unused(DPO_BUFFER_BACKWARD));
        }
        Ok(GradsInput {
            layout: layout.add_to(buffers)?,
            norms: buffers.input(self.norms, rows, DPO_BUFFER_ROW_NORMS)?,
            coefficients: buffers.input(self.coefficients, rows, coefficients)?,
            unscored: unscored(self.unscored, DPO_BUFFER_BACKWARD)?,
        })
    }
}

impl GradsInput {
    /// # Safety
    /// As [`Memory::slice`].
    #[inline(never)]
    pub(super) unsafe fn get<'a>(self, memory: &Memory) -> Result<Grads<'a>, Error> {
        // SAFETY: the caller's word, passed on for every buffer.
        unsafe {
            Ok(Grads {
                layout: self.layout.get(memory)?,
                norms: memory.slice(self.norms),
                coefficients: memory.slice(self.coefficients),
                unscored: self.unscored,
            })
        }
    }
}

/// What a [`GradBatch`] borrows.
pub(super) struct Grads<'a> {
    layout: Layout<'a>,
    norms: &'a [RowNorm],
    coefficients: &'a [f64],
    unscored: Unscored,
}

impl Grads<'_> {
    pub(super) fn batch(&self) -> GradBatch<'_> {
        GradBatch::new(&self.layout, self.norms, self.coefficients).with_unscored(self.unscored)
    }
}

/// [`token_coefficients`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_token_coefficients(
    layout: *const dpo_layout,
    d_log_probs: *const f64,
    token_weights: *const f32,
    d_nll: *const f64,
    coefficients: *mut f64,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let layout = unsafe { growing_argument(layout)? };
        let (rows, n, weights) = (layout.rows, layout.count, DPO_BUFFER_TOKEN_WEIGHTS);
        let mut buffers = Buffers::new();
        let out = buffers.output(coefficients, rows, DPO_BUFFER_TOKEN_COEFFICIENTS)?;
        let d_log_probs = buffers.input(d_log_probs, n, DPO_BUFFER_SEQUENCE_GRADS)?;
        let token_weights = buffers.optional_input(token_weights, rows, weights)?;
        let d_nll = buffers.optional_input(d_nll, n, DPO_BUFFER_NLL_GRADS)?;
        let layout = layout.add_to(&mut buffers)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (layout, d_log_probs, token_weights, d_nll, out) = unsafe {
            (
                layout.get(&memory)?,
                memory.slice(d_log_probs),
                memory.optional(token_weights),
                memory.optional(d_nll),
                memory.slice_mut(out),
            )
        };
        Ok(token_coefficients(&layout, d_log_probs, token_weights, d_nll, out)?)
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`logit_grads`](crate::gradient::logit_grads), into the logits' own type or f32.
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
        // SAFETY: the caller's word, passed on.
        unsafe { write_grads(dispatch, &Views::Apart(logits, out), &batch) }
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// # Safety
/// That of [`dpo_logit_grads`].
unsafe fn write_grads(
    dispatch: Dispatch,
    views: &Views,
    (layout, grads): &(dpo_layout, dpo_grads),
) -> Result<(), Fault> {
    let mut buffers = Buffers::new();
    let logits = views.add_to(&mut buffers)?;
    let batch = grads.add_to(&mut buffers, layout)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for every buffer of the call.
    let (logits, grads) = unsafe { (logits.get(&memory)?, batch.get(&memory)?) };
    Ok(logits.write_grads(dispatch, &grads.batch())?)
}

/// [`logit_grads_in_place`](crate::gradient::logit_grads_in_place)
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
        // SAFETY: the caller's word, passed on.
        unsafe { write_grads(dispatch, &Views::InPlace(logits), &(layout, grads)) }
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
