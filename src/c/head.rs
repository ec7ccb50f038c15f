//! A head of weights in memory, hidden states, and the memory that a head works in.

use core::ffi::c_void;

use super::argument::{growing, growing_argument};
use super::logits::{Stored, Type, dpo_transform};
use super::memory::{Buffers, Input, Memory, Output};
use super::names::*;
use super::report::report;
use super::status::{Fault, dpo_error, dpo_status};
use crate::error::Buffer;
use crate::head::{Head, HeadRow, HeadScratch, Hidden, HiddenMut, Linear};
use crate::{Element, Error, bf16, f16};

/// [`Linear`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_head {
    /// Of this struct, in bytes.
    pub size: usize,
    /// Weights of the type.
    pub weights: *const c_void,
    /// How many `weights` holds.
    pub len: usize,
    /// V
    pub vocab: usize,
    /// H
    pub hidden: usize,
    /// Elements from one row to the next; 0 means H.
    pub stride: usize,
    /// `DPO_TYPE_…`
    pub r#type: i32,
    /// What turns a product into a logit.
    pub transform: dpo_transform,
    /// V numbers, or NULL.
    pub bias: *const f32,
    /// Panels packed at once; 0 means as many as there may be.
    pub panels: usize,
}

/// [`Hidden`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_hidden {
    /// Of this struct, in bytes.
    pub size: usize,
    /// Elements of the type.
    pub data: *const c_void,
    /// How many `data` holds.
    pub len: usize,
    /// R
    pub rows: usize,
    /// H
    pub hidden: usize,
    /// Elements from one row to the next; 0 means H.
    pub stride: usize,
    /// `DPO_TYPE_…`
    pub r#type: i32,
    /// 0
    pub reserved: u32,
}

/// [`HiddenMut`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_hidden_mut {
    /// As in [`dpo_hidden`].
    pub size: usize,
    /// As in [`dpo_hidden`].
    pub data: *mut c_void,
    /// As in [`dpo_hidden`].
    pub len: usize,
    /// As in [`dpo_hidden`].
    pub rows: usize,
    /// As in [`dpo_hidden`].
    pub hidden: usize,
    /// As in [`dpo_hidden`].
    pub stride: usize,
    /// As in [`dpo_hidden`].
    pub r#type: i32,
    /// As in [`dpo_hidden`].
    pub reserved: u32,
}

/// [`HeadScratch`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_head_scratch {
    /// Of this struct, in bytes.
    pub size: usize,
    /// Memory, whose contents do not matter.
    pub numbers: *mut f64,
    /// How many `numbers` holds.
    pub len: usize,
    /// Rows that go through the head at once.
    pub rows: usize,
}

growing! {
    dpo_head, DPO_BUFFER_HEAD_WEIGHTS => r#type .. panels;
    dpo_hidden, DPO_BUFFER_HIDDEN => r#type .. reserved;
    dpo_hidden_mut, DPO_BUFFER_HIDDEN_GRADS => r#type .. reserved;
    dpo_head_scratch, DPO_BUFFER_HEAD_NUMBERS => rows .. rows;
}

/// The stride that is meant.
pub(super) const fn stride(hidden: usize, stride: usize) -> usize {
    if stride == 0 { hidden } else { stride }
}

/// The buffers of a [`dpo_head`].
pub(super) struct HeadInput {
    of: dpo_head,
    weights: Weights,
    bias: Option<Input<f32>>,
}

enum Weights {
    F32(Input<f32>),
    F16(Input<f16>),
    Bf16(Input<bf16>),
}

/// A head of weights of any type.
pub(super) enum AnyLinear<'a> {
    F32(Linear<'a, f32>),
    F16(Linear<'a, f16>),
    Bf16(Linear<'a, bf16>),
}

impl dpo_head {
    /// Not inlined, nor is what makes the head: each is one function for all types of states.
    #[inline(never)]
    pub(super) fn add_to(&self, buffers: &mut Buffers) -> Result<HeadInput, Fault> {
        let (data, len, subject) = (self.weights, self.len, DPO_BUFFER_HEAD_WEIGHTS);
        let weights = match Type::of(self.r#type)? {
            Type::F32 => Weights::F32(buffers.input(data.cast(), len, subject)?),
            Type::F16 => Weights::F16(buffers.input(data.cast(), len, subject)?),
            Type::Bf16 => Weights::Bf16(buffers.input(data.cast(), len, subject)?),
        };
        let bias = buffers.optional_input(self.bias, self.vocab, DPO_BUFFER_HEAD_BIAS)?;
        Ok(HeadInput { of: *self, weights, bias })
    }

    fn linear<'a, W: Element>(
        &self,
        weights: &'a [W],
        bias: Option<&'a [f32]>,
    ) -> Result<Linear<'a, W>, Error> {
        let stride = stride(self.hidden, self.stride);
        let mut head = Linear::with_stride(weights, self.vocab, self.hidden, stride)?;
        if let Some(bias) = bias {
            head = head.with_bias(bias)?;
        }
        if self.panels != 0 {
            head = head.with_panels(self.panels);
        }
        Ok(head.with_transform(self.transform.check()?))
    }
}

