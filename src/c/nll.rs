//! The likelihood of answers, beside any loss or alone, and XPO's term.

use super::argument::{growing, growing_argument};
use super::memory::{Buffers, Input, Memory};
use super::names::*;
use super::pairs::dpo_pair;
use super::report::report;
use super::status::{Fault, codes, dpo_error, dpo_status};
use super::token::dpo_sequence_log_prob;
use crate::Pair;
use crate::loss::{Nll, NllAnswers, NllBatch, NllPer, NllSummary, Xpo, nll_loss};

/// [`NllSummary`]
pub type dpo_nll_summary = NllSummary;

codes! {
    /// [`NllPer::Token`]
    DPO_NLL_PER_TOKEN = 0;
    /// [`NllPer::Sequence`]
    DPO_NLL_PER_SEQUENCE = 1;
    /// [`Nll`]
    DPO_NLL_TERM_NLL = 0;
    /// [`Xpo`]
    DPO_NLL_TERM_XPO = 1;
    /// [`NllAnswers::Chosen`]
    DPO_NLL_OF_CHOSEN = 0;
    /// [`NllAnswers::Sequences`]
    DPO_NLL_OF_ANSWERS = 1;
}

/// [`Nll`] or [`Xpo`], with its answers and their weights.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_nll {
    /// Of this struct, in bytes.
    pub size: usize,
    /// Factor on the term.
    pub weight: f64,
    /// Divides the gradients.
    pub divisor: f64,
    /// [`DPO_NLL_PER_TOKEN`] or [`DPO_NLL_PER_SEQUENCE`].
    pub per: i32,
    /// [`DPO_NLL_TERM_NLL`] or [`DPO_NLL_TERM_XPO`].
    pub term: i32,
    /// [`DPO_NLL_OF_CHOSEN`] or [`DPO_NLL_OF_ANSWERS`].
    pub of: i32,
    /// 0
    pub reserved: u32,
    /// The pairs whose chosen answers the term is of; NULL in a step, which has pairs.
    pub pairs: *const dpo_pair,
    /// The sequences that the term is of; NULL for chosen answers.
    pub answers: *const usize,
    /// How many pairs or answers.
    pub count: usize,
    /// A weight for each, or NULL.
    pub weights: *const f32,
}

growing!(dpo_nll, DPO_BUFFER_NLL => divisor .. weights;);

/// The buffers of a [`dpo_nll`], and its term.
#[derive(Debug)]
pub(super) struct NllInput {
    pub(super) term: Nll,
    answers: AnswersInput,
    weights: Option<Input<f32>>,
}

#[derive(Clone, Copy, Debug)]
enum AnswersInput {
    Chosen(Input<Pair>),
    Sequences(Input<usize>),
}

impl dpo_nll {
    fn term(&self) -> Result<Nll, Fault> {
        let per = match self.per {
            DPO_NLL_PER_TOKEN => NllPer::Token,
            DPO_NLL_PER_SEQUENCE => NllPer::Sequence,
            other => return Err(Fault::unknown(DPO_BUFFER_NLL, other)),
        };
        match (self.term, per) {
            (DPO_NLL_TERM_NLL, per) => Ok(Nll::new(self.weight, per, self.divisor)?),
            (DPO_NLL_TERM_XPO, NllPer::Token) => Ok(Xpo::new(self.weight, self.divisor)?.into()),
            (DPO_NLL_TERM_XPO, NllPer::Sequence) => Err(Fault::unused(DPO_BUFFER_NLL)),
            (other, _) => Err(Fault::unknown(DPO_BUFFER_NLL, other)),
        }
    }

    /// The term with the answers that it names by itself.
    pub(super) fn add_to(&self, buffers: &mut Buffers) -> Result<NllInput, Fault> {
        let (count, is_chosen) = (self.count, self.of == DPO_NLL_OF_CHOSEN);
        if !matches!(self.of, DPO_NLL_OF_CHOSEN | DPO_NLL_OF_ANSWERS) {
            return Err(Fault::unknown(DPO_BUFFER_NLL, self.of));
        }
        let is_unused = if is_chosen { !self.answers.is_null() } else { !self.pairs.is_null() };
        if is_unused || self.reserved != 0 {
            return Err(Fault::unused(DPO_BUFFER_NLL));
        }
        let (answers, weights) = if is_chosen {
            let pairs = buffers.input(self.pairs, count, DPO_BUFFER_PAIRS)?;
            (AnswersInput::Chosen(pairs), DPO_BUFFER_PAIR_WEIGHTS)
        } else {
            let answers = buffers.input(self.answers, count, DPO_BUFFER_NLL_ANSWERS)?;
            (AnswersInput::Sequences(answers), DPO_BUFFER_ANSWER_WEIGHTS)
        };
        let weights = buffers.optional_input(self.weights, count, weights)?;
        Ok(NllInput { term: self.term()?, answers, weights })
    }

    /// The same in a step, which has the pairs whose chosen answers may be meant.
    pub(super) fn add_to_step(
        &self,
        buffers: &mut Buffers,
        pairs: (*const dpo_pair, usize),
    ) -> Result<NllInput, Fault> {
        if self.of != DPO_NLL_OF_CHOSEN {
            return self.add_to(buffers);
        }
        if !self.pairs.is_null() || self.count != 0 {
            return Err(Fault::unused(DPO_BUFFER_NLL));
        }
        Self { pairs: pairs.0, count: pairs.1, ..*self }.add_to(buffers)
    }
}

impl NllInput {
    /// The answers and their weights.
    ///
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn get<'a>(&self, memory: &Memory) -> (NllAnswers<'a>, Option<&'a [f32]>) {
        // SAFETY: the caller's word, passed on for all.
        unsafe {
            let answers = match self.answers {
                AnswersInput::Chosen(pairs) => NllAnswers::Chosen(memory.slice(pairs)),
                AnswersInput::Sequences(found) => NllAnswers::Sequences(memory.slice(found)),
            };
            (answers, memory.optional(self.weights))
        }
    }
}

/// [`nll_loss`]
///
/// # Safety
/// That of [the module](super).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dpo_nll_loss(
    nll: *const dpo_nll,
    policy: *const dpo_sequence_log_prob,
    sequences: usize,
    d_nll: *mut f64,
    summary: *mut dpo_nll_summary,
    error: *mut dpo_error,
) -> dpo_status {
    let run = || {
        // SAFETY: the caller's word for the struct.
        let nll = unsafe { growing_argument(nll)? };
        let mut buffers = Buffers::new();
        let d_nll = buffers.output(d_nll, sequences, DPO_BUFFER_NLL_GRADS)?;
        let summary = buffers.output(summary, 1, DPO_BUFFER_OUT)?;
        let policy = buffers.input(policy, sequences, DPO_BUFFER_SEQUENCES)?;
        let nll = nll.add_to(&mut buffers)?;
        let memory = buffers.check()?;
        // SAFETY: the caller's word for every buffer of the call.
        let (batch, d_nll, summary) = unsafe {
            let ((answers, weights), policy) = (nll.get(&memory), memory.slice(policy));
            let batch = NllBatch { answers, policy, weights };
            (batch, memory.slice_mut(d_nll), memory.slice_mut(summary))
        };
        summary.fill(nll_loss(&nll.term, &batch, d_nll)?);
        Ok(())
    };
    // SAFETY: the caller's word for `error`.
    unsafe { report(run(), error) }
}
