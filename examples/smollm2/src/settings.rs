//! What a run was started with: a state is gone on with only by the same.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use crate::args::{Options, Order, Schedule};
use crate::batch::{Example, Examples};
use crate::lora::Projection;
use crate::{Outcome, fault};

/// Everything that a result depends on, by the names of the options.
///
/// # Errors
/// The model's file cannot be read.
pub(crate) fn of(options: &Options, steps: usize, examples: &Examples) -> Outcome<Value> {
    let model = digest(&options.model)?;
    let mut data = Digest::default();
    for Example { prompt, chosen, rejected } in examples.train.iter().chain(&examples.held_out) {
        for part in [prompt, chosen, rejected] {
            for token in part {
                data.add(&token.to_le_bytes());
            }
            data.add(&u32::MAX.to_le_bytes());
        }
    }
    let targets: Vec<_> = options.plan.targets.iter().copied().map(Projection::name).collect();
    Ok(json!({
        "model": format!("{model:016x}"),
        "data": format!("{:016x}", data.0),
        "hold-out": options.hold_out,
        "steps": steps,
        "batch": options.batch,
        "micro-batch": options.micro_batch,
        "lr": options.rate,
        "schedule": match options.schedule {
            Schedule::Linear => "linear",
            Schedule::Constant => "constant",
        },
        "beta": options.beta,
        "clip": options.clip,
        "rank": options.plan.rank,
        "alpha": options.plan.alpha,
        "targets": targets.join(","),
        "order": match options.order {
            Order::Shuffled => "shuffled",
            Order::File => "file",
        },
        "seed": options.seed,
    }))
}

/// FNV-1a: which file it was, not a proof of it.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn digest(path: &Path) -> Outcome<u64> {
    let say = |error: std::io::Error| fault(format!("{}: {error}", path.display()));
    let (mut file, mut digest) = (File::open(path).map_err(say)?, Digest::default());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(say)? {
            0 => return Ok(digest.0),
            count => digest.add(buffer.get(..count).unwrap_or_default()),
        }
    }
}
