//! The manifest and the logits beside it, read and checked field by field.

use std::fs;
use std::path::Path;

use dpo_kernel::{IGNORE_INDEX, Pair, Span, Transform, bf16, f16};
use serde_json::Value;

/// A dump, as its manifest describes it.
pub struct Manifest {
    file: String,
    dtype: String,
    pub rows: usize,
    pub vocab: usize,
    pub stride: usize,
    pub transform: Transform,
    pub targets: Vec<u32>,
    pub ignore: u32,
    pub spans: Vec<Span>,
    pub pairs: Vec<Pair>,
    pub reference: Reference,
    pub beta: f64,
    pub label_smoothing: f64,
    pub expected: Expected,
    pub tolerances: Tolerances,
}

/// Reference log-probs, stored either way.
pub enum Reference {
    Tokens(Vec<f32>),
    Sequences(Vec<f64>),
}

/// What the other framework found.
#[derive(Default)]
pub struct Expected {
    pub tokens: Option<Vec<Option<f64>>>,
    pub sequences: Option<Vec<f64>>,
    pub reference_sequences: Option<Vec<f64>>,
    pub pair_losses: Option<Vec<f64>>,
    pub loss: Option<f64>,
    pub grad_l1: Option<f64>,
    pub grad_l2: Option<f64>,
    pub grad_entries: Vec<(usize, usize, f64)>,
}

/// How far a figure may be off.
pub struct Tolerances {
    pub token: f64,
    pub sequence: f64,
    pub loss: f64,
    pub grad_norm: f64,
    pub grad_entry: f64,
}

/// The logits in their own type.
pub enum Data {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Data {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::F32(_) => "f32",
            Self::F16(_) => "f16",
            Self::Bf16(_) => "bf16",
        }
    }
}

/// A field of an object with its path, for messages.
struct Field<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Field<'a> {
    fn opt(&self, name: &str) -> Option<Field<'a>> {
        let value = self.value.get(name).filter(|v| !v.is_null())?;
        Some(Field { value, path: format!("{}{name}", self.prefix()) })
    }

    fn get(&self, name: &str) -> Result<Field<'a>, String> {
        self.opt(name).ok_or_else(|| format!("`{}{name}` is missing", self.prefix()))
    }

    fn prefix(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!("{}.", self.path) }
    }

    fn wrong(&self, what: &str) -> String {
        format!("`{}` is not {what}", self.path)
    }

    fn string(&self) -> Result<&'a str, String> {
        self.value.as_str().ok_or_else(|| self.wrong("a string"))
    }

    fn number(&self) -> Result<f64, String> {
        self.value.as_f64().ok_or_else(|| self.wrong("a number"))
    }

    #[allow(clippy::cast_possible_truncation, reason = "parameters are f32 in the crate")]
    fn single(&self) -> Result<f32, String> {
        Ok(self.number()? as f32)
    }

    fn index(&self) -> Result<usize, String> {
        let index = self.value.as_u64().and_then(|x| usize::try_from(x).ok());
        index.ok_or_else(|| self.wrong("a count"))
    }

    /// A token id; −100 and its like as trainers write them wrap to u32.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked")]
    fn id(&self) -> Result<u32, String> {
        let id = self.value.as_i64().ok_or_else(|| self.wrong("a token id"))?;
        match id {
            0..=0xffff_ffff => Ok(id as u32),
            -0x8000_0000..0 => Ok(id as i32 as u32),
            _ => Err(self.wrong("a token id")),
        }
    }

    fn list<T>(
        &self,
        length: Option<usize>,
        read: impl Fn(Field<'a>) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let values = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        if let Some(length) = length.filter(|&length| length != values.len()) {
            let found = values.len();
            return Err(format!("`{}` has {found} entries where {length} are needed", self.path));
        }
        let field = |(i, value)| Field { value, path: format!("{}[{i}]", self.path) };
        values.iter().enumerate().map(field).map(read).collect()
    }

    fn numbers(&self, length: usize) -> Result<Vec<f64>, String> {
        self.list(Some(length), |field| field.number())
    }
}

/// `Option<Field>` to `Option<T>`, errors out.
fn read<'a, T>(
    field: Option<Field<'a>>,
    read: impl FnOnce(&Field<'a>) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match field {
        Some(field) => read(&field).map(Some),
        None => Ok(None),
    }
}

impl Manifest {
    /// Reads a manifest; errors name the file and the field.
    pub fn read(path: &Path) -> Result<Self, String> {
        let named = |message: String| format!("{}: {message}", path.display());
        let text = fs::read_to_string(path).map_err(|e| named(e.to_string()))?;
        let value: Value = serde_json::from_str(&text).map_err(|e| named(e.to_string()))?;
        Self::from_json(&value).map_err(named)
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let top = Field { value, path: String::new() };
        let rows = top.get("rows")?.index()?;
        let vocab = top.get("vocab")?.index()?;
        let stride = read(top.opt("stride"), Field::index)?.unwrap_or(vocab);
        let entries = top.get("spans")?.list(None, |field| {
            let span = Span::new(field.get("start")?.index()?, field.get("end")?.index()?);
            let role = field.get("role")?;
            let chosen = match role.string()? {
                "chosen" => true,
                "rejected" => false,
                _ => return Err(role.wrong("`chosen` or `rejected`")),
            };
            Ok((span, field.get("pair")?.index()?, chosen))
        })?;
        let spans: Vec<_> = entries.iter().map(|&(span, ..)| span).collect();
        let reference = if let Some(field) = top.opt("reference_token_logps") {
            Reference::Tokens(field.list(Some(rows), |field| field.single())?)
        } else {
            let field = top
                .opt("reference_sequence_logps")
                .ok_or("`reference_token_logps` or `reference_sequence_logps` is missing")?;
            Reference::Sequences(field.numbers(spans.len())?)
        };
        Ok(Self {
            file: top.get("file")?.string()?.to_string(),
            dtype: top.get("dtype")?.string()?.to_string(),
            rows,
            vocab,
            stride,
            transform: transform(top.opt("transform").as_ref())?,
            targets: top.get("targets")?.list(Some(rows), |field| field.id())?,
            ignore: read(top.opt("ignore_index"), Field::id)?.unwrap_or(IGNORE_INDEX),
            pairs: pairs(&entries)?,
            reference,
            beta: top.get("beta")?.number()?,
            label_smoothing: read(top.opt("label_smoothing"), Field::number)?.unwrap_or(0.0),
            expected: expected(top.opt("expected").as_ref(), rows, spans.len())?,
            tolerances: tolerances(top.opt("tolerances").as_ref())?,
            spans,
        })
    }

