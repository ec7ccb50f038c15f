//! The same rows in other surroundings: their figures are not to change a bit.

use alloc::vec;
use alloc::vec::Vec;

use super::super::Relation;
use super::super::call::{HeadGiven, PairsGiven, RowsGiven};
use super::super::random::Random;
use super::{IGNORE, Variants};
use crate::Element;

/// The row that stays where others do not: the first that is scored.
pub(super) fn kept(targets: &[u32]) -> usize {
    targets.iter().position(|&target| target != IGNORE).unwrap_or(0)
}

/// The same call once more, and in turns one other relation; of one row where others change.
pub(super) fn of_rows<E: Element>(
    base: &RowsGiven<E>,
    kept: usize,
    turn: usize,
    random: &mut Random,
) -> Variants<RowsGiven<E>> {
    let rows = base.rows();
    let mut variants = Variants::default();
    variants.add(Relation::Repeated, base.clone(), (0..rows).map(|row| (row, row)));
    let one = |row: usize| {
        let rows = base.stride * row..base.stride * (row + 1);
        base.logits.get(rows).unwrap_or_default().to_vec()
    };
    match turn % 5 {
        0 => variants.add(Relation::Batch, row_alone(base, kept), [(kept, 0)]),
        1 => {
            let reversed = RowsGiven {
                logits: (0..rows).rev().flat_map(one).collect(),
                targets: reversed(&base.targets),
                coefficients: reversed(&base.coefficients),
                ..base.clone()
            };
            variants.add(Relation::Position, reversed, in_reverse(rows));
        }
        2 if base.stride > base.vocab => {
            let mut padded = base.clone();
            for row in padded.logits.chunks_mut(base.stride) {
                row.iter_mut().skip(base.vocab).for_each(|x| *x = E::from_f32(7.5));
            }
            variants.add(Relation::Padding, padded, (0..rows).map(|row| (row, row)));
        }
        // Without padding there is no other.
        2 | 3 => {
            let stride = base.stride + 1 + random.below(9);
            let mut wider = RowsGiven {
                logits: vec![E::from_f32(f32::NAN); rows * stride],
                stride,
                ..base.clone()
            };
            for (to, from) in wider.logits.chunks_mut(stride).zip(base.logits.chunks(base.stride)) {
                to.iter_mut().zip(from).take(base.vocab).for_each(|(to, from)| *to = *from);
            }
            variants.add(Relation::Stride, wider, (0..rows).map(|row| (row, row)));
        }
        _ => {
            let mut broken = base.clone();
            spoil(&mut broken.logits, base.stride, kept);
            variants.add(Relation::Neighbours, broken, [(kept, kept)]);
        }
    }
    variants
}

/// A row in a batch of one.
fn row_alone<E: Element>(base: &RowsGiven<E>, kept: usize) -> RowsGiven<E> {
    RowsGiven {
        logits: row_of(&base.logits, base.stride, kept),
        targets: row_of(&base.targets, 1, kept),
        coefficients: row_of(&base.coefficients, 1, kept),
        ..base.clone()
    }
}

/// The same call once more, a row alone, and in turns one other relation: heads have no padding and
/// no stride.
pub(super) fn of_head<E: Element>(base: &HeadGiven<E>, turn: usize) -> Variants<HeadGiven<E>> {
    let rows = base.targets.len();
    let kept = kept(&base.targets);
    let mut variants = Variants::default();
    variants.add(Relation::Repeated, base.clone(), (0..rows).map(|row| (row, row)));
    let alone = HeadGiven {
        hidden: row_of(&base.hidden, base.hidden_size, kept),
        targets: row_of(&base.targets, 1, kept),
        coefficients: row_of(&base.coefficients, 1, kept),
        ..base.clone()
    };
    variants.add(Relation::Batch, alone, [(kept, 0)]);
    if turn.is_multiple_of(2) {
        let mut broken = base.clone();
        spoil(&mut broken.hidden, base.hidden_size, kept);
        variants.add(Relation::Neighbours, broken, [(kept, kept)]);
    } else {
        let reversed = HeadGiven {
            hidden: base.hidden.chunks(base.hidden_size).rev().flatten().copied().collect(),
            targets: reversed(&base.targets),
            coefficients: reversed(&base.coefficients),
            ..base.clone()
        };
        variants.add(Relation::Position, reversed, in_reverse(rows));
    }
    variants
}

/// The same call once more, and a pair alone or the pairs in reverse.
pub(super) fn of_pairs(
    base: &PairsGiven,
    turn: usize,
    random: &mut Random,
) -> Variants<PairsGiven> {
    let pairs = base.log_probs.len();
    let mut variants = Variants::default();
    variants.add(Relation::Repeated, base.clone(), (0..pairs).map(|pair| (pair, pair)));
    if turn.is_multiple_of(2) {
        let kept = random.below(pairs);
        let alone = PairsGiven {
            dpo: base.dpo,
            log_probs: row_of(&base.log_probs, 1, kept),
            weights: row_of(&base.weights, 1, kept),
            offsets: row_of(&base.offsets, 1, kept),
        };
        variants.add(Relation::Batch, alone, [(kept, 0)]);
    } else {
        let reversed = PairsGiven {
            dpo: base.dpo,
            log_probs: reversed(&base.log_probs),
            weights: reversed(&base.weights),
            offsets: reversed(&base.offsets),
        };
        variants.add(Relation::Position, reversed, in_reverse(pairs));
    }
    variants
}

/// A wide row alone: kernels divide one row among many blocks where a batch is small.
pub(super) fn of_wide_row<E: Element>(base: &RowsGiven<E>, kept: usize) -> Variants<RowsGiven<E>> {
    let mut variants = Variants::default();
    variants.add(Relation::Batch, row_alone(base, kept), [(kept, 0)]);
    variants
}

/// One row of several.
fn row_of<T: Copy>(all: &[T], width: usize, row: usize) -> Vec<T> {
    all.get(row * width..(row + 1) * width).unwrap_or_default().to_vec()
}

fn reversed<T: Copy>(list: &[T]) -> Vec<T> {
    list.iter().rev().copied().collect()
}

fn in_reverse(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).map(move |row| (row, rows - 1 - row))
}

/// NaN in all rows but one.
fn spoil<E: Element>(all: &mut [E], width: usize, kept: usize) {
    for (row, x) in all.chunks_mut(width).enumerate() {
        if row != kept {
            x.fill(E::from_f32(f32::NAN));
        }
    }
}
