//! Rows tile by tile: the statistics of C hold what those of Rust do, through folds, merges and
//! copies; and statistics that no fold has made are refused.

use std::ptr;

use dpo_kernel::c::*;
use dpo_kernel::row::{Details, RowDetails, RowNorm, RowStats};
use dpo_kernel::{Dispatch, Element, Transform, bf16, f16};

use crate::abi::{Call, Same};
use crate::host::slots::Slot;
use crate::host::{Host, zeroed};

const COLUMNS: usize = 300;

/// Logits of a model, or so large that the sums have one of them for their base, around a number.
fn row(factor: f32, shift: f32) -> Vec<f32> {
    let mut row: Vec<f32> = (0..COLUMNS).map(|i| ((i * 37 + 11) % 64) as f32 / 8.0 - 4.0).collect();
    row[17] = f32::NEG_INFINITY;
    row[250] = 9.0;
    row.into_iter().map(|x| factor * x + shift).collect()
}

/// What Rust says of a row of tiles, the second half of which came by a merge.
fn by_rust<E: Element>(row: &[E], transform: Transform, target: Option<u32>) -> dpo_row_result {
    let dispatch = Dispatch::detect();
    let mut halves = [RowStats::<Details>::new(transform, target); 2];
    let mut plain = [RowStats::<()>::new(transform, target); 2];
    for (i, tile) in row.chunks(75).enumerate() {
        halves[i / 2].fold(dispatch, tile, (i * 75) as u32);
        plain[i / 2].fold(dispatch, tile, (i * 75) as u32);
    }
    let [mut all, other] = halves;
    all.merge(&other).unwrap();
    let [mut without, other] = plain;
    without.merge(&other).unwrap();
    let norm = all.norm();
    assert!(all.log_z().same(&without.log_z()), "details change nothing");
    dpo_row_result {
        log_z: all.log_z(),
        log_prob: all.log_prob().unwrap_or(f64::NAN),
        target_logit: all.target_logit().unwrap_or(f64::NAN),
        columns: all.columns(),
        norm: norm.unwrap_or_default(),
        details: all.details(),
    }
}

fn succeed(status: dpo_status) {
    assert_eq!(status, DPO_OK);
}

/// The same by C, each statistic copied before it is used.
fn by_c<E: Element>(
    row: &[E],
    number: i32,
    transform: dpo_transform,
    flags: u32,
    target: u32,
) -> ([dpo_row_stats; 3], dpo_row_result) {
    let fastest = dpo_dispatch { level: 0, arithmetic: 0 };
    let none = ptr::null_mut();
    let mut halves = [zeroed::<dpo_row_stats>(); 2];
    let mut result = zeroed::<dpo_row_result>();
    // SAFETY: every pointer is to a struct or to a tile of its length.
    unsafe {
        for half in &mut halves {
            succeed(dpo_row_stats_new(&raw const transform, flags, target, half, none));
        }
        for (i, tile) in row.chunks(75).enumerate() {
            let (data, first) = (tile.as_ptr().cast(), (i * 75) as u32);
            let mut copy = halves[i / 2];
            let len = tile.len();
            succeed(dpo_row_stats_fold(fastest, &raw mut copy, number, data, len, first, none));
            halves[i / 2] = copy;
        }
        let mut merged = halves[0];
        succeed(dpo_row_stats_merge(&raw mut merged, &raw const halves[1], none));
        succeed(dpo_row_stats_finish(&raw const merged, &raw mut result, none));
        ([halves[0], halves[1], merged], result)
    }
}

