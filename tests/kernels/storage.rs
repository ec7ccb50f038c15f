//! 16-bit storage: every value through every load, and every store against `half`.

use dpo_kernel::gradient::{GradBatch, logit_grads};
use dpo_kernel::row::RowNorm;
use dpo_kernel::row::{Details, RowStats};
use dpo_kernel::{
    Dispatch, Layout, Logits, LogitsMut, Span, TokenOut, Transform, bf16, f16, token_log_probs,
    verify,
};

use crate::common::levels::for_each_dispatch;
use crate::rows::{Random, Store, normal_row, stored, ulp, widen};
use crate::run::{forward, gradient, gradient_in_place};

/// The mean logit of 16 columns, x in one of them and 0 in the others: x/16 through the vector
/// load.
fn sixteenth<E: Store>(dispatch: Dispatch, x: E, lane: usize, vocab: usize) -> f32 {
    let mut row = vec![E::ZERO; vocab];
    row[lane] = x;
    let mut stats = RowStats::<Details>::new(Transform::NONE, None);
    stats.fold(dispatch, &row, 0);
    stats.details().mean_logit
}

fn all_values_load<E: Store>(from_bits: fn(u16) -> E) {
    for_each_dispatch(|dispatch| {
        for bits in 0..=u16::MAX {
            let x = from_bits(bits);
            let wide = x.to_f32();
            let lane = usize::from(bits.wrapping_mul(0x9e37) >> 12);
            let found = sixteenth(dispatch, x, lane, 16);
            let place = format!("{dispatch:?}, {} {bits:#06x} in lane {lane}", E::NAME);
            if wide.is_nan() || wide == f32::INFINITY {
                assert!(found.is_nan(), "{place}: {wide} became {found}");
            } else {
                let exact = (f64::from(wide) / 16.0) as f32;
                assert!(found == exact, "{place}: {found:e} is not {exact:e}");
            }
            // A row of one column holds x itself, through the copy of the tail.
            if wide.is_finite() {
                let found = sixteenth(dispatch, x, 0, 1);
                assert!(found == wide, "{place}, alone: {found:e} is not {wide:e}");
            }
        }
    });
}

#[test]
fn all_65536_f16_load() {
    all_values_load::<f16>(f16::from_bits);
}

#[test]
fn all_65536_bf16_load() {
    all_values_load::<bf16>(bf16::from_bits);
}

/// Every f32 that a 16-bit type's rounding may get wrong: around all of its values and midpoints.
fn stores_round_as_half_does<E: Store>(from_bits: fn(u16) -> E) {
    // The gradient of column j of [target, x…] is −c·p(x); with c over many scales its f32 value
    // has any exponent, and the same kernel writes it to f32 and to E.
    let mut random = Random::new(16);
    let mut row = normal_row::<E>(2048, 6.0, 0.0, 7);
    row[100..110].fill(E::NEG_INFINITY);
    for_each_dispatch(|dispatch| {
        for power in (-150..=60).step_by(3) {
            let c =
                libm::scalbn(1.0 + random.unit(), power) * if power % 2 == 0 { 1.0 } else { -1.0 };
            let wide = gradient::<E, f32>(dispatch, &row, 3, Transform::NONE, c);
            let narrow = gradient::<E, E>(dispatch, &row, 3, Transform::NONE, c);
            for (j, (&wide, &narrow)) in wide.iter().zip(&narrow).enumerate() {
                let exact = E::from_f32(wide);
                assert!(
                    narrow.bits() == exact.bits(),
                    "{dispatch:?}, {}, c = {c:e}, column {j}: {wide:e} became {narrow:?}",
                    E::NAME
                );
            }
        }
    });
    ties_round_as_half_does(from_bits);
}

/// All midpoints of neighbours, with their neighbours in f32; also of the largest and what would
/// follow it.
fn ties_round_as_half_does<E: Store>(from_bits: fn(u16) -> E) {
    let largest = (0..0x7fff).rfind(|&bits| from_bits(bits).to_f32().is_finite()).unwrap();
    let mut values = Vec::new();
    for bits in 0..=largest {
        let low = from_bits(bits).to_f32();
        let high = if bits < largest {
            from_bits(bits + 1).to_f32()
        } else {
            low + (low - from_bits(bits - 1).to_f32())
        };
        let middle = low / 2.0 + high / 2.0;
        values.extend([middle.next_down(), middle, middle.next_up()]);
    }
    values.extend([65_535.0, 65_536.0, 65_537.0, 1e5, 1e30]);
    // A gradient below f32's normal numbers may vanish, and c has to be within 2^127.
    values.retain(|x| (f32::MIN_POSITIVE * 4.0..f32::MAX / 4.0).contains(x));
    // Rows of two equal logits: p = 1/2 exactly, so the gradients are ±c/2 for any c.
    let rows = values.len();
    let (logits, targets) = (vec![E::ZERO; 2 * rows], vec![0; rows]);
    let spans: Vec<Span> = (0..rows).map(|row| Span::new(row, row + 1)).collect();
    let c: Vec<f64> = values.iter().map(|&x| -2.0 * f64::from(x)).collect();
    let expected: Vec<u32> =
        values.iter().flat_map(|&x| [E::from_f32(-x).bits(), E::from_f32(x).bits()]).collect();
    for_each_dispatch(|dispatch| {
        let logits = Logits::new(&logits, rows, 2).unwrap();
        let (mut log_probs, mut norms) = (vec![0.0; rows], vec![RowNorm::default(); rows]);
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let layout = Layout::new(&targets, &spans, 2).unwrap();
        token_log_probs(dispatch, logits, &layout, out).unwrap();
        let batch = GradBatch::new(&layout, &norms, &c);
        let mut found = vec![E::POISON; 2 * rows];
        logit_grads(dispatch, logits, &batch, LogitsMut::new(&mut found, rows, 2).unwrap())
            .unwrap();
        let mut wide = vec![0.0_f32; 2 * rows];
        logit_grads(dispatch, logits, &batch, LogitsMut::new(&mut wide, rows, 2).unwrap()).unwrap();
        for (row, &value) in values.iter().enumerate() {
            let at = 2 * row..2 * row + 2;
            assert_eq!(wide[at.clone()], [-value, value], "{dispatch:?}: half of c");
            let (found, expected) = (found[at.clone()].to_vec().map_bits(), &expected[at]);
            assert_eq!(found, expected, "{dispatch:?}, {}: {value:e}", E::NAME);
        }
    });
}

