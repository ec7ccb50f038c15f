//! A head in the place of a step's logits: the stages one by one, and the step on logits.

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::{Unscored, token_coefficients};
use dpo_kernel::head::{HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut};
use dpo_kernel::loss::Kto;
use dpo_kernel::step::{FrozenHead, ScoredHead, StepBatch, TrainedHead, UnpairedStepBatch};
use dpo_kernel::unpaired::{Label, UnpairedAnswer};
use dpo_kernel::{
    Dispatch, Dpo, Error, Executor, Layout, Logits, LogitsMut, Pair, PairBatch, PairLoss, PairOut,
    Parallel, Reference, Workspace, preference_loss,
};

use crate::case::{Case, DIRT, run};
use crate::forward::bits;

const ROWS: usize = 20;
const REFERENCE: [f64; 2] = [-70.0, -66.5];

fn case() -> Case<f32, f32> {
    Case::new(ROWS, 24, 700, 3).with_bias(4)
}

/// What a step gave.
#[derive(Debug, PartialEq)]
pub struct Stepped {
    pub loss: Result<u64, Error>,
    pub hidden: Vec<u32>,
    pub weights: Vec<u32>,
}

pub fn frozen<X: Executor>(executor: X, case: &Case<f32, f32>, at_once: usize) -> Stepped {
    let (head, layout) = (case.head(), case.layout());
    let mut hidden = vec![DIRT; case.rows * case.size];
    let mut rows = vec![HeadRow::NEW; at_once];
    let due = HeadScratch::numbers_over::<_, f32, _>(executor, &head, at_once);
    let mut numbers = vec![f32::NAN; due];
    let pairs = [Pair::new(0, 1)];
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&REFERENCE), 1.0);
    let grads = HiddenMut::new(&mut hidden, case.rows, case.size).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let step = FrozenHead::new(case.hidden(), &head, grads, scratch);
    let loss = Dpo::new(0.1).unwrap();
    let found = Workspace::new().preference_step(executor, &loss, step, &batch);
    let loss = found.map(|summary| summary.mean_loss().to_bits());
    Stepped { loss, hidden: bits(&hidden), weights: Vec::new() }
}

pub fn trained<X: Executor>(executor: X, case: &Case<f32, f32>, at_once: usize) -> Stepped {
    let (head, layout) = (case.head(), case.layout());
    let mut hidden = vec![DIRT; case.rows * case.size];
    let mut weights = vec![DIRT; case.vocab * case.size];
    let mut bias = vec![DIRT; case.vocab];
    let mut rows = vec![HeadRow::NEW; at_once];
    let grads = HeadGrads::of_weights(&mut weights, case.vocab, case.size).unwrap();
    let grads = grads.with_bias(&mut bias);
    let due = HeadScratch::numbers_trained::<_, f32, _, f32>(executor, &head, at_once, &grads);
    let mut numbers = vec![f32::NAN; due];
    let pairs = [Pair::new(0, 1)];
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&REFERENCE), 1.0);
    let view = HiddenMut::new(&mut hidden, case.rows, case.size).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let step = TrainedHead::new(case.hidden(), &head, view, grads, scratch);
    let loss = Dpo::new(0.1).unwrap();
    let found = Workspace::new().preference_step(executor, &loss, step, &batch);
    let loss = found.map(|summary| summary.mean_loss().to_bits());
    weights.extend(bias);
    Stepped { loss, hidden: bits(&hidden), weights: bits(&weights) }
}

