//! Where the logits of a step are, and where their gradients go: over the logits, or in another
//! buffer.

use core::marker::PhantomData;

use super::argument::growing_argument;
use super::logits::{Stored, dpo_logits, dpo_logits_mut};
use super::memory::{Buffers, Input, Memory, Output};
use super::names::*;
use super::status::{DPO_ERROR_NULL, Fault};
use crate::step::StepLogits;
use crate::{Error, Logits, LogitsMut};

/// The views of a step, copied.
#[derive(Clone, Copy, Debug)]
pub(super) enum Views {
    InPlace(dpo_logits_mut),
    Apart(dpo_logits, dpo_logits_mut),
}

impl Views {
    /// Of three pointers, the first is set, or the two others.
    ///
    /// # Safety
    /// The caller of the ABI vouches for the structs.
    pub(super) unsafe fn copy(
        in_place: *const dpo_logits_mut,
        logits: *const dpo_logits,
        grads: *const dpo_logits_mut,
    ) -> Result<Self, Fault> {
        if in_place.is_null() {
            // SAFETY: passed on.
            let logits = unsafe { growing_argument(logits)? };
            if grads.is_null() {
                return Err(Fault::Call(DPO_ERROR_NULL, DPO_BUFFER_GRADS, [0, 0]));
            }
            // SAFETY: passed on.
            Ok(Self::Apart(logits, unsafe { growing_argument(grads)? }))
        } else if logits.is_null() && grads.is_null() {
            // SAFETY: passed on.
            Ok(Self::InPlace(unsafe { growing_argument(in_place)? }))
        } else {
            Err(Fault::unused(DPO_BUFFER_STEP))
        }
    }
}

/// Runs a body for the views of a step and their element types: `for_place!(views, place => body)`.
macro_rules! for_place {
    ($views:expr, $place:ident => $body:expr) => {
        match $views {
            $crate::c::place::Views::InPlace(logits) => {
                for_type!($crate::c::logits::Type::of(logits.r#type)?, E => {
                    let $place = $crate::c::place::InPlace::<E>::new(logits);
                    $body
                })
            }
            $crate::c::place::Views::Apart(logits, grads) => {
                for_types!(logits.r#type, grads.r#type, E, O => {
                    let $place = $crate::c::place::Apart::<E, O>::new(logits, grads);
                    $body
                })
            }
        }
    };
}
pub(super) use for_place;

/// Views of known element types.
pub(super) trait Place {
    /// Their buffers.
    type Buffers;
    /// What a step takes.
    type Views<'a>: StepLogits;

    fn add_to(&self, buffers: &mut Buffers) -> Result<Self::Buffers, Fault>;

    /// # Safety
    /// As [`Memory::slice`].
    unsafe fn get<'a>(
        &self,
        memory: &Memory,
        buffers: Self::Buffers,
    ) -> Result<Self::Views<'a>, Error>;
}

pub(super) struct InPlace<E>(dpo_logits_mut, PhantomData<E>);

impl<E> InPlace<E> {
    pub(super) const fn new(logits: dpo_logits_mut) -> Self {
        Self(logits, PhantomData)
    }
}

impl<E: Stored> Place for InPlace<E> {
    type Buffers = Output<E>;
    type Views<'a> = LogitsMut<'a, E>;

    fn add_to(&self, buffers: &mut Buffers) -> Result<Output<E>, Fault> {
        self.0.add_to(buffers, DPO_BUFFER_LOGITS)
    }

    unsafe fn get<'a>(&self, memory: &Memory, data: Output<E>) -> Result<LogitsMut<'a, E>, Error> {
        // SAFETY: passed on.
        self.0.view(unsafe { memory.slice_mut(data) })
    }
}

pub(super) struct Apart<E, O>(dpo_logits, dpo_logits_mut, PhantomData<(E, O)>);

impl<E, O> Apart<E, O> {
    pub(super) const fn new(logits: dpo_logits, grads: dpo_logits_mut) -> Self {
        Self(logits, grads, PhantomData)
    }
}

impl<E: Stored, O: Stored> Place for Apart<E, O> {
    type Buffers = (Input<E>, Output<O>);
    type Views<'a> = (Logits<'a, E>, LogitsMut<'a, O>);

    fn add_to(&self, buffers: &mut Buffers) -> Result<Self::Buffers, Fault> {
        Ok((self.0.add_to(buffers)?, self.1.add_to(buffers, DPO_BUFFER_GRADS)?))
    }

    unsafe fn get<'a>(
        &self,
        memory: &Memory,
        (logits, grads): Self::Buffers,
    ) -> Result<Self::Views<'a>, Error> {
        // SAFETY: passed on for both.
        let (logits, grads) = unsafe { (memory.slice(logits), memory.slice_mut(grads)) };
        Ok((self.0.view(logits)?, self.1.view(grads)?))
    }
}
