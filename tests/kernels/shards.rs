//! Shards of whole blocks, in any order and grouping, over bytes: the bits of the whole row.

use dpo_kernel::row::{BLOCK, Details, RowStats, shard_columns};
use dpo_kernel::{Dispatch, Error, Transform, bf16, f16};
use proptest::prelude::*;

use crate::common::levels::for_each_dispatch;
use crate::common::property::holds;
use crate::rows::{Params, Random, Store, normal_row};

fn id(x: usize) -> u32 {
    u32::try_from(x).unwrap()
}

/// What a row's blocks are like beside each other.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Much alike.
    Normal,
    /// Each some nats below or above the others: places fall out of the window, and come back.
    Stairs(f64),
    /// Some beyond the powers of two, some not.
    Huge,
    /// As far from each other as f32 can be.
    Farthest,
    /// Each block of equal values near the ends of all powers of two.
    Ends,
    /// Some masked altogether, one of them by the lowest finite number.
    Masked,
    /// All equal: sums end on ties.
    Equal,
}

const SHAPES: [Shape; 11] = [
    Shape::Normal,
    Shape::Stairs(9.0),
    // Near the ends of what terms are relative to, 2^−40.5 and 2^55.5, and of all that have one.
    Shape::Stairs(28.0),
    Shape::Stairs(38.4),
    Shape::Stairs(70.0),
    Shape::Stairs(651.0),
    Shape::Huge,
    Shape::Farthest,
    Shape::Ends,
    Shape::Masked,
    Shape::Equal,
];

fn row<E: Store>(shape: Shape, vocab: usize, seed: u64) -> Vec<E> {
    let mut row: Vec<E> = normal_row(vocab, 3.0, 0.0, seed);
    let mut random = Random::new(seed ^ 1);
    for block in row.chunks_mut(BLOCK) {
        let die = random.below(7);
        for x in block {
            let old = x.to_f32();
            let steps = die as f32 - 3.0;
            *x = E::from_f32(match shape {
                Shape::Stairs(nats) => old + steps * nats as f32,
                Shape::Huge => old + [0.0, 1299.0, 1303.0, 5e4, -5e4, 5e4, 0.5][die],
                Shape::Farthest => {
                    old * [1.0_f32, 1e30, 1e37, 1e9, 1e12, 1e12, 1e5][die].min(-E::LOWEST / 20.0)
                }
                Shape::Ends => [1302.0, 1305.0, -1292.2, -1295.0, 1303.2, -1293.0, 0.0][die],
                Shape::Masked if die == 0 => E::LOWEST,
                Shape::Masked if die < 4 => f32::NEG_INFINITY,
                Shape::Masked | Shape::Normal => old,
                Shape::Equal => 2.5,
            });
        }
    }
    row
}

/// The statistics of some columns, through bytes.
fn part<E: Store>(
    dispatch: Dispatch,
    row: &[E],
    columns: std::ops::Range<usize>,
    (transform, target): (Transform, u32),
) -> RowStats<Details> {
    let mut stats = RowStats::<Details>::new(transform, Some(target));
    stats.fold(dispatch, &row[columns.clone()], id(columns.start));
    let mut plain = RowStats::<()>::new(transform, Some(target));
    plain.fold(dispatch, &row[columns.clone()], id(columns.start));
    assert_eq!(plain.log_z().to_bits(), stats.log_z().to_bits(), "details move log Z");
    let mut bytes = [0xee; RowStats::<()>::BYTES];
    plain.write_bytes(&mut bytes).unwrap();
    assert_eq!(RowStats::from_bytes(transform, &bytes), Ok(plain));
    through_bytes(&stats, transform)
}

fn through_bytes(stats: &RowStats<Details>, transform: Transform) -> RowStats<Details> {
    let mut bytes = [0xee; RowStats::<Details>::BYTES];
    stats.write_bytes(&mut bytes).unwrap();
    let back = RowStats::from_bytes(transform, &bytes).unwrap();
    assert_eq!(back, *stats);
    back
}

