//! A head of weights in eight and four bits, as GGUF keeps them, through the trait alone.

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    Head, HeadRow, HeadScratch, HiddenMut, RowSums, States, Tile, head_forward,
    hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Dispatch, Element, TokenOut, Transform, f16};

use crate::case::{Case, Random, run};

/// A block of `Q8_0` or `Q4_0`: a scale, and 32 integers.
#[derive(Clone, Copy)]
struct Block {
    scale: f16,
    numbers: [i8; 32],
}

/// V rows of H/32 blocks.
struct Blocks {
    rows: Vec<Block>,
    vocab: usize,
    size: usize,
}

impl Blocks {
    /// Integers in ±`most`: 127 of `Q8_0`, 7 of `Q4_0` (whose sixteenth is −8).
    fn new(vocab: usize, size: usize, most: i8, seed: u64) -> Self {
        let mut random = Random(seed);
        let rows = (0..vocab * size / 32)
            .map(|_| {
                let range = 2 * usize::from(most.unsigned_abs()) + 1;
                let numbers =
                    core::array::from_fn(|_| (random.below(range) as i64 - i64::from(most)) as i8);
                let scale = f16::from_f32((1.5 + random.unit()) * 0.3 / f32::from(most));
                Block { scale, numbers }
            })
            .collect();
        Self { rows, vocab, size }
    }

    fn weight(&self, row: usize, k: usize) -> f32 {
        let block = &self.rows[(row * self.size + k) / 32];
        block.scale.to_f32() * f32::from(block.numbers[k % 32])
    }
}

impl<E: Element> Head<E> for Blocks {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn size(&self) -> usize {
        self.size
    }

    fn transform(&self) -> Transform {
        Transform::NONE
    }

    fn numbers(&self) -> usize {
        self.size
    }

    fn logits(&self, _: Dispatch, states: States<'_, E>, tile: &mut Tile<'_>, room: &mut [f32]) {
        let columns = tile.columns();
        assert!(!states.is_empty() && states.size() == self.size && room.len() >= self.size);
        for (j, column) in columns.enumerate() {
            Head::<E>::row(self, column, 0, &mut room[..self.size]);
            for i in 0..tile.rows() {
                let products = states.row(i).iter().zip(&*room).map(|(a, b)| a.to_f32() * b);
                tile.row_mut(i)[j] = products.sum();
            }
        }
    }

    fn add_rows(&self, _: Dispatch, tile: &Tile<'_>, sums: &mut RowSums<'_>, _: &mut [f32]) {
        for i in 0..tile.rows() {
            let scale = sums.scale(i);
            let to = sums.row_mut(i);
            for to in &mut *to {
                *to *= scale;
            }
            for (column, p) in tile.columns().zip(tile.row(i)) {
                for (k, to) in to.iter_mut().enumerate() {
                    *to += p * self.weight(column, k);
                }
            }
        }
    }

    fn row(&self, column: usize, from: usize, to: &mut [f32]) {
        for (k, to) in to.iter_mut().enumerate() {
            *to = self.weight(column, from + k);
        }
    }
}

/// Log-probs and gradients are those of the weights written out in f32, to the roundings of another
/// order.
#[test]
fn quantised_heads_go_through_the_trait() {
    for most in [127, 7] {
        let blocks = Blocks::new(700, 64, most, 5);
        let mut case = Case::<f32, f32>::new(7, 64, 700, 8);
        for row in 0..700 {
            for k in 0..64 {
                case.weights[row * case.stride + k] = blocks.weight(row, k);
            }
        }
        let (layout, dispatch) = (case.layout(), Dispatch::detect());
        let due = run(&case, dispatch, 7, dpo_kernel::gradient::Unscored::Keep);
        let (mut log_probs, mut norms) = (vec![0.0; 7], vec![RowNorm::default(); 7]);
        let mut sums = vec![0.0; 7 * 64];
        let mut rows = [HeadRow::NEW; 3];
        let mut numbers = vec![0.0; HeadScratch::numbers::<f32, _>(&blocks, 3)];
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let view = HiddenMut::new(&mut sums, 7, 64).unwrap();
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        head_forward(dispatch, case.hidden(), &blocks, &layout, out, view, scratch).unwrap();
        let batch = GradBatch::new(&layout, &norms, &case.coefficients);
        let view = HiddenMut::new(&mut sums, 7, 64).unwrap();
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        hidden_grads_in_place(dispatch, case.hidden(), &blocks, &batch, view, scratch).unwrap();
        for row in (0..7).filter(|&row| case.is_scored(row)) {
            let error = (log_probs[row] - due.log_probs[row]).abs();
            assert!(error < 2e-5, "row {row}: {} {}", log_probs[row], due.log_probs[row]);
            let (found, due) = (&sums[row * 64..][..64], &due.grads[row * 65..][..64]);
            let size = due.iter().fold(0.0_f32, |a, d| a.max(d.abs()));
            for (found, due) in found.iter().zip(due) {
                assert!((found - due).abs() < 3e-5 * size, "row {row}: {found} {due} of {size}");
            }
        }
    }
}
