//! Log-probs and hidden gradients by a head of weights in memory, without logits.

use super::argument::growing_argument;
use super::dispatch::dpo_dispatch;
use super::gradient::dpo_grads;
use super::head::{dpo_head, dpo_head_scratch, dpo_hidden, dpo_hidden_mut, for_states};
use super::layout::dpo_layout;
use super::logits::{Stored, Type};
use super::memory::Buffers;
use super::names::*;
use super::report::report;
use super::row::{dpo_row_details, dpo_row_norm};
use super::status::{Fault, dpo_error, dpo_status};
use super::token::{Out, dpo_token_summary};
use crate::head::{head_forward, head_token_log_probs, hidden_grads, hidden_grads_in_place};
use crate::{bf16, f16};

/// The structs of a call, copied.
pub(super) struct Call {
    pub(super) states: dpo_hidden,
    pub(super) head: dpo_head,
    pub(super) layout: dpo_layout,
    pub(super) scratch: dpo_head_scratch,
}

impl Call {
    /// # Safety
    /// The caller of the ABI vouches for the structs.
    pub(super) unsafe fn copy(
        states: *const dpo_hidden,
        head: *const dpo_head,
        layout: *const dpo_layout,
        scratch: *const dpo_head_scratch,
    ) -> Result<Self, Fault> {
        // SAFETY: passed on.
        unsafe {
            Ok(Self {
                states: growing_argument(states)?,
                head: growing_argument(head)?,
                layout: growing_argument(layout)?,
                scratch: growing_argument(scratch)?,
            })
        }
    }
}

