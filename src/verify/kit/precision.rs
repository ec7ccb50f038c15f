//! What a backend says of its arithmetic; its bounds follow from it.

use super::Format;

/// The error of a function's result: `constant + slope·|x|` units in the last place, x its argument;
/// of ln, whose argument may be any size, its result.
///
/// One rounding is half of a unit. WGSL allows its `exp` 3 + 2|x|.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ulps {
    /// At any argument.
    pub constant: f64,
    /// For each unit of the argument.
    pub slope: f64,
}

impl Ulps {
    /// So many units at any argument.
    #[must_use]
    pub const fn new(constant: f64) -> Self {
        Self { constant, slope: 0.0 }
    }

    /// And so many for each unit of the argument.
    #[must_use]
    pub const fn and_slope(mut self, slope: f64) -> Self {
        self.slope = slope;
        self
    }

    /// The units at an argument.
    #[must_use]
    pub fn at(self, x: f64) -> f64 {
        let grown = if self.slope > 0.0 { self.slope * x.abs() } else { 0.0 };
        self.constant + grown
    }
}

/// The order in which terms are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Additions {
    /// Any: a term goes through n − 1 additions at most.
    Any,
    /// A term goes through this many additions at most, however many there are: so many in a lane's
    /// chain, and then up the tree.
    Chain(usize),
}

impl Additions {
    /// The most roundings of a term among n.
    #[must_use]
    pub fn roundings(self, n: usize) -> usize {
        let any = n.saturating_sub(1);
        match self {
            Self::Any => any,
            Self::Chain(longest) => longest.min(any),
        }
    }
}

/// How log p is made of y, the maximum m and the sum s of exp(y − m).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// `(y − m) − ln s`: no number is larger than the result and ln s.
    Shifted,
    /// `y − (m + ln s)`, with a rounding at the size of log Z; or either.
    Whole,
}

/// What is known of the target's own term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// It is one of the sum: 1 − p and −log p have the absolute error of a number near 1.
    InSum,
    /// It is kept apart: 1 − p and −log p of a confident token keep their digits.
    Apart,
}

/// What a backend says of its arithmetic. Nothing else decides how far its figures may be off.
///
/// It is a promise of the backend, to be taken from its documentation or its source. A backend that
/// promises less is held to less, and more of the mistakes hide behind its roundings. So the report
/// shows all that is declared beside what is usual, and counts the figures that are held to nothing
/// by it; and [`check`](Self::check) refuses what is no error of a function.
///
/// ```
/// use dpo_kernel::verify::kit::{Additions, Format, Precision, Ulps};
/// // Sums and functions in f32, log-probs as f32, a tree of at most 12 + 256 additions a term.
/// let precision = Precision {
///     additions: Additions::Chain(268),
///     exp: Ulps::new(2.0),
///     ..Precision::new(Format::F32, Format::F32)
/// };
/// assert_eq!(precision.output, Format::F32);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// What exponentials, logarithms and their sums are computed in.
    pub arithmetic: Format,
    /// What log-probs, log Z and the details of a row are rounded to when they leave.
    pub output: Format,
    /// What the loss of a pair, its rewards and derivatives are computed in and rounded to.
    pub pair: Format,
    /// What the products of a head are added in.
    pub product: Format,
    /// What a head's logits are rounded to before the softmax sees them.
    pub head_logits: Format,
    /// What the gradients of a head's logits are rounded to before they meet the weights.
    pub head_grads: Format,
    /// What hidden gradients are rounded to when they leave.
    pub hidden_grads: Format,
    /// Of `exp`, in `arithmetic`.
    pub exp: Ulps,
    /// Of `ln`, in `arithmetic`.
    pub log: Ulps,
    /// Of `ln`, in its own unit: WGSL allows 2⁻²¹ between ½ and 2.
    pub log_absolute: f64,
    /// Of `tanh`, in `arithmetic`.
    pub tanh: Ulps,
    /// Of a division, in `arithmetic`.
    pub division: Ulps,
    /// The order of the additions of a row.
    pub additions: Additions,
    /// The order of the additions of a head's products, along H, and along V in the backward.
    pub product_additions: Additions,
    /// How often a row's sum is multiplied by exp(m − m′) on the way, because the maximum grew.
    pub rescales: usize,
    /// How log p is subtracted.
    pub difference: Difference,
    /// Whether the target's term is kept apart.
    pub target: Target,
}

impl Precision {
    /// Sums in `arithmetic`, in any order; figures rounded to `output` once; functions to 1 ulp,
    /// tanh to 2. Losses and products are computed in `arithmetic` too.
    #[must_use]
    pub const fn new(arithmetic: Format, output: Format) -> Self {
        Self {
            arithmetic,
            output,
            pair: arithmetic,
            product: arithmetic,
            head_logits: arithmetic,
            head_grads: arithmetic,
            hidden_grads: output,
            exp: Ulps::new(1.0),
            log: Ulps::new(1.0),
            log_absolute: 0.0,
            tanh: Ulps::new(2.0),
            division: Ulps::new(0.5),
            additions: Additions::Any,
            product_additions: Additions::Any,
            rescales: 0,
            difference: Difference::Whole,
            target: Target::InSum,
        }
    }
}
