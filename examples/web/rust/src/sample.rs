//! Answers drawn from the model, to see what training does and how long they get.

use alloc::vec::Vec;

use dpo_kernel_firmware::random::Random;

use crate::model::{Adapters, Base, Memory};
use crate::text::{ANSWER_LIMIT, END, VOCAB};

/// Below 1, likely symbols become likelier.
const TEMPERATURE: f32 = 0.5;

/// Draws an answer symbol by symbol, until its end or the limit; without adapters the reference's.
pub fn sample(base: &Base, adapters: Option<&Adapters>, opening: &[u8], seed: u32) -> Vec<u8> {
    // Small seeds would begin with small numbers.
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9) | 1);
    let mut memory = Memory::default();
    let mut symbols: Vec<u8> = Vec::with_capacity(opening.len() + ANSWER_LIMIT);
    let mut x = None;
    for &symbol in opening {
        symbols.push(symbol);
        x = Some(memory.next(base, &symbols));
    }
    while let Some(last) = x
        && symbols.len() < opening.len() + ANSWER_LIMIT
    {
        let next = draw(&base.logits(adapters, &last), &mut random);
        if next == END {
            break;
        }
        symbols.push(next);
        x = Some(memory.next(base, &symbols));
    }
    symbols.split_off(opening.len())
}

/// A symbol with the probabilities of softmax(logits / temperature).
fn draw(logits: &[f32; VOCAB], random: &mut Random) -> u8 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shares = logits.map(|logit| libm::expf((logit - top) / TEMPERATURE));
    let total = shares.iter().fold(0.0, |sum, share| sum + share);
    let mut left = 0.5 * (random.uniform() + 1.0) * total;
    for (symbol, share) in (0..).zip(shares) {
        left -= share;
        if left < 0.0 {
            return symbol;
        }
    }
    END
}