/// [`head_token_log_probs`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_head_token_log_probs(
    dispatch: dpo_dispatch,
    states: *const dpo_hidden,
    head: *const dpo_head,
    layout: *const dpo_layout,
    log_probs: *mut f32,
    norms: *mut dpo_row_norm,
    details: *mut dpo_row_details,
    summary: *mut dpo_token_summary,
    scratch: *const dpo_head_scratch,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the structs.
        let call = unsafe { Call::copy(states, head, layout, scratch)? };
        let to = Out { log_probs, norms, details, summary };
        // SAFETY: the caller's word, passed on.
        unsafe { forward(dispatch, &call, &to, None) }
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`head_forward`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_head_forward(
    dispatch: dpo_dispatch,
    states: *const dpo_hidden,
    head: *const dpo_head,
    layout: *const dpo_layout,
    log_probs: *mut f32,
    norms: *mut dpo_row_norm,
    details: *mut dpo_row_details,
    summary: *mut dpo_token_summary,
    sums: *const dpo_hidden_mut,
    scratch: *const dpo_head_scratch,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the structs.
        let (call, sums) =
            unsafe { (Call::copy(states, head, layout, scratch)?, growing_argument(sums)?) };
        let to = Out { log_probs, norms, details, summary };
        // SAFETY: the caller's word, passed on.
        unsafe { forward(dispatch, &call, &to, Some(&sums)) }
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// # Safety
/// That of [`dpo_head_forward`].
unsafe fn forward(
    dispatch: dpo_dispatch,
    call: &Call,
    to: &Out,
    sums: Option<&dpo_hidden_mut>,
) -> Result<(), Fault> {
    let mut buffers = Buffers::new();
    let states = call.states.add_any_to(&mut buffers)?;
    let head = call.head.add_to(&mut buffers)?;
    let layout = call.layout.add_to(&mut buffers)?;
    let out = to.add_to(&mut buffers, call.layout.rows)?;
    let sums = match sums {
        Some(of) => {
            of.check_sums()?;
            Some((of, of.add_to::<f32>(&mut buffers)?))
        }
        None => None,
    };
    let scratch = call.scratch.add_to(&mut buffers)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for every buffer of the call.
    unsafe {
        let states = call.states.any(&memory, states)?;
        let head = head.get(&memory)?;
        let layout = layout.get(&memory)?;
        let (out, summary) = out.get(&memory);
        let dispatch = dispatch.check()?;
        let sums = match sums {
            Some((of, data)) => Some(of.view(memory.slice_mut(data))?),
            None => None,
        };
        let scratch = scratch.get(&memory, head.numbers(call.scratch.rows))?;
        let found = for_states!(states, states => match sums {
            Some(sums) => {
                head_forward(dispatch, states, head.head(), &layout, out, sums, scratch)
            }
            None => head_token_log_probs(dispatch, states, head.head(), &layout, out, scratch),
        })?;
        summary.fill(found);
    }
    Ok(())
}

/// [`hidden_grads_in_place`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_hidden_grads_in_place(
    dispatch: dpo_dispatch,
    states: *const dpo_hidden,
    head: *const dpo_head,
    layout: *const dpo_layout,
    grads: *const dpo_grads,
    sums: *const dpo_hidden_mut,
    scratch: *const dpo_head_scratch,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the structs.
        let (call, grads, sums) = unsafe {
            let call = Call::copy(states, head, layout, scratch)?;
            (call, growing_argument(grads)?, growing_argument(sums)?)
        };
        // SAFETY: the caller's word, passed on.
        unsafe { grads_in_place(dispatch, &call, &grads, &sums) }
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// # Safety
/// That of [`dpo_hidden_grads_in_place`].
unsafe fn grads_in_place(
    dispatch: dpo_dispatch,
    call: &Call,
    grads: &dpo_grads,
    sums: &dpo_hidden_mut,
) -> Result<(), Fault> {
    let mut buffers = Buffers::new();
    let states = call.states.add_any_to(&mut buffers)?;
    let head = call.head.add_to(&mut buffers)?;
    let grads = grads.add_to(&mut buffers, &call.layout)?;
    sums.check_sums()?;
    let data = sums.add_to::<f32>(&mut buffers)?;
    let scratch = call.scratch.add_to(&mut buffers)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for every buffer of the call.
    unsafe {
        let states = call.states.any(&memory, states)?;
        let head = head.get(&memory)?;
        let grads = grads.get(&memory)?;
        let dispatch = dispatch.check()?;
        let sums = sums.view(memory.slice_mut(data))?;
        let scratch = scratch.get(&memory, head.numbers(call.scratch.rows))?;
        let batch = grads.batch();
        for_states!(states, states => {
            hidden_grads_in_place(dispatch, states, head.head(), &batch, sums, scratch)
        })
        .map_err(Fault::Kernel)
    }
}

/// [`hidden_grads`], into the states' own type or f32.
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_hidden_grads(
    dispatch: dpo_dispatch,
    states: *const dpo_hidden,
    head: *const dpo_head,
    layout: *const dpo_layout,
    grads: *const dpo_grads,
    sums: *const dpo_hidden,
    out: *const dpo_hidden_mut,
    scratch: *const dpo_head_scratch,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the structs.
        let (call, apart) = unsafe {
            let call = Call::copy(states, head, layout, scratch)?;
            let grads = growing_argument(grads)?;
            (call, Apart { grads, sums: growing_argument(sums)?, out: growing_argument(out)? })
        };
        // SAFETY: the caller's word, passed on.
        unsafe {
            match (Type::of(call.states.r#type)?, Type::of(apart.out.r#type)?) {
                (Type::F32, Type::F32) => grads_apart::<f32, f32>(dispatch, &call, &apart),
                (Type::F16, Type::F16) => grads_apart::<f16, f16>(dispatch, &call, &apart),
                (Type::F16, Type::F32) => grads_apart::<f16, f32>(dispatch, &call, &apart),
                (Type::Bf16, Type::Bf16) => grads_apart::<bf16, bf16>(dispatch, &call, &apart),
                (Type::Bf16, Type::F32) => grads_apart::<bf16, f32>(dispatch, &call, &apart),
                _ => Err(Fault::unknown(DPO_BUFFER_TYPE, apart.out.r#type)),
            }
        }
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// The structs of a backward into another buffer, copied.
struct Apart {
    grads: dpo_grads,
    sums: dpo_hidden,
    out: dpo_hidden_mut,
}

/// # Safety
/// That of [`dpo_hidden_grads`].
unsafe fn grads_apart<E: Stored, O: Stored>(
    dispatch: dpo_dispatch,
    call: &Call,
    apart: &Apart,
) -> Result<(), Fault> {
    apart.sums.check_sums()?;
    let mut buffers = Buffers::new();
    let states = call.states.add_to::<E>(&mut buffers)?;
    let head = call.head.add_to(&mut buffers)?;
    let grads = apart.grads.add_to(&mut buffers, &call.layout)?;
    let sums = apart.sums.add_to::<f32>(&mut buffers)?;
    let out = apart.out.add_to::<O>(&mut buffers)?;
    let scratch = call.scratch.add_to(&mut buffers)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for every buffer of the call.
    unsafe {
        let states = call.states.view(memory.slice(states))?;
        let any = head.get(&memory)?;
        let head = any.head::<E>();
        let grads = grads.get(&memory)?;
        let dispatch = dispatch.check()?;
        let sums = apart.sums.view(memory.slice(sums))?;
        let out = apart.out.view(memory.slice_mut(out))?;
        let scratch = scratch.get(&memory, any.numbers(call.scratch.rows))?;
        Ok(hidden_grads(dispatch, states, head, &grads.batch(), sums, out, scratch)?)
    }
}
