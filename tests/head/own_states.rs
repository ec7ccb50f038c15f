//! A head with its own product of hidden states, as a host with a faster one has it.

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    ColumnSums, Head, HeadGrads, HeadRow, HeadScratch, HiddenMut, Linear, RowSums, States, Tile,
    head_grads,
};
use dpo_kernel::{Dispatch, Executor, Transform};

use crate::case::{Case, DIRT};
use crate::trained::norms_of;

/// Adds up hidden states in f64, whatever the tile's rows.
struct Own<'a>(Linear<'a, f32>);

impl Head<f32> for Own<'_> {
    fn vocab(&self) -> usize {
        Head::<f32>::vocab(&self.0)
    }

    fn size(&self) -> usize {
        Head::<f32>::size(&self.0)
    }

    fn transform(&self) -> Transform {
        Head::<f32>::transform(&self.0)
    }

    fn numbers(&self) -> usize {
        Head::<f32>::numbers(&self.0)
    }

    fn logits(&self, on: Dispatch, of: States<'_, f32>, tile: &mut Tile<'_>, numbers: &mut [f32]) {
        self.0.logits(on, of, tile, numbers);
    }

    fn add_rows(&self, on: Dispatch, tile: &Tile<'_>, to: &mut RowSums<'_>, numbers: &mut [f32]) {
        Head::<f32>::add_rows(&self.0, on, tile, to, numbers);
    }

    fn add_states(
        &self,
        _: Dispatch,
        states: States<'_, f32>,
        tile: &Tile<'_>,
        sums: &mut ColumnSums<'_>,
        _: &mut [f32],
    ) {
        let (columns, stride, is_first) = (sums.columns(), sums.stride(), sums.is_first());
        for (i, column) in columns.enumerate() {
            for h in 0..states.size() {
                let term = |row: usize| f64::from(tile.row(row)[column] * states.row(row)[h]);
                let sum = (0..tile.rows()).map(term).sum::<f64>() as f32;
                let to = &mut sums.numbers_mut()[i * stride + h];
                *to = if is_first { sum } else { *to + sum };
            }
        }
    }

    fn row(&self, column: usize, from: usize, to: &mut [f32]) {
        Head::<f32>::row(&self.0, column, from, to);
    }
}

fn weights<H: Head<f32>>(case: &Case<f32, f32>, head: &H, executor: impl Executor) -> Vec<f32> {
    let (size, vocab, layout) = (case.size, case.vocab, case.layout());
    let norms = norms_of(case, executor);
    let mut weights = vec![DIRT; vocab * (size + 2)];
    let mut hidden = vec![DIRT; case.rows * size];
    let grads = HeadGrads::of_weights_with_stride(&mut weights, vocab, size, size + 2).unwrap();
    let mut rows = vec![HeadRow::NEW; 128];
    let due = HeadScratch::numbers_trained::<_, f32, _, f32>(executor, head, 128, &grads);
    let mut numbers = vec![f32::NAN; due];
    let batch = GradBatch::new(&layout, &norms, &case.coefficients);
    let view = HiddenMut::new(&mut hidden, case.rows, size).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    head_grads(executor, case.hidden(), head, &batch, view, grads, scratch).unwrap();
    weights
}

/// Two groups of rows, two tiles, and threads that each take some of a tile's columns.
#[test]
fn gradients_are_those_of_the_built_in_product() {
    let case = Case::<f32, f32>::new(250, 7, 700, 3);
    let dispatch = Dispatch::detect();
    let due = weights(&case, &case.head(), dispatch);
    let largest = due.iter().filter(|d| **d != DIRT).fold(0.0_f32, |a, d| a.max(d.abs()));
    let found = weights(&case, &Own(case.head()), dispatch);
    for (i, (found, due)) in found.iter().zip(&due).enumerate() {
        assert!((found - due).abs() < 1e-5 * largest, "{i}: {found}, not {due}");
        assert_eq!(*found == DIRT, i % 9 >= 7, "{i}");
    }
    #[cfg(all(feature = "alloc", feature = "rayon"))]
    {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let executor = dpo_kernel::Parallel::new(dispatch);
        let threads = pool.install(|| weights(&case, &Own(case.head()), executor));
        assert!(threads == found, "threads");
    }
}
