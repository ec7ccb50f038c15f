//! The header of a `.npy` file, versions 1 to 3, and nothing but the header.
//!
//! ```text
//! \x93NUMPY  major minor  length (u16, from version 2 on u32)  {'descr': '<f4', …, }  elements
//! ```
//!
//! The crates that read whole files bring a parser generator for the header's Python literal,
//! thirty crates and more. An audit wants the place of the elements, and three fields of a fixed
//! form.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::array::{Array, Kind, complaint};

/// Why a file is no array that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Magic,
    Version(u8, u8),
    /// Of the header, in bytes: more than an array's header needs.
    TooLong(u64),
    /// The file ends inside its header.
    Cut,
    /// The header is no dictionary of the three fields, from this byte of it on.
    Syntax(usize),
    Field(String),
    Missing(&'static str),
    Twice(&'static str),
    Kind(String),
    BigEndian(String),
    Fortran(Vec<usize>),
    Size {
        shape: Vec<usize>,
        kind: Kind,
        found: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(f, "no .npy file: it does not begin with \\x93NUMPY"),
            Self::Version(major, minor) => {
                write!(f, "version {major}.{minor} of the .npy format; known are 1.0, 2.0 and 3.0")
            }
            Self::TooLong(n) => write!(f, "a header of {n} bytes; {MOST} are enough for an array"),
            Self::Cut => write!(f, "the file ends inside its header"),
            Self::Syntax(at) => write!(f, "header: not descr, fortran_order, shape at byte {at}"),
            Self::Field(name) => {
                write!(f, "header: unknown field {name}; known are descr, fortran_order, shape")
            }
            Self::Missing(name) => write!(f, "header: the field {name} is missing"),
            Self::Twice(name) => write!(f, "header: the field {name} is there twice"),
            Self::Kind(descr) => {
                write!(f, "descr: '{descr}' is no type of floats or whole numbers")
            }
            Self::BigEndian(descr) => {
                write!(f, "descr: '{descr}' is big-endian: x.astype(x.dtype.newbyteorder('<'))")
            }
            Self::Fortran(shape) => write!(
                f,
                "fortran_order: columns first in shape {shape:?}: numpy.ascontiguousarray turns them"
            ),
            Self::Size { shape, kind, found } => write!(
                f,
                "{found} bytes of elements where shape {shape:?} of {} needs {}",
                kind.name(),
                size(shape, *kind).map_or("more than there can be".to_owned(), |n| n.to_string())
            ),
        }
    }
}

/// Bytes of a header that are read at most; numpy itself stops at 10,000.
const MOST: u64 = 65_536;

/// The array of a file; complaints name it.
pub(crate) fn open(path: &Path) -> Result<Array, String> {
    let io = |error: std::io::Error| complaint(path, None, error);
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut start = Vec::new();
    file.by_ref().take(12 + MOST).read_to_end(&mut start).map_err(io)?;
    let parsed = parse(&start, length);
    let (kind, shape, offset) = parsed.map_err(|problem| complaint(path, None, problem))?;
    Ok(Array { path: path.to_owned(), name: None, kind, shape, offset })
}

/// Type, shape and place of the elements in a file of `length` bytes that begins with `start`.
pub(crate) fn parse(start: &[u8], length: u64) -> Result<(Kind, Vec<usize>, u64), Problem> {
    let rest = start.strip_prefix(b"\x93NUMPY").ok_or(Problem::Magic)?;
    let (&[major, minor], rest) = rest.split_first_chunk().ok_or(Problem::Cut)?;
    let (header, before, rest) = match (major, minor) {
        (1, 0) => {
            let (&bytes, rest) = rest.split_first_chunk().ok_or(Problem::Cut)?;
            (u64::from(u16::from_le_bytes(bytes)), 10, rest)
        }
        (2 | 3, 0) => {
            let (&bytes, rest) = rest.split_first_chunk().ok_or(Problem::Cut)?;
            (u64::from(u32::from_le_bytes(bytes)), 12, rest)
        }
        _ => return Err(Problem::Version(major, minor)),
    };
    if header > MOST {
        return Err(Problem::TooLong(header));
    }
    let text = usize::try_from(header).ok().and_then(|n| rest.get(..n)).ok_or(Problem::Cut)?;
    let (descr, fortran, shape) = Literal { text, at: 0 }.fields()?;
    let kind = kind(descr)?;
    if fortran && shape.len() > 1 {
        return Err(Problem::Fortran(shape));
    }
    let found = length.saturating_sub(before + header);
    if size(&shape, kind) == Some(found) {
        Ok((kind, shape, before + header))
    } else {
        Err(Problem::Size { shape, kind, found })
    }
}

