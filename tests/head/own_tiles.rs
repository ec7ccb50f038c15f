//! The loop over tiles by a host with a product of its own, a row at a time.

use dpo_kernel::error::Buffer;
use dpo_kernel::gradient::Unscored;
use dpo_kernel::head::{hidden_row_grads_in_place, tile_terms_in_place};
use dpo_kernel::row::{Details, RowStats};
use dpo_kernel::{Arithmetic, Dispatch, Element, Error, Transform, bf16, f16};

use crate::case::{Case, DIRT, run};
use crate::forward::bits;
use crate::grads::due;

/// A host: logits of a row, tile by tile, and what it adds up.
struct Host<'a, E, W> {
    case: &'a Case<E, W>,
    dispatch: Dispatch,
    logits: &'a [f32],
    stats: RowStats,
    sums: Vec<f32>,
    /// The scales that were not 1.
    scales: Vec<f32>,
}

impl<'a, E: Element, W: Element> Host<'a, E, W> {
    fn new(case: &'a Case<E, W>, dispatch: Dispatch, row: usize, logits: &'a [f32]) -> Self {
        let stats = RowStats::new(case.transform, Some(case.targets[row]));
        let sums = vec![0.0; case.size];
        Self { case, dispatch, logits, stats, sums, scales: vec![] }
    }

    /// Some columns, by the order of additions of the built-in product: chains of 256.
    fn add(&mut self, columns: std::ops::Range<usize>) {
        let mut tile = self.logits[columns.clone()].to_vec();
        let (before, first) = (self.stats, columns.start as u32);
        self.stats.fold(self.dispatch, &tile, first);
        let scale = tile_terms_in_place(self.dispatch, &before, &self.stats, &mut tile, first);
        if scale != 1.0 {
            self.scales.push(scale);
        }
        for (h, sum) in self.sums.iter_mut().enumerate() {
            *sum *= scale;
            for (i, chain) in tile.chunks(256).enumerate() {
                let mut added = 0.0_f32;
                for (j, &term) in chain.iter().enumerate() {
                    let column = columns.start + 256 * i + j;
                    let weight = self.case.weights[column * self.case.stride + h].to_f32();
                    added = match self.dispatch.arithmetic() {
                        Arithmetic::Fused => term.mul_add(weight, added),
                        Arithmetic::Portable => added + term * weight,
                    };
                }
                *sum += added;
            }
        }
    }

    /// The hidden gradient, in parts of odd lengths.
    fn grads(mut self, row: usize, part: usize) -> Vec<f32> {
        let Case { size, stride, ref weights, .. } = *self.case;
        let target = self.case.targets[row] as usize;
        let target_row = &weights[target * stride..][..size];
        for (sums, target_row) in self.sums.chunks_mut(part).zip(target_row.chunks(part)) {
            let (c, x) = (self.case.coefficients[row], self.logits[target]);
            hidden_row_grads_in_place(self.dispatch, &self.stats, c, x, target_row, sums).unwrap();
        }
        self.sums
    }
}

fn tiles(vocab: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..vocab).step_by(most).map(move |from| from..vocab.min(from + most))
}

/// Blocks of the fold, by the same product: the bits of the head's own loop.
fn same_bits<E: Element, W: Element>(case: &Case<E, W>) -> usize {
    let mut rescaled = 0;
    for dispatch in Dispatch::available() {
        let found = run(case, dispatch, 5, Unscored::Keep);
        found.summary.unwrap();
        let logits = case.written_out(dispatch.arithmetic());
        for row in (0..case.rows).filter(|&row| case.is_scored(row)) {
            for part in [case.size, 7] {
                let logits = &logits[row * case.vocab..][..case.vocab];
                let mut host = Host::new(case, dispatch, row, logits);
                tiles(case.vocab, 512).for_each(|columns| host.add(columns));
                rescaled += host.scales.len();
                let due = &found.grads[row * (case.size + 1)..][..case.size];
                assert_eq!(bits(&host.grads(row, part)), bits(due), "{dispatch:?}, row {row}");
            }
        }
    }
    rescaled
}

