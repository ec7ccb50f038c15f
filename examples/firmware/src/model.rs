//! The host's own business: a language model of six kilobytes, with its backward written by hand.
//!
//! ```text
//! symbols ─▶ x, what was said ─▶ hidden layer, max(·, 0) ─▶ head ─▶ 32 logits
//!
//! x_t = Σ_k near_k[symbol_{t−k}] + m_t        the last NEAR symbols, each with its own table
//! m_t = λ m_{t−1} + (1 − λ) far[symbol_t]     all of them, fading; λ from ½ to 63/64 by channel
//! ```
//!
//! The memory m does not grow with the text. Adapters sit on the hidden layer and the head; nothing
//! before them is trained on the device, so the backward ends there.

use crate::linear::{Adapter, Matrix};
use crate::text::{Sequence, VOCAB};

/// Channels of x.
pub const WIDTH: usize = 24;
/// Channels of the hidden layer.
pub const HIDDEN: usize = 48;
/// Symbols that x sees one by one.
pub const NEAR: usize = 4;

/// One row a symbol.
pub type Table = Matrix<VOCAB, WIDTH>;

/// The base weights, which stay in flash.
#[derive(Clone, Copy, Debug)]
pub struct Base {
    pub near: [Table; NEAR],
    pub far: Table,
    pub hidden: Matrix<WIDTH, HIDDEN>,
    pub head: Matrix<HIDDEN, VOCAB>,
}

/// What is trained on the device, and the shape of its gradients and moments.
#[derive(Clone, Debug)]
pub struct Adapters {
    pub hidden: Adapter<WIDTH, HIDDEN>,
    pub head: Adapter<HIDDEN, VOCAB>,
}

impl Adapters {
    pub const ZERO: Self = Self { hidden: Adapter::ZERO, head: Adapter::ZERO };

    pub fn fill(&mut self, value: f32) {
        self.hidden.fill(value);
        self.head.fill(value);
    }

    pub fn parts(&self) -> impl Iterator<Item = &[f32]> {
        self.hidden.parts().into_iter().chain(self.head.parts())
    }

    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.hidden.parts_mut().into_iter().chain(self.head.parts_mut())
    }
}

/// λ of each channel: ½, ¾, … 63/64, and again.
pub fn fading(channel: usize) -> f32 {
    1.0 - 0.5 / f32::from(1_u8 << (channel % 6))
}

/// Adds a table's row to x.
fn add_row(x: &mut [f32; WIDTH], table: &Table, symbol: u8) {
    for (x, &w) in x.iter_mut().zip(table.bytes.get(usize::from(symbol)).into_iter().flatten()) {
        *x += table.scale * f32::from(w.cast_signed());
    }
}

/// The model's input at each position of a text, first to last.
pub fn inputs<'a>(base: &'a Base, symbols: &'a [u8]) -> impl Iterator<Item = [f32; WIDTH]> + 'a {
    let mut memory = [0.0; WIDTH];
    (0..symbols.len()).map(move |t| {
        let last = |k: usize| t.checked_sub(k).and_then(|at| symbols.get(at).copied());
        let mut new = [0.0; WIDTH];
        if let Some(symbol) = last(0) {
            add_row(&mut new, &base.far, symbol);
        }
        for (channel, (memory, new)) in memory.iter_mut().zip(new).enumerate() {
            let keep = fading(channel);
            *memory = keep * *memory + (1.0 - keep) * new;
        }
        let mut x = memory;
        for (k, table) in base.near.iter().enumerate() {
            if let Some(symbol) = last(k) {
                add_row(&mut x, table, symbol);
            }
        }
        x
    })
}

/// The inputs that a sequence's rows of logits are made from.
fn scored<'a>(base: &'a Base, text: &'a Sequence) -> impl Iterator<Item = [f32; WIDTH]> + 'a {
    inputs(base, text.symbols()).skip(text.first_row()).take(text.rows())
}

fn positive(row: [f32; HIDDEN]) -> [f32; HIDDEN] {
    row.map(|value| if value > 0.0 { value } else { 0.0 })
}

/// Writes the logits of a sequence's answer, one row a symbol; without adapters it is the
/// reference.
pub fn forward(
    base: &Base,
    adapters: Option<&Adapters>,
    text: &Sequence,
    logits: &mut [[f32; VOCAB]],
) {
    for (x, to) in scored(base, text).zip(logits) {
        let hidden = positive(base.hidden.forward(adapters.map(|a| &a.hidden), &x));
        *to = base.head.forward(adapters.map(|a| &a.head), &hidden);
    }
}

/// Adds the adapters' gradients of a sequence, from those of its logits.
pub fn backward(
    base: &Base,
    adapters: &Adapters,
    text: &Sequence,
    d_logits: &[[f32; VOCAB]],
    grads: &mut Adapters,
) {
    for (x, dy) in scored(base, text).zip(d_logits) {
        let hidden = positive(base.hidden.forward(Some(&adapters.hidden), &x));
        let mut dh = base.head.backward(&adapters.head, &hidden, dy, &mut grads.head);
        for (dh, hidden) in dh.iter_mut().zip(hidden) {
            if hidden <= 0.0 {
                *dh = 0.0;
            }
        }
        base.hidden.backward(&adapters.hidden, &x, &dh, &mut grads.hidden);
    }
}
