//! Targets on columns that a host masked with a number in place of −inf are counted.

use dpo_kernel::{Dispatch, Dpo, Element, Error, Reference, TokenOut, bf16, f16, token_log_probs};

use crate::case::{Given, REFERENCE, ROWS, STRIDE, TARGETS, in_place, layout, logits, view};

fn with<E: Element>(rows: &[usize], x: E) -> Vec<E> {
    let mut logits = logits::<E>();
    for &row in rows {
        logits[row * STRIDE + TARGETS[row] as usize] = x;
    }
    logits
}

fn counted<E: Element>(lowest: E, above: E) {
    let (layout, dpo) = (layout(), Dpo::new(0.1).unwrap());
    let batch = Given::default().batch(&layout, Reference::Sums(&REFERENCE));
    let count = |logits: Vec<E>| {
        let (found, _) = in_place(&dpo, logits, &batch);
        let tokens = found.summary.unwrap().tokens;
        (tokens.tokens, tokens.masked_tokens)
    };
    assert_eq!(count(logits::<E>()), (8, 0), "nothing is masked");
    assert_eq!(count(with(&[1, 8], lowest)), (8, 2));
    assert_eq!(count(with(&[1, 8], E::from_f32(-60_000.0))), (8, 0), "unlikely is not masked");
    assert_eq!(count(with(&[1, 8], above)), (8, 0), "nor is what is next to it");
    // Another column than the target's is no concern.
    let mut other = logits::<E>();
    other[STRIDE + 4] = lowest;
    assert_eq!(count(other), (8, 0));
    // −inf is a mask that the loss names.
    let (found, _) = in_place(&dpo, with(&[1], E::from_f32(f32::NEG_INFINITY)), &batch);
    assert_eq!(found.summary.unwrap_err(), Error::NonFinitePairs { first: 0, count: 1 });

    for dispatch in Dispatch::available() {
        let mut masked = with(&[2, 3, 10], lowest);
        let mut log_probs = [0.0; ROWS];
        let out = TokenOut::new(&mut log_probs);
        let found = token_log_probs(dispatch, view(&mut masked).as_logits(), &layout, out).unwrap();
        assert_eq!((found.tokens, found.masked_tokens), (8, 3), "{dispatch:?}");
    }
}

#[test]
fn of_every_type() {
    let above = bf16::from_bits(bf16::MIN.to_bits() - 1);
    counted(f32::MIN, bf16::MIN.to_f32().next_up());
    counted(bf16::MIN.to_f32(), bf16::MIN.to_f32().next_up());
    counted(f16::MIN, f16::from_bits(f16::MIN.to_bits() - 1));
    counted(bf16::MIN, above);
}
