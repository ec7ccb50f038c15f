//! Log-probs under the frozen reference, or the statement that there are none.

use crate::error::{Buffer, check_length};
use crate::{Error, SequenceLogProb};

/// Log-probs of the sequences under the frozen reference, from the same weights with the adapter
/// off or stored earlier. There is no default: a forgotten reference is not a reference of zeros.
///
/// At step 0 the loss is exactly ln 2 if the reference was computed in the policy's
/// [`Arithmetic`](crate::Arithmetic): choose it explicitly if the two are computed on different
/// machines.
#[derive(Clone, Copy, Debug)]
pub enum Reference<'a> {
    /// As [`sequence_log_probs`](crate::sequence_log_probs) made them, from fresh or stored
    /// per-token log-probs. The token counts of sequences that a pair or answer names are checked
    /// against the policy's; those of the others are not read.
    Sequences(&'a [SequenceLogProb]),
    /// Stored sums, one a sequence.
    Sums(&'a [f64]),
    /// None, for a loss that has none in its formula. Any other loss refuses it, and such a loss
    /// refuses any other reference.
    Free,
}

impl Reference<'_> {
    pub(crate) fn sum(&self, sequence: usize) -> f64 {
        match self {
            Self::Sequences(x) => x.get(sequence).map_or(f64::NAN, |s| s.sum),
            Self::Sums(x) => x.get(sequence).copied().unwrap_or(f64::NAN),
            Self::Free => f64::NAN,
        }
    }

    /// Here where the loss reads one, absent where it does not.
    pub(crate) fn check_use(&self, is_read: bool) -> Result<(), Error> {
        match (self, is_read) {
            (Self::Free, true) => Err(Error::ReferenceMissing),
            (Self::Sequences(_) | Self::Sums(_), false) => {
                Err(Error::InputUnused { buffer: Buffer::Reference })
            }
            _ => Ok(()),
        }
    }

    /// One entry a sequence.
    pub(crate) fn check_length(&self, sequences: usize) -> Result<(), Error> {
        match self {
            Self::Free => Ok(()),
            Self::Sums(sums) => check_length(Buffer::Reference, sequences, sums.len()),
            Self::Sequences(found) => check_length(Buffer::Reference, sequences, found.len()),
        }
    }

    /// A sequence that a loss reads: it has a token, and as many under the reference.
    pub(crate) fn check_tokens(&self, sequence: usize, policy: usize) -> Result<(), Error> {
        if policy == 0 {
            return Err(Error::NoScoredTokens { sequence });
        }
        match self {
            Self::Sequences(found) => match found.get(sequence).map(|found| found.count) {
                Some(reference) if reference != policy => {
                    Err(Error::TokenCountMismatch { sequence, policy, reference })
                }
                _ => Ok(()),
            },
            Self::Sums(_) | Self::Free => Ok(()),
        }
    }

    /// One entry a sequence, all of them with the policy's token counts.
    pub(crate) fn check(&self, policy: impl ExactSizeIterator<Item = usize>) -> Result<(), Error> {
        self.check_length(policy.len())?;
        let Self::Sequences(found) = self else { return Ok(()) };
        for (sequence, (policy, found)) in policy.zip(*found).enumerate() {
            let reference = found.count;
            if policy != reference {
                return Err(Error::TokenCountMismatch { sequence, policy, reference });
            }
        }
        Ok(())
    }
}
