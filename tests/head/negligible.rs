//! Tiles that are passed over because the host asked for it.

use dpo_kernel::error::Parameter;
use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    Head, HeadGrads, HeadRow, HeadScratch, HiddenMut, Linear, RowSums, States, Tile, head_forward,
    head_grads, hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Dispatch, Element, Error, IGNORE_INDEX, TokenOut, Transform};

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::case::{Case, DIRT, Random};
use crate::forward::bits;

/// A head that counts its products back.
struct Counting<'a> {
    head: Linear<'a, f32>,
    products: AtomicUsize,
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

    fn logits(&self, on: Dispatch, of: States<'_, E>, tile: &mut Tile<'_>, numbers: &mut [f32]) {
        self.head.logits(on, of, tile, numbers);
    }

    fn add_rows(&self, on: Dispatch, tile: &Tile<'_>, to: &mut RowSums<'_>, numbers: &mut [f32]) {
        self.products.fetch_add(1, Ordering::Relaxed);
        Head::<E>::add_rows(&self.head, on, tile, to, numbers);
    }

    fn row(&self, column: usize, from: usize, to: &mut [f32]) {
        Head::<E>::row(&self.head, column, from, to);
    }
}

/// Log-probs, hidden gradients of the frozen and of the trained way, weights' gradients, and the
/// products back of both ways.
struct Found {
    log_probs: Vec<f32>,
    frozen: Vec<f32>,
    trained: Vec<f32>,
    weights: Vec<f32>,
    products: [usize; 2],
}

fn run(case: &Case<f32, f32>, negligible: f32, at_once: usize) -> Found {
    let (layout, dispatch) = (case.layout(), Dispatch::detect());
    let head = Counting { head: case.head(), products: AtomicUsize::new(0) };
    let (rows, size) = (case.rows, case.size);
    let (mut log_probs, mut norms) = (vec![DIRT; rows], vec![RowNorm::default(); rows]);
    let [mut frozen, mut trained] = [vec![DIRT; rows * size], vec![DIRT; rows * size]];
    let mut weights = vec![DIRT; case.vocab * size];
    let mut room = vec![HeadRow::NEW; at_once];
    let grads = HeadGrads::of_weights(&mut weights, case.vocab, size).unwrap();
    let due = HeadScratch::numbers_trained::<_, f32, _, f32>(dispatch, &head, at_once, &grads);
    let mut numbers = vec![f32::NAN; due];
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    let sums = HiddenMut::new(&mut frozen, rows, size).unwrap();
    let scratch = HeadScratch::new(&mut room, &mut numbers).with_negligible(negligible).unwrap();
    head_forward(dispatch, case.hidden(), &head, &layout, out, sums, scratch).unwrap();
    let batch = GradBatch::new(&layout, &norms, &case.coefficients);
    let sums = HiddenMut::new(&mut frozen, rows, size).unwrap();
    let scratch = HeadScratch::new(&mut room, &mut numbers);
    hidden_grads_in_place(dispatch, case.hidden(), &head, &batch, sums, scratch).unwrap();
    let of_frozen = head.products.swap(0, Ordering::Relaxed);
    let hidden = HiddenMut::new(&mut trained, rows, size).unwrap();
    let scratch = HeadScratch::new(&mut room, &mut numbers).with_negligible(negligible).unwrap();
    head_grads(dispatch, case.hidden(), &head, &batch, hidden, grads, scratch).unwrap();
    let products = [of_frozen, head.products.load(Ordering::Relaxed)];
    Found { log_probs, frozen, trained, weights, products }
}

/// Five tiles; nearly all of every row's probability lies in the first 40 columns.
fn case() -> Case<f32, f32> {
    let mut case = Case::new(30, 24, 2400, 3);
    let mut random = Random(5);
    let bias = (0..2400).map(|j| random.unit() + if j < 40 { 26.0 } else { 0.0 }).collect();
    case.bias = Some(bias);
    for target in case.targets.iter_mut().filter(|target| **target != IGNORE_INDEX) {
        *target %= 40;
    }
    case
}

