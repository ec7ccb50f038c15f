//! Heads: hidden states, weights, bias.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::super::Format;
use super::super::call::{Call, Given, HeadGiven};
use super::super::random::Random;
use super::{Group, IGNORE, Size, draw, surroundings};
use crate::Element;
use crate::verify::Transform;

const HIDDEN: [usize; 14] = [1, 3, 7, 8, 12, 17, 32, 33, 44, 65, 100, 128, 130, 200];
const WIDTHS: [usize; 14] = [2, 5, 9, 16, 17, 33, 64, 65, 100, 129, 257, 300, 513, 1000];

pub(super) const fn count(size: Size) -> usize {
    match size {
        Size::Small => 40,
        Size::Full => 120,
    }
}

/// What is special about a head.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
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

/// The sizes of a head; with a bias or without, or either.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) hidden_size: usize,
    pub(super) vocab: usize,
    pub(super) bias: Option<bool>,
}

pub(super) fn group<E: Element>(place: usize, random: &mut Random) -> Group<E> {
    let (kind, words_of_kind) =
        KINDS.get(place % KINDS.len()).copied().unwrap_or((Kind::Plain, "normal weights"));
    let (rows, hidden_size) = (1 + random.below(5), random.of(&HIDDEN, 8));
    let sizes = Sizes { rows, hidden_size, vocab: random.of(&WIDTHS, 9), bias: None };
    let base = head::<E>(kind, sizes, random);
    let input = format!("{words_of_kind}, {}", words(&base));
    let related = rows > 1 && place.is_multiple_of(2);
    let variants = related.then(|| surroundings::of_head(&base, place / 2));
    let name = format!("head-{place:04}");
    let mut group = Group::of(Call { name, input, given: Given::Head(base) });
    if let Some(variants) = variants {
        group.add(variants, Given::Head);
    }
    group
}

pub(super) fn words<E: Element>(given: &HeadGiven<E>) -> String {
    let bias = if given.bias.is_some() { "bias" } else { "no bias" };
    format!("{} x {} x {}, {bias}", given.targets.len(), given.hidden_size, given.vocab)
}

#[allow(clippy::cast_precision_loss, reason = "H is small")]
pub(super) fn head<E: Element>(kind: Kind, sizes: Sizes, random: &mut Random) -> HeadGiven<E> {
    let Sizes { rows, hidden_size, vocab, bias } = sizes;
    let targets = draw::targets(rows, random, |random| random.below(vocab));
    let size = 2.0 / libm::sqrt(hidden_size as f64);
    let mut weight: Vec<f64> = (0..vocab * hidden_size).map(|_| size * random.normal()).collect();
    let mut hidden: Vec<f64> = (0..rows * hidden_size).map(|_| random.normal()).collect();
    let mut bias: Option<Vec<f64>> = bias
        .unwrap_or_else(|| random.chance(0.6))
        .then(|| (0..vocab).map(|_| 0.5 + random.normal()).collect());
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
    // A hidden gradient is some weights times a coefficient, and f16 ends at 65504.
    let narrow = Format::of::<E>() == Format::F16;
    let sizes = match kind {
        Kind::Far => draw::Coefficients::Plain,
        _ => draw::Coefficients::drawn(if narrow { 100.0 } else { 1e4 }, random),
    };
    let capped = random.chance(0.25);
    HeadGiven {
        hidden: draw::stored(&hidden),
        weight: draw::stored(&weight),
        bias: bias.map(|bias| draw::stored(&bias)),
        hidden_size,
        vocab,
        transform: Transform { softcap: capped.then_some(10.0), ..Transform::NONE },
        coefficients: targets.iter().map(|_| sizes.draw::<E>(random)).collect(),
        targets,
        ignore: IGNORE,
    }
}
