//! One answer: its label, and what a loss says of it.

use crate::Error;

/// What a rater said of an answer: 1 is good and 0 is bad, as data sets write it.
///
/// ```
/// use dpo_kernel::Error;
/// use dpo_kernel::unpaired::Label;
/// assert_eq!(Label::try_from(1_i64)?, Label::Desirable);
/// assert_eq!(Label::from(false), Label::Undesirable);
/// assert_eq!(Label::try_from(-1_i32), Err(Error::UnknownLabel { value: -1 }));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Label {
    /// Bad: treated as a rejected answer.
    Undesirable = 0,
    /// Good: treated as a chosen answer.
    Desirable = 1,
}

impl From<bool> for Label {
    /// `true` is desirable.
    fn from(is_desirable: bool) -> Self {
        if is_desirable { Self::Desirable } else { Self::Undesirable }
    }
}

impl TryFrom<i64> for Label {
    type Error = Error;

    /// 1 is desirable, 0 undesirable, and every other number [`Error::UnknownLabel`].
    fn try_from(value: i64) -> Result<Self, Error> {
        match value {
            0 => Ok(Self::Undesirable),
            1 => Ok(Self::Desirable),
            _ => Err(Error::UnknownLabel { value }),
        }
    }
}

impl TryFrom<i32> for Label {
    type Error = Error;

    /// 1 is desirable, 0 undesirable, and every other number [`Error::UnknownLabel`].
    fn try_from(value: i32) -> Result<Self, Error> {
        i64::from(value).try_into()
    }
}

/// A sequence with its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct UnpairedAnswer {
    /// Index of the sequence.
    pub sequence: usize,
    /// Its label.
    pub label: Label,
}

impl UnpairedAnswer {
    /// The sequence of this index, so labelled.
    #[must_use]
    pub const fn new(sequence: usize, label: Label) -> Self {
        Self { sequence, label }
    }
}

/// What a loss says of one unpaired answer. Nothing is divided by a batch size here. Of an answer
/// that is left out (weight 0) every figure is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct AnswerLoss {
    /// weight · ℓ
    pub loss: f64,
    /// Implicit reward `β·(log π − log π_ref)`.
    pub reward: f64,
    /// weight · `∂ℓ/∂log π`, not divided.
    pub d_log_prob: f64,
}

impl AnswerLoss {
    pub(super) const NAN: Self = Self { loss: f64::NAN, reward: f64::NAN, d_log_prob: f64::NAN };

    pub(super) fn is_finite(&self) -> bool {
        let Self { loss, reward, d_log_prob } = *self;
        [loss, reward, d_log_prob].into_iter().all(f64::is_finite)
    }
}
