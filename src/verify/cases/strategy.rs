//! Strategies for proptest: simple cases first, so that what fails shrinks towards them.

use alloc::vec as list;
use alloc::vec::Vec;

use proptest::collection::{SizeRange, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::sample::select;
use proptest::strategy::Union;

use super::layout::Sequence;
use super::loss::{KINDS, Parts, loss};
use super::{BatchCase, LayoutCase, PairCase, Place, RowCase, Twist};
use crate::verify::{Dpo, Loss, PairLogProbs, Transform};

/// How far cases go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardness {
    /// Logits within ±6 and a little masked vocabulary, three tokens a sequence: every error is a
    /// few roundings of numbers near 1.
    Moderate,
    /// Everything that [`Twist`] has, ragged sequences, margins from 0 to saturation.
    Adversarial,
}

/// Plain logits in ±6.
pub fn logits(vocab: impl Into<SizeRange>) -> impl Strategy<Value = Vec<f32>> {
    vec(-6.0..6.0_f32, vocab)
}

/// Lengths up to `most` (≥ 1) at which a vector or a block ends, one less and one more.
fn edges(most: usize) -> Vec<usize> {
    let around = |power: u32| [(1 << power) - 1, 1 << power, (1 << power) + 1];
    let mut edges: Vec<usize> = (1..=11).flat_map(around).filter(|edge| *edge <= most).collect();
    edges.dedup();
    if edges.is_empty() { list![1] } else { edges }
}

/// Vocabularies of up to `most` (≥ 1) columns, often a vector or a block long, or one more or less.
pub fn vocabularies(most: usize) -> impl Strategy<Value = usize> {
    prop_oneof![1..=most, select(edges(most))]
}

/// No transform, or scale, softcap and temperature of the sizes that models have.
pub fn transforms() -> impl Strategy<Value = Transform> {
    let some = (0.25..2.0_f32, option::of(2.0..50.0_f32), 0.5..2.0_f32);
    let some = some.prop_map(|(scale, softcap, temperature)| Transform {
        scale: scale.into(),
        softcap: softcap.map(f64::from),
        temperature: temperature.into(),
    });
    prop_oneof![2 => Just(Transform::NONE), 1 => some]
}

fn places() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Target), any::<u16>().prop_map(Place::At)]
}

/// One [`Twist`].
pub fn twists(hardness: Hardness) -> impl Strategy<Value = Twist> {
    let moderate = prop_oneof![
        3 => Just(Twist::Plain),
        1 => select(&[0.5_f32, 4.0]).prop_map(Twist::Ties),
        1 => any::<(u16, u16)>().prop_map(|(from, to)| Twist::Mask(from, to)),
        1 => (1..9_u8).prop_map(Twist::MaskEvery),
    ];
    if hardness == Hardness::Moderate {
        return moderate.boxed();
    }
    let shifts = select(&[30.0, -100.0, 1000.0, -1400.0, 6e4, -6e4, 1e30, -3e38_f32]);
    let spreads = select(&[8.0, 0.01, 200.0, 1e4, 1e-30, 1e36_f32]);
    let values = select(&[f32::NEG_INFINITY, -0.0, f32::MIN, 1e-40, -2e9, f32::MAX]);
    prop_oneof![
        4 => moderate,
        1 => Just(Twist::Equal),
        1 => shifts.prop_map(Twist::Shift),
        1 => spreads.prop_map(Twist::Spread),
        2 => (places(), 0.0..120.0_f32).prop_map(|(place, by)| Twist::Lead(place, by)),
        1 => (places(), 0.0..120.0_f32).prop_map(|(place, by)| Twist::Peak(place, by)),
        1 => (places(), values).prop_map(|(place, value)| Twist::Set(place, value)),
    ]
    .boxed()
}

