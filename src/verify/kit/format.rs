//! The number formats that backends store and compute in, as values.

use half::{bf16, f16};

use crate::Element;
use crate::verify::Figure;

/// A binary floating-point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// bfloat16: 8 digits, the exponents of f32.
    Bf16,
    /// IEEE-754 binary16: 11 digits.
    F16,
    /// IEEE-754 binary32: 24 digits.
    F32,
    /// IEEE-754 binary64: 53 digits.
    F64,
}

impl Format {
    /// All formats, narrow ones first.
    pub const ALL: [Self; 4] = [Self::Bf16, Self::F16, Self::F32, Self::F64];

    /// The format of an element type.
    #[must_use]
    pub fn of<E: Element>() -> Self {
        // The lowest number tells f16 apart, the neighbour of 1 the others.
        if E::LOWEST > -1e5 {
            Self::F16
        } else if E::from_f32(1.0 + f32::EPSILON).to_f32() > 1.0 {
            Self::F32
        } else {
            Self::Bf16
        }
    }

    /// As the manifest spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// The format of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The bytes of a number.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bf16 | Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// u: the largest relative error of one rounding, 2⁻ᵖ of p binary digits.
    #[must_use]
    pub const fn unit(self) -> f64 {
        match self {
            Self::Bf16 => 0.003_906_25,
            Self::F16 => 0.000_488_281_25,
            Self::F32 => 5.960_464_477_539_063e-8,
            Self::F64 => 1.110_223_024_625_156_5e-16,
        }
    }

    /// The distance of neighbouring numbers at the size of `x`, down to subnormal ones.
    #[must_use]
    pub fn ulp(self, x: f64) -> f64 {
        match self {
            Self::Bf16 => <bf16 as Figure>::ulp(x),
            Self::F16 => <f16 as Figure>::ulp(x),
            Self::F32 => <f32 as Figure>::ulp(x),
            Self::F64 => <f64 as Figure>::ulp(x),
        }
    }

    /// The least size that rounds to infinity.
    #[must_use]
    pub const fn overflow(self) -> f64 {
        match self {
            Self::Bf16 => bf16::OVERFLOW,
            Self::F16 => f16::OVERFLOW,
            Self::F32 => f32::OVERFLOW,
            Self::F64 => f64::OVERFLOW,
        }
    }

    /// The least normal number: backends may flush what is below it.
    #[must_use]
    pub const fn least_normal(self) -> f64 {
        match self {
            Self::F16 => 6.103_515_625e-5,
            Self::Bf16 | Self::F32 => 1.175_494_350_822_287_5e-38,
            Self::F64 => f64::MIN_POSITIVE,
        }
    }

    /// The nearest number of the format, ties to even.
    #[must_use]
    pub fn round(self, x: f64) -> f64 {
        if self == Self::F64 || !x.is_finite() || x == 0.0 {
            return x;
        }
        if x.abs() >= self.overflow() {
            return f64::INFINITY.copysign(x);
        }
        // The quotient has few digits, and a power of two divides exactly.
        let ulp = self.ulp(x);
        libm::rint(x / ulp) * ulp
    }
}
