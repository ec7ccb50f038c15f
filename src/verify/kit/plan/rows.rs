//! Batches of rows: a shape, a width, a layout, a transform.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::super::call::{Call, Given, RowsGiven};
use super::super::random::Random;
use super::batch::{Wanted, batch};
use super::shape::{Column, Shape};
use super::{Group, IGNORE, Size, draw, surroundings};
use crate::Element;
use crate::verify::Transform;

/// Around the multiples that kernels are cut by.
const WIDTHS: [usize; 34] = [
    1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 23, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129,
    200, 255, 256, 257, 333, 511, 512, 513, 700, 1000,
];
/// Wider ones, each for a few groups.
const WIDE: [usize; 10] = [1023, 1024, 1025, 1500, 2049, 4097, 5000, 32_000, 50_257, 131_072];

/// The last columns of a wide row.
const WARP: usize = 32;

/// Masked columns at the start of a row: a witness between any two tiles that kernels have.
const LEADS: [usize; 10] = [3, 5, 10, 20, 40, 80, 160, 320, 640, 1030];

const SHAPES: [Shape; 26] = [
    Shape::Normal(0.5),
    Shape::Normal(1.0),
    Shape::Normal(3.0),
    Shape::Normal(8.0),
    Shape::Normal(40.0),
    Shape::Confident(7.0),
    Shape::Confident(12.0),
    Shape::Confident(60.0),
    Shape::Buried(30.0),
    Shape::Buried(200.0),
    Shape::LeadingMask(1),
    Shape::LeadingMask(20),
    Shape::LeadingMask(130),
    Shape::LeadingMask(600),
    Shape::MaskEvery(2),
    Shape::MaskEvery(5),
    Shape::OneLive,
    Shape::Ties(0.5),
    Shape::Flat(0.0),
    Shape::Flat(-3.0),
    Shape::Shift(100.0),
    Shape::Shift(-120.0),
    Shape::Ascending(0.25),
    Shape::Descending(0.25),
    Shape::Peak(6.0),
    Shape::Peak(17.0),
];
/// Those that are not of use in every width.
const RARE: [Shape; 6] = [
    Shape::Shift(-1000.0),
    Shape::Shift(1000.0),
    Shape::Huge,
    Shape::MaskedTarget,
    Shape::Broken,
    Shape::Shift(-20_000.0),
];

/// Groups of rows at a size.
pub(super) const fn count(size: Size) -> usize {
    match size {
        Size::Small => 120,
        Size::Full => 320,
    }
}

/// The rows of a call before they are made.
struct Wants {
    rows: Vec<Wanted>,
    vocab: usize,
    transform: Transform,
    words: String,
    /// Of wide rows: one whose sum has many terms.
    kept: Option<usize>,
}

/// The group at a place of the plan.
pub(super) fn group<E: Element>(place: usize, random: &mut Random) -> Group<E> {
    let turn = place / 12;
    let wants = match place % 12 {
        5 => wide(turn, random),
        9 => led(turn, random),
        _ => usual(place, random),
    };
    let base = batch::<E>(&wants.rows, wants.vocab, wants.transform, random);
    let input = format!("{}, {}", wants.words, words(&base));
    let related = base.rows() > 1
        && base.rows() * wants.vocab < 4000
        && (place + place / SHAPES.len()).is_multiple_of(2);
    let kept = wants.kept.unwrap_or_else(|| surroundings::kept(&base.targets));
    let variants = match (wants.kept.is_some(), wants.vocab) {
        (true, 4097) => Some(surroundings::of_rows(&base, kept, 0, random)),
        (true, 1025 | 5000) => {
            let turn = random.below(5);
            Some(surroundings::of_rows(&base, kept, turn, random))
        }
        (true, 32_000) => Some(surroundings::of_wide_row(&base, kept)),
        _ => related.then(|| surroundings::of_rows(&base, kept, place / 2, random)),
    };
    let name = format!("rows-{place:04}");
    let mut group = Group::of(Call { name, input, given: Given::Rows(base) });
    if let Some(variants) = variants {
        group.add(variants, Given::Rows);
    }
    group
}