/// Everything that a host can ask, to the bit.
fn figures(stats: &RowStats<Details>) -> impl PartialEq + std::fmt::Debug {
    let details = stats.details();
    let norm = stats.norm().map(|norm| format!("{norm:?}"));
    (
        [Some(stats.log_z()), stats.log_prob(), stats.target_logit()].map(|x| x.map(f64::to_bits)),
        [details.entropy, details.mean_logit, details.log_sum_sq_probs].map(f32::to_bits),
        (details.argmax, stats.columns(), norm),
    )
}

type Case = (usize, usize, u64, usize, prop::sample::Index);

fn cases() -> impl Strategy<Value = Case> {
    (1..=9 * BLOCK, 0..SHAPES.len(), any::<u64>(), 1..=7_usize, any::<prop::sample::Index>())
}

fn shards_are_the_row<E: Store>(case: &Case, params: Params) -> Result<(), String> {
    let (vocab, shape, seed, shards, target) = case;
    let row: Vec<E> = row(SHAPES[*shape], *vocab, *seed);
    let of = (params.kernel(), id(target.index(*vocab)));
    let mut result = Ok(());
    for_each_dispatch(|dispatch| {
        let whole = part(dispatch, &row, 0..*vocab, of);
        let mut check = |stats: RowStats<Details>, how: &str| {
            if stats != whole || figures(&stats) != figures(&whole) {
                result = Err(format!(
                    "{dispatch:?} {} {:?} {how}: {:?} is not {:?}\n{stats:?}\n{whole:?}",
                    E::NAME,
                    SHAPES[*shape],
                    figures(&stats),
                    figures(&whole)
                ));
            }
        };
        // The shards of machines, merged in any order and any tree.
        let mut random = Random::new(*seed);
        let columns = (0..*shards).map(|shard| shard_columns(*vocab, *shards, shard));
        let mut parts: Vec<_> = columns.map(|columns| part(dispatch, &row, columns, of)).collect();
        while parts.len() > 1 {
            let a = parts.swap_remove(random.below(parts.len()));
            let b = random.below(parts.len());
            parts[b].merge(&through_bytes(&a, of.0)).unwrap();
        }
        check(parts.remove(0), "shards");
        // Blocks that go to any machine, in any order.
        let mut blocks: Vec<_> = (0..*vocab).step_by(BLOCK).collect();
        let mut parts = vec![RowStats::<Details>::new(of.0, Some(of.1)); *shards];
        while !blocks.is_empty() {
            let start = blocks.swap_remove(random.below(blocks.len()));
            let tile = &row[start..(*vocab).min(start + BLOCK)];
            parts[random.below(*shards)].fold(dispatch, tile, id(start));
        }
        let mut merged = RowStats::<Details>::new(of.0, Some(of.1));
        for part in &parts {
            merged.merge(&through_bytes(part, of.0)).unwrap();
        }
        check(merged, "scattered blocks");
    });
    result
}

#[test]
fn of_whole_blocks_are_the_row() {
    holds(150, cases(), |case| shards_are_the_row::<f32>(case, Params::NONE));
    holds(60, cases(), |case| shards_are_the_row::<f16>(case, Params::NONE));
    holds(60, cases(), |case| shards_are_the_row::<bf16>(case, Params::NONE));
    let scaled = Params { scale: 1.3, softcap: None, temperature: 0.7 };
    holds(60, cases(), |case| shards_are_the_row::<f32>(case, scaled));
    let capped = Params { scale: 1.3, softcap: Some(30.0), temperature: 0.8 };
    holds(40, cases(), |case| shards_are_the_row::<f32>(case, capped));
}

