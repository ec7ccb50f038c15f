//! Nothing passes by promising little, or by answering little.

use std::convert::Infallible;

use dpo_kernel::verify::PairResult;
use dpo_kernel::verify::kit::{
    Additions, Backend, Call, Difference, Format, Head, Output, Pairs, Plan, Precision, Report,
    RowOut, Rows, Target, Ulps, run,
};

use crate::plain::{Plain, Style};
use crate::planted::SINGLE;

/// What becomes of right answers.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Kept,
    /// Each finite figure of rows of 128 columns or more is NaN.
    NanWhereWide,
    /// Each finite figure of rows and heads is 0.
    Zeros,
    /// All calls but the first of so many are declined.
    Declines(usize),
    /// All calls of pairs are.
    DeclinesPairs,
}

struct Spoilt {
    plain: Plain<f32, f64>,
    how: How,
    asked: usize,
}

impl Spoilt {
    fn new(precision: Precision, how: How) -> Self {
        Self { plain: Plain::new(Style::PLAIN, precision), how, asked: 0 }
    }

    fn spoil(&self, vocab: usize, figures: &mut [f64]) {
        let to = match self.how {
            How::NanWhereWide if vocab >= 128 => f64::NAN,
            How::Zeros => 0.0,
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

    fn accepts(&mut self, call: &Call<f32>) -> Result<(), String> {
        self.asked += 1;
        let declines = match self.how {
            How::Declines(n) => self.asked % n != 1,
            How::DeclinesPairs => call.name.starts_with("pairs"),
            _ => false,
        };
        if declines { Err("not today".to_owned()) } else { Ok(()) }
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

/// Each error of a function as large as is taken.
fn laxest(format: Format) -> Precision {
    let unit = 2.0 * format.unit();
    let most = (1.0 / 64.0 / unit).max(8.0);
    let worst = Ulps::new(most).and_slope(most);
    Precision {
        exp: worst,
        log: worst,
        tanh: worst,
        division: worst,
        log_absolute: most * unit,
        rescales: usize::MAX,
        ..Precision::new(format, format)
    }
}

#[test]
fn zeros_fail_at_any_precision_that_is_taken() {
    let rows = [Output::LogProb, Output::LogZ, Output::LogitGrads, Output::HeadLogProb];
    for format in Format::ALL {
        assert_eq!(laxest(format).check(), Ok(()));
        let report = run(&mut Spoilt::new(laxest(format), How::Zeros), Plan::new(3));
        for output in rows {
            let failed = report.failures.iter().filter(|failure| failure.output == output).count();
            assert!(failed > 5, "{}: {output}: {failed} rows fail", format.name());
        }
    }
}

#[test]
fn an_error_that_is_none_of_a_function_is_refused() {
    let much = 131_073.0;
    let wrong = [
        ("exp.constant", much, Precision { exp: Ulps::new(much), ..SINGLE }),
        ("exp.slope", much, Precision { exp: Ulps::new(1.0).and_slope(much), ..SINGLE }),
        ("log.constant", f64::INFINITY, Precision { log: Ulps::new(f64::INFINITY), ..SINGLE }),
        ("tanh.constant", -1.0, Precision { tanh: Ulps::new(-1.0), ..SINGLE }),
        ("division.slope", 1e9, Precision { division: Ulps::new(1.0).and_slope(1e9), ..SINGLE }),
        ("log_absolute", 1e40, Precision { log_absolute: 1e40, ..SINGLE }),
        ("log_absolute", 0.016, Precision { log_absolute: 0.016, ..SINGLE }),
        (
            "exp.constant",
            8.5,
            Precision { exp: Ulps::new(8.5), ..Precision::new(Format::Bf16, Format::F32) },
        ),
    ];
    for (field, value, precision) in wrong {
        let refused = precision.check().unwrap_err();
        assert_eq!((refused.field, refused.value), (field, value));
        let report = run(&mut Spoilt::new(precision, How::Kept), Plan::new(3));
        assert_eq!((report.refused, report.calls), (Some(refused), 0));
        assert!(!report.is_accurate() && !report.is_clean());
        let words = format!("REFUSED: the precision's {field} is {value:?}, where 0 to ");
        assert!(report.to_string().contains(&words), "{report}");
    }
    let nan = Precision { log_absolute: f64::NAN, ..SINGLE };
    assert!(nan.check().unwrap_err().value.is_nan());
}

#[test]
fn all_that_is_declared_is_shown() {
    assert_eq!(SINGLE.to_string(), "arithmetic f32, figures in f32");
    let precision = Precision {
        pair: Format::F64,
        product: Format::Bf16,
        head_logits: Format::F16,
        head_grads: Format::F16,
        hidden_grads: Format::Bf16,
        exp: Ulps::new(3.0).and_slope(2.0),
        log: Ulps::new(3.0),
        log_absolute: 0.5f64.powi(21),
        tanh: Ulps::new(5.0),
        division: Ulps::new(2.5),
        additions: Additions::Chain(12),
        product_additions: Additions::Chain(7),
        rescales: 64,
        difference: Difference::Shifted,
        target: Target::Apart,
        ..SINGLE
    };
    let words = "arithmetic f32, figures in f32, pair f64, product bf16, head_logits f16, \
                 head_grads f16, hidden_grads bf16, exp 3 + 2|x| ulp, log 3 ulp, tanh 5 ulp, \
                 division 2.5 ulp, log_absolute 4.76837158203125e-7, additions 12, \
                 product_additions 7, rescales 64, difference shifted, target apart";
    assert_eq!(precision.to_string(), words);
    let report = run(&mut Spoilt::new(precision, How::Kept), Plan::new(3)).to_string();
    assert!(report.contains(&format!("precision: {words}\n")), "{report}");
}

/// Bounds that hold nothing are counted: hardly any in f32, some in bf16.
#[test]
fn what_is_held_to_nothing_is_counted() {
    let of = |precision| run(&mut Spoilt::new(precision, How::Kept), Plan::new(3));
    let sum = |report: &Report| report.tested.iter().map(|tested| tested.vacuous).sum::<usize>();
    let (single, narrow) = (of(SINGLE), of(laxest(Format::Bf16)));
    assert!(sum(&single) * 100 < single.compared(), "{single}");
    assert!(sum(&narrow) > 10 * sum(&single), "{narrow}");
    let words = format!("({} of {} figures are held to nothing)", sum(&narrow), narrow.compared());
    assert!(narrow.to_string().contains(&format!("accuracy: ok {words}, ")), "{narrow}");
}

#[test]
fn declining_most_calls_is_not_clean() {
    let of = |how| run(&mut Spoilt::new(SINGLE, how), Plan::new(3));
    let all = of(How::Kept);
    assert!(all.is_clean() && !all.to_string().contains("declined"), "{all}");
    let few = of(How::Declines(9));
    assert!(few.is_accurate() && !few.is_complete() && !few.is_clean(), "{few}");
    let (declined, calls) = (few.declined.len(), few.declined.len() + few.calls);
    let words = format!(", {declined} of {calls} calls declined: TOO MANY\n");
    assert!(few.to_string().contains(&words), "{few}");
    // One output is enough.
    let pairs = of(How::DeclinesPairs);
    assert!(!pairs.is_complete() && !pairs.is_clean(), "{pairs}");
    for tested in &pairs.tested {
        let declined = if tested.output == Output::PairLoss { tested.calls } else { 0 };
        assert_eq!((tested.declined, tested.is_complete()), (declined, declined == 0));
        assert!(tested.calls > 10, "{tested:?}");
    }
    let words = |n: usize| format!("; {n} of {n} calls declined; NOT TESTED");
    assert!(pairs.to_string().contains(&words(pairs.declined.len())), "{pairs}");
}
