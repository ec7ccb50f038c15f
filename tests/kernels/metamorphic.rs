//! What must hold whatever the exact values are: relations between results of changed inputs.

use dpo_kernel::gradient::tile_grads_in_place;
use dpo_kernel::loss::{PairLogProbs, PreferenceLoss};
use dpo_kernel::row::{Details, RowStats};
use dpo_kernel::verify::entropy;
use dpo_kernel::{Dpo, Transform, bf16, f16, verify};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::accuracy::probabilities::HALF_ULP;
use crate::common::levels::{for_each_dispatch, same_on_all_levels};
use crate::common::property::holds;
use crate::rows::{Params, Store, for_each_element, normal_row, stored, ulp, widen};
use crate::run::{bits, forward, gradient, gradient_in_place, log_z};

/// A row of any length up to some blocks, its target, and a seed for what else is random.
fn rows() -> impl Strategy<Value = (Vec<f32>, usize, u64)> {
    let vocab = prop_oneof![1..=70_usize, 500..=530_usize, 1000..=1100_usize];
    (vocab, 0.1..12.0_f64, -30.0..30.0_f64, any::<u64>(), any::<prop::sample::Index>()).prop_map(
        |(vocab, sigma, shift, seed, target)| {
            (normal_row(vocab, sigma, shift, seed), target.index(vocab), seed)
        },
    )
}

fn id(target: usize) -> u32 {
    u32::try_from(target).unwrap()
}

/// Logits on a grid of 2⁻¹⁰ move by whole numbers without rounding: log-probs must stay, to the
/// error of both.
#[test]
fn shifts_change_nothing() {
    holds(512, (rows(), -200..200_i32), |((row, target, _), shift)| {
        let grid: Vec<f32> = row.iter().map(|x| (x * 1024.0).round() / 1024.0).collect();
        let moved: Vec<f32> = grid.iter().map(|x| x + *shift as f32).collect();
        let exact = verify::log_prob(&widen(&grid), *target);
        let mut result = Ok(());
        for_each_dispatch(|dispatch| {
            let log_prob = |row| {
                f64::from(forward(dispatch, row, id(*target), Transform::NONE).unwrap().log_prob)
            };
            let (a, b) = (log_prob(&grid), log_prob(&moved));
            if (a - b).abs() > ulp(exact) + 1e-6 {
                result = Err(format!("{dispatch:?}: {a} became {b}"));
            }
            let moved = log_z(dispatch, &moved, Transform::NONE) - f64::from(*shift);
            let still = log_z(dispatch, &grid, Transform::NONE);
            if (moved - still).abs() > 2e-6 {
                result = Err(format!("{dispatch:?}: log Z {still} became {moved}"));
            }
        });
        result
    });
}

/// Σ_j ∂L/∂x_j = 0: each p errs by at most (4 + |ln p|)·2⁻²⁴ of itself, so the sum by (5 + H)·2⁻²⁴.
#[test]
fn gradients_of_a_row_sum_to_zero() {
    let sum_of = |grads: &[f32]| grads.iter().copied().map(f64::from).sum::<f64>();
    holds(512, (rows(), -4.0..4.0_f64), |((row, target, _), c)| {
        let bound = c.abs() * (5.0 + entropy(&widen(row))) * HALF_ULP + 1e-30;
        let mut result = Ok(());
        for_each_dispatch(|dispatch| {
            let mut grads = gradient::<f32, f32>(dispatch, row, id(*target), Transform::NONE, *c);
            let sum = sum_of(&grads);
            if sum.is_nan() || sum.abs() > bound {
                result = Err(format!("{dispatch:?}: {sum:e}, not 0 to {bound:e}"));
            }
            // The control: a dropped last column, unless there is nothing in it.
            let last = f64::from(grads.pop().unwrap());
            if last.abs() > 2.0 * bound && sum_of(&grads).abs() <= bound {
                result = Err("a dropped column passed".into());
            }
        });
        result
    });
}

/// A row's result does not depend on what is masked: masking a column is removing it.
#[test]
fn masked_columns_are_not_there() {
    holds(256, (rows(), any::<u64>()), |((row, target, _), mask)| {
        let masked_column = |j: usize| j != *target && mask.rotate_left(j as u32 % 64) & 1 == 1;
        let masked: Vec<f32> = row
            .iter()
            .enumerate()
            .map(|(j, &x)| if masked_column(j) { f32::NEG_INFINITY } else { x })
            .collect();
        let kept: Vec<usize> = (0..row.len()).filter(|&j| !masked_column(j)).collect();
        let removed: Vec<f32> = kept.iter().map(|&j| row[j]).collect();
        let place = kept.iter().position(|j| j == target).unwrap();
        let exact = verify::log_prob(&widen(&removed), place);
        let mut result = Ok(());
        for_each_dispatch(|dispatch| {
            let a = forward(dispatch, &masked, id(*target), Transform::NONE).unwrap();
            let b = forward(dispatch, &removed, id(place), Transform::NONE).unwrap();
            let near = |a: f32, b: f32, bound: f64| (f64::from(a) - f64::from(b)).abs() <= bound;
            if !near(a.log_prob, b.log_prob, ulp(exact) + 1e-6)
                || !near(a.details.entropy, b.details.entropy, 1e-5)
                || kept[b.details.argmax as usize] != a.details.argmax as usize
            {
                result = Err(format!("{dispatch:?}: {a:?} {b:?}"));
            }
            let grads = gradient::<f32, f32>(dispatch, &masked, id(*target), Transform::NONE, 1.5);
            let others = gradient::<f32, f32>(dispatch, &removed, id(place), Transform::NONE, 1.5);
            for (j, &grad) in grads.iter().enumerate() {
                match kept.iter().position(|&k| k == j) {
                    None if grad == 0.0 => {}
                    Some(k) if near(grad, others[k], 2e-6 * f64::from(grad.abs()) + 1e-37) => {}
                    _ => result = Err(format!("{dispatch:?}: column {j} has {grad:e}")),
                }
            }
        });
        result
    });
}

