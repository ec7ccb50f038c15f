//! A step in the host's buffers allocates nothing, whatever features are on: an allocator that
//! counts.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_assert_message,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    clippy::indexing_slicing,
    reason = "a global allocator is unsafe to implement; a test may panic"
)]

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

use dpo_kernel::gradient::{GradBatch, Unscored, logit_grads_in_place};
use dpo_kernel::head::{
    HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, head_token_log_probs,
    hidden_grads, hidden_grads_in_place,
};
use dpo_kernel::loss::{Aot, BatchLoss, Kto, Nll, NllPer};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::step::StepScratch;
use dpo_kernel::step::{UnpairedStepBatch, unpaired_step};
use dpo_kernel::unpaired::{AnswerLoss, Label, UnpairedAnswer};
use dpo_kernel::{
    Dispatch, Dpo, Layout, Logits, LogitsMut, Pair, PairLoss, Reference, SequenceLogProb, Span,
    StepBatch, TokenOut, Transform, bf16, preference_step, token_log_probs,
};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's word, passed on.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, at: *mut u8, memory: Memory) {
        // SAFETY: the caller's word, passed on.
        unsafe { System.dealloc(at, memory) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(body: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    body();
    COUNT.with(Cell::get) - before
}

fn step<L: BatchLoss>(loss: L) -> f64 {
    let mut logits = [0.5_f32, -1.0, 2.0, 0.0, 3.0, -0.5];
    let (targets, spans) = ([2, 0], [Span::new(1, 2), Span::new(0, 1)]);
    let mut order = [0; 2];
    let layout = Layout::in_any_order(&targets, &spans, 3, &mut order).unwrap();
    let pairs = [Pair::new(1, 0)];
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&[-3.0, -0.25]), 1.0)
        .with_unscored(Unscored::Zero);
    let (mut log_probs, mut norms) = ([0.0; 2], [RowNorm::default(); 2]);
    let (mut sequences, mut losses) = ([SequenceLogProb::default(); 2], [PairLoss::default()]);
    let (mut d_log_probs, mut coefficients) = ([0.0; 2], [0.0; 2]);
    let scratch = StepScratch::new(
        &mut log_probs,
        &mut norms,
        &mut sequences,
        &mut losses,
        &mut d_log_probs,
        &mut coefficients,
    );
    let view = LogitsMut::new(&mut logits, 2, 3).unwrap();
    preference_step(Dispatch::detect(), loss, view, &batch, scratch).unwrap().mean_loss()
}

#[test]
fn a_step_allocates_nothing() {
    let mut loss = 0.0;
    assert_eq!(allocations(|| loss = step(&Dpo::new(0.1).unwrap())), 0);
    assert!(loss > 0.0);
    let mut order = [0; 2];
    assert_eq!(allocations(|| loss = step(Aot::paired(0.1).unwrap().over(&mut order))), 0);
    assert!(allocations(|| drop(vec![1])) > 0, "the allocator counts");
}

/// With everything that a step can be given, and its gradients in another buffer and type.
#[test]
fn a_step_of_many_parts_allocates_nothing() {
    let mut logits = [0.5_f32, -1.0, 2.0, 0.0, 3.0, -0.5].map(bf16::from_f32);
    let from = logits;
    let mut grads = [7.5_f32; 6];
    let (targets, spans) = ([2, 0], [Span::new(0, 1), Span::new(1, 2)]);
    let layout = Layout::new(&targets, &spans, 3).unwrap();
    let pairs = [Pair::new(0, 1)];
    let nll = Nll::new(0.5, NllPer::Sequence, 1.0).unwrap();
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&[-0.5, -2.0]), 1.0)
        .with_weights(&[0.5])
        .with_offsets(&[0.25])
        .with_token_weights(&[1.0, 0.75])
        .with_nll_on(nll, &[0, 1])
        .with_nll_weights(&[1.0, 0.5])
        .with_unscored(Unscored::Zero);
    let (mut log_probs, mut norms) = ([0.0; 2], [RowNorm::default(); 2]);
    let (mut sequences, mut losses) = ([SequenceLogProb::default(); 2], [PairLoss::default()]);
    let (mut d_log_probs, mut d_nll, mut coefficients) = ([0.0; 2], [0.0; 2], [0.0; 2]);
    let mut details = [RowDetails::default(); 2];
    let found = allocations(|| {
        let out = TokenOut::new(&mut log_probs).with_details(&mut details);
        let view = Logits::new(&from, 2, 3).unwrap();
        token_log_probs(Dispatch::detect(), view, &layout, out).unwrap();
        let to = LogitsMut::new(&mut grads, 2, 3).unwrap();
        let scratch = StepScratch::new(
            &mut log_probs,
            &mut norms,
            &mut sequences,
            &mut losses,
            &mut d_log_probs,
            &mut coefficients,
        );
        let scratch = scratch.with_nll(&mut d_nll);
        let dpo = Dpo::new(0.1).unwrap();
        preference_step(Dispatch::detect(), &dpo, (view, to), &batch, scratch).unwrap();
        let view = LogitsMut::new(&mut logits, 2, 3).unwrap();
        let grads = GradBatch::new(&layout, &norms, &coefficients);
        logit_grads_in_place(Dispatch::detect(), view, &grads).unwrap();
    });
    assert_eq!(found, 0);
    assert!(grads.iter().zip(logits).all(|(&wide, narrow)| bf16::from_f32(wide) == narrow));
    assert!(details[0].entropy > 0.0 && d_nll[0] < 0.0, "the parts were there");
}