impl HeadInput {
    /// # Safety
    /// As [`Memory::slice`].
    #[inline(never)]
    pub(super) unsafe fn get<'a>(self, memory: &Memory) -> Result<AnyLinear<'a>, Error> {
        let Self { of, weights, bias } = self;
        // SAFETY: the caller's word, passed on for both.
        unsafe {
            let bias = memory.optional(bias);
            Ok(match weights {
                Weights::F32(weights) => AnyLinear::F32(of.linear(memory.slice(weights), bias)?),
                Weights::F16(weights) => AnyLinear::F16(of.linear(memory.slice(weights), bias)?),
                Weights::Bf16(weights) => AnyLinear::Bf16(of.linear(memory.slice(weights), bias)?),
            })
        }
    }
}

impl AnyLinear<'_> {
    /// The head, by its trait: what goes through it is compiled once for each type of states, and
    /// not again for each type of weights.
    pub(super) fn head<E: Element>(&self) -> &dyn Head<E> {
        match self {
            Self::F32(head) => head,
            Self::F16(head) => head,
            Self::Bf16(head) => head,
        }
    }

    /// [`HeadScratch::numbers`], whatever the type of the states.
    pub(super) fn numbers(&self, rows: usize) -> usize {
        HeadScratch::numbers(self.head::<f32>(), rows)
    }
}

/// The buffer of hidden states of any type.
#[derive(Clone, Copy)]
pub(super) enum StatesInput {
    F32(Input<f32>),
    F16(Input<f16>),
    Bf16(Input<bf16>),
}

/// Hidden states of any type.
pub(super) enum AnyStates<'a> {
    F32(Hidden<'a, f32>),
    F16(Hidden<'a, f16>),
    Bf16(Hidden<'a, bf16>),
}

/// Runs a body for hidden states of the type that they are of.
macro_rules! for_states {
    ($any:expr, $states:ident => $body:expr) => {
        match $any {
            $crate::c::head::AnyStates::F32($states) => $body,
            $crate::c::head::AnyStates::F16($states) => $body,
            $crate::c::head::AnyStates::Bf16($states) => $body,
        }
    };
}
pub(super) use for_states;

impl dpo_hidden {
    #[inline(never)]
    pub(super) fn add_any_to(&self, buffers: &mut Buffers) -> Result<StatesInput, Fault> {
        Ok(match Type::of(self.r#type)? {
            Type::F32 => StatesInput::F32(self.add_to(buffers)?),
            Type::F16 => StatesInput::F16(self.add_to(buffers)?),
            Type::Bf16 => StatesInput::Bf16(self.add_to(buffers)?),
        })
    }

    /// # Safety
    /// As [`Memory::slice`].
    #[inline(never)]
    pub(super) unsafe fn any<'a>(
        &self,
        memory: &Memory,
        data: StatesInput,
    ) -> Result<AnyStates<'a>, Error> {
        // SAFETY: passed on.
        unsafe {
            Ok(match data {
                StatesInput::F32(data) => AnyStates::F32(self.view(memory.slice(data))?),
                StatesInput::F16(data) => AnyStates::F16(self.view(memory.slice(data))?),
                StatesInput::Bf16(data) => AnyStates::Bf16(self.view(memory.slice(data))?),
            })
        }
    }

    pub(super) fn add_to<E: Stored>(&self, buffers: &mut Buffers) -> Result<Input<E>, Fault> {
        if self.reserved != 0 {
            return Err(Fault::unused(DPO_BUFFER_HIDDEN));
        }
        buffers.input(self.data.cast(), self.len, DPO_BUFFER_HIDDEN)
    }

    pub(super) fn view<'a, E: Stored>(&self, data: &'a [E]) -> Result<Hidden<'a, E>, Error> {
        Hidden::with_stride(data, self.rows, self.hidden, stride(self.hidden, self.stride))
    }

    /// Sums are f32.
    pub(super) const fn check_sums(&self) -> Result<(), Fault> {
        check_sums(self.r#type)
    }
}