/// Rows of up to `most` columns.
pub fn rows(most: usize, hardness: Hardness) -> impl Strategy<Value = RowCase> {
    // As often one of the edges as any length.
    let edges = edges(most);
    let any_length = (u32::try_from(edges.len()).unwrap_or(1), logits(1..=most).boxed());
    let edges = edges.into_iter().map(|edge| (if edge < 4 { 3 } else { 1 }, logits(edge).boxed()));
    let logits = Union::new_weighted(core::iter::once(any_length).chain(edges).collect());
    let parts = (logits, any::<u16>(), vec(twists(hardness), 0..=3), transforms(), -4.0..4.0_f64);
    parts.prop_map(|(mut logits, target, twists, transform, coefficient)| {
        let target = Place::At(target).column(logits.len(), 0);
        Twist::apply_all(&twists, &mut logits, target);
        RowCase { logits, transform, target, coefficient }
    })
}

fn sequences(count: impl Into<SizeRange>, tokens: usize) -> impl Strategy<Value = Vec<Sequence>> {
    let token = option::weighted(0.8, any::<u16>());
    let one = (0..=2_usize, vec(token, 1..=tokens), any::<u16>());
    vec(one.prop_map(|(gap, tokens, rank)| Sequence { gap, tokens, rank }), count)
}

/// Well-formed layouts: ragged sequences in any order, of one token often, with rows between them.
pub fn layouts(most_vocab: usize) -> impl Strategy<Value = LayoutCase> {
    let ignore = prop_oneof![3 => Just(None), 1 => any::<u16>().prop_map(Some)];
    (vocabularies(most_vocab), ignore, sequences(0..=5, 5))
        .prop_map(|(vocab, ignore, sequences)| LayoutCase::lay_out(vocab, ignore, &sequences))
}

/// Layouts of which about half are not well-formed: spans that are empty, reversed, too long or
/// shared, targets that no vocabulary has, rows that are missing.
pub fn hostile_layouts(most_vocab: usize) -> impl Strategy<Value = LayoutCase> {
    let edge =
        || prop_oneof![4 => 0..20_usize, 1 => select(&[usize::MAX, usize::MAX - 1, 1 << 31])];
    let empty = edge().prop_map(|at| (at, at));
    let span = (any::<usize>(), prop_oneof![3 => (edge(), edge()), 1 => empty]);
    let target = (any::<usize>(), select(&[u32::MAX, 1 << 31, 3, 0]));
    let changes = (option::of(span), option::of(target), option::weighted(0.2, 0..4_usize));
    (layouts(most_vocab), changes).prop_map(|(mut layout, (span, target, lost))| {
        if let Some((at, span)) = span {
            let at = at % (layout.spans.len() + 1);
            layout.spans.splice(at..(at + 1).min(layout.spans.len()), [span]);
        }
        if let Some((at, target)) = target {
            let at = at % layout.targets.len().max(1);
            layout.targets.iter_mut().skip(at).take(1).for_each(|to| *to = target);
        }
        if let Some(lost) = lost {
            layout.targets.truncate(layout.targets.len().saturating_sub(lost));
        }
        layout
    })
}

/// Log-probs of a pair: step 0, ties, answers that are learnt or forgotten beyond all digits.
pub fn pair_cases() -> impl Strategy<Value = PairCase> {
    let log_prob = || prop_oneof![-40.0..0.0_f64, Just(0.0), -1e4..0.0, -1e-12..0.0, Just(-1e6)];
    let free = (log_prob(), log_prob()).prop_map(|(policy, reference)| [policy, reference]);
    let still = log_prob().prop_map(|log_prob| [log_prob; 2]);
    let side = prop_oneof![2 => free, 1 => still];
    let weight = prop_oneof![Just(1.0_f32), 0.0..2.0_f32, Just(0.0)];
    let offset = prop_oneof![Just(0.0_f32), -1.0..1.0_f32, -100.0..100.0_f32];
    (side.clone(), side, weight, offset).prop_map(|(chosen, rejected, weight, offset)| PairCase {
        log_probs: PairLogProbs {
            policy_chosen: chosen[0],
            policy_rejected: rejected[0],
            reference_chosen: chosen[1],
            reference_rejected: rejected[1],
        },
        weight,
        offset,
    })
}