#[test]
fn a_step_over_answers_allocates_nothing() {
    let found = allocations(|| {
        let mut logits = [0.5_f32, -1.0, 2.0];
        let spans = [Span::new(0, 1)];
        let layout = Layout::new(&[2], &spans, 3).unwrap();
        let answers = [UnpairedAnswer { sequence: 0, label: Label::Desirable }];
        let batch = UnpairedStepBatch::new(&layout, &answers, Reference::Sums(&[-0.25]), 1.0);
        let (mut log_probs, mut norms) = ([0.0], [RowNorm::default()]);
        let (mut sums, mut losses) = ([SequenceLogProb::default()], [AnswerLoss::default()]);
        let (mut d, mut c) = ([0.0], [0.0]);
        let scratch =
            StepScratch::new(&mut log_probs, &mut norms, &mut sums, &mut losses, &mut d, &mut c);
        let view = LogitsMut::new(&mut logits, 1, 3).unwrap();
        let kto = Kto::new(0.1, 0.0).unwrap();
        unpaired_step(Dispatch::detect(), &kto, view, &batch, scratch).unwrap();
    });
    assert_eq!(found, 0);
}

/// Forward and backward of a head of 700 columns, with everything that it can be given.
#[test]
fn a_head_allocates_nothing() {
    let (rows, size, vocab) = (3, 300, 700);
    let states = vec![bf16::from_f32(0.25); rows * size];
    let weights: Vec<bf16> = (0..vocab * size).map(|i| bf16::from_f32((i % 7) as f32)).collect();
    let bias = vec![0.5; vocab];
    let transform = Transform::new(0.5, Some(20.0), 1.5).unwrap();
    let head = Linear::new(&weights, vocab, size).unwrap();
    let head = head.with_bias(&bias).unwrap().with_transform(transform);
    let (targets, spans) = ([699, 9, 0], [Span::new(0, 1), Span::new(2, 3)]);
    let layout = Layout::new(&targets, &spans, vocab).unwrap();
    let mut at_once = [HeadRow::NEW; 2];
    let mut numbers = vec![0.0; HeadScratch::numbers::<bf16, _>(&head, 2)];
    let (mut log_probs, mut norms) = ([0.0; 3], [RowNorm::default(); 3]);
    let mut details = [RowDetails::default(); 3];
    let (mut sums, mut grads) = (vec![0.0; rows * size], vec![bf16::ZERO; rows * size]);
    let found = allocations(|| {
        let dispatch = Dispatch::detect();
        let states = Hidden::new(&states, rows, size).unwrap();
        let scratch = HeadScratch::new(&mut at_once, &mut numbers);
        let out = TokenOut::new(&mut log_probs);
        head_token_log_probs(dispatch, states, &head, &layout, out, scratch).unwrap();
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
        let view = HiddenMut::new(&mut sums, rows, size).unwrap();
        let scratch = HeadScratch::new(&mut at_once, &mut numbers);
        head_forward(dispatch, states, &head, &layout, out, view, scratch).unwrap();
        let batch = GradBatch::new(&layout, &norms, &[0.5, 7.5, -0.5]);
        let batch = batch.with_unscored(Unscored::Zero);
        let view = Hidden::new(&sums, rows, size).unwrap();
        let to = HiddenMut::new(&mut grads, rows, size).unwrap();
        let scratch = HeadScratch::new(&mut at_once, &mut numbers);
        hidden_grads(dispatch, states, &head, &batch, view, to, scratch).unwrap();
        let view = HiddenMut::new(&mut sums, rows, size).unwrap();
        let scratch = HeadScratch::new(&mut at_once, &mut numbers);
        hidden_grads_in_place(dispatch, states, &head, &batch, view, scratch).unwrap();
    });
    assert_eq!(found, 0);
    assert!(sums.iter().zip(&grads).all(|(&wide, narrow)| bf16::from_f32(wide) == *narrow));
    assert!(log_probs[0] < 0.0 && details[0].entropy > 0.0, "the parts were there");
    assert!(sums[0] != 0.0 && sums[size] == 0.0 && sums[2 * size] != 0.0, "rows 0 and 2 alone");
}
