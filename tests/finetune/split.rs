//! What the model reads of pairs, and the split into training and held-out pairs.

use std::collections::HashSet;

use crate::finetune::jsonl::{self, Pair};
use crate::finetune::random::Random;
use crate::finetune::text::{ANSWER_LIMIT, Examples, LeftOut, PROMPT_LIMIT};
use crate::finetune::train::mismatched;
use crate::{finetune, pair};

#[test]
fn built_in_pairs_are_sound_and_each_has_its_own_prompt() {
    let bytes = include_bytes!("../../examples/finetune/pairs.jsonl");
    let pairs = jsonl::parse("pairs.jsonl", bytes).expect("the built-in pairs");
    let examples = Examples::new(&pairs, &mut Random(1));
    assert_eq!((examples.cut, examples.merged), (0, 0), "they fit");
    assert_eq!(examples.left_out, LeftOut::default(), "each teaches something");
    assert_eq!(examples.train.len() + examples.held_out.len(), pairs.len(), "all are used");
    let prompts: HashSet<_> = pairs.iter().map(|pair| &pair.prompt).collect();
    assert_eq!(prompts.len(), pairs.len(), "one pair a prompt");
}

#[test]
fn cutting_keeps_the_end_of_prompts_and_never_makes_answers_equal() {
    let long = "x".repeat(ANSWER_LIMIT);
    let prompt = "q".repeat(PROMPT_LIMIT) + "end";
    let pairs = [
        pair(&prompt, "yes", "no"),
        pair("p", &(long.clone() + "good"), &(long.clone() + "bad")),
        pair("p", &(long.clone() + "good"), &long),
    ];
    let examples = Examples::new(&pairs, &mut Random(1));
    assert_eq!(examples.cut, 3, "a prompt and two pairs of answers");
    let left_out = LeftOut { equal_once_cut: 1, ..LeftOut::default() };
    assert_eq!(examples.left_out, left_out, "one of them without effect");
    let all: Vec<_> = examples.train.iter().chain(&examples.held_out).collect();
    assert_eq!(all.len(), 2, "the others stay; the third still differs by its end mark");
    assert!(all.iter().all(|pair| pair.chosen != pair.rejected), "answers differ");
    let opening = all.iter().map(|pair| pair.chosen.opening()).find(|opening| opening.len() > 2);
    let opening = opening.expect("the long prompt");
    assert_eq!(opening.len(), PROMPT_LIMIT + 1, "prompt and mark");
    assert!(opening[..PROMPT_LIMIT].ends_with(b"end"), "the end of the prompt counts");
}

#[test]
fn pairs_with_the_same_prompt_are_on_the_same_side() {
    let pairs: Vec<Pair> =
        (0..40).map(|n| pair(&format!("p{}", n % 8), &format!("c{n}"), "r")).collect();
    for seed in 0..5 {
        let examples = Examples::new(&pairs, &mut Random(seed));
        let held_out =
            |opening| examples.held_out.iter().any(|pair| pair.chosen.opening() == opening);
        assert_eq!(examples.held_out.len(), 10, "two of eight prompts");
        assert!(
            !examples.train.iter().any(|pair| held_out(pair.chosen.opening())),
            "a held-out prompt was trained on"
        );
    }
}

/// Prompts that differ only in what is cut off are one prompt to the model: trained on as one of
/// them, it knows all of them.
#[test]
fn prompts_that_are_the_same_once_cut_are_on_the_same_side() {
    let tickets = |tail: &str| -> Vec<Pair> {
        let tail = tail.repeat(300);
        let ticket = |n| pair(&format!("ticket {n}: {tail}"), &format!("yes {n}"), "no");
        (0..10).map(ticket).collect()
    };
    for seed in 0..5 {
        let examples = Examples::new(&tickets("q"), &mut Random(seed));
        assert_eq!((examples.train.len(), examples.held_out.len()), (10, 0), "one prompt");
        assert_eq!((examples.cut, examples.merged), (10, 9), "and it is told");
        let pairs = [tickets("q"), tickets("r"), vec![pair("short", "a", "b")]].concat();
        let examples = Examples::new(&pairs, &mut Random(seed));
        assert_eq!(examples.merged, 18, "three prompts of 21");
        let openings = |pairs: &[finetune::text::Example]| -> HashSet<Vec<u8>> {
            pairs.iter().map(|pair| pair.chosen.opening().to_vec()).collect()
        };
        let (train, held_out) = (openings(&examples.train), openings(&examples.held_out));
        assert_eq!((train.len(), held_out.len()), (2, 1), "of three prompts one is held out");
        assert!(train.is_disjoint(&held_out), "what is held out was never read");
    }
}

