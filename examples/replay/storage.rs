//! The logits as they lie in their file.

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

    const fn bytes(self) -> usize {
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
        let Manifest { logits, rows, stride, dtype, .. } = manifest;
        let complain = |what: String| format!("{}: {what}", logits.display());
        let bytes = std::fs::read(logits).map_err(|error| complain(error.to_string()))?;
        let needed = rows.checked_mul(*stride).and_then(|n| n.checked_mul(dtype.bytes()));
        if needed != Some(bytes.len()) {
            let name = dtype.name();
            let found = bytes.len();
            return Err(complain(format!(
                "{found} bytes where {rows} rows of {stride} in {name} are needed"
            )));
        }
        Ok(match dtype {
            Type::F32 => Self::F32(elements(&bytes, f32::from_le_bytes)),
            Type::F16 => Self::F16(elements(&bytes, f16::from_le_bytes)),
            Type::Bf16 => Self::Bf16(elements(&bytes, bf16::from_le_bytes)),
        })
    }
}

fn elements<E: Element, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> E) -> Vec<E> {
    let (chunks, _) = bytes.as_chunks();
    chunks.iter().map(|&chunk| from(chunk)).collect()
}