/// The loss is the one of logits that were written out, to the bit; gradients are those of the
/// stages, with the coefficients of that loss.
#[test]
fn a_step_is_its_stages() {
    let case = case();
    for dispatch in Dispatch::available() {
        let mut logits = case.written_out(dispatch.arithmetic());
        let (layout, pairs) = (case.layout(), [Pair::new(0, 1)]);
        let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&REFERENCE), 1.0);
        let loss = Dpo::new(0.1).unwrap();
        let mut workspace = Workspace::new();
        let view = LogitsMut::new(&mut logits, case.rows, case.vocab).unwrap();
        let due = workspace.preference_step(dispatch, &loss, view, &batch).unwrap();
        let due_loss = Ok(due.mean_loss().to_bits());

        let mut of = case.clone();
        let (mut losses, mut d) = ([PairLoss::default()], [0.0; 2]);
        let reference = Reference::Sums(&REFERENCE);
        let of_pairs = PairBatch::new(&pairs, workspace.sequences(), reference, 1.0);
        preference_loss(&loss, &of_pairs, PairOut::new(&mut losses, &mut d)).unwrap();
        token_coefficients(&layout, &d, None, None, &mut of.coefficients).unwrap();
        assert!(of.coefficients.iter().any(|&c| c != 0.0), "the control");

        let found = frozen(dispatch, &case, 5);
        let stages = run(&of, dispatch, 20, Unscored::Keep);
        let stages: Vec<f32> = stages.grads.chunks(25).flat_map(|row| row[..24].to_vec()).collect();
        assert_eq!(found.loss, due_loss, "{dispatch:?}");
        assert_eq!(found.hidden, bits(&stages), "{dispatch:?}");

        let found = trained(dispatch, &case, 20);
        let stages = crate::trained::train::<_, _, f32>(&of, dispatch, 20, false);
        let hidden: Vec<f32> =
            stages.hidden.chunks(25).flat_map(|row| row[..24].to_vec()).collect();
        let weights = stages.weights.chunks(26).flat_map(|row| row[..24].to_vec());
        let weights: Vec<f32> = weights.chain(stages.bias.iter().copied()).collect();
        assert_eq!(found.loss, due_loss, "{dispatch:?}");
        assert_eq!(found.hidden, bits(&hidden), "{dispatch:?}");
        assert_eq!(found.weights, bits(&weights), "{dispatch:?}");
    }
}

/// Without gradients: the loss of the step that writes some, and log-probs as of logits.
#[test]
fn a_head_is_scored_alone() {
    let case = case();
    let (head, layout, pairs) = (case.head(), case.layout(), [Pair::new(0, 1)]);
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&REFERENCE), 1.0);
    let loss = Dpo::new(0.1).unwrap();
    let (mut rows, mut workspace) = ([HeadRow::NEW; 5], Workspace::new());
    let mut numbers = vec![f32::NAN; HeadScratch::numbers::<f32, _>(&head, 5)];
    for dispatch in Dispatch::available() {
        let due = frozen(dispatch, &case, 5);
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        let step = ScoredHead::new(case.hidden(), &head, scratch);
        let found = workspace.preference_step(dispatch, &loss, step, &batch).unwrap();
        assert_eq!(Ok(found.mean_loss().to_bits()), due.loss, "{dispatch:?}");
        let of_step = workspace.sequences().to_vec();
        let logits = case.written_out(dispatch.arithmetic());
        let view = Logits::new(&logits, case.rows, case.vocab).unwrap();
        let due = workspace.score(dispatch, view, &layout, None).unwrap().to_vec();
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        let step = ScoredHead::new(case.hidden(), &head, scratch);
        let found = workspace.score(dispatch, step, &layout, None).unwrap();
        assert_eq!(found, due, "{dispatch:?}");
        assert_eq!(found, of_step, "{dispatch:?}");
    }
}

/// What breaks a row is named, and a row of weight 0 breaks nothing; scratch is checked first.
#[test]
fn scores_of_a_broken_head() {
    let (mut case, dispatch) = (case(), Dispatch::detect());
    case.weights[650 * case.stride + 7] = f32::NEG_INFINITY;
    let (head, layout) = (case.head(), case.layout());
    let (mut rows, mut workspace) = ([HeadRow::NEW; 5], Workspace::new());
    let due = HeadScratch::numbers::<f32, _>(&head, 5);
    let mut numbers = vec![f32::NAN; due];
    let mut score = |len: usize, weights: Option<&[f32]>| {
        let scratch = HeadScratch::new(&mut rows, &mut numbers[..len]);
        let step = ScoredHead::new(case.hidden(), &head, scratch);
        workspace.score(dispatch, step, &layout, weights).map(<[_]>::len)
    };
    let found = score(due, None).unwrap_err().to_string();
    assert_eq!(found, "weights of the head[650] is -inf, outside its domain");
    assert_eq!(score(due, Some(&[0.0; ROWS])), Ok(2));
    let (buffer, expected, found) = (Buffer::HeadNumbers, due, due - 1);
    assert_eq!(score(due - 1, None), Err(Error::Length { buffer, expected, found }));
}

