//! The steps, all stages in one call.

use std::fmt::Debug;

use dpo_kernel::c::*;
use dpo_kernel::gradient::{GradElement, Unscored};
use dpo_kernel::loss::{BatchLoss, NllSummary};
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::{StepScratch, StepSummary, UnpairedStepBatch, unpaired_step};
use dpo_kernel::unpaired::{PerAnswer, UnpairedBatchLoss, UnpairedSummary};
use dpo_kernel::{
    Dispatch, Element, Layout, PairLoss, SequenceLogProb, StepBatch, Summary, TokenSummary,
    preference_step,
};

use super::batches::{AnswersMemory, NllMemory, OwnNll, OwnPairs, PairsMemory, one_loss};
use super::losses::{ObjectiveMemory, WithObjective};
use super::memory::{Due, Memory, Ranges, Written, says_size};
use super::report::{refusal, report_of, unknown, unused};
use super::same::Same;
use super::structs::{LayoutMemory, dispatch_of, unscored_of, view, view_mut};
use super::views::{OwnViews, ViewMemory, Views, for_views};

/// The structs of a step.
struct Structs {
    step: dpo_step,
    views: Views,
    nll: Option<dpo_nll>,
    layout: dpo_layout,
}

impl Structs {
    fn of(step: *const dpo_step) -> Due<Self> {
        let step = says_size(step)?;
        let is_apart = !step.logits.is_null() || !step.grads.is_null();
        let views = if !step.in_place.is_null() && is_apart {
            return Err(unused(DPO_BUFFER_STEP));
        } else if !step.in_place.is_null() {
            Views::InPlace(says_size(step.in_place)?)
        } else {
            let logits = says_size(step.logits)?;
            if step.grads.is_null() {
                return Err(refusal(DPO_ERROR_NULL, DPO_BUFFER_GRADS, [0, 0]));
            }
            Views::Apart(logits, says_size(step.grads)?)
        };
        let nll = if step.nll.is_null() { None } else { Some(says_size(step.nll)?) };
        Ok(Self { step, views, nll, layout: says_size(step.layout)? })
    }
}

/// The buffers of a step.
struct StepMemory {
    layout: LayoutMemory,
    log_probs: Memory<f32>,
    norms: Memory<RowNorm>,
    sequences: Memory<SequenceLogProb>,
    d_log_probs: Memory<f64>,
    coefficients: Memory<f64>,
    token_weights: Option<Memory<f32>>,
    tokens: Option<Memory<TokenSummary>>,
    nll: Option<(NllMemory, Memory<f64>, Option<Memory<NllSummary>>)>,
    unscored: Unscored,
}

/// What they hold.
#[derive(Default)]
struct Scratch<L> {
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    sequences: Vec<SequenceLogProb>,
    losses: Vec<L>,
    d_log_probs: Vec<f64>,
    d_nll: Vec<f64>,
    coefficients: Vec<f64>,
}

impl StepMemory {
    fn of(of: &Structs, pairs: Option<&dpo_pairs>, ranges: &mut Ranges) -> Due<Self> {
        let Structs { step, layout, nll, .. } = of;
        let has_nll_memory = !step.d_nll.is_null() || !step.nll_summary.is_null();
        if (nll.is_none() && has_nll_memory) || (nll.is_some() && pairs.is_none()) {
            return Err(unused(DPO_BUFFER_NLL));
        }
        if step.reserved != 0 {
            return Err(unused(DPO_BUFFER_STEP));
        }
        let (rows, n) = (layout.rows, layout.count);
        Ok(Self {
            layout: LayoutMemory::of(layout, ranges)?,
            log_probs: ranges.write(step.log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?,
            norms: ranges.write(step.norms, rows, DPO_BUFFER_ROW_NORMS)?,
            sequences: ranges.write(step.sequences, n, DPO_BUFFER_SEQUENCES)?,
            d_log_probs: ranges.write(step.d_log_probs, n, DPO_BUFFER_SEQUENCE_GRADS)?,
            coefficients: ranges.write(step.coefficients, rows, DPO_BUFFER_TOKEN_COEFFICIENTS)?,
            token_weights: ranges.read_if(step.token_weights, rows, DPO_BUFFER_TOKEN_WEIGHTS)?,
            tokens: ranges.write_if(step.tokens, 1, DPO_BUFFER_OUT)?,
            nll: match (nll, pairs) {
                (Some(nll), Some(pairs)) => Some((
                    NllMemory::of_step(nll, pairs, ranges)?,
                    ranges.write(step.d_nll, n, DPO_BUFFER_NLL_GRADS)?,
                    ranges.write_if(step.nll_summary, 1, DPO_BUFFER_OUT)?,
                )),
                _ => None,
            },
            unscored: unscored_of(step.unscored, DPO_BUFFER_STEP)?,
        })
    }

    fn get<L: Copy>(&self, losses: &Memory<L>) -> Scratch<L> {
        Scratch {
            log_probs: self.log_probs.get(),
            norms: self.norms.get(),
            sequences: self.sequences.get(),
            losses: losses.get(),
            d_log_probs: self.d_log_probs.get(),
            d_nll: self.nll.as_ref().map_or(Vec::new(), |(_, d_nll, _)| d_nll.get()),
            coefficients: self.coefficients.get(),
        }
    }

    fn becomes<L: Same + Copy + Debug + 'static>(
        &self,
        losses: &Memory<L>,
        due: Scratch<L>,
        w: &mut Vec<Written>,
    ) {
        w.push(self.log_probs.becomes("log-probs", due.log_probs));
        w.push(self.norms.becomes("norms", due.norms));
        w.push(self.sequences.becomes("sequences", due.sequences));
        w.push(losses.becomes("losses", due.losses));
        w.push(self.d_log_probs.becomes("∂L/∂log π", due.d_log_probs));
        w.push(self.coefficients.becomes("coefficients", due.coefficients));
        w.extend(self.nll.as_ref().map(|(_, d, _)| d.becomes("∂NLL/∂log p", due.d_nll)));
    }