/// Whole leading blocks of −inf move the blocks behind them, which keep their bits.
#[test]
fn leading_masked_blocks_change_no_bit() {
    fn unchanged<E: Store>() {
        for vocab in [1, 17, 511, 1300] {
            let row: Vec<E> = normal_row(vocab, 4.0, 2.0, 11);
            for blocks in [1, 2, 7] {
                let before = blocks * dpo_kernel::row::BLOCK;
                let masked = [vec![E::NEG_INFINITY; before], row.clone()].concat();
                for params in [Params::NONE, Params { softcap: Some(9.0), ..Params::NONE }] {
                    let transform = params.kernel();
                    for_each_dispatch(|dispatch| {
                        let target = id(vocab / 3);
                        let alone = forward(dispatch, &row, target, transform).unwrap();
                        let moved =
                            forward(dispatch, &masked, target + id(before), transform).unwrap();
                        assert_eq!(alone.log_prob.to_bits(), moved.log_prob.to_bits());
                        assert_eq!(alone.norm, moved.norm, "{dispatch:?}");
                        assert_eq!(alone.details.entropy, moved.details.entropy, "{dispatch:?}");
                        assert_eq!(alone.details.argmax + id(before), moved.details.argmax);
                        assert_eq!(moved.details.mean_logit, f32::NEG_INFINITY, "{dispatch:?}");
                        let outside = forward(dispatch, &masked, 3, transform).unwrap();
                        assert_eq!(outside.log_prob, f32::NEG_INFINITY, "{dispatch:?}");
                        let grads = gradient::<E, f32>(dispatch, &masked, target, transform, 0.5);
                        assert!(grads[..before].iter().all(|&g| g == 0.0), "{dispatch:?}");
                    });
                }
            }
        }
    }
    unchanged::<f32>();
    unchanged::<f16>();
    unchanged::<bf16>();
}

/// The gradient of a column depends on its logit and the row's norm, not on where it stands.
#[test]
fn gradients_do_not_depend_on_the_place() {
    holds(256, (rows(), any::<prop::sample::Index>()), |((row, target, _), turn)| {
        let mut result = Ok(());
        let turn = turn.index(row.len());
        for_each_dispatch(|dispatch| {
            let norm = forward(dispatch, row, id(*target), Transform::NONE).unwrap().norm;
            let grads = |row: &[f32], target: usize| {
                let mut row = row.to_vec();
                let target = id(target);
                tile_grads_in_place(dispatch, &mut row, 0, Transform::NONE, target, norm, 0.9)
                    .unwrap();
                row
            };
            let mut turned = row.clone();
            turned.rotate_left(turn);
            let place = (target + row.len() - turn) % row.len();
            let mut expected = grads(row, *target);
            expected.rotate_left(turn);
            if bits(&grads(&turned, place)) != bits(&expected) {
                result = Err(format!("{dispatch:?}: turned by {turn}"));
            }
        });
        result
    });
}

/// Each arithmetic has one result, whatever the level: everything, to the bit.
fn one_result_on_all_levels<E: Store>() {
    let transforms = [
        Params::NONE,
        Params { scale: 0.7, softcap: None, temperature: 1.3 },
        Params { scale: 1.0, softcap: Some(12.0), temperature: 0.9 },
    ];
    for vocab in [1, 2, 15, 16, 17, 63, 64, 65, 127, 511, 512, 513, 1000, 4099] {
        for (sigma, shift) in [(0.5, 0.0), (3.0, -20.0), (40.0, 20.0), (5.0, 2000.0), (1e30, 0.0)] {
            let mut row = normal_row::<E>(vocab, sigma, shift, vocab as u64);
            if !row.iter().all(|x| x.to_f32().is_finite()) {
                continue;
            }
            if vocab > 20 {
                row[3] = E::NEG_INFINITY;
                row[vocab - 2] = E::from_f32(-60000.0);
            }
            for params in transforms {
                let (transform, target) = (params.kernel(), id(vocab / 2));
                same_on_all_levels(&format!("{} V = {vocab}, {sigma}", E::NAME), |dispatch| {
                    let mut stats = RowStats::<Details>::new(transform, Some(target));
                    stats.fold(dispatch, &row, 0);
                    let found = forward(dispatch, &row, target, transform).unwrap();
                    let here = gradient_in_place(dispatch, &row, target, transform, 0.3);
                    let apart = gradient::<E, E>(dispatch, &row, target, transform, -7.1);
                    let wide = gradient::<E, f32>(dispatch, &row, target, transform, 1e-3);
                    (
                        (stats.log_z().to_bits(), stats.log_prob().map(f64::to_bits)),
                        (found.log_prob.to_bits(), found.norm, format!("{:?}", found.details)),
                        (bits(&here), bits(&apart), bits(&wide)),
                    )
                });
            }
        }
    }
}