/// As many steps as there are threads: the same bits, with and without memory for all rows.
#[test]
fn threads_change_nothing() {
    for (rows, at_once) in [(13, 13), (25, 18), (150, 100), (301, 201)] {
        let case = Case::<f32, f32>::new(rows, 24, 700, 3).with_bias(4);
        let dispatch = Dispatch::detect();
        let due = [frozen(dispatch, &case, at_once), trained(dispatch, &case, at_once)];
        assert!(due.iter().all(|due| due.loss.is_ok()), "the control");
        for threads in [1, 2, 3, 7, 16] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| {
                let executor = Parallel::new(dispatch);
                [frozen(executor, &case, at_once), trained(executor, &case, at_once)]
            });
            assert!(found == due, "{rows} rows, {threads} threads");
        }
    }
}

/// Answers without a partner go through the same door.
#[test]
fn unpaired_steps_take_a_head() {
    let (case, dispatch) = (case(), Dispatch::detect());
    let (head, layout) = (case.head(), case.layout());
    let answers = [
        UnpairedAnswer { sequence: 0, label: Label::Desirable },
        UnpairedAnswer { sequence: 1, label: Label::Undesirable },
    ];
    let batch = UnpairedStepBatch::new(&layout, &answers, Reference::Sums(&REFERENCE), 2.0);
    let loss = Kto::new(0.1, 0.0).unwrap();
    let mut logits = case.written_out(dispatch.arithmetic());
    let view = LogitsMut::new(&mut logits, case.rows, case.vocab).unwrap();
    let due = Workspace::new().unpaired_step(dispatch, &loss, view, &batch).unwrap();
    let (mut rows, mut hidden) = ([HeadRow::NEW; 4], vec![DIRT; ROWS * 24]);
    let mut numbers = vec![f32::NAN; HeadScratch::numbers::<f32, _>(&head, 4)];
    let grads = HiddenMut::new(&mut hidden, ROWS, 24).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let step = FrozenHead::new(case.hidden(), &head, grads, scratch);
    let found = Workspace::new().unpaired_step(dispatch, &loss, step, &batch).unwrap();
    assert_eq!(found, due);
    for row in 0..ROWS {
        let grads = &hidden[row * 24..][..24];
        assert_eq!(grads.iter().all(|&d| d == DIRT), !case.is_scored(row), "{row}");
    }
}

/// Weights that are not finite are named by the step too, and rows where these are why.
#[test]
fn what_is_not_finite_is_named() {
    let dispatch = Dispatch::detect();
    let mut weights = case();
    weights.weights[650 * weights.stride + 7] = f32::NEG_INFINITY;
    let mut states = case();
    states.states[6 * states.stride + 7] = f32::NAN;
    for (case, due) in [
        (&weights, "weights of the head[650] is -inf, outside its domain"),
        (&states, "row 6 is NaN, +inf or all −inf; rows of that kind: 1"),
    ] {
        let found = [frozen(dispatch, case, 20), trained(dispatch, case, 20)];
        for found in found {
            assert_eq!(found.loss.map_err(|error| error.to_string()), Err(due.to_string()));
            let untouched = |x: &[u32]| x.iter().all(|&x| x == DIRT.to_bits());
            assert!(untouched(&found.weights));
        }
    }
}

