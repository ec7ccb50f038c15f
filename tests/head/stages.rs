//! From hidden states to a loss and back, by stages, beside the step on logits that were written
//! out and a product in f64: every figure has the step's bits, hidden gradients are the product.

use dpo_kernel::gradient::{GradBatch, Unscored, token_coefficients};
use dpo_kernel::head::{HeadRow, HeadScratch, HiddenMut, head_forward, hidden_grads_in_place};
use dpo_kernel::loss::{Aot, BatchLoss, Ipo, Kto, Nll, NllPer, Orpo, SimPo};
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::{StepScratch, UnpairedStepBatch, unpaired_step};
use dpo_kernel::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, unpaired_loss,
};
use dpo_kernel::{
    Dispatch, Dpo, Element, Error, IGNORE_INDEX, Layout, LogitsMut, Pair, PairBatch, PairLoss,
    PairOut, Reference, SequenceLogProb, Span, StepBatch, TokenOut, bf16, f16, preference_loss,
    preference_step, sequence_log_probs,
};

use crate::case::Case;

const ROWS: usize = 14;
/// Not in their order, of different lengths; rows 0, 6 and 13 are in none.
const SPANS: [(usize, usize); 4] = [(7, 9), (1, 6), (12, 13), (9, 12)];
const PAIRS: [Pair; 2] = [Pair::new(0, 1), Pair::new(3, 2)];
const REFERENCE: [f64; 4] = [-17.0, -33.5, -6.5, -19.25];

/// Rows that are in no span or ignored are NaN.
fn case<E: Element, W: Element>() -> Case<E, W> {
    let mut case = Case::<E, W>::new(ROWS, 37, 600, 11).with_bias(4);
    for (row, target) in case.targets.iter_mut().enumerate() {
        *target = if row == 4 { IGNORE_INDEX } else { (row * 211 % 600) as u32 };
    }
    let fresh = Case::<E, W>::new(3 * ROWS, 37, 600, 12);
    for row in 0..ROWS {
        // Every third row of a case is scored, so that it has numbers.
        let from = &fresh.states[3 * row * fresh.stride..][..37];
        case.states[row * case.stride..][..37].copy_from_slice(from);
    }
    case.states[4 * case.stride..][..37].fill(E::from_f32(f32::NAN));
    case.with_spans(&SPANS).with_transform(0.5, Some(20.0), 0.75)
}

/// What the stages leave, for comparison by bits.
#[derive(Clone, Debug, PartialEq)]
struct Figures {
    log_probs: Vec<u32>,
    norms: Vec<RowNorm>,
    sequences: Vec<(u64, u64)>,
    losses: Vec<String>,
    d_log_probs: Vec<u64>,
    coefficients: Vec<u64>,
}

/// The buffers of a step.
struct Buffers<L> {
    log_probs: [f32; ROWS],
    norms: [RowNorm; ROWS],
    sequences: [SequenceLogProb; 4],
    losses: Vec<L>,
    d_log_probs: [f64; 4],
    d_nll: [f64; 4],
    coefficients: [f64; ROWS],
}

impl<L: Clone + Default + std::fmt::Debug> Buffers<L> {
    fn new(losses: usize) -> Self {
        Self {
            log_probs: [7.5; ROWS],
            norms: [RowNorm::default(); ROWS],
            sequences: [SequenceLogProb { sum: 7.5, count: 77 }; 4],
            losses: vec![L::default(); losses],
            d_log_probs: [7.5; 4],
            d_nll: [7.5; 4],
            coefficients: [7.5; ROWS],
        }
    }

    fn scratch(&mut self, with_nll: bool) -> StepScratch<'_, L> {
        let scratch = StepScratch::new(
            &mut self.log_probs,
            &mut self.norms,
            &mut self.sequences,
            &mut self.losses,
            &mut self.d_log_probs,
            &mut self.coefficients,
        );
        if with_nll { scratch.with_nll(&mut self.d_nll) } else { scratch }
    }

    fn figures(&self) -> Figures {
        Figures {
            log_probs: self.log_probs.iter().map(|x| x.to_bits()).collect(),
            norms: self.norms.to_vec(),
            sequences: self.sequences.iter().map(|s| (s.sum.to_bits(), s.count as u64)).collect(),
            losses: self.losses.iter().map(|loss| format!("{loss:?}")).collect(),
            d_log_probs: self.d_log_probs.iter().map(|d| d.to_bits()).collect(),
            coefficients: self.coefficients.iter().map(|c| c.to_bits()).collect(),
        }
    }
}

