//! A dump: what one engine found for a list of tokens, whatever the file that holds it.

use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use dpo_kernel::IGNORE_INDEX;

use super::array::{Array, Kind, complaint};
use super::manifest::{Manifest, Parts};
use super::storage::LogitsFile;
use super::{npy, tensors};

/// T tokens, and their log-probs or what these are made of.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) path: PathBuf,
    pub(crate) source: Source,
    /// One target a row; negative ones mark rows that are not scored.
    pub(crate) tokens: Option<Vec<i64>>,
    pub(crate) positions: Option<Vec<i64>>,
    /// Rows of each sequence; rows of none are not scored.
    pub(crate) spans: Option<Vec<Range<usize>>>,
}

#[derive(Debug)]
pub(crate) enum Source {
    LogProbs(Vec<f64>),
    Logits(Logits),
}

/// Logits in a file, and the transform that is applied to them.
#[derive(Clone, Debug)]
pub(crate) struct Logits {
    pub(crate) rows: LogitsFile,
    pub(crate) vocab: usize,
    pub(crate) parts: Parts,
}

impl Logits {
    /// Without padding and as they are.
    fn of(rows: LogitsFile) -> Self {
        Self { vocab: rows.stride, rows, parts: Parts::NONE }
    }
}

/// What the command line says of one side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) tokens: Option<PathBuf>,
    pub(crate) positions: Option<PathBuf>,
    pub(crate) scale: Option<f32>,
    pub(crate) softcap: Option<f32>,
    pub(crate) temperature: Option<f32>,
}

impl Said {
    fn parts(&self) -> Parts {
        Parts {
            scale: self.scale.unwrap_or(1.0),
            softcap: self.softcap,
            temperature: self.temperature.unwrap_or(1.0),
        }
    }
}

impl Dump {
    /// Opens a file by the end of its name. `bf16` says what two bytes without a type are; whether
    /// it was of use comes back with the dump.
    pub(crate) fn open(path: &Path, said: &Said, bf16: bool) -> Result<(Self, bool), String> {
        let extension = path.extension().and_then(|x| x.to_str()).map(str::to_ascii_lowercase);
        let (mut dump, used) = match extension.as_deref() {
            Some("npy") => Self::of_npy(path, said, bf16)?,
            Some("safetensors") => (Self::of_tensors(path)?, false),
            Some("json") => (Self::of_manifest(path)?, false),
            _ => {
                let what = "a dump is a .npy, .safetensors or .json (manifest) file";
                return Err(complaint(path, None, what));
            }
        };
        if extension.as_deref() != Some("npy")
            && (said.tokens.is_some() || said.positions.is_some())
        {
            let what = "--tokens and --positions are for .npy files: this one names its own";
            return Err(complaint(path, None, what));
        }
        dump.apply(said)?;
        dump.check()?;
        Ok((dump, used))
    }

    fn of_npy(path: &Path, said: &Said, bf16: bool) -> Result<(Self, bool), String> {
        let mut array = npy::open(path)?;
        let used = bf16 && matches!(array.kind, Kind::Raw2 | Kind::U16);
        if used {
            array.kind = Kind::Bf16;
        }
        let source = match array.shape.len() {
            1 => Source::LogProbs(array.floats()?),
            2 => Source::Logits(Logits::of(array.rows()?)),
            _ => {
                let shape = &array.shape;
                return array
                    .complain(format!("shape {shape:?}: [T] are log-probs, [T, V] logits"));
            }
        };
        let whole = |path: &PathBuf| {
            let array = npy::open(path)?;
            array.length()?;
            array.integers()
        };
        let tokens = said.tokens.as_ref().map(whole).transpose()?;
        let positions = said.positions.as_ref().map(whole).transpose()?;
        Ok((Self { path: path.to_owned(), source, tokens, positions, spans: None }, used))
    }

    fn of_tensors(path: &Path) -> Result<Self, String> {
        const KNOWN: [&str; 5] = ["log_probs", "logits", "tokens", "positions", "spans"];
        let all = tensors::open(path, &KNOWN)?;
        let find = |name: &str| all.iter().find(|array| array.name.as_deref() == Some(name));
        let whole = |name| {
            let flat = |array: &Array| array.length().and_then(|_| array.integers());
            find(name).map(flat).transpose()
        };
        let source = match (find("log_probs"), find("logits")) {
            (Some(array), None) => Source::LogProbs(array.floats()?),
            (None, Some(array)) => Source::Logits(Logits::of(array.rows()?)),
            (found, _) => {
                let found = found.map_or("neither", |_| "both");
                let what = format!("either log_probs or logits is needed, {found} are there");
                return Err(complaint(path, None, what));
            }
        };
        let spans = find("spans").map(spans).transpose()?;
        let (tokens, positions) = (whole("tokens")?, whole("positions")?);
        Ok(Self { path: path.to_owned(), source, tokens, positions, spans })
    }

    fn of_manifest(path: &Path) -> Result<Self, String> {
        let manifest = Manifest::read(path)?;
        let targets = manifest.targets();
        let token = |row| targets.scored(row).map_or(-1, i64::from);
        let spans = manifest.spans.iter().map(|span| span.start..span.end).collect();
        Ok(Self {
            path: path.to_owned(),
            tokens: Some((0..manifest.rows).map(token).collect()),
            positions: None,
            spans: Some(spans),
            source: Source::Logits(Logits {
                rows: LogitsFile::of(&manifest)?,
                vocab: manifest.vocab,
                parts: manifest.transform,
            }),
        })
    }

