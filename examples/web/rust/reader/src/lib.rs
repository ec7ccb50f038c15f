//! The reader of preference pairs that `examples/finetune` has, its sources as they are, without std.
#![no_std]

// What its files take from std is in alloc.
extern crate alloc as std;

#[allow(unused_imports, unreachable_pub, missing_docs, reason = "the byte-level example's")]
#[path = "../../../../finetune/jsonl/mod.rs"]
mod jsonl;

#[cfg(target_family = "wasm")]
mod exports;

use std::string::{String, ToString};
use std::vec::Vec;

/// The prompts, chosen and rejected answers of a file, in this order; `name` is what errors call it.
///
/// # Errors
/// What is wrong with it and where, in a sentence.
pub fn read(name: &str, bytes: &[u8]) -> Result<Vec<[String; 3]>, String> {
    let pairs = jsonl::parse(name, bytes).map_err(|error| error.to_string())?;
    Ok(pairs.into_iter().map(|pair| [pair.prompt, pair.chosen, pair.rejected]).collect())
}
