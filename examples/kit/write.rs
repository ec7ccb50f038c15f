//! Writes the cases of a plan.

use std::fs;
use std::path::Path;

use dpo_kernel::Element;
use dpo_kernel::verify::Transform;
use dpo_kernel::verify::kit::{Call, Format, Given, HeadGiven, PairsGiven, Plan, RowsGiven, Size};
use serde_json::{Value, json};

use super::Complaint;
use super::recorded::{FORMAT, digest};

/// Writes manifest and arrays; the number of cases.
pub(crate) fn cases<E: Element>(folder: &Path, plan: Plan) -> Result<usize, Complaint> {
    let complain = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(complain)?;
    // A folder with a manifest is whole: that of older cases goes first, the new one comes last.
    let manifest = folder.join("manifest.json");
    match fs::remove_file(&manifest) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(complain(error)),
        _ => {}
    }
    let mut cases = Vec::new();
    for call in plan.groups::<E>().flat_map(|group| group.calls) {
        cases.push(case(folder, &call)?);
    }
    let count = cases.len();
    let said = json!({
        "format": FORMAT,
        "seed": plan.seed,
        "size": if plan.size == Size::Full { "full" } else { "small" },
        "dtype": Format::of::<E>().name(),
        "digest": digest::<E>(plan),
        "cases": cases,
    });
    fs::write(&manifest, format!("{said:#}\n")).map_err(complain)?;
    Ok(count)
}

fn case<E: Element>(folder: &Path, call: &Call<E>) -> Result<Value, Complaint> {
    let mut case = match &call.given {
        Given::Rows(rows) => rows_case(folder, &call.name, rows),
        Given::Pairs(pairs) => pairs_case(folder, &call.name, pairs),
        Given::Head(head) => head_case(folder, &call.name, head),
    }?;
    if let Some(case) = case.as_object_mut() {
        case.insert("name".into(), call.name.clone().into());
        case.insert("input".into(), call.input.clone().into());
    }
    Ok(case)
}

fn rows_case<E: Element>(
    folder: &Path,
    name: &str,
    given: &RowsGiven<E>,
) -> Result<Value, Complaint> {
    let answer = |of: &str| format!("{name}.{of}");
    Ok(json!({
        "operation": "rows",
        "rows": given.rows(),
        "vocab": given.vocab,
        "stride": given.stride,
        "file": array(folder, &answer("logits"), &bytes(&given.logits))?,
        "transform": transform(&given.transform),
        "targets": targets(&given.targets),
        "ignore_index": target(given.ignore),
        "coefficients": given.coefficients,
        "answers": {
            "log_probs": answer("log_probs"),
            "log_z": answer("log_z"),
            "entropy": answer("entropy"),
            "argmax": answer("argmax"),
            "mean_logit": answer("mean_logit"),
            "log_sum_sq_probs": answer("log_sum_sq_probs"),
            "grads": answer("grads"),
        },
    }))
}

fn pairs_case(folder: &Path, name: &str, given: &PairsGiven) -> Result<Value, Complaint> {
    let lists = given.log_probs.iter().zip(&given.weights).zip(&given.offsets);
    let numbers = lists.flat_map(|((pair, &weight), &offset)| {
        [
            pair.policy_chosen,
            pair.policy_rejected,
            pair.reference_chosen,
            pair.reference_rejected,
            weight,
            offset,
        ]
    });
    let bytes: Vec<u8> = numbers.flat_map(f64::to_le_bytes).collect();
    Ok(json!({
        "operation": "pairs",
        "pairs": given.log_probs.len(),
        "beta": given.dpo.beta,
        "label_smoothing": given.dpo.label_smoothing,
        "file": array(folder, &format!("{name}.f64"), &bytes)?,
        "answers": { "pairs": format!("{name}.out") },
    }))
}

fn head_case<E: Element>(
    folder: &Path,
    name: &str,
    given: &HeadGiven<E>,
) -> Result<Value, Complaint> {
    let of = |of: &str| format!("{name}.{of}");
    let bias = given.bias.as_ref();
    let bias = bias.map(|bias| array(folder, &of("bias"), &bytes(bias))).transpose()?;
    Ok(json!({
        "operation": "head",
        "rows": given.targets.len(),
        "hidden_size": given.hidden_size,
        "vocab": given.vocab,
        "hidden": array(folder, &of("hidden"), &bytes(&given.hidden))?,
        "weight": array(folder, &of("weight"), &bytes(&given.weight))?,
        "bias": bias,
        "transform": transform(&given.transform),
        "targets": targets(&given.targets),
        "ignore_index": target(given.ignore),
        "coefficients": given.coefficients,
        "answers": {
            "log_probs": of("log_probs"),
            "log_z": of("log_z"),
            "d_hidden": of("d_hidden"),
        },
    }))
}

fn array(folder: &Path, name: &str, bytes: &[u8]) -> Result<String, Complaint> {
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(name.to_owned())
}

/// Little-endian, as the type stores them.
fn bytes<E: Element>(values: &[E]) -> Vec<u8> {
    values.iter().flat_map(|&x| super::recorded::to_bytes(x)).collect()
}

fn transform(transform: &Transform) -> Value {
    let Transform { scale, softcap, temperature } = transform;
    json!({ "scale": scale, "softcap": softcap, "temperature": temperature })
}

/// As trainers write them: the ignore target is −100.
fn targets(targets: &[u32]) -> Vec<i32> {
    targets.iter().map(|&id| target(id)).collect()
}

const fn target(id: u32) -> i32 {
    id.cast_signed()
}
