//! Rows over shards, without MPI: what the shards would gather is put together here.

use dpo_kernel::Dispatch;
use dpo_kernel::row::ROW_BYTES;
use dpo_kernel_mpi::error::Error;
use dpo_kernel_mpi::finetune::random::Random;
use dpo_kernel_mpi::shards::{Partial, Row, columns, merge, units, whole};

/// What shard `shard` gives of all rows.
fn partials(
    rows: &[Vec<f32>],
    targets: &[u32],
    unit: usize,
    (shards, shard): (usize, usize),
) -> Vec<u8> {
    let mut out = Vec::new();
    for (row, &target) in rows.iter().zip(targets) {
        let mut partial = Partial::new(target);
        for of_unit in units(columns(row.len(), unit, shards, shard), unit) {
            partial.fold(Dispatch::detect(), &row[of_unit.clone()], of_unit.start);
        }
        partial.write(&mut out).unwrap();
    }
    out
}

fn over(shards: usize, rows: &[Vec<f32>], targets: &[u32], unit: usize) -> Result<Vec<Row>, Error> {
    let all = (0..shards).flat_map(|shard| partials(rows, targets, unit, (shards, shard)));
    join(&all.collect::<Vec<_>>(), targets, shards, rows[0].len())
}

fn join(all: &[u8], targets: &[u32], shards: usize, vocab: usize) -> Result<Vec<Row>, Error> {
    whole(&merge(all, targets, shards)?, targets, vocab)
}

fn rows(count: usize, vocab: usize, size: f32, random: &mut Random) -> (Vec<Vec<f32>>, Vec<u32>) {
    let row = |random: &mut Random| (0..vocab).map(|_| size * random.normal()).collect();
    let rows: Vec<Vec<f32>> = (0..count).map(|_| row(random)).collect();
    (rows, (0..count).map(|_| (random.bits() % vocab as u64) as u32).collect())
}

/// log p in f64, the plain way.
fn oracle(row: &[f32], target: u32) -> f64 {
    let top = row.iter().map(|&y| f64::from(y)).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|&y| (f64::from(y) - top).exp()).sum();
    f64::from(row[target as usize]) - top - sum.ln()
}

#[test]
fn any_number_of_shards_gives_the_same_bits() {
    let mut random = Random(1);
    for (vocab, unit) in [(256, 32), (200, 32), (1003, 64), (40, 32), (3001, 512), (1, 32)] {
        for size in [0.0, 1.0, 30.0, 2000.0] {
            let (mut rows, targets) = rows(6, vocab, size, &mut random);
            // Masked vocabulary, whole units of it, the target's column left.
            for (column, y) in rows[5].iter_mut().enumerate() {
                if column < vocab * 2 / 3 && column != targets[5] as usize {
                    *y = f32::NEG_INFINITY;
                }
            }
            let one = over(1, &rows, &targets, unit).unwrap();
            for shards in 2..=9 {
                let found = over(shards, &rows, &targets, unit).unwrap();
                assert_eq!(found, one, "{vocab} columns, size {size}, {shards} shards");
            }
            for ((found, row), &target) in one.iter().zip(&rows).zip(&targets) {
                let (found, expected) = (f64::from(found.log_prob), oracle(row, target));
                // ½ ulp of f32, and the bound of log Z.
                let bound = expected.abs() * 2.0_f64.powi(-24) + 1e-6;
                assert!((found - expected).abs() <= bound, "{found} and {expected}");
            }
        }
    }
}

/// Sums that are off by 1e-10 show in one row of ten thousand.
#[test]
fn many_rows_show_a_sum_that_is_nearly_the_same() {
    let mut random = Random(7);
    let (rows, targets) = rows(50_000, 256, 0.5, &mut random);
    let one = over(1, &rows, &targets, 32).unwrap();
    for shards in [2, 3, 7] {
        let found = over(shards, &rows, &targets, 32).unwrap();
        let differ = found.iter().zip(&one).filter(|(found, one)| found != one).count();
        assert_eq!(differ, 0, "rows that {shards} shards change");
    }
}

#[test]
fn a_shard_without_the_target_gives_no_target() {
    let mut random = Random(2);
    let (rows, _) = rows(4, 200, 1.0, &mut random);
    for target in [0, 31, 32, 199] {
        let targets = [target; 4];
        let one = over(1, &rows, &targets, 32).unwrap();
        assert_eq!(over(7, &rows, &targets, 32).unwrap(), one, "all targets are {target}");
    }
}

#[test]
fn a_missing_or_doubled_shard_is_named() {
    let mut random = Random(3);
    let (rows, targets) = rows(1, 256, 1.0, &mut random);
    let shard = |shard| partials(&rows, &targets, 32, (2, shard));
    let missing = join(&shard(0), &targets, 1, 256).unwrap_err();
    assert!(matches!(missing, Error::Columns { row: 0, found: 128, vocab: 256 }), "{missing}");
    // A shard that comes twice has the right number of columns; the target tells, where it has it.
    let of = usize::from(targets[0] >= 128);
    let doubled = join(&[shard(of), shard(of)].concat(), &targets, 2, 256).unwrap_err();
    assert!(matches!(doubled, Error::Kernel(_)), "{doubled}");
    let doubled = join(&[shard(1 - of), shard(1 - of)].concat(), &targets, 2, 256).unwrap_err();
    assert!(matches!(doubled, Error::Row { row: 0, .. }), "{doubled}");
}

#[test]
fn rows_of_nothing_finite_are_named() {
    let mut random = Random(4);
    for odd in [f32::NAN, f32::INFINITY] {
        let (mut rows, targets) = rows(3, 256, 1.0, &mut random);
        rows[1][200] = odd;
        for shards in [1, 3] {
            let error = over(shards, &rows, &targets, 32).unwrap_err();
            assert!(matches!(error, Error::Row { row: 1, .. }), "{odd}: {error}");
        }
    }
}

#[test]
fn bytes_that_are_no_partials_are_refused() {
    let mut random = Random(5);
    let (rows, targets) = rows(2, 64, 1.0, &mut random);
    let good = partials(&rows, &targets, 32, (1, 0));
    assert!(matches!(join(&good[1..], &targets, 1, 64), Err(Error::Length { .. })));
    assert!(join(&[0xff; 2 * ROW_BYTES], &targets, 1, 64).is_err(), "noise");
    // Rows of other targets are other rows.
    let swapped = [&good[ROW_BYTES..], &good[..ROW_BYTES]].concat();
    if targets[0] != targets[1] {
        assert!(matches!(join(&swapped, &targets, 1, 64), Err(Error::Kernel(_))), "swapped rows");
    }
}

#[test]
fn a_partial_is_at_most_64_bytes() {
    const { assert!(ROW_BYTES <= 64, "what the README says") };
}