fn size(shape: &[usize], kind: Kind) -> Option<u64> {
    let bytes = shape.iter().try_fold(kind.bytes(), |n, &x| n.checked_mul(x))?;
    u64::try_from(bytes).ok()
}

fn kind(descr: String) -> Result<Kind, Problem> {
    Ok(match descr.as_str() {
        "<f2" => Kind::F16,
        "<f4" => Kind::F32,
        "<f8" => Kind::F64,
        "|i1" => Kind::I8,
        "<i2" => Kind::I16,
        "<i4" => Kind::I32,
        "<i8" => Kind::I64,
        "|u1" => Kind::U8,
        "<u2" => Kind::U16,
        "<u4" => Kind::U32,
        "<u8" => Kind::U64,
        // ml_dtypes writes its bfloat16 as bytes without a type.
        "|V2" | "<V2" => Kind::Raw2,
        big if big.starts_with('>') => return Err(Problem::BigEndian(descr)),
        _ => return Err(Problem::Kind(descr)),
    })
}

/// The Python literal of a header.
struct Literal<'a> {
    text: &'a [u8],
    at: usize,
}

impl Literal<'_> {
    fn fields(mut self) -> Result<(String, bool, Vec<usize>), Problem> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.need(b'{')?;
        while !self.eat(b'}') {
            let name = self.string()?;
            self.need(b':')?;
            match name.as_str() {
                "descr" => once("descr", &mut descr, self.string()?)?,
                "fortran_order" => once("fortran_order", &mut fortran, self.truth()?)?,
                "shape" => once("shape", &mut shape, self.shape()?)?,
                _ => return Err(Problem::Field(name)),
            }
            if !self.eat(b',') {
                self.need(b'}')?;
                break;
            }
        }
        self.space();
        if self.at < self.text.len() {
            return Err(Problem::Syntax(self.at));
        }
        Ok((
            descr.ok_or(Problem::Missing("descr"))?,
            fortran.ok_or(Problem::Missing("fortran_order"))?,
            shape.ok_or(Problem::Missing("shape"))?,
        ))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, mark: u8) -> bool {
        self.space();
        let found = self.peek() == Some(mark);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, mark: u8) -> Result<(), Problem> {
        if self.eat(mark) { Ok(()) } else { Err(Problem::Syntax(self.at)) }
    }

    /// The bytes from here on that are of a kind.
    fn run(&mut self, of: impl Fn(u8) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&of) {
            self.at += 1;
        }
        let bytes = self.text.get(start..self.at).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn string(&mut self) -> Result<String, Problem> {
        self.space();
        let Some(quote @ (b'\'' | b'"')) = self.peek() else {
            return Err(Problem::Syntax(self.at));
        };
        self.at += 1;
        let found = self.run(|byte| byte != quote && byte != b'\\');
        if self.peek() != Some(quote) {
            return Err(Problem::Syntax(self.at));
        }
        self.at += 1;
        Ok(found)
    }

    fn truth(&mut self) -> Result<bool, Problem> {
        self.space();
        let start = self.at;
        match self.run(|byte| byte.is_ascii_alphabetic()).as_str() {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err(Problem::Syntax(start)),
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, Problem> {
        let mut shape = Vec::new();
        self.need(b'(')?;
        while !self.eat(b')') {
            self.space();
            let start = self.at;
            let digits = self.run(|byte| byte.is_ascii_digit());
            shape.push(digits.parse().map_err(|_| Problem::Syntax(start))?);
            // One number in parentheses is a tuple by its comma alone.
            if !self.eat(b',') {
                if shape.len() == 1 {
                    return Err(Problem::Syntax(self.at));
                }
                self.need(b')')?;
                break;
            }
        }
        Ok(shape)
    }
}

fn once<T>(name: &'static str, field: &mut Option<T>, value: T) -> Result<(), Problem> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Problem::Twice(name)),
    }
}
