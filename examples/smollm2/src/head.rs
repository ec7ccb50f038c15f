//! What candle's reader of GGUF takes on trust: it divides by the alignment that a file names.
//!
//! ```text
//! "GGUF" version | tensors | entries | key, type, value | key, type, value | …
//! ```
//!
//! Lengths and numbers of items have 8 bytes, 4 in version 1; texts and lists begin with theirs.

use std::io::{Error, ErrorKind, Read, Result, Seek};

/// Lists in lists that are followed: as many as candle's reader follows.
const DEPTH: usize = 64;
const TEXT: u32 = 8;
const LIST: u32 = 9;

/// Whether a file's head names an alignment of 0 somewhere.
///
/// # Errors
/// The head is broken, or the file cannot be read.
pub(crate) fn has_zero_alignment(file: &mut (impl Read + Seek)) -> Result<bool> {
    let [_, version] = [word(file)?, word(file)?];
    let mut head = Head { file, is_short: version == 1 };
    head.length()?;
    for _ in 0..head.length()? {
        let length = head.length()?;
        let is_alignment = if length == 17 {
            let mut key = [0; 17];
            head.file.read_exact(&mut key)?;
            key == *b"general.alignment"
        } else {
            head.skip(length)?;
            false
        };
        let kind = word(head.file)?;
        match size(kind) {
            Some(size) if is_alignment => {
                let mut value = [0; 8];
                let value = value.get_mut(..size).unwrap_or_default();
                head.file.read_exact(value)?;
                if value.iter().all(|byte| *byte == 0) {
                    return Ok(true);
                }
            }
            _ => head.value(kind, 0)?,
        }
    }
    Ok(false)
}

fn word(file: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Bytes of a value that always has as many.
const fn size(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

fn broken(what: String) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

struct Head<'a, F> {
    file: &'a mut F,
    is_short: bool,
}

impl<F: Read + Seek> Head<'_, F> {
    fn length(&mut self) -> Result<u64> {
        if self.is_short {
            return word(self.file).map(u64::from);
        }
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        let bytes =
            i64::try_from(bytes).map_err(|_| broken(format!("a value of {bytes} bytes")))?;
        self.file.seek_relative(bytes)
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<()> {
        match (kind, size(kind)) {
            (_, Some(size)) => self.skip(size as u64),
            (TEXT, _) => {
                let length = self.length()?;
                self.skip(length)
            }
            (LIST, _) if depth <= DEPTH => {
                let (kind, count) = (word(self.file)?, self.length()?);
                match size(kind) {
                    Some(size) => self.skip(count.saturating_mul(size as u64)),
                    None => (0..count).try_for_each(|_| self.value(kind, depth + 1)),
                }
            }
            (LIST, _) => Err(broken(format!("lists in more than {DEPTH} lists"))),
            _ => Err(broken(format!("a value of type {kind}"))),
        }
    }
}
