//! What C says in words: the text of every status, the names of buffers and parameters.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs;

use dpo_kernel::Error;
use dpo_kernel::c::*;

use crate::abi::BUFFERS;
use crate::header::{of_code, sources};
use crate::programs::root;

/// What a text must say, and no other text says.
const WORDS: [(i32, &str); 46] = [
    (0, "no error"),
    (1, "another length"),
    (2, "rows times stride overflow"),
    (3, "vocabulary is empty"),
    (4, "exceeds the 32-bit"),
    (5, "smaller than the vocabulary"),
    (6, "two views differ"),
    (7, "outside the vocabulary"),
    (8, "outside the rows"),
    (9, "share rows"),
    (10, "offsets decrease"),
    (11, "no scored token"),
    (12, "pair names a sequence that does not exist"),
    (13, "one sequence as chosen and rejected"),
    (14, "different numbers of tokens"),
    (15, "parameter lies outside its domain"),
    (16, "parameter is given that the loss does not have"),
    (17, "without a default"),
    (18, "needs reference log-probs"),
    (19, "input is given that the loss would not read"),
    (20, "no loss has this name"),
    (21, "answer names a sequence that does not exist"),
    (22, "different token weights"),
    (23, "element of a buffer lies outside its domain"),
    (24, "rows hold NaN"),
    (25, "pairs have no finite loss"),
    (26, "answers have no finite loss"),
    (27, "carry a transform"),
    (28, "not parts of one row"),
    (29, "does not have the level"),
    (30, "no fused multiply-add"),
    (31, "label is neither 1"),
    (32, "lies before the one before it"),
    (33, "no memory for a buffer"),
    (34, "hidden size is 0"),
    (35, "smaller than the hidden size"),
    (36, "hidden states differ in shape"),
    (37, "no row statistics of this version"),
    (101, "is NULL"),
    (102, "not aligned"),
    (103, "length exceeds the address space"),
    (104, "overlaps another"),
    (105, "stands for none"),
    (106, "field is set that nothing would read"),
    (107, "no fold has made"),
    (108, "does not say its size"),
];

fn text(status: i32) -> &'static str {
    // SAFETY: texts are static and end in 0.
    unsafe { CStr::from_ptr(dpo_status_message(status)) }.to_str().unwrap()
}

#[test]
fn every_text_is_that_of_its_status() {
    for (status, words) in WORDS {
        let with_words = WORDS.iter().filter(|(other, _)| text(*other).contains(words));
        let with_words: Vec<i32> = with_words.map(|(status, _)| *status).collect();
        assert_eq!(with_words, [status], "{words:?}");
    }
    let known: BTreeSet<i64> = WORDS.iter().map(|(status, _)| i64::from(*status)).collect();
    let codes = of_code(&sources()).constants.into_iter();
    let codes = codes.filter(|(name, _)| name == "DPO_OK" || name.starts_with("DPO_ERROR_"));
    assert_eq!(known, codes.map(|(_, value)| value).collect(), "statuses with words");
    for none in [-1, 38, 99, 100, 109, i32::MIN, i32::MAX] {
        assert_eq!(text(none), "no status of this library", "{none}");
    }
}

/// What errors in Rust call a buffer is what C calls it by its number.
#[test]
fn every_buffer_has_the_name_of_rust() {
    for (buffer, number) in BUFFERS {
        let sentence = Error::Length { buffer, expected: 1, found: 2 }.to_string();
        // SAFETY: names are static and end in 0.
        let name = unsafe { CStr::from_ptr(dpo_buffer_name(number)) }.to_str().unwrap();
        assert_eq!(sentence.split(':').next(), Some(name), "{buffer:?}");
    }
    let text = fs::read_to_string(root().join("src/error/buffer.rs")).unwrap();
    let variants = text.lines().filter(|line| line.contains("Self::")).count();
    assert_eq!(variants, BUFFERS.len(), "every buffer has its number");
    // A buffer that no function of C reports has the constant that is named like it too.
    let names = fs::read_to_string(root().join("src/c/names.rs")).unwrap();
    for (buffer, _) in BUFFERS {
        let constant = crate::header::screaming(&format!("{buffer:?}"));
        let arm = format!("Buffer::{buffer:?} => DPO_BUFFER_{constant},");
        assert!(names.contains(&arm), "{arm}");
    }
}

/// The names of what C alone has, and of nothing.
#[test]
fn every_number_has_a_name() {
    let own = [
        (101, "a struct argument"),
        (103, "unpaired answers"),
        (104, "cumulative offsets"),
        (105, "tile"),
        (106, "losses of the objective"),
        (107, "the result"),
        (108, "name of a loss"),
        (109, "dispatch"),
        (110, "element type"),
        (111, "labels of the tokens"),
        (112, "options of a loss"),
        (113, "NLL term"),
        (114, "gradients of the logits"),
        (115, "bound of the WPO weights"),
        (116, "layout"),
        (117, "step"),
        (118, "what the backward needs"),
        (119, "answers of the NLL term"),
    ];
    let name = |number| {
        let name = dpo_buffer_name(number);
        // SAFETY: names are static and end in 0.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_str().unwrap())
    };
    for (number, due) in own {
        assert_eq!(name(number), Some(due), "{number}");
    }
    let named = (-2..200).filter(|&number| name(number).is_some()).count();
    assert_eq!(named, own.len() + BUFFERS.len(), "numbers with a name");
    let code = of_code(&sources()).constants.into_keys();
    let constants = code.filter(|name| name.starts_with("DPO_BUFFER_")).count();
    assert_eq!(constants, named, "constants with a name");
}
