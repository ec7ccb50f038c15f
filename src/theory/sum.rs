//! Compensated summation.
//!
//! Source: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen" (ZAMM
//! 54, 1974).

/// A sum and, separately, its rounding errors: in effect one rounding, for any number of terms.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    rounded: f64,
    lost: f64,
}

impl Sum {
    /// Adds a term.
    pub(super) fn add(&mut self, term: f64) {
        let rounded = self.rounded + term;
        self.lost += if self.rounded.abs() >= term.abs() {
            (self.rounded - rounded) + term
        } else {
            (term - rounded) + self.rounded
        };
        self.rounded = rounded;
    }

    /// The sum. An infinite term makes the errors NaN; the rounded sum is then right by itself.
    pub(super) fn value(self) -> f64 {
        if self.rounded.is_finite() { self.rounded + self.lost } else { self.rounded }
    }
}
