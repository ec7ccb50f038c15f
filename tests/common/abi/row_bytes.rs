//! Row statistics as bytes for another machine. Byte by byte, as a machine of another kind would
//! write and read them:
//!
//! ```text
//! 0 "dpo", 1     4 flags      8 target    12 target_value   16 shift   20 columns   28 transform
//! 36 others     60 its top
//! with details:
//! 64 weighted   88 its top   92 squares  116 its top       120 values 144 its top
//! 148 max      152 argmax   156 0
//! ```
//! What stands for a transform is the library's: whether it is that of the Rust functions is
//! checked, and that another transform is refused.

use dpo_kernel::Transform;
use dpo_kernel::c::*;
use dpo_kernel::row::RowStats;

use super::memory::{Due, Ranges, Written, plain};
use super::report::refusal;
use super::rows::{check_stats, without_columns};
use super::structs::transform_of;

const PLAIN: usize = 64;
const DETAILED: usize = 160;

const TARGET: u32 = 1;
const DETAILS: u32 = 2;
const SEEN: u32 = 4;
const BASE: u32 = 8;
const MASKED: u32 = 32;

/// The 8 bytes that stand for a transform.
fn of_transform(transform: Transform) -> [u8; 8] {
    let mut bytes = [0; PLAIN];
    RowStats::<()>::new(transform, None).write_bytes(&mut bytes).unwrap();
    bytes[28..36].try_into().unwrap()
}

fn length(expected: usize, found: usize) -> Due<()> {
    let refused = Err(refusal(DPO_ERROR_LENGTH, DPO_BUFFER_ROW_BYTES, [expected, found]));
    if expected == found { Ok(()) } else { refused }
}

/// What statistics are written as: fields that their flags say are not there as 0.
fn bytes_of(stats: &dpo_row_stats, transform: Transform) -> Vec<u8> {
    let has = |flag: u32| stats.flags & flag != 0;
    let mut s = *stats;
    if s.columns == 0 {
        s = without_columns(s);
    }
    let mut bytes = b"dpo\x01".to_vec();
    bytes.extend(s.flags.to_le_bytes());
    bytes.extend(s.target.to_le_bytes());
    bytes.extend(if has(SEEN) { s.target_value.to_bits() } else { 0 }.to_le_bytes());
    bytes.extend(if has(BASE) { s.shift.to_bits() } else { 0 }.to_le_bytes());
    bytes.extend(s.columns.to_le_bytes());
    bytes.extend(of_transform(transform));
    let [others, weighted, squares, values] = s.tops.map(|top| top ^ 1 << 31);
    let mut sum = |places: [i64; 3], top: u32| {
        bytes.extend(places.iter().flat_map(|place| place.to_le_bytes()));
        bytes.extend(top.to_le_bytes());
    };
    sum(s.others, others);
    if has(DETAILS) {
        sum(s.weighted, weighted);
        sum(s.squares, squares);
        sum(s.values, values);
        bytes.extend(s.max.to_bits().to_le_bytes());
        bytes.extend(s.argmax.to_le_bytes());
        bytes.extend([0; 4]);
    }
    bytes
}

pub fn write(
    stats: *const dpo_row_stats,
    (bytes, len): (*mut u8, usize),
    written: &mut Vec<Written>,
) -> Due<()> {
    let mut ranges = Ranges::default();
    let stats = ranges.read(stats, 1, DPO_BUFFER_ARGUMENT)?;
    let bytes = ranges.write(bytes, len, DPO_BUFFER_ROW_BYTES)?;
    ranges.are_apart()?;
    let stats = stats.get()[0];
    check_stats(&stats)?;
    length(if stats.flags & DETAILS == 0 { PLAIN } else { DETAILED }, len)?;
    let due = bytes_of(&stats, transform_of(stats.transform)?);
    written.push(bytes.becomes("bytes", due));
    Ok(())
}

pub fn read(
    transform: *const dpo_transform,
    (bytes, len): (*const u8, usize),
    out: *mut dpo_row_stats,
    written: &mut Vec<Written>,
) -> Due<()> {
    let of_c = plain(transform)?;
    let transform = transform_of(of_c)?;
    let mut ranges = Ranges::default();
    let bytes = ranges.read(bytes, len, DPO_BUFFER_ROW_BYTES)?;
    let out = ranges.write(out, 1, DPO_BUFFER_OUT)?;
    ranges.are_apart()?;
    length(if len == DETAILED { DETAILED } else { PLAIN }, len)?;
    let stats = stats_of(&bytes.get(), of_c, transform)?;
    written.push(out.becomes("stats", vec![stats]));
    Ok(())
}

/// The statistics that wrote these bytes, 64 or 160 of them.
fn stats_of(bytes: &[u8], of_c: dpo_transform, transform: Transform) -> Due<dpo_row_stats> {
    let refused = |byte: usize| Err(refusal(DPO_ERROR_ROW_BYTES, 0, [byte, 0]));
    let four = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let eight = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let three = |at: usize| [at, at + 8, at + 16].map(|at| eight(at).cast_signed());
    let top = |at: usize| four(at) ^ 1 << 31;
    let has_details = bytes.len() == DETAILED;
    if &bytes[..4] != b"dpo\x01" {
        return refused(0);
    }
    let flags = four(4);
    let has = |flag: u32| flags & flag != 0;
    let is_odd = (has(SEEN) && !has(TARGET)) || (has(MASKED) && !has_details);
    if flags > 63 || has(DETAILS) != has_details || is_odd {
        return refused(4);
    }
    // Numbers that nothing says are there.
    for (flag, at) in [(TARGET, 8), (SEEN, 12), (BASE, 16)] {
        if !has(flag) && four(at) != 0 {
            return refused(at);
        }
    }
    // SAFETY: numbers, of which 0 is one.
    let zeros = unsafe { std::mem::zeroed::<dpo_row_stats>() };
    let mut stats = dpo_row_stats {
        transform: of_c,
        flags,
        target: four(8),
        target_value: f32::from_bits(four(12)),
        shift: f32::from_bits(four(16)),
        columns: eight(20),
        others: three(36),
        tops: [top(60), 0, 0, 0],
        ..zeros
    };
    if has_details {
        if four(156) != 0 {
            return refused(156);
        }
        stats = dpo_row_stats {
            weighted: three(64),
            squares: three(92),
            values: three(120),
            tops: [60, 88, 116, 144].map(top),
            max: f32::from_bits(four(148)),
            argmax: four(152),
            ..stats
        };
    }
    if bytes[28..36] != of_transform(transform) {
        return Err(refusal(DPO_ERROR_MERGE_OF_DIFFERENT_ROWS, 0, [0, 0]));
    }
    // A struct without columns may be cleared; bytes are those of a fold.
    let is_empty = (stats.max, stats.argmax) == (f32::NEG_INFINITY, u32::MAX);
    if check_stats(&stats).is_err() || (has_details && stats.columns == 0 && !is_empty) {
        return refused(20);
    }
    Ok(stats)
}
