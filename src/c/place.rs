//! Where the logits of a step are, and where their gradients go: over the logits, or in another
//! buffer.

use super::argument::growing_argument;
use super::logits::{Type, dpo_logits, dpo_logits_mut};
use super::memory::{Buffers, Input, Memory, Output};
use super::names::*;
use super::status::{DPO_ERROR_NULL, Fault};
use crate::error::NonFinite;
use crate::executor::Executor;
use crate::gradient::GradBatch;
use crate::step::{Sealed, StepLogits};
use crate::{Error, Layout, Logits, LogitsMut, TokenOut, TokenSummary, bf16, f16};

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

/// The views of a step, of the element types that a backward takes. One type, so that a step is
/// compiled once and not for each of them.
macro_rules! views {
    (in place: $($in_place:ident $e:ident)*; apart: $($apart:ident $from:ident $to:ident)*;) => {
        /// The structs of the views, and their buffers.
        pub(super) enum ViewBuffers {
            $($in_place(dpo_logits_mut, Output<$e>),)*
            $($apart(dpo_logits, dpo_logits_mut, Input<$from>, Output<$to>),)*
        }

        /// The views.
        pub(super) enum AnyViews<'a> {
            $($in_place(LogitsMut<'a, $e>),)*
            $($apart((Logits<'a, $from>, LogitsMut<'a, $to>)),)*
        }

        impl ViewBuffers {
            /// # Safety
            /// As [`Memory::slice`].
            pub(super) unsafe fn get<'a>(self, memory: &Memory) -> Result<AnyViews<'a>, Error> {
                // SAFETY: passed on for every buffer.
                Ok(unsafe {
                    match self {
                        $(Self::$in_place(of, data) => {
                            AnyViews::$in_place(of.view(memory.slice_mut(data))?)
                        })*
                        $(Self::$apart(of, to, logits, grads) => {
                            let logits = of.view(memory.slice(logits))?;
                            AnyViews::$apart((logits, to.view(memory.slice_mut(grads))?))
                        })*
                    }
                })
            }
        }

        impl StepLogits for AnyViews<'_> {}

        impl Sealed for AnyViews<'_> {
            fn check<X: Executor>(
                &self,
                executor: X,
                layout: &Layout<'_>,
            ) -> Result<(), Error> {
                match self {
                    $(Self::$in_place(views) => views.check(executor, layout),)*
                    $(Self::$apart(views) => views.check(executor, layout),)*
                }
            }

            fn score<X: Executor>(
                &mut self,
                executor: X,
                layout: &Layout<'_>,
                out: TokenOut<'_>,
            ) -> (NonFinite, TokenSummary) {
                match self {
                    $(Self::$in_place(views) => views.score(executor, layout, out),)*
                    $(Self::$apart(views) => views.score(executor, layout, out),)*
                }
            }

            fn write_grads<X: Executor>(
                self,
                executor: X,
                batch: &GradBatch<'_>,
            ) -> Result<(), Error> {
                match self {
                    $(Self::$in_place(views) => views.write_grads(executor, batch),)*
                    $(Self::$apart(views) => views.write_grads(executor, batch),)*
                }
            }
        }
    };
}

views! {
    in place: F32 f32 F16 f16 Bf16 bf16;
    apart: F32Apart f32 f32 F16Apart f16 f16 F16Wider f16 f32 Bf16Apart bf16 bf16 Bf16Wider bf16 f32;
}

impl Views {
    pub(super) fn add_to(&self, buffers: &mut Buffers) -> Result<ViewBuffers, Fault> {
        let subject = DPO_BUFFER_LOGITS;
        Ok(match *self {
            Self::InPlace(of) => match Type::of(of.r#type)? {
                Type::F32 => ViewBuffers::F32(of, of.add_to(buffers, subject)?),
                Type::F16 => ViewBuffers::F16(of, of.add_to(buffers, subject)?),
                Type::Bf16 => ViewBuffers::Bf16(of, of.add_to(buffers, subject)?),
            },
            Self::Apart(of, to) => {
                let subject = DPO_BUFFER_GRADS;
                // Of a type that is inferred from the view that they are for.
                macro_rules! apart {
                    ($views:ident) => {
                        ViewBuffers::$views(
                            of,
                            to,
                            of.add_to(buffers)?,
                            to.add_to(buffers, subject)?,
                        )
                    };
                }
                match (Type::of(of.r#type)?, Type::of(to.r#type)?) {
                    (Type::F32, Type::F32) => apart!(F32Apart),
                    (Type::F16, Type::F16) => apart!(F16Apart),
                    (Type::F16, Type::F32) => apart!(F16Wider),
                    (Type::Bf16, Type::Bf16) => apart!(Bf16Apart),
                    (Type::Bf16, Type::F32) => apart!(Bf16Wider),
                    _ => return Err(Fault::unknown(DPO_BUFFER_TYPE, to.r#type)),
                }
            }
        })
    }
}
