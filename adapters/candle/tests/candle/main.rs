//! The adapter against candle's own operations, in f64 and with bounds that are derived.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::float_cmp, reason = "where bits are due, or zeros")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers")]

mod case;
mod direct;
mod errors;
mod evaluation;
mod formulas;
mod graph;
mod head;
mod losses;
mod oracle;
mod storage;
mod unpaired;
