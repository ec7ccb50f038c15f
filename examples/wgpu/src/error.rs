//! What can be wrong before, and on, the device.

use std::fmt;

/// Why nothing was computed. Every variant has its numbers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// There is no Vulkan adapter, or none of the name asked for.
    NoAdapter {
        /// The name asked for, if any.
        wanted: Option<String>,
        /// The adapters there are.
        found: Vec<String>,
    },
    /// The adapter gave no device.
    NoDevice {
        /// The adapter.
        adapter: String,
        /// What the driver said.
        reason: String,
    },
    /// An adapter's limit is below what the shaders take.
    AdapterLimit {
        /// The limit, by WebGPU's name.
        limit: &'static str,
        /// What the shaders take.
        needed: u64,
        /// What the adapter has.
        found: u64,
    },
    /// A buffer, or the part of it that one dispatch binds, is larger than the device allows.
    TooLarge {
        /// What was to be bound.
        what: &'static str,
        /// In bytes.
        bytes: u64,
        /// The limit, by WebGPU's name.
        limit: &'static str,
        /// In bytes.
        allowed: u64,
    },
    /// More workgroups than a dimension of a dispatch has.
    TooManyWorkgroups {
        /// What for.
        what: &'static str,
        /// How many there would be.
        needed: u64,
        /// `max_compute_workgroups_per_dimension`
        allowed: u32,
    },
    /// A slice or buffer is not as long as its shape says.
    Length {
        /// Which.
        what: &'static str,
        /// Elements that the shape takes.
        expected: usize,
        /// Elements there are.
        found: usize,
    },
    /// A matrix, or what a forward left, of other rows or columns than the operands beside it.
    Size {
        /// Which.
        what: &'static str,
        /// Rows and columns of the operands beside it.
        expected: (usize, usize),
        /// Its own.
        found: (usize, usize),
    },
    /// A shape without rows or columns, or rows that overlap.
    Shape {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
        /// Elements from one row to the next.
        stride: usize,
    },
    /// A target that is neither a column nor the ignore value.
    Target {
        /// Its row.
        row: usize,
        /// The target.
        target: u32,
        /// V
        vocab: usize,
    },
    /// A coefficient that is not finite, or too large for f32 times the transform's slope.
    Coefficient {
        /// Its row.
        row: usize,
        /// The coefficient.
        value: f64,
    },
    /// What the library refuses: the parameters of a transform, a loss.
    Library(dpo_kernel::Error),
    /// What the driver or wgpu refused or lost.
    Device(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAdapter { wanted: None, .. } => write!(
                f,
                "there is no Vulkan adapter; Debian's package mesa-vulkan-drivers brings one in software"
            ),
            Self::NoAdapter { wanted: Some(name), found } => {
                write!(f, "no adapter has {name:?} in its name; there are {found:?}")
            }
            Self::NoDevice { adapter, reason } => {
                write!(f, "the adapter {adapter} gave no device: {reason}")
            }
            Self::AdapterLimit { limit, needed, found } => {
                write!(f, "the adapter's {limit} is {found}, and the shaders take {needed}")
            }
            Self::TooLarge { what, bytes, limit, allowed } => {
                write!(f, "{what} takes {bytes} bytes, and the device's {limit} is {allowed}")
            }
            Self::TooManyWorkgroups { what, needed, allowed } => write!(
                f,
                "{what} takes {needed} workgroups, and the device's \
                 max_compute_workgroups_per_dimension is {allowed}"
            ),
            Self::Length { what, expected, found } => {
                write!(f, "{what}: {expected} elements expected, {found} found")
            }
            Self::Size { what, expected, found } => write!(
                f,
                "{what}: {} rows of {} columns expected, {} of {} found",
                expected.0, expected.1, found.0, found.1
            ),
            Self::Shape { rows, columns, stride } => {
                write!(f, "{rows} rows of {columns} columns, {stride} apart, are no matrix")
            }
            Self::Target { row, target, vocab } => {
                write!(f, "row {row} has target {target}, of {vocab} columns")
            }
            Self::Coefficient { row, value } => {
                write!(f, "row {row} has coefficient {value}, which is not finite or too large")
            }
            Self::Library(error) => error.fmt(f),
            Self::Device(text) => write!(f, "the device: {text}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<dpo_kernel::Error> for Error {
    fn from(error: dpo_kernel::Error) -> Self {
        Self::Library(error)
    }
}