/// Most tiles are passed over; what changes is within the stated bound, and something does.
#[test]
fn what_is_left_out_is_bounded() {
    bounded(&case(), 1.0);
}

/// dy/dx is in what is compared, whatever the transform.
#[test]
fn what_is_left_out_is_bounded_under_transforms() {
    // Logits that are multiplied and divided by as much: the same probabilities.
    for factor in [0.0625_f32, 2.0] {
        let mut case = case().with_transform(factor, None, 1.0);
        for weight in &mut case.weights {
            *weight /= factor;
        }
        for bias in case.bias.as_mut().unwrap() {
            *bias /= factor;
        }
        bounded(&case, factor);
    }
}

fn bounded(case: &Case<f32, f32>, slope: f32) {
    let slope = f64::from(slope);
    let whole = run(case, 0.0, 30);
    assert_eq!(whole.products, [5, 5], "no tile is passed over without leave");
    for negligible in [1e-9, 1e-4, 1.0 / 256.0] {
        let found = run(case, negligible, 30);
        assert_eq!(bits(&found.log_probs), bits(&whole.log_probs));
        if negligible > 1e-5 {
            assert!(found.products[0] < 3 && found.products[1] < 3, "{:?}", found.products);
            assert!(bits(&found.frozen) != bits(&whole.frozen), "the control");
            assert!(bits(&found.trained) != bits(&whole.trained), "the control");
        }
        let of_rows = |h: usize| -> f64 {
            (0..2400).map(|j| f64::from(case.weights[j * case.stride + h]).abs()).sum()
        };
        let of_states = |h: usize| -> f64 {
            let scored = (0..30).filter(|&row| case.is_scored(row));
            scored
                .map(|row| {
                    let state = f64::from(case.states[row * case.stride + h]);
                    slope * (state * case.coefficients[row]).abs()
                })
                .sum()
        };
        let within = |found: f32, due: f32, most: f64| {
            let rounding = 1e-6 * f64::from(due).abs().max(most);
            f64::from(found - due).abs() <= f64::from(negligible) * most + rounding
        };
        for h in 0..24 {
            let (of_rows, of_states) = (of_rows(h), of_states(h));
            for row in (0..30).filter(|&row| case.is_scored(row)) {
                let most = slope * case.coefficients[row].abs() * of_rows;
                let at = row * 24 + h;
                assert!(within(found.frozen[at], whole.frozen[at], most), "{row} {h}");
                assert!(within(found.trained[at], whole.trained[at], most), "{row} {h}");
            }
            for at in (0..2400).map(|j| j * 24 + h) {
                assert!(within(found.weights[at], whole.weights[at], of_states), "{at}");
            }
        }
    }
}

/// A row that keeps the tile does not bring back another row's part.
#[test]
fn a_rows_part_does_not_depend_on_its_neighbours() {
    let mut case = case();
    // A target far away, whose own tile is never left out.
    case.targets[5] = 2300;
    let due = run(&case, 1e-3, 30);
    let found = run(&case, 1e-3, 20);
    assert_eq!(bits(&found.frozen), bits(&due.frozen));
    assert_eq!(bits(&found.trained), bits(&due.trained));
    assert_eq!(bits(&found.weights), bits(&due.weights));
}

/// A logit at the softcap, whose slope is nothing, lifts the base in a tile that is passed over: what
/// was summed before is rescaled all the same.
#[test]
fn a_base_that_moves_without_a_term_leaves_the_sums_right() {
    let mut case = Case::<f32, f32>::new(3, 8, 1100, 3).with_transform(1.0, Some(60.0), 1.0);
    let mut bias = vec![0.0; 1100];
    bias[1090] = 3000.0;
    case.bias = Some(bias);
    for target in case.targets.iter_mut().filter(|target| **target != IGNORE_INDEX) {
        *target = 7;
    }
    let (whole, found) = (run(&case, 0.0, 3), run(&case, 1e-12, 3));
    for (found, whole) in [(&found.frozen, &whole.frozen), (&found.trained, &whole.trained)] {
        for (found, whole) in found.iter().zip(whole).filter(|(_, whole)| **whole != DIRT) {
            assert!((found - whole).abs() <= 1e-12, "{found} {whole}");
        }
    }
}