/// Parameters of DPO: β over the sizes in use, label smoothing to its ends.
pub fn losses(hardness: Hardness) -> impl Strategy<Value = Dpo> {
    let beta = match hardness {
        Hardness::Moderate => (0.05..1.0_f64).boxed(),
        Hardness::Adversarial => prop_oneof![0.05..1.0_f64, 1e-4..1e-2, 1.0..1e3].boxed(),
    };
    let label_smoothing = prop_oneof![Just(0.0), 0.0..=0.5, Just(0.5)];
    (beta, label_smoothing).prop_map(|(beta, label_smoothing)| Dpo { beta, label_smoothing })
}

/// Any loss of a pair that the reference has, with parameters from anywhere in their domains.
pub fn any_losses() -> impl Strategy<Value = Loss> {
    let part = || prop_oneof![3 => 0.0..=1.0_f64, 1 => Just(0.0), 1 => Just(1.0)];
    let alpha = prop_oneof![Just(0.0), 0.0..=1.0_f64];
    (0..=KINDS, 0.0..=1.0_f64, part(), part(), alpha).prop_map(
        |(kind, beta, first, second, alpha)| loss(kind, Parts { beta, first, second, alpha }),
    )
}

/// As many as are needed out of a pool, again and again: so a batch shrinks with its layout.
fn cycled<T: Clone>(pool: &[T], count: usize) -> Vec<T> {
    pool.iter().cloned().cycle().take(count).collect()
}

/// Whole batches of up to `most` columns.
pub fn batches(most: usize, hardness: Hardness) -> impl Strategy<Value = BatchCase> {
    let (tokens, least) = match hardness {
        Hardness::Moderate => (3, -10.0),
        Hardness::Adversarial => (5, -200.0),
    };
    let ignore = prop_oneof![3 => Just(None), 1 => any::<u16>().prop_map(Some)];
    let layout = (vocabularies(most), 0..=3_usize, ignore, sequences(2..=4, tokens));
    let rows = (
        // Of no length that a row has, so that rows differ.
        logits(1..=211),
        vec(vec(twists(hardness), 0..=2), 1..=7),
        transforms(),
        option::of(vec(0.0..=1.0_f32, 1..=7)),
    );
    let weight = prop_oneof![3 => 0.0..=2.0_f32, 1 => Just(0.0)];
    let pair = (any::<u16>(), any::<u16>(), weight, -0.5..=0.5_f32);
    let pairs = (vec(pair, 1..=3), any::<[bool; 2]>(), vec(least..0.0, 4));
    let loss = (losses(hardness), 1.0..8.0_f64);
    (layout, rows, pairs, loss).prop_map(|(layout, rows, pairs, loss)| {
        let (vocab, padding, ignore, sequences) = layout;
        let layout = LayoutCase::lay_out(vocab, ignore, &sequences);
        let (n, count, stride) = (layout.spans.len(), layout.targets.len(), vocab + padding);
        let (pool, twists, transform, token_weights) = rows;
        let (pairs, [weighted, moved], reference) = pairs;
        let answers = |&(chosen, step, ..): &(u16, u16, f32, f32)| {
            let chosen = usize::from(chosen) % n;
            (chosen, (chosen + 1 + usize::from(step) % (n - 1)) % n)
        };
        let list = |on: bool, one: fn(&(u16, u16, f32, f32)) -> f32| {
            on.then(|| pairs.iter().map(one).collect())
        };
        let mut case = BatchCase {
            logits: cycled(&pool, count * stride),
            stride,
            transform,
            token_weights: token_weights.map(|pool| cycled(&pool, count)),
            pairs: pairs.iter().map(answers).collect(),
            reference: cycled(&reference, n),
            weights: list(weighted, |&(.., weight, _)| weight),
            offsets: list(moved, |&(.., offset)| offset),
            layout,
            dpo: loss.0,
            divisor: loss.1,
        };
        for (row, twists) in twists.iter().cycle().take(count).enumerate() {
            case.twist(row, twists);
        }
        case.poison();
        case
    })
}
