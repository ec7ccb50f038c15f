//! Row statistics that cross to another machine as bytes: the shards of a row, and bytes that no
//! library of this version has written.

use std::ptr;

use dpo_kernel::c::*;
use dpo_kernel::row::{Details, RowStats, shard_columns};
use dpo_kernel::{Dispatch, Transform};

use crate::abi::{Call, Same};
use crate::host::slots::Slot;
use crate::host::{Host, zeroed};

/// Five blocks, the last of which is cut off.
const COLUMNS: usize = 2100;
const FLAGS: [u32; 4] = [0, DPO_ROW_TARGET, DPO_ROW_DETAILS, DPO_ROW_TARGET | DPO_ROW_DETAILS];
static OF_C: dpo_transform = dpo_transform { scale: 1.25, softcap: 0.0, temperature: 0.75 };

fn transform() -> Transform {
    Transform::new(1.25, None, 0.75).unwrap()
}

fn succeed(status: dpo_status) {
    assert_eq!(status, DPO_OK);
}

const fn bytes_with(flags: u32) -> usize {
    if flags & DPO_ROW_DETAILS == 0 { DPO_ROW_BYTES } else { DPO_ROW_DETAIL_BYTES }
}

/// Blocks far apart, with a masked column.
fn row(steps: f32) -> Vec<f32> {
    let number = |i: usize| ((i * 37 + 11) % 64) as f32 / 8.0 - 4.0;
    let mut row: Vec<f32> =
        (0..COLUMNS).map(|i| number(i) + steps * ((i / 512 * 3) % 5) as f32).collect();
    row[700] = f32::NEG_INFINITY;
    row
}

/// Statistics of some columns, by C.
fn folded(row: &[f32], columns: std::ops::Range<usize>, flags: u32) -> dpo_row_stats {
    let (fastest, none) = (dpo_dispatch { level: 0, arithmetic: 0 }, ptr::null_mut());
    let target = if flags & DPO_ROW_TARGET == 0 { 0 } else { 1500 };
    let mut stats = zeroed::<dpo_row_stats>();
    let (first, tile) = (columns.start as u32, &row[columns]);
    let (to, data, len) = (&raw mut stats, tile.as_ptr().cast(), tile.len());
    // SAFETY: every pointer is to a struct or to a tile of its length.
    unsafe {
        succeed(dpo_row_stats_new(&raw const OF_C, flags, target, to, none));
        succeed(dpo_row_stats_fold(fastest, to, DPO_TYPE_F32, data, len, first, none));
    }
    stats
}

fn written(stats: &dpo_row_stats) -> Vec<u8> {
    let mut bytes = vec![0xee; bytes_with(stats.flags)];
    let (to, len) = (bytes.as_mut_ptr(), bytes.len());
    // SAFETY: a struct, and memory of the length.
    succeed(unsafe { dpo_row_stats_write_bytes(stats, to, len, ptr::null_mut()) });
    bytes
}

/// What the bytes are read as, over dirty memory.
fn read(bytes: &[u8]) -> Result<dpo_row_stats, dpo_status> {
    let mut host = Host::new();
    let slot = if bytes.len() == DPO_ROW_BYTES { Slot::RowBytes } else { Slot::RowDetailBytes };
    host.put(slot, bytes);
    host.put(Slot::Stats, &[0xee_u8; size_of::<dpo_row_stats>()]);
    let structs = host.structs();
    let (at, out) = (structs.at(slot), structs.at(Slot::Stats));
    let call = Call::RowStatsFromBytes(&raw const OF_C, at, bytes.len(), out);
    match host.judge(&call).unwrap_or_else(|why| panic!("{bytes:?}: {why}")) {
        DPO_OK => Ok(host.get(Slot::Stats, 1)[0]),
        status => Err(status),
    }
}

fn merged(parts: impl IntoIterator<Item = dpo_row_stats>) -> dpo_row_stats {
    let merge = |mut into: dpo_row_stats, from: dpo_row_stats| {
        // SAFETY: two structs.
        succeed(unsafe { dpo_row_stats_merge(&raw mut into, &raw const from, ptr::null_mut()) });
        into
    };
    parts.into_iter().reduce(merge).unwrap()
}

fn finished(stats: &dpo_row_stats) -> dpo_row_result {
    let mut result = zeroed::<dpo_row_result>();
    // SAFETY: two structs.
    succeed(unsafe { dpo_row_stats_finish(stats, &raw mut result, ptr::null_mut()) });
    result
}

