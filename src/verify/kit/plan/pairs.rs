//! Pairs of answers: how far apart, how long, with what weight.

use alloc::format;
use alloc::vec::Vec;

use super::super::call::{Call, Given, PairsGiven};
use super::super::random::Random;
use super::{Group, Size, surroundings};
use crate::Element;
use crate::verify::{Dpo, PairLogProbs};

pub(super) const fn count(size: Size) -> usize {
    match size {
        Size::Small => 40,
        Size::Full => 120,
    }
}

/// The size of log-ratios, and of log-probs: step 0, usual, saturated, long answers.
const SCALES: [(f64, f64, &str); 6] = [
    (0.0, 50.0, "policy equal to reference"),
    (3.0, 60.0, "usual log-ratios"),
    (40.0, 200.0, "large log-ratios"),
    (600.0, 2000.0, "log-ratios that saturate"),
    (9000.0, 20_000.0, "log-ratios that overflow exp of f32 and f64"),
    (0.01, 5000.0, "long answers, nearly equal"),
];

pub(super) fn group<E: Element>(place: usize, random: &mut Random) -> Group<E> {
    let (ratio, size, words) =
        SCALES.get(place % SCALES.len()).copied().unwrap_or((3.0, 60.0, "usual log-ratios"));
    let pairs = 2 + random.below(12);
    let beta = random.of(&[0.0625, 0.1, 0.25, 0.5, 2.0], 0.1);
    let smooth = random.chance(0.4);
    let label_smoothing = if smooth { random.of(&[0.0625, 0.1, 0.25], 0.1) } else { 0.0 };
    let plain = place.is_multiple_of(4);
    let ratios = |random: &mut Random| single(ratio * random.normal());
    // One in seven batches has z where exponentials of f32 end: above 88, below −88, at −104.
    let ends = place % 7 == 6;
    let of = |random: &mut Random| {
        let ratios = |random: &mut Random| {
            let sign = if random.chance(0.5) { -0.5 } else { 0.5 };
            if !ends {
                return [ratios(random), ratios(random)];
            }
            let half = single(sign * random.between(84.0, 112.0) / beta);
            [half, -half]
        };
        let [reference_chosen, reference_rejected] =
            [0, 1].map(|_| single(-size * random.between(0.2, 1.0)));
        let [of_chosen, of_rejected] = ratios(random);
        PairLogProbs {
            policy_chosen: single(reference_chosen + of_chosen),
            policy_rejected: single(reference_rejected + of_rejected),
            reference_chosen,
            reference_rejected,
        }
    };
    let log_probs: Vec<PairLogProbs> = (0..pairs).map(|_| of(random)).collect();
    let weight = |random: &mut Random| match random.below(6) {
        _ if plain => 1.0,
        0 => 0.0,
        _ => single(random.between(0.25, 2.0)),
    };
    let offset = |random: &mut Random| if plain { 0.0 } else { single(random.between(-1.0, 1.5)) };
    let base = PairsGiven {
        dpo: Dpo { beta: single(beta), label_smoothing: single(label_smoothing) },
        weights: (0..pairs).map(|_| weight(random)).collect(),
        offsets: (0..pairs).map(|_| offset(random)).collect(),
        log_probs,
    };
    let words = if ends { "z where exp of f32 ends" } else { words };
    let input = format!("{pairs} pairs, {words}, beta {beta}, label smoothing {label_smoothing}");
    let variants = (place % 8 == 5).then(|| surroundings::of_pairs(&base, place / 8, random));
    let name = format!("pairs-{place:04}");
    let mut group = Group::of(Call { name, input, given: Given::Pairs(base) });
    if let Some(variants) = variants {
        group.add(variants, Given::Pairs);
    }
    group
}

/// As f32 holds it: backends of that precision get the same numbers.
#[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
fn single(x: f64) -> f64 {
    f64::from(x as f32)
}
