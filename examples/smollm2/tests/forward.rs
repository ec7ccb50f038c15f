//! Log-probs of the packed model beside those of the formulas in f64.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "counts of tests are small"
)]

mod common;

use common::LOG_PROB as BOUND;
use common::oracle::{self, Fault, Lora};
use smollm2::batch::Packed;
use smollm2::loss::Scorer;
use smollm2::model::Cache;

fn difference(fault: Fault) -> f64 {
    let (weights, model, _) = common::model(&format!("forward-{fault:?}"), 5);
    let examples = common::examples();
    let packed = Packed::new(&examples).unwrap();
    let states = model.states(&packed, None).unwrap();
    let mut scorer = Scorer::new(model.head());
    let found = scorer.log_probs(&states, &packed).unwrap();
    let answers = examples.iter().flat_map(|one| [(one, &one.chosen), (one, &one.rejected)]);
    let lora = Lora::default();
    let differences = answers.zip(found).map(|((example, answer), found)| {
        assert_eq!(found.count, answer.len());
        oracle::answer(&weights, &lora, &example.prompt, answer, fault) - found.sum
    });
    common::largest(differences)
}

#[test]
#[should_panic(expected = "NaN among numbers")]
fn a_difference_that_is_no_number_is_seen() {
    common::largest([1.0, f64::NAN, 2.0]);
}

#[test]
fn packed_pairs_are_what_the_formulas_say() {
    let found = difference(Fault::None);
    assert!(found < BOUND, "{found}");
}

#[test]
fn faults_are_seen() {
    for fault in [Fault::Interleaved, Fault::Group, Fault::Ahead] {
        let found = difference(fault);
        assert!(found > 100.0 * BOUND, "{fault:?}: {found}");
    }
}

#[test]
fn one_pair_or_all_of_them_give_the_same() {
    let (_, model, _) = common::model("one", 6);
    let examples = common::examples();
    let all = Packed::new(&examples).unwrap();
    let states = model.states(&all, None).unwrap();
    let together = Scorer::new(model.head()).log_probs(&states, &all).unwrap().to_vec();
    for (example, together) in examples.iter().zip(together.chunks_exact(2)) {
        let packed = Packed::new([example]).unwrap();
        let states = model.states(&packed, None).unwrap();
        let mut scorer = Scorer::new(model.head());
        let alone = scorer.log_probs(&states, &packed).unwrap();
        for (alone, together) in alone.iter().zip(together) {
            assert!((alone.sum - together.sum).abs() < BOUND, "{} {}", alone.sum, together.sum);
        }
    }
}

/// Token by token, and in two parts.
#[test]
fn cached_tokens_go_on_where_they_were() {
    let (weights, model, _) = common::model("cached", 7);
    let tokens: Vec<u32> = (0..23).map(|i| (i * 29 + 3) % 260).collect();
    let expected = oracle::log_probs(&weights, &Lora::default(), &tokens, Fault::None);
    for first in [1, 2, 11] {
        let mut cache = Cache::default();
        let mut parts = vec![&tokens[..first]];
        parts.extend(tokens[first..].chunks(1));
        let mut seen = 0;
        for part in parts {
            let logits = model.next(part, None, &mut cache).unwrap();
            seen += part.len();
            let Some(next) = tokens.get(seen) else { break };
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            let found = f64::from(logits[*next as usize]) - sum.ln();
            assert!((found - expected[seen - 1]).abs() < BOUND, "{seen}: {found}");
        }
    }
}

#[test]
fn a_sequence_that_is_too_long_is_refused() {
    let (_, model, _) = common::model("long", 8);
    let mut example = common::examples().remove(0);
    example.prompt = vec![5; common::CONTEXT];
    let packed = Packed::new([&example]).unwrap();
    let why = model.states(&packed, None).unwrap_err().to_string();
    assert_eq!(why, "a sequence of 196 tokens for a model of 192");
    example.chosen.clear();
    let why = Packed::new([&example]).unwrap_err().to_string();
    assert_eq!(why, "a pair of an empty prompt or answer");
}