/// Shards of whole blocks, each of another machine: the bits of the row folded by one.
#[test]
fn shards_over_bytes_are_the_row() {
    for steps in [0.0, 9.0, 400.0] {
        let row = row(steps);
        for flags in FLAGS {
            let whole = folded(&row, 0..COLUMNS, flags);
            let is_masked = whole.flags & DPO_ROW_MASKED != 0;
            assert_eq!(is_masked, flags & DPO_ROW_DETAILS != 0, "a masked column");
            for shards in [1, 2, 3, 7] {
                let columns = (0..shards).map(|shard| shard_columns(COLUMNS, shards, shard));
                let sent: Vec<Vec<u8>> =
                    columns.map(|columns| written(&folded(&row, columns, flags))).collect();
                let parts = || sent.iter().map(|bytes| read(bytes).unwrap());
                for all in [merged(parts()), merged(parts().rev())] {
                    assert!(all.same(&whole), "{shards} shards: {all:?}, {whole:?}");
                    assert!(finished(&all).same(&finished(&whole)), "{shards} shards");
                }
            }
        }
    }
}

/// The same bytes by Rust, which may be the other machine.
#[test]
fn bytes_are_those_of_rust() {
    let dispatch = Dispatch::detect();
    for steps in [0.0, 400.0] {
        let row = row(steps);
        for flags in FLAGS {
            let target = (flags & DPO_ROW_TARGET != 0).then_some(1500);
            for columns in [0..0, 512..1024, 1024..2100] {
                let (first, tile) = (columns.start as u32, &row[columns.clone()]);
                let mut due = vec![0x55; bytes_with(flags)];
                if flags & DPO_ROW_DETAILS == 0 {
                    let mut stats = RowStats::<()>::new(transform(), target);
                    stats.fold(dispatch, tile, first);
                    stats.write_bytes(&mut due).unwrap();
                } else {
                    let mut stats = RowStats::<Details>::new(transform(), target);
                    stats.fold(dispatch, tile, first);
                    stats.write_bytes(&mut due).unwrap();
                }
                let stats = folded(&row, columns, flags);
                assert_eq!(written(&stats), due, "flags {flags}");
                assert!(read(&due).unwrap().same(&stats), "flags {flags}");
            }
        }
    }
}

/// No bit is passed over: with another one the statistics are others, or refused.
#[test]
fn every_bit_is_read() {
    for flags in FLAGS {
        let stats = folded(&row(9.0), 512..2100, flags);
        let bytes = written(&stats);
        let mut refused = 0;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let read = read(&damaged);
                assert!(!read.is_ok_and(|found| found.same(&stats)), "bit {bit} of byte {at}");
                refused += u32::from(read.is_err());
            }
        }
        // Magic, version and transform, and the bits of flags that nothing stands for.
        assert!(refused >= 8 * (4 + 8) + 26, "{refused} refused");
    }
}

/// What is written is read, and what is read is written: of fields that their flags say are not
/// there, nothing is.
#[test]
fn what_is_not_there_is_not_written() {
    let clean = folded(&[f32::NEG_INFINITY; 3], 0..3, 0);
    assert_eq!(clean.flags, 0, "neither target nor base");
    let nan = f32::NAN;
    let dirty = dpo_row_stats {
        target_value: nan,
        shift: nan,
        max: 3.0,
        argmax: 2,
        tops: [0, 5, 6, 7],
        weighted: [1; 3],
        squares: [3; 3],
        values: [4; 3],
        ..clean
    };
    assert_eq!(written(&dirty), written(&clean));
    assert!(read(&written(&dirty)).unwrap().same(&clean));
    // Details that a host has cleared are those of no column.
    let flags = DPO_ROW_DETAILS;
    let zeros = dpo_row_stats { flags, transform: OF_C, ..zeroed() };
    let made = folded(&[], 0..0, flags);
    assert_eq!(written(&zeros), written(&made));
    assert!(read(&written(&zeros)).unwrap().same(&made));
}

#[test]
fn bytes_of_another_version_are_refused() {
    for flags in FLAGS {
        let bytes = written(&folded(&row(9.0), 0..512, flags));
        assert_eq!(&bytes[..4], b"dpo\x01");
        for version in [0, 2, 3, 128, 255] {
            let mut other = bytes.clone();
            other[3] = version;
            assert_eq!(read(&other).err(), Some(DPO_ERROR_ROW_BYTES), "version {version}");
        }
        // Of a machine that writes its numbers the other way round.
        let turned: Vec<u8> = bytes.chunks(4).flat_map(|word| word.iter().rev()).copied().collect();
        assert_eq!(read(&turned).err(), Some(DPO_ERROR_ROW_BYTES));
    }
}

