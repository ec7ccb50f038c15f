//! Two bare products of other libraries, tile after tile: logits of a tile, and the tile back. No
//! fold stands between them.

use std::time::Duration;

use dpo_kernel::Element;

use crate::clock::Start;
use crate::work::Work;

/// Columns of a tile.
const TILE: usize = 512;

/// A product `c = a · b + beta · c`, with `beta` 0 or 1: `a` m × k and `c` m × n, row after row;
/// `b` k × n, with strides of rows and of columns.
///
/// # Safety
/// The matrices lie inside of what the pointers may be used for, and `c` overlaps neither.
pub type Product = unsafe fn(
    (usize, usize, usize),
    *const f32,
    (*const f32, isize, isize),
    (*mut f32, isize),
    f32,
    isize,
);

/// The product of the crate `gemm`.
///
/// # Safety
/// As [`Product`] says.
pub unsafe fn by_gemm(
    (m, k, n): (usize, usize, usize),
    a: *const f32,
    (b, b_row, b_column): (*const f32, isize, isize),
    (c, c_row): (*mut f32, isize),
    beta: f32,
    a_row: isize,
) {
    // SAFETY: the caller's.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            c_row,
            beta > 0.0,
            a,
            1,
            a_row,
            b,
            b_column,
            b_row,
            beta,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The product of the crate `matrixmultiply`.
///
/// # Safety
/// As [`Product`] says.
pub unsafe fn by_matrixmultiply(
    (m, k, n): (usize, usize, usize),
    a: *const f32,
    (b, b_row, b_column): (*const f32, isize, isize),
    (c, c_row): (*mut f32, isize),
    beta: f32,
    a_row: isize,
) {
    // SAFETY: the caller's.
    unsafe {
        matrixmultiply::sgemm(m, k, n, 1.0, a, a_row, 1, b, b_row, b_column, beta, c, c_row, 1);
    }
}

/// The memory of both products.
pub struct Bare<'a, E> {
    work: &'a Work<E>,
    product: Product,
    states: Vec<f32>,
    /// A tile of weights, widened.
    weights: Vec<f32>,
    logits: Vec<f32>,
    back: Vec<f32>,
}

impl<'a, E: Element> Bare<'a, E> {
    pub fn new(work: &'a Work<E>, product: Product) -> Self {
        let Work { rows, size, .. } = *work;
        let states = work.states.iter().map(|x| x.to_f32()).collect();
        let (logits, back) = (vec![0.0; rows * TILE], vec![0.0; rows * size]);
        Self { work, product, states, weights: vec![0.0; TILE * size], logits, back }
    }

    /// Both products over all columns, and their times. f32 weights are read where they are.
    pub fn run(&mut self) -> [Duration; 2] {
        let Work { rows, size, vocab, .. } = *self.work;
        let (mut forward, mut backward) = (Duration::ZERO, Duration::ZERO);
        self.back.fill(0.0);
        for from in (0..vocab).step_by(TILE) {
            let count = TILE.min(vocab - from);
            let start = Start::now();
            let weights = &self.work.weights[from * size..][..count * size];
            let weights = if size_of::<E>() == 4 {
                weights.as_ptr().cast::<f32>()
            } else {
                for (to, from) in self.weights.iter_mut().zip(weights) {
                    *to = from.to_f32();
                }
                self.weights.as_ptr()
            };
            let logits = self.logits.as_mut_ptr();
            let (whole, tile) = (size as isize, TILE as isize);
            // SAFETY: rows × size states, count × size weights (elements of four bytes are f32), and
            // rows × TILE logits, of which the first count are meant.
            unsafe {
                let shape = (rows, size, count);
                let states = self.states.as_ptr();
                (self.product)(shape, states, (weights, 1, whole), (logits, tile), 0.0, whole);
            }
            forward += start.elapsed();
            let start = Start::now();
            // SAFETY: the same, and rows × size sums.
            unsafe {
                let (shape, back) = ((rows, count, size), self.back.as_mut_ptr());
                (self.product)(shape, logits, (weights, whole, 1), (back, whole), 1.0, tile);
            }
            backward += start.elapsed();
        }
        [forward, backward]
    }

    /// Compares some numbers with f64: the last tile's logits, and the sums back.
    ///
    /// # Panics
    /// Where they differ.
    pub fn check(&mut self, name: &str) {
        let Work { rows, size, vocab, .. } = *self.work;
        self.run();
        let last = (vocab - 1) / TILE * TILE;
        let weight =
            |column: usize, k: usize| f64::from(self.work.weights[column * size + k].to_f32());
        for row in [0, rows - 1] {
            let state = &self.states[row * size..][..size];
            let logit = |column: usize| -> f64 {
                state.iter().enumerate().map(|(k, &x)| f64::from(x) * weight(column, k)).sum()
            };
            for column in [last, vocab - 1] {
                let found = f64::from(self.logits[row * TILE + column - last]);
                assert!((found - logit(column)).abs() < 1e-4, "{name}: logit {row}, {column}");
            }
            let (mut sum, mut most) = ([0.0; 2], 0.0);
            for column in 0..vocab {
                let x = logit(column);
                for (sum, k) in sum.iter_mut().zip([0, size - 1]) {
                    *sum += x * weight(column, k);
                    most += (x * weight(column, k)).abs();
                }
            }
            for (sum, k) in sum.into_iter().zip([0, size - 1]) {
                let found = f64::from(self.back[row * size + k]);
                assert!((found - sum).abs() < 1e-5 * most, "{name}: back {row}, {k}");
            }
        }
    }
}
