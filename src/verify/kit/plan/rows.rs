//! Batches of rows: a shape, a width, a layout, a transform.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::super::call::{Call, Given, RowsGiven};
use super::super::random::Random;
use super::super::{Format, Relation};
use super::shape::Shape;
use super::{Group, IGNORE, Size, Variants};
use crate::Element;
use crate::verify::Transform;

/// Around the multiples that kernels are cut by.
const WIDTHS: [usize; 30] = [
    1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 23, 31, 33, 48, 63, 64, 65, 100, 127, 129, 200, 255,
    257, 333, 511, 513, 700, 1000,
];
/// Wider ones, each for a few groups.
const WIDE: [usize; 10] = [1023, 1024, 1025, 1500, 2049, 4097, 5000, 32_000, 50_257, 131_072];

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

/// The group at a place of the plan.
pub(super) fn group<E: Element>(place: usize, random: &mut Random) -> Group<E> {
    // In turns, so that each shape meets each width in some seed, and all occur in every.
    let shape = if place % 7 == 6 {
        RARE.get(place / 7 % RARE.len()).copied()
    } else {
        SHAPES.get(place % SHAPES.len()).copied()
    };
    let mut shape = shape.unwrap_or(Shape::Normal(1.0));
    let wide = place % 12 == 5;
    let led = (place % 12 == 9).then(|| LEADS.get(place / 12 % LEADS.len()).copied()).flatten();
    let vocab = if let Some(lead) = led {
        shape = Shape::LeadingMask(lead);
        lead + 20 + random.below(40)
    } else if wide {
        WIDE.get(place / 12 % WIDE.len()).copied().unwrap_or(1)
    } else {
        random.of(&WIDTHS, 1)
    };
    let base = batch::<E>(shape, vocab, random);
    let input = format!("{}, {}", shape.words(), words(&base));
    let related = base.rows() > 1
        && base.rows() * vocab < 4000
        && (place + place / SHAPES.len()).is_multiple_of(2);
    let mut group = Group { calls: vec![call(place, 0, &input, base)], relations: Vec::new() };
    if related {
        add_variants(&mut group, place, &input, random);
    }
    group
}

fn call<E>(place: usize, variant: usize, input: &str, given: RowsGiven<E>) -> Call<E> {
    let name = if variant == 0 {
        format!("rows-{place:04}")
    } else {
        format!("rows-{place:04}-{variant}")
    };
    Call { name, input: input.into(), given: Given::Rows(given) }
}

fn words<E: Element>(given: &RowsGiven<E>) -> alloc::string::String {
    let Transform { scale, softcap, temperature } = given.transform;
    let words = format!("{} x {}, stride {}", given.rows(), given.vocab, given.stride);
    if given.transform != Transform::NONE {
        return format!("{words}, scale {scale}, softcap {softcap:?}, temperature {temperature}");
    }
    words
}

/// f32 holds all of them.
fn transform(shape: Shape, random: &mut Random) -> Transform {
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

fn batch<E: Element>(shape: Shape, vocab: usize, random: &mut Random) -> RowsGiven<E> {
    let rows = if vocab > 5000 { 1 + random.below(2) } else { 1 + random.below(6) };
    let stride = vocab + random.of(&[0, 0, 1, 3, 8, 13], 0);
    let scored = random.below(rows);
    let id = |column: usize| u32::try_from(column).unwrap_or_default();
    let mut targets: Vec<u32> = (0..rows).map(|_| id(random.below(vocab))).collect();
    for (row, target) in targets.iter_mut().enumerate() {
        if row != scored && random.chance(0.2) {
            *target = IGNORE;
        }
    }
    // Padding may hold anything: NaN tells whether it is read, a number what for.
    let hidden = |random: &mut Random| {
        if random.chance(0.5) { f64::NAN } else { random.normal() }
    };
    let (past, ignored) = (hidden(random), hidden(random));
    let mut logits = vec![E::ZERO; rows * stride];
    let mut row = vec![0.0; vocab];
    let mut coefficients = vec![0.0; rows];
    let flat = matches!(shape, Shape::MaskedTarget);
    let outputs = logits.chunks_mut(stride).zip(&targets).zip(&mut coefficients);
    for ((out, &target), coefficient) in outputs {
        shape.fill(random, Format::of::<E>(), &mut row, target as usize);
        let size = sixty_fourths(random.between(0.05, 2.0));
        let sign = if random.chance(0.5) { -1.0 } else { 1.0 };
        // What log p of -inf has for a gradient is a matter of taste: none is asked for.
        *coefficient = if flat { 0.0 } else { narrow(sign * size) };
        for (j, x) in out.iter_mut().enumerate() {
            let value = match row.get(j) {
                None => past * (1.0 + 0.1 * random.unit()),
                Some(_) if target == IGNORE => ignored,
                Some(&x) => x,
            };
            *x = E::from_f32(narrow(value));
        }
    }
    let transform = transform(shape, random);
    RowsGiven { logits, vocab, stride, transform, targets, ignore: IGNORE, coefficients }
}

/// Numbers below 2 that all formats hold: hosts of 16 bits round no coefficient.
pub(super) fn sixty_fourths(x: f64) -> f64 {
    libm::rint(x * 64.0) / 64.0
}

#[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
const fn narrow(x: f64) -> f32 {
    x as f32
}

/// The same rows in other surroundings.
fn add_variants<E: Element>(group: &mut Group<E>, place: usize, input: &str, random: &mut Random) {
    let Some(Call { given: Given::Rows(base), .. }) = group.calls.first().cloned() else { return };
    let rows = base.rows();
    let Some(kept) = (0..rows).find(|&row| base.view().is_scored(row)) else { return };
    let mut variants = Variants::default();
    variants.add(Relation::Repeated, base.clone(), (0..rows).map(|row| (row, row)));
    let one = |row: usize| {
        let rows = base.stride * row..base.stride * (row + 1);
        base.logits.get(rows).unwrap_or_default().to_vec()
    };
    // Which relation next to repetition: in turns.
    match place / 2 % 5 {
        0 => {
            let alone = RowsGiven {
                logits: one(kept),
                targets: base.targets.get(kept).copied().into_iter().collect(),
                coefficients: base.coefficients.get(kept).copied().into_iter().collect(),
                ..base.clone()
            };
            variants.add(Relation::Batch, alone, [(kept, 0)]);
        }
        1 => {
            let reversed = RowsGiven {
                logits: (0..rows).rev().flat_map(one).collect(),
                targets: base.targets.iter().rev().copied().collect(),
                coefficients: base.coefficients.iter().rev().copied().collect(),
                ..base.clone()
            };
            let pairs = (0..rows).map(|row| (row, rows - 1 - row));
            variants.add(Relation::Position, reversed, pairs);
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
            for (row, logits) in broken.logits.chunks_mut(base.stride).enumerate() {
                if row != kept {
                    logits.fill(E::from_f32(f32::NAN));
                }
            }
            variants.add(Relation::Neighbours, broken, [(kept, kept)]);
        }
    }
    for (variant, (given, relations)) in variants.0.into_iter().enumerate() {
        let other = group.calls.len();
        let words = format!("{input}; {}", relations.0.words());
        group.calls.push(call(place, variant + 1, &words, given));
        group.relate(other, relations);
    }
}
