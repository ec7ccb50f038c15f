//! The backward of a head that is trained: gradients of its weights, of its bias, and of the hidden
//! states.

use core::ffi::c_void;

use super::argument::{growing, growing_argument};
use super::dispatch::dpo_dispatch;
use super::gradient::dpo_grads;
use super::head::{
    AnyLinear, doubles, dpo_head, dpo_head_scratch, dpo_hidden, dpo_hidden_mut, for_states, stride,
};
use super::hidden::Call;
use super::layout::dpo_layout;
use super::logits::Type;
use super::memory::{Buffers, Memory, Output};
use super::names::*;
use super::report::report;
use super::status::{DPO_ERROR_NULL, Fault, codes, dpo_error, dpo_status};
use crate::head::{HeadGrads, HeadScratch, head_grads};
use crate::{Dispatch, Element, Error, bf16, f16};

codes! {
    /// What is there is replaced.
    DPO_GRADS_REPLACE = 0;
    /// [`HeadGrads::added`]
    DPO_GRADS_ADD = 1;
}

/// [`HeadGrads`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_head_mut {
    /// Of this struct, in bytes.
    pub size: usize,
    /// Gradients of the weights, of the type, or NULL.
    pub weights: *mut c_void,
    /// How many `weights` holds.
    pub len: usize,
    /// Elements from one row to the next; 0 means H.
    pub stride: usize,
    /// `DPO_TYPE_…`; 0 without `weights`.
    pub r#type: i32,
    /// `DPO_GRADS_…`
    pub mode: i32,
    /// Gradients of the bias, V numbers, or NULL.
    pub bias: *mut f32,
}

growing! {
    dpo_head_mut, DPO_BUFFER_HEAD_GRADS => r#type .. bias;
}

/// The buffers of a [`dpo_head_mut`].
struct GradsOutput {
    of: dpo_head_mut,
    weights: Weights,
    bias: Option<Output<f32>>,
}

enum Weights {
    None,
    F32(Output<f32>),
    F16(Output<f16>),
    Bf16(Output<bf16>),
}

/// Gradients of a head, of any type.
enum AnyGrads<'a> {
    F32(HeadGrads<'a, f32>),
    F16(HeadGrads<'a, f16>),
    Bf16(HeadGrads<'a, bf16>),
}

impl dpo_head_mut {
    /// Not inlined, nor is what makes the gradients: two functions of the ABI call each.
    #[inline(never)]
    fn add_to(&self, buffers: &mut Buffers, vocab: usize) -> Result<GradsOutput, Fault> {
        let (data, len, subject) = (self.weights, self.len, DPO_BUFFER_HEAD_GRADS);
        if !matches!(self.mode, DPO_GRADS_REPLACE | DPO_GRADS_ADD) {
            return Err(Fault::unknown(subject, self.mode));
        }
        let weights = if !data.is_null() || len != 0 {
            match Type::of(self.r#type)? {
                Type::F32 => Weights::F32(buffers.output(data.cast(), len, subject)?),
                Type::F16 => Weights::F16(buffers.output(data.cast(), len, subject)?),
                Type::Bf16 => Weights::Bf16(buffers.output(data.cast(), len, subject)?),
            }
        } else if self.bias.is_null() {
            return Err(Fault::Call(DPO_ERROR_NULL, subject, [0, 0]));
        } else if self.stride != 0 || self.r#type != 0 {
            return Err(Fault::unused(subject));
        } else {
            Weights::None
        };
        let bias = buffers.optional_output(self.bias, vocab, subject)?;
        Ok(GradsOutput { of: *self, weights, bias })
    }

    fn grads<'a, G: Element>(
        &self,
        head: &dpo_head,
        weights: &'a mut [G],
        bias: Option<&'a mut [f32]>,
    ) -> Result<HeadGrads<'a, G>, Error> {
        let (vocab, hidden) = (head.vocab, head.hidden);
        let stride = stride(hidden, self.stride);
        let grads = HeadGrads::of_weights_with_stride(weights, vocab, hidden, stride)?;
        Ok(match bias {
            Some(bias) => grads.with_bias(bias),
            None => grads,
        })
    }
}

impl GradsOutput {
    /// # Safety
    /// As [`Memory::slice_mut`].
    #[inline(never)]
    unsafe fn get<'a>(self, memory: &Memory, head: &dpo_head) -> Result<AnyGrads<'a>, Error> {
        let Self { of, weights, bias } = self;
        // SAFETY: the caller's word, passed on for both.
        unsafe {
            let bias = bias.map(|bias| memory.slice_mut(bias));
            let grads = match weights {
                Weights::None => AnyGrads::F32(HeadGrads::of_bias(bias.unwrap_or_default())),
                Weights::F32(to) => AnyGrads::F32(of.grads(head, memory.slice_mut(to), bias)?),
                Weights::F16(to) => AnyGrads::F16(of.grads(head, memory.slice_mut(to), bias)?),
                Weights::Bf16(to) => AnyGrads::Bf16(of.grads(head, memory.slice_mut(to), bias)?),
            };
            Ok(if of.mode == DPO_GRADS_ADD { grads.added() } else { grads })
        }
    }
}

