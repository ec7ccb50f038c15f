//! Time and memory of the adapter's step, beside candle's own operations and the crate itself.
//!
//! `RAYON_NUM_THREADS=1 cargo bench`: the best of some runs, on one thread, by the clock and in time
//! of the processor, which other programs disturb less. Memory is what is asked of the allocator at
//! most at one time, beyond the model's tensors.
#![allow(unsafe_code, reason = "an allocator that counts, a clock")]
#![allow(clippy::cast_precision_loss, reason = "small numbers")]

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use candle_core::{D, DType, Device, Tensor, Var, WithDType};
use dpo_kernel_candle::dpo_kernel::{
    self, Dispatch, Dpo, Element, Layout, LogitsMut, Pair, Reference, Span, StepBatch,
};
use dpo_kernel_candle::{Error, Head, Logits, Workspace};
use half::vec::HalfBitsVecExt;

const ROWS: usize = 512;
const VOCAB: usize = 32_000;
const SIZE: usize = 576;
const BETA: f64 = 0.1;
const RUNS: usize = 7;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn more(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    MOST.fetch_max(now, Relaxed);
}

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        more(memory.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(memory) }
    }

    unsafe fn alloc_zeroed(&self, memory: Memory) -> *mut u8 {
        more(memory.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(memory) }
    }

    unsafe fn dealloc(&self, at: *mut u8, memory: Memory) {
        NOW.fetch_sub(memory.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, memory) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() -> Result<(), Error> {
    println!("{ROWS} rows of {VOCAB} columns, best of {RUNS} runs: clock, processor, memory");
    for dtype in [DType::F32, DType::BF16] {
        logits(dtype)?;
    }
    println!("hidden states of {SIZE}, a frozen head of {VOCAB} rows");
    for dtype in [DType::F32, DType::BF16] {
        head(dtype)?;
    }
    Ok(())
}

/// Four answers of a quarter of the rows each, two pairs.
struct Batch {
    targets: Vec<u32>,
    spans: [Span; 4],
    pairs: [Pair; 2],
    reference: [f64; 4],
}

impl Batch {
    fn new() -> Self {
        let targets = (0..ROWS).map(|i| u32::try_from(i * 577 % VOCAB).unwrap_or(0)).collect();
        let spans = [0, 1, 2, 3].map(|i| Span::new(i * ROWS / 4, (i + 1) * ROWS / 4));
        let pairs = [Pair::new(0, 1), Pair::new(2, 3)];
        Self { targets, spans, pairs, reference: [-1400.0; 4] }
    }

    fn with<T>(&self, run: impl FnOnce(&StepBatch<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let layout = Layout::new(&self.targets, &self.spans, VOCAB)?;
        run(&StepBatch::new(&layout, &self.pairs, Reference::Sums(&self.reference), 2.0))
    }

    /// The same loss in candle's operations.
    fn of_candle(&self, logits: &Tensor) -> Result<Tensor, Error> {
        let targets = Tensor::from_slice(&self.targets, (ROWS, 1), &Device::Cpu)?;
        let tokens = candle_nn::ops::log_softmax(logits, D::Minus1)?.gather(&targets, 1)?;
        let sums = tokens.to_dtype(DType::F32)?.reshape((4, ROWS / 4))?.sum(1)?;
        let ratios = (sums + 1400.0)?.reshape((2, 2))?;
        let z = ((ratios.narrow(1, 0, 1)? - ratios.narrow(1, 1, 1)?)? * BETA)?;
        Ok(((z.neg()?.exp()? + 1.0)?.log()?.sum_all()? / 2.0)?)
    }
}

/// The best time, and the most memory.
fn print(what: &str, mut run: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    run()?;
    let (mut best, mut processor, before) = (f64::INFINITY, f64::INFINITY, NOW.load(Relaxed));
    MOST.store(before, Relaxed);
    for _ in 0..RUNS {
        let (start, of_processor) = (Instant::now(), processor_seconds());
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
        processor = processor.min(processor_seconds() - of_processor);
    }
    let most = MOST.load(Relaxed).saturating_sub(before) as f64 / f64::from(1 << 20);
    let (best, processor) = (best * 1e3, processor * 1e3);
    println!("  {what:<48} {best:8.2} ms {processor:8.2} ms {most:7.1} MiB");
    Ok(())
}

/// Of all threads of this process.
#[cfg(unix)]
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec to write to, and the clock one that every Unix has.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(not(unix))]
fn processor_seconds() -> f64 {
    f64::NAN
}

fn logits(dtype: DType) -> Result<(), Error> {
    println!("{dtype:?}");
    let logits = Tensor::randn(0_f32, 2.0, (ROWS, VOCAB), &Device::Cpu)?.to_dtype(dtype)?;
    let logits = Var::from_tensor(&logits)?;
    let (batch, loss, on) = (Batch::new(), Dpo::new(BETA)?, Dispatch::detect());
    match dtype {
        DType::F32 => direct::<f32>(&logits, &batch, || vec![0.0; ROWS * VOCAB])?,
        _ => direct::<dpo_kernel::bf16>(&logits, &batch, || {
            vec![0_u16; ROWS * VOCAB].reinterpret_into()
        })?,
    }
    let mut workspace = Workspace::new();
    print("adapter, step (loss and gradient)", || {
        batch.with(|of| workspace.preference_step(on, &loss, Logits::new(&logits), of).map(drop))
    })?;
    print("adapter, step and backward()", || {
        batch.with(|of| {
            let step = workspace.preference_step(on, &loss, Logits::new(&logits), of)?;
            step.loss.backward()?;
            Ok(())
        })
    })?;
    print("candle: log_softmax, gather, ..., loss alone", || batch.of_candle(&logits).map(drop))?;
    print("candle: the same and backward()", || {
        batch.of_candle(&logits)?.backward()?;
        Ok(())
    })?;
    if dtype != DType::F32 {
        print("candle: the same after to_dtype(F32)", || {
            batch.of_candle(&logits.to_dtype(DType::F32)?)?.backward()?;
            Ok(())
        })?;
    }
    Ok(())
}

/// The crate itself, on the tensor's own memory, with gradients in memory that is new each time, as
/// the adapter's are, and in memory that is used again.
fn direct<E: Element + WithDType>(
    logits: &Tensor,
    batch: &Batch,
    zeros: fn() -> Vec<E>,
) -> Result<(), Error> {
    let (storage, _) = logits.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else { return Ok(()) };
    let numbers = storage.as_slice::<E>()?;
    let (mut workspace, loss, on) =
        (dpo_kernel::Workspace::new(), Dpo::new(BETA)?, Dispatch::detect());
    let mut step = |grads: &mut [E]| {
        batch.with(|of| {
            let from = dpo_kernel::Logits::new(numbers, ROWS, VOCAB)?;
            let to = LogitsMut::new(grads, ROWS, VOCAB)?;
            Ok(workspace.preference_step(on, &loss, (from, to), of).map(drop)?)
        })
    };
    print("crate, gradient in new memory", || step(&mut zeros()))?;
    let mut grads = zeros();
    print("crate, gradient in memory used again", || step(&mut grads))
}

fn head(dtype: DType) -> Result<(), Error> {
    println!("{dtype:?}");
    let of = |rows: usize, by: f32| -> Result<Tensor, Error> {
        let tensor = Tensor::randn(0_f32, by, (rows, SIZE), &Device::Cpu)?;
        Ok(tensor.to_dtype(dtype)?)
    };
    let (states, weights) = (Var::from_tensor(&of(ROWS, 1.0)?)?, of(VOCAB, 0.1)?);
    let (batch, loss, on) = (Batch::new(), Dpo::new(BETA)?, Dispatch::detect());
    let mut workspace = Workspace::new();
    print("adapter, step and backward()", || {
        batch.with(|of| {
            let head = Head::new(&states, &weights);
            workspace.preference_step(on, &loss, head, of)?.loss.backward()?;
            Ok(())
        })
    })?;
    print("candle: matmul, log_softmax, ... and backward()", || {
        batch.of_candle(&states.matmul(&weights.t()?)?)?.backward()?;
        Ok(())
    })
}
