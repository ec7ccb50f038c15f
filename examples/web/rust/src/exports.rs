//! What JavaScript calls. A module has one page, one run and one thread.
//!
//! ```text
//! in     bytes(n), numbers(n)     where to write n bytes or f64s, or 0; valid until the next call
//! out    out(), out_length()      f64s; text(), text_length(): UTF-8; both as the last call left them
//! ```
//!
//! A call returns 0, or a [`Failure`]. What failed leaves its numbers in `out`: words are JavaScript's, for
//! `core`'s printing of f64 weighs as much as all of the losses.
#![allow(unsafe_code, reason = "names of exports, and the one thread's state")]

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Error, Layout, Span};

use lol_alloc::{AssumeSingleThreaded, FreeListAllocator};

use crate::model::Base;
use crate::objective::Objective;
use crate::pairs::{Examples, unpacked};
use crate::theory::{Answers, pair_loss, preference as preferred};
use crate::train::{Figures, Rate, Run, gradients, log_probs};

#[global_allocator]
static ALLOCATOR: AssumeSingleThreaded<FreeListAllocator> =
    // SAFETY: wasm32-unknown-unknown without shared memory has one thread.
    unsafe { AssumeSingleThreaded::new(FreeListAllocator::new()) };

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// Pairs of one's own, at most: the figures look at all of them every few steps.
const MOST_PAIRS: usize = 500;

/// Bytes of a model or of packed pairs, at most.
const MOST_BYTES: usize = 1 << 26;

/// Why a call did nothing.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Failure {
    /// A parameter is refused: its value.
    Parameter = 1,
    /// There is no such loss, or it needs more than pairs.
    Loss = 2,
    /// The model's numbers are no longer finite.
    NotFinite = 3,
    /// Bytes that are no model, or no packed pairs.
    Bytes = 4,
    /// There is nothing yet to be asked.
    Nothing = 5,
    /// No pair is left to train on.
    NoPairs = 6,
    /// Anything else, which has no cause that a person can mend.
    Other = 7,
    /// More pairs than [`MOST_PAIRS`]: how many, and that.
    TooMany = 8,
    /// A β for a loss that has none.
    Unused = 9,
}

#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    numbers: Vec<f64>,
    out: Vec<f64>,
    text: String,
    base: Option<Base>,
    pairs: Vec<u8>,
    run: Option<Run>,
    bench: Bench,
}

#[derive(Default)]
struct Bench {
    logits: Vec<f32>,
}

struct OneThread(RefCell<Option<Page>>);

// SAFETY: wasm32-unknown-unknown without shared memory has one thread, so no two share the value.
unsafe impl Sync for OneThread {}

static PAGE: OneThread = OneThread(RefCell::new(None));

/// The one page. JavaScript is not called from here, so no borrow is still alive when it calls.
fn page<T>(failed: T, with: impl FnOnce(&mut Page) -> T) -> T {
    let Ok(mut page) = PAGE.0.try_borrow_mut() else { return failed };
    with(page.get_or_insert_default())
}

fn call(with: impl FnOnce(&mut Page) -> Result<(), Failure>) -> u32 {
    page(Failure::Other as u32, |page| with(page).map_or_else(|failure| failure as u32, |()| 0))
}

impl Page {
    fn failed(&mut self, error: Error) -> Failure {
        self.out.clear();
        match error {
            Error::Parameter { value, .. } => {
                self.out.push(value);
                Failure::Parameter
            }
            Error::ParameterUnused { .. } => Failure::Unused,
            Error::UnknownLoss => Failure::Loss,
            // How many is not said: reading the count makes the module 800 bytes larger.
            Error::NonFiniteRows { .. } | Error::NonFinitePairs { .. } => Failure::NotFinite,
            _ => Failure::Other,
        }
    }

    fn list(&self, index: usize, length: usize) -> &[f64] {
        self.numbers.get(index * length..(index + 1) * length).unwrap_or_default()
    }
}

