//! What a manifest says, checked as far as the crate's own checks do not reach.

use std::path::{Path, PathBuf};

use dpo_kernel::{Dpo, Error, IGNORE_INDEX, Pair, Span, Targets, Transform};

use super::fields::Field;
use super::json;
use super::storage::Type;

/// A batch as another framework saw it.
#[derive(Debug)]
pub(crate) struct Manifest {
    source: String,
    pub(crate) logits: PathBuf,
    pub(crate) dtype: Type,
    pub(crate) rows: usize,
    pub(crate) vocab: usize,
    pub(crate) stride: usize,
    pub(crate) transform: Parts,
    targets: Vec<u32>,
    ignore: u32,
    pub(crate) spans: Vec<Span>,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) dpo: Dpo,
    pub(crate) reference: Reference,
    pub(crate) expected: Expected,
    pub(crate) tolerances: Tolerances,
}

/// A transform as it is stated; one that a manifest states has been checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parts {
    pub(crate) scale: f32,
    pub(crate) softcap: Option<f32>,
    pub(crate) temperature: f32,
}

impl Parts {
    pub(crate) const NONE: Self = Self { scale: 1.0, softcap: None, temperature: 1.0 };

    pub(crate) fn transform(self) -> Result<Transform, Error> {
        Transform::new(self.scale, self.softcap, self.temperature)
    }
}

/// Log-probs under the frozen reference.
#[derive(Debug)]
pub(crate) enum Reference {
    Tokens(Vec<f32>),
    Sequences(Vec<f64>),
}

/// The other framework's figures.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) tokens: Option<Vec<f64>>,
    pub(crate) sequences: Option<Vec<f64>>,
    pub(crate) reference: Option<Vec<f64>>,
    pub(crate) losses: Option<Vec<f64>>,
    pub(crate) loss: Option<f64>,
    pub(crate) grad_l1: Option<f64>,
    pub(crate) grad_l2: Option<f64>,
    pub(crate) entries: Vec<Entry>,
}

/// One element of the gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) value: f64,
}

/// How far off a figure may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerances {
    pub(crate) token: f64,
    pub(crate) token_typical: f64,
    pub(crate) sequence: f64,
    pub(crate) loss: f64,
    pub(crate) norm: f64,
    pub(crate) entry: f64,
}

impl Manifest {
    /// Reads a file; complaints name it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path);
        let parsed = text.map_err(|error| error.to_string()).and_then(|text| {
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let value = serde_json::from_str(text).map_err(|error| {
                let (line, column, cause) = json::explain(text, &error);
                format!("no manifest: line {line}, column {column}: {cause}")
            })?;
            Self::parse(&Field::root(&value), path.parent().unwrap_or(Path::new("")))
        });
        parsed.map_err(|message| format!("{}: {message}", path.display()))
    }

    fn parse(root: &Field<'_>, directory: &Path) -> Result<Self, String> {
        root.only(&[
            "source",
            "file",
            "dtype",
            "rows",
            "vocab",
            "stride",
            "transform",
            "targets",
            "ignore_index",
            "spans",
            "beta",
            "label_smoothing",
            "reference_token_logps",
            "reference_sequence_logps",
            "expected",
            "tolerances",
        ])?;
        let (rows, vocab) = (root.get("rows")?.index()?, root.get("vocab")?.index()?);
        let stride = root.optional("stride").map_or(Ok(vocab), |field| field.index())?;
        let ignore = root.optional("ignore_index").map_or(Ok(IGNORE_INDEX), |f| f.token())?;
        let (spans, pairs) = sequences(&root.get("spans")?)?;
        let targets = targets(&root.get("targets")?, (rows, vocab), ignore, &spans)?;
        Ok(Self {
            source: root.optional("source").map_or(Ok(""), |field| field.text())?.to_owned(),
            logits: directory.join(root.get("file")?.text()?),
            dtype: Type::parse(&root.get("dtype")?)?,
            rows,
            vocab,
            stride,
            transform: root.optional("transform").map_or(Ok(Parts::NONE), |f| transform(&f))?,
            targets,
            ignore,
            dpo: dpo(root)?,
            reference: reference(root, rows, spans.len())?,
            expected: Expected::parse(root, (rows, vocab), spans.len(), pairs.len())?,
            tolerances: Tolerances::parse(root)?,
            spans,
            pairs,
        })
    }

    pub(crate) fn targets(&self) -> Targets<'_> {
        Targets::new(&self.targets).with_ignore(self.ignore)
    }

    /// The rows of a span that are scored.
    pub(crate) fn scored(&self, span: Span) -> impl Iterator<Item = usize> {
        (span.start..span.end).filter(|&row| self.targets().scored(row).is_some())
    }

    pub(crate) fn describe(&self) -> String {
        let Self { rows, vocab, .. } = self;
        let (sequences, pairs) = (self.spans.len(), self.pairs.len());
        let of = if self.source.is_empty() { String::new() } else { format!("\n{}", self.source) };
        format!(
            "{rows} rows of {vocab} in {}, {sequences} sequences, {pairs} pairs{of}",
            self.dtype.name()
        )
    }
}

