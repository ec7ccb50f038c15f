//! Logits in memory, and one timed lap of a kernel over some of them.
//!
//! A buffer is cut into parts of R rows; each lap takes the next ones. In a buffer many times the
//! caches' size every part has left them when its turn comes again; a buffer of one part stays in
//! them.

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

#[cfg(feature = "rayon")]
use dpo_kernel::Parallel;
use dpo_kernel::gradient::{GradBatch, logit_grads_in_place};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::{
    Dispatch, Element, Error, Executor, Layout, Logits, LogitsMut, Span, TokenOut, bf16, f16,
    token_log_probs,
};

use crate::machine;
use crate::work::Work;

/// An element type, and how exactly its gradients are compared.
pub trait Storage: Element {
    const NAME: &'static str;
    /// Relative error that rounding to storage may leave, and half the least number.
    const ROUNDING: (f64, f64);
}

impl Storage for f32 {
    const NAME: &'static str = "f32";
    const ROUNDING: (f64, f64) = (2e-6, 1e-36);
}

impl Storage for bf16 {
    const NAME: &'static str = "bf16";
    const ROUNDING: (f64, f64) = (1.0 / 256.0, 1e-36);
}

impl Storage for f16 {
    const NAME: &'static str = "f16";
    const ROUNDING: (f64, f64) = (1.0 / 2048.0, 3.1e-8);
}

/// Something with laps, whatever its element type.
pub trait Laps {
    /// Some laps, of which the first do not count: they find the caches as another runner left
    /// them, and what that one wrote is still on its way to memory. Nanoseconds per logit of the
    /// best.
    fn turn(&mut self, work: Work) -> f64;
}

/// More bytes than the caches of one core hold.
const CACHES: usize = 48 << 20;
/// Parts between turns, a prime.
const STEP: usize = 7;
/// A turn in cache.
const TURN: Duration = Duration::from_micros(300);

/// ∂L/∂log p of every row: large enough that f16 keeps most gradients.
pub const COEFFICIENT: f64 = 64.0;

/// Elements that begin on a cache line, or `offset` elements past one.
struct Lines<E> {
    data: Vec<E>,
    start: usize,
}

impl<E: Element> Lines<E> {
    fn new(elements: impl Iterator<Item = E>, offset: usize) -> Self {
        let spare = 64 / size_of::<E>();
        let elements = elements.collect::<Vec<_>>();
        let mut data = vec![E::ZERO; elements.len() + spare + offset];
        let start = data.as_ptr().align_offset(64) + offset;
        data[start..start + elements.len()].copy_from_slice(&elements);
        Self { data, start }
    }

    fn get(&self, range: Range<usize>) -> &[E] {
        &self.data[self.start + range.start..self.start + range.end]
    }

    fn get_mut(&mut self, range: Range<usize>) -> &mut [E] {
        &mut self.data[self.start + range.start..self.start + range.end]
    }
}

pub struct Arena<E> {
    logits: Lines<E>,
    /// What gradients in place overwrite, to be put back between laps.
    original: Lines<E>,
    len: usize,
    shape: Shape,
    targets: Vec<u32>,
    norms: Vec<RowNorm>,
    log_probs: Vec<f32>,
    details: Vec<RowDetails>,
    coefficients: Vec<f64>,
    next: usize,
    /// Whether each lap of a gradient follows one of its forward.
    step: bool,
}

/// Parts of `rows · vocab` logits, `calls` of them a lap.
#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    vocab: usize,
    parts: usize,
    calls: usize,
}

/// Logits of a lap at least, where there are so many: what a clock can tell.
const LAP: usize = 1 << 16;

