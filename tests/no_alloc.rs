//! A step in the host's buffers allocates nothing, whatever features are on: an allocator that
//! counts.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_assert_message,
    reason = "a global allocator is unsafe to implement; a test may panic"
)]

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

use dpo_kernel::gradient::{GradBatch, Unscored, logit_grads_in_place};
use dpo_kernel::loss::{Aot, BatchLoss, Kto, Nll, NllPer};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::step::StepScratch;
use dpo_kernel::step::{UnpairedStepBatch, unpaired_step};
use dpo_kernel::unpaired::{AnswerLoss, Label, UnpairedAnswer};
use dpo_kernel::{
    Dispatch, Dpo, Layout, Logits, LogitsMut, Pair, PairLoss, Reference, SequenceLogProb, Span,
    StepBatch, TokenOut, bf16, preference_step, token_log_probs,
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
