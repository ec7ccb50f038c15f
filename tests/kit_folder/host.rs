//! A host in f64 that reads cases and writes answers, and knows nothing of the kit but its format.

use std::fs;
use std::path::Path;

use dpo_kernel::verify::{
    self, Dpo, PairLogProbs, Transform, argmax, entropy, log_prob, log_sum_exp, log_sum_sq_probs,
    mean_logit, transform_row,
};
use dpo_kernel::{bf16, f16};
use serde_json::{Value, json};

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NoTemperature,
    WritesPadding,
    SwapsPairs,
    NoBias,
    /// Log-probs differ in their last digits by the row's place.
    DependsOnRow,
    /// In one call.
    Fails,
    /// All cases but every 25th.
    SkipsMost,
}

struct Host<'a> {
    cases: &'a Path,
    answers: &'a Path,
    dtype: &'a str,
    fault: Option<Fault>,
}

/// Answers all cases of a folder.
pub(crate) fn answer(cases: &Path, answers: &Path, fault: Option<Fault>) {
    let text = fs::read_to_string(cases.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["format"], "dpo-kernel-kit 1");
    fs::create_dir_all(answers).unwrap();
    let host = Host { cases, answers, dtype: manifest["dtype"].as_str().unwrap(), fault };
    for case in manifest["cases"].as_array().unwrap() {
        match case["operation"].as_str().unwrap() {
            "rows" => host.rows(case),
            "pairs" => host.pairs(case),
            "head" => host.head(case),
            other => panic!("no operation {other}"),
        }
    }
    let names = manifest["cases"].as_array().unwrap().iter().map(|case| case["name"].as_str());
    let skips = |i: usize, name: &str| match fault {
        Some(Fault::SkipsMost) => !i.is_multiple_of(25),
        _ => name == "head-0003",
    };
    let skipped: serde_json::Map<String, Value> = names
        .flatten()
        .enumerate()
        .filter(|&(i, name)| skips(i, name))
        .map(|(_, name)| (name.to_owned(), "not today".into()))
        .collect();
    let errors =
        if fault == Some(Fault::Fails) { json!({"rows-0001": "out of memory"}) } else { json!({}) };
    // What f32 rounds hides which row it was.
    let output = if fault == Some(Fault::DependsOnRow) { "f32" } else { "f64" };
    let said = json!({
        "digest": manifest["digest"],
        "backend": "f64 by hand",
        "offers": [
            "log_prob", "log_z", "entropy", "argmax", "mean_logit", "log_sum_sq_probs",
            "logit_grads", "pair_loss", "head_log_prob", "head_log_z", "hidden_grads",
        ],
        "types": {
            "log_probs": "f64", "log_z": "f64", "entropy": "f64", "argmax": "u32",
            "mean_logit": "f64", "log_sum_sq_probs": "f64", "grads": host.dtype, "pairs": "f64",
            "d_hidden": "f64",
        },
        "unscored": "untouched",
        "precision": {
            "arithmetic": "f64", "output": output, "target": "apart", "difference": "shifted",
        },
        "skipped": skipped,
        "errors": errors,
    });
    fs::write(answers.join("answers.json"), said.to_string()).unwrap();
}

