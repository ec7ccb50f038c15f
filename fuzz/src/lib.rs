//! The bodies of the targets, which live where `cargo test` runs them too: `tests/fuzz/bodies`.

#![allow(missing_docs, reason = "the bodies are a test's")]

#[path = "../../tests/fuzz/bodies/mod.rs"]
mod bodies;

pub use bodies::target;