/// Found before anything is written.
#[test]
fn shapes_are_checked_first() {
    let (case, dispatch) = (case(), Dispatch::detect());
    let (head, layout) = (case.head(), case.layout());
    let pairs = [Pair::new(0, 1)];
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&REFERENCE), 1.0);
    let loss = Dpo::new(0.1).unwrap();
    let mut hidden = vec![DIRT; ROWS * 24];
    let (mut rows, mut bias) = ([HeadRow::NEW; 20], vec![DIRT; 700]);
    let frozen = |rows: &mut [HeadRow], numbers: &mut [f32], hidden: HiddenMut<'_, f32>| {
        let step = FrozenHead::new(case.hidden(), &head, hidden, HeadScratch::new(rows, numbers));
        Workspace::new().preference_step(dispatch, &loss, step, &batch).map(|_| ())
    };
    let due = HeadScratch::numbers::<f32, _>(&head, 20);
    let mut numbers = vec![0.0; due + 3 * 1024 * 1024];
    let length = |buffer, expected, found| Err(Error::Length { buffer, expected, found });
    let view = HiddenMut::new(&mut hidden, ROWS, 24).unwrap();
    let found = frozen(&mut rows, &mut numbers[..due - 1], view);
    assert_eq!(found, length(Buffer::HeadNumbers, due, due - 1));
    let view = HiddenMut::new(&mut hidden[..ROWS * 23], ROWS, 23).unwrap();
    let found = frozen(&mut rows, &mut numbers, view);
    assert_eq!(found, Err(Error::HiddenMismatch { expected: (ROWS, 24), found: (ROWS, 23) }));
    let mut trained = |rows: &mut [HeadRow], bias: &mut [f32], short: usize| {
        let mut workspace = Workspace::new();
        let grads = HeadGrads::of_bias(bias);
        let due =
            HeadScratch::numbers_trained::<_, f32, _, f32>(dispatch, &head, rows.len(), &grads);
        let view = HiddenMut::new(&mut hidden, ROWS, 24).unwrap();
        let scratch = HeadScratch::new(rows, &mut numbers[..due - short]);
        let step = TrainedHead::new(case.hidden(), &head, view, grads, scratch);
        let found = workspace.preference_step(dispatch, &loss, step, &batch).map(|_| ());
        assert!(workspace.log_probs().iter().all(|x| x.is_nan()), "before the forward");
        (found, due)
    };
    let (found, due) = trained(&mut rows, &mut bias, 1);
    assert_eq!(found, length(Buffer::HeadNumbers, due, due - 1));
    assert_eq!(trained(&mut rows[..12], &mut bias, 0).0, length(Buffer::HeadRows, 13, 12));
    assert_eq!(trained(&mut rows, &mut bias[..699], 0).0, length(Buffer::HeadGrads, 700, 699));
    assert!(hidden.iter().chain(&bias).all(|&x| x == DIRT));
}

/// So are rows, columns and the scratch of a trained head's forward.
#[test]
fn a_trained_head_refuses_another_layout_first() {
    let (case, dispatch) = (case(), Dispatch::detect());
    let (head, pairs) = (case.head(), [Pair::new(0, 1)]);
    let loss = Dpo::new(0.1).unwrap();
    let layout = case.layout();
    let narrow = Layout::new(&case.targets, &case.spans, 701).unwrap();
    let (mut hidden, mut bias) = (vec![DIRT; ROWS * 24], vec![DIRT; 700]);
    let mut refused = |layout: &Layout<'_>, states: Hidden<'_, f32>| {
        let mut workspace = Workspace::new();
        let mut rows = [HeadRow::NEW; 20];
        let grads = HeadGrads::of_bias(&mut bias);
        let due = HeadScratch::numbers_trained::<_, f32, _, f32>(dispatch, &head, 20, &grads);
        let mut numbers = vec![0.0; due];
        let view = HiddenMut::new(&mut hidden, ROWS, 24).unwrap();
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        let step = TrainedHead::new(states, &head, view, grads, scratch);
        let batch = StepBatch::new(layout, &pairs, Reference::Sums(&REFERENCE), 1.0);
        let found = workspace.preference_step(dispatch, &loss, step, &batch).map(|_| ());
        assert!(workspace.log_probs().iter().all(|x| x.is_nan()), "before the forward");
        found
    };
    let (expected, found) = ((ROWS, 701), (ROWS, 700));
    assert_eq!(refused(&narrow, case.hidden()), Err(Error::ShapeMismatch { expected, found }));
    let states = vec![0.5; ROWS * 23];
    let (expected, found) = ((ROWS, 24), (ROWS, 23));
    let states = Hidden::new(&states, ROWS, 23).unwrap();
    assert_eq!(refused(&layout, states), Err(Error::HiddenMismatch { expected, found }));
    assert!(hidden.iter().chain(&bias).all(|&x| x == DIRT));
}
