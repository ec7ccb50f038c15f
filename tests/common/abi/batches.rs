//! Losses of batches: of pairs, of answers without a partner, and likelihood terms.

use dpo_kernel::c::*;
use dpo_kernel::loss::{BatchLoss, Nll, NllBatch, NllPer, Xpo, nll_loss};
use dpo_kernel::unpaired::{
    Label, PerAnswer, UnpairedAnswer, UnpairedBatch, UnpairedOut, unpaired_loss,
};
use dpo_kernel::{
    Error, Pair, PairBatch, PairLoss, PairOut, SequenceLogProb, Summary, preference_loss,
};

use super::losses::{ObjectiveMemory, OwnUnpaired, WithObjective, answers_loss};
use super::memory::{Due, Memory, Ranges, Written, plain, says_size};
use super::report::{refusal, report_of, unknown, unused};
use super::structs::{OwnReference, ReferenceMemory};
use super::{Out, Policy};

/// The buffers of pairs.
pub struct PairsMemory {
    pairs: Memory<Pair>,
    reference: ReferenceMemory,
    weights: Option<Memory<f32>>,
    offsets: Option<Memory<f32>>,
    divisor: f64,
}

pub struct OwnPairs {
    pairs: Vec<Pair>,
    reference: OwnReference,
    weights: Option<Vec<f32>>,
    offsets: Option<Vec<f32>>,
    divisor: f64,
}

impl PairsMemory {
    pub fn of(of: &dpo_pairs, sequences: usize, ranges: &mut Ranges) -> Due<Self> {
        let pairs = ranges.read(of.pairs, of.count, DPO_BUFFER_PAIRS)?;
        let (sums, found) = (of.reference_sums, of.reference_sequences);
        let reference = ReferenceMemory::of(ranges, sums, found, sequences)?;
        let weights = ranges.read_if(of.weights, of.count, DPO_BUFFER_PAIR_WEIGHTS)?;
        let offsets = ranges.read_if(of.offsets, of.count, DPO_BUFFER_PAIR_OFFSETS)?;
        Ok(Self { pairs, reference, weights, offsets, divisor: of.divisor })
    }

    pub fn get(&self) -> OwnPairs {
        OwnPairs {
            pairs: self.pairs.get(),
            reference: self.reference.get(),
            weights: self.weights.map(|x| x.get()),
            offsets: self.offsets.map(|x| x.get()),
            divisor: self.divisor,
        }
    }
}

impl OwnPairs {
    pub fn batch<'a, L: BatchLoss>(
        &'a self,
        objective: &L,
        policy: &'a [SequenceLogProb],
    ) -> PairBatch<'a> {
        let weights = self.weights.as_deref();
        let reference = self.reference.reference(objective.inputs(weights).reference);
        let mut batch = PairBatch::new(&self.pairs, policy, reference, self.divisor);
        (batch.weights, batch.offsets) = (weights, self.offsets.as_deref());
        batch
    }
}

struct LossRun<'a> {
    pairs: &'a OwnPairs,
    policy: &'a [SequenceLogProb],
    losses: &'a mut [PairLoss],
    d_log_probs: &'a mut [f64],
}

impl WithObjective for LossRun<'_> {
    type Out = Result<Summary, Error>;

    fn with<L: BatchLoss>(self, objective: L) -> Self::Out {
        let batch = self.pairs.batch(&objective, self.policy);
        preference_loss(objective, &batch, PairOut::new(self.losses, self.d_log_probs))
    }
}

pub fn preference_loss_of(
    objective: *const dpo_objective,
    pairs: *const dpo_pairs,
    policy: Policy,
    out: Out<dpo_pair_loss, dpo_summary>,
    w: &mut Vec<Written>,
) -> Due<()> {
    let (objective, pairs) = (says_size(objective)?, says_size(pairs)?);
    let n = policy.sequences;
    let mut ranges = Ranges::default();
    let losses = ranges.write(out.losses, pairs.count, DPO_BUFFER_PAIR_LOSSES)?;
    let d = ranges.write(out.d_log_probs, n, DPO_BUFFER_SEQUENCE_GRADS)?;
    let summary = ranges.write(out.summary, 1, DPO_BUFFER_OUT)?;
    let policy = ranges.read(policy.sums, n, DPO_BUFFER_SEQUENCES)?;
    let objective = ObjectiveMemory::of(&objective, &mut ranges)?;
    let pairs = PairsMemory::of(&pairs, n, &mut ranges)?;
    ranges.are_apart()?;
    let mut objective = objective.get(w)?;
    let (pairs, policy) = (pairs.get(), policy.get());
    let (mut due_losses, mut due_d) = (losses.get(), d.get());
    let result = objective.with(LossRun {
        pairs: &pairs,
        policy: &policy,
        losses: &mut due_losses,
        d_log_probs: &mut due_d,
    });
    w.push(losses.becomes("losses", due_losses));
    w.push(d.becomes("∂L/∂log π", due_d));
    w.push(summary.becomes("summary", vec![result.map_err(report_of)?]));
    Ok(())
}