/// The way around: a forward of the head, a loss (which fills what is between), the way back.
fn through_the_head<E: Element, W: Element, L: Clone + Default + std::fmt::Debug>(
    case: &Case<E, W>,
    dispatch: Dispatch,
    layout: &Layout<'_>,
    token_weights: Option<&[f32]>,
    mut buffers: Buffers<L>,
    loss: impl FnOnce(&mut Buffers<L>) -> bool,
) -> (Figures, Vec<f32>) {
    let head = case.head();
    let mut grads = vec![f32::NAN; ROWS * case.size];
    let mut rows = [HeadRow::NEW; 5];
    let mut numbers = vec![f32::NAN; HeadScratch::numbers::<E, _>(&head, 5)];
    let out = TokenOut::new(&mut buffers.log_probs).with_norms(&mut buffers.norms);
    let sums = HiddenMut::new(&mut grads, ROWS, case.size).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    head_forward(dispatch, case.hidden(), &head, layout, out, sums, scratch).unwrap();
    let to = &mut buffers.sequences;
    sequence_log_probs(&buffers.log_probs, layout, token_weights, to).unwrap();
    let has_nll = loss(&mut buffers);
    let d_nll = has_nll.then_some(&buffers.d_nll[..]);
    let to = &mut buffers.coefficients;
    token_coefficients(layout, &buffers.d_log_probs, token_weights, d_nll, to).unwrap();
    let batch = GradBatch::new(layout, &buffers.norms, &buffers.coefficients);
    let batch = batch.with_unscored(Unscored::Zero);
    let sums = HiddenMut::new(&mut grads, ROWS, case.size).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    hidden_grads_in_place(dispatch, case.hidden(), &head, &batch, sums, scratch).unwrap();
    (buffers.figures(), grads)
}

/// Gradients of logits, by the head's weights in f64, beside those of hidden states.
fn are_the_product<E: Element, W: Element>(case: &Case<E, W>, d_logits: &[f32], found: &[f32]) {
    let mut nonzero = 0;
    for row in 0..ROWS {
        for h in 0..case.size {
            let (mut due, mut size) = (0.0_f64, 0.0_f64);
            if case.is_scored(row) {
                for column in 0..case.vocab {
                    let weight = case.weights[column * case.stride + h].to_f32();
                    let term = f64::from(d_logits[row * case.vocab + column]) * f64::from(weight);
                    due += term;
                    size += term.abs();
                }
            }
            let found = f64::from(found[row * case.size + h]);
            let bound = 24.0 * size / f64::from(1 << 24);
            assert!((found - due).abs() <= bound, "row {row}, {h}: {found}, not {due} of {size}");
            nonzero += usize::from(found != 0.0);
        }
    }
    assert!(nonzero > 8 * case.size, "the control");
}

/// Runs both ways for a loss of pairs, with everything that a step can be given, or nothing.
fn pairs<E: Element, W: Element, L: BatchLoss>(name: &str, mut loss: impl FnMut() -> L) {
    let case = case::<E, W>();
    let spans = SPANS.map(|(start, end)| Span::new(start, end));
    let mut order = [0; 4];
    let layout = Layout::in_any_order(&case.targets, &spans, case.vocab, &mut order).unwrap();
    let token_weights: Vec<f32> = (0..ROWS).map(|row| [1.0, 0.5, 0.0, -0.25][row % 4]).collect();
    let nll = Nll::new(0.5, NllPer::Token, 9.0).unwrap();
    // AOT sorts its pairs, so that they have one weight.
    let pair_weights = if name == "aot" { [1.0; 2] } else { [0.5, 1.25] };
    let inputs = loss().inputs(None);
    let offsets: &[f32] = if inputs.offsets { &[0.25, -0.5] } else { &[] };
    let reference = if inputs.reference { Reference::Sums(&REFERENCE) } else { Reference::Free };
    for is_full in [false, true] {
        let weights = is_full.then_some(&token_weights[..]);
        let mut batch =
            StepBatch::new(&layout, &PAIRS, reference, 2.0).with_unscored(Unscored::Zero);
        if is_full {
            batch = batch.with_weights(&pair_weights);
            batch.offsets = Some(offsets).filter(|offsets| !offsets.is_empty());
            batch = batch.with_token_weights(&token_weights).with_nll_on(nll, &[0, 3]);
        }
        for dispatch in Dispatch::available() {
            let mut logits = case.written_out(dispatch.arithmetic());
            let view = LogitsMut::new(&mut logits, ROWS, case.vocab).unwrap();
            let mut due = Buffers::<PairLoss>::new(2);
            let scratch = due.scratch(is_full);
            let view = view.with_transform(case.transform);
            preference_step(dispatch, loss(), view, &batch, scratch).unwrap();
            let d_nll = due.d_nll;
            let (found, grads) = through_the_head(
                &case,
                dispatch,
                &layout,
                weights,
                Buffers::<PairLoss>::new(2),
                |buffers| {
                    let mut batch = PairBatch::new(&PAIRS, &buffers.sequences, reference, 2.0);
                    if is_full {
                        batch = batch.with_weights(&pair_weights);
                        batch.offsets = Some(offsets).filter(|offsets| !offsets.is_empty());
                    }
                    let out = PairOut::new(&mut buffers.losses, &mut buffers.d_log_probs);
                    preference_loss(loss(), &batch, out).unwrap();
                    buffers.d_nll = d_nll;
                    is_full
                },
            );
            assert_eq!(found, due.figures(), "{name} {dispatch:?} {is_full}");
            are_the_product(&case, &logits, &grads);
        }
    }
}