/// One row, whose hidden state is 0, and two tiles: logits are biases. The target alone has a weight. `y` says what
/// the logit of a column is after a transform without a softcap.
fn two_tiles(scale: f32, c: f64, y: impl Fn(usize) -> f64) -> Case<f32, f32> {
    let mut case = Case::new(1, 1, 1024, 1).with_targets(|_| 0).with_transform(scale, None, 1.0);
    case.states.fill(0.0);
    case.weights.fill(0.0);
    case.weights[0] = 1.0;
    case.coefficients.fill(c);
    case.with_bias_of(|column| (y(column) / f64::from(scale)) as f32)
}

/// Columns of the second tile have a probability just above what is negligible, or just below,
/// wherever the base of the row is, and whatever the coefficient and the logits' scale.
#[test]
fn what_is_negligible_is_a_probability() {
    let negligible = 1e-4_f32;
    let products = |scale: f32, c: f64, peak: f64, of: f64| {
        let case = two_tiles(scale, c, |column| match column {
            0 => peak - 6.0,
            1 => peak,
            700 => peak + (-6.0_f64).exp().ln_1p() + (of * f64::from(negligible)).ln(),
            _ => peak - 60.0,
        });
        run(&case, negligible, 1).products
    };
    for scale in [1.0, 0.0625, 8.0] {
        for c in [0.003, -1.0, 40.0] {
            for step in 0..20 {
                // Where the sum itself is not about to reach the next base.
                for lift in [0.05, 8.55] {
                    let peak = lift + 0.1 * f64::from(step);
                    assert_eq!(products(scale, c, peak, 1.02), [2, 2], "{scale} {c} {peak}");
                    assert_eq!(products(scale, c, peak, 0.98)[1], 1, "{scale} {c} {peak}");
                    assert_eq!(products(scale, c, peak, 0.3), [1, 1], "{scale} {c} {peak}");
                }
            }
        }
    }
}

/// Without leave no tile is passed over, not even one that is masked: a weight of it may be infinite.
#[test]
fn masked_tiles_are_not_passed_over_without_leave() {
    let case = two_tiles(1.0, 0.5, |column| if column < 512 { 0.0 } else { f64::NEG_INFINITY });
    assert_eq!(run(&case, 0.0, 1).products, [2, 2]);
    assert_eq!(run(&case, 1e-30, 1).products, [1, 1]);
}

/// A target that is nearly sure is left what there is of its gradient.
#[test]
fn a_targets_part_is_never_negligible() {
    let miss = 1e-5_f64;
    let case = two_tiles(1.0, 0.5, |column| match column {
        0 => 3.0,
        600.. => 3.0 + (miss / 424.0).ln(),
        _ => -60.0,
    });
    let found = run(&case, 1e-3, 1);
    for d in [found.frozen[0], found.trained[0]] {
        assert!((f64::from(d) / (0.5 * miss) - 1.0).abs() < 1e-4, "{d}");
    }
}

#[test]
fn probabilities_are_checked() {
    for value in [-1e-9, 1.0 / 255.0, f32::NAN, f32::INFINITY] {
        let (mut rows, mut numbers) = ([HeadRow::NEW; 1], [0.0; 1]);
        let found = HeadScratch::new(&mut rows, &mut numbers).with_negligible(value).map(|_| ());
        let Err(Error::Parameter { parameter, value: named }) = found else {
            panic!("{value} passed");
        };
        assert_eq!(
            (parameter, named.to_bits()),
            (Parameter::Negligible, f64::from(value).to_bits())
        );
    }
}