/// Scale, softcap and temperature of the row are those of the bytes.
#[test]
fn bytes_of_another_transform_are_refused() {
    let of = |scale, softcap, temperature| dpo_transform { scale, softcap, temperature };
    let transforms = [
        of(0.0, 0.0, 0.0),
        of(1.25, 0.0, 0.75),
        of(1.25, 0.0, 0.5),
        of(1.5, 0.0, 0.75),
        of(1.25, 30.0, 0.75),
        of(1.25, 20.0, 0.75),
        of(0.0, 30.0, 0.0),
        of(0.0, 20.0, 0.0),
        // Which differ in whether there is a softcap alone.
        of(3.0, 0.0, 0.0),
        of(3.0, 3.0, 0.0),
    ];
    for (i, mine) in transforms.iter().enumerate() {
        for flags in FLAGS {
            let mut stats = zeroed::<dpo_row_stats>();
            // SAFETY: two structs.
            succeed(unsafe { dpo_row_stats_new(mine, flags, 0, &raw mut stats, ptr::null_mut()) });
            let bytes = written(&stats);
            for (j, other) in transforms.iter().enumerate() {
                let mut host = Host::new();
                host.put(Slot::RowDetailBytes, &bytes);
                let structs = host.structs();
                let (at, out) = (structs.at(Slot::RowDetailBytes), structs.at(Slot::Stats));
                let call = Call::RowStatsFromBytes(other, at, bytes.len(), out);
                let due = if i == j { DPO_OK } else { DPO_ERROR_MERGE_OF_DIFFERENT_ROWS };
                assert_eq!(host.judge(&call), Ok(due), "{mine:?} as {other:?}");
            }
        }
    }
}

/// A cleared struct is of no columns; bytes of no columns are those that a fold begins with.
#[test]
fn bytes_of_no_columns_hold_nothing() {
    let mut stats = zeroed::<dpo_row_stats>();
    let transform = zeroed::<dpo_transform>();
    // SAFETY: two structs.
    succeed(unsafe {
        dpo_row_stats_new(&raw const transform, DPO_ROW_DETAILS, 0, &raw mut stats, ptr::null_mut())
    });
    let whole = written(&stats);
    for at in std::iter::once(None).chain((148..156).map(Some)) {
        let mut bytes = whole.clone();
        if let Some(at) = at {
            bytes[at] ^= 1;
        }
        let mut host = Host::new();
        host.put(Slot::RowDetailBytes, &bytes);
        let structs = host.structs();
        let (from, out) = (structs.at(Slot::RowDetailBytes), structs.at(Slot::Stats));
        let call = Call::RowStatsFromBytes(&raw const transform, from, bytes.len(), out);
        let due = if at.is_none() { DPO_OK } else { DPO_ERROR_ROW_BYTES };
        assert_eq!(host.judge(&call), Ok(due), "{at:?}");
    }
}

/// Neither fewer bytes nor more.
#[test]
fn other_lengths_are_refused() {
    let lengths = [0, 1, 63, 64, 65, 128, 159, 160, 161, 200];
    for len in lengths {
        let host = Host::new();
        let structs = host.structs();
        for (from, to, due) in [
            (Slot::StatsRow, Slot::RowBytes, DPO_ROW_BYTES),
            (Slot::StatsDetailed, Slot::RowDetailBytes, DPO_ROW_DETAIL_BYTES),
        ] {
            let status = if len == due { DPO_OK } else { DPO_ERROR_LENGTH };
            let write = Call::RowStatsWriteBytes(structs.at(from), structs.at(to), len);
            assert_eq!(host.judge(&write), Ok(status), "{len} bytes of {due}");
            // Bytes of details say so, and are none of a row without.
            let transform = &raw const structs.transform;
            let read =
                Call::RowStatsFromBytes(transform, structs.at(to), len, structs.at(Slot::Stats));
            let status = match len {
                _ if len == due => DPO_OK,
                DPO_ROW_BYTES | DPO_ROW_DETAIL_BYTES => DPO_ERROR_ROW_BYTES,
                _ => DPO_ERROR_LENGTH,
            };
            assert_eq!(host.judge(&read), Ok(status), "{len} bytes of {due}");
        }
    }
}
