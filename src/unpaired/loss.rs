//! A loss of a batch of unpaired answers: one for all of them, or one for each.

use crate::Error;
use crate::error::{Buffer, check_length};
use crate::loss::UnpairedLoss;

/// Which loss each answer of a batch has.
///
/// Every `&impl UnpairedLoss` is one: the same for all answers.
pub trait UnpairedBatchLoss {
    /// The loss of an answer.
    type Loss: UnpairedLoss + ?Sized;

    /// Whether there is a loss for each of so many answers; checked before anything is written.
    ///
    /// # Errors
    /// [`Error::Length`] if there is not.
    fn check(&self, answers: usize) -> Result<(), Error>;

    /// The loss of the answer of this index; `None` past the last.
    #[must_use]
    fn of_answer(&self, answer: usize) -> Option<&Self::Loss>;
}

impl<L: UnpairedLoss + ?Sized> UnpairedBatchLoss for &L {
    type Loss = L;

    fn check(&self, _: usize) -> Result<(), Error> {
        Ok(())
    }

    fn of_answer(&self, _: usize) -> Option<&L> {
        Some(self)
    }
}

/// Another loss for each answer, in the answers' order, as [`PerPair`](crate::loss::PerPair) has
/// one for each pair: regression on rewards of their own, a K for each prompt.
///
/// # Example
/// ```
/// use dpo_kernel::loss::Kto;
/// use dpo_kernel::unpaired::*;
/// use dpo_kernel::{Reference, SequenceLogProb};
/// let policy = [-20.5, -20.5].map(|sum| SequenceLogProb { sum, count: 10 });
/// let answers = [0, 1].map(|sequence| UnpairedAnswer::new(sequence, Label::Desirable));
/// let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&[-21.0; 2]), 2.0);
/// let (mut losses, mut d_log_probs) = ([AnswerLoss::default(); 2], [0.0; 2]);
/// let out = UnpairedOut::new(&mut losses, &mut d_log_probs);
/// let each = [Kto::new(0.1, 0.2)?, Kto::new(0.1, 0.5)?];
/// unpaired_loss(PerAnswer::new(&each), &batch, out)?;
/// // The second answer's log-ratio is its K.
/// assert!(losses[0].loss < 0.5 && losses[1].loss == 0.5);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PerAnswer<'a, L> {
    losses: &'a [L],
}

impl<'a, L: UnpairedLoss> PerAnswer<'a, L> {
    /// One loss an answer, M of them.
    #[must_use]
    pub const fn new(losses: &'a [L]) -> Self {
        Self { losses }
    }
}

impl<L: UnpairedLoss> UnpairedBatchLoss for PerAnswer<'_, L> {
    type Loss = L;

    fn check(&self, answers: usize) -> Result<(), Error> {
        check_length(Buffer::AnswerLossKinds, answers, self.losses.len())
    }

    fn of_answer(&self, answer: usize) -> Option<&L> {
        self.losses.get(answer)
    }
}
