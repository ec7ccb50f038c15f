//! Dumps of our own, with the figures of the plain f64 reference.

use std::fs;
use std::path::Path;

use dpo_kernel::verify::{Batch, Dpo, Transform, log_prob, sequence_log_prob, transform_row};
use dpo_kernel::{Element, bf16, f16};
use serde_json::{Value, json};

const ROWS: usize = 9;
const VOCAB: usize = 37;
/// Three columns of padding, which hold NaN.
const STRIDE: usize = 40;
/// A row inside a span that is not scored.
const IGNORED: u32 = 7;
const TARGETS: [u32; ROWS] = [3, 0, IGNORED, 36, 12, 99, 5, 20, 31];
/// Row 5 is in none.
const SPANS: [(usize, usize); 4] = [(0, 2), (2, 4), (4, 5), (6, 9)];
/// Chosen and rejected.
const PAIRS: [(usize, usize); 2] = [(0, 1), (3, 2)];

/// A manifest and its logits, before they are written.
pub(crate) struct Dump {
    name: String,
    pub(crate) manifest: Value,
    pub(crate) logits: Vec<u8>,
}

impl Dump {
    /// A dump in a directory of its own.
    pub(crate) fn new(name: &str, dtype: &str) -> Self {
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut values = [f32::NAN; ROWS * STRIDE];
        for row in values.chunks_mut(STRIDE) {
            for x in &mut row[..VOCAB] {
                *x = 6.0 * uniform(&mut random) - 3.0;
            }
            // One masked column, and a token that has nearly all the mass.
            row[30] = f32::NEG_INFINITY;
            row[12] = 11.0;
        }
        let (logits, values) = match dtype {
            "f32" => stored::<f32, 4>(&values, f32::to_le_bytes),
            "f16" => stored::<f16, 2>(&values, f16::to_le_bytes),
            _ => stored::<bf16, 2>(&values, bf16::to_le_bytes),
        };
        // Values of f32, as a host stores them.
        let reference = [(); ROWS].map(|()| f64::from(-4.0 * uniform(&mut random)));
        let manifest = manifest(dtype, &values, &reference);
        Self { name: name.to_owned(), manifest, logits }
    }

    /// Writes both files; the path of the manifest.
    pub(crate) fn write(&self) -> String {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("replay").join(&self.name);
        fs::create_dir_all(&directory).unwrap();
        let dtype = self.manifest["dtype"].as_str().unwrap_or_default();
        let dtype = dtype.split(' ').next().unwrap_or_default();
        fs::write(directory.join(format!("logits.{dtype}")), &self.logits).unwrap();
        let path = directory.join("manifest.json");
        fs::write(&path, self.manifest.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// In [0, 1), by xorshift.
#[allow(clippy::cast_precision_loss, reason = "24 bits fit")]
fn uniform(state: &mut u64) -> f32 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 40) as f32 / (1 << 24) as f32
}

/// The bytes of values, and what is left of the values.
fn stored<E: Element, const N: usize>(x: &[f32], bytes: fn(E) -> [u8; N]) -> (Vec<u8>, Vec<f64>) {
    let x = || x.iter().map(|&x| E::from_f32(x));
    (x().flat_map(bytes).collect(), x().map(|x| f64::from(x.to_f32())).collect())
}

fn manifest(dtype: &str, logits: &[f64], reference: &[f64; ROWS]) -> Value {
    let sums = SPANS.map(|span| sequence_log_prob(reference, &TARGETS, IGNORED, None, span).sum);
    let batch = Batch {
        logits,
        vocab: VOCAB,
        stride: STRIDE,
        transform: Transform { scale: 0.5, softcap: Some(8.0), temperature: 1.25 },
        targets: &TARGETS,
        ignore: IGNORED,
        token_weights: None,
        spans: &SPANS,
        pairs: &PAIRS,
        reference: &sums,
        pair_weights: None,
        pair_offsets: None,
        dpo: Dpo { beta: 0.25, label_smoothing: 0.125 },
        divisor: 2.0,
    };
    let role = |pair: usize, sequence| {
        let (start, end) = SPANS[sequence];
        let role = if PAIRS[pair].0 == sequence { "chosen" } else { "rejected" };
        json!({ "start": start, "end": end, "pair": pair, "role": role })
    };
    json!({
        "source": "the plain reference",
        "file": format!("logits.{dtype}"),
        "dtype": format!("{dtype} little-endian"),
        "rows": ROWS,
        "vocab": VOCAB,
        "stride": STRIDE,
        "transform": { "scale": 0.5, "softcap": 8, "temperature": 1.25 },
        "targets": TARGETS,
        "ignore_index": IGNORED,
        "spans": [role(0, 0), role(0, 1), role(1, 2), role(1, 3)],
        "beta": 0.25,
        "label_smoothing": 0.125,
        "reference_token_logps": reference,
        "expected": expected(&batch),
    })
}

fn expected(batch: &Batch<'_>) -> Value {
    let (mut y, mut grads) = ([0.0; VOCAB], [0.0; ROWS * STRIDE]);
    batch.add_logit_grads(&mut y, &mut grads);
    let rows: Vec<_> = (0..ROWS).map(|row| &grads[row * STRIDE..][..VOCAB]).collect();
    let square = |g: &f64| g * g;
    let entry = |(row, column): (usize, usize)| json!([row, column, rows[row][column]]);
    // A target, another, a masked column, and a row without gradient.
    let entries = [(0, 3), (3, 12), (8, 31), (8, 0), (4, 12), (6, 30), (5, 1), (2, 2)].map(entry);
    let mut token = |row: usize| {
        let (target, _) = batch.scored(row).filter(|_| row != 5)?;
        transform_row(batch.row(row), &batch.transform, &mut y);
        Some(log_prob(&y, target))
    };
    let tokens: Vec<_> = (0..ROWS).map(&mut token).collect();
    let sequences = [0, 1, 2, 3].map(|i| batch.sequence_log_prob(i, &mut y));
    let losses = [0, 1].map(|pair| batch.pair(pair, &mut y).map(|pair| pair.loss));
    json!({
        "policy_token_logps": tokens,
        "policy_sequence_logps": sequences,
        "reference_sequence_logps": batch.reference,
        "pair_losses": losses,
        "loss": batch.loss(&mut y),
        "grad_l1": rows.iter().flat_map(|row| *row).map(|g| g.abs()).sum::<f64>(),
        "grad_l2": rows.iter().flat_map(|row| *row).map(square).sum::<f64>().sqrt(),
        "grad_entries": entries,
    })
}
