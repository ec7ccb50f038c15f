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

pub use jsonl::Pair;

/// The pairs of a file; `name` is what errors call it.
///
/// # Errors
/// What is wrong with it and where, in a sentence.
pub fn read(name: &str, bytes: &[u8]) -> Result<Vec<Pair>, String> {
    jsonl::parse(name, bytes).map_err(|error| error.to_string())
}
