//! Every stage on every level, beside the limit of the memory and a plain loop, with criterion.
//!
//! ```sh
//! cargo bench -p dpo-kernel-stages                              # some minutes
//! cargo bench -p dpo-kernel-stages -- 'token_log_probs/bf16/128256'
//! ```
//!
//! A group is `stage/type/V`, and in it stand the limit, the plain loop and each level and
//! arithmetic; throughput is in bytes of logits read and written. Logits begin at an odd place of a
//! cache line, as they may. Results are checked before they are timed. How near the limit is on a
//! shared machine, the bench `limits` says better: it interleaves.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]
#![allow(unreachable_pub, reason = "modules of a program")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a bench may stop")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of logits are far below 2^32"
)]

mod batch;
mod gradient;
#[path = "../limits/machine.rs"]
mod machine;
mod pairs;
mod plain;
mod token;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use dpo_kernel::{Dispatch, bf16, f16};

/// A tiny vocabulary, and those of common models.
pub const VOCABS: [usize; 5] = [256, 32_000, 50_257, 128_256, 151_936];

/// How a dispatch is called in a group.
pub(crate) fn name(dispatch: Dispatch) -> String {
    format!("{:?} {:?}", dispatch.level(), dispatch.arithmetic()).to_lowercase()
}

fn logits(c: &mut Criterion) {
    machine::check();
    for vocab in VOCABS {
        token::bench::<f32>(c, "f32", vocab);
        token::bench::<bf16>(c, "bf16", vocab);
        token::bench::<f16>(c, "f16", vocab);
        gradient::bench::<f32>(c, "f32", vocab);
        gradient::bench::<bf16>(c, "bf16", vocab);
        gradient::bench::<f16>(c, "f16", vocab);
    }
}

fn few_samples() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
}

criterion_group! {
    name = benches;
    config = few_samples();
    targets = logits, pairs::bench
}
criterion_main!(benches);
