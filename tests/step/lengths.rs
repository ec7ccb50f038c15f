//! Each buffer of a step one too short and one too long: refused with its name and both lengths, and
//! nothing is written, whichever buffer it is.

use dpo_kernel::error::Buffer;
use dpo_kernel::loss::{Kto, Nll, NllPer};
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::{StepScratch, UnpairedStepBatch, unpaired_step};
use dpo_kernel::unpaired::{AnswerLoss, Label, UnpairedAnswer};
use dpo_kernel::{
    Dispatch, Dpo, Error, PairLoss, Reference, SequenceLogProb, StepBatch, Workspace,
    preference_step,
};

use crate::case::{PAIRS, REFERENCE, ROWS, bits, layout, logits, view};

const DIRTY: SequenceLogProb = SequenceLogProb { sum: 9.25, count: 77 };
const ANSWERS: [UnpairedAnswer; 3] = [
    UnpairedAnswer { sequence: 2, label: Label::Desirable },
    UnpairedAnswer { sequence: 0, label: Label::Undesirable },
    UnpairedAnswer { sequence: 3, label: Label::Desirable },
];

/// The buffers of a step over `L`, of these lengths.
struct Buffers<L> {
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    sequences: Vec<SequenceLogProb>,
    losses: Vec<L>,
    d_log_probs: Vec<f64>,
    coefficients: Vec<f64>,
    d_nll: Vec<f64>,
}

impl<L: Copy + PartialEq> Buffers<L> {
    fn new([r, norms, n, losses, d, c, d_nll]: [usize; 7], dirty: L) -> Self {
        Self {
            log_probs: vec![7.5; r],
            norms: vec![RowNorm::default(); norms],
            sequences: vec![DIRTY; n],
            losses: vec![dirty; losses],
            d_log_probs: vec![7.5; d],
            coefficients: vec![7.5; c],
            d_nll: vec![7.5; d_nll],
        }
    }

    fn scratch(&mut self) -> StepScratch<'_, L> {
        let Self { log_probs, norms, sequences, losses, d_log_probs, coefficients, d_nll } = self;
        StepScratch::new(log_probs, norms, sequences, losses, d_log_probs, coefficients)
            .with_nll(d_nll)
    }

    fn are_dirty(&self, dirty: L) -> bool {
        let Self { log_probs, norms, sequences, losses, d_log_probs, coefficients, d_nll } = self;
        log_probs.iter().all(|x| *x == 7.5)
            && norms.iter().all(|norm| *norm == RowNorm::default())
            && sequences.iter().all(|s| *s == DIRTY)
            && losses.iter().all(|l| *l == dirty)
            && d_log_probs.iter().chain(coefficients).chain(d_nll).all(|d| *d == 7.5)
    }
}

/// The lengths that fit, and those with one of them off by one, with the refusal of each.
fn lengths(losses: usize, of_losses: Buffer, with_nll: bool) -> Vec<([usize; 7], Option<Error>)> {
    let fit = [ROWS, ROWS, 4, losses, 4, ROWS, if with_nll { 4 } else { 0 }];
    let buffers = [
        Buffer::TokenLogProbs,
        Buffer::RowNorms,
        Buffer::Sequences,
        of_losses,
        Buffer::SequenceGrads,
        Buffer::TokenCoefficients,
        Buffer::NllGrads,
    ];
    let mut all = vec![(fit, None)];
    for (i, buffer) in buffers.into_iter().enumerate().take(if with_nll { 7 } else { 6 }) {
        for found in [fit[i] - 1, fit[i] + 1] {
            let mut wrong = fit;
            wrong[i] = found;
            all.push((wrong, Some(Error::Length { buffer, expected: fit[i], found })));
        }
    }
    all
}

#[test]
fn of_pairs() {
    let (layout, dpo) = (layout(), Dpo::new(0.1).unwrap());
    let plain = StepBatch::new(&layout, &PAIRS, Reference::Sums(&REFERENCE), 2.0);
    let nll = plain.with_nll(Nll::new(1.0, NllPer::Token, 2.0).unwrap());
    let dirty = PairLoss { loss: 3.5, ..PairLoss::default() };
    for (batch, with_nll) in [(plain, false), (nll, true)] {
        for (lengths, error) in lengths(2, Buffer::PairLosses, with_nll) {
            let mut buffers = Buffers::new(lengths, dirty);
            let mut here = logits::<f32>();
            let scratch = buffers.scratch();
            let found = preference_step(Dispatch::detect(), &dpo, view(&mut here), &batch, scratch);
            assert_eq!(found.err(), error);
            assert_eq!(bits(&here) == bits(&logits::<f32>()), error.is_some(), "{error:?}");
            assert_eq!(buffers.are_dirty(dirty), error.is_some(), "{error:?}");
        }
    }
}

#[test]
fn of_answers() {
    let (layout, kto) = (layout(), Kto::new(0.1, 0.25).unwrap());
    let batch = UnpairedStepBatch::new(&layout, &ANSWERS, Reference::Sums(&REFERENCE), 3.0);
    let dirty = AnswerLoss { loss: 3.5, ..AnswerLoss::default() };
    for (lengths, error) in lengths(3, Buffer::AnswerLosses, false) {
        let mut buffers = Buffers::new(lengths, dirty);
        let mut here = logits::<f32>();
        let scratch = buffers.scratch();
        let found = unpaired_step(Dispatch::detect(), &kto, view(&mut here), &batch, scratch);
        assert_eq!(found.err(), error);
        assert_eq!(bits(&here) == bits(&logits::<f32>()), error.is_some(), "{error:?}");
        assert_eq!(buffers.are_dirty(dirty), error.is_some(), "{error:?}");
    }
}

/// A workspace shows the losses of its last step alone, of pairs and of answers in turn, and after
/// a step that was refused.
#[test]
fn a_workspace_shows_its_last_step() {
    let (layout, dispatch) = (layout(), Dispatch::detect());
    let (dpo, kto) = (Dpo::new(0.1).unwrap(), Kto::new(0.1, 0.25).unwrap());
    let pairs = StepBatch::new(&layout, &PAIRS, Reference::Sums(&REFERENCE), 2.0);
    let answers = UnpairedStepBatch::new(&layout, &ANSWERS, Reference::Sums(&REFERENCE), 3.0);
    let mut workspace = Workspace::new();
    for _ in 0..2 {
        workspace.unpaired_step(dispatch, &kto, view(&mut logits::<f32>()), &answers).unwrap();
        assert_eq!((workspace.pair_losses().len(), workspace.answer_losses().len()), (0, 3));
        assert!(workspace.answer_losses().iter().all(|l| l.loss > 0.0));
        workspace.preference_step(dispatch, &dpo, view(&mut logits::<f32>()), &pairs).unwrap();
        assert_eq!((workspace.pair_losses().len(), workspace.answer_losses().len()), (2, 0));
        assert!(workspace.pair_losses().iter().all(|l| l.loss > 0.0));
    }
    // Fewer pairs than before, and rows of another layout.
    let fewer = StepBatch::new(&layout, &PAIRS[1..], Reference::Sums(&REFERENCE), 1.0);
    workspace.preference_step(dispatch, &dpo, view(&mut logits::<f32>()), &fewer).unwrap();
    assert_eq!(workspace.pair_losses().len(), 1);
    assert_eq!((workspace.log_probs().len(), workspace.sequences().len()), (ROWS, 4));
}
