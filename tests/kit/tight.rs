//! No bound hides what it is for: figures that are off by five millionths, where f32 with short
//! chains is promised, fail in most rows, output by output. Zeros fail in nearly all.

use dpo_kernel::verify::kit::{
    Additions, Backend, Call, Difference, Format, Head, Output, Pairs, Plan, Precision, RowOut,
    Rows, run,
};
use dpo_kernel::verify::{
    self, PairResult, argmax, entropy, log_prob, log_sum_exp, log_sum_sq_probs, mean_logit,
    transform_row,
};

const PRECISION: Precision = Precision {
    additions: Additions::Chain(12),
    product_additions: Additions::Chain(12),
    difference: Difference::Shifted,
    ..Precision::new(Format::F32, Format::F32)
};

/// The reference, times a factor.
struct Off {
    factor: f64,
    /// Whether the call is one of those that are counted.
    is_counted: bool,
    /// Rows without entropy, those whose Σp² is 1, and those without hidden gradients: they have no
    /// error to see.
    blank: [usize; 3],
}

impl Off {
    const fn new(factor: f64) -> Self {
        Self { factor, is_counted: true, blank: [0; 3] }
    }

    fn forward(&self, x: &[f64], transform: &verify::Transform, target: usize) -> [f64; 6] {
        let mut y = vec![0.0; x.len()];
        transform_row(x, transform, &mut y);
        let figures = [
            log_prob(&y, target),
            log_sum_exp(&y),
            entropy(&y),
            mean_logit(&y),
            log_sum_sq_probs(&y),
        ];
        let [a, b, c, d, e] = figures.map(|figure| f64::from((figure * self.factor) as f32));
        [a, b, c, d, e, argmax(&y).map_or(0.0, |column| column as f64)]
    }

    fn grads(&self, x: &[f64], transform: &verify::Transform, target: usize, c: f64) -> Vec<f64> {
        let mut dx = vec![0.0; x.len()];
        if c != 0.0 {
            verify::logit_grads(x, transform, target, c * self.factor, &mut dx);
        }
        dx
    }
}

fn logits(head: &Head<'_, f32>, row: usize) -> Vec<f64> {
    let size = head.hidden_size;
    let h = &head.hidden[row * size..][..size];
    let of = |j: usize| {
        let w = &head.weight[j * size..][..size];
        let product: f64 = h.iter().zip(w).map(|(&h, &w)| f64::from(h) * f64::from(w)).sum();
        product + head.bias.map_or(0.0, |bias| bias[j].into())
    };
    (0..head.vocab).map(of).collect()
}

impl Backend for Off {
    type Element = f32;
    type Error = std::convert::Infallible;

    fn name(&self) -> &str {
        "off"
    }

    fn precision(&self) -> Precision {
        PRECISION
    }

    fn offers(&self) -> &[Output] {
        &Output::ALL
    }

    fn accepts(&mut self, call: &Call<f32>) -> Result<(), String> {
        self.is_counted = is_counted(&call.name);
        Ok(())
    }

    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, f32>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Self::Error> {
        for row in (0..rows.rows).filter(|&row| rows.is_scored(row)) {
            let x = rows.logits[row * rows.stride..][..rows.vocab].iter();
            let x: Vec<f64> = x.map(|&x| x.into()).collect();
            let figures = self.forward(&x, &rows.transform, rows.targets[row] as usize);
            out.log_probs[row] = figures[0];
            out.log_z[row] = figures[1];
            out.entropy[row] = figures[2];
            out.mean_logit[row] = figures[3];
            out.log_sum_sq_probs[row] = figures[4];
            for (blank, figure) in self.blank.iter_mut().zip([figures[2], figures[4]]) {
                *blank += usize::from(self.is_counted && figure.abs() < 1e-12);
            }
            out.argmax[row] = figures[5] as u32;
        }
        Ok(())
    }

    fn logit_grads(
        &mut self,
        rows: &Rows<'_, f32>,
        coefficients: &[f32],
        grads: &mut [f32],
    ) -> Result<(), Self::Error> {
        for row in (0..rows.rows).filter(|&row| rows.is_scored(row)) {
            let x = rows.logits[row * rows.stride..][..rows.vocab].iter();
            let x: Vec<f64> = x.map(|&x| x.into()).collect();
            let c = coefficients[row].into();
            let dx = self.grads(&x, &rows.transform, rows.targets[row] as usize, c);
            let to = &mut grads[row * rows.stride..][..rows.vocab];
            to.iter_mut().zip(dx).for_each(|(to, from)| *to = from as f32);
        }
        Ok(())
    }

    fn pair_loss(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), Self::Error> {
        for (i, to) in out.iter_mut().enumerate() {
            let (weight, offset) = (pairs.weights[i], pairs.offsets[i]);
            let of = verify::preference_loss(&pairs.dpo, &pairs.log_probs[i], weight, offset);
            let off = |figure: f64| f64::from((figure * self.factor) as f32);
            *to = PairResult {
                loss: off(of.loss),
                reward_chosen: off(of.reward_chosen),
                reward_rejected: off(of.reward_rejected),
                margin: off(of.margin),
                d_chosen: off(of.d_chosen),
                d_rejected: off(of.d_rejected),
            };
        }
        Ok(())
    }

