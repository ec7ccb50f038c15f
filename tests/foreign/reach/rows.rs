//! Twists, transforms, rows and their lengths.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};
use dpo_kernel::verify::Transform;
use dpo_kernel::verify::cases::strategy::{
    Hardness, logits, rows, transforms, twists, vocabularies,
};
use dpo_kernel::verify::cases::{Place, RowCase, Twist};
use proptest::strategy::{Strategy, ValueTree};

use super::{Reach, grown, parsed};
use crate::cases::runner;

fn see_place(reach: &mut Reach, place: Place) {
    match place {
        Place::Target => reach.kind("at the target"),
        Place::At(at) => reach.see("place", at.into()),
    }
}

fn see_twist(reach: &mut Reach, twist: &Twist) {
    match *twist {
        Twist::Plain => reach.kind("plain"),
        Twist::Ties(step) => {
            reach.kind("ties");
            reach.see("step of ties", step.into());
        }
        Twist::Equal => reach.kind("equal"),
        Twist::Mask(from, to) => {
            reach.kind("mask");
            reach.see("mask from", from.into());
            reach.see("mask to", to.into());
        }
        Twist::MaskEvery(step) => {
            reach.kind("mask every");
            reach.see("mask every", step.into());
        }
        Twist::Shift(by) => {
            reach.kind("shift");
            if by.is_finite() {
                reach.see("shift", by.into());
            }
        }
        Twist::Spread(by) => {
            reach.kind("spread");
            reach.see("spread", by.into());
        }
        Twist::Lead(place, by) => {
            reach.kind("lead");
            reach.see("lead", by.into());
            see_place(reach, place);
        }
        Twist::Peak(place, by) => {
            reach.kind("peak");
            reach.see("peak", by.into());
            see_place(reach, place);
        }
        Twist::Set(place, value) => {
            reach.kind(match value {
                v if v.is_nan() => "set NaN",
                v if v.is_infinite() => "set ±∞",
                v if v.is_subnormal() => "set subnormal",
                0.0 => "set zero",
                _ => "set",
            });
            see_place(reach, place);
        }
        ref new => panic!("{new:?} is a twist that nobody looks for"),
    }
}

#[test]
fn every_twist_occurs_at_every_size() {
    let moderate = grown(4000, &twists(Hardness::Moderate), see_twist);
    moderate.counts(400, &["plain", "ties", "mask", "mask every"]);
    let full = 65535.0;
    let mask = [("mask from", 0.0, full), ("mask to", 0.0, full), ("mask every", 1.0, 8.0)];
    moderate.spans(&[&mask[..], &[("step of ties", 0.5, 4.0)]].concat());
    let hard = grown(6000, &twists(Hardness::Adversarial), see_twist);
    let always = [
        "plain",
        "ties",
        "equal",
        "mask",
        "mask every",
        "shift",
        "spread",
        "lead",
        "peak",
        "at the target",
    ];
    let sets = ["set", "set ±∞", "set subnormal", "set zero"];
    hard.counts(50, &[&always[..], &sets].concat());
    let wide = |x: f32| f64::from(x);
    let sizes = [
        ("step of ties", 0.5, 4.0),
        ("shift", wide(-3e38), wide(1e30)),
        ("spread", wide(1e-30), wide(1e36)),
        ("lead", 0.0, 120.0),
        ("peak", 0.0, 120.0),
        ("place", 0.0, full),
    ];
    hard.spans(&[&mask[..], &sizes].concat());
    // Sizes are 1 to 1¾ times 2⁻²⁰ to 2⁴³.
    let sizes = (2.0_f64.powi(-20), 1.75 * 2.0_f64.powi(43));
    let raw = parsed::<Twist>(30_000, see_twist);
    // Of all bits infinity has two: a fuzzer finds them, and masks have −∞ anyway.
    let sets = ["set", "set subnormal", "set zero", "set NaN"];
    raw.counts(5, &[&always[..], &sets].concat());
    raw.spans(&[
        ("step of ties", sizes.0, sizes.1),
        ("mask from", 0.0, full),
        ("mask to", 0.0, full),
        ("mask every", 0.0, 255.0),
        ("shift", -wide(f32::MAX), wide(f32::MAX)),
        ("spread", sizes.0, sizes.1),
        ("lead", sizes.0, sizes.1),
        ("peak", 0.0, full / 256.0),
        ("place", 0.0, full),
    ]);
}

fn see_transform(reach: &mut Reach, transform: &Transform) {
    let Transform { scale, softcap, temperature } = *transform;
    if *transform == Transform::NONE {
        reach.kind("no transform");
        return;
    }
    reach.see("scale", scale);
    reach.see("temperature", temperature);
    match softcap {
        Some(softcap) => reach.see("softcap", softcap),
        None => reach.kind("no softcap"),
    }
}

fn see_row(reach: &mut Reach, row: &RowCase) {
    let RowCase { logits, transform, target, coefficient } = row;
    see_transform(reach, transform);
    reach.see("columns", logits.len() as f64);
    reach.see("coefficient", *coefficient);
    if logits.len() > 20 {
        reach.see("target of its row", (*target as f64 + 0.5) / logits.len() as f64);
    } else {
        reach.kind("short");
    }
}

