//! Sums in f64, and how far those of f32 may be from them.

use dpo_kernel::verify;
use dpo_kernel::verify::cases::RowCase;

use super::DROPPED;
use crate::bodies::store::Store;
use crate::bodies::tolerance::{HALF_ULP, Sizes};

/// A number, and how far it may be off; NaN where terms are beyond f32, as their sum may be then.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    pub value: f64,
    pub error: f64,
}

impl Term {
    pub const fn exact(value: f64) -> Self {
        Self { value, error: 0.0 }
    }

    pub const fn is_beyond(&self) -> bool {
        self.error.is_nan()
    }

    /// Whether a number that was rounded to G may be this one.
    pub fn holds<G: Store>(self, found: f32, what: impl Fn() -> String) -> Result<(), String> {
        if self.is_beyond() {
            return Ok(());
        }
        let rounded = |x: f64| G::from_f32(x as f32).to_f32();
        let (least, most) = (rounded(self.value - self.error), rounded(self.value + self.error));
        if (least..=most).contains(&found) {
            return Ok(());
        }
        Err(format!("{}: {found}, not {} ± {}", what(), self.value, self.error))
    }
}

/// Σ term · weight, in chains of 256 terms at most.
pub fn sum(terms: impl Iterator<Item = (Term, f64)>) -> Term {
    let (mut value, mut size, mut error, mut count) = (0.0_f64, 0.0_f64, 0.0_f64, 0_usize);
    for (term, weight) in terms {
        // Masked by a weight that is none, a column gives 0 · ∞ to the gradient.
        value += term.value * weight;
        size += (term.value * weight).abs();
        error += term.error * weight.abs();
        count += 1;
    }
    if size.is_nan() || size > 1e30 || error.is_nan() {
        return Term { value, error: f64::NAN };
    }
    // Chains, and as many of them as there are; a few more roundings.
    let additions = (count.min(256) + count / 256 + 8) as f64 * HALF_ULP;
    Term { value, error: error + additions * size + DROPPED }
}

/// The gradient of each logit of a row.
pub fn row_terms(row: &RowCase) -> Vec<Term> {
    if row.coefficient == 0.0 {
        return vec![Term::exact(0.0); row.logits.len()];
    }
    let (x, y, exact) = (row.exact::<f32>(), row.transformed::<f32>(), row.grads::<f32>());
    let (sizes, log_z) = (Sizes::of(row, &y), verify::log_sum_exp(&y));
    let slope = row.coefficient.abs() * row.transform.scale / row.transform.temperature;
    let of_column = |column: usize| {
        if x[column] == f64::NEG_INFINITY {
            return Term::exact(0.0);
        }
        let tolerance = if column == row.target {
            sizes.target(x[column], row.coefficient)
        } else {
            sizes.column(x[column], y[column] - log_z, row.coefficient)
        };
        let value = exact[column];
        let error = tolerance.relative * value.abs() + tolerance.absolute + DROPPED * slope;
        Term { value, error }
    };
    (0..x.len()).map(of_column).collect()
}
