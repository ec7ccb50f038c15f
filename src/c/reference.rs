//! Log-probs under the frozen reference, as pairs and unpaired answers bring them: two pointers, of
//! which one is set, or neither for losses without a reference.

use super::memory::{Buffers, Input, Memory};
use super::names::DPO_BUFFER_REFERENCE;
use super::status::Fault;
use super::token::dpo_sequence_log_prob;
use crate::Reference;

/// The buffer of a reference.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReferenceInput {
    Sums(Input<f64>),
    Sequences(Input<dpo_sequence_log_prob>),
    /// Neither pointer is set; `empty` if there are no sequences, so that there is nothing to point
    /// to.
    Missing {
        empty: bool,
    },
}

impl ReferenceInput {
    pub(super) fn add_to(
        buffers: &mut Buffers,
        sums: *const f64,
        of_sequences: *const dpo_sequence_log_prob,
        sequences: usize,
    ) -> Result<Self, Fault> {
        let subject = DPO_BUFFER_REFERENCE;
        match (sums.is_null(), of_sequences.is_null()) {
            (false, true) => Ok(Self::Sums(buffers.input(sums, sequences, subject)?)),
            (true, false) => {
                Ok(Self::Sequences(buffers.input(of_sequences, sequences, subject)?))
            }
            (true, true) => Ok(Self::Missing { empty: sequences == 0 }),
            (false, false) => Err(Fault::unused(subject)),
        }
    }

    /// The reference. NULL is that of no sequences, for a loss that needs one.
    ///
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn get<'a>(self, memory: &Memory, is_needed: bool) -> Reference<'a> {
        match self {
            // SAFETY: passed on.
            Self::Sums(sums) => Reference::Sums(unsafe { memory.slice(sums) }),
            // SAFETY: passed on.
            Self::Sequences(found) => Reference::Sequences(unsafe { memory.slice(found) }),
            Self::Missing { empty: true } if is_needed => Reference::Sums(&[]),
            Self::Missing { .. } => Reference::Free,
        }
    }
}