/// The buffers of answers without a partner.
pub struct AnswersMemory {
    answers: Memory<dpo_answer>,
    reference: ReferenceMemory,
    weights: Option<Memory<f32>>,
    losses: Option<Memory<dpo_loss>>,
    divisor: f64,
}

pub struct OwnAnswers {
    pub answers: Vec<UnpairedAnswer>,
    pub reference: OwnReference,
    pub weights: Option<Vec<f32>>,
    /// One for all, or one each.
    pub losses: Result<OwnUnpaired, Vec<OwnUnpaired>>,
    pub divisor: f64,
}

pub fn one_loss(of: &dpo_unpaired_batch, loss: *const dpo_loss) -> Due<Option<OwnUnpaired>> {
    match (of.losses.is_null(), loss.is_null()) {
        (true, _) => answers_loss(&plain(loss)?).map(Some),
        (false, true) => Ok(None),
        (false, false) => Err(unused(DPO_BUFFER_ANSWER_LOSS_KINDS)),
    }
}

impl AnswersMemory {
    pub fn of(of: &dpo_unpaired_batch, sequences: usize, ranges: &mut Ranges) -> Due<Self> {
        let answers = ranges.read(of.answers, of.count, DPO_BUFFER_UNPAIRED_ANSWERS)?;
        let (sums, found) = (of.reference_sums, of.reference_sequences);
        let reference = ReferenceMemory::of(ranges, sums, found, sequences)?;
        let weights = ranges.read_if(of.weights, of.count, DPO_BUFFER_ANSWER_WEIGHTS)?;
        let losses = ranges.read_if(of.losses, of.count, DPO_BUFFER_ANSWER_LOSS_KINDS)?;
        Ok(Self { answers, reference, weights, losses, divisor: of.divisor })
    }

    pub fn get(&self, one: Option<OwnUnpaired>) -> Due<OwnAnswers> {
        let label = |answer: dpo_answer| match answer.label {
            0 => Ok(UnpairedAnswer::new(answer.sequence, Label::Undesirable)),
            1 => Ok(UnpairedAnswer::new(answer.sequence, Label::Desirable)),
            other => {
                let value = f64::from(other);
                Err(dpo_error { value, ..refusal(DPO_ERROR_UNKNOWN_LABEL, 0, [0, 0]) })
            }
        };
        let answers = self.answers.get().into_iter().map(label).collect::<Due<_>>()?;
        let losses = if let Some(one) = one {
            Ok(one)
        } else {
            let each = self.losses.map_or(Vec::new(), |losses| losses.get());
            Err(each.iter().map(answers_loss).collect::<Due<_>>()?)
        };
        let (reference, weights) = (self.reference.get(), self.weights.map(|x| x.get()));
        Ok(OwnAnswers { answers, reference, weights, losses, divisor: self.divisor })
    }
}

pub fn unpaired_loss_of(
    loss: *const dpo_loss,
    answers: *const dpo_unpaired_batch,
    policy: Policy,
    out: Out<dpo_answer_loss, dpo_unpaired_summary>,
    w: &mut Vec<Written>,
) -> Due<()> {
    let answers = says_size(answers)?;
    let one = one_loss(&answers, loss)?;
    let n = policy.sequences;
    let mut ranges = Ranges::default();
    let losses = ranges.write(out.losses, answers.count, DPO_BUFFER_ANSWER_LOSSES)?;
    let d = ranges.write(out.d_log_probs, n, DPO_BUFFER_SEQUENCE_GRADS)?;
    let summary = ranges.write(out.summary, 1, DPO_BUFFER_OUT)?;
    let policy = ranges.read(policy.sums, n, DPO_BUFFER_SEQUENCES)?;
    let answers = AnswersMemory::of(&answers, n, &mut ranges)?;
    ranges.are_apart()?;
    let (of, policy) = (answers.get(one)?, policy.get());
    let reference = of.reference.reference(true);
    let mut batch = UnpairedBatch::new(&of.answers, &policy, reference, of.divisor);
    batch.weights = of.weights.as_deref();
    let (mut due_losses, mut due_d) = (losses.get(), d.get());
    let to = UnpairedOut::new(&mut due_losses, &mut due_d);
    let result = match &of.losses {
        Ok(one) => unpaired_loss(one.loss(), &batch, to),
        Err(each) => unpaired_loss(PerAnswer::new(each), &batch, to),
    };
    w.push(losses.becomes("losses", due_losses));
    w.push(d.becomes("∂L/∂log π", due_d));
    w.push(summary.becomes("summary", vec![result.map_err(report_of)?]));
    Ok(())
}

