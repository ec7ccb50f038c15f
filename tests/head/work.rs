//! What a head is asked for: every tile once, of rows that are scored, and nothing in the backward
//! but the target's logit where it has a say.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    Head, HeadRow, HeadScratch, HiddenMut, Linear, RowSums, States, Tile, head_forward,
    head_token_log_probs, hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Dispatch, Element, TokenOut, Transform};

use crate::case::Case;
use crate::forward::bits;

/// A head that counts rows times columns.
struct Counting<'a> {
    head: Linear<'a, f32>,
    size: usize,
    made: AtomicUsize,
    weighed: AtomicUsize,
}

impl Counting<'_> {
    fn take(&self) -> (usize, usize) {
        (self.made.swap(0, Relaxed), self.weighed.swap(0, Relaxed))
    }
}

impl<E: Element> Head<E> for Counting<'_> {
    fn vocab(&self) -> usize {
        Head::<E>::vocab(&self.head)
    }

    fn size(&self) -> usize {
        Head::<E>::size(&self.head)
    }

    fn transform(&self) -> Transform {
        Head::<E>::transform(&self.head)
    }

    fn numbers(&self) -> usize {
        Head::<E>::numbers(&self.head)
    }

    fn logits(
        &self,
        dispatch: Dispatch,
        states: States<'_, E>,
        tile: &mut Tile<'_>,
        numbers: &mut [f32],
    ) {
        let (rows, width, stride) = (tile.rows(), tile.width(), Tile::STRIDE);
        assert_eq!((states.len(), states.size()), (rows, self.size), "hidden states of a tile");
        assert!(!states.is_empty() && states.row(0).len() == self.size);
        assert!(states.row(rows).is_empty() && tile.columns().len() == width);
        self.made.fetch_add(rows * width, Relaxed);
        self.head.logits(dispatch, states, tile, numbers);
        for row in 0..rows {
            let numbers = &tile.as_numbers()[row * stride..][..width];
            assert_eq!(bits(tile.row(row)), bits(numbers), "a row of a tile");
        }
        // By the row and by the number is the same place.
        let last = (rows - 1) * stride + width - 1;
        let logit = std::mem::replace(&mut tile.numbers_mut()[last], 7.0);
        assert_eq!(tile.row(rows - 1)[width - 1], 7.0);
        tile.row_mut(rows - 1)[width - 1] = logit;
        assert!(tile.row(rows).is_empty() && tile.row_mut(rows).is_empty(), "past the last row");
    }

    fn add_rows(
        &self,
        dispatch: Dispatch,
        tile: &Tile<'_>,
        sums: &mut RowSums<'_>,
        numbers: &mut [f32],
    ) {
        let rows = tile.rows();
        for row in 0..rows {
            // A base moves by a power of two.
            let scale = sums.scale(row);
            assert!(scale > 0.0 && scale.to_bits() << 9 == 0, "{scale}");
            assert_eq!(sums.row_mut(row).len(), self.size);
        }
        assert!(sums.scale(rows) == 1.0 && sums.row_mut(rows).is_empty(), "past the last row");
        self.weighed.fetch_add(rows * tile.width(), Relaxed);
        Head::<E>::add_rows(&self.head, dispatch, tile, sums, numbers);
    }

    fn row(&self, column: usize, from: usize, to: &mut [f32]) {
        Head::<E>::row(&self.head, column, from, to);
    }
}

#[test]
fn every_tile_is_made_once_of_scored_rows() {
    let plain = Case::<f32, f32>::new(23, 20, 1300, 5).with_spans(&[(2, 9), (11, 20)]);
    for case in [plain.clone(), plain.with_transform(1.0, Some(20.0), 1.0)] {
        let scored = (0..23).filter(|&row| case.is_scored(row)).count();
        assert!(scored > 8 && scored < 12, "the control: {scored}");
        let (dispatch, layout) = (Dispatch::detect(), case.layout());
        let head = Counting {
            head: case.head(),
            size: 20,
            made: AtomicUsize::new(0),
            weighed: AtomicUsize::new(0),
        };
        for at_once in [1, 4, 23] {
            let mut rows = vec![HeadRow::NEW; at_once];
            let mut numbers = vec![f32::NAN; HeadScratch::numbers::<f32, _>(&head, at_once)];
            let (mut log_probs, mut norms) = ([0.0; 23], [RowNorm::default(); 23]);
            let mut sums = vec![f32::NAN; 23 * 20];
            let out = TokenOut::new(&mut log_probs);
            let scratch = HeadScratch::new(&mut rows, &mut numbers);
            head_token_log_probs(dispatch, case.hidden(), &head, &layout, out, scratch).unwrap();
            assert_eq!(head.take(), (scored * 1300, 0), "log-probs");
            let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
            let view = HiddenMut::new(&mut sums, 23, 20).unwrap();
            let scratch = HeadScratch::new(&mut rows, &mut numbers);
            head_forward(dispatch, case.hidden(), &head, &layout, out, view, scratch).unwrap();
            assert_eq!(head.take(), (scored * 1300, scored * 1300), "forward");
            let batch = GradBatch::new(&layout, &norms, &case.coefficients);
            let view = HiddenMut::new(&mut sums, 23, 20).unwrap();
            let scratch = HeadScratch::new(&mut rows, &mut numbers);
            hidden_grads_in_place(dispatch, case.hidden(), &head, &batch, view, scratch).unwrap();
            // Where 1 − p is 1, the target may be masked.
            let asked = |row: &usize| case.parameters.is_some() || log_probs[*row] < -17.33;
            let due = (0..23).filter(|&row| case.is_scored(row)).filter(asked).count();
            assert!(due < 3 || due == scored, "the control: {due}");
            assert_eq!(head.take(), (due, 0), "backward");
        }
    }
}
