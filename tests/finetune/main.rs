//! The main example from the inside: its reader, its command line, its backward pass, and a small
//! run.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]
#![allow(
    clippy::float_cmp,
    clippy::manual_midpoint,
    clippy::missing_assert_message,
    clippy::too_many_lines,
    clippy::type_complexity,
    reason = "a test compares bits where bits are promised, writes formulas as papers have them, and reads \
              a picture from one end to the other"
)]
#![allow(clippy::cast_precision_loss, reason = "test sizes are small")]

#[path = "../../examples/finetune/main.rs"]
#[allow(dead_code, reason = "the test leaves `main` and the defaults to the example itself")]
mod finetune;

mod batch;
mod comparison;
mod drawing;
mod figures;
mod forms;
mod head;
mod model;
mod objective;
mod options;
mod picture;
mod plain;
mod random;
mod reader;
mod runs;
mod sample;
mod split;
mod training;
mod twin;
mod values;

use finetune::jsonl::Pair;
use finetune::model::Shape;
use finetune::train::{Phase, Recipe};

const LINE: &str = r#"{"prompt":"p","chosen":"c","rejected":"r"}"#;

const SMALL: Phase = Phase { passes: 2, batch: 4, rate: 1e-2 };
const SMALL_RECIPE: Recipe = Recipe {
    shape: Shape { width: 8, hidden: 16, blocks: 1 },
    pretraining: SMALL,
    supervised: SMALL,
    preference: SMALL,
};

fn pair(prompt: &str, chosen: &str, rejected: &str) -> Pair {
    Pair { prompt: prompt.into(), chosen: chosen.into(), rejected: rejected.into() }
}
