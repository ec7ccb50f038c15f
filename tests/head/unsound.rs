//! A trained head that is told of shapes, rows and weights which are not right.

use dpo_kernel::gradient::{GradBatch, Unscored};
use dpo_kernel::head::{HeadGrads, HeadRow, HeadScratch, HiddenMut, head_grads};
use dpo_kernel::{Dispatch, Error};

use crate::case::{Case, DIRT, run};
use crate::forward::bits;
use crate::trained::{norms_of, train, train_and};

#[test]
fn gradients_of_other_shapes_are_refused() {
    let case = Case::<f32, f32>::new(6, 5, 9, 4);
    let (head, layout, dispatch) = (case.head(), case.layout(), Dispatch::detect());
    let norms = norms_of(&case, dispatch);
    let batch = GradBatch::new(&layout, &norms, &case.coefficients);
    for (vocab, size) in [(8, 5), (10, 5), (9, 4), (9, 6)] {
        let (mut hidden, mut weights) = (vec![DIRT; 6 * 5], vec![DIRT; vocab * size]);
        let (mut rows, mut numbers) = ([HeadRow::NEW; 6], vec![f32::NAN; 1 << 16]);
        let grads = HeadGrads::of_weights(&mut weights, vocab, size).unwrap();
        let view = HiddenMut::new(&mut hidden, 6, 5).unwrap();
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        let found = head_grads(dispatch, case.hidden(), &head, &batch, view, grads, scratch);
        let (expected, of) = ((9, 5), (vocab, size));
        assert_eq!(found, Err(Error::HiddenMismatch { expected, found: of }));
        assert!(hidden.iter().chain(&weights).all(|&x| x == DIRT));
    }
}

#[test]
fn rows_that_are_not_scored_become_zeros_if_asked_for() {
    let case = Case::<f32, f32>::new(9, 5, 600, 4).with_spans(&[(0, 4), (5, 8)]);
    let kept = train::<_, _, f32>(&case, Dispatch::detect(), 9, false);
    let found = train_and::<_, _, f32>(&case, Dispatch::detect(), 9, false, Unscored::Zero);
    for (row, (found, kept)) in found.hidden.chunks(6).zip(kept.hidden.chunks(6)).enumerate() {
        if case.is_scored(row) {
            assert_eq!(bits(found), bits(kept));
        } else {
            assert_eq!((bits(&found[..5]), found[5]), (vec![0; 5], DIRT), "{row}");
        }
    }
    assert_eq!(bits(&found.weights), bits(&kept.weights));
}

/// The weights of a row past its first 512 too; but not where a hidden state is why.
#[test]
fn what_breaks_rows_is_named() {
    let mut case = Case::<f32, f32>::new(3, 600, 40, 4);
    case.weights[7 * case.stride + 599] = f32::NAN;
    let named = |case: &Case<f32, f32>| {
        let found = run(case, Dispatch::detect(), 3, Unscored::Keep).summary;
        found.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(named(&case), Err("weights of the head[7] is NaN, outside its domain".into()));
    case.states[5] = f32::NAN;
    assert_eq!(named(&case), Err("row 0 is NaN, +inf or all −inf; rows of that kind: 2".into()));
}