    /// Reads the logits beside the manifest.
    pub fn read_logits(&self, manifest: &Path) -> Result<Data, String> {
        let path = manifest.with_file_name(&self.file);
        let named = |message: String| format!("{}: {message}", path.display());
        let bytes = fs::read(&path).map_err(|e| named(e.to_string()))?;
        let size = match &self.dtype {
            t if t.starts_with("f32") => 4,
            t if t.starts_with("f16") || t.starts_with("bf16") => 2,
            t => return Err(named(format!("`dtype` is `{t}`, not f32, f16 or bf16"))),
        };
        let needed = self.rows.checked_mul(self.stride).and_then(|n| n.checked_mul(size));
        if needed != Some(bytes.len()) {
            let (found, rows, stride) = (bytes.len(), self.rows, self.stride);
            return Err(named(format!(
                "{found} bytes are not {rows} rows of {stride} elements of {size} bytes"
            )));
        }
        let (words, _) = bytes.as_chunks::<2>();
        Ok(if size == 4 {
            Data::F32(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
        } else if self.dtype.starts_with('b') {
            Data::Bf16(words.iter().map(|&b| bf16::from_le_bytes(b)).collect())
        } else {
            Data::F16(words.iter().map(|&b| f16::from_le_bytes(b)).collect())
        })
    }
}

fn transform(field: Option<&Field<'_>>) -> Result<Transform, String> {
    let Some(field) = field else { return Ok(Transform::NONE) };
    let scale = read(field.opt("scale"), Field::single)?.unwrap_or(1.0);
    let softcap = read(field.opt("softcap"), Field::single)?;
    let temperature = read(field.opt("temperature"), Field::single)?.unwrap_or(1.0);
    Transform::new(scale, softcap, temperature).map_err(|e| format!("`transform`: {e}"))
}

/// Sequences by pair and role: each pair needs one of each.
fn pairs(entries: &[(Span, usize, bool)]) -> Result<Vec<Pair>, String> {
    let count = entries.iter().map(|&(_, pair, _)| pair + 1).max().unwrap_or(0);
    let find = |pair, role: bool| {
        let name = if role { "chosen" } else { "rejected" };
        let mut found =
            entries.iter().enumerate().filter(|(_, e)| e.1 == pair && e.2 == role).map(|(i, _)| i);
        match (found.next(), found.next()) {
            (Some(i), None) => Ok(i),
            (None, _) => Err(format!("`spans`: pair {pair} has no {name} sequence")),
            _ => Err(format!("`spans`: pair {pair} has several {name} sequences")),
        }
    };
    if count > entries.len() {
        return Err(format!("`spans`: pairs are not numbered from 0 to {}", entries.len() / 2));
    }
    (0..count).map(|pair| Ok(Pair::new(find(pair, true)?, find(pair, false)?))).collect()
}

fn expected(field: Option<&Field<'_>>, rows: usize, spans: usize) -> Result<Expected, String> {
    let Some(field) = field else { return Ok(Expected::default()) };
    let entry = |field: Field<'_>| match field.value.as_array().map(Vec::as_slice) {
        Some([row, column, value]) => {
            let at = |value, i| Field { value, path: format!("{}[{i}]", field.path) };
            Ok((at(row, 0).index()?, at(column, 1).index()?, at(value, 2).number()?))
        }
        _ => Err(field.wrong("[row, column, value]")),
    };
    Ok(Expected {
        tokens: read(field.opt("policy_token_logps"), |f| {
            f.list(Some(rows), |f| if f.value.is_null() { Ok(None) } else { f.number().map(Some) })
        })?,
        sequences: read(field.opt("policy_sequence_logps"), |f| f.numbers(spans))?,
        reference_sequences: read(field.opt("reference_sequence_logps"), |f| f.numbers(spans))?,
        pair_losses: read(field.opt("pair_losses"), |f| f.list(None, |f| f.number()))?,
        loss: read(field.opt("loss"), Field::number)?,
        grad_l1: read(field.opt("grad_l1"), Field::number)?,
        grad_l2: read(field.opt("grad_l2"), Field::number)?,
        grad_entries: read(field.opt("grad_entries"), |f| f.list(None, entry))?.unwrap_or_default(),
    })
}

fn tolerances(field: Option<&Field<'_>>) -> Result<Tolerances, String> {
    let of = |name, default| {
        let given = match field {
            Some(field) => read(field.opt(name), Field::number)?,
            None => None,
        };
        Ok::<f64, String>(given.unwrap_or(default))
    };
    Ok(Tolerances {
        token: of("token_log_prob", 1e-5)?,
        sequence: of("sequence_log_prob", 1e-4)?,
        loss: of("loss", 1e-6)?,
        grad_norm: of("grad_norm", 1e-5)?,
        grad_entry: of("grad_entry", 1e-5)?,
    })
}