#[test]
fn losses_of_pairs_are_those_of_the_step() {
    let (dpo, smooth) = (Dpo::new(0.1).unwrap(), Dpo::new(0.3).unwrap());
    let smooth = smooth.with_label_smoothing(0.2).unwrap();
    let (simpo, orpo) = (SimPo::new(2.0, 0.5).unwrap(), Orpo::new(0.1).unwrap());
    let (ipo, aot) = (Ipo::new(0.1).unwrap(), Aot::paired(0.1).unwrap());
    pairs::<f32, f32, _>("dpo", || &dpo);
    pairs::<bf16, bf16, _>("dpo of soft labels", || &smooth);
    pairs::<f16, f32, _>("simpo", || &simpo);
    pairs::<f32, bf16, _>("ipo", || &ipo);
    pairs::<f32, f32, _>("orpo", || &orpo);
    pairs::<f32, f16, _>("aot", || aot.over(vec![0; 4].leak()));
}

#[test]
fn losses_of_answers_are_those_of_the_step() {
    let case = case::<bf16, f32>();
    let spans = SPANS.map(|(start, end)| Span::new(start, end));
    let mut order = [0; 4];
    let layout = Layout::in_any_order(&case.targets, &spans, case.vocab, &mut order).unwrap();
    let label = |sequence| if sequence == 2 { Label::Undesirable } else { Label::Desirable };
    let answers: [UnpairedAnswer; 4] =
        core::array::from_fn(|sequence| UnpairedAnswer { sequence, label: label(sequence) });
    let kto = Kto::new(0.1, 0.05).unwrap();
    let reference = Reference::Sums(&REFERENCE);
    for dispatch in Dispatch::available() {
        let batch = UnpairedStepBatch::new(&layout, &answers, reference, 4.0);
        let mut logits = case.written_out(dispatch.arithmetic());
        let view = LogitsMut::new(&mut logits, ROWS, case.vocab).unwrap();
        let view = view.with_transform(case.transform);
        let mut due = Buffers::<AnswerLoss>::new(4);
        unpaired_step(dispatch, &kto, view, &batch, due.scratch(false)).unwrap();
        let buffers = Buffers::<AnswerLoss>::new(4);
        let (found, grads) = through_the_head(&case, dispatch, &layout, None, buffers, |buffers| {
            let batch = UnpairedBatch::new(&answers, &buffers.sequences, reference, 4.0);
            let out = UnpairedOut::new(&mut buffers.losses, &mut buffers.d_log_probs);
            unpaired_loss(&kto, &batch, out).unwrap();
            false
        });
        assert_eq!(found, due.figures(), "{dispatch:?}");
        are_the_product(&case, &logits, &grads);
    }
}

/// A row that is broken and on which nothing depends stops nobody: its gradient is 0 in its place.
#[test]
fn broken_rows_of_weight_0_are_left_out() {
    let mut case = case::<f32, f32>();
    case.states[8 * case.stride + 5] = f32::INFINITY;
    let spans = SPANS.map(|(start, end)| Span::new(start, end));
    let mut order = [0; 4];
    let layout = Layout::in_any_order(&case.targets, &spans, case.vocab, &mut order).unwrap();
    let (head, dispatch) = (case.head(), Dispatch::detect());
    let mut rows = [HeadRow::NEW; 6];
    let mut numbers = vec![f32::NAN; HeadScratch::numbers::<f32, _>(&head, 6)];
    let mut grads = vec![f32::NAN; ROWS * case.size];
    let (mut log_probs, mut norms) = ([7.5; ROWS], [RowNorm::default(); ROWS]);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    let sums = HiddenMut::new(&mut grads, ROWS, case.size).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let found = head_forward(dispatch, case.hidden(), &head, &layout, out, sums, scratch);
    assert_eq!(found.map(|_| ()), Err(Error::NonFiniteRows { first: 8, count: 1 }));
    let mut coefficients = [0.5; ROWS];
    for (c, is_refused) in [(0.5, true), (0.0, false)] {
        coefficients[8] = c;
        let before: Vec<u32> = grads.iter().map(|d| d.to_bits()).collect();
        let batch = GradBatch::new(&layout, &norms, &coefficients);
        let sums = HiddenMut::new(&mut grads, ROWS, case.size).unwrap();
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        let found = hidden_grads_in_place(dispatch, case.hidden(), &head, &batch, sums, scratch);
        if is_refused {
            assert!(matches!(found, Err(Error::InvalidValue { index: 8, .. })), "{found:?}");
            let after: Vec<u32> = grads.iter().map(|d| d.to_bits()).collect();
            assert_eq!(before, after, "nothing was written");
        } else {
            assert_eq!(found, Ok(()));
            let of = |row: usize| &grads[row * case.size..][..case.size];
            assert!(of(8).iter().all(|&d| d.to_bits() == 0), "{:?}", of(8));
            assert!(of(7).iter().all(|d| d.is_finite() && *d != 0.0), "the neighbour");
        }
    }
}
