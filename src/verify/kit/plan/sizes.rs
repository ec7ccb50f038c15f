//! Sizes beyond those of the other calls: many rows, deep heads, wide heads.

use alloc::format;
use alloc::vec::Vec;

use super::super::call::{Call, Given};
use super::super::random::Random;
use super::batch::{Wanted, batch};
use super::shape::Shape;
use super::{Group, Size, draw, head, rows, surroundings};
use crate::Element;

/// R of calls with many rows: beyond a warp, two blocks of 64, a thread for each of 128, a launch.
const ROWS: [usize; 4] = [33, 65, 130, 1025];

/// R, H, V, with a bias or without: more rows than a block has, products of several blocks of H,
/// hidden gradients of several blocks of V.
const HEADS: [(usize, usize, usize, bool); 10] = [
    (2, 257, 9, true),
    (3, 400, 17, true),
    (2, 520, 17, true),
    (3, 800, 5, true),
    (2, 1030, 33, true),
    (2, 1025, 8, true),
    (33, 8, 17, true),
    (130, 3, 5, false),
    (2, 12, 1025, false),
    (2, 5, 4097, true),
];

/// How often all of them are made at a size.
const fn rounds(size: Size) -> usize {
    match size {
        Size::Small => 1,
        Size::Full => 3,
    }
}

pub(super) const fn count(size: Size) -> usize {
    rounds(size) * (ROWS.len() + HEADS.len())
}

pub(super) fn group<E: Element>(place: usize, random: &mut Random) -> Group<E> {
    let turn = place % (ROWS.len() + HEADS.len());
    if let Some(&rows) = ROWS.get(turn) {
        return many_rows(place, rows, random);
    }
    let of = HEADS.get(turn - ROWS.len()).copied();
    let (rows, hidden_size, vocab, bias) = of.unwrap_or((2, 257, 9, true));
    let sizes = head::Sizes { rows, hidden_size, vocab, bias: Some(bias) };
    let kind = if random.chance(0.5) { head::Kind::Plain } else { head::Kind::Confident };
    let base = head::head::<E>(kind, sizes, random);
    let input = format!("sizes, {}", head::words(&base));
    let variants = (rows == 33).then(|| surroundings::of_head(&base, random.below(3)));
    let name = format!("sizes-{place:04}");
    let mut group = Group::of(Call { name, input, given: Given::Head(base) });
    if let Some(variants) = variants {
        group.add(variants, Given::Head);
    }
    group
}

fn many_rows<E: Element>(place: usize, rows: usize, random: &mut Random) -> Group<E> {
    let vocab = if rows > 1000 { 2 + random.below(2) } else { 2 + random.below(15) };
    let shapes = [Shape::Normal(1.0), Shape::Normal(3.0), Shape::Confident(7.0)];
    let shape = random.of(&shapes, Shape::Normal(1.0));
    let mut targets = draw::targets(rows, random, |random| random.below(vocab));
    // A kernel that stops at a block's end leaves the last row out.
    if let Some(last) = targets.last_mut() {
        *last = draw::id(random.below(vocab));
    }
    let wanted: Vec<Wanted> = targets.into_iter().map(|target| Wanted { shape, target }).collect();
    let transform = rows::transform(shape, random);
    let base = batch::<E>(&wanted, vocab, transform, random);
    let input = format!("many rows, {}, {}", shape.words(), rows::words(&base));
    let related = (rows < 100).then(|| {
        let turn = random.below(5);
        surroundings::of_rows(&base, surroundings::kept(&base.targets), turn, random)
    });
    let name = format!("sizes-{place:04}");
    let mut group = Group::of(Call { name, input, given: Given::Rows(base) });
    if let Some(variants) = related {
        group.add(variants, Given::Rows);
    }
    group
}