/// A row that is broken in one shard is broken on every machine, and holds nothing else: whatever the
/// blocks beside are relative to, which the target's NaN must not depend on.
#[test]
fn a_broken_shard_breaks_the_row() {
    let mut bytes = Vec::new();
    for_each_dispatch(|dispatch| {
        for bad in [f32::NAN, f32::INFINITY, -f32::NAN] {
            for (at, shift) in [(0, 0.0), (3, -200.0), (600, -200.0), (1023, 1e4), (1500, -200.0)] {
                let mut row: Vec<f32> = normal_row(1501, 2.0, shift, 5);
                row[at] = bad;
                for target in [at, 700] {
                    let of = (Transform::NONE, id(target));
                    let new = RowStats::<Details>::new(of.0, Some(of.1));
                    let [mut whole, mut a, mut b] = [new; 3];
                    whole.fold(dispatch, &row, 0);
                    b.fold(dispatch, &row[1024..], 1024);
                    a.fold(dispatch, &row[..1024], 0);
                    let mut other = b;
                    other.merge(&a).unwrap();
                    a.merge(&b).unwrap();
                    for stats in [a, other] {
                        let what = format!("{dispatch:?} {bad} {at} {target}");
                        assert!(stats.log_z().is_nan(), "{what}");
                        assert!(stats.norm().is_none(), "{what}");
                        let [mut found, mut due] = [[0; RowStats::<Details>::BYTES]; 2];
                        stats.write_bytes(&mut found).unwrap();
                        whole.write_bytes(&mut due).unwrap();
                        assert_eq!(found, due, "{what}");
                        bytes.push((bad.to_bits(), at, target, due));
                    }
                }
            }
        }
    });
    // The same on every level.
    bytes.sort_unstable();
    bytes.dedup();
    assert_eq!(bytes.len(), 3 * 5 * 2);
}

#[test]
fn columns_of_shards() {
    for vocab in [0, 1, 511, 512, 513, 5000, 151_936] {
        for shards in [1, 2, 3, 7, 8, 4096] {
            let mut next = 0;
            for shard in 0..shards {
                let columns = shard_columns(vocab, shards, shard);
                assert_eq!(columns.start, next);
                assert!(columns.is_empty() || columns.start.is_multiple_of(BLOCK));
                let even = vocab.div_ceil(BLOCK).div_ceil(shards);
                assert!(columns.len() <= even * BLOCK, "{vocab} {shards} {shard}");
                let least = vocab.div_ceil(BLOCK) / shards;
                let blocks = columns.len().div_ceil(BLOCK);
                assert!(blocks >= least, "{vocab} {shards} {shard}: {blocks} blocks");
                next = columns.end;
            }
            assert_eq!(next, vocab);
            assert!(shard_columns(vocab, shards, shards).is_empty());
        }
    }
    assert!(shard_columns(9, 0, 0).is_empty());
    let far = shard_columns(usize::MAX, usize::MAX, usize::MAX - 1);
    assert_eq!(far.end, usize::MAX);
}

