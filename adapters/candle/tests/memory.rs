//! What is allocated: the gradients, and next to nothing beside them; and what is refused.
#![allow(missing_docs, reason = "tests")]
#![allow(unsafe_code, reason = "an allocator that counts and refuses")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

use candle_core::{DType, Device, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::{
    Dispatch, Dpo, Error as KernelError, Layout, Pair, Reference, Span, StepBatch,
};
use dpo_kernel_candle::{Error, Head, Input, Logits, Workspace};

thread_local! {
    /// Bytes asked for, and the largest block, of this thread.
    static ASKED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    /// The largest block that this thread is given.
    static LIMIT: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Counting;

/// Whether so many bytes are given.
fn count(bytes: usize) -> bool {
    // A thread that ends has no count any more.
    let _ = ASKED.try_with(|asked| {
        let (sum, largest) = asked.get();
        asked.set((sum + bytes, largest.max(bytes)));
    });
    LIMIT.try_with(|limit| bytes <= limit.get()).unwrap_or(true)
}

// SAFETY: every call is handed on to the system's allocator as it is, or refused by a null pointer.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        if !count(memory.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(memory) }
    }

    unsafe fn alloc_zeroed(&self, memory: Memory) -> *mut u8 {
        if !count(memory.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(memory) }
    }

    unsafe fn realloc(&self, at: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        if !count(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, memory, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, memory: Memory) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, memory) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn counted<T>(f: impl FnOnce() -> T) -> (T, usize, usize) {
    ASKED.with(|asked| asked.set((0, 0)));
    let found = f();
    let (sum, largest) = ASKED.with(Cell::get);
    (found, sum, largest)
}

/// Without a block above so many bytes.
fn limited<T>(bytes: usize, f: impl FnOnce() -> T) -> T {
    LIMIT.with(|limit| limit.set(bytes));
    let found = f();
    LIMIT.with(|limit| limit.set(usize::MAX));
    found
}

const ROWS: usize = 64;
const VOCAB: usize = 2000;
const SIZE: usize = 48;
/// Nodes, shapes and tensors' own memory.
const LITTLE: usize = 2048;

/// A job with a batch of two answers.
fn with_batch<T>(job: impl FnOnce(&Dpo, &StepBatch<'_>) -> T) -> T {
    let targets: Vec<u32> = (0..64).map(|i| i * 31 % 2000).collect();
    let spans = [Span::new(4, 30), Span::new(34, 64)];
    let layout = Layout::new(&targets, &spans, VOCAB).unwrap();
    let (pairs, reference) = ([Pair::new(0, 1)], [-200.0, -230.0]);
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), 1.0);
    job(&Dpo::new(0.1).unwrap(), &batch)
}

/// Bytes of the second of two steps, and its largest block; then those of a backward.
fn step(input: impl Input) -> ((usize, usize), usize) {
    with_batch(|loss, batch| {
        let (on, mut workspace) = (Dispatch::detect(), Workspace::new());
        workspace.preference_step(on, loss, input, batch).unwrap();
        let (found, bytes, largest) =
            counted(|| workspace.preference_step(on, loss, input, batch).unwrap());
        let (_, of_backward, _) = counted(|| found.loss.backward().unwrap());
        ((bytes, largest), of_backward)
    })
}

fn tensor(rows: usize, columns: usize, dtype: DType) -> Tensor {
    let tensor = Tensor::randn(0_f32, 1.0, (rows, columns), &Device::Cpu).unwrap();
    tensor.to_dtype(dtype).unwrap()
}

fn var(tensor: &Tensor) -> Var {
    Var::from_tensor(tensor).unwrap()
}

#[test]
fn a_step_allocates_the_gradient_of_the_logits_alone() {
    for (dtype, size) in [(DType::F32, 4), (DType::F16, 2), (DType::BF16, 2)] {
        let logits = var(&tensor(ROWS, VOCAB + 8, dtype));
        let gradient = ROWS * VOCAB * size;
        // A row stride costs no copy either.
        let view = logits.narrow(1, 0, VOCAB).unwrap();
        let ((bytes, largest), of_backward) = step(Logits::new(&view));
        println!("{dtype:?}: a step {bytes} = gradient {gradient} + {}", bytes - gradient);
        println!("{dtype:?}: candle's backward through a view, of its own {of_backward}");
        assert!(bytes - gradient <= LITTLE, "{bytes}");
        assert_eq!(largest, gradient);
        let logits = var(&tensor(ROWS, VOCAB, dtype));
        let ((bytes, _), of_backward) = step(Logits::new(&logits));
        println!("{dtype:?}: candle's backward, of its own {of_backward}");
        assert!(bytes - gradient <= LITTLE, "{bytes}");
        // An evaluation has no gradient.
        let ((bytes, _), _) = step(Logits::new(&logits.detach()));
        assert!(bytes <= LITTLE, "{bytes}");
    }
}

