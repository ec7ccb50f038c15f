//! The step is its stages, for every loss of pairs and of the batch, with token weights and an NLL
//! term.

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::{GradBatch, logit_grads_in_place};
use dpo_kernel::loss::{Bco, LossName, Nll, NllBatch, NllPer, Objective, PreferenceLoss, nll_loss};
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::StepScratch;
use dpo_kernel::{
    Dispatch, Dpo, Error, Level, LogitsMut, Pair, PairBatch, PairLoss, PairOut, Reference,
    SequenceLogProb, StepBatch, TokenOut, preference_loss, preference_step, sequence_log_probs,
    token_log_probs,
};

use crate::around::{layout, spans};
use crate::catalog::{GOLDEN, build, loss};
use crate::common::coefficients::coefficients;

/// What a step needs of memory.
struct Scratch {
    logits: Vec<f32>,
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    sequences: Vec<SequenceLogProb>,
    d: Vec<f64>,
    losses: Vec<PairLoss>,
    d_nll: Vec<f64>,
    c: Vec<f64>,
}

impl Scratch {
    fn new() -> Self {
        Self {
            logits: (0..9 * 6).map(|i| (i * 7 % 13) as f32 * 0.4 - 2.0).collect(),
            log_probs: vec![f32::NAN; 9],
            norms: vec![RowNorm::default(); 9],
            sequences: vec![SequenceLogProb::default(); 3],
            d: vec![f64::NAN; 3],
            losses: vec![PairLoss::default(); 2],
            d_nll: vec![f64::NAN; 3],
            c: vec![f64::NAN; 9],
        }
    }

    fn parts(&mut self) -> (LogitsMut<'_, f32>, StepScratch<'_>) {
        let Self { logits, log_probs, norms, sequences, d, losses, d_nll, c } = self;
        let scratch = StepScratch::new(log_probs, norms, sequences, losses, d, c);
        (LogitsMut::new(logits, 9, 6).unwrap(), scratch.with_nll(d_nll))
    }
}

/// The step is its stages, for every loss, for the whole-batch loss, with token weights and an NLL
/// term.
#[test]
fn a_step_is_its_stages() {
    let dispatch = Dispatch::new(Level::Baseline, dpo_kernel::Arithmetic::Portable).unwrap();
    let spans = spans();
    let layout = layout(&spans);
    let pairs = [Pair::new(0, 1), Pair::new(2, 0)];
    let sums = [-2.5, -3.0, -6.5];
    let weights = [1.0, 1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 0.25, 0.0];
    let term = Nll::new(0.5, NllPer::Token, 6.0).unwrap();
    for name in LossName::ALL {
        let objective = build(name, &GOLDEN).1;
        let is_free = matches!(objective, Objective::Pairs(loss) if !loss.inputs().reference);
        let reference = if is_free { Reference::Free } else { Reference::Sums(&sums) };
        let (mut one, mut order) = (Scratch::new(), [0; 4]);
        let step = StepBatch::new(&layout, &pairs, reference, 2.0)
            .with_token_weights(&weights)
            .with_nll(term);
        let (logits, scratch) = one.parts();
        let summary = match objective {
            Objective::Batch(aot) => {
                preference_step(dispatch, aot.over(&mut order), logits, &step, scratch)
            }
            Objective::Pairs(loss) => preference_step(dispatch, &loss, logits, &step, scratch),
            Objective::Groups(loss) => preference_step(dispatch, loss, logits, &step, scratch),
            // Not of pairs.
            _ => continue,
        };
        let summary = summary.unwrap();
        // Both sums, each over its own divisor.
        let total = summary.loss.loss_sum / 2.0 + summary.nll.loss_sum / 6.0;
        assert!((step.total_loss(&summary) - total).abs() <= 1e-15 * total.abs(), "{name:?}");

        let mut two = Scratch::new();
        let (mut logits, scratch) = two.parts();
        let out = TokenOut::new(scratch.log_probs).with_norms(scratch.norms);
        token_log_probs(dispatch, logits.as_logits(), &layout, out).unwrap();
        let mut plain = [SequenceLogProb::default(); 3];
        sequence_log_probs(scratch.log_probs, &layout, None, &mut plain).unwrap();
        let mut d_nll = [f64::NAN; 3];
        let nll = nll_loss(&term, &NllBatch::of_chosen(&pairs, &plain), &mut d_nll).unwrap();
        sequence_log_probs(scratch.log_probs, &layout, Some(&weights), scratch.sequences).unwrap();
        let batch = PairBatch::new(&pairs, scratch.sequences, reference, 2.0);
        let out = PairOut::new(scratch.losses, scratch.d_log_probs);
        let stages = match objective {
            Objective::Batch(aot) => preference_loss(aot.over(&mut order), &batch, out),
            Objective::Pairs(loss) => preference_loss(&loss, &batch, out),
            Objective::Groups(loss) => preference_loss(loss, &batch, out),
            _ => unreachable!("left out above"),
        };
        let d = scratch.d_log_probs;
        let c = coefficients(&layout, d, Some(&weights), Some(&d_nll)).unwrap();
        let grads = GradBatch::new(&layout, scratch.norms, &c);
        logit_grads_in_place(dispatch, logits.reborrow(), &grads).unwrap();
        assert_eq!(summary.loss, stages.unwrap(), "{name:?}");
        assert_eq!((summary.nll, &one.d_nll[..]), (nll, &d_nll[..]), "{name:?}");
        assert_eq!(
            (&one.d, &one.losses, &one.logits),
            (&two.d, &two.losses, &two.logits),
            "{name:?}"
        );
        assert!(one.logits.iter().all(|x| x.is_finite()), "{name:?}");
    }
}

