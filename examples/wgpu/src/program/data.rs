//! The pairs, and the hidden states that a frozen backbone makes of them.
//!
//! The data are those of the `finetune` example. The backbone is as small as one can be: a state is
//! the sum of seeded random vectors, one for each of the last eight bytes by its distance. All that
//! is trained is the head.

use dpo_kernel::{Pair, Span};
use serde_json::Value;

/// H
pub(super) const SIZE: usize = 128;
/// V: bytes, of which two that UTF-8 does not have stand before and after an answer.
pub(super) const VOCAB: usize = 256;
const ANSWER: u8 = 0xfe;
const END: u8 = 0xff;
/// Bytes that a state sees.
const SEEN: usize = 8;
/// Batches that are held out.
pub(super) const HELD_OUT: usize = 4;
/// Pairs of a step.
pub(super) const PAIRS: usize = 8;

const TEXT: &str = include_str!("../../../finetune/pairs.jsonl");

/// Eight pairs, packed: the rows that predict answers, and nothing else.
#[derive(Debug)]
pub(super) struct Batch {
    /// R × H
    pub(super) hidden: Vec<f32>,
    pub(super) targets: Vec<u32>,
    pub(super) spans: Vec<Span>,
    pub(super) pairs: Vec<Pair>,
}

/// A sequence of numbers that a seed makes.
#[derive(Debug)]
struct Random(u64);

impl Random {
    /// In [−1, 1).
    #[allow(clippy::cast_possible_truncation, reason = "a random number in f32")]
    #[allow(clippy::cast_precision_loss, reason = "53 bits")]
    fn next(&mut self) -> f32 {
        (self.bits() as f64 / (1_u64 << 52) as f64 - 1.0) as f32
    }

    /// 53 bits.
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) >> 11
    }

    /// In 0..n.
    #[allow(clippy::cast_possible_truncation, reason = "below n")]
    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
}

/// The head before its first step, V × H.
pub(super) fn first_weights() -> Vec<f32> {
    let mut random = Random(2);
    (0..VOCAB * SIZE).map(|_| 0.1 * random.next()).collect()
}

/// All batches, of pairs in an order that a seed draws: the last four are not trained on.
pub(super) fn batches() -> Result<Vec<Batch>, String> {
    let mut random = Random(1);
    let vectors: Vec<f32> = (0..SEEN * VOCAB * SIZE).map(|_| 0.5 * random.next()).collect();
    let mut texts = Vec::new();
    for (number, line) in TEXT.lines().enumerate() {
        let value: Value = serde_json::from_str(line)
            .map_err(|error| format!("line {} of the pairs: {error}", number + 1))?;
        let text = |name: &str| {
            let text = value.get(name).and_then(Value::as_str).map(str::to_owned);
            text.ok_or_else(|| format!("line {} of the pairs has no {name}", number + 1))
        };
        texts.push([text("prompt")?, text("chosen")?, text("rejected")?]);
    }
    for last in (1..texts.len()).rev() {
        texts.swap(last, random.below(last + 1));
    }
    Ok(texts.chunks(PAIRS).map(|texts| batch(texts, &vectors)).collect())
}

fn batch(texts: &[[String; 3]], vectors: &[f32]) -> Batch {
    let (hidden, targets, spans, pairs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut batch = Batch { hidden, targets, spans, pairs };
    for [prompt, chosen, rejected] in texts {
        let first = batch.spans.len();
        for answer in [chosen, rejected] {
            let start = batch.targets.len();
            let bytes = [prompt.as_bytes(), &[ANSWER], answer.as_bytes(), &[END]].concat();
            // Row t predicts byte t + 1.
            for t in prompt.len()..bytes.len() - 1 {
                batch.hidden.extend(state(bytes.get(..=t).unwrap_or_default(), vectors));
                batch.targets.push(bytes.get(t + 1).copied().unwrap_or(END).into());
            }
            batch.spans.push(Span::new(start, batch.targets.len()));
        }
        batch.pairs.push(Pair::new(first, first + 1));
    }
    batch
}

fn state(seen: &[u8], vectors: &[f32]) -> [f32; SIZE] {
    let mut state = [0.0; SIZE];
    for (distance, &byte) in seen.iter().rev().take(SEEN).enumerate() {
        let at = (distance * VOCAB + usize::from(byte)) * SIZE;
        let vector = vectors.get(at..at + SIZE).unwrap_or_default();
        for (to, from) in state.iter_mut().zip(vector) {
            *to += from;
        }
    }
    state
}