#[test]
fn a_head_allocates_the_gradients_that_are_asked_for() {
    let (states, weights) = (tensor(ROWS, SIZE, DType::F32), tensor(VOCAB, SIZE, DType::F32));
    let (of_states, of_weights) = (ROWS * SIZE * 4, VOCAB * SIZE * 4);
    let ((bytes, largest), _) = step(Head::new(&var(&states), &weights));
    println!("frozen head: {bytes} = hidden gradients {of_states} + {}", bytes - of_states);
    assert!(bytes - of_states <= LITTLE && largest == of_states, "{bytes} {largest}");
    let ((bytes, largest), _) = step(Head::new(&var(&states), &var(&weights)));
    let gradients = of_states + of_weights;
    println!("trained head: {bytes} = gradients {gradients} + {}", bytes - gradients);
    assert!(bytes - gradients <= LITTLE && largest == of_weights, "{bytes} {largest}");
    // In 16 bits, sums are of f32 in the workspace.
    let (states, weights) = (tensor(ROWS, SIZE, DType::BF16), tensor(VOCAB, SIZE, DType::BF16));
    let ((bytes, _), _) = step(Head::new(&var(&states), &var(&weights)));
    assert!(bytes - gradients / 2 <= LITTLE, "{bytes}");
    // An adapter: its own two gradients.
    let (a, b) = (var(&tensor(8, SIZE, DType::F32)), var(&tensor(VOCAB, 8, DType::F32)));
    let states = var(&states);
    let ((bytes, _), _) = step(Head::new(&states, &weights).with_adapter(&a, &b, 2.0));
    let gradients = of_states / 2 + 4 * (8 * SIZE + VOCAB * 8);
    assert!(bytes - gradients <= LITTLE, "{bytes}");
}

/// However many rows there are, 512 go through a head at once: 528 numbers for each, and those of
/// the built-in product.
#[test]
fn a_heads_memory_does_not_grow_with_the_batch() {
    let (rows, at_once) = (4096, 512_usize);
    let targets = vec![1; rows];
    let spans = [Span::new(0, rows)];
    let layout = Layout::new(&targets, &spans, VOCAB).unwrap();
    let (states, weights) = (tensor(rows, SIZE, DType::F32), tensor(VOCAB, SIZE, DType::F32));
    let mut workspace = Workspace::new();
    let head = Head::new(&states, &weights);
    let ((), _, largest) = counted(|| {
        workspace.score(Dispatch::detect(), head, &layout, None).unwrap();
    });
    let numbers = at_once.next_multiple_of(12) * 528 + SIZE * 524 + 15;
    assert_eq!(largest, 4 * numbers);
}

/// A copy of the logits, or a gradient that nobody asked for, would be seen.
#[test]
fn a_copy_is_seen() {
    let logits = var(&tensor(ROWS, VOCAB, DType::F32));
    let (_, bytes, _) = counted(|| logits.copy().unwrap());
    assert!(bytes > LITTLE);
}

/// The largest block of a step, of so many elements, is refused: a typed error, and the workspace
/// goes on.
fn assert_refused(what: &str, input: impl Input, elements: usize, bytes: usize) {
    let due = KernelError::OutOfMemory { elements };
    with_batch(|loss, batch| {
        let (on, mut workspace) = (Dispatch::detect(), Workspace::new());
        let first = workspace.preference_step(on, loss, input, batch).unwrap();
        let refused = limited(bytes - 1, || workspace.preference_step(on, loss, input, batch));
        let error = refused.unwrap_err();
        assert!(matches!(&error, Error::Kernel(found) if *found == due), "{what}: {error}");
        // Enough is enough.
        let again = limited(bytes, || workspace.preference_step(on, loss, input, batch));
        assert_eq!(again.unwrap().summary, first.summary, "{what}");
    });
}

#[test]
fn a_gradient_that_is_refused_is_an_error() {
    for (dtype, size) in [(DType::F32, 4), (DType::F16, 2), (DType::BF16, 2)] {
        let logits = var(&tensor(ROWS, VOCAB, dtype));
        let elements = ROWS * VOCAB;
        assert_refused("logits", Logits::new(&logits), elements, size * elements);
        // What stands above the loss needs memory of its own.
        with_batch(|loss, batch| {
            let input = Logits::new(&logits);
            let found =
                Workspace::new().preference_step(Dispatch::detect(), loss, input, batch).unwrap();
            let half = (found.loss * 0.5).unwrap();
            let error = limited(size * elements - 1, || half.backward()).unwrap_err();
            let due = KernelError::OutOfMemory { elements }.to_string();
            assert!(error.to_string().contains(&due), "{error}");
        });
    }
    let (states, weights) = (tensor(ROWS, SIZE, DType::F32), tensor(VOCAB, SIZE, DType::F32));
    let (of_states, of_weights) = (ROWS * SIZE, VOCAB * SIZE);
    let trained = var(&states);
    assert_refused("states", Head::new(&trained, &weights), of_states, 4 * of_states);
    let half = var(&tensor(ROWS, SIZE, DType::BF16));
    assert_refused("rounded states", Head::new(&half, &weights), of_states, 2 * of_states);
    assert_refused("weights", Head::new(&states, &var(&weights)), of_weights, 4 * of_weights);
    let bias = Tensor::zeros(VOCAB, DType::F32, &Device::Cpu).unwrap();
    let bias = var(&bias);
    let head = Head::new(&states, &weights);
    assert_refused("bias", head.with_bias(&bias), VOCAB, 4 * VOCAB);
    let (a, b) = (tensor(32, SIZE, DType::F32), tensor(VOCAB, 32, DType::F32));
    let (of_a, of_b) = (32 * SIZE, VOCAB * 32);
    assert_refused("A", head.with_adapter(&var(&a), &b, 2.0), of_a, 4 * of_a);
    assert_refused("B", head.with_adapter(&a, &var(&b), 2.0), of_b, 4 * of_b);
}

/// A workspace that cannot grow.
#[test]
fn a_workspace_that_is_refused_is_an_error() {
    let (states, weights) = (tensor(ROWS, SIZE, DType::F32), tensor(VOCAB, SIZE, DType::F32));
    let head = Head::new(&states, &weights);
    with_batch(|loss, batch| {
        let (on, mut workspace) = (Dispatch::detect(), Workspace::new());
        let error = limited(16_384, || workspace.preference_step(on, loss, head, batch));
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Kernel(KernelError::OutOfMemory { .. })), "{error}");
        workspace.preference_step(on, loss, head, batch).unwrap();
    });
}
