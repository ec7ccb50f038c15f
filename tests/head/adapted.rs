//! An adapter over many rows, over threads, and where nothing reaches it.

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    Adapted, HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut, head_grads, head_token_log_probs,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Dispatch, Error, IGNORE_INDEX, TokenOut};

use crate::adapter::Low;
use crate::case::DIRT;

/// 300 rows are scored: three groups, or chains that a group must not end within.
#[test]
fn the_same_bits_for_all_rows_at_once() {
    let low = Low::new(450, 20, 70, 4);
    let due = low.run(Dispatch::detect(), 300);
    for at_once in [128, 130, 200, 256, 299] {
        assert!(low.run(Dispatch::detect(), at_once) == due, "{at_once} at once");
    }
}

/// Also where the head's own product takes less memory than that of the hidden states.
#[cfg(all(feature = "alloc", feature = "rayon"))]
#[test]
fn threads_change_nothing() {
    for low in [Low::new(20, 24, 700, 3), Low::new(300, 3, 90, 2)] {
        let dispatch = Dispatch::detect();
        let (at_once, case) = ((low.case.rows * 2 / 3).min(128), &low.case);
        let due = low.run(dispatch, at_once);
        let narrow = crate::trained::train::<_, _, dpo_kernel::bf16>(case, dispatch, at_once, true);
        for threads in [2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let executor = dpo_kernel::Parallel::new(dispatch);
                assert!(low.run(executor, at_once) == due, "{threads} threads");
                let found = crate::trained::train(case, executor, at_once, true);
                assert!(found == narrow, "16 bits, {threads} threads");
            });
        }
    }
}

#[test]
fn gradients_accumulate_if_asked_for() {
    let mut low = Low::new(15, 20, 700, 3);
    let alone = low.run(Dispatch::detect(), 15);
    low.before = Some(-3.0);
    let added = low.run(Dispatch::detect(), 15);
    for (alone, added) in [(&alone.b, &added.b), (&alone.bias, &added.bias)] {
        assert!(alone.iter().zip(added).all(|(alone, added)| alone - 3.0 == *added));
    }
    assert!(alone.a == added.a && alone.hidden == added.hidden);
}

/// No row with a coefficient, or none that is scored: zeros, not what was there.
#[test]
fn where_nothing_reaches_the_adapter_gradients_are_zeros() {
    let mut low = Low::new(9, 20, 600, 3);
    low.case.coefficients.fill(0.0);
    let idle = low.run(Dispatch::detect(), 9);
    low.case.targets.fill(IGNORE_INDEX);
    let unscored = low.run(Dispatch::detect(), 9);
    assert!(unscored.hidden.iter().flatten().all(|&d| d == DIRT));
    for found in [idle, unscored] {
        let of_head = found.b.iter().chain(&found.bias);
        assert!(of_head.chain(found.a.iter().flatten()).all(|d| d.to_bits() == 0));
    }
}

const R: usize = 6;
const H: usize = 5;
const V: usize = 9;

/// The errors of a forward and of gradients of B, for so many rows of u, so many numbers of B's
/// gradient, and room for so many rows.
fn errors(low: &Low, of_u: usize, of_b: usize, at_once: usize) -> [Result<(), Error>; 2] {
    let (adapter, layout, dispatch) = (low.adapter(), low.case.layout(), Dispatch::detect());
    let u = vec![0.5; of_u * 2];
    let u = Hidden::new(&u, of_u, 2).unwrap();
    let whole = [0.5; R * 2];
    let whole = Hidden::new(&whole, R, 2).unwrap();
    let head = Adapted::new::<f32>(low.case.head(), &adapter, whole).unwrap();
    let (mut hidden, mut b) = (vec![DIRT; R * (H + 2)], vec![DIRT; of_b]);
    let (mut log_probs, mut norms) = (vec![DIRT; R], vec![RowNorm::default(); R]);
    let (mut rows, mut numbers) = (vec![HeadRow::NEW; R], vec![f32::NAN; 1 << 16]);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let forward =
        head_token_log_probs(dispatch, low.case.hidden(), &head, &layout, out, scratch).map(|_| ());
    let batch = GradBatch::new(&layout, &norms, &low.case.coefficients);
    let grads = HeadGrads::of_adapter(u, &mut b).unwrap();
    let view = HiddenMut::new(&mut hidden, R, H + 2).unwrap();
    let scratch = HeadScratch::new(&mut rows[..at_once], &mut numbers);
    let backward = head_grads(dispatch, low.case.hidden(), &head, &batch, view, grads, scratch);
    if backward.is_err() {
        assert!(hidden.iter().chain(&b).all(|&x| x == DIRT));
    }
    [forward, backward]
}

#[test]
fn what_does_not_fit_is_refused() {
    let low = Low::new(R, H, V, 2);
    assert_eq!(errors(&low, R, V * 2, R), [Ok(()); 2]);
    let mismatch = |expected, found| [Ok(()), Err(Error::HiddenMismatch { expected, found })];
    assert_eq!(errors(&low, R - 1, V * 2, R), mismatch((R, 2), (R - 1, 2)));
    assert_eq!(errors(&low, R, V * 2 - 2, R), mismatch((V, 2), (V - 1, 2)));
    // Four rows are scored, and go through A together too.
    let due = Err(Error::Length { buffer: Buffer::HeadRows, expected: 4, found: 3 });
    assert_eq!(errors(&low, R, V * 2, 3)[1], due);
    let (mut rows, mut numbers) = ([HeadRow::NEW; 3], vec![f32::NAN; low.adapter().numbers(3)]);
    let (mut grads, mut a) = (vec![DIRT; R * (H + 2)], vec![DIRT; 2 * H]);
    let view = HiddenMut::new(&mut grads, R, H + 2).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let (states, layout) = (low.case.hidden(), low.case.layout());
    let adapter = low.adapter();
    let found =
        adapter.grads_in_place(Dispatch::detect(), states, &layout, view, Some(&mut a), scratch);
    assert_eq!(found, due);
    assert!(grads.iter().chain(&a).all(|&x| x == DIRT));
}

/// A row of B that is not finite is the head's.
#[test]
fn an_adapters_row_that_is_not_finite_is_named() {
    let mut low = Low::new(R, H, V, 2);
    low.b[7 * 2 + 1] = f32::NAN;
    let found = errors(&low, R, V * 2, R)[0].map_err(|error| error.to_string());
    assert_eq!(found, Err("weights of the head[7] is NaN, outside its domain".into()));
}