    /// The transform of the command line, where the dump has logits and states none itself.
    fn apply(&mut self, said: &Said) -> Result<(), String> {
        let parts = said.parts();
        if parts == Parts::NONE {
            return Ok(());
        }
        let complain = |what: &str| Err(complaint(&self.path, None, what));
        match &mut self.source {
            Source::LogProbs(_) => complain("a scale, softcap or temperature needs logits"),
            Source::Logits(logits) if logits.parts != Parts::NONE => {
                complain("its manifest states a transform: none can be given beside it")
            }
            Source::Logits(logits) => match parts.transform() {
                Ok(_) => {
                    logits.parts = parts;
                    Ok(())
                }
                Err(error) => complain(&error.to_string()),
            },
        }
    }

    fn check(&self) -> Result<(), String> {
        let length = self.len();
        let complain = |what: String| Err(complaint(&self.path, None, what));
        if length == 0 {
            return complain("it holds no tokens".to_owned());
        }
        for (name, found) in [("tokens", &self.tokens), ("positions", &self.positions)] {
            if let Some(found) = found.as_ref().filter(|found| found.len() != length) {
                return complain(format!("{} {name} where {length} are needed", found.len()));
            }
        }
        if let Some(spans) = &self.spans {
            let mut sorted = spans.clone();
            sorted.sort_unstable_by_key(|span| (span.start, span.end));
            let mut end = 0;
            for span in sorted {
                let Range { start, end: next } = span;
                if start > next || next > length {
                    return complain(format!("spans: {start} to {next} of {length} rows"));
                }
                if start < end {
                    return complain(format!("spans: {start} to {next} begins before {end}"));
                }
                end = next;
            }
        }
        if let Source::Logits(logits) = &self.source {
            let vocab = logits.vocab;
            let Some(tokens) = &self.tokens else {
                let (rows, hint) =
                    (logits.rows.rows, "logits need their tokens: --tokens FILE.npy");
                // A list of log-probs that kept a dimension.
                let one = if rows == 1 || vocab == 1 {
                    format!("; log-probs have one dimension, this has {rows} x {vocab}")
                } else {
                    String::new()
                };
                return complain(format!("{hint}{one}"));
            };
            let outside = |&(_, &token): &(usize, &i64)| {
                usize::try_from(token).is_ok_and(|token| token >= vocab)
            };
            if let Some((row, token)) = tokens.iter().enumerate().find(outside) {
                return complain(format!(
                    "tokens[{row}]: {token} is not below {vocab} (vocabulary)"
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        match &self.source {
            Source::LogProbs(x) => x.len(),
            Source::Logits(logits) => logits.rows.rows,
        }
    }

    pub(crate) fn logits(&self) -> Option<&Logits> {
        match &self.source {
            Source::Logits(logits) => Some(logits),
            Source::LogProbs(_) => None,
        }
    }

    /// The sequence that a row belongs to: all rows are one where there are no spans.
    pub(crate) fn span_of(&self, row: usize) -> Option<Range<usize>> {
        match &self.spans {
            Some(spans) => spans.iter().find(|span| span.contains(&row)).cloned(),
            None => Some(0..self.len()),
        }
    }

    /// Whether each row is scored.
    pub(crate) fn scored(&self) -> Vec<bool> {
        let mut scored = vec![self.spans.is_none(); self.len()];
        for span in self.spans.iter().flatten() {
            if let Some(rows) = scored.get_mut(span.clone()) {
                rows.fill(true);
            }
        }
        for (scored, &token) in scored.iter_mut().zip(self.tokens.iter().flatten()) {
            *scored &= token >= 0;
        }
        scored
    }

    /// As the crate takes them: what is not scored has the index that is ignored.
    pub(crate) fn targets(&self) -> Vec<u32> {
        let tokens = self.tokens.iter().flatten().zip(self.scored());
        let id = |(&token, scored)| u32::try_from(token).ok().filter(|_| scored);
        tokens.map(|pair| id(pair).unwrap_or(IGNORE_INDEX)).collect()
    }

    /// A token's place in its sequence.
    pub(crate) fn position(&self, row: usize) -> i64 {
        let given = self.positions.as_ref().and_then(|positions| positions.get(row)).copied();
        given.unwrap_or_else(|| {
            let start = self.span_of(row).map_or(0, |span| span.start);
            i64::try_from(row - start).unwrap_or(i64::MAX)
        })
    }

    pub(crate) fn describe(&self) -> String {
        match &self.source {
            Source::LogProbs(x) => format!("{} log-probs", x.len()),
            Source::Logits(Logits { rows, vocab, parts }) => {
                let mut text = format!("{} x {vocab} logits in {}", rows.rows, rows.dtype.name());
                let Parts { scale, softcap, temperature } = *parts;
                for (name, value) in [("scale", scale), ("temperature", temperature)] {
                    if value.to_bits() != 1_f32.to_bits() {
                        // Writing to a string cannot fail.
                        let _ = write!(text, ", {name} {value}");
                    }
                }
                if let Some(cap) = softcap {
                    let _ = write!(text, ", softcap {cap}");
                }
                text
            }
        }
    }
}

/// Pairs of rows.
fn spans(array: &Array) -> Result<Vec<Range<usize>>, String> {
    let &[_, 2] = array.shape.as_slice() else {
        return array.complain(format!("shape {:?} where [N, 2] is needed", array.shape));
    };
    let numbers = array.integers()?;
    let (pairs, _) = numbers.as_chunks();
    let span = |&[start, end]: &[i64; 2]| match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) => Ok(start..end),
        _ => array.complain(format!("{start} to {end} are no rows")),
    };
    pairs.iter().map(span).collect()
}
