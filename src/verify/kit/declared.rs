//! What a precision declares: in words, and what is refused.

use core::fmt;

use super::{Additions, Difference, Format, Precision, Target, Ulps};

/// An error of a function that is declared so large that bounds would hold nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Implausible {
    /// Of [`Precision`], as `answers.json` spells it.
    pub field: &'static str,
    /// What is declared.
    pub value: f64,
    /// The most that is taken.
    pub limit: f64,
}

impl fmt::Display for Implausible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, limit } = *self;
        write!(
            f,
            "{field} is {value:?}, where 0 to {limit:?} are taken: more is no error of a function"
        )
    }
}

impl core::error::Error for Implausible {}

/// A function whose result is off by more than this share of it is another function: that of the
/// coarsest unit in wide use, a tanh of 11 digits, is 2⁻¹¹.
const SHARE: f64 = 1.0 / 64.0;
/// And so many units of formats whose unit is not far below.
const UNITS: f64 = 8.0;

impl Precision {
    /// Whether bounds can be derived from it: the error of exp, log, tanh and of a division is at
    /// most a 64th of the result, or 8 units in the last place where that is more; for each unit of the
    /// argument too; and `log_absolute` is at most a 64th, or 8 units of 1.
    ///
    /// # Errors
    /// The first field that is larger, below 0 or NaN.
    pub fn check(&self) -> Result<(), Implausible> {
        let unit = 2.0 * self.unit();
        let units = UNITS.max(SHARE / unit);
        let functions = [
            ("exp.constant", "exp.slope", self.exp),
            ("log.constant", "log.slope", self.log),
            ("tanh.constant", "tanh.slope", self.tanh),
            ("division.constant", "division.slope", self.division),
        ];
        let within = |field, value, limit| {
            let plausible = (0.0..=limit).contains(&value);
            if plausible { Ok(()) } else { Err(Implausible { field, value, limit }) }
        };
        for (constant, slope, Ulps { constant: of_constant, slope: of_slope }) in functions {
            within(constant, of_constant, units)?;
            within(slope, of_slope, units)?;
        }
        within("log_absolute", self.log_absolute, units * unit)
    }
}

/// The arithmetic, the format in which figures leave, and every field that is not as
/// [`Precision::new`] of these has it.
impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::new(self.arithmetic, self.output);
        write!(f, "arithmetic {}, figures in {}", self.arithmetic.name(), self.output.name())?;
        let format = |f: &mut fmt::Formatter<'_>, name: &str, of: Format, usual: Format| {
            if of == usual { Ok(()) } else { write!(f, ", {name} {}", of.name()) }
        };
        format(f, "pair", self.pair, usual.pair)?;
        format(f, "product", self.product, usual.product)?;
        format(f, "head_logits", self.head_logits, usual.head_logits)?;
        format(f, "head_grads", self.head_grads, usual.head_grads)?;
        format(f, "hidden_grads", self.hidden_grads, usual.hidden_grads)?;
        let ulps = |f: &mut fmt::Formatter<'_>, name: &str, of: Ulps, usual: Ulps| {
            if of == usual {
                return Ok(());
            }
            write!(f, ", {name} {}", of.constant)?;
            if of.slope == 0.0 { f.write_str(" ulp") } else { write!(f, " + {}|x| ulp", of.slope) }
        };
        ulps(f, "exp", self.exp, usual.exp)?;
        ulps(f, "log", self.log, usual.log)?;
        ulps(f, "tanh", self.tanh, usual.tanh)?;
        ulps(f, "division", self.division, usual.division)?;
        if self.log_absolute != usual.log_absolute {
            write!(f, ", log_absolute {:e}", self.log_absolute)?;
        }
        for (name, additions) in
            [("additions", self.additions), ("product_additions", self.product_additions)]
        {
            if let Additions::Chain(longest) = additions {
                write!(f, ", {name} {longest}")?;
            }
        }
        if self.rescales != usual.rescales {
            write!(f, ", rescales {}", self.rescales)?;
        }
        if self.difference == Difference::Shifted {
            f.write_str(", difference shifted")?;
        }
        if self.target == Target::Apart {
            f.write_str(", target apart")?;
        }
        Ok(())
    }
}