/// Room for `length` bytes; null above [`MOST_BYTES`].
#[unsafe(no_mangle)]
extern "C" fn bytes(length: usize) -> *mut u8 {
    page(core::ptr::null_mut(), |page| {
        page.bytes.clear();
        if length > MOST_BYTES {
            return core::ptr::null_mut();
        }
        page.bytes.resize(length, 0);
        page.bytes.as_mut_ptr()
    })
}

/// Room for `length` numbers.
#[unsafe(no_mangle)]
extern "C" fn numbers(length: usize) -> *mut f64 {
    page(core::ptr::null_mut(), |page| {
        page.numbers.clear();
        page.numbers.resize(length, 0.0);
        page.numbers.as_mut_ptr()
    })
}

#[unsafe(no_mangle)]
extern "C" fn out() -> *const f64 {
    page(core::ptr::null(), |page| page.out.as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn out_length() -> usize {
    page(0, |page| page.out.len())
}

#[unsafe(no_mangle)]
extern "C" fn text() -> *const u8 {
    page(core::ptr::null(), |page| page.text.as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn text_length() -> usize {
    page(0, |page| page.text.len())
}

/// Steps 1 to 3 of [`numbers`]: reference, rewards and policy, `answers` each.
#[unsafe(no_mangle)]
extern "C" fn answers(answers: usize, beta: f64) -> u32 {
    call(|page| {
        let [reference, rewards, policy] = [0, 1, 2].map(|index| page.list(index, answers));
        let found = Answers::new(reference, rewards, policy, beta);
        page.out = found.map_err(|error| page.failed(error))?.numbers();
        Ok(())
    })
}

/// Step 4: log P and P.
#[unsafe(no_mangle)]
extern "C" fn preference(reward_chosen: f64, reward_rejected: f64) -> u32 {
    call(|page| {
        page.out = preferred(reward_chosen, reward_rejected).to_vec();
        Ok(())
    })
}

/// Step 5: loss, margin, gradients of chosen and rejected, from log-ratios.
#[unsafe(no_mangle)]
extern "C" fn pair(beta: f64, chosen: f64, rejected: f64) -> u32 {
    call(|page| {
        let found = pair_loss(beta, [chosen, rejected]).map_err(|error| page.failed(error))?;
        page.out = [found.loss, found.margin, found.d_chosen, found.d_rejected].to_vec();
        Ok(())
    })
}

/// The model of the bytes.
#[unsafe(no_mangle)]
extern "C" fn set_model() -> u32 {
    call(|page| {
        let base = Base::new(core::mem::take(&mut page.bytes)).ok_or(Failure::Bytes)?;
        page.base = Some(base);
        Ok(())
    })
}

/// The pairs of the bytes, packed; counts: to train on, held out, texts cut, characters replaced, left out.
#[unsafe(no_mangle)]
extern "C" fn set_pairs() -> u32 {
    call(|page| {
        let pairs = core::mem::take(&mut page.bytes);
        let texts = unpacked(&pairs).ok_or(Failure::Bytes)?;
        if texts.len() > MOST_PAIRS {
            page.out = [texts.len(), MOST_PAIRS].map(|count| count as f64).to_vec();
            return Err(Failure::TooMany);
        }
        let examples = Examples::new(texts.into_iter(), false);
        if examples.train.is_empty() {
            return Err(Failure::NoPairs);
        }
        let [train, held_out] = [&examples.train, &examples.held_out].map(Vec::len);
        let (changes, left_out) = (examples.changes, examples.left_out);
        page.out = [train as u32, held_out as u32, changes.cut, changes.replaced, left_out]
            .map(f64::from)
            .to_vec();
        page.pairs = pairs;
        Ok(())
    })
}

/// A new run with the loss whose name is in the bytes; a β of NaN is the loss's default.
#[unsafe(no_mangle)]
extern "C" fn start(beta: f64, rate: f64, longer: u32, seed: u32) -> u32 {
    call(|page| {
        let name = core::str::from_utf8(&page.bytes).map_err(|_| Failure::Loss)?;
        let Some(rate) = Rate::new(rate) else {
            page.out = [rate].to_vec();
            return Err(Failure::Parameter);
        };
        let beta = (!beta.is_nan()).then_some(beta);
        let objective = Objective::new(name, beta).map_err(|error| page.failed(error))?;
        let base = page.base.ok_or(Failure::Nothing)?;
        let pairs = unpacked(&page.pairs).ok_or(Failure::Bytes)?;
        let examples = Examples::new(pairs.into_iter(), longer != 0);
        if examples.train.is_empty() {
            return Err(Failure::NoPairs);
        }
        let run = Run::new(base, &examples, objective, rate, seed);
        page.run = Some(run.map_err(|error| page.failed(error))?);
        Ok(())
    })
}

fn with_run(with: impl FnOnce(&mut Run, &mut Vec<f64>, &mut String) -> Result<(), Error>) -> u32 {
    call(|page| {
        let Page { run, out, text, .. } = page;
        with(run.as_mut().ok_or(Failure::Nothing)?, out, text).map_err(|error| page.failed(error))
    })
}

/// One step: its number, the batch's loss before it.
#[unsafe(no_mangle)]
extern "C" fn step() -> u32 {
    with_run(|run, out, _| {
        let loss = run.step()?;
        *out = [f64::from(run.steps()), loss].to_vec();
        Ok(())
    })
}

/// Steps so far; pairs, correct ones, loss, log-ratios of chosen and rejected, for training and held-out
/// pairs; mean lengths of drawn answers, before and now, and of the chosen and rejected ones trained on;
/// prompts that answers are drawn for.
#[unsafe(no_mangle)]
extern "C" fn figures() -> u32 {
    with_run(|run, out, _| {
        *out = [f64::from(run.steps())].to_vec();
        for Figures { pairs, correct, loss, chosen, rejected } in run.figures()? {
            out.extend([f64::from(pairs), f64::from(correct), loss, chosen, rejected]);
        }
        out.extend([run.mean_length(false), run.mean_length(true)]);
        out.extend(run.data_lengths());
        out.push(run.prompts() as f64);
        Ok(())
    })
}

/// Prompt and answer as text, the prompt's length as number.
#[unsafe(no_mangle)]
extern "C" fn sample(index: usize, policy: u32, seed: u32) -> u32 {
    with_run(|run, out, text| {
        let [prompt, answer] = run.sample(index, policy != 0, seed).unwrap_or_default();
        *out = [prompt.len() as f64].to_vec();
        *text = prompt + &answer;
        Ok(())
    })
}

/// The run's digest: its high and its low half.
#[unsafe(no_mangle)]
extern "C" fn digest() -> u32 {
    with_run(|run, out, _| {
        let digest = run.digest();
        *out = [digest >> 32, digest & 0xffff_ffff].map(|half| half as f64).to_vec();
        Ok(())
    })
}

/// Log-probs and gradients of `rows` rows of `vocab` made-up logits, to be timed.
#[unsafe(no_mangle)]
extern "C" fn bench(rows: usize, vocab: usize) -> u32 {
    call(|page| page.bench.step(rows, vocab).map_err(|error| page.failed(error)))
}

impl Bench {
    /// The gradients of one step are the logits of the next: any finite ones take as long.
    fn step(&mut self, rows: usize, vocab: usize) -> Result<(), Error> {
        if self.logits.len() != rows * vocab {
            let values = (0..rows * vocab).map(|index| ((index * 37) % 256) as f32 / 16.0 - 8.0);
            self.logits.clear();
            self.logits.extend(values);
        }
        let targets: Vec<u32> = (0..rows).map(|row| ((row * 31) % vocab.max(1)) as u32).collect();
        let spans = [Span::new(0, rows / 2), Span::new(rows / 2, rows)];
        let layout = Layout::new(&targets, &spans, vocab)?;
        let mut norms = alloc::vec![RowNorm::default(); rows];
        log_probs(&self.logits, &layout, vocab, &mut norms)?;
        let coefficients = alloc::vec![-0.05; rows];
        let batch = GradBatch::new(&layout, &norms, &coefficients);
        gradients(&mut self.logits, vocab, &batch)
    }
}