/// The buffers of a likelihood term.
pub struct NllMemory {
    pub term: Nll,
    answers: Result<Memory<Pair>, Memory<usize>>,
    weights: Option<Memory<f32>>,
}

pub struct OwnNll {
    pub term: Nll,
    /// The chosen ones of pairs, or given ones.
    pub answers: Result<Vec<Pair>, Vec<usize>>,
    pub weights: Option<Vec<f32>>,
}

impl NllMemory {
    pub fn of(of: &dpo_nll, ranges: &mut Ranges) -> Due<Self> {
        let is_chosen = match of.of {
            0 => true,
            1 => false,
            other => return Err(unknown(DPO_BUFFER_NLL, other)),
        };
        let other = if is_chosen { of.answers.addr() } else { of.pairs.addr() };
        if other != 0 || of.reserved != 0 {
            return Err(unused(DPO_BUFFER_NLL));
        }
        let (answers, subject) = if is_chosen {
            (Ok(ranges.read(of.pairs, of.count, DPO_BUFFER_PAIRS)?), DPO_BUFFER_PAIR_WEIGHTS)
        } else {
            let answers = ranges.read(of.answers, of.count, DPO_BUFFER_NLL_ANSWERS)?;
            (Err(answers), DPO_BUFFER_ANSWER_WEIGHTS)
        };
        let weights = ranges.read_if(of.weights, of.count, subject)?;
        Ok(Self { term: term_of(of)?, answers, weights })
    }

    /// In a step, which has the pairs.
    pub fn of_step(of: &dpo_nll, pairs: &dpo_pairs, ranges: &mut Ranges) -> Due<Self> {
        if of.of != 0 {
            return Self::of(of, ranges);
        }
        if !of.pairs.is_null() || of.count != 0 {
            return Err(unused(DPO_BUFFER_NLL));
        }
        Self::of(&dpo_nll { pairs: pairs.pairs, count: pairs.count, ..*of }, ranges)
    }

    pub fn get(&self) -> OwnNll {
        let answers = match &self.answers {
            Ok(pairs) => Ok(pairs.get()),
            Err(answers) => Err(answers.get()),
        };
        OwnNll { term: self.term, answers, weights: self.weights.map(|x| x.get()) }
    }
}

fn term_of(of: &dpo_nll) -> Due<Nll> {
    let per = match of.per {
        0 => NllPer::Token,
        1 => NllPer::Sequence,
        other => return Err(unknown(DPO_BUFFER_NLL, other)),
    };
    match of.term {
        0 => Nll::new(of.weight, per, of.divisor).map_err(report_of),
        1 if per == NllPer::Sequence => Err(unused(DPO_BUFFER_NLL)),
        1 => Xpo::new(of.weight, of.divisor).map(Nll::from).map_err(report_of),
        other => Err(unknown(DPO_BUFFER_NLL, other)),
    }
}

pub fn nll_loss_of(
    nll: *const dpo_nll,
    policy: Policy,
    d: *mut f64,
    summary: *mut dpo_nll_summary,
    w: &mut Vec<Written>,
) -> Due<()> {
    let nll = says_size(nll)?;
    let mut ranges = Ranges::default();
    let d = ranges.write(d, policy.sequences, DPO_BUFFER_NLL_GRADS)?;
    let summary = ranges.write(summary, 1, DPO_BUFFER_OUT)?;
    let policy = ranges.read(policy.sums, policy.sequences, DPO_BUFFER_SEQUENCES)?;
    let nll = NllMemory::of(&nll, &mut ranges)?;
    ranges.are_apart()?;
    let (of, policy, mut due) = (nll.get(), policy.get(), d.get());
    let mut batch = match &of.answers {
        Ok(pairs) => NllBatch::of_chosen(pairs, &policy),
        Err(answers) => NllBatch::of_sequences(answers, &policy),
    };
    batch.weights = of.weights.as_deref();
    let result = nll_loss(&of.term, &batch, &mut due);
    w.push(d.becomes("∂NLL/∂log p", due));
    w.push(summary.becomes("summary", vec![result.map_err(report_of)?]));
    Ok(())
}