/// A logit that became NaN after the forward has a NaN gradient, whatever its bits.
fn every_nan_stays_one<E: Store>(from_bits: fn(u16) -> E) {
    let nans: Vec<E> = (0..=u16::MAX).map(from_bits).filter(|x| x.to_f32().is_nan()).collect();
    assert!(nans.len() > 200, "{}: {} NaN", E::NAME, nans.len());
    let (mut row, target) = (normal_row::<E>(200, 2.0, 0.0, 3), 70);
    for_each_dispatch(|dispatch| {
        let norm = forward(dispatch, &row, target, Transform::NONE).unwrap().norm;
        let (targets, spans) = ([target], [Span::new(0, 1)]);
        let layout = Layout::new(&targets, &spans, row.len()).unwrap();
        let (norms, c) = ([norm], [0.7]);
        let batch = GradBatch::new(&layout, &norms, &c);
        let whole = row.clone();
        for (i, &nan) in nans.iter().enumerate() {
            // Every lane, in whole steps and in the last one.
            let column = i % row.len();
            if column == 70 {
                continue;
            }
            row[column] = nan;
            let mut found = row.clone();
            let (view, to) =
                (Logits::new(&row, 1, 200).unwrap(), LogitsMut::new(&mut found, 1, 200));
            logit_grads(dispatch, view, &batch, to.unwrap()).unwrap();
            for (j, x) in found.iter().enumerate() {
                assert_eq!(
                    x.to_f32().is_nan(),
                    j == column,
                    "{dispatch:?}: {nan:?} at {column}, {j}"
                );
            }
            row[column] = whole[column];
        }
    });
}

#[test]
fn every_nan_of_f16_stays_one() {
    every_nan_stays_one::<f16>(f16::from_bits);
}

#[test]
fn every_nan_of_bf16_stays_one() {
    every_nan_stays_one::<bf16>(bf16::from_bits);
}

trait MapBits {
    fn map_bits(&self) -> Vec<u32>;
}

impl<E: Store> MapBits for Vec<E> {
    fn map_bits(&self) -> Vec<u32> {
        crate::run::bits(self)
    }
}

#[test]
fn f16_stores_round_as_half_does() {
    stores_round_as_half_does::<f16>(f16::from_bits);
}

#[test]
fn bf16_stores_round_as_half_does() {
    stores_round_as_half_does::<bf16>(bf16::from_bits);
}

/// In place, apart into the same type, and apart into f32 then rounded: one result.
#[test]
fn gradients_in_place_are_those_apart() {
    fn same<E: Store>() {
        for vocab in [1, 2, 15, 16, 17, 1000] {
            let row: Vec<E> = normal_row(vocab, 3.0, 0.5, vocab as u64);
            let target = u32::try_from(vocab / 2).unwrap();
            for_each_dispatch(|dispatch| {
                let here = gradient_in_place(dispatch, &row, target, Transform::NONE, -0.37);
                let apart = gradient::<E, E>(dispatch, &row, target, Transform::NONE, -0.37);
                assert_eq!(here.map_bits(), apart.map_bits(), "{dispatch:?} {}", E::NAME);
                let wide = gradient::<E, f32>(dispatch, &row, target, Transform::NONE, -0.37);
                let rounded: Vec<E> = stored(&wide);
                assert_eq!(here.map_bits(), rounded.map_bits(), "{dispatch:?} {}", E::NAME);
            });
        }
    }
    same::<f32>();
    same::<f16>();
    same::<bf16>();
}

/// A confident target keeps c·(1 − p) to half an ulp of bf16; formed from a rounded c·p it would
/// not.
#[test]
fn confident_bf16_targets_keep_their_gradient() {
    for p in [0.9, 0.99, 0.999, 0.9999, 0.999_999] {
        let lead = libm::log(p / (1.0 - p) * 99.0) as f32;
        let mut row = vec![bf16::from_f32(0.0); 100];
        row[42] = bf16::from_f32(lead);
        let mut exact = vec![0.0; 100];
        let c = 0.731;
        verify::logit_grads(&widen(&row), &verify::Transform::NONE, 42, c, &mut exact);
        for_each_dispatch(|dispatch| {
            let found = gradient::<bf16, bf16>(dispatch, &row, 42, Transform::NONE, c);
            let error = (f64::from(found[42].to_f32()) - exact[42]).abs();
            let half_ulp = 0.5 * 65536.0 * ulp(exact[42]);
            assert!(
                error <= half_ulp * (1.0 + 1e-4),
                "{dispatch:?}, p = {p}: {error:e} {half_ulp:e}"
            );
            // The control: c minus the rounded c·p.
            let naive = c - f64::from(bf16::from_f32((c * p) as f32).to_f32());
            assert!((naive - exact[42]).abs() > half_ulp, "{p} would not tell");
        });
    }
}