/// A token for each row. Those of scored rows are held to the vocabulary here, because only here it
/// is known how they were written.
fn targets(
    field: &Field<'_>,
    (rows, vocab): (usize, usize),
    ignore: u32,
    spans: &[Span],
) -> Result<Vec<u32>, String> {
    let fields = field.list_of(rows)?;
    let targets = fields.iter().map(Field::token).collect::<Result<Vec<_>, _>>()?;
    let scored = |row: usize| spans.iter().any(|span| (span.start..span.end).contains(&row));
    for (row, (field, &target)) in fields.iter().zip(&targets).enumerate() {
        if target as usize >= vocab && target != ignore && scored(row) {
            let (target, ignore) = (signed(target), signed(ignore));
            return field.complain(format!(
                "{target} is not a token id below {vocab} (`vocab`); if it marks rows that are not \
                 scored, set `ignore_index` to {target} (it is {ignore})"
            ));
        }
    }
    Ok(targets)
}

/// An id as its framework writes it: the upper half of 32 bits is negative.
fn signed(id: u32) -> i64 {
    if id.cast_signed() < 0 { id.cast_signed().into() } else { id.into() }
}

/// Spans, and the pairs that their roles make.
fn sequences(field: &Field<'_>) -> Result<(Vec<Span>, Vec<Pair>), String> {
    let (mut spans, mut chosen, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    for (sequence, item) in field.list()?.iter().enumerate() {
        item.only(&["start", "end", "pair", "role"])?;
        spans.push(Span::new(item.get("start")?.index()?, item.get("end")?.index()?));
        let role = item.get("role")?;
        let of_role = match role.text()? {
            "chosen" => &mut chosen,
            "rejected" => &mut rejected,
            _ => return role.complain("neither chosen nor rejected"),
        };
        let pair = item.get("pair")?;
        let pair_index = pair.index()?;
        if of_role.iter().any(|&(other, _)| other == pair_index) {
            return pair.complain("the pair has this role already");
        }
        of_role.push((pair_index, sequence));
    }
    chosen.sort_unstable();
    rejected.sort_unstable();
    let both = chosen.iter().map(|&(pair, _)| pair).eq(rejected.iter().map(|&(pair, _)| pair));
    if chosen.is_empty() || !both || !chosen.iter().map(|&(pair, _)| pair).eq(0..chosen.len()) {
        return field.complain("each pair from 0 on needs one chosen and one rejected sequence");
    }
    let pairs = chosen.iter().zip(&rejected).map(|(&(_, c), &(_, r))| Pair::new(c, r)).collect();
    Ok((spans, pairs))
}

fn transform(field: &Field<'_>) -> Result<Parts, String> {
    field.only(&["scale", "softcap", "temperature"])?;
    let parameter = |name| field.optional(name).map(|x| x.single()).transpose();
    let (scale, temperature) = (parameter("scale")?, parameter("temperature")?);
    let parts = Parts {
        scale: scale.unwrap_or(1.0),
        softcap: parameter("softcap")?,
        temperature: temperature.unwrap_or(1.0),
    };
    parts.transform().map(|_| parts).or_else(|error| field.complain(error))
}

fn dpo(root: &Field<'_>) -> Result<Dpo, String> {
    let beta = root.get("beta")?;
    let dpo = Dpo::new(beta.number()?).or_else(|error| beta.complain(error))?;
    match root.optional("label_smoothing") {
        None => Ok(dpo),
        Some(e) => dpo.with_label_smoothing(e.number()?).or_else(|error| e.complain(error)),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "stored log-probs are f32")]
fn reference(root: &Field<'_>, rows: usize, sequences: usize) -> Result<Reference, String> {
    match (root.optional("reference_token_logps"), root.optional("reference_sequence_logps")) {
        (Some(tokens), None) => {
            let tokens = tokens.numbers_or_null(rows)?;
            Ok(Reference::Tokens(tokens.into_iter().map(|x| x as f32).collect()))
        }
        (None, Some(sums)) => Ok(Reference::Sequences(sums.numbers(sequences)?)),
        _ => root.complain("either reference_token_logps or reference_sequence_logps is needed"),
    }
}

impl Expected {
    fn parse(
        root: &Field<'_>,
        shape: (usize, usize),
        sequences: usize,
        pairs: usize,
    ) -> Result<Self, String> {
        let empty = serde_json::json!({});
        let field = root.optional("expected").unwrap_or(Field::root(&empty));
        field.only(&[
            "policy_token_logps",
            "policy_sequence_logps",
            "reference_sequence_logps",
            "pair_losses",
            "loss",
            "grad_l1",
            "grad_l2",
            "grad_entries",
        ])?;
        let number = |name| field.optional(name).map(|x| x.number()).transpose();
        let numbers = |name, length| field.optional(name).map(|x| x.numbers(length)).transpose();
        let tokens = field.optional("policy_token_logps");
        let entries = field.optional("grad_entries").map_or(Ok(Vec::new()), |x| x.list())?;
        Ok(Self {
            tokens: tokens.map(|x| x.numbers_or_null(shape.0)).transpose()?,
            sequences: numbers("policy_sequence_logps", sequences)?,
            reference: numbers("reference_sequence_logps", sequences)?,
            losses: numbers("pair_losses", pairs)?,
            loss: number("loss")?,
            grad_l1: number("grad_l1")?,
            grad_l2: number("grad_l2")?,
            entries: entries.iter().map(|x| entry(x, shape)).collect::<Result<_, _>>()?,
        })
    }
}

fn entry(field: &Field<'_>, (rows, vocab): (usize, usize)) -> Result<Entry, String> {
    let list = field.list_of(3)?;
    let [row, column, value] = list.as_slice() else { return field.complain("not three") };
    let found = Entry { row: row.index()?, column: column.index()?, value: value.number()? };
    if found.row < rows && found.column < vocab {
        Ok(found)
    } else {
        field.complain(format!("outside of {rows} rows of {vocab}"))
    }
}

impl Tolerances {
    fn parse(root: &Field<'_>) -> Result<Self, String> {
        let empty = serde_json::json!({});
        let field = root.optional("tolerances").unwrap_or(Field::root(&empty));
        let names = [
            "token_log_prob",
            "token_log_prob_typical",
            "sequence_log_prob",
            "loss",
            "grad_norm_relative",
            "grad_entry_relative",
        ];
        field.only(&names)?;
        let or = |name, default| field.optional(name).map_or(Ok(default), |x: Field<'_>| x.bound());
        let [token, token_typical, sequence, loss, norm, entry] = names;
        Ok(Self {
            token: or(token, 1e-5)?,
            token_typical: or(token_typical, 2e-6)?,
            sequence: or(sequence, 2e-6)?,
            loss: or(loss, 1e-6)?,
            norm: or(norm, 1e-5)?,
            entry: or(entry, 1e-5)?,
        })
    }
}