#[test]
fn levels_agree_to_the_bit() {
    for_each_element!(one_result_on_all_levels());
}

/// The same on raw bits: NaN, infinities, subnormals and huge values included.
#[test]
fn levels_agree_to_the_bit_on_any_row() {
    let special = prop_oneof![
        6 => -20.0..20.0_f32,
        1 => Just(f32::NEG_INFINITY),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(f32::MIN), Just(f32::MAX), Just(1e-45)],
        1 => -1e6..1e6_f32,
    ];
    holds(512, (vec(special, 1..=1100), any::<prop::sample::Index>(), -4.0..4.0), |(row, t, c)| {
        let target = id(t.index(row.len()));
        for params in [Params::NONE, Params { softcap: Some(20.0), ..Params::NONE }] {
            let transform = params.kernel();
            let mut seen = Vec::new();
            for_each_dispatch(|dispatch| {
                let found = forward(dispatch, row, target, transform);
                let grads = found
                    .is_ok()
                    .then(|| bits(&gradient::<f32, f32>(dispatch, row, target, transform, *c)));
                let text = format!("{found:?}");
                seen.push((dispatch.arithmetic(), text, grads));
            });
            for (arithmetic, text, grads) in &seen {
                let first = seen.iter().find(|(a, ..)| a == arithmetic).unwrap();
                if (text, grads) != (&first.1, &first.2) {
                    return Err(format!("{arithmetic:?}: {text} is not {}", first.1));
                }
            }
        }
        Ok(())
    });
}

/// Swapping chosen and rejected mirrors everything: z ↦ −z.
#[test]
fn swapping_a_pair_mirrors_it() {
    let log_prob = || -300.0..0.0_f64;
    let four = (log_prob(), log_prob(), log_prob(), log_prob());
    holds(2048, (four, 0.01..2.0, 0.0..=0.5, 0.0..3.0), |((a, b, c, d), beta, epsilon, weight)| {
        let dpo = Dpo::new(*beta).unwrap().with_label_smoothing(*epsilon).unwrap();
        assert_eq!((dpo.beta(), dpo.label_smoothing()), (*beta, *epsilon));
        let pair = PairLogProbs::new(*a, *b, *c, *d).with_weight(*weight);
        let swapped = PairLogProbs::new(*b, *a, *d, *c).with_weight(*weight);
        let (right, left) = (dpo.evaluate(&pair), dpo.evaluate(&swapped));
        let z = right.margin;
        // L(z) − L(−z) = −(1 − 2ε)·z, and σ(−z) + σ(z) = 1.
        let lean = weight * (1.0 - 2.0 * epsilon);
        let losses = right.loss - left.loss + lean * z;
        let slopes = right.d_chosen + left.d_chosen + lean * beta;
        let rewards = (left.reward_rejected, left.reward_chosen);
        if right.margin == -left.margin
            && (right.reward_chosen, right.reward_rejected) == rewards
            && right.d_chosen == -right.d_rejected
            && losses.abs() <= 1e-14 * (right.loss + left.loss)
            && slopes.abs() <= 1e-15 * weight * beta
        {
            Ok(())
        } else {
            Err(format!("{right:?} {left:?}"))
        }
    });
}

/// Misaligned slices and odd lengths of one buffer: the same bits at every offset.
#[test]
fn alignment_changes_no_bit() {
    fn unchanged<E: Store>() {
        let row: Vec<E> = stored(&normal_row::<f32>(777, 3.0, 0.0, 5));
        for_each_dispatch(|dispatch| {
            let expected = forward(dispatch, &row, 7, Transform::NONE).unwrap();
            let grads = gradient_in_place(dispatch, &row, 7, Transform::NONE, 1.0);
            for offset in 0..33 {
                let buffer = [vec![E::POISON; offset], row.clone()].concat();
                let moved = forward(dispatch, &buffer[offset..], 7, Transform::NONE).unwrap();
                assert_eq!(moved, expected, "{dispatch:?} {} + {offset}", E::NAME);
                let moved = gradient::<E, E>(dispatch, &buffer[offset..], 7, Transform::NONE, 1.0);
                assert_eq!(bits(&moved), bits(&grads), "{dispatch:?} {} + {offset}", E::NAME);
            }
        });
    }
    unchanged::<f32>();
    unchanged::<f16>();
    unchanged::<bf16>();
}