fn agree<E: Element>(number: i32, factor: f32, shift: f32) {
    let row: Vec<E> = row(factor, shift).into_iter().map(E::from_f32).collect();
    let transforms = [
        (dpo_transform { scale: 0.0, softcap: 0.0, temperature: 0.0 }, (1.0, None, 1.0)),
        (dpo_transform { scale: 1.25, softcap: 6.0, temperature: 0.75 }, (1.25, Some(6.0), 0.75)),
        (dpo_transform { scale: 0.5, softcap: 0.0, temperature: 0.0 }, (0.5, None, 1.0)),
        (dpo_transform { scale: 0.0, softcap: 3.0, temperature: 0.0 }, (1.0, Some(3.0), 1.0)),
        (dpo_transform { scale: 0.0, softcap: 0.0, temperature: 4.0 }, (1.0, None, 4.0)),
    ];
    let mut has_shift = false;
    for (of_c, (scale, softcap, temperature)) in transforms {
        let transform = Transform::new(scale, softcap, temperature).unwrap();
        // No target, one in each half, a masked one, one that is never folded.
        for target in [None, Some(3), Some(250), Some(17), Some(1000)] {
            let due = by_rust(&row, transform, target);
            for flag in [0, DPO_ROW_DETAILS] {
                let flags = flag | if target.is_some() { DPO_ROW_TARGET } else { 0 };
                let of = format!("{of_c:?}, target {target:?}, flags {flags}");
                let (stats, found) = by_c(&row, number, of_c, flags, target.unwrap_or(0));
                check_stats(&stats, flags, target, &of);
                // A softcap makes the largest of large logits equal.
                if flag != 0 && (factor == 1.0 || softcap.is_none()) {
                    check_argmax(&stats, &of);
                }
                has_shift |= stats[2].shift != 0.0;
                assert!(found.log_z.same(&due.log_z), "{of}");
                assert!(found.log_prob.same(&due.log_prob), "{of}: {}", found.log_prob);
                assert!(found.target_logit.same(&due.target_logit), "{of}");
                assert_eq!(found.columns, COLUMNS as u64, "{of}");
                check_norm(&found, &due, &of);
                let nan = f32::NAN;
                let none =
                    RowDetails { entropy: nan, mean_logit: nan, log_sum_sq_probs: nan, argmax: 0 };
                let details = if flag == 0 { none } else { due.details };
                assert!(found.details.same(&details), "{of}: {:?}", found.details);
            }
        }
    }
    assert_eq!(has_shift, factor > 1.0, "rows that have a logit for their base");
}

/// The norm that Rust has, or one that the backward refuses.
fn check_norm(found: &dpo_row_result, due: &dpo_row_result, of: &str) {
    let zeros = RowNorm::default();
    if !due.norm.same(&zeros) {
        assert!(found.norm.same(&due.norm), "{of}: {:?}", found.norm);
        return;
    }
    let mut element = 1.0_f32;
    let tile = dpo_tile {
        size: size_of::<dpo_tile>(),
        data: (&raw mut element).cast(),
        len: 1,
        coefficient: 1.0,
        norm: found.norm,
        transform: dpo_transform { scale: 0.0, softcap: 0.0, temperature: 0.0 },
        r#type: 1,
        first_column: 0,
        target: 0,
    };
    let dispatch = dpo_dispatch { level: 0, arithmetic: 0 };
    // SAFETY: one element, which is there.
    let status = unsafe { dpo_tile_grads_in_place(dispatch, &raw const tile, ptr::null_mut()) };
    assert_eq!(status, DPO_ERROR_INVALID_VALUE, "{of}: {:?}", found.norm);
}

/// Flags, and what belongs to the host, of both halves and of the whole.
fn check_stats(stats: &[dpo_row_stats; 3], given: u32, target: Option<u32>, of: &str) {
    for (i, stats) in stats.iter().enumerate() {
        let half = [0..150, 150..300, 0..300][i].clone();
        let is_seen = target.is_some_and(|target| half.contains(&target));
        let seen = if is_seen { DPO_ROW_TARGET_SEEN } else { 0 };
        let has_mask = given & DPO_ROW_DETAILS != 0 && half.contains(&17);
        let masked = if has_mask { DPO_ROW_MASKED } else { 0 };
        assert_eq!(stats.flags, given | seen | masked | DPO_ROW_BASE, "{of}");
        assert_eq!(stats.target, target.unwrap_or(0), "{of}");
        assert_eq!(stats.columns, half.len() as u64, "{of}");
        if !is_seen {
            assert_eq!(stats.target_value.to_bits(), 0, "{of}");
        }
        if given & DPO_ROW_DETAILS == 0 {
            let rest = [stats.weighted, stats.squares, stats.values];
            let other = (stats.max, stats.argmax, &stats.tops[1..]);
            assert_eq!(
                (rest, other),
                ([[0; 3]; 3], (0.0, 0, &[0; 3][..])),
                "{of}: details unasked"
            );
        }
    }
}