impl Host<'_> {
    fn read(&self, name: &Value, dtype: &str) -> Vec<f64> {
        let bytes = fs::read(self.cases.join(name.as_str().unwrap())).unwrap();
        match dtype {
            "f64" => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            "f32" => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            "f16" => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f64()).collect(),
            _ => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f64()).collect(),
        }
    }

    fn write(&self, case: &Value, answer: &str, values: &[f64]) {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.write_bytes(case, answer, &bytes);
    }

    fn write_bytes(&self, case: &Value, answer: &str, bytes: &[u8]) {
        let name = case["answers"][answer].as_str().unwrap();
        fs::write(self.answers.join(name), bytes).unwrap();
    }

    fn transform(&self, case: &Value) -> Transform {
        let transform = &case["transform"];
        let temperature = transform["temperature"].as_f64().unwrap();
        Transform {
            scale: transform["scale"].as_f64().unwrap(),
            softcap: transform["softcap"].as_f64(),
            temperature: if self.fault == Some(Fault::NoTemperature) { 1.0 } else { temperature },
        }
    }

    fn rows(&self, case: &Value) {
        let number = |name: &str| case[name].as_u64().unwrap() as usize;
        let (rows, vocab, stride) = (number("rows"), number("vocab"), number("stride"));
        let logits = self.read(&case["file"], self.dtype);
        assert_eq!(logits.len(), rows * stride);
        let transform = self.transform(case);
        let mut figures = vec![vec![f64::NAN; rows]; 5];
        let mut largest = vec![0_u32; rows];
        let mut grads = vec![f64::NAN; rows * stride];
        for row in 0..rows {
            if case["targets"][row] == case["ignore_index"] {
                continue;
            }
            let target = case["targets"][row].as_u64().unwrap() as usize;
            let x = &logits[row * stride..][..vocab];
            let mut y = vec![0.0; vocab];
            transform_row(x, &transform, &mut y);
            figures[0][row] = log_prob(&y, target);
            if self.fault == Some(Fault::DependsOnRow) && figures[0][row].is_finite() {
                figures[0][row] *= 1.0 + 1e-9 * (row % 6) as f64;
            }
            figures[1][row] = log_sum_exp(&y);
            figures[2][row] = entropy(&y);
            figures[3][row] = mean_logit(&y);
            figures[4][row] = log_sum_sq_probs(&y);
            largest[row] = argmax(&y).unwrap_or_default() as u32;
            let c = case["coefficients"][row].as_f64().unwrap();
            let to = &mut grads[row * stride..][..vocab];
            verify::logit_grads(x, &transform, target, c, to);
            if c == 0.0 {
                to.fill(0.0);
            }
            if self.fault == Some(Fault::WritesPadding) {
                grads[row * stride + vocab..(row + 1) * stride].fill(0.5);
            }
        }
        let names = ["log_probs", "log_z", "entropy", "mean_logit", "log_sum_sq_probs"];
        for (name, list) in names.into_iter().zip(&figures) {
            self.write(case, name, list);
        }
        let bytes: Vec<u8> = largest.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.write_bytes(case, "argmax", &bytes);
        let bytes: Vec<u8> = match self.dtype {
            "f32" => grads.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            "f16" => grads.iter().flat_map(|&x| f16::from_f32(x as f32).to_le_bytes()).collect(),
            _ => grads.iter().flat_map(|&x| bf16::from_f32(x as f32).to_le_bytes()).collect(),
        };
        self.write_bytes(case, "grads", &bytes);
    }

    fn pairs(&self, case: &Value) {
        let dpo = Dpo {
            beta: case["beta"].as_f64().unwrap(),
            label_smoothing: case["label_smoothing"].as_f64().unwrap(),
        };
        let numbers = self.read(&case["file"], "f64");
        let one = |&[c, r, rc, rr, weight, offset]: &[f64; 6]| {
            let (c, r, rc, rr) =
                if self.fault == Some(Fault::SwapsPairs) { (r, c, rr, rc) } else { (c, r, rc, rr) };
            let pair = PairLogProbs {
                policy_chosen: c,
                policy_rejected: r,
                reference_chosen: rc,
                reference_rejected: rr,
            };
            let p = verify::preference_loss(&dpo, &pair, weight, offset);
            let d = [p.d_chosen, p.d_rejected];
            let d = if self.fault == Some(Fault::SwapsPairs) { [d[1], d[0]] } else { d };
            [p.loss, p.reward_chosen, p.reward_rejected, p.margin, d[0], d[1]]
        };
        let (pairs, _) = numbers.as_chunks();
        let figures: Vec<f64> = pairs.iter().flat_map(one).collect();
        self.write(case, "pairs", &figures);
    }

    fn head(&self, case: &Value) {
        let number = |name: &str| case[name].as_u64().unwrap() as usize;
        let (rows, size, vocab) = (number("rows"), number("hidden_size"), number("vocab"));
        let hidden = self.read(&case["hidden"], self.dtype);
        let weight = self.read(&case["weight"], self.dtype);
        let bias = (!case["bias"].is_null() && self.fault != Some(Fault::NoBias))
            .then(|| self.read(&case["bias"], self.dtype));
        let transform = self.transform(case);
        let mut figures = vec![vec![f64::NAN; rows]; 2];
        let mut d_hidden = vec![f64::NAN; rows * size];
        for row in 0..rows {
            if case["targets"][row] == case["ignore_index"] {
                continue;
            }
            let target = case["targets"][row].as_u64().unwrap() as usize;
            let h = &hidden[row * size..][..size];
            let x: Vec<f64> = (0..vocab)
                .map(|j| {
                    let w = &weight[j * size..][..size];
                    let product: f64 = h.iter().zip(w).map(|(h, w)| h * w).sum();
                    product + bias.as_ref().map_or(0.0, |bias| bias[j])
                })
                .collect();
            let mut y = vec![0.0; vocab];
            transform_row(&x, &transform, &mut y);
            figures[0][row] = log_prob(&y, target);
            figures[1][row] = log_sum_exp(&y);
            let mut dx = vec![0.0; vocab];
            let c = case["coefficients"][row].as_f64().unwrap();
            verify::logit_grads(&x, &transform, target, c, &mut dx);
            for (k, d) in d_hidden[row * size..][..size].iter_mut().enumerate() {
                *d = dx.iter().enumerate().map(|(j, g)| g * weight[j * size + k]).sum();
            }
        }
        self.write(case, "log_probs", &figures[0]);
        self.write(case, "log_z", &figures[1]);
        self.write(case, "d_hidden", &d_hidden);
    }
}
