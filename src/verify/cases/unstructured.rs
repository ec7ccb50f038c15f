//! The same cases from the bytes of a fuzzer.
//!
//! A few bytes make a long row (a seed and a spread), and a few more twist it, so that inputs stay
//! short and a changed byte changes something. Any bytes make a case; what is missing counts as 0.

use alloc::vec::Vec;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::layout::Sequence;
use super::loss::{KINDS, Parts, loss};
use super::{BatchCase, LayoutCase, PairCase, Place, RowCase, Twist};
use crate::verify::{Dpo, Loss, PairLogProbs, Transform};

/// Vocabularies go to three blocks of a kernel and a bit.
const MOST_COLUMNS: u16 = 1600;

/// Steps of a `SplitMix64`: the same numbers on every machine.
struct Seed(u64);

impl Seed {
    /// In [−1, 1).
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // 16 bits are plenty, and exact in f32.
        let [high, low, ..] = z.to_be_bytes();
        f32::from(i16::from_be_bytes([high, low])) / 32768.0
    }
}

/// Plain logits: written out for short rows, or drawn from a seed.
fn logits(u: &mut Unstructured<'_>, count: usize) -> Result<Vec<f32>> {
    if u.arbitrary::<bool>()? {
        let one = |u: &mut Unstructured<'_>| Ok(f32::from(u.arbitrary::<i8>()?) / 16.0);
        return (0..count).map(|_| one(u)).collect();
    }
    let spread = f32::from(u.arbitrary::<u8>()?) / 16.0;
    let mut seed = Seed(u.arbitrary::<u16>()?.into());
    Ok((0..count).map(|_| spread * seed.next()).collect())
}

/// 1 to `most`, small ones more often.
fn count(u: &mut Unstructured<'_>, most: u16) -> Result<usize> {
    let few = most.min(20);
    let most = if u.ratio(2, 3)? { few } else { most };
    Ok(u.int_in_range(1..=most)?.into())
}

impl<'a> Arbitrary<'a> for Place {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(if u.arbitrary()? { Self::Target } else { Self::At(u.arbitrary()?) })
    }
}

impl<'a> Arbitrary<'a> for Twist {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // Halves of powers of two, from 2⁻²⁰ to 2⁴³: a byte reaches every size that matters.
        let size = |u: &mut Unstructured<'a>| {
            let byte: u8 = u.arbitrary()?;
            let power = libm::scalbnf(1.0, i32::from(byte >> 2) - 20);
            Ok(power * (1.0 + f32::from(byte & 3) / 4.0))
        };
        Ok(match u.int_in_range(0..=9_u8)? {
            0 => Self::Plain,
            1 => Self::Ties(size(u)?),
            2 => Self::Equal,
            3 => Self::Mask(u.arbitrary()?, u.arbitrary()?),
            4 => Self::MaskEvery(u.arbitrary()?),
            5 => Self::Shift(f32::from_bits(u.arbitrary()?)),
            6 => Self::Spread(size(u)?),
            7 => Self::Lead(u.arbitrary()?, size(u)?),
            8 => Self::Peak(u.arbitrary()?, f32::from(u.arbitrary::<u16>()?) / 256.0),
            _ => Self::Set(u.arbitrary()?, f32::from_bits(u.arbitrary()?)),
        })
    }
}

fn twists(u: &mut Unstructured<'_>) -> Result<Vec<Twist>> {
    (0..u.int_in_range(0..=4_u8)?).map(|_| u.arbitrary()).collect()
}

impl<'a> Arbitrary<'a> for Transform {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // In steps of f32, 1/16 to 16.
        let part = |u: &mut Unstructured<'a>| Ok((f64::from(u.arbitrary::<u8>()?) + 1.0) / 16.0);
        if u.arbitrary()? {
            return Ok(Self::NONE);
        }
        let softcap = if u.arbitrary()? { Some(4.0 * part(u)?) } else { None };
        Ok(Self { scale: part(u)?, softcap, temperature: part(u)? })
    }
}

impl<'a> Arbitrary<'a> for RowCase {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let vocab = count(u, MOST_COLUMNS)?;
        let target = Place::At(u.arbitrary()?).column(vocab, 0);
        let twists = twists(u)?;
        let transform = u.arbitrary()?;
        let coefficient = f64::from(u.arbitrary::<i16>()?) / 4096.0;
        let mut logits = logits(u, vocab)?;
        Twist::apply_all(&twists, &mut logits, target);
        Ok(Self { logits, transform, target, coefficient })
    }
}

fn layout(u: &mut Unstructured<'_>, least: u8, most: u8, columns: u16) -> Result<LayoutCase> {
    let vocab = count(u, columns)?;
    let ignore = u.arbitrary()?;
    let mut sequences = Vec::new();
    for _ in 0..u.int_in_range(least..=most)? {
        let gap = u.int_in_range(0..=2_u8)?.into();
        let tokens = (0..u.int_in_range(1..=6_u8)?)
            .map(|_| Ok(if u.ratio(4, 5)? { Some(u.arbitrary()?) } else { None }))
            .collect::<Result<_>>()?;
        sequences.push(Sequence { gap, tokens, rank: u.arbitrary()? });
    }
    Ok(LayoutCase::lay_out(vocab, ignore, &sequences))
}

