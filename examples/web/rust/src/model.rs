//! The host's own business: the language model of `examples/firmware`, larger.
//!
//! ```text
//! symbols ─▶ x, what was said ─▶ hidden layer, max(·, 0) ─▶ head ─▶ 48 logits
//!
//! x_t = Σ_k near_k[symbol_{t−k}] + m_t        the last NEAR symbols, each with its own table
//! m_t = λ m_{t−1} + (1 − λ) far[symbol_t]     all of them, fading; λ from ½ to 63/64 by channel
//! ```
//!
//! Adapters sit on the hidden layer and the head. Nothing before them is trained here, so x is computed
//! once a text.

use alloc::boxed::Box;
use alloc::vec::Vec;

use dpo_kernel_firmware::linear::{Adapter, Matrix, RANK};
use dpo_kernel_firmware::model::fading;
use dpo_kernel_firmware::random::Random;

use crate::text::{Text, VOCAB};

/// Channels of x.
pub const WIDTH: usize = 40;
/// Channels of the hidden layer.
pub const HIDDEN: usize = 128;
/// Symbols that x sees one by one.
pub const NEAR: usize = 6;
/// Weights of the adapters.
pub const ADAPTED: usize = RANK * (WIDTH + 2 * HIDDEN + VOCAB);

const TABLE: usize = 4 + VOCAB * WIDTH;
const MIDDLE: usize = 4 + WIDTH * HIDDEN;
/// Bytes of a model's file: for each matrix its scale (f32, little-endian) and its weights as i8: near tables,
/// far table, hidden layer, head.
pub const BYTES: usize = (NEAR + 1) * TABLE + MIDDLE + 4 + HIDDEN * VOCAB;

type Table = Matrix<VOCAB, WIDTH>;
/// One row of logits.
pub type Row = [f32; VOCAB];
/// One position's x.
pub type Input = [f32; WIDTH];

/// The base weights, which stay as they are.
#[derive(Clone, Copy, Debug)]
pub struct Base {
    near: [Table; NEAR],
    far: Table,
    hidden: Matrix<WIDTH, HIDDEN>,
    head: Matrix<HIDDEN, VOCAB>,
}

impl Base {
    /// The model of a file, or none if its length is not [`BYTES`]. It is kept for good: a page has one.
    pub fn new(file: Vec<u8>) -> Option<Self> {
        if file.len() != BYTES {
            return None;
        }
        let mut file: &'static [u8] = Box::leak(file.into_boxed_slice());
        let mut tables = [matrix(&mut file)?; NEAR];
        for table in tables.iter_mut().skip(1) {
            *table = matrix(&mut file)?;
        }
        let far = matrix(&mut file)?;
        let hidden = matrix(&mut file)?;
        Some(Self { near: tables, far, hidden, head: matrix(&mut file)? })
    }

    /// x of every position of a text, first to last.
    pub fn inputs<'a>(&'a self, symbols: &'a [u8]) -> impl Iterator<Item = Input> + 'a {
        let mut memory = Memory::default();
        (1..=symbols.len())
            .map(move |end| memory.next(self, symbols.get(..end).unwrap_or_default()))
    }

    /// The logits of a position; without adapters it is the reference.
    pub fn logits(&self, adapters: Option<&Adapters>, x: &Input) -> Row {
        self.head.forward(adapters.map(|a| &a.head), &self.active(adapters, x))
    }

    fn active(&self, adapters: Option<&Adapters>, x: &Input) -> [f32; HIDDEN] {
        let hidden = self.hidden.forward(adapters.map(|a| &a.hidden), x);
        hidden.map(|value| if value > 0.0 { value } else { 0.0 })
    }

    /// Adds the adapters' gradients of a position, from those of its logits.
    pub fn backward(&self, adapters: &Adapters, x: &Input, dy: &Row, grads: &mut Adapters) {
        let active = self.active(Some(adapters), x);
        let mut dh = self.head.backward(&adapters.head, &active, dy, &mut grads.head);
        for (dh, active) in dh.iter_mut().zip(active) {
            if active <= 0.0 {
                *dh = 0.0;
            }
        }
        self.hidden.backward(&adapters.hidden, x, &dh, &mut grads.hidden);
    }
}

