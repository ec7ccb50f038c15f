//! Tiles and merges: a row folded in parts is the row folded whole.

use dpo_kernel::gradient::tile_grads_in_place;
use dpo_kernel::row::{BLOCK, Details, RowStats};
use dpo_kernel::{Dispatch, Error, Transform, bf16, f16, verify};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::accuracy::probabilities::HALF_ULP;
use crate::common::levels::for_each_dispatch;
use crate::common::property::holds;
use crate::rows::{Params, Random, Store, normal_row, ulp, widen};
use crate::run::{bits, forward, gradient_in_place};

fn id(x: usize) -> u32 {
    u32::try_from(x).unwrap()
}

/// The tiles of a row that is cut at `cuts`, each in statistics of its own, with where it starts.
fn parts<E: Store>(
    dispatch: Dispatch,
    row: &[E],
    cuts: &[usize],
    transform: Transform,
    target: usize,
) -> Vec<RowStats<Details>> {
    let mut edges = vec![0];
    edges.extend_from_slice(cuts);
    edges.push(row.len());
    edges.sort_unstable();
    edges
        .windows(2)
        .map(|edge| {
            let mut stats = RowStats::new(transform, Some(id(target)));
            stats.fold(dispatch, &row[edge[0]..edge[1]], id(edge[0]));
            stats
        })
        .collect()
}

fn whole<E: Store>(
    dispatch: Dispatch,
    row: &[E],
    transform: Transform,
    target: usize,
) -> RowStats<Details> {
    parts(dispatch, row, &[], transform, target).pop().unwrap()
}

/// Cut anywhere and merged in any order. What is cut within blocks of 512 has other blocks: a lane
/// of a block adds eight quads, so each of the two may lose 8 · 2⁻²⁴ of
/// Z.
fn near(merged: &RowStats<Details>, whole: &RowStats<Details>) -> Result<(), String> {
    let (a, b) = (merged.log_z(), whole.log_z());
    if (a - b).abs() > 16.0 * HALF_ULP + 1e-15 * b.abs() {
        return Err(format!("log Z {a} is not {b}, off by {:e}", (a - b).abs()));
    }
    let (a, b) = (merged.log_prob().unwrap(), whole.log_prob().unwrap());
    if (a - b).abs() > 16.0 * HALF_ULP * b.abs().clamp(1e-9, 1.0) + 1e-15 * b.abs() {
        return Err(format!("log p {a} is not {b}"));
    }
    if merged.columns() != whole.columns() || merged.target_logit() != whole.target_logit() {
        return Err("columns or target differ".into());
    }
    let (a, b) = (merged.details(), whole.details());
    let close = |a: f32, b: f32, scale: f64| {
        let off = (f64::from(a) - f64::from(b)).abs();
        a == b || off <= 4.0 * ulp(b.into()) + 1e-6 * scale
    };
    let size = whole.log_z().abs().max(10.0);
    if a.argmax != b.argmax
        || !close(a.entropy, b.entropy, size)
        || !close(a.mean_logit, b.mean_logit, size)
        || !close(a.log_sum_sq_probs, b.log_sum_sq_probs, 2.0)
    {
        return Err(format!("{a:?} is not {b:?}"));
    }
    Ok(())
}

type Cut = (usize, f64, f64, u64, Vec<prop::sample::Index>, prop::sample::Index);

fn cuts() -> impl Strategy<Value = Cut> {
    let index = any::<prop::sample::Index>;
    (1..=3000_usize, 0.1..4.0, -20.0..20.0, any::<u64>(), vec(index(), 0..=7), index())
}

fn merges_to_the_whole<E: Store>(cut: &Cut, params: Params) -> Result<(), String> {
    let (vocab, sigma, shift, seed, cuts, target) = cut;
    let mut row = normal_row::<E>(*vocab, *sigma, *shift, *seed);
    let target = target.index(*vocab);
    // One shard may be masked altogether.
    if seed % 3 == 0 && target > vocab / 2 {
        row[..vocab / 2].fill(E::NEG_INFINITY);
    }
    let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(vocab + 1)).collect();
    let transform = params.kernel();
    let mut result = Ok(());
    for_each_dispatch(|dispatch| {
        let expected = whole(dispatch, &row, transform, target);
        let mut parts = parts(dispatch, &row, &cuts, transform, target);
        let mut random = Random::new(*seed);
        while parts.len() > 1 {
            let a = parts.swap_remove(random.below(parts.len()));
            let b = random.below(parts.len());
            parts[b].merge(&a).unwrap();
        }
        let one = near(&parts[0], &expected);
        result = result.clone().and(one.map_err(|why| format!("{dispatch:?}: {why}")));
        // Folded tile by tile into one.
        let mut tiled = RowStats::<Details>::new(transform, Some(id(target)));
        let mut edges = [vec![0], cuts.clone(), vec![*vocab]].concat();
        edges.sort_unstable();
        for edge in edges.windows(2) {
            tiled.fold(dispatch, &row[edge[0]..edge[1]], id(edge[0]));
        }
        let two = near(&tiled, &expected);
        result = result.clone().and(two.map_err(|why| format!("{dispatch:?}, tiles: {why}")));
    });
    result
}