/// A shape and a width in turns, so that all shapes occur in every seed.
fn usual(place: usize, random: &mut Random) -> Wants {
    let shape = if place % 7 == 6 {
        RARE.get(place / 7 % RARE.len()).copied()
    } else {
        SHAPES.get(place % SHAPES.len()).copied()
    };
    let shape = shape.unwrap_or(Shape::Normal(1.0));
    let (rows, vocab) = (1 + random.below(6), random.of(&WIDTHS, 1));
    let targets = draw::targets(rows, random, |random| shape.target(vocab, random));
    let rows = targets.into_iter().map(|target| Wanted { shape, target }).collect();
    Wants { rows, vocab, transform: transform(shape, random), words: shape.words(), kept: None }
}

/// Every wide V in every seed: the largest logit in the last columns and in the first, targets in
/// the first column and the last, and a shape that is drawn, its target among the last columns.
#[allow(clippy::cast_precision_loss, reason = "columns are below 2^53")]
fn wide(turn: usize, random: &mut Random) -> Wants {
    let vocab = WIDE.get(turn % WIDE.len()).copied().unwrap_or(1);
    let drawn = random.of(&SHAPES, Shape::Normal(1.0));
    let warp = vocab - 1 - random.below(WARP.min(vocab));
    let last = if random.chance(0.7) { Column::Last } else { Column::At(warp) };
    // Exponentials of f32 end at 88: the maximum of the first columns is not enough.
    let far = random.between(95.0, 150.0);
    // As much mass as a few times all the others.
    let near = libm::rint(libm::log(vocab as f64) + 2.0);
    let row = |shape: Shape, target: usize| Wanted { shape, target: draw::id(target) };
    let mut rows =
        vec![row(Shape::Tower(last, far), 0), row(Shape::Tower(Column::First, near), vocab - 1)];
    if vocab <= 100_000 {
        rows.push(row(drawn, warp));
    }
    if vocab <= 5000 && random.chance(0.3) {
        rows.push(Wanted { shape: drawn, target: IGNORE });
    }
    // Of the second row.
    let mut kept = 1;
    if random.chance(0.5) {
        rows.reverse();
        kept = rows.len() - 2;
    }
    // A cap would level the peaks: later rounds have it.
    let transform = if turn < WIDE.len() {
        Transform { temperature: random.of(&[1.0, 1.0, 0.5, 0.875], 1.0), ..Transform::NONE }
    } else {
        transform(drawn, random)
    };
    let words = format!("the largest in the last or first columns, and {}", drawn.words());
    Wants { rows, vocab, transform, words, kept: Some(kept) }
}

/// Rows that begin with −inf, in turns with rows that end with it, and targets on what is left.
fn led(turn: usize, random: &mut Random) -> Wants {
    let lead = LEADS.get(turn % LEADS.len()).copied().unwrap_or(1);
    let live = 20 + random.below(40);
    let vocab = lead + live;
    let row = |row: usize| {
        let target = random.below(live);
        if row.is_multiple_of(2) {
            Wanted { shape: Shape::LeadingMask(lead), target: draw::id(lead + target) }
        } else {
            Wanted { shape: Shape::TrailingMask(lead), target: draw::id(target) }
        }
    };
    let rows: Vec<Wanted> = (0..2 + lead % 3).map(row).collect();
    let transform = transform(Shape::LeadingMask(lead), random);
    let words = format!("-inf in the first {lead} columns, or in the last");
    Wants { rows, vocab, transform, words, kept: None }
}

pub(super) fn words<E: Element>(given: &RowsGiven<E>) -> String {
    let Transform { scale, softcap, temperature } = given.transform;
    let words = format!("{} x {}, stride {}", given.rows(), given.vocab, given.stride);
    if given.transform != Transform::NONE {
        return format!("{words}, scale {scale}, softcap {softcap:?}, temperature {temperature}");
    }
    words
}

/// f32 holds all of them.
pub(super) fn transform(shape: Shape, random: &mut Random) -> Transform {
    if matches!(shape, Shape::Huge | Shape::Broken) || random.chance(0.6) {
        return Transform::NONE;
    }
    let choice = random.below(5);
    Transform {
        scale: if matches!(choice, 0 | 3) { random.of(&[0.125, 0.75, 2.5], 1.0) } else { 1.0 },
        softcap: matches!(choice, 1 | 3 | 4).then(|| random.of(&[5.0, 15.0, 30.0], 30.0)),
        temperature: if matches!(choice, 2..) { random.of(&[0.5, 0.875, 1.75], 1.0) } else { 1.0 },
    }
}