    fn report(&self, tokens: TokenSummary, nll: NllSummary, w: &mut Vec<Written>) {
        w.extend(self.tokens.map(|to| to.becomes("tokens", vec![tokens])));
        let to = self.nll.as_ref().and_then(|(_, _, summary)| *summary);
        w.extend(to.map(|to| to.becomes("NLL summary", vec![nll])));
    }
}

impl<L> Scratch<L> {
    fn scratch(&mut self) -> StepScratch<'_, L> {
        StepScratch::new(
            &mut self.log_probs,
            &mut self.norms,
            &mut self.sequences,
            &mut self.losses,
            &mut self.d_log_probs,
            &mut self.coefficients,
        )
        .with_nll(&mut self.d_nll)
    }
}

struct StepRun<'a, E, O> {
    dispatch: Dispatch,
    views: &'a Views,
    own: &'a mut OwnViews<E, O>,
    layout: &'a Layout<'a>,
    pairs: &'a OwnPairs,
    token_weights: Option<&'a [f32]>,
    nll: Option<&'a OwnNll>,
    unscored: Unscored,
    scratch: StepScratch<'a, PairLoss>,
}

impl<E: Element, O: Element + GradElement<E>> WithObjective for StepRun<'_, E, O> {
    type Out = Due<StepSummary<Summary>>;

    fn with<L: BatchLoss>(self, objective: L) -> Self::Out {
        let of = self.pairs.batch(&objective, &[]);
        let mut batch = StepBatch::new(self.layout, of.pairs, of.reference, of.divisor)
            .with_unscored(self.unscored);
        (batch.weights, batch.offsets) = (of.weights, of.offsets);
        batch.token_weights = self.token_weights;
        if let Some(nll) = self.nll {
            batch = match &nll.answers {
                Ok(_) => batch.with_nll(nll.term),
                Err(answers) => batch.with_nll_on(nll.term, answers),
            };
            batch.nll_weights = nll.weights.as_deref();
        }
        let (dispatch, scratch) = (self.dispatch, self.scratch);
        match self.views {
            Views::InPlace(of) => {
                let logits = view_mut(of, &mut self.own.logits)?;
                preference_step(dispatch, objective, logits, &batch, scratch)
            }
            Views::Apart(of, to) => {
                let logits = (view(of, &self.own.logits)?, view_mut(to, &mut self.own.grads)?);
                preference_step(dispatch, objective, logits, &batch, scratch)
            }
        }
        .map_err(report_of)
    }
}