/// The first of the largest of both halves and of the whole, the target among them.
fn check_argmax(stats: &[dpo_row_stats; 3], of: &str) {
    let row = row(1.0, 0.0);
    for (stats, columns) in stats.iter().zip([0..150, 150..300, 0..300]) {
        let largest = columns.clone().map(|i| row[i as usize]).fold(f32::MIN, f32::max);
        let first = columns.clone().find(|&i| row[i as usize] == largest);
        assert_eq!(Some(stats.argmax), first, "{of}");
    }
}

#[test]
fn statistics_are_those_of_rust() {
    // In the last all are below 0, where a cleared field would be the largest.
    for (factor, shift) in [(1.0, 0.0), (512.0, 0.0), (1.0, -20.0)] {
        agree::<f32>(DPO_TYPE_F32, factor, shift);
        agree::<f16>(DPO_TYPE_F16, factor, shift);
        agree::<bf16>(DPO_TYPE_BF16, factor, shift);
    }
}

/// NaN and +inf are no errors: the row goes on, and its results are NaN wherever it is merged.
#[test]
fn broken_rows_go_on() {
    let (fastest, none) = (dpo_dispatch { level: 0, arithmetic: 0 }, ptr::null_mut());
    let minus_nan = f32::from_bits(0xffff_ffff);
    for broken in [f32::NAN, minus_nan, f32::from_bits(0xff80_0001), f32::INFINITY] {
        for at in [0, 1, 3, 600] {
            for flags in 0..4 {
                let of = format!("{broken} at {at}, flags {flags}");
                let mut row = row(1.0, 0.0).repeat(4);
                row[at] = broken;
                let (transform, target) = (zeroed::<dpo_transform>(), (flags & DPO_ROW_TARGET) * 3);
                let mut halves = [zeroed::<dpo_row_stats>(); 2];
                for (half, first) in halves.iter_mut().zip([0, 512]) {
                    let tile = &row[first..first + 512];
                    let (data, to) = (tile.as_ptr().cast(), &raw mut *half);
                    // SAFETY: every pointer is to a struct or to a tile of its length.
                    unsafe {
                        succeed(dpo_row_stats_new(&raw const transform, flags, target, to, none));
                        let f32 = DPO_TYPE_F32;
                        succeed(dpo_row_stats_fold(
                            fastest,
                            to,
                            f32,
                            data,
                            512,
                            first as u32,
                            none,
                        ));
                        // Nothing more, of statistics that hold it.
                        succeed(dpo_row_stats_fold(fastest, to, f32, data, 0, 0, none));
                    }
                }
                // The target's column says so by its value.
                let is_broken = |stats: &dpo_row_stats| {
                    stats.flags & DPO_ROW_BROKEN != 0 || !stats.target_value.is_finite()
                };
                assert_eq!(halves.each_ref().map(is_broken), [at < 512, at >= 512], "{of}");
                for (mut into, from) in [(halves[0], halves[1]), (halves[1], halves[0])] {
                    let mut result = zeroed::<dpo_row_result>();
                    // SAFETY: structs.
                    unsafe {
                        succeed(dpo_row_stats_merge(&raw mut into, &raw const from, none));
                        succeed(dpo_row_stats_finish(&raw const into, &raw mut result, none));
                    }
                    assert!(is_broken(&into) && result.log_z.is_nan(), "{of}");
                    assert!(result.log_prob.is_nan() && result.details.entropy.is_nan(), "{of}");
                }
            }
        }
    }
}