#[test]
fn a_host_s_loop_gives_the_bits_of_the_head() {
    for (rows, size, vocab) in [(1, 1, 1), (2, 3, 31), (7, 17, 512), (4, 33, 513), (4, 70, 1300)] {
        let case = Case::<f32, f32>::new(rows, size, vocab, 5 + vocab as u64);
        same_bits(&case);
        same_bits(&case.with_bias(3).with_transform(1.5, Some(9.0), 0.75));
    }
    same_bits(&Case::<bf16, bf16>::new(4, 21, 600, 1));
    same_bits(&Case::<f16, f16>::new(4, 21, 600, 2));
    same_bits(&Case::<f32, bf16>::new(4, 21, 600, 3));
}

/// Logits that rise from tile to tile move the base; a leading tile may be masked.
#[test]
fn sums_are_rescaled_as_the_base_rises() {
    let mut case = Case::<f32, f32>::new(4, 9, 1700, 8).with_bias(3);
    for (column, bias) in case.bias.iter_mut().flatten().enumerate() {
        *bias += 15.0 * (column / 512) as f32;
    }
    assert!(same_bits(&case) > 20, "the base has risen");
    case.bias.iter_mut().flatten().take(520).for_each(|bias| *bias = f32::NEG_INFINITY);
    case.targets.iter_mut().filter(|target| **target < 520).for_each(|target| *target += 600);
    assert!(same_bits(&case) > 10, "the base has risen");
    // Beyond what a power of two can be the base of.
    case.bias.iter_mut().flatten().for_each(|bias| *bias *= 200.0);
    same_bits(&case);
}

/// Other tiles, and parts of the vocabulary that were folded apart and merged: within the bound of
/// the head's own loop.
#[test]
fn any_tiles_and_merged_parts_give_the_gradient() {
    let mut case = Case::<f32, f32>::new(5, 33, 1300, 4).with_bias(3);
    for (column, bias) in case.bias.iter_mut().flatten().enumerate() {
        *bias += 6.0 * (column / 300) as f32;
    }
    for dispatch in Dispatch::available() {
        let logits = case.written_out(dispatch.arithmetic());
        for row in (0..case.rows).filter(|&row| case.is_scored(row)) {
            let logits = &logits[row * case.vocab..][..case.vocab];
            let check = |host: Host<'_, f32, f32>, of: &str| {
                let (grad, sizes) = due(&case, row, logits);
                for ((found, due), size) in host.grads(row, 16).into_iter().zip(grad).zip(sizes) {
                    let error = (f64::from(found) - due).abs() * f64::from(1 << 24) / size;
                    assert!(error < 20.0, "{of}: {error}");
                }
            };
            for most in [1, 33, 700, 1300] {
                let mut host = Host::new(&case, dispatch, row, logits);
                tiles(case.vocab, most).for_each(|columns| host.add(columns));
                check(host, "other tiles");
            }
            let mut parts = [0..512, 512..1300].map(|columns| {
                let mut host = Host::new(&case, dispatch, row, logits);
                host.add(columns);
                host
            });
            let mut merged = parts[0].stats;
            merged.merge(&parts[1].stats).unwrap();
            let mut whole = RowStats::new(case.transform, Some(case.targets[row]));
            whole.fold(dispatch, logits, 0);
            assert_eq!(merged, whole, "shards of whole blocks are the row");
            let mut sums = vec![0.0; case.size];
            for part in &mut parts {
                let scale = tile_terms_in_place(dispatch, &part.stats, &merged, &mut [], 0);
                sums.iter_mut().zip(&part.sums).for_each(|(sum, of)| *sum += scale * of);
            }
            let [host, _] = parts;
            check(Host { stats: merged, sums, ..host }, "merged");
        }
    }
}

