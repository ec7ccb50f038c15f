//! What a run needs to go on: written whole after every step, before the step is reported.
//!
//! The order of the pairs follows from the seed and the number of steps, so neither is written but
//! the latter.

use std::path::Path;

use dpo_kernel_candle::dpo_kernel::SequenceLogProb;
use serde_json::{Value, json};

use crate::file::{self, Named};
use crate::lora::Adapter;
use crate::optimizer::AdamW;
use crate::report::Record;
use crate::{Outcome, fault};

/// What was done so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Each step.
    pub records: Vec<Record>,
    /// Steps and what the held-out pairs gave after them: loss, margin, accuracy.
    pub held_out: Vec<(usize, [f64; 3])>,
}

/// Writes everything.
///
/// # Errors
/// The file cannot be written.
pub fn write(
    path: &Path,
    settings: &Value,
    adapter: &Adapter,
    optimizer: &AdamW,
    reference: &[SequenceLogProb],
    progress: &Progress,
) -> Outcome {
    let mut all = adapter.named()?;
    let moments = optimizer.means.iter().zip(&optimizer.squares);
    for ((name, var), (mean, square)) in adapter.names().zip(adapter.vars()).zip(moments) {
        all.push(Named::new(format!("mean.{name}"), var.dims(), mean.clone())?);
        all.push(Named::new(format!("square.{name}"), var.dims(), square.clone())?);
    }
    let reference: Vec<Value> =
        reference.iter().map(|found| json!([found.sum, found.count])).collect();
    let records: Vec<Value> = progress.records.iter().map(Record::json).collect();
    let state = json!({
        "settings": settings,
        "reference": reference,
        "records": records,
        "held_out": progress.held_out,
    });
    file::write_with(path, &all, &[], &[("state", &state.to_string())])
}

/// The matrices, and all else.
fn parse(path: &Path) -> Outcome<(Vec<Named>, Value)> {
    let say = |what: &str| fault(format!("{}: {what}", path.display()));
    let (all, texts) = file::read(path)?;
    let state = texts.get("state").ok_or_else(|| say("no state"))?;
    Ok((all, serde_json::from_str(state).map_err(|error| say(&error.to_string()))?))
}

/// How many steps a state has.
///
/// # Errors
/// The file cannot be read.
pub fn steps(path: &Path) -> Outcome<usize> {
    let (_, state) = parse(path)?;
    let records = state.get("records").and_then(Value::as_array);
    Ok(records.ok_or_else(|| fault(format!("{}: no `records`", path.display())))?.len())
}

/// Takes up what was written: adapter and moments are set, log-probs and progress returned.
///
/// # Errors
/// The file cannot be read, or is of another run: which setting differs.
pub fn read(
    path: &Path,
    settings: &Value,
    adapter: &Adapter,
    optimizer: &mut AdamW,
) -> Outcome<(Vec<SequenceLogProb>, Progress)> {
    let say = |what: &str| fault(format!("{}: {what}", path.display()));
    let (all, state) = parse(path)?;
    for (key, wanted) in settings.as_object().into_iter().flatten() {
        let found = state.get("settings").and_then(|settings| settings.get(key));
        if found != Some(wanted) {
            let found = found.unwrap_or(&Value::Null);
            return Err(say(&format!("`{key}` was {found} when it was written, and is {wanted}")));
        }
    }
    adapter.load(&all).map_err(|error| say(&error.to_string()))?;
    let moments = optimizer.means.iter_mut().zip(&mut optimizer.squares);
    for (name, (mean, square)) in adapter.names().zip(moments) {
        for (kind, place) in [("mean", mean), ("square", square)] {
            let name = format!("{kind}.{name}");
            let named = all.iter().find(|named| named.name == name);
            let named = named.filter(|named| named.data.len() == place.len());
            place.clone_from(&named.ok_or_else(|| say(&format!("no `{name}`")))?.data);
        }
    }
    let items = |key: &str| {
        let items = state.get(key).and_then(Value::as_array);
        items.ok_or_else(|| say(&format!("no `{key}`")))
    };
    let log_prob = |item: &Value| {
        let count = usize::try_from(item.get(1)?.as_u64()?).ok()?;
        Some(SequenceLogProb { sum: item.get(0)?.as_f64()?, count })
    };
    let reference = items("reference")?.iter().map(log_prob).collect::<Option<Vec<_>>>();
    let reference = reference.ok_or_else(|| say("broken log-probs"))?;
    let records = items("records")?.iter().map(Record::parse).collect::<Option<Vec<_>>>();
    let records = records.ok_or_else(|| say("broken records"))?;
    let held_out = state.get("held_out").cloned().map(serde_json::from_value);
    let held_out = held_out.transpose()?.ok_or_else(|| say("no `held_out`"))?;
    optimizer.steps = u32::try_from(records.len())?;
    Ok((reference, Progress { records, held_out }))
}