/// A host may begin with a struct of zeros and the flags: its first tile makes all else.
#[test]
fn statistics_may_begin_as_zeros() {
    for shift in [0.0, -20.0] {
        let row = row(1.0, shift);
        let fold = |mut stats: dpo_row_stats| {
            let fastest = dpo_dispatch { level: 0, arithmetic: 0 };
            let (data, len) = (row.as_ptr().cast(), row.len());
            let (to, none) = (&raw mut stats, ptr::null_mut());
            // SAFETY: every pointer is to a struct or to a tile of its length.
            succeed(unsafe { dpo_row_stats_fold(fastest, to, DPO_TYPE_F32, data, len, 0, none) });
            stats
        };
        let mut made = zeroed::<dpo_row_stats>();
        let flags = DPO_ROW_DETAILS | DPO_ROW_TARGET;
        let transform = zeroed::<dpo_transform>();
        // SAFETY: as above.
        succeed(unsafe {
            dpo_row_stats_new(&raw const transform, flags, 3, &raw mut made, ptr::null_mut())
        });
        let zeros = dpo_row_stats { flags, target: 3, ..zeroed() };
        let (made, zeros) = (fold(made), fold(zeros));
        assert!(zeros.same(&made), "{zeros:?} {made:?}");
        assert_eq!(zeros.max, 9.0 + shift);
    }
}