    fn head(&mut self, head: &Head<'_, f32>, out: &mut RowOut<'_>) -> Result<(), Self::Error> {
        for row in (0..head.rows).filter(|&row| head.targets[row] != head.ignore) {
            let x = logits(head, row);
            let figures = self.forward(&x, &head.transform, head.targets[row] as usize);
            out.log_probs[row] = figures[0];
            out.log_z[row] = figures[1];
        }
        Ok(())
    }

    fn hidden_grads(
        &mut self,
        head: &Head<'_, f32>,
        coefficients: &[f32],
        d_hidden: &mut [f64],
    ) -> Result<(), Self::Error> {
        let size = head.hidden_size;
        for row in (0..head.rows).filter(|&row| head.targets[row] != head.ignore) {
            let (x, c) = (logits(head, row), coefficients[row].into());
            let dx = self.grads(&x, &head.transform, head.targets[row] as usize, c);
            for (k, to) in d_hidden[row * size..][..size].iter_mut().enumerate() {
                let terms = dx.iter().enumerate();
                let sum: f64 = terms.map(|(j, g)| g * f64::from(head.weight[j * size + k])).sum();
                *to = f64::from(sum as f32);
            }
            let is_blank = d_hidden[row * size..][..size].iter().all(|x| x.abs() < 1e-12);
            self.blank[2] += usize::from(self.is_counted && is_blank);
        }
        Ok(())
    }
}

/// A call of a thousand rows has one shape, and would outweigh all others.
fn is_counted(call: &str) -> bool {
    !call.starts_with("sizes-")
}

/// The share of rows that fail, for each output.
fn failing(factor: f64) -> Vec<(Output, f64)> {
    let mut right = Off::new(1.0);
    let report = run(&mut right, Plan::new(5));
    assert!(report.is_accurate(), "{report}");
    let report = run(&mut Off::new(factor), Plan::new(5));
    let rows = |output: Output| {
        let of = |call: &dpo_kernel::verify::kit::Call<f32>| match &call.given {
            dpo_kernel::verify::kit::Given::Rows(of) => {
                of.targets.iter().filter(|&&t| t != of.ignore).count()
            }
            // NaN times 0 is right beside a row of NaN.
            dpo_kernel::verify::kit::Given::Head(of) => {
                let rows = of.hidden.chunks(of.hidden_size).zip(&of.targets);
                rows.filter(|(h, t)| **t != of.ignore && !h[0].is_nan()).count()
            }
            dpo_kernel::verify::kit::Given::Pairs(of) => {
                of.weights.iter().filter(|&&w| w > 0.0).count()
            }
        };
        let calls = Plan::new(5).groups::<f32>().flat_map(|group| group.calls);
        calls
            .filter(|call| call.given.outputs().contains(&output) && is_counted(&call.name))
            .map(|call| of(&call))
            .sum::<usize>()
    };
    let share = |&output: &Output| {
        let failed = report
            .failures
            .iter()
            .filter(|failure| failure.output == output && is_counted(&failure.call))
            .count();
        let blank = match output {
            Output::Entropy => right.blank[0],
            Output::LogSumSqProbs => right.blank[1],
            Output::HiddenGrads => right.blank[2],
            _ => 0,
        };
        (output, failed as f64 / (rows(output) - blank) as f64)
    };
    Output::ALL.iter().map(share).collect()
}

/// Rows without an error to see, such as log-probs of 0 and means of masked rows, are the rest. With
/// bounds of ten times the size none of these shares is reached.
#[test]
fn small_errors_fail() {
    let outputs = [
        (Output::LogProb, 0.7),
        (Output::LogZ, 0.8),
        (Output::Entropy, 0.35),
        (Output::MeanLogit, 0.4),
        (Output::LogSumSqProbs, 0.4),
        (Output::LogitGrads, 0.65),
        (Output::PairLoss, 0.95),
        (Output::HeadLogProb, 0.6),
        (Output::HeadLogZ, 0.9),
    ];
    // The terms of a hidden gradient cancel, and its bound is that of their sizes.
    for (by, outputs) in [(5e-6, &outputs[..]), (2e-5, &[(Output::HiddenGrads, 0.25)])] {
        let shares = failing(1.0 + by);
        for &(output, least) in outputs {
            let (_, share) = shares.iter().find(|(of, _)| *of == output).unwrap();
            assert!(*share >= least, "{output}: {share:.3} of the rows fail, at least {least}");
        }
    }
}

#[test]
fn zeros_fail() {
    for (output, share) in failing(0.0).into_iter().filter(|(of, _)| *of != Output::Argmax) {
        assert!(share >= 0.75, "{output}: {share:.3} of the rows fail");
    }
}
