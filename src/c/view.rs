//! What most entries share: which instructions, the logits, the sequences among their rows.

use core::ffi::c_void;

use super::memory::{Claim, Input, Memory, Output, Plain, plain};
use super::names::*;
use super::status::{Fault, codes};
use super::token::dpo_span;
use crate::{
    Arithmetic, Dispatch, Element, Error, Level, Logits, LogitsMut, Span, Targets, Transform, bf16,
    f16,
};

codes! {
    /// [`Level::Baseline`]
    DPO_LEVEL_BASELINE = 0;
    /// [`Level::Avx2`]
    DPO_LEVEL_AVX2 = 1;
    /// [`Level::Avx512`]
    DPO_LEVEL_AVX512 = 2;
    /// [`Arithmetic::Fused`]
    DPO_ARITHMETIC_FUSED = 0;
    /// [`Arithmetic::Portable`]
    DPO_ARITHMETIC_PORTABLE = 1;
    /// `float`
    DPO_TYPE_F32 = 0;
    /// IEEE-754 binary16 in `uint16_t`.
    DPO_TYPE_F16 = 1;
    /// bfloat16 in `uint16_t`.
    DPO_TYPE_BF16 = 2;
}

/// The ignore value by default, [`IGNORE_INDEX`](crate::IGNORE_INDEX).
pub const DPO_IGNORE_INDEX: u32 = crate::IGNORE_INDEX;

/// [`Dispatch`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_dispatch {
    /// `DPO_LEVEL_…`
    pub level: i32,
    /// `DPO_ARITHMETIC_…`
    pub arithmetic: i32,
}

/// [`Transform`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_transform {
    /// Factor on the logits, 1 without.
    pub scale: f32,
    /// Bound of the softcap, 0 without.
    pub softcap: f32,
    /// Divisor after the softcap, 1 without.
    pub temperature: f32,
}

/// [`Logits`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_logits {
    /// Elements of the type.
    pub data: *const c_void,
    /// How many `data` holds.
    pub len: usize,
    /// R
    pub rows: usize,
    /// V
    pub vocab: usize,
    /// Elements from one row to the next.
    pub stride: usize,
    /// `DPO_TYPE_…`
    pub r#type: i32,
    /// What turns an element into a logit.
    pub transform: dpo_transform,
}

/// [`LogitsMut`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_logits_mut {
    /// As in [`dpo_logits`].
    pub data: *mut c_void,
    /// As in [`dpo_logits`].
    pub len: usize,
    /// As in [`dpo_logits`].
    pub rows: usize,
    /// As in [`dpo_logits`].
    pub vocab: usize,
    /// As in [`dpo_logits`].
    pub stride: usize,
    /// As in [`dpo_logits`].
    pub r#type: i32,
    /// As in [`dpo_logits`].
    pub transform: dpo_transform,
}

/// [`Targets`] and spans.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_sequences {
    /// A target for each row.
    pub targets: *const u32,
    /// R
    pub rows: usize,
    /// The target of rows that are not scored.
    pub ignore: u32,
    /// The rows of each sequence.
    pub spans: *const dpo_span,
    /// N
    pub count: usize,
}

plain!(dpo_dispatch, dpo_transform, dpo_logits, dpo_logits_mut, dpo_sequences);

/// The fastest combination that this machine has; see [`Dispatch::detect`].
#[unsafe(no_mangle)]
pub extern "C" fn dpo_detect() -> dpo_dispatch {
    let dispatch = Dispatch::detect();
    let arithmetic = match dispatch.arithmetic() {
        Arithmetic::Fused => DPO_ARITHMETIC_FUSED,
        Arithmetic::Portable => DPO_ARITHMETIC_PORTABLE,
    };
    dpo_dispatch { level: level_code(dispatch.level()), arithmetic }
}

/// 1 if this machine has the combination, 0 if not, or if it is none; see [`Dispatch::new`].
#[unsafe(no_mangle)]
pub extern "C" fn dpo_is_available(dispatch: dpo_dispatch) -> i32 {
    i32::from(dispatch.check().is_ok())
}

pub(super) const fn level_code(level: Level) -> i32 {
    match level {
        Level::Baseline => DPO_LEVEL_BASELINE,
        Level::Avx2 => DPO_LEVEL_AVX2,
        Level::Avx512 => DPO_LEVEL_AVX512,
    }
}