#[test]
fn in_any_order_is_the_whole() {
    holds(200, cuts(), |cut| merges_to_the_whole::<f32>(cut, Params::NONE));
    holds(60, cuts(), |cut| merges_to_the_whole::<f16>(cut, Params::NONE));
    holds(60, cuts(), |cut| merges_to_the_whole::<bf16>(cut, Params::NONE));
    let capped = Params { scale: 1.3, softcap: Some(15.0), temperature: 0.8 };
    holds(60, cuts(), |cut| merges_to_the_whole::<f32>(cut, capped));
}

/// Tiles that begin at multiples of [`BLOCK`], in order: the same statistics, to the bit.
#[test]
fn tiles_of_whole_blocks_change_no_bit() {
    fn unchanged<E: Store>() {
        for vocab in [1, 512, 513, 1024, 5000] {
            for (sigma, shift) in [(3.0, 0.0), (30.0, 5.0), (2.0, 3000.0)] {
                let mut row: Vec<E> = normal_row(vocab, sigma, shift, vocab as u64);
                if vocab > 2000 {
                    row[..700].fill(E::NEG_INFINITY);
                    row[1500] = E::from_f32(500.0);
                }
                for params in [Params::NONE, Params { softcap: Some(9.0), ..Params::NONE }] {
                    for_each_dispatch(|dispatch| {
                        let transform = params.kernel();
                        let target = vocab * 2 / 3;
                        let expected = whole(dispatch, &row, transform, target);
                        for blocks in [1, 2, 3] {
                            let mut tiled = RowStats::new(transform, Some(id(target)));
                            for (i, tile) in row.chunks(blocks * BLOCK).enumerate() {
                                tiled.fold(dispatch, tile, id(i * blocks * BLOCK));
                                tiled.fold::<E>(dispatch, &[], id(i));
                            }
                            assert_eq!(tiled, expected, "{dispatch:?} {} {vocab}", E::NAME);
                        }
                    });
                }
            }
        }
    }
    unchanged::<f32>();
    unchanged::<f16>();
    unchanged::<bf16>();
}

/// The map has no blocks: any tiles of a row give the bits of the row's gradient.
#[test]
fn gradients_of_tiles_are_those_of_the_row() {
    fn same<E: Store>(cut: &Cut) -> Result<(), String> {
        let (vocab, sigma, shift, seed, cuts, target) = cut;
        let row = normal_row::<E>(*vocab, *sigma, *shift, *seed);
        let target = id(target.index(*vocab));
        let mut edges = vec![0, *vocab];
        edges.extend(cuts.iter().map(|cut| cut.index(vocab + 1)));
        edges.sort_unstable();
        let mut result = Ok(());
        for_each_dispatch(|dispatch| {
            let expected = gradient_in_place(dispatch, &row, target, Transform::NONE, -0.8);
            let norm = forward(dispatch, &row, target, Transform::NONE).unwrap().norm;
            let mut found = row.clone();
            for edge in edges.windows(2) {
                let (tile, first) = (&mut found[edge[0]..edge[1]], id(edge[0]));
                tile_grads_in_place(dispatch, tile, first, Transform::NONE, target, norm, -0.8)
                    .unwrap();
            }
            if bits(&found) != bits(&expected) {
                result = Err(format!("{dispatch:?}: {} cut at {edges:?}", E::NAME));
            }
        });
        result
    }
    holds(100, cuts(), |cut| {
        same::<f32>(cut).and_then(|()| same::<f16>(cut)).and_then(|()| same::<bf16>(cut))
    });
}

#[test]
fn of_different_rows_is_refused() {
    let dispatch = Dispatch::detect();
    let folded = |transform, target, first| {
        let mut stats = RowStats::<()>::new(transform, target);
        stats.fold(dispatch, &[1.0_f32, 2.0], first);
        stats
    };
    let warm = Transform::new(1.0, None, 2.0).unwrap();
    let mine = folded(Transform::NONE, Some(1), 0);
    for other in [
        folded(warm, Some(1), 2),
        folded(Transform::NONE, Some(5), 2),
        folded(Transform::NONE, None, 2),
        folded(Transform::NONE, Some(1), 0),
    ] {
        let mut merged = mine;
        assert_eq!(merged.merge(&other), Err(Error::MergeOfDifferentRows), "{other:?}");
        assert_eq!(merged, mine, "unchanged");
    }
    let mut merged = mine;
    assert_eq!(merged.merge(&folded(Transform::NONE, Some(1), 2)), Ok(()));
    assert_eq!(merged.columns(), 4);
}