/// Empty, anywhere at all, or among the first rows, where it meets others.
fn wrong_span(u: &mut Unstructured<'_>) -> Result<(usize, usize)> {
    let [a, b]: [u8; 2] = u.arbitrary()?;
    Ok(match u.int_in_range(0..=2_u8)? {
        0 => (usize::from(a % 32), usize::from(a % 32)),
        1 => (u.arbitrary()?, u.arbitrary()?),
        _ => (usize::from(a % 32), usize::from(b % 32)),
    })
}

/// Well-formed for half of the inputs; then spans, targets and rows are spoilt.
impl<'a> Arbitrary<'a> for LayoutCase {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut case = layout(u, 0, 6, 300)?;
        if u.arbitrary()? {
            return Ok(case);
        }
        for _ in 0..u.int_in_range(1..=3_u8)? {
            let at: u8 = u.arbitrary()?;
            match u.int_in_range(0..=3_u8)? {
                0 => case.targets.truncate(at.into()),
                1 => {
                    if let Some(target) = case.targets.get_mut(usize::from(at)) {
                        *target = u32::MAX - 7;
                    }
                }
                2 => case.spans.push(wrong_span(u)?),
                _ => {
                    let span = wrong_span(u)?;
                    if let Some(to) = case.spans.get_mut(usize::from(at % 8)) {
                        *to = span;
                    }
                }
            }
        }
        Ok(case)
    }
}

/// Log-probs of any size and kind; weight and offset as their domains are.
impl<'a> Arbitrary<'a> for PairCase {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let log_prob = |u: &mut Unstructured<'a>| {
            Ok(match u.int_in_range(0..=3_u8)? {
                0 => -f64::from(u.arbitrary::<u16>()?) / 256.0,
                1 => f64::from_bits(u.arbitrary()?),
                2 => -f64::from(u.arbitrary::<u16>()?) * 1e-12,
                _ => -f64::from(u.arbitrary::<u32>()?),
            })
        };
        let [policy_chosen, policy_rejected] = [log_prob(u)?, log_prob(u)?];
        let still: bool = u.arbitrary()?;
        let [reference_chosen, reference_rejected] =
            if still { [policy_chosen, policy_rejected] } else { [log_prob(u)?, log_prob(u)?] };
        let log_probs =
            PairLogProbs { policy_chosen, policy_rejected, reference_chosen, reference_rejected };
        let weight = f32::from(u.arbitrary::<u8>()?) / 64.0;
        let offset = f32::from(u.arbitrary::<i16>()?) / 256.0;
        Ok(Self { log_probs, weight, offset })
    }
}

impl<'a> Arbitrary<'a> for Dpo {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // 2⁻¹⁶ to almost 2¹⁶, and the closed interval of ε.
        let byte: u8 = u.arbitrary()?;
        let beta = libm::scalbn(1.0 + f64::from(byte & 7) / 8.0, i32::from(byte >> 3) - 16);
        Ok(Self { beta, label_smoothing: f64::from(u.int_in_range(0..=128_u8)?) / 256.0 })
    }
}

impl<'a> Arbitrary<'a> for Loss {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let kind = u.int_in_range(0..=KINDS)?;
        let [beta, first, second, alpha]: [u8; 4] = u.arbitrary()?;
        let [beta, first, second, alpha] =
            [beta, first, second, alpha].map(|byte| f64::from(byte) / 255.0);
        Ok(loss(kind, Parts { beta, first, second, alpha }))
    }
}

impl<'a> Arbitrary<'a> for BatchCase {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let layout = layout(u, 2, 4, 200)?;
        let (rows, sequences) = (layout.targets.len(), layout.spans.len());
        let stride = layout.vocab + usize::from(u.int_in_range(0..=3_u8)?);
        let part = |u: &mut Unstructured<'a>| Ok(f32::from(u.arbitrary::<i8>()?) / 32.0);
        let size = |u: &mut Unstructured<'a>| Ok(part(u)?.abs());
        let list =
            |u: &mut Unstructured<'a>, n, one: &dyn Fn(&mut Unstructured<'a>) -> Result<f32>| {
                if u.arbitrary()? {
                    (0..n).map(|_| one(u)).collect::<Result<_>>().map(Some)
                } else {
                    Ok(None)
                }
            };
        let transform = u.arbitrary()?;
        let token_weights = list(u, rows, &part)?;
        let mut pairs = Vec::new();
        for _ in 0..u.int_in_range(1..=3_u8)? {
            let (chosen, step) = (u.choose_index(sequences)?, u.choose_index(sequences - 1)? + 1);
            pairs.push((chosen, (chosen + step) % sequences));
        }
        let reference = (0..sequences)
            .map(|_| Ok(-f64::from(u.arbitrary::<u16>()?) / 256.0))
            .collect::<Result<_>>()?;
        let weights = list(u, pairs.len(), &size)?;
        let offsets = list(u, pairs.len(), &part)?;
        let dpo = u.arbitrary()?;
        let divisor = f64::from(u.arbitrary::<u8>()?) / 8.0 + 0.125;
        let twists = (0..rows).map(|_| twists(u)).collect::<Result<Vec<_>>>()?;
        let mut case = Self {
            logits: logits(u, rows * stride)?,
            stride,
            transform,
            layout,
            token_weights,
            pairs,
            reference,
            weights,
            offsets,
            dpo,
            divisor,
        };
        for (row, twists) in twists.iter().enumerate() {
            case.twist(row, twists);
        }
        case.poison();
        Ok(case)
    }
}