impl dpo_hidden_mut {
    pub(super) fn add_to<E: Stored>(&self, buffers: &mut Buffers) -> Result<Output<E>, Fault> {
        if self.reserved != 0 {
            return Err(Fault::unused(DPO_BUFFER_HIDDEN_GRADS));
        }
        buffers.output(self.data.cast(), self.len, DPO_BUFFER_HIDDEN_GRADS)
    }

    pub(super) fn view<'a, E: Stored>(&self, data: &'a mut [E]) -> Result<HiddenMut<'a, E>, Error> {
        HiddenMut::with_stride(data, self.rows, self.hidden, stride(self.hidden, self.stride))
    }

    /// Sums are f32.
    pub(super) const fn check_sums(&self) -> Result<(), Fault> {
        check_sums(self.r#type)
    }
}

const fn check_sums(r#type: i32) -> Result<(), Fault> {
    match Type::of(r#type) {
        Ok(Type::F32) => Ok(()),
        _ => Err(Fault::unknown(DPO_BUFFER_TYPE, r#type)),
    }
}

/// The buffer of a [`dpo_head_scratch`].
pub(super) struct ScratchInput {
    numbers: Output<f64>,
    len: usize,
    rows: usize,
}

// Rows and numbers lie one after the other where doubles do.
const _: () = assert!(
    align_of::<HeadRow>() <= align_of::<f64>() && size_of::<f64>() == 2 * size_of::<f32>(),
    "a row of the head does not lie where doubles do"
);

/// Doubles that so many rows of the head lie in.
const fn doubles_of_rows(rows: usize) -> usize {
    rows.saturating_mul(size_of::<HeadRow>().div_ceil(size_of::<f64>()))
}

/// Doubles of so many rows at once, and of what a function works in beside them.
pub(super) fn doubles(rows: usize, numbers: usize) -> Result<usize, Error> {
    if rows == 0 {
        return Err(Error::Length { buffer: Buffer::HeadRows, expected: 1, found: 0 });
    }
    Ok(doubles_of_rows(rows).saturating_add(numbers.div_ceil(2)))
}

impl dpo_head_scratch {
    pub(super) fn add_to(&self, buffers: &mut Buffers) -> Result<ScratchInput, Fault> {
        let numbers = buffers.output(self.numbers, self.len, DPO_BUFFER_HEAD_NUMBERS)?;
        Ok(ScratchInput { numbers, len: self.len, rows: self.rows })
    }
}

impl ScratchInput {
    /// Rows at its beginning, numbers in the rest, as many as the function asks for.
    ///
    /// # Safety
    /// As [`Memory::slice_mut`].
    #[inline(never)]
    pub(super) unsafe fn get<'a>(
        self,
        memory: &Memory,
        numbers: usize,
    ) -> Result<HeadScratch<'a>, Error> {
        let expected = doubles(self.rows, numbers)?;
        let (buffer, found) = (Buffer::HeadNumbers, self.len);
        let too_short = Error::Length { buffer, expected, found };
        if found < expected {
            return Err(too_short);
        }
        // SAFETY: passed on.
        let all: &'a mut [f64] = unsafe { memory.slice_mut(self.numbers) };
        let (rows, numbers) =
            all.split_at_mut_checked(doubles_of_rows(self.rows)).ok_or(too_short)?;
        let (first, count) = (rows.as_mut_ptr().cast::<HeadRow>(), numbers.len().saturating_mul(2));
        for i in 0..self.rows {
            // SAFETY: `rows` has room for as many, aligned for them (asserted above), which nobody
            // else uses.
            unsafe { first.add(i).write(HeadRow::NEW) };
        }
        // SAFETY: as above, and all of them were written; a double holds two numbers, of any bits.
        Ok(unsafe {
            HeadScratch::new(
                core::slice::from_raw_parts_mut(first, self.rows),
                core::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast::<f32>(), count),
            )
        })
    }
}

/// [`HeadScratch::numbers`], and room for the rows, in doubles.
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_head_scratch_len(
    head: *const dpo_head,
    rows: usize,
    out: *mut usize,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let head: dpo_head = unsafe { growing_argument(head)? };
        let mut buffers = Buffers::new();
        let head = head.add_to(&mut buffers)?;
        let out = buffers.output(out, 1, DPO_BUFFER_OUT)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (head, out) = unsafe { (head.get(&memory)?, memory.slice_mut(out)) };
        out.fill(doubles(rows, head.numbers(rows))?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
