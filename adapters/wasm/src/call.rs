//! What a call is about: one struct of pointers and numbers, which becomes slices.
//!
//! The JavaScript that fills it has checked that numbers are integers of 32 bits and that every
//! array is as long as the counts say. What the numbers mean (spans, targets, pairs, parameters) is
//! checked here, by the library.

use core::slice;

use dpo_kernel::gradient::Unscored;
use dpo_kernel::row::RowNorm;
use dpo_kernel::unpaired::AnswerLoss;
#[cfg(feature = "losses")]
use dpo_kernel::unpaired::{Label, UnpairedAnswer};
use dpo_kernel::{
    Element, Error, Layout, LogitsMut, Pair, PairLoss, Reference, SequenceLogProb, Span, Targets,
    Transform,
};

/// An option of a loss.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Choice {
    /// The value.
    pub value: f64,
    /// A [`Parameter`](dpo_kernel::error::Parameter) as a number.
    pub parameter: u32,
    /// Not read.
    pub padding: u32,
}

/// An answer whose label is not checked yet.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Answer {
    /// Index of the sequence.
    pub sequence: usize,
    /// 1 or 0.
    pub label: i32,
}

/// The arguments of every export, in the order in which `js/call.js` writes them. Pointers of what a
/// call does not have are NULL. Lengths: R rows, N sequences, P pairs or answers.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Call {
    /// Divides gradients.
    pub divisor: f64,
    /// Of the logits: 1 f32, 2 f16, 3 bf16.
    pub kind: u32,
    /// The logits, whose gradients take their place.
    pub logits: *mut u8,
    /// Their elements.
    pub logits_len: usize,
    /// R
    pub rows: usize,
    /// V
    pub vocab: usize,
    /// S
    pub stride: usize,
    /// Of the transform.
    pub scale: f32,
    /// Of the transform, if it has one.
    pub softcap: f32,
    /// 1: it has.
    pub has_softcap: u32,
    /// Of the transform.
    pub temperature: f32,
    /// 1: rows that are not scored and padding become 0.
    pub unscored: u32,
    /// R
    pub targets: *const u32,
    /// The target of rows that are not scored.
    pub ignore: u32,
    /// N
    pub spans: *const Span,
    /// N
    pub sequences: usize,
    /// N, to sort the spans in.
    pub order: *mut usize,
    /// R
    pub log_probs: *mut f32,
    /// R
    pub norms: *mut RowNorm,
    /// R
    pub coefficients: *mut f64,
    /// N
    pub policy: *mut SequenceLogProb,
    /// N
    pub d_log_probs: *mut f64,
    /// R, or NULL.
    pub token_weights: *const f32,
    /// P, or NULL.
    pub pairs: *const Pair,
    /// P, or NULL.
    pub answers: *const Answer,
    /// P
    pub count: usize,
    /// P, or NULL.
    pub weights: *const f32,
    /// P, or NULL.
    pub offsets: *const f32,
    /// N, or NULL.
    pub reference_sums: *const f64,
    /// N, or NULL.
    pub reference_sequences: *const SequenceLogProb,
    /// P
    pub pair_losses: *mut PairLoss,
    /// P
    pub answer_losses: *mut AnswerLoss,
    /// 2 P, for losses that sort.
    pub loss_order: *mut usize,
    /// UTF-8.
    pub name: *const u8,
    /// Its bytes.
    pub name_len: usize,
    /// Of the loss.
    pub options: *const Choice,
    /// How many.
    pub option_count: usize,
}

#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<Call>() == 152 && size_of::<Choice>() == 16, "see js/call.js");

/// The slices of a [`Call`].
#[derive(Debug)]
pub(crate) struct Views<'a> {
    pub(crate) call: Call,
    pub(crate) targets: &'a [u32],
    pub(crate) spans: &'a [Span],
    pub(crate) order: &'a mut [usize],
    pub(crate) log_probs: &'a mut [f32],
    pub(crate) norms: &'a mut [RowNorm],
    pub(crate) coefficients: &'a mut [f64],
    pub(crate) policy: &'a mut [SequenceLogProb],
    pub(crate) d_log_probs: &'a mut [f64],
    pub(crate) token_weights: Option<&'a [f32]>,
    pub(crate) pairs: &'a [Pair],
    pub(crate) weights: Option<&'a [f32]>,
    pub(crate) offsets: Option<&'a [f32]>,
    pub(crate) reference: Reference<'a>,
    pub(crate) pair_losses: &'a mut [PairLoss],
    #[cfg(feature = "losses")]
    pub(crate) answer_losses: &'a mut [AnswerLoss],
    pub(crate) loss_order: &'a mut [usize],
    pub(crate) name: &'a [u8],
    pub(crate) options: &'a [Choice],
    #[cfg(feature = "losses")]
    answers: &'a [Answer],
}

