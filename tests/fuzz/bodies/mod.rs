//! What the fuzz targets do with their bytes: make a case of them, run it on every level, and hold
//! the results against the plain f64 reference and against each other.
//!
//! The targets in `fuzz/` call these functions; `cargo test` calls them too, on the corpus that
//! lies beside the targets and on random cases. A body panics with what is wrong and the case.

#![allow(dead_code, reason = "each of the packages that hold this module uses another part of it")]

#[path = "../../common/abi/mod.rs"]
pub mod abi;
#[path = "../../common/batch.rs"]
pub mod batch;
#[path = "../../common/coefficients.rs"]
pub mod coefficients;
#[path = "../../common/levels.rs"]
pub mod levels;
#[path = "../../common/store.rs"]
pub mod store;

pub mod c_abi;
pub mod gradients;
pub mod head;
pub mod jsonl;
pub mod layout;
pub mod loss;
pub mod row;
pub mod scalars;
pub mod step;
pub mod tokens;
pub mod tolerance;

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};

/// The name of a target's binary and of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("scalars", |data| run(data, scalars::check)),
    ("row", |data| run(data, row::check)),
    ("tokens", |data| run(data, tokens::check)),
    ("gradients", |data| run(data, gradients::check)),
    ("head", |data| run(data, head::check)),
    ("loss", |data| run(data, loss::check)),
    ("step", |data| run(data, step::check)),
    ("layout", |data| run(data, layout::check)),
    ("c_abi", |data| run(data, c_abi::check)),
    ("jsonl", jsonl::check),
];

/// Runs the target of that name.
pub fn target(name: &str, data: &[u8]) {
    let (_, body) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    body(data);
}

fn run<'a, T: Arbitrary<'a> + Debug>(data: &'a [u8], check: fn(&T) -> Result<(), String>) {
    let mut bytes = Unstructured::new(data);
    if let Ok(case) = T::arbitrary(&mut bytes)
        && let Err(why) = check(&case)
    {
        panic!("{why}\n{case:?}");
    }
}

/// A check for f32, f16 and bf16 storage, whose objection names the type.
#[macro_export]
macro_rules! for_each_storage {
    ($check:ident($($argument:expr),*)) => {
        $check::<f32>($($argument),*).map_err(|why| format!("f32: {why}"))
            .and_then(|()| $check::<dpo_kernel::f16>($($argument),*).map_err(|why| format!("f16: {why}")))
            .and_then(|()| $check::<dpo_kernel::bf16>($($argument),*).map_err(|why| format!("bf16: {why}")))
    };
}