#[test]
fn statistics_with_details_have_the_same_terms() {
    let dispatch = Dispatch::detect();
    let logits: Vec<f32> = (0..300).map(|i| ((i * 37) % 64) as f32 / 8.0).collect();
    let of = |stats: &RowStats, tile: &mut [f32]| {
        tile_terms_in_place(dispatch, &RowStats::new(Transform::NONE, Some(9)), stats, tile, 0)
    };
    let mut plain = RowStats::new(Transform::NONE, Some(9));
    plain.fold(dispatch, &logits, 0);
    let none = RowStats::<Details>::new(Transform::NONE, Some(9));
    let mut detailed = none;
    detailed.fold(dispatch, &logits, 0);
    let mut tiles = [logits.clone(), logits];
    assert_eq!(of(&plain, &mut tiles[0]), 1.0);
    assert_eq!(tile_terms_in_place(dispatch, &none, &detailed, &mut tiles[1], 0), 1.0);
    assert_eq!(bits(&tiles[0]), bits(&tiles[1]));
    assert_eq!(tiles[0][9], 0.0, "the target is left out");
    assert!(tiles[0].iter().enumerate().all(|(i, &term)| i == 9 || term > 0.0));
}

#[test]
fn columns_that_are_masked_have_no_terms() {
    let dispatch = Dispatch::detect();
    let none = RowStats::<()>::new(Transform::NONE, Some(3));
    let mut stats = none;
    let mut tile = [f32::NEG_INFINITY; 40];
    stats.fold(dispatch, &tile, 0);
    assert_eq!(tile_terms_in_place(dispatch, &none, &stats, &mut tile, 0), 1.0);
    assert_eq!(tile, [0.0; 40]);
}

#[test]
fn rows_are_refused_as_by_the_backward() {
    let dispatch = Dispatch::detect();
    let complete = |target, logits: &[f32]| {
        let mut stats = RowStats::<()>::new(Transform::NONE, target);
        stats.fold(dispatch, logits, 0);
        stats
    };
    let good = complete(Some(1), &[1.0, 2.0, 3.0]);
    let of = |stats: &RowStats, c: f64, len: usize| {
        let mut sums = [DIRT; 5];
        let row = vec![1.0_f32; len];
        let found = hidden_row_grads_in_place(dispatch, stats, c, 2.0, &row, &mut sums);
        assert!(found.is_ok() || sums == [DIRT; 5], "written on an error");
        found.map(|()| sums)
    };
    assert!(of(&good, 0.5, 5).is_ok_and(|sums| sums.iter().all(|x| x.is_finite())));
    let length = |found| Err(Error::Length { buffer: Buffer::HeadWeights, expected: 5, found });
    assert_eq!(of(&good, 0.5, 4), length(4));
    assert_eq!(of(&good, 0.5, 6), length(6));
    for c in [f64::NAN, f64::INFINITY, -1e39] {
        let found = of(&good, c, 5);
        let Err(Error::InvalidValue { buffer, index: 0, .. }) = found else { panic!("{found:?}") };
        assert_eq!(buffer, Buffer::TokenCoefficients);
    }
    let without = [
        complete(Some(1), &[1.0, f32::NAN]),
        complete(Some(1), &[f32::NEG_INFINITY; 3]),
        complete(Some(7), &[1.0, 2.0]),
        complete(None, &[1.0, 2.0]),
        complete(Some(1), &[]),
    ];
    for stats in &without {
        let found = of(stats, 0.5, 5);
        let Err(Error::InvalidValue { buffer, index: 0, .. }) = found else { panic!("{found:?}") };
        assert_eq!(buffer, Buffer::RowNorms);
        // A row of coefficient 0 is as if it were not there.
        assert_eq!(of(stats, 0.0, 5), Ok([0.0; 5]));
    }
}