/// The next matrix of a file.
fn matrix<const I: usize, const O: usize>(file: &mut &'static [u8]) -> Option<Matrix<I, O>> {
    let (scale, rest) = file.split_first_chunk::<4>()?;
    let (weights, rest) = rest.split_at_checked(I * O)?;
    *file = rest;
    let bytes = weights.as_chunks::<O>().0.first_chunk::<I>()?;
    Some(Matrix { scale: f32::from_le_bytes(*scale), bytes })
}

/// m, which does not grow with the text.
#[derive(Clone, Copy, Debug)]
pub struct Memory(Input);

impl Default for Memory {
    fn default() -> Self {
        Self([0.0; WIDTH])
    }
}

impl Memory {
    /// x at the last of these symbols, after those before it.
    pub fn next(&mut self, base: &Base, symbols: &[u8]) -> Input {
        let mut last = symbols.iter().rev().copied();
        let mut new = [0.0; WIDTH];
        if let Some(&symbol) = symbols.last() {
            add_row(&mut new, &base.far, symbol);
        }
        for (channel, (memory, new)) in self.0.iter_mut().zip(new).enumerate() {
            let keep = fading(channel);
            *memory = keep * *memory + (1.0 - keep) * new;
        }
        let mut x = self.0;
        for (table, symbol) in base.near.iter().zip(&mut last) {
            add_row(&mut x, table, symbol);
        }
        x
    }
}

fn add_row(x: &mut Input, table: &Table, symbol: u8) {
    for (x, &w) in x.iter_mut().zip(table.bytes.get(usize::from(symbol)).into_iter().flatten()) {
        *x += table.scale * f32::from(w.cast_signed());
    }
}

/// x of a text's rows of logits.
pub fn scored(base: &Base, text: &Text) -> Vec<Input> {
    let rows = text.rows();
    base.inputs(text.symbols()).skip(rows.start).take(rows.len()).collect()
}

/// What is trained, and the shape of its gradients and moments.
#[derive(Clone, Debug)]
pub struct Adapters {
    hidden: Adapter<WIDTH, HIDDEN>,
    head: Adapter<HIDDEN, VOCAB>,
}

impl Adapters {
    /// Nothing.
    pub const ZERO: Self = Self { hidden: Adapter::ZERO, head: Adapter::ZERO };

    /// Fresh adapters, which change no logit.
    pub fn start(bound: f32, random: &mut Random) -> Self {
        let mut adapters = Self::ZERO;
        adapters.hidden.start(bound, random);
        adapters.head.start(bound, random);
        adapters
    }

    /// Sets every number.
    pub fn fill(&mut self, value: f32) {
        self.hidden.fill(value);
        self.head.fill(value);
    }

    /// All numbers.
    pub fn parts(&self) -> impl Iterator<Item = &[f32]> {
        self.hidden.parts().into_iter().chain(self.head.parts())
    }

    /// All numbers, to be changed.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.hidden.parts_mut().into_iter().chain(self.head.parts_mut())
    }
}

/// Adam (Kingma, Ba 2015) without weight decay.
#[derive(Clone, Debug)]
pub struct Adam {
    mean: Adapters,
    square: Adapters,
    left: (f32, f32),
}

impl Default for Adam {
    fn default() -> Self {
        Self { mean: Adapters::ZERO, square: Adapters::ZERO, left: (1.0, 1.0) }
    }
}

impl Adam {
    /// One step along the gradients.
    pub fn update(&mut self, weights: &mut Adapters, grads: &Adapters, rate: f32) {
        const KEEP: (f32, f32) = (0.9, 0.98);
        self.left = (self.left.0 * KEEP.0, self.left.1 * KEEP.1);
        let unbias = (1.0 - self.left.0, 1.0 - self.left.1);
        let moments = self.mean.parts_mut().zip(self.square.parts_mut());
        for ((weights, grads), (means, squares)) in
            weights.parts_mut().zip(grads.parts()).zip(moments)
        {
            let moments = means.iter_mut().zip(squares);
            for ((weight, grad), (mean, square)) in weights.iter_mut().zip(grads).zip(moments) {
                *mean = KEEP.0 * *mean + (1.0 - KEEP.0) * grad;
                *square = KEEP.1 * *square + (1.0 - KEEP.1) * grad * grad;
                *weight -= rate * (*mean / unbias.0) / (libm::sqrtf(*square / unbias.1) + 1e-8);
            }
        }
    }
}
