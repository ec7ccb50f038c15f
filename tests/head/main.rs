//! The language-model head against logits that are written out, and against plain f64.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::missing_assert_message,
    reason = "a test may panic and compares bits where bits are promised"
)]

mod accuracy;
mod adapted;
mod adapter;
use dpo_kernel::verify::bounds;
mod case;
#[cfg(feature = "verify")]
mod derivatives;
mod forward;
mod grads;
mod hard;
#[path = "../common/measure.rs"]
mod measure;
mod negligible;
mod oracle;
mod own_states;
mod own_tiles;
mod quantised;
mod refusals;
mod shard;
mod stages;
#[cfg(all(feature = "alloc", feature = "rayon"))]
mod step;
mod trained;
mod unsound;
mod work;
