//! Token log-probs and the gradient in place as exports of a WebAssembly module, over buffers in its
//! own memory. `bench.mjs` fills them, checks results and takes the time.
//!
//! ```text
//! prepare(type, rows, vocab)             buffers for as many rows of f32, f16 or bf16 (types 0, 1, 2)
//! logits() targets() coefficients()      where they are: elements, u32, f64
//! forward()                              log-probs of the targets, to log_probs(), f32
//! backward()                             gradients in place of the logits, after a forward
//! ```

use std::sync::Mutex;

use dpo_kernel::gradient::{GradBatch, logit_grads_in_place};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Dispatch, Element, Error, Layout, Logits, LogitsMut, Span, TokenOut, bf16, f16, token_log_probs,
};

/// Logits of one type.
enum Elements {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

/// Rows of logits, and what is made of them.
struct Work {
    elements: Elements,
    rest: Rest,
}

struct Rest {
    rows: usize,
    vocab: usize,
    targets: Vec<u32>,
    spans: [Span; 1],
    coefficients: Vec<f64>,
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
}

static WORK: Mutex<Option<Work>> = Mutex::new(None);

/// What `with` gives of the work at hand; `none` before the first [`prepare`].
fn of_work<T>(none: T, with: impl FnOnce(&mut Work) -> T) -> T {
    match WORK.lock() {
        Ok(mut work) => work.as_mut().map_or(none, with),
        Err(_) => none,
    }
}

impl Rest {
    fn forward<E: Element>(&mut self, elements: &[E]) -> Result<(), Error> {
        let logits = Logits::new(elements, self.rows, self.vocab)?;
        let layout = Layout::new(&self.targets, &self.spans, self.vocab)?;
        let out = TokenOut::new(&mut self.log_probs).with_norms(&mut self.norms);
        token_log_probs(Dispatch::detect(), logits, &layout, out).map(drop)
    }

    fn backward<E: Element>(&self, elements: &mut [E]) -> Result<(), Error> {
        let layout = Layout::new(&self.targets, &self.spans, self.vocab)?;
        let batch = GradBatch::new(&layout, &self.norms, &self.coefficients);
        let logits = LogitsMut::new(elements, self.rows, self.vocab)?;
        logit_grads_in_place(Dispatch::detect(), logits, &batch)
    }
}

/// Whether the module was built with simd128.
#[unsafe(no_mangle)]
pub extern "C" fn has_simd() -> bool {
    cfg!(target_feature = "simd128")
}

/// Makes buffers, and drops those that were there; whether there is such a type.
#[unsafe(no_mangle)]
pub extern "C" fn prepare(kind: u32, rows: usize, vocab: usize) -> bool {
    let Ok(mut work) = WORK.lock() else { return false };
    *work = None;
    let length = rows * vocab;
    let elements = match kind {
        0 => Elements::F32(vec![0.0; length]),
        1 => Elements::F16(vec![f16::ZERO; length]),
        2 => Elements::Bf16(vec![bf16::ZERO; length]),
        _ => return false,
    };
    let rest = Rest {
        rows,
        vocab,
        targets: vec![0; rows],
        spans: [Span::new(0, rows)],
        coefficients: vec![0.0; rows],
        log_probs: vec![0.0; rows],
        norms: vec![RowNorm::default(); rows],
    };
    *work = Some(Work { elements, rest });
    true
}

/// The token log-probs; whether they were made.
#[unsafe(no_mangle)]
pub extern "C" fn forward() -> bool {
    of_work(false, |Work { elements, rest }| {
        let done = match elements {
            Elements::F32(elements) => rest.forward(elements),
            Elements::F16(elements) => rest.forward(elements),
            Elements::Bf16(elements) => rest.forward(elements),
        };
        done.is_ok()
    })
}

/// The gradients; whether they were made.
#[unsafe(no_mangle)]
pub extern "C" fn backward() -> bool {
    of_work(false, |Work { elements, rest }| {
        let done = match elements {
            Elements::F32(elements) => rest.backward(elements),
            Elements::F16(elements) => rest.backward(elements),
            Elements::Bf16(elements) => rest.backward(elements),
        };
        done.is_ok()
    })
}

/// Where the logits are.
#[unsafe(no_mangle)]
pub extern "C" fn logits() -> usize {
    of_work(0, |work| match &work.elements {
        Elements::F32(elements) => elements.as_ptr().addr(),
        Elements::F16(elements) => elements.as_ptr().addr(),
        Elements::Bf16(elements) => elements.as_ptr().addr(),
    })
}

/// Where the targets are.
#[unsafe(no_mangle)]
pub extern "C" fn targets() -> usize {
    of_work(0, |work| work.rest.targets.as_ptr().addr())
}

/// Where the coefficients ∂L/∂log p are.
#[unsafe(no_mangle)]
pub extern "C" fn coefficients() -> usize {
    of_work(0, |work| work.rest.coefficients.as_ptr().addr())
}

/// Where the log-probs are.
#[unsafe(no_mangle)]
pub extern "C" fn log_probs() -> usize {
    of_work(0, |work| work.rest.log_probs.as_ptr().addr())
}