#[test]
fn rows_reach_their_ends() {
    let rows = grown(4000, &rows(600, Hardness::Moderate), |reach, row| {
        see_row(reach, row);
        for &x in row.logits.iter().filter(|x| x.is_finite()) {
            reach.see("logit", x.into());
        }
        // One of the lengths at which a vector ends, and one off.
        if (1..=9).any(|power| row.logits.len().abs_diff(1 << power) <= 1) {
            reach.kind("an edge");
        }
    });
    rows.counts(500, &["no transform", "no softcap", "short", "an edge"]);
    let transform = [("scale", 0.25, 2.0), ("softcap", 2.0, 50.0), ("temperature", 0.5, 2.0)];
    let row =
        [("columns", 1.0, 600.0), ("coefficient", -4.0, 4.0), ("target of its row", 0.0, 1.0)];
    // Ties round logits to multiples of 4.
    rows.spans(&[&transform[..], &row, &[("logit", -8.0, 8.0)]].concat());
    let parsed = parsed::<RowCase>(12_000, see_row);
    parsed.counts(1000, &["no transform", "no softcap", "short"]);
    parsed.spans(&[
        ("scale", 1.0 / 16.0, 16.0),
        ("softcap", 0.25, 64.0),
        ("temperature", 1.0 / 16.0, 16.0),
        ("columns", 1.0, 1600.0),
        ("coefficient", -8.0, 8.0),
        ("target of its row", 0.0, 1.0),
    ]);
    let transforms = grown(2000, &transforms(), see_transform);
    transforms.spans(&transform);
    let plain = grown(200, &logits(30), |reach, logits| {
        assert_eq!(logits.len(), 30, "as many as asked for");
        for &x in logits {
            reach.see("logit", x.into());
        }
    });
    plain.spans(&[("logit", -6.0, 6.0)]);
}

#[test]
fn vocabularies_have_their_edges() {
    let seen = |most: usize| {
        let mut seen = BTreeMap::new();
        let mut runner = runner();
        for _ in 0..4000 {
            let vocab = vocabularies(most).new_tree(&mut runner).unwrap().current();
            *seen.entry(vocab).or_insert(0) += 1;
        }
        seen
    };
    assert_eq!(seen(1).into_keys().collect::<Vec<_>>(), [1], "one column");
    assert_eq!(seen(3).into_keys().collect::<Vec<_>>(), [1, 2, 3], "few");
    let many = seen(2000);
    assert!(many.len() > 1000 && many.keys().all(|vocab| (1..=2000).contains(vocab)), "any length");
    // A power of two, one less and one more, each in half a thirtieth or so.
    for power in 1..=10 {
        for vocab in [(1 << power) - 1, 1 << power, (1 << power) + 1] {
            assert!(many.get(&vocab).is_some_and(|count| *count > 30), "{vocab} in {many:?}");
        }
    }
}

/// What a twist of the hard ones moves by, spreads by and sets: each value of its list, none else.
#[test]
fn hard_twists_have_their_values() {
    let (mut shifts, mut spreads, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let (strategy, mut runner) = (twists(Hardness::Adversarial), runner());
    for _ in 0..4000 {
        match strategy.new_tree(&mut runner).unwrap().current() {
            Twist::Shift(by) => shifts.push(by),
            Twist::Spread(by) => spreads.push(by),
            Twist::Set(_, value) => values.push(value),
            _ => {}
        }
    }
    // Exponentials of f32 and of f16 overflow between them; 3e38 and 1e36 reach the largest f32.
    let infinity = f32::INFINITY;
    for (mut found, expected) in [
        (shifts, &[-3e38, -6e4, -1400.0, -100.0, 30.0, 1000.0, 6e4, 1e30_f32][..]),
        (spreads, &[1e-30, 0.01, 8.0, 200.0, 1e4, 1e36]),
        (values, &[-infinity, f32::MIN, -2e9, -0.0, 1e-40, f32::MAX]),
    ] {
        found.sort_by(f32::total_cmp);
        found.dedup_by_key(|x| x.to_bits());
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(expected), "{found:?} is {expected:?}");
    }
}

/// `SplitMix64`, whole.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Bytes of a fuzzer, one by one: few columns, five of them; the place of the target; no twist; no
/// transform; the coefficient in 4096ths; and then the logits, drawn or written out.
#[test]
fn a_fuzzers_bytes_are_read_as_they_say() {
    let mut published = 1_234_567;
    assert_eq!(splitmix(&mut published), 6_457_827_717_110_365_317, "the published sequence");
    let row = |rest: &[u8]| {
        let bytes = [&[0, 4, 0, 128, 0, 1, 0, 16], rest].concat();
        RowCase::arbitrary(&mut Unstructured::new(&bytes)).unwrap()
    };
    // Drawn: a spread in 16ths, and a seed.
    let drawn = row(&[0, 32, 0xd2, 0x04]);
    assert_eq!((drawn.logits.len(), drawn.target), (5, 2), "half of five columns");
    assert_eq!((drawn.transform, drawn.coefficient), (Transform::NONE, 1.0));
    let mut state = 0x04d2;
    for x in drawn.logits {
        let top = (splitmix(&mut state) >> 48) as u16;
        assert_eq!(x, 2.0 * f32::from(top.cast_signed()) / 32768.0);
    }
    // Written out: in 16ths.
    let written = row(&[1, 16, 240, 127, 128, 1]);
    assert_eq!(written.logits, [1.0, -1.0, 7.9375, -8.0, 0.0625]);
}
