//! An array that lies in a file: its type, its shape and where it begins. Its elements are read
//! when they are wanted, so that a dump may be larger than the memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use dpo_kernel::{bf16, f16};

use super::storage::{LogitsFile, Type};

/// How an element is stored, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    F16,
    Bf16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    /// Two bytes that the file has no name for: how numpy writes bf16.
    Raw2,
}

impl Kind {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 | Self::Raw2 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::Raw2 => "2 bytes without a type",
        }
    }
}

/// Where an array is.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) path: PathBuf,
    /// Of the tensor, in a file that holds several.
    pub(crate) name: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) shape: Vec<usize>,
    /// Bytes before the first element.
    pub(crate) offset: u64,
}

impl Array {
    pub(crate) fn complain<T>(&self, what: impl std::fmt::Display) -> Result<T, String> {
        Err(complaint(&self.path, self.name.as_deref(), what))
    }

    /// The length of an array of one dimension.
    pub(crate) fn length(&self) -> Result<usize, String> {
        match self.shape.as_slice() {
            &[length] => Ok(length),
            shape => self.complain(format!("shape {shape:?} where one dimension is needed")),
        }
    }

    /// Floats of one dimension.
    pub(crate) fn floats(&self) -> Result<Vec<f64>, String> {
        self.length()?;
        let from: fn(&[u8]) -> f64 = match self.kind {
            Kind::F16 => |x| f16::from_le_bytes(fixed(x)).to_f32().into(),
            Kind::Bf16 => |x| bf16::from_le_bytes(fixed(x)).to_f32().into(),
            Kind::F32 => |x| f32::from_le_bytes(fixed(x)).into(),
            Kind::F64 => |x| f64::from_le_bytes(fixed(x)),
            kind => return self.complain(format!("{} where floats are needed", kind.name())),
        };
        Ok(self.bytes()?.chunks_exact(self.kind.bytes()).map(from).collect())
    }

    /// Whole numbers, whatever the shape, row after row.
    pub(crate) fn integers(&self) -> Result<Vec<i64>, String> {
        let from: fn(&[u8]) -> Option<i64> = match self.kind {
            Kind::I8 => |x| Some(i8::from_le_bytes(fixed(x)).into()),
            Kind::I16 => |x| Some(i16::from_le_bytes(fixed(x)).into()),
            Kind::I32 => |x| Some(i32::from_le_bytes(fixed(x)).into()),
            Kind::I64 => |x| Some(i64::from_le_bytes(fixed(x))),
            Kind::U8 => |x| Some(u8::from_le_bytes(fixed(x)).into()),
            Kind::U16 => |x| Some(u16::from_le_bytes(fixed(x)).into()),
            Kind::U32 => |x| Some(u32::from_le_bytes(fixed(x)).into()),
            Kind::U64 => |x| i64::try_from(u64::from_le_bytes(fixed(x))).ok(),
            kind => {
                return self.complain(format!("{} where whole numbers are needed", kind.name()));
            }
        };
        let bytes = self.bytes()?;
        let all: Option<Vec<i64>> = bytes.chunks_exact(self.kind.bytes()).map(from).collect();
        all.map_or_else(|| self.complain("a number above 2^63 - 1"), Ok)
    }

    /// Logits: rows of the vocabulary.
    pub(crate) fn rows(&self) -> Result<LogitsFile, String> {
        let dtype = match self.kind {
            Kind::F16 => Type::F16,
            Kind::Bf16 => Type::Bf16,
            Kind::F32 => Type::F32,
            Kind::Raw2 | Kind::U16 => {
                return self.complain(format!(
                    "{} where logits are needed: --dtype bf16 if that is what they are",
                    self.kind.name()
                ));
            }
            kind => {
                return self.complain(format!("logits are f32, f16 or bf16, not {}", kind.name()));
            }
        };
        let &[rows, vocab] = self.shape.as_slice() else {
            return self.complain(format!("shape {:?} where [T, V] is needed", self.shape));
        };
        let (path, offset) = (self.path.clone(), self.offset);
        Ok(LogitsFile { path, offset, dtype, rows, stride: vocab })
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        // That the file has so many was checked when its header was read.
        let elements = self.shape.iter().fold(1_usize, |n, &x| n.saturating_mul(x));
        let mut bytes = vec![0; elements.saturating_mul(self.kind.bytes())];
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_exact(&mut bytes)
        });
        match read {
            Ok(()) => Ok(bytes),
            Err(error) => self.complain(error),
        }
    }
}

/// What is wrong, behind the file and the tensor that it is wrong with.
pub(crate) fn complaint(path: &Path, name: Option<&str>, what: impl std::fmt::Display) -> String {
    let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
    format!("{}: {name}{what}", path.display())
}

/// A chunk as long as its type: `chunks_exact` gives no other.
fn fixed<const N: usize>(x: &[u8]) -> [u8; N] {
    x.first_chunk().copied().unwrap_or([0; N])
}
