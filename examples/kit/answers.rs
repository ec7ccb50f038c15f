//! `answers.json`, and the arrays that it speaks of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dpo_kernel::verify::kit::{Format, Output, Precision, Unscored};
use dpo_kernel::{Element, bf16, f16};
use serde_json::Value;

use super::Complaint;
use super::fields::Field;
use super::{json, precision};

/// How an array of answers is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Float(Format),
    U32,
}

/// What a host says of its answers.
#[derive(Debug)]
pub(crate) struct Answers {
    folder: PathBuf,
    /// Of the cases that were answered.
    pub(crate) digest: String,
    pub(crate) backend: String,
    pub(crate) offers: Vec<Output>,
    pub(crate) unscored: Unscored,
    pub(crate) precision: Precision,
    types: BTreeMap<String, Type>,
    pub(crate) skipped: BTreeMap<String, String>,
    pub(crate) errors: BTreeMap<String, String>,
}

/// Reads a JSON file; complaints name it.
pub(crate) fn read_json(path: &Path) -> Result<Value, Complaint> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    serde_json::from_str(text).map_err(|error| {
        let (line, column, cause) = json::explain(text, &error);
        format!("{}: line {line}, column {column}: {cause}", path.display())
    })
}

impl Answers {
    /// Of a folder whose gradients have a storage type.
    pub(crate) fn open(folder: &Path, storage: Format) -> Result<Self, Complaint> {
        let path = folder.join("answers.json");
        let value = read_json(&path)?;
        Self::parse(&Field::root(&value), folder, storage)
            .map_err(|message| format!("{}: {message}", path.display()))
    }

    fn parse(root: &Field<'_>, folder: &Path, storage: Format) -> Result<Self, Complaint> {
        root.only(&[
            "digest",
            "backend",
            "offers",
            "types",
            "unscored",
            "precision",
            "skipped",
            "errors",
        ])?;
        let mut offers = Vec::new();
        for field in root.get("offers")?.list()? {
            let Some(output) = Output::from_name(field.text()?) else {
                let names: Vec<_> = Output::ALL.iter().map(|output| output.name()).collect();
                return field.complain(format!("none of {}", names.join(", ")));
            };
            if offers.contains(&output) {
                return field.complain(format!("{} is offered twice", output.name()));
            }
            offers.push(output);
        }
        let unscored = match root.optional("unscored") {
            None => Unscored::Untouched,
            Some(field) => match field.text()? {
                "untouched" => Unscored::Untouched,
                "zero" => Unscored::Zero,
                other => return field.complain(format!("`{other}` is none of untouched, zero")),
            },
        };
        let answers = Self {
            folder: folder.to_owned(),
            digest: root.get("digest")?.text()?.to_owned(),
            backend: root.get("backend")?.text()?.to_owned(),
            offers,
            unscored,
            precision: precision::parse(&root.get("precision")?)?,
            types: types(root, storage)?,
            skipped: messages(root, "skipped")?,
            errors: messages(root, "errors")?,
        };
        Ok(answers)
    }

    /// The numbers of an answer, exactly; complaints say which file and what is wrong.
    pub(crate) fn numbers(
        &self,
        call: &str,
        answer: &str,
        count: usize,
    ) -> Result<Vec<f64>, Complaint> {
        let Some(&of) = self.types.get(answer) else {
            return Err(format!("answers.json: types has no {answer}, which is offered"));
        };
        let file = file(call, answer);
        let bytes =
            fs::read(self.folder.join(&file)).map_err(|error| format!("{file}: {error}"))?;
        let size = if let Type::Float(format) = of { format.bytes() } else { 4 };
        if bytes.len() != count * size {
            let name = if let Type::Float(format) = of { format.name() } else { "u32" };
            let found = bytes.len();
            return Err(format!("{file}: {found} bytes where {count} {name} are needed"));
        }
        Ok(match of {
            Type::Float(Format::F64) => numbers(&bytes, f64::from_le_bytes),
            Type::Float(Format::F32) => numbers(&bytes, |x| f32::from_le_bytes(x).into()),
            Type::Float(Format::F16) => numbers(&bytes, |x| f16::from_le_bytes(x).to_f32().into()),
            Type::Float(Format::Bf16) => {
                numbers(&bytes, |x| bf16::from_le_bytes(x).to_f32().into())
            }
            Type::U32 => numbers(&bytes, |x| u32::from_le_bytes(x).into()),
        })
    }

    /// The elements of a gradient.
    pub(crate) fn elements<E: Element>(
        &self,
        call: &str,
        answer: &str,
        count: usize,
    ) -> Result<Vec<E>, Complaint> {
        // Each is a number of E, so that narrowing is exact.
        #[allow(clippy::cast_possible_truncation, reason = "they are numbers of f32 or less")]
        let narrow = |x: &f64| E::from_f32(*x as f32);
        Ok(self.numbers(call, answer, count)?.iter().map(narrow).collect())
    }
}

/// The file of an answer: that of a pair's inputs has the call's name too.
fn file(call: &str, answer: &str) -> String {
    format!("{call}.{}", if answer == "pairs" { "out" } else { answer })
}

fn numbers<const N: usize>(bytes: &[u8], from: fn([u8; N]) -> f64) -> Vec<f64> {
    let (chunks, _) = bytes.as_chunks();
    chunks.iter().map(|&chunk| from(chunk)).collect()
}

const NAMES: [&str; 9] = [
    "log_probs",
    "log_z",
    "entropy",
    "argmax",
    "mean_logit",
    "log_sum_sq_probs",
    "grads",
    "pairs",
    "d_hidden",
];

fn types(root: &Field<'_>, storage: Format) -> Result<BTreeMap<String, Type>, Complaint> {
    let field = root.get("types")?;
    field.only(&NAMES)?;
    let mut types = BTreeMap::new();
    for name in NAMES {
        let Some(of) = field.optional(name) else { continue };
        let found = match of.text()? {
            "u32" => Type::U32,
            _ => Type::Float(precision::format(&of)?),
        };
        if (name == "argmax") != (found == Type::U32) {
            return of.complain("argmax alone is u32");
        }
        if name == "grads" && found != Type::Float(storage) {
            return of.complain(format!("gradients have the cases' type, {}", storage.name()));
        }
        types.insert(name.to_owned(), found);
    }
    Ok(types)
}

fn messages(root: &Field<'_>, name: &str) -> Result<BTreeMap<String, String>, Complaint> {
    let Some(field) = root.optional(name) else { return Ok(BTreeMap::new()) };
    let mut messages = BTreeMap::new();
    for call in field.names()? {
        messages.insert(call.clone(), field.get(&call)?.text()?.to_owned());
    }
    Ok(messages)
}
