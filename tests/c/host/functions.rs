//! What a function does with the buffers of a host, and the forms that functions have.

use std::ptr;

use dpo_kernel::c::*;

use super::slots::{PAIRS, SEQUENCES, Slot, Slot as S};
pub use super::table::FUNCTIONS;
use super::{Structs, zeroed};
use crate::abi::{Call, HeadCall, Out, Policy};

/// What a function does with a buffer; `If`: it may be NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Read(Slot),
    ReadIf(Slot),
    Write(Slot),
    WriteIf(Slot),
}

use Use::{Read as R, ReadIf as RI, Write as W, WriteIf as WI};

impl Use {
    pub fn slot(self) -> Slot {
        let (R(slot) | RI(slot) | W(slot) | WI(slot)) = self;
        slot
    }

    pub fn is_written(self) -> bool {
        matches!(self, W(_) | WI(_))
    }

    pub fn is_optional(self) -> bool {
        matches!(self, RI(_) | WI(_))
    }
}

/// A function of the ABI, in one form.
pub struct Function {
    /// As in the header, with a word on the form.
    pub name: &'static str,
    pub uses: &'static [Use],
    /// Prepares the structs for the form.
    pub form: fn(&mut Structs),
    pub call: fn(&Structs) -> Call,
}

pub(super) fn policy(s: &Structs) -> Policy {
    Policy { sums: s.at(S::Sequences), sequences: SEQUENCES }
}

pub(super) fn preference_loss(s: &Structs) -> Call {
    let (losses, d_log_probs) = (s.at(S::PairLosses), s.at(S::D));
    let out = Out { losses, d_log_probs, summary: s.at(S::Summary) };
    Call::PreferenceLoss(&raw const s.objective, &raw const s.pairs, policy(s), out)
}

pub(super) fn unpaired_loss(s: &Structs) -> Call {
    let (losses, d_log_probs) = (s.at(S::AnswerLosses), s.at(S::D));
    let out = Out { losses, d_log_probs, summary: s.at(S::UnpairedSummary) };
    Call::UnpairedLoss(one_loss(s), &raw const s.answers, policy(s), out)
}

fn one_loss(s: &Structs) -> *const dpo_loss {
    if s.answers.losses.is_null() { &raw const s.answer_loss } else { ptr::null() }
}

pub(super) fn nll_loss(s: &Structs) -> Call {
    Call::NllLoss(&raw const s.nll, policy(s), s.at(S::DNll), s.at(S::NllSummary))
}

pub(super) fn preference_step(s: &Structs) -> Call {
    let (objective, pairs, step) = (&raw const s.objective, &raw const s.pairs, &raw const s.step);
    let out = (s.at(S::PairLosses), s.at(S::Summary));
    Call::PreferenceStep(s.dispatch, objective, pairs, step, out)
}

pub(super) fn unpaired_step(s: &Structs) -> Call {
    let out = (s.at(S::AnswerLosses), s.at(S::UnpairedSummary));
    let answers = &raw const s.answers;
    Call::UnpairedStep(s.dispatch, one_loss(s), answers, &raw const s.step, out)
}

pub(super) fn head_call(s: &Structs) -> HeadCall {
    let (states, head) = (&raw const s.states, &raw const s.head);
    HeadCall { states, head, layout: &raw const s.layout, scratch: &raw const s.scratch }
}

/// With the scratch of a head that is trained.
pub(super) fn trained_call(s: &Structs) -> HeadCall {
    HeadCall { scratch: &raw const s.trained_scratch, ..head_call(s) }
}

pub(super) fn head_grads(s: &Structs) -> Call {
    let (grads, d_hidden, d_head) = (&raw const s.grads, &raw const s.sums, &raw const s.d_head);
    Call::HeadGrads(s.dispatch, trained_call(s), grads, d_hidden, d_head)
}

/// Gradients of the bias alone.
pub(super) fn of_bias(s: &mut Structs) {
    let dpo_head_mut { size, bias, .. } = s.d_head;
    s.d_head = dpo_head_mut { size, bias, ..zeroed() };
}

pub(super) fn apart(s: &mut Structs) {
    s.step.in_place = ptr::null();
    s.step.logits = &raw const s.logits;
    s.step.grads = &raw const s.grads_to;
}

/// With a term, on answers of its own.
pub(super) fn with_nll(s: &mut Structs) {
    s.step.nll = &raw const s.nll;
    s.step.d_nll = s.at(S::DNll);
    s.step.nll_summary = s.at(S::NllSummary);
}

pub(super) fn nll_of_pairs(s: &mut Structs) {
    s.nll.of = DPO_NLL_OF_CHOSEN;
    s.nll.answers = ptr::null();
    s.nll.pairs = s.at(S::Pairs);
    s.nll.weights = s.at(S::PairWeights);
}

pub(super) fn sorted(s: &mut Structs) {
    s.objective.losses = s.at(S::SortedLoss);
    s.objective.order = s.at(S::PairOrder);
    s.objective.order_len = 2 * PAIRS;
    s.pairs.weights = ptr::null();
    s.pairs.offsets = ptr::null();
}

pub(super) fn mixture(s: &mut Structs) {
    s.objective.kind = DPO_OBJECTIVE_MIXTURE;
    s.objective.losses = s.at(S::Losses);
    s.objective.count = PAIRS;
    s.objective.term_weights = s.at(S::TermWeights);
}

pub(super) fn by_sequences(s: &mut Structs) {
    s.pairs.reference_sums = ptr::null();
    s.pairs.reference_sequences = s.at(S::Reference);
    s.answers.reference_sums = ptr::null();
    s.answers.reference_sequences = s.at(S::Reference);
}

pub(super) fn one_each(s: &mut Structs) {
    s.answers.losses = s.at(S::AnswerLossKinds);
}

pub(super) fn nothing(_: &mut Structs) {}

pub(super) const fn function(
    name: &'static str,
    uses: &'static [Use],
    form: fn(&mut Structs),
    call: fn(&Structs) -> Call,
) -> Function {
    Function { name, uses, form, call }
}