/// Parts that hold NaN or +inf spoil the row wherever they are merged; masked parts and empty ones
/// do not.
#[test]
fn of_broken_and_empty_parts() {
    for_each_dispatch(|dispatch| {
        let part = |x: &[f32], first| {
            let mut stats = RowStats::<Details>::new(Transform::NONE, Some(0));
            stats.fold(dispatch, x, first);
            stats
        };
        let good = part(&[0.5, 0.25], 0);
        let masked = [f32::NEG_INFINITY; 600];
        for (first, second) in [(good, part(&masked, 2)), (part(&masked, 2), good)] {
            let mut merged = first;
            merged.merge(&second).unwrap();
            assert_eq!(merged.log_z(), good.log_z(), "{dispatch:?}: a masked part");
            assert_eq!(merged.log_prob(), good.log_prob(), "{dispatch:?}: a masked part");
        }
        let mut merged = good;
        merged.merge(&part(&[], 9)).unwrap();
        assert_eq!(merged, good, "{dispatch:?}: an empty part");
        for broken in [f32::NAN, f32::INFINITY] {
            for bad in [part(&[broken], 2), part(&[broken, 1.0, f32::NEG_INFINITY], 2)] {
                for (first, second) in [(good, bad), (bad, good)] {
                    let mut merged = first;
                    merged.merge(&second).unwrap();
                    assert!(merged.log_z().is_nan(), "{dispatch:?}: {broken}");
                    assert!(merged.log_prob().unwrap().is_nan(), "{dispatch:?}: {broken}");
                    assert_eq!(merged.norm(), None, "{dispatch:?}: {broken}");
                    assert!(merged.details().entropy.is_nan(), "{dispatch:?}: {broken}");
                }
            }
        }
        let nothing = RowStats::<()>::new(Transform::NONE, None);
        assert!(nothing.log_z().is_nan() && nothing.norm().is_none(), "nothing folded");
        assert_eq!((nothing.log_prob(), nothing.target_logit()), (None, None), "no target");
    });
}

/// Shards far apart: whichever leads, the other must not be lost while it counts.
#[test]
fn of_parts_far_apart() {
    for_each_dispatch(|dispatch| {
        for distance in [0.0_f32, 10.0, 80.0, 100.0, 700.0, 1400.0, 3000.0, 1e30] {
            let row = [vec![-distance / 2.0; 512], vec![distance / 2.0; 512]].concat();
            let exact = verify::log_sum_exp(&widen(&row));
            for target in [0, 700] {
                let mut parts = parts(dispatch, &row, &[512], Transform::NONE, target);
                for _ in 0..2 {
                    parts.reverse();
                    let mut merged = parts[0];
                    merged.merge(&parts[1]).unwrap();
                    let off = (merged.log_z() - exact).abs();
                    assert!(off <= 0.5 * ulp(exact) + 3e-8, "{dispatch:?}, {distance}: {off}");
                    let exact = verify::log_prob(&widen(&row), target);
                    let off = (merged.log_prob().unwrap() - exact).abs();
                    assert!(off <= 0.5 * ulp(exact) + 3e-8, "{dispatch:?}, {distance}: {off}");
                }
            }
        }
    });
}

/// Statistics of a wrong tile must not pass for the whole.
#[test]
fn planted_faults_are_caught() {
    let row = normal_row::<f32>(1500, 2.0, 0.0, 8);
    let dispatch = Dispatch::detect();
    let right = whole(dispatch, &row, Transform::NONE, 9);
    near(&right, &right).unwrap();
    let short = whole(dispatch, &row[..1499], Transform::NONE, 9);
    assert!(near(&short, &right).is_err(), "a dropped tail column passed");
    let beside = whole(dispatch, &row, Transform::NONE, 10);
    assert!(near(&beside, &right).is_err(), "the target's neighbour passed");
    let mut twice = parts(dispatch, &row, &[700, 800], Transform::NONE, 9);
    let again = twice[1];
    for part in [1, 2] {
        let part = twice[part];
        twice[0].merge(&part).unwrap();
    }
    near(&twice[0], &right).unwrap();
    twice[0].merge(&again).unwrap();
    assert!(near(&twice[0], &right).is_err(), "a shard that came twice passed");
    // A tile, also where it has no mass: the target's would be counted once.
    for tile in [&row[..100], &[f32::NEG_INFINITY; 100]] {
        let mut again = right;
        again.fold(dispatch, tile, 0);
        let norm = again.log_z();
        assert!(norm.is_nan(), "the target's tile came twice: {norm}");
    }
}
