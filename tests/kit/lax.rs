//! Nothing passes by promising little, or by answering little.

use std::convert::Infallible;

use dpo_kernel::verify::PairResult;
use dpo_kernel::verify::kit::{
    Backend, Format, Head, Output, Pairs, Plan, Precision, RowOut, Rows, run,
};

use crate::plain::{Plain, Style};

/// What becomes of right answers.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Kept,
    /// Each finite figure of rows of 128 columns or more is NaN.
    NanWhereWide,
}

struct Spoilt {
    plain: Plain<f32, f64>,
    how: How,
}

impl Spoilt {
    fn new(precision: Precision, how: How) -> Self {
        Self { plain: Plain::new(Style::PLAIN, precision), how }
    }

    fn spoil(&self, vocab: usize, figures: &mut [f64]) {
        let to = match self.how {
            How::NanWhereWide if vocab >= 128 => f64::NAN,
            _ => return,
        };
        // What the buffers held before stays.
        for figure in figures.iter_mut().filter(|x| x.is_finite() && **x != 1216.0) {
            *figure = to;
        }
    }

    fn spoil_forward(&self, vocab: usize, out: &mut RowOut<'_>) {
        for list in [
            &mut *out.log_probs,
            &mut *out.log_z,
            &mut *out.entropy,
            &mut *out.mean_logit,
            &mut *out.log_sum_sq_probs,
        ] {
            self.spoil(vocab, list);
        }
    }
}

impl Backend for Spoilt {
    type Element = f32;
    type Error = Infallible;

    fn name(&self) -> &str {
        "spoilt"
    }

    fn precision(&self) -> Precision {
        self.plain.precision
    }

    fn offers(&self) -> &[Output] {
        &self.plain.offers
    }

    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, f32>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Infallible> {
        self.plain.token_log_probs(rows, out)?;
        self.spoil_forward(rows.vocab, out);
        Ok(())
    }

    fn logit_grads(
        &mut self,
        rows: &Rows<'_, f32>,
        coefficients: &[f32],
        grads: &mut [f32],
    ) -> Result<(), Infallible> {
        self.plain.logit_grads(rows, coefficients, grads)?;
        for row in (0..rows.rows).filter(|&row| rows.is_scored(row)) {
            for g in &mut grads[row * rows.stride..][..rows.vocab] {
                let mut wide = [f64::from(*g)];
                self.spoil(rows.vocab, &mut wide);
                *g = wide[0] as f32;
            }
        }
        Ok(())
    }

    fn pair_loss(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), Infallible> {
        self.plain.pair_loss(pairs, out)
    }

    fn head(&mut self, head: &Head<'_, f32>, out: &mut RowOut<'_>) -> Result<(), Infallible> {
        self.plain.head(head, out)?;
        self.spoil_forward(head.vocab, out);
        Ok(())
    }

    fn hidden_grads(
        &mut self,
        head: &Head<'_, f32>,
        coefficients: &[f32],
        d_hidden: &mut [f64],
    ) -> Result<(), Infallible> {
        self.plain.hidden_grads(head, coefficients, d_hidden)?;
        self.spoil(head.vocab, d_hidden);
        Ok(())
    }
}

/// However wide a bound is, a finite figure is asked for.
#[test]
fn nan_fails_at_any_precision() {
    for format in [Format::Bf16, Format::F16] {
        let precision = Precision::new(format, Format::F32);
        assert!(run(&mut Spoilt::new(precision, How::Kept), Plan::new(3)).is_clean());
        let report = run(&mut Spoilt::new(precision, How::NanWhereWide), Plan::new(3));
        for output in Output::ALL.into_iter().filter(|&o| o != Output::Argmax) {
            let failed = report.failures.iter().filter(|failure| failure.output == output).count();
            let least = if output == Output::PairLoss { 0 } else { 30 };
            assert!(failed >= least, "{}: {output}: {failed} rows fail", format.name());
        }
        for tested in &report.tested {
            // Sums of f16 may leave its range: of gradients, those of the widest rows do.
            let most = match (format, tested.output) {
                (Format::Bf16, _) => tested.figures / 100,
                (_, Output::LogitGrads) => continue,
                _ => tested.figures / 8,
            };
            assert!(tested.unbounded <= most, "{}: {tested:?}", format.name());
        }
    }
}