/// # Safety
/// NULL, or aligned and valid for so many elements, which nobody writes while the slice lives.
unsafe fn read<'a, T>(data: *const T, len: usize) -> Option<&'a [T]> {
    // SAFETY: the caller's word.
    if data.is_null() { None } else { Some(unsafe { slice::from_raw_parts(data, len) }) }
}

/// # Safety
/// NULL, or aligned and valid for so many initialised elements, which nobody else uses while the
/// slice lives.
unsafe fn write<'a, T>(data: *mut T, len: usize) -> &'a mut [T] {
    // SAFETY: the caller's word.
    if data.is_null() { &mut [] } else { unsafe { slice::from_raw_parts_mut(data, len) } }
}

impl<'a> Views<'a> {
    /// # Safety
    /// `call` is aligned and initialised; each of its pointers is NULL, or points to memory of its
    /// own, aligned for its elements, initialised, and of the length that [`Call`] says.
    pub(crate) unsafe fn new(call: *const Call) -> Self {
        // SAFETY: the caller's word, for the struct and all of its pointers. The types are numbers
        // and structs of numbers, of which all bits are values.
        unsafe {
            let call = call.read();
            let Call { rows, sequences, count, .. } = call;
            let sums = read(call.reference_sums, sequences).map(Reference::Sums);
            let scored = read(call.reference_sequences, sequences).map(Reference::Sequences);
            Self {
                call,
                targets: read(call.targets, rows).unwrap_or_default(),
                spans: read(call.spans, sequences).unwrap_or_default(),
                order: write(call.order, sequences),
                log_probs: write(call.log_probs, rows),
                norms: write(call.norms, rows),
                coefficients: write(call.coefficients, rows),
                policy: write(call.policy, sequences),
                d_log_probs: write(call.d_log_probs, sequences),
                token_weights: read(call.token_weights, rows),
                pairs: read(call.pairs, count).unwrap_or_default(),
                weights: read(call.weights, count),
                offsets: read(call.offsets, count),
                reference: sums.or(scored).unwrap_or(Reference::Free),
                pair_losses: write(call.pair_losses, count),
                #[cfg(feature = "losses")]
                answer_losses: write(call.answer_losses, count),
                loss_order: write(call.loss_order, count.saturating_mul(2)),
                name: read(call.name, call.name_len).unwrap_or_default(),
                options: read(call.options, call.option_count).unwrap_or_default(),
                #[cfg(feature = "losses")]
                answers: read(call.answers, count).unwrap_or_default(),
            }
        }
    }

    /// Its logits.
    ///
    /// # Safety
    /// They are of this type.
    pub(crate) unsafe fn logits<E: Element>(&self) -> Result<LogitsMut<'a, E>, Error> {
        let Call { rows, vocab, stride, scale, softcap, has_softcap, temperature, .. } = self.call;
        // SAFETY: that of `new`; of logits too all bits are values.
        let data = unsafe { write(self.call.logits.cast::<E>(), self.call.logits_len) };
        let softcap = (has_softcap != 0).then_some(softcap);
        let transform = Transform::new(scale, softcap, temperature)?;
        Ok(LogitsMut::with_stride(data, rows, vocab, stride)?.with_transform(transform))
    }

    /// The layout of targets and spans, in any order, with memory to sort in.
    pub(crate) fn layout<'b>(
        call: &Call,
        targets: &'b [u32],
        spans: &'b [Span],
        order: &'b mut [usize],
    ) -> Result<Layout<'b>, Error> {
        let targets = Targets::new(targets).with_ignore(call.ignore);
        Layout::in_any_order(targets, spans, call.vocab, order)
    }

    /// The answers, once every label is one.
    #[cfg(feature = "losses")]
    pub(crate) fn answers(&self) -> Result<&'a [UnpairedAnswer], Error> {
        for answer in self.answers {
            Label::try_from(answer.label)?;
        }
        // SAFETY: both structs are an index and 32 bits, `repr(C)`, and all of these are labels.
        Ok(unsafe { slice::from_raw_parts(self.answers.as_ptr().cast(), self.answers.len()) })
    }

    pub(crate) const fn unscored(&self) -> Unscored {
        if self.call.unscored == 0 { Unscored::Keep } else { Unscored::Zero }
    }
}
