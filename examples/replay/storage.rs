//! The logits as they lie in their file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use dpo_kernel::{Element, bf16, f16};

use super::fields::Field;
use super::manifest::Manifest;

/// How a logit is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    F32,
    F16,
    Bf16,
}

impl Type {
    /// The first word says it; others, such as the byte order, are for people.
    pub(crate) fn parse(field: &Field<'_>) -> Result<Self, String> {
        match field.text()?.split_whitespace().next() {
            Some("f32") => Ok(Self::F32),
            Some("f16") => Ok(Self::F16),
            Some("bf16") => Ok(Self::Bf16),
            _ => field.complain("none of f32, f16, bf16"),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Half an ulp of 1, and half of the smallest subnormal: what rounding to it may change.
    pub(crate) fn rounding(self) -> Rounding {
        let (relative, absolute) = match self {
            Self::F32 => (-24, -150),
            Self::F16 => (-11, -25),
            Self::Bf16 => (-8, -134),
        };
        Rounding { relative: 2_f64.powi(relative), absolute: 2_f64.powi(absolute) }
    }
}

/// The error of rounding g once: at most `relative · |g| + absolute`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounding {
    pub(crate) relative: f64,
    pub(crate) absolute: f64,
}

/// R · stride elements.
#[derive(Debug)]
pub(crate) enum Storage {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Storage {
    /// Reads the file that a manifest names; complaints name it.
    pub(crate) fn read(manifest: &Manifest) -> Result<Self, String> {
        let all = LogitsFile::of(manifest)?;
        all.read(0..all.rows)
    }
}

/// Rows of logits that lie one after another in a file, read as many at a time as are wanted.
#[derive(Clone, Debug)]
pub(crate) struct LogitsFile {
    pub(crate) path: PathBuf,
    /// Bytes before the first row.
    pub(crate) offset: u64,
    pub(crate) dtype: Type,
    pub(crate) rows: usize,
    pub(crate) stride: usize,
}

impl LogitsFile {
    /// The file that a manifest names, which must have the bytes of its rows and no more.
    pub(crate) fn of(manifest: &Manifest) -> Result<Self, String> {
        let &Manifest { ref logits, rows, stride, dtype, .. } = manifest;
        let of = Self { path: logits.clone(), offset: 0, dtype, rows, stride };
        let found = std::fs::metadata(logits).map_err(|error| of.complain(error))?.len();
        let needed = rows.checked_mul(stride).and_then(|n| n.checked_mul(dtype.bytes()));
        if needed.and_then(|n| u64::try_from(n).ok()) == Some(found) {
            return Ok(of);
        }
        let name = dtype.name();
        Err(of
            .complain(format!("{found} bytes where {rows} rows of {stride} in {name} are needed")))
    }

    /// The elements of some rows, padding too.
    pub(crate) fn read(&self, rows: Range<usize>) -> Result<Storage, String> {
        let size = self.stride.saturating_mul(self.dtype.bytes());
        let mut bytes = vec![0; rows.len().saturating_mul(size)];
        let start = self.offset + rows.start.saturating_mul(size) as u64;
        File::open(&self.path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(&mut bytes)
            })
            .map_err(|error| self.complain(error))?;
        Ok(match self.dtype {
            Type::F32 => Storage::F32(elements(&bytes, f32::from_le_bytes)),
            Type::F16 => Storage::F16(elements(&bytes, f16::from_le_bytes)),
            Type::Bf16 => Storage::Bf16(elements(&bytes, bf16::from_le_bytes)),
        })
    }

    fn complain(&self, what: impl std::fmt::Display) -> String {
        format!("{}: {what}", self.path.display())
    }
}

fn elements<E: Element, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> E) -> Vec<E> {
    let (chunks, _) = bytes.as_chunks();
    chunks.iter().map(|&chunk| from(chunk)).collect()
}