impl AnyGrads<'_> {
    fn added(self) -> Self {
        match self {
            Self::F32(grads) => Self::F32(grads.added()),
            Self::F16(grads) => Self::F16(grads.added()),
            Self::Bf16(grads) => Self::Bf16(grads.added()),
        }
    }

    /// [`HeadScratch::numbers_trained`], whatever the type of the states.
    fn numbers(&self, dispatch: Dispatch, head: &AnyLinear<'_>, rows: usize) -> usize {
        let head = head.head::<f32>();
        match self {
            Self::F32(grads) => HeadScratch::numbers_trained(dispatch, head, rows, grads),
            Self::F16(grads) => HeadScratch::numbers_trained(dispatch, head, rows, grads),
            Self::Bf16(grads) => HeadScratch::numbers_trained(dispatch, head, rows, grads),
        }
    }
}

/// [`HeadScratch::numbers_trained`], and room for the rows, in doubles.
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_head_grads_scratch_len(
    head: *const dpo_head,
    d_head: *const dpo_head_mut,
    rows: usize,
    out: *mut usize,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the structs.
        let (of, grads) = unsafe { (growing_argument(head)?, growing_argument(d_head)?) };
        let mut buffers = Buffers::new();
        let head = dpo_head::add_to(&of, &mut buffers)?;
        let grads = dpo_head_mut::add_to(&grads, &mut buffers, of.vocab)?;
        let out = buffers.output(out, 1, DPO_BUFFER_OUT)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (head, grads, out) =
            unsafe { (head.get(&memory)?, grads.get(&memory, &of)?, memory.slice_mut(out)) };
        // On one thread, as every dispatch.
        let numbers = grads.numbers(Dispatch::detect(), &head, rows);
        out.fill(doubles(rows, numbers)?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// [`head_grads`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_head_grads(
    dispatch: dpo_dispatch,
    states: *const dpo_hidden,
    head: *const dpo_head,
    layout: *const dpo_layout,
    grads: *const dpo_grads,
    d_hidden: *const dpo_hidden_mut,
    d_head: *const dpo_head_mut,
    scratch: *const dpo_head_scratch,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the structs.
        let (call, to) = unsafe {
            let call = Call::copy(states, head, layout, scratch)?;
            let grads = growing_argument(grads)?;
            let hidden = growing_argument(d_hidden)?;
            (call, To { grads, hidden, head: growing_argument(d_head)? })
        };
        // SAFETY: the caller's word, passed on.
        unsafe { backward(dispatch, &call, &to) }
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}

/// The structs of a backward, copied: what it needs, and where gradients go.
struct To {
    grads: dpo_grads,
    hidden: dpo_hidden_mut,
    head: dpo_head_mut,
}

/// # Safety
/// That of [`dpo_head_grads`].
unsafe fn backward(dispatch: dpo_dispatch, call: &Call, to: &To) -> Result<(), Fault> {
    let mut buffers = Buffers::new();
    let states = call.states.add_any_to(&mut buffers)?;
    let head = call.head.add_to(&mut buffers)?;
    let grads = to.grads.add_to(&mut buffers, &call.layout)?;
    to.hidden.check_sums()?;
    let hidden = to.hidden.add_to::<f32>(&mut buffers)?;
    let of_head = to.head.add_to(&mut buffers, call.head.vocab)?;
    let scratch = call.scratch.add_to(&mut buffers)?;
    let memory = buffers.check()?;
    // SAFETY: the caller's word for every buffer of the call.
    unsafe {
        let states = call.states.any(&memory, states)?;
        let head = head.get(&memory)?;
        let grads = grads.get(&memory)?;
        let dispatch = dispatch.check()?;
        let hidden = to.hidden.view(memory.slice_mut(hidden))?;
        let of_head = of_head.get(&memory, &call.head)?;
        let numbers = of_head.numbers(dispatch, &head, call.scratch.rows);
        let scratch = scratch.get(&memory, numbers)?;
        let batch = grads.batch();
        for_states!(states, states => {
            let (by, head) = (dispatch, head.head());
            match of_head {
                AnyGrads::F32(to) => head_grads(by, states, head, &batch, hidden, to, scratch),
                AnyGrads::F16(to) => head_grads(by, states, head, &batch, hidden, to, scratch),
                AnyGrads::Bf16(to) => head_grads(by, states, head, &batch, hidden, to, scratch),
            }
        })
        .map_err(Fault::Kernel)
    }
}
