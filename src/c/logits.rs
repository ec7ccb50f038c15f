//! Logits and gradients: element types, shapes, and what turns an element into a logit.

use core::ffi::c_void;

use super::argument::growing;
use super::memory::{Buffers, Input, Output, Plain, plain};
use super::names::{DPO_BUFFER_LOGITS, DPO_BUFFER_TYPE};
use super::status::{Fault, codes};
use crate::{Element, Error, Logits, LogitsMut, Transform, bf16, f16};

codes! {
    /// `float`
    DPO_TYPE_F32 = 1;
    /// IEEE-754 binary16 in `uint16_t`.
    DPO_TYPE_F16 = 2;
    /// bfloat16 in `uint16_t`.
    DPO_TYPE_BF16 = 3;
}

/// [`Transform`]; zeroed, it is [`Transform::NONE`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_transform {
    /// Factor on the logits; 0 means 1.
    pub scale: f32,
    /// Bound of the softcap; 0 means none.
    pub softcap: f32,
    /// Divisor after the softcap; 0 means 1.
    pub temperature: f32,
}

/// [`Logits`]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_logits {
    /// Of this struct, in bytes.
    pub size: usize,
    /// Elements of the type.
    pub data: *const c_void,
    /// How many `data` holds.
    pub len: usize,
    /// R
    pub rows: usize,
    /// V
    pub vocab: usize,
    /// Elements from one row to the next; 0 means V.
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
    pub size: usize,
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

plain!(dpo_transform);

growing! {
    dpo_logits, DPO_BUFFER_LOGITS => r#type .. transform;
    dpo_logits_mut, DPO_BUFFER_LOGITS => r#type .. transform;
}

impl dpo_transform {
    pub(super) fn check(self) -> Result<Transform, Error> {
        // 0 stands for none of each; NaN and negative numbers go on to be refused.
        let given = |value: f32| if value == 0.0 { None } else { Some(value) };
        let [scale, temperature] = [self.scale, self.temperature].map(|x| given(x).unwrap_or(1.0));
        Transform::new(scale, given(self.softcap), temperature)
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
            $crate::c::logits::Type::F32 => {
                type $element = f32;
                $body
            }
            $crate::c::logits::Type::F16 => {
                type $element = $crate::f16;
                $body
            }
            $crate::c::logits::Type::Bf16 => {
                type $element = $crate::bf16;
                $body
            }
        }
    };
}
pub(super) use for_type;

/// Elements that the ABI knows.
pub(super) trait Stored: Element + Plain + 'static {}
impl Stored for f32 {}
impl Stored for f16 {}
impl Stored for bf16 {}

impl dpo_logits {
    pub(super) fn add_to<E: Stored>(&self, buffers: &mut Buffers) -> Result<Input<E>, Fault> {
        buffers.input(self.data.cast(), self.len, DPO_BUFFER_LOGITS)
    }

    pub(super) fn view<'a, E: Stored>(&self, data: &'a [E]) -> Result<Logits<'a, E>, Error> {
        let view =
            Logits::with_stride(data, self.rows, self.vocab, stride(self.vocab, self.stride))?;
        Ok(view.with_transform(self.transform.check()?))
    }
}

impl dpo_logits_mut {
    pub(super) fn add_to<E: Stored>(
        &self,
        buffers: &mut Buffers,
        subject: i32,
    ) -> Result<Output<E>, Fault> {
        buffers.output(self.data.cast(), self.len, subject)
    }

    pub(super) fn view<'a, E: Stored>(&self, data: &'a mut [E]) -> Result<LogitsMut<'a, E>, Error> {
        let view =
            LogitsMut::with_stride(data, self.rows, self.vocab, stride(self.vocab, self.stride))?;
        Ok(view.with_transform(self.transform.check()?))
    }
}

/// The stride that is meant.
const fn stride(vocab: usize, stride: usize) -> usize {
    if stride == 0 { vocab } else { stride }
}