pub fn preference_step_of(
    dispatch: dpo_dispatch,
    objective: *const dpo_objective,
    pairs: *const dpo_pairs,
    step: *const dpo_step,
    (losses, summary): (*mut dpo_pair_loss, *mut dpo_summary),
    w: &mut Vec<Written>,
) -> Due<()> {
    let (objective, of_pairs) = (says_size(objective)?, says_size(pairs)?);
    let of = Structs::of(step)?;
    let dispatch = dispatch_of(dispatch)?;
    let views = &of.views;
    for_views!(views, E, O => {
        let mut ranges = Ranges::default();
        let logits = ViewMemory::<E, O>::of(views, &mut ranges)?;
        let losses = ranges.write(losses, of_pairs.count, DPO_BUFFER_PAIR_LOSSES)?;
        let summary = ranges.write(summary, 1, DPO_BUFFER_OUT)?;
        let step = StepMemory::of(&of, Some(&of_pairs), &mut ranges)?;
        let objective = ObjectiveMemory::of(&objective, &mut ranges)?;
        let pairs = PairsMemory::of(&of_pairs, of.layout.count, &mut ranges)?;
        ranges.are_apart()?;
        let mut own = logits.get();
        own.check(views)?;
        let (mut objective, pairs) = (objective.get(w)?, pairs.get());
        let mut layout = step.layout.get(w);
        let layout = layout.layout()?;
        let (mut scratch, nll) = (step.get(&losses), step.nll.as_ref().map(|nll| nll.0.get()));
        let token_weights = step.token_weights.map(|x| x.get());
        let result = objective.with(StepRun {
            dispatch,
            views,
            own: &mut own,
            layout: &layout,
            pairs: &pairs,
            token_weights: token_weights.as_deref(),
            nll: nll.as_ref(),
            unscored: step.unscored,
            scratch: scratch.scratch(),
        });
        step.becomes(&losses, scratch, w);
        logits.becomes(own, w);
        let found = result?;
        w.push(summary.becomes("summary", vec![found.loss]));
        step.report(found.tokens, found.nll, w);
        Ok(())
    })
}

pub fn unpaired_step_of(
    dispatch: dpo_dispatch,
    (loss, answers): (*const dpo_loss, *const dpo_unpaired_batch),
    step: *const dpo_step,
    (losses, summary): (*mut dpo_answer_loss, *mut dpo_unpaired_summary),
    w: &mut Vec<Written>,
) -> Due<()> {
    let of_answers = says_size(answers)?;
    let of = Structs::of(step)?;
    let one = one_loss(&of_answers, loss)?;
    let dispatch = dispatch_of(dispatch)?;
    let views = &of.views;
    for_views!(views, E, O => {
        let mut ranges = Ranges::default();
        let logits = ViewMemory::<E, O>::of(views, &mut ranges)?;
        let losses = ranges.write(losses, of_answers.count, DPO_BUFFER_ANSWER_LOSSES)?;
        let summary = ranges.write(summary, 1, DPO_BUFFER_OUT)?;
        let step = StepMemory::of(&of, None, &mut ranges)?;
        let answers = AnswersMemory::of(&of_answers, of.layout.count, &mut ranges)?;
        ranges.are_apart()?;
        let answers = answers.get(one)?;
        let mut own = logits.get();
        own.check(views)?;
        let mut layout = step.layout.get(w);
        let layout = layout.layout()?;
        let token_weights = step.token_weights.map(|x| x.get());
        let reference = answers.reference.reference(true);
        let mut batch =
            UnpairedStepBatch::new(&layout, &answers.answers, reference, answers.divisor)
                .with_unscored(step.unscored);
        batch.weights = answers.weights.as_deref();
        batch.token_weights = token_weights.as_deref();
        let mut scratch = step.get(&losses);
        let result = match &answers.losses {
            Ok(one) => of_answers_step(dispatch, one.loss(), (views, &mut own), &batch, &mut scratch),
            Err(each) => {
                let each = PerAnswer::new(each);
                of_answers_step(dispatch, each, (views, &mut own), &batch, &mut scratch)
            }
        };
        step.becomes(&losses, scratch, w);
        logits.becomes(own, w);
        let found = result?;
        w.push(summary.becomes("summary", vec![found.loss]));
        step.report(found.tokens, found.nll, w);
        Ok(())
    })
}

fn of_answers_step<L: UnpairedBatchLoss, E: Element, O: Element + GradElement<E>>(
    dispatch: Dispatch,
    loss: L,
    (views, own): (&Views, &mut OwnViews<E, O>),
    batch: &UnpairedStepBatch<'_>,
    scratch: &mut Scratch<dpo_answer_loss>,
) -> Due<StepSummary<UnpairedSummary>> {
    let scratch = scratch.scratch();
    match views {
        Views::InPlace(of) => {
            unpaired_step(dispatch, loss, view_mut(of, &mut own.logits)?, batch, scratch)
        }
        Views::Apart(of, to) => {
            let logits = (view(of, &own.logits)?, view_mut(to, &mut own.grads)?);
            unpaired_step(dispatch, loss, logits, batch, scratch)
        }
    }
    .map_err(report_of)
}
