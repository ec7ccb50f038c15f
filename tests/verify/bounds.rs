//! The table of bounds, as hosts reach it.

use dpo_kernel::verify::bounds::{BOUNDS, Promised, promised};
use dpo_kernel::{Arithmetic, Element, bf16, f16};

const FIGURES: [Promised; 8] = [
    Promised::LogProb,
    Promised::LogZ,
    Promised::LogZOfLargeLogits,
    Promised::Probability,
    Promised::OneMinusP,
    Promised::Entropy,
    Promised::LogSumSqProbs,
    Promised::MeanLogit,
];

fn are_of<E: Element>(words: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for figure in FIGURES {
        for arithmetic in [Arithmetic::Fused, Arithmetic::Portable] {
            let bound = promised::<E>(figure, arithmetic).unwrap();
            assert_eq!(bound.arithmetic, arithmetic, "{figure:?}");
            let is_word = |word: &str| word == words;
            assert!(bound.name.split(' ').any(is_word), "{figure:?}: {}", bound.name);
            assert!(bound.worst.0 <= bound.most, "{}", bound.name);
            names.push(bound.name);
        }
    }
    names
}

/// Each figure and type has an entry of its own, in both arithmetics.
#[test]
fn by_type_and_arithmetic() {
    let mut names: Vec<_> =
        [are_of::<f32>("f32"), are_of::<f16>("f16"), are_of::<bf16>("bf16")].concat();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!((all, names.len()), (48, 24));
    assert!(names.iter().all(|name| BOUNDS.iter().any(|bound| bound.name == *name)));
}