/// Statistics that are refused, or not, by what they hold.
#[test]
fn statistics_that_no_fold_has_made_are_refused() {
    const BASE: u32 = DPO_ROW_BASE;
    const SEEN: u32 = DPO_ROW_TARGET | DPO_ROW_TARGET_SEEN;
    const BROKEN: u32 = DPO_ROW_BROKEN;
    const ZERO: u32 = 1 << 31;
    let tops = [ZERO, 0, 0, 0];
    let others = [0, 1 << 31, 5];
    let made = dpo_row_stats { columns: 3, flags: BASE, others, tops, ..zeroed() };
    let with = |change: fn(&mut dpo_row_stats)| {
        let mut stats = made;
        change(&mut stats);
        stats
    };
    let cases = [
        (true, with(|_| ())),
        (true, zeroed()),
        (true, with(|s| s.tops[0] += 64)),
        (true, with(|s| s.tops[0] -= 64)),
        (false, with(|s| s.tops[0] += 65)),
        (false, with(|s| s.tops[0] -= 65)),
        (false, with(|s| (s.shift, s.tops[0]) = (2e3, ZERO + (1 << 26)))),
        (false, with(|s| (s.shift, s.tops[0]) = (2e3, ZERO - (1 << 26)))),
        (false, with(|s| s.tops[0] = 0)),
        (true, with(|s| s.tops[2] = ZERO)),
        (false, with(|s| (s.tops[2], s.flags) = (5, BASE | DPO_ROW_DETAILS))),
        (false, with(|s| (s.values[1], s.flags) = (1, BASE | DPO_ROW_DETAILS))),
        (true, with(|s| (s.values[1], s.tops[3], s.flags) = (-1, ZERO, BASE | DPO_ROW_DETAILS))),
        (false, with(|s| (s.max, s.flags) = (f32::NAN, BASE | DPO_ROW_DETAILS))),
        (true, with(|s| s.max = f32::NAN)),
        (false, with(|s| s.flags = BASE | DPO_ROW_MASKED)),
        (false, with(|s| s.shift = -7.5)),
        (false, with(|s| s.shift = -0.0)),
        (true, with(|s| (s.shift, s.tops[0]) = (-2e3, ZERO - 91))),
        (true, with(|s| (s.shift, s.tops[0]) = (2e3, ZERO + 90))),
        (false, with(|s| (s.shift, s.tops[0]) = (2e3, ZERO + 92))),
        (true, with(|s| s.shift = 1e30)),
        (false, with(|s| s.shift = f32::NAN)),
        (false, with(|s| s.shift = f32::INFINITY)),
        (true, with(|s| (s.others, s.tops[0], s.shift, s.flags) = ([0; 3], 0, f32::NAN, 0))),
        (false, with(|s| (s.others, s.shift, s.flags) = ([0; 3], f32::NAN, 0))),
        (false, with(|s| s.others = [0; 3])),
        (false, with(|s| s.flags = 0)),
        (false, with(|s| (s.flags, s.others) = (0, [0, 0, 1]))),
        (true, with(|s| s.others = [i64::MAX; 3])),
        (false, with(|s| s.others[0] = -1)),
        (false, with(|s| s.others[1] = i64::MIN)),
        (false, with(|s| s.others[2] = -1)),
        (false, with(|s| s.reserved = 1)),
        (false, with(|s| s.reserved = 1 << 31)),
        (true, with(|s| s.columns = (1 << 53) - 1)),
        (false, with(|s| s.columns = 1 << 53)),
        (false, with(|s| s.columns = 0)),
        (false, with(|s| (s.columns, s.flags) = (0, 0))),
        (false, with(|s| (s.columns, s.others) = (0, [0; 3]))),
        (false, with(|s| (s.columns, s.others, s.tops, s.flags) = (0, [0; 3], [0; 4], SEEN))),
        (false, with(|s| (s.columns, s.others, s.tops, s.flags) = (0, [0; 3], [0; 4], BROKEN))),
        (true, with(|s| (s.others, s.tops, s.flags) = ([0; 3], [0; 4], BROKEN))),
        (true, with(|s| (s.columns, s.others, s.tops, s.flags) = (0, [0; 3], [0; 4], 0))),
        (
            true,
            with(|s| (s.columns, s.others, s.tops, s.flags) = (0, [0; 3], [0; 4], DPO_ROW_DETAILS)),
        ),
        (true, with(|s| s.flags = SEEN | BASE)),
        (true, with(|s| (s.flags, s.tops, s.others) = (SEEN, [0; 4], [0; 3]))),
        (true, with(|s| (s.flags, s.target) = (SEEN | BASE, 2))),
        (false, with(|s| s.flags = DPO_ROW_TARGET_SEEN | BASE)),
        (false, with(|s| s.target = 2)),
        (false, with(|s| s.flags = BASE | 64)),
        (false, with(|s| s.flags = BASE | 1 << 31)),
        (true, with(|s| s.flags = 15)),
        (true, with(|s| s.flags = 47)),
        (false, with(|s| s.flags = 31)),
        (false, with(|s| s.flags = 63)),
        (
            true,
            with(|s| {
                (s.others, s.tops, s.flags, s.max, s.argmax) =
                    ([0; 3], [0; 4], 23, f32::NEG_INFINITY, u32::MAX);
            }),
        ),
        (false, with(|s| (s.others, s.tops, s.flags) = ([0; 3], [0; 4], 23))),
        (
            false,
            with(|s| (s.squares, s.tops[2], s.flags) = ([0, -1, 0], ZERO, BASE | DPO_ROW_DETAILS)),
        ),
    ];
    for (is_made, stats) in cases {
        let mut host = Host::new();
        host.put(Slot::Stats, &[stats]);
        host.put(Slot::StatsFrom, &[stats]);
        let structs = host.structs();
        let due = if is_made { DPO_OK } else { DPO_ERROR_ROW_STATS };
        let (at, from) = (structs.at(Slot::Stats), structs.at(Slot::StatsFrom));
        let finish = Call::RowStatsFinish(from, structs.at(Slot::RowResult));
        assert_eq!(host.judge(&finish), Ok(due), "{stats:?}");
        let is_detailed = stats.flags & DPO_ROW_DETAILS != 0;
        let (to, len) = if is_detailed {
            (structs.at(Slot::RowDetailBytes), DPO_ROW_DETAIL_BYTES)
        } else {
            (structs.at(Slot::RowBytes), DPO_ROW_BYTES)
        };
        let write = Call::RowStatsWriteBytes(from, to, len);
        assert_eq!(host.judge(&write), Ok(due), "{stats:?}");
        let (tile, dispatch) = (structs.at(Slot::Tile), structs.dispatch);
        let fold = Call::RowStatsFold(dispatch, at, 1, tile, 4, 400);
        assert_eq!(host.judge(&fold), Ok(due), "{stats:?}");
        // Into itself, of which the target cannot be seen twice; and into a row of its own.
        host.put(Slot::Stats, &[stats]);
        let twice = is_made && stats.flags & DPO_ROW_TARGET_SEEN != 0;
        let merge = Call::RowStatsMerge(at, from);
        let due = if twice { DPO_ERROR_MERGE_OF_DIFFERENT_ROWS } else { due };
        assert_eq!(host.judge(&merge), Ok(due), "{stats:?}");
        host.put(Slot::Stats, &[dpo_row_stats { columns: 3, ..zeroed() }]);
        let refused = |found| found == Ok(DPO_ERROR_ROW_STATS);
        assert_eq!(refused(host.judge(&merge)), !is_made, "{stats:?}");
        host.put(Slot::Stats, &[dpo_row_stats { columns: 3, ..zeroed() }]);
        assert_eq!(refused(host.judge(&Call::RowStatsMerge(from, at))), !is_made, "{stats:?}");
    }
}