#[test]
fn pairs_that_teach_nothing_are_left_out_by_reason() {
    let long = "x".repeat(ANSWER_LIMIT);
    let pairs = [
        pair("p", "", "r"),
        pair("p", "c", ""),
        pair("p", "", ""),
        pair("p", "c", "c"),
        pair("p", &long, &long),
        pair("p", &(long.clone() + "a"), &(long.clone() + "b")),
        pair("p", "c", "r"),
    ];
    let examples = Examples::new(&pairs, &mut Random(1));
    let left_out = LeftOut { empty: 3, equal: 2, equal_once_cut: 1 };
    assert_eq!(examples.left_out, left_out, "each by its reason");
    assert_eq!((examples.train.len(), examples.held_out.len()), (1, 0), "the last one stays");
}

/// Byte by byte: prompt, mark, answer, end; and what either training scores of it.
#[test]
fn a_sequence_is_prompt_mark_answer_and_end() {
    let examples = Examples::new(&[pair("why", "so", "é")], &mut Random(1));
    let [example] = examples.train.as_slice() else { panic!("one pair") };
    assert_eq!(example.chosen.tokens, *b"why\xfeso\xff");
    assert_eq!(example.rejected.tokens, *b"why\xfe\xc3\xa9\xff", "as UTF-8");
    assert_eq!(example.chosen.opening(), b"why\xfe");
    // A row predicts the token after it: 's' after the mark, the end after 'o'.
    assert_eq!((example.chosen.answer_rows(), example.chosen.all_rows()), (3..6, 0..6));
    let mixed = example
        .chosen
        .answered_by(&Examples::new(&[pair("p", "no", "x")], &mut Random(1)).train[0].chosen);
    assert_eq!(mixed.tokens, *b"why\xfeno\xff", "this prompt with that answer");
    assert_eq!((mixed.answer_rows(), mixed.opening()), (3..6, &b"why\xfe"[..]));
}

/// K of KTO is of prompts with answers to others.
#[test]
fn every_prompt_gets_the_answers_to_the_next() {
    let of = |prompt, chosen, rejected| {
        Examples::new(&[pair(prompt, chosen, rejected)], &mut Random(1)).train.remove(0)
    };
    let examples = [of("p", "a", "b"), of("q", "c", "d"), of("r", "e", "f")];
    let examples: Vec<_> = examples.iter().collect();
    let mixed = mismatched(&examples);
    let due = [of("p", "c", "d"), of("q", "e", "f"), of("r", "a", "b")];
    let due: Vec<_> = due.into_iter().flat_map(|of| [of.chosen, of.rejected]).collect();
    assert_eq!(mixed, due);
}

/// An answer keeps its first bytes, and loses its end mark only where it is cut.
#[test]
fn the_limits_are_exact() {
    let text = |n: usize| "x".repeat(n);
    let of = |prompt: usize, answer: usize| {
        let examples = Examples::new(&[pair(&text(prompt), &text(answer), "r")], &mut Random(1));
        (examples.cut, examples.train[0].chosen.clone())
    };
    let (cut, whole) = of(PROMPT_LIMIT, ANSWER_LIMIT);
    assert_eq!((cut, whole.tokens.len()), (0, 512), "all of both, and two marks");
    assert_eq!(whole.tokens.last(), Some(&0xff), "it ends");
    let (cut, long) = of(3, ANSWER_LIMIT + 1);
    assert_eq!((cut, long.tokens.len()), (1, 3 + 1 + 256), "no end mark");
    assert_eq!(of(PROMPT_LIMIT + 1, 1).0, 1, "a prompt is cut");
    assert_eq!(of(PROMPT_LIMIT + 1, 1).1.opening().len(), 255, "to 254 bytes and the mark");
}

/// Of n prompts a fifth is held out, rounded up, and none of one; which, the seed says.
#[test]
fn a_fifth_of_the_prompts_is_held_out() {
    for (prompts, expected) in [(1, 0), (2, 1), (5, 1), (6, 2), (10, 2), (11, 3), (160, 32)] {
        let pairs: Vec<Pair> = (0..prompts).map(|n| pair(&format!("p{n}"), "c", "r")).collect();
        let examples = Examples::new(&pairs, &mut Random(1));
        assert_eq!(examples.held_out.len(), expected, "of {prompts}");
        assert_eq!(examples.train.len(), prompts - expected, "the others");
    }
    let pairs: Vec<Pair> = (0..10).map(|n| pair(&format!("p{n}"), "c", "r")).collect();
    let sides: HashSet<Vec<Vec<u8>>> = (0..20)
        .map(|seed| {
            let examples = Examples::new(&pairs, &mut Random(seed));
            examples.held_out.iter().map(|pair| pair.chosen.tokens.clone()).collect()
        })
        .collect();
    assert!(sides.len() > 10, "each seed holds out others: {}", sides.len());
}