impl<E: Storage> Arena<E> {
    /// Reproducible logits in ±10.
    pub fn new(len: usize, offset: usize) -> Self {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let unit = (state >> 40) as f32 / 16_777_216.0;
            E::from_f32(unit * 20.0 - 10.0)
        };
        let original = Lines::new(std::iter::repeat_with(next).take(len), offset);
        let logits = Lines::new(original.get(0..len).iter().copied(), offset);
        let shape = Shape { rows: 0, vocab: 0, parts: 0, calls: 0 };
        Self {
            logits,
            original,
            len,
            shape,
            targets: Vec::new(),
            norms: Vec::new(),
            log_probs: Vec::new(),
            details: Vec::new(),
            coefficients: Vec::new(),
            next: 0,
            step: false,
        }
    }

    /// From now on each lap of a gradient follows one of its forward, which is not timed: as in a
    /// step of training, where threads that have just finished the one are awake for the other.
    #[cfg(feature = "rayon")]
    pub fn in_steps(&mut self) {
        self.step = true;
    }

    /// Cuts the buffer into parts of `rows` rows of `vocab` logits.
    pub fn cut(&mut self, rows: usize, vocab: usize) {
        let parts = self.len / (rows * vocab);
        assert!(parts > 0, "{rows} x {vocab} logits do not fit in {}", self.len);
        let calls = LAP.div_ceil(rows * vocab).min(parts);
        self.shape = Shape { rows, vocab, parts, calls };
        self.next = 0;
        let all = parts * rows;
        self.targets = (0..all).map(|row| (row * 7919 % vocab) as u32).collect();
        self.norms = vec![RowNorm::default(); all];
        self.log_probs = vec![0.0; all];
        self.details = vec![RowDetails::default(); all];
        self.coefficients = vec![COEFFICIENT; all];
        for part in 0..parts {
            self.run(Work::Tokens(Dispatch::detect()), part);
        }
    }

    fn run(&mut self, work: Work, part: usize) {
        let result = match work {
            Work::Read => {
                black_box(machine::read(machine::words(self.logits.get(self.elements(part)))));
                Ok(())
            }
            Work::Update => {
                let elements = self.elements(part);
                machine::update(machine::words_mut(self.logits.get_mut(elements)), black_box(0));
                Ok(())
            }
            Work::Tokens(dispatch) => self.tokens(dispatch, part),
            Work::Details(dispatch) => self.details(dispatch, part),
            Work::Grads(dispatch) => self.grads(dispatch, part),
            #[cfg(feature = "rayon")]
            Work::ThreadedTokens(dispatch) => self.tokens(Parallel::new(dispatch), part),
            #[cfg(feature = "rayon")]
            Work::ThreadedGrads(dispatch) => self.grads(Parallel::new(dispatch), part),
        };
        result.expect("the shapes are right and the logits finite");
    }

    fn tokens<X: Executor>(&mut self, executor: X, part: usize) -> Result<(), Error> {
        let (Shape { rows, vocab, .. }, scored) = (self.shape, self.scored(part));
        let logits = Logits::new(self.logits.get(self.elements(part)), rows, vocab)?;
        let spans = [Span::new(0, rows)];
        let layout = Layout::new(&self.targets[scored.clone()], &spans, vocab)?;
        let out = TokenOut::new(&mut self.log_probs[scored.clone()]);
        let out = out.with_norms(&mut self.norms[scored]);
        token_log_probs(executor, logits, &layout, out).map(drop)
    }

    fn details(&mut self, dispatch: Dispatch, part: usize) -> Result<(), Error> {
        let (Shape { rows, vocab, .. }, scored) = (self.shape, self.scored(part));
        let logits = Logits::new(self.logits.get(self.elements(part)), rows, vocab)?;
        let spans = [Span::new(0, rows)];
        let layout = Layout::new(&self.targets[scored.clone()], &spans, vocab)?;
        let out = TokenOut::new(&mut self.log_probs[scored.clone()]);
        let out = out.with_norms(&mut self.norms[scored.clone()]);
        let out = out.with_details(&mut self.details[scored]);
        token_log_probs(dispatch, logits, &layout, out).map(drop)
    }

    fn grads<X: Executor>(&mut self, executor: X, part: usize) -> Result<(), Error> {
        let (Shape { rows, vocab, .. }, scored) = (self.shape, self.scored(part));
        let (elements, spans) = (self.elements(part), [Span::new(0, rows)]);
        let layout = Layout::new(&self.targets[scored.clone()], &spans, vocab)?;
        let (norms, coefficients) = (&self.norms[scored.clone()], &self.coefficients[scored]);
        let logits = LogitsMut::new(self.logits.get_mut(elements), rows, vocab)?;
        logit_grads_in_place(executor, logits, &GradBatch::new(&layout, norms, coefficients))
    }

    /// The logits of a part.
    const fn elements(&self, part: usize) -> Range<usize> {
        let Shape { rows, vocab, .. } = self.shape;
        part * rows * vocab..(part + 1) * rows * vocab
    }

    /// The rows of a part.
    const fn scored(&self, part: usize) -> Range<usize> {
        part * self.shape.rows..(part + 1) * self.shape.rows
    }

    fn restore(&mut self, part: usize) {
        let range = self.elements(part);
        self.logits.get_mut(range.clone()).copy_from_slice(self.original.get(range));
    }

    /// Runs the kernel on the first part, for the checks, and calls `look` with the logits before,
    /// what is in their place after, and the results.
    pub fn inspect(&mut self, work: Work, look: impl FnOnce(&Inspection<'_, E>)) {
        self.run(work, 0);
        let length = self.shape.rows * self.shape.vocab;
        look(&Inspection {
            vocab: self.shape.vocab,
            before: self.original.get(0..length),
            after: self.logits.get(0..length),
            targets: &self.targets[..self.shape.rows],
            log_probs: &self.log_probs,
            details: &self.details,
        });
        self.restore(0);
    }
}