/// Rows of other targets, transforms, or with details on one side alone.
#[test]
fn parts_of_other_rows_do_not_merge() {
    let base = dpo_row_stats { flags: 3, target: 5, columns: 3, others: [0, 3, 7], ..zeroed() };
    let tops = [1 << 31, 0, 0, 0];
    let base = dpo_row_stats { flags: 3 | DPO_ROW_BASE, tops, ..base };
    let with = |change: fn(&mut dpo_row_stats)| {
        let mut stats = base;
        change(&mut stats);
        stats
    };
    let cases = [
        (true, with(|_| ())),
        (true, with(|s| s.flags |= DPO_ROW_TARGET_SEEN)),
        (true, with(|s| s.transform.scale = 1.0)),
        (false, with(|s| s.target = 6)),
        (false, with(|s| s.flags &= !DPO_ROW_DETAILS)),
        (false, with(|s| (s.flags, s.target) = (2 | DPO_ROW_BASE, 0))),
        (false, with(|s| s.transform.scale = 2.0)),
        (false, with(|s| s.transform.softcap = 2.0)),
        (false, with(|s| s.transform.temperature = 2.0)),
    ];
    for (is_one, other) in cases {
        for (a, b) in [(base, other), (other, base)] {
            let mut host = Host::new();
            host.put(Slot::Stats, &[a]);
            host.put(Slot::StatsFrom, &[b]);
            let structs = host.structs();
            let call = Call::RowStatsMerge(structs.at(Slot::Stats), structs.at(Slot::StatsFrom));
            let due = if is_one { DPO_OK } else { DPO_ERROR_MERGE_OF_DIFFERENT_ROWS };
            assert_eq!(host.judge(&call), Ok(due), "{other:?}");
        }
    }
}

/// The host's own fields: flags that are given, and a target that needs its flag.
#[test]
fn new_statistics_say_what_was_asked_for() {
    let host = Host::new();
    let structs = host.structs();
    for flags in [0, 1, 2, 3, 4, 7, 8, 16, 1 << 31] {
        for target in [0, 5] {
            let call = Call::RowStatsNew(
                &raw const structs.transform,
                flags,
                target,
                structs.at(Slot::Stats),
            );
            let due = match (flags, target) {
                (4.., _) => DPO_ERROR_UNKNOWN_VALUE,
                (0 | 2, 5) => DPO_ERROR_FIELD_UNUSED,
                _ => DPO_OK,
            };
            assert_eq!(host.judge(&call), Ok(due), "flags {flags}, target {target}");
        }
    }
}