/// What the loss and the batch disagree on is found before the step writes anything.
#[test]
fn a_step_refuses_before_it_writes() {
    let dispatch = Dispatch::detect();
    let spans = spans();
    let layout = layout(&spans);
    let pairs = [Pair::new(0, 1), Pair::new(2, 0)];
    let sums = [-2.5, -3.0, -6.5];
    let nll = Nll::new(1.0, NllPer::Token, 4.0).unwrap();
    let free = StepBatch::new(&layout, &pairs, Reference::Free, 2.0).with_nll(nll);
    let full = StepBatch::new(&layout, &pairs, Reference::Sums(&sums), 2.0).with_nll(nll);
    let (dpo, bco) = (Dpo::new(0.1).unwrap(), Bco::new(0.1).unwrap());
    let simpo = loss(LossName::SimPo, &GOLDEN);
    let offsets = [0.5_f32; 2];
    let run = |loss: &dyn PreferenceLoss, step: &StepBatch<'_>, short: bool| {
        let mut memory = Scratch::new();
        let before = memory.logits.clone();
        if short {
            memory.d_nll.pop();
        }
        let (logits, scratch) = memory.parts();
        let found = preference_step(dispatch, loss, logits, step, scratch).map(|_| ());
        let untouched = memory.logits == before && memory.log_probs.iter().all(|x| x.is_nan());
        assert_eq!(untouched, found.is_err(), "{found:?}");
        found
    };
    let unused = |buffer| Err(Error::InputUnused { buffer });
    assert_eq!(run(&dpo, &full, false), Ok(()));
    assert_eq!(run(&dpo, &free, false), Err(Error::ReferenceMissing));
    assert_eq!(run(&simpo, &full, false), unused(Buffer::Reference));
    assert_eq!(run(&simpo, &free, false), Ok(()));
    assert_eq!(run(&bco, &full.with_offsets(&offsets), false), unused(Buffer::PairOffsets));
    let buffer = Buffer::NllGrads;
    assert_eq!(run(&dpo, &full, true), Err(Error::Length { buffer, expected: 3, found: 2 }));
}

/// A coefficient beyond f32 is found when the scratch is written, and before the logits are.
#[test]
fn a_step_refuses_coefficients_beyond_f32_before_the_logits_change() {
    let spans = spans();
    let layout = layout(&spans);
    let pairs = [Pair::new(0, 1), Pair::new(2, 0)];
    let sums = [-2.5, -3.0, -6.5];
    let step = StepBatch::new(&layout, &pairs, Reference::Sums(&sums), 1e-300);
    let mut memory = Scratch::new();
    let before = memory.logits.clone();
    let (logits, scratch) = memory.parts();
    let dpo = Dpo::new(0.1).unwrap();
    let error = preference_step(Dispatch::detect(), &dpo, logits, &step, scratch).unwrap_err();
    let value = memory.d[0];
    assert!(value.is_finite() && value.abs() > f64::from(f32::MAX), "{value}");
    assert_eq!(error, Error::InvalidValue { buffer: Buffer::TokenCoefficients, index: 0, value });
    assert_eq!(memory.logits, before);
}

/// A pair of weight 0 is not there, nor is its chosen answer in the NLL term, which has the pairs'
/// weights.
#[test]
fn a_step_leaves_pairs_of_weight_0_out() {
    let dispatch = Dispatch::detect();
    let spans = spans();
    let layout = layout(&spans);
    let term = Nll::new(0.5, NllPer::Token, 4.0).unwrap();
    let dpo = Dpo::new(0.1).unwrap();
    let run = |pairs: &[Pair], weights: &[f32], reference: &[f64; 3]| {
        let mut memory = Scratch::new();
        memory.losses.resize(pairs.len(), PairLoss { loss: 7.5, ..PairLoss::default() });
        let step = StepBatch::new(&layout, pairs, Reference::Sums(reference), 2.0).with_nll(term);
        let (logits, scratch) = memory.parts();
        let found =
            preference_step(dispatch, &dpo, logits, &step.with_weights(weights), scratch).unwrap();
        (found, memory)
    };
    let (first, alone) = run(&[Pair::new(0, 1)], &[0.25], &[-2.5, -3.0, -6.5]);
    let pairs = [Pair::new(2, usize::MAX), Pair::new(0, 1), Pair::new(2, 2)];
    let (summary, found) = run(&pairs, &[0.0, 0.25, 0.0], &[-2.5, -3.0, f64::NAN]);
    assert_eq!((summary.pairs, summary.left_out, summary.tokens.masked_tokens), (1, 2, 0));
    assert_eq!((summary.nll.sequences, summary.nll.tokens, summary.nll.left_out), (1, 2, 2));
    assert_eq!(summary.nll.loss_sum, first.nll.loss_sum);
    assert_eq!((&found.logits, &found.d, &found.d_nll), (&alone.logits, &alone.d, &alone.d_nll));
    let none = PairLoss::default();
    assert_eq!(found.losses, [none, alone.losses[0], none]);
    // The control: the weight is in the term.
    let (of_whole, whole) = run(&[Pair::new(0, 1)], &[1.0], &[-2.5, -3.0, -6.5]);
    assert_eq!(of_whole.nll.loss_sum, 4.0 * first.nll.loss_sum);
    assert_ne!(whole.logits, alone.logits);
}