pub struct Inspection<'a, E> {
    pub vocab: usize,
    pub before: &'a [E],
    pub after: &'a [E],
    pub targets: &'a [u32],
    pub log_probs: &'a [f32],
    pub details: &'a [RowDetails],
}

impl<E: Storage> Arena<E> {
    /// The next lap; nanoseconds per logit.
    fn lap(&mut self, work: Work) -> f64 {
        let Shape { rows, vocab, parts, calls } = self.shape;
        let first = self.next;
        self.next = (first + calls) % parts;
        if let Some(forward) = work.forward().filter(|_| self.step) {
            for part in first..first + calls {
                self.run(forward, part % parts);
            }
        }
        let start = Instant::now();
        for part in first..first + calls {
            self.run(work, part % parts);
        }
        start.elapsed().as_nanos() as f64 / (calls * rows * vocab) as f64
    }

    /// Puts the logits of the last `laps` back.
    fn undo(&mut self, work: Work, laps: usize) {
        if work.destroys() {
            let Shape { parts, calls, .. } = self.shape;
            for back in 1..=(laps * calls).min(parts) {
                self.restore((self.next + parts - back) % parts);
            }
        }
    }
}

impl<E: Storage> Laps for Arena<E> {
    fn turn(&mut self, work: Work) -> f64 {
        let Shape { rows, vocab, parts, calls } = self.shape;
        let bytes = calls * rows * vocab * size_of::<E>();
        let mut best = f64::INFINITY;
        let laps = CACHES.div_ceil(bytes);
        if 2 * laps * calls <= parts {
            // Out of cache. The first laps leave the caches full of what they wrote, as the others
            // will.
            for _ in 0..laps {
                self.lap(work);
            }
            for _ in 0..laps {
                best = best.min(self.lap(work));
            }
            self.undo(work, 2 * laps);
            // Not where a round of runners would come back to: all of them see all of the buffer.
            self.next = (self.next + STEP) % parts;
        } else {
            // Either the buffer stays in cache, or one lap is larger than it.
            self.lap(work);
            self.undo(work, 1);
            let start = Instant::now();
            while best.is_infinite() || start.elapsed() < TURN {
                best = best.min(self.lap(work));
                self.undo(work, 1);
            }
        }
        best
    }
}
