//! Log-probs, norms and details: the bits of the stage that has logits.

use dpo_kernel::gradient::Unscored;
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::{Dispatch, Element, Logits, TokenOut, TokenSummary, bf16, f16, token_log_probs};

use crate::case::{Case, DIRT, run, score, score_from};

/// The stage on logits that were written out.
fn due<E: Element, W: Element>(
    case: &Case<E, W>,
    dispatch: Dispatch,
) -> (Vec<f32>, Vec<RowNorm>, Vec<RowDetails>, TokenSummary) {
    let logits = case.written_out(dispatch.arithmetic());
    let mut log_probs = vec![DIRT; case.rows];
    let mut norms = vec![RowNorm::default(); case.rows];
    let details = RowDetails { entropy: DIRT, mean_logit: DIRT, ..RowDetails::default() };
    let mut details = vec![details; case.rows];
    let view = Logits::new(&logits, case.rows, case.vocab).unwrap().with_transform(case.transform);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
    let summary = token_log_probs(dispatch, view, &case.layout(), out).unwrap();
    (log_probs, norms, details, summary)
}

pub fn same_bits<E: Element, W: Element>(case: &Case<E, W>, at_once: &[usize]) {
    for dispatch in Dispatch::available() {
        let (log_probs, norms, details, summary) = due(case, dispatch);
        let is_scored = |row: &usize| case.is_scored(*row);
        assert!((0..case.rows).filter(is_scored).all(|row| log_probs[row] <= 0.0), "the control");
        for &at_once in at_once {
            let found = run(case, dispatch, at_once, Unscored::Keep);
            let of = format!("{dispatch:?}, {at_once} at once");
            assert_eq!(bits(&found.log_probs), bits(&log_probs), "{of}");
            assert_eq!(bits(&score(case, dispatch, at_once)), bits(&log_probs), "{of}");
            assert_eq!(found.norms, norms, "{of}");
            assert_eq!(found.details, details, "{of}");
            let tokens = (0..case.rows).filter(is_scored).count() as u64;
            assert_eq!(summary.tokens, tokens, "the control");
            assert_eq!(found.summary, Ok(summary), "{of}");
        }
    }
}

pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Both sides of every length that a loop of the product has.
#[test]
fn log_probs_are_those_of_written_out_logits() {
    for (rows, size, vocab) in [
        (1, 1, 1),
        (1, 1, 2),
        (2, 3, 31),
        (11, 15, 32),
        (12, 16, 33),
        (13, 17, 511),
        (25, 31, 512),
        (7, 255, 513),
        (5, 256, 40),
        (5, 257, 100),
        (4, 600, 1030),
        (40, 33, 1537),
    ] {
        let case = Case::<f32, f32>::new(rows, size, vocab, 1 + (rows * size) as u64);
        same_bits(&case, &[1, 5, 12, 40]);
        same_bits(&case.with_bias(3), &[13]);
    }
}

/// Panels begin where registers like it, and have room wherever that is.
#[test]
fn memory_may_begin_anywhere() {
    let case = Case::<f32, f32>::new(5, 37, 600, 8);
    for dispatch in Dispatch::available() {
        let due = bits(&score(&case, dispatch, 5));
        for first in 1..16 {
            assert_eq!(bits(&score_from(&case, dispatch, 5, first)), due, "{dispatch:?}, {first}");
        }
    }
}

#[test]
fn log_probs_of_every_type() {
    same_bits(&Case::<bf16, bf16>::new(9, 45, 600, 1), &[4, 9]);
    same_bits(&Case::<f16, f16>::new(9, 45, 600, 2), &[4, 9]);
    same_bits(&Case::<f32, bf16>::new(9, 45, 600, 3), &[4, 9]);
    same_bits(&Case::<bf16, f32>::new(9, 45, 600, 4), &[4, 9]);
    same_bits(&Case::<f16, bf16>::new(9, 45, 600, 5), &[4, 9]);
}

#[test]
fn log_probs_under_transforms() {
    let case = Case::<f32, f32>::new(9, 45, 1100, 1);
    for (scale, softcap, temperature) in
        [(0.0625, None, 1.0), (1.0, None, 0.7), (1.0, Some(30.0), 1.0), (2.0, Some(5.0), 1.5)]
    {
        let case = case.clone().with_transform(scale, softcap, temperature);
        same_bits(&case, &[4]);
        same_bits(&case.with_bias(8), &[9]);
    }
}

/// A bias of −inf masks; whole leading tiles too. Logits far from 0, and beyond the exact
/// reduction of the exponential.
#[test]
fn log_probs_of_masked_and_shifted_logits() {
    for shift in [0.0, 1e4, -1e4, 1e6] {
        for masked in [0..0, 0..600, 100..101, 900..1200] {
            let mut case = Case::<f32, f32>::new(7, 20, 1200, 5).with_bias(6);
            for (column, bias) in case.bias.as_mut().unwrap().iter_mut().enumerate() {
                *bias = if masked.contains(&column) { f32::NEG_INFINITY } else { *bias + shift };
            }
            for target in &mut case.targets {
                if masked.contains(&(*target as usize)) {
                    *target = 700;
                }
            }
            same_bits(&case, &[7]);
        }
    }
}
