//! Heads: hidden states, weights, bias.

use alloc::format;
use alloc::vec::Vec;

use super::super::Relation;
use super::super::call::{Call, Given, HeadGiven};
use super::super::random::Random;
use super::{Group, IGNORE, Size, Variants};
use crate::Element;
use crate::verify::Transform;

const HIDDEN: [usize; 13] = [1, 3, 7, 8, 12, 17, 32, 33, 44, 65, 100, 130, 200];
const WIDTHS: [usize; 13] = [2, 5, 9, 16, 17, 33, 65, 100, 129, 257, 300, 513, 1000];

pub(super) const fn count(size: Size) -> usize {
    match size {
        Size::Small => 40,
        Size::Full => 120,
    }
}

/// What is special about a head.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    Confident,
    Flat,
    Shifted,
    /// Logits of some hundreds: exponentials of f32 end at 88.
    Far,
    Sunk,
    /// −inf in the bias of some columns, the first among them.
    Masked,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Plain, "normal weights"),
    (Kind::Confident, "targets that lead"),
    (Kind::Flat, "weights of 0"),
    (Kind::Shifted, "a bias near 40"),
    (Kind::Far, "weights that make logits of some hundreds"),
    (Kind::Sunk, "a bias near -120"),
    (Kind::Masked, "-inf in the bias of every 4th column"),
];

pub(super) fn group<E: Element>(place: usize, random: &mut Random) -> Group<E> {
    let (kind, words) =
        KINDS.get(place % KINDS.len()).copied().unwrap_or((Kind::Plain, "normal weights"));
    let base = head::<E>(kind, random);
    let (rows, hidden_size, vocab) = (base.targets.len(), base.hidden_size, base.vocab);
    let bias = if base.bias.is_some() { "bias" } else { "no bias" };
    let input = format!("{words}, {rows} x {hidden_size} x {vocab}, {bias}");
    let mut variants = Variants::default();
    if rows > 1 && place.is_multiple_of(2) {
        variants.add(Relation::Repeated, base.clone(), (0..rows).map(|row| (row, row)));
        let reversed = HeadGiven {
            hidden: base.hidden.chunks(hidden_size).rev().flatten().copied().collect(),
            targets: base.targets.iter().rev().copied().collect(),
            coefficients: base.coefficients.iter().rev().copied().collect(),
            ..base.clone()
        };
        let pairs = (0..rows).map(|row| (row, rows - 1 - row));
        variants.add(Relation::Position, reversed, pairs);
    }
    let name = format!("head-{place:04}");
    let mut group =
        Group::of(Call { name: name.clone(), input: input.clone(), given: Given::Head(base) });
    for (variant, (given, relations)) in variants.0.into_iter().enumerate() {
        let name = format!("{name}-{}", variant + 1);
        let input = format!("{input}; {}", relations.0.words());
        group.calls.push(Call { name, input, given: Given::Head(given) });
        group.relate(variant + 1, relations);
    }
    group
}

#[allow(clippy::cast_precision_loss, reason = "H is small")]
fn head<E: Element>(kind: Kind, random: &mut Random) -> HeadGiven<E> {
    let (rows, hidden_size) = (1 + random.below(5), random.of(&HIDDEN, 8));
    let vocab = random.of(&WIDTHS, 9);
    let scored = random.below(rows);
    let id = |column: usize| u32::try_from(column).unwrap_or_default();
    let mut targets: Vec<u32> = (0..rows).map(|_| id(random.below(vocab))).collect();
    for (row, target) in targets.iter_mut().enumerate() {
        if row != scored && random.chance(0.2) {
            *target = IGNORE;
        }
    }
    let size = 2.0 / libm::sqrt(hidden_size as f64);
    let mut weight: Vec<f64> = (0..vocab * hidden_size).map(|_| size * random.normal()).collect();
    let mut hidden: Vec<f64> = (0..rows * hidden_size).map(|_| random.normal()).collect();
    let mut bias: Option<Vec<f64>> =
        random.chance(0.6).then(|| (0..vocab).map(|_| 0.5 + random.normal()).collect());
    match kind {
        Kind::Plain => {}
        Kind::Confident => {
            // A hidden state near its target's row of the weights.
            let lead = 9.0 / 4.0;
            for (h, &target) in hidden.chunks_mut(hidden_size).zip(&targets) {
                let at = (target as usize).saturating_mul(hidden_size);
                let row = weight.get(at..).unwrap_or_default();
                h.iter_mut().zip(row).for_each(|(h, &w)| *h = lead * w);
            }
        }
        Kind::Flat => weight.fill(0.0),
        Kind::Shifted => bias = Some((0..vocab).map(|_| 40.0 + random.normal()).collect()),
        Kind::Far => weight.iter_mut().for_each(|w| *w *= 60.0),
        Kind::Sunk => bias = Some((0..vocab).map(|_| -120.0 + random.normal()).collect()),
        Kind::Masked => {
            let scored: Vec<usize> = targets.iter().map(|&target| target as usize).collect();
            let masked = |j: usize| j.is_multiple_of(4) && !scored.contains(&j);
            let of = |j| if masked(j) { f64::NEG_INFINITY } else { random.normal() };
            bias = Some((0..vocab).map(of).collect());
        }
    }
    let past = if random.chance(0.5) { f64::NAN } else { 1.0 };
    for (h, &target) in hidden.chunks_mut(hidden_size).zip(&targets) {
        if target == IGNORE {
            h.fill(past);
        }
    }
    let coefficient = |random: &mut Random| {
        let size = super::rows::sixty_fourths(random.between(0.05, 2.0));
        if random.chance(0.5) { -size } else { size }
    };
    let capped = random.chance(0.25);
    HeadGiven {
        hidden: stored(&hidden),
        weight: stored(&weight),
        bias: bias.map(|bias| stored(&bias)),
        hidden_size,
        vocab,
        transform: Transform { softcap: capped.then_some(10.0), ..Transform::NONE },
        coefficients: targets.iter().map(|_| narrow(coefficient(random))).collect(),
        targets,
        ignore: IGNORE,
    }
}

fn stored<E: Element>(values: &[f64]) -> Vec<E> {
    values.iter().map(|&x| E::from_f32(narrow(x))).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
const fn narrow(x: f64) -> f32 {
    x as f32
}