impl dpo_dispatch {
    pub(super) fn check(self) -> Result<Dispatch, Fault> {
        let level = match self.level {
            DPO_LEVEL_BASELINE => Level::Baseline,
            DPO_LEVEL_AVX2 => Level::Avx2,
            DPO_LEVEL_AVX512 => Level::Avx512,
            other => return Err(Fault::unknown(DPO_BUFFER_DISPATCH, other)),
        };
        let arithmetic = match self.arithmetic {
            DPO_ARITHMETIC_FUSED => Arithmetic::Fused,
            DPO_ARITHMETIC_PORTABLE => Arithmetic::Portable,
            other => return Err(Fault::unknown(DPO_BUFFER_DISPATCH, other)),
        };
        Ok(Dispatch::new(level, arithmetic)?)
    }
}

impl dpo_transform {
    pub(super) fn check(self) -> Result<Transform, Error> {
        // NaN and negative caps go on to be refused.
        let softcap = if self.softcap == 0.0 { None } else { Some(self.softcap) };
        Transform::new(self.scale, softcap, self.temperature)
    }
}

/// An element type, to call a generic function with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    F32,
    F16,
    Bf16,
}

impl Type {
    pub(super) const fn of(code: i32) -> Result<Self, Fault> {
        match code {
            DPO_TYPE_F32 => Ok(Self::F32),
            DPO_TYPE_F16 => Ok(Self::F16),
            DPO_TYPE_BF16 => Ok(Self::Bf16),
            other => Err(Fault::unknown(DPO_BUFFER_TYPE, other)),
        }
    }
}

/// Runs a body for the element type that a value says: `for_type!(type, E => body)`.
macro_rules! for_type {
    ($type:expr, $element:ident => $body:expr) => {
        match $type {
            $crate::c::view::Type::F32 => {
                type $element = f32;
                $body
            }
            $crate::c::view::Type::F16 => {
                type $element = $crate::f16;
                $body
            }
            $crate::c::view::Type::Bf16 => {
                type $element = $crate::bf16;
                $body
            }
        }
    };
}
pub(super) use for_type;

/// Elements that the ABI knows.
pub(super) trait Stored: Element + Plain {}
impl Stored for f32 {}
impl Stored for f16 {}
impl Stored for bf16 {}

impl dpo_logits {
    pub(super) fn claim<E: Stored>(&self, claim: &mut Claim) -> Result<Input<E>, Fault> {
        claim.input(self.data.cast(), self.len, DPO_BUFFER_LOGITS)
    }

    pub(super) fn view<'a, E: Stored>(&self, data: &'a [E]) -> Result<Logits<'a, E>, Error> {
        let view = Logits::with_stride(data, self.rows, self.vocab, self.stride)?;
        Ok(view.with_transform(self.transform.check()?))
    }
}

impl dpo_logits_mut {
    pub(super) fn claim<E: Stored>(
        &self,
        claim: &mut Claim,
        subject: i32,
    ) -> Result<Output<E>, Fault> {
        claim.output(self.data.cast(), self.len, subject)
    }

    pub(super) fn view<'a, E: Stored>(&self, data: &'a mut [E]) -> Result<LogitsMut<'a, E>, Error> {
        let view = LogitsMut::with_stride(data, self.rows, self.vocab, self.stride)?;
        Ok(view.with_transform(self.transform.check()?))
    }
}

/// The claimed buffers of [`dpo_sequences`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequences {
    targets: Input<u32>,
    ignore: u32,
    spans: Input<Span>,
}

impl dpo_sequences {
    pub(super) fn claim(&self, claim: &mut Claim) -> Result<Sequences, Fault> {
        Ok(Sequences {
            targets: claim.input(self.targets, self.rows, DPO_BUFFER_TARGETS)?,
            ignore: self.ignore,
            spans: claim.input(self.spans, self.count, DPO_BUFFER_SPANS)?,
        })
    }
}

impl Sequences {
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn get<'a>(self, memory: &Memory) -> (Targets<'a>, &'a [Span]) {
        // SAFETY: the caller's word, passed on for both.
        let (targets, spans) = unsafe { (memory.slice(self.targets), memory.slice(self.spans)) };
        (Targets::new(targets).with_ignore(self.ignore), spans)
    }
}