/// Bytes that no fold of this version has written.
#[test]
fn damaged_bytes_are_refused() {
    let dispatch = Dispatch::detect();
    let transform = Transform::new(2.0, None, 1.0).unwrap();
    let mut stats = RowStats::<Details>::new(transform, Some(1));
    stats.fold(dispatch, &[1.0_f32, 2.0, f32::NEG_INFINITY], 0);
    let mut bytes = [0; RowStats::<Details>::BYTES];
    assert_eq!(stats.write_bytes(&mut bytes[1..]), stats.write_bytes(&mut [0; 159]));
    assert_eq!(bytes, [0; RowStats::<Details>::BYTES], "nothing is written");
    stats.write_bytes(&mut bytes).unwrap();
    assert_eq!(&bytes[..4], b"dpo\x01");
    let read = |bytes: &[u8]| RowStats::<Details>::from_bytes(transform, bytes);
    assert_eq!(read(&bytes), Ok(stats));
    let with = |at: usize, new: &[u8]| {
        let mut damaged = bytes;
        damaged[at..at + new.len()].copy_from_slice(new);
        read(&damaged)
    };
    let refused = |byte| Err(Error::RowBytes { byte });
    assert_eq!(with(3, &[2]), refused(0), "another version");
    assert_eq!(with(0, b"D"), refused(0));
    assert_eq!(with(4, &[1 + 4 + 8 + 32]), refused(4), "without details");
    assert_eq!(with(5, &[1]), refused(4), "an unknown flag");
    assert_eq!(with(4, &[2 + 4 + 8 + 32]), refused(4), "a value without a target");
    assert_eq!(with(4, &[2 + 1 + 4 + 32]), refused(20), "sums without a base");
    assert_eq!(with(4, &[2 + 1 + 8 + 32]), refused(12), "a value that is not there");
    for shift in [f32::NAN, f32::INFINITY, -0.0, 1.0, 600.0, -600.0] {
        assert_eq!(with(16, &shift.to_le_bytes()), refused(20), "{shift}");
    }
    // Logits of 1200 are no shift, wherever the sums are.
    for (shift, top) in [(600.0_f32, 54_i32), (-600.0, -55)] {
        let mut damaged = bytes;
        damaged[16..20].copy_from_slice(&shift.to_le_bytes());
        damaged[60..64].copy_from_slice(&top.to_le_bytes());
        assert_eq!(read(&damaged), refused(20), "{shift}");
    }
    assert_eq!(with(4, &[1 + 2 + 4 + 8 + 16 + 32]), refused(20), "broken, with sums");
    assert_eq!(with(99, &[0x80]), refused(20), "negative squares");
    assert_eq!(with(20, &[0; 8]), refused(20), "sums of no column");
    assert_eq!(with(20, &(1_u64 << 53).to_le_bytes()), refused(20));
    assert_eq!(with(43, &[0x80]), refused(20), "a negative sum");
    for top in [60, 88, 116, 144] {
        assert_eq!(with(top, &(1_i32 << 26).to_le_bytes()), refused(20));
    }
    for top in [60, 88, 116] {
        assert_eq!(with(top, &i32::MIN.to_le_bytes()), refused(20), "a sum of nothing");
    }
    assert_eq!(with(148, &f32::NAN.to_le_bytes()), refused(20));
    assert_eq!(with(156, &[1]), refused(156));
    assert_eq!(with(28, &[!bytes[28]]), Err(Error::MergeOfDifferentRows));
    let other = Transform::new(2.0, Some(30.0), 1.0).unwrap();
    assert_eq!(RowStats::<Details>::from_bytes(other, &bytes), Err(Error::MergeOfDifferentRows));
    let long =
        Error::Length { buffer: dpo_kernel::error::Buffer::RowBytes, expected: 64, found: 160 };
    assert_eq!(RowStats::<()>::from_bytes(transform, &bytes), Err(long));
    // Whatever bytes are taken, what is made of them panics nowhere.
    let mut random = Random::new(3);
    for _ in 0..20_000 {
        let mut damaged = bytes;
        for _ in 0..=random.below(4) {
            let at = random.below(damaged.len());
            damaged[at] = u8::try_from(random.below(256)).unwrap();
        }
        if let Ok(mut taken) = read(&damaged) {
            taken.fold(dispatch, &[f32::MAX, -3e4, 0.0], 3);
            let _ = (taken.merge(&stats), stats.merge(&taken), figures(&taken), figures(&stats));
            stats = read(&bytes).unwrap();
        }
    }
}

/// Of a logit beyond the powers of two its sum with its value is kept to 2^-64, not to the digits of
/// f64: as bytes, because its figures are rounded.
#[test]
fn products_with_shifts_are_exact() {
    for_each_dispatch(|dispatch| {
        for i in 0..40_i16 {
            let v = 1.234_567e8_f32 + 8e6 * f32::from(i);
            let mut stats = RowStats::<Details>::new(Transform::NONE, None);
            stats.fold(dispatch, &[v], 0);
            let mut bytes = [0; RowStats::<Details>::BYTES];
            stats.write_bytes(&mut bytes).unwrap();
            let sum = |at: usize| {
                let place = |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
                let [high, middle, low] = [at, at + 8, at + 16].map(|at| i128::from(place(at)));
                let top = i32::from_le_bytes(bytes[at + 24..at + 28].try_into().unwrap());
                ((((high << 32) + middle) << 32) + low, 32 * (top - 2))
            };
            let ((others, power), (weighted, of_weighted)) = (sum(36), sum(64));
            // v is an integer here.
            let product = others * v as i128;
            let due = product >> (of_weighted - power);
            assert!((weighted - due).abs() <= 4, "{dispatch:?} {v}: {weighted} is not {due}");
        }
    });
}
