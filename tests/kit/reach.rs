//! Faults that show in some sizes alone, or in some places of a row: every plan reaches them.

use std::convert::Infallible;

use dpo_kernel::verify::kit::{Backend, Format, Head, Output, Plan, Precision, RowOut, Rows, run};
use dpo_kernel::verify::{Transform, log_sum_exp, logit_grads, transform_row};

use crate::planted::SINGLE;

/// Where the figures are wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    None,
    /// V = 50257 alone: what follows the first columns is not summed.
    SumOfFirst(usize),
    /// The last 32 columns are lost where V is larger than this.
    LastWarpBeyond(usize),
    /// The maximum is that of the first columns.
    MaximumOfFirst(usize),
    TargetOf16Bits,
    /// Rows from this one on are not computed.
    RowsFrom(usize),
    /// The accumulator of a head's products starts anew.
    ProductsReset(usize),
    /// That of a hidden gradient along V.
    GradsReset(usize),
    /// Coefficients are numbers of f16 or bf16, or at most 2, where the logits are of f32.
    CoefficientRounded(Format),
    CoefficientClamped,
}

/// The reference in f64, rounded to f32, and a fault.
struct Reach(Fault);

/// The last sum of a row of sums that begin anew at each tile.
fn reset(terms: &[f64], tile: Option<usize>) -> f64 {
    let last = tile.and_then(|tile| terms.chunks(tile).next_back());
    last.unwrap_or(terms).iter().sum()
}

impl Reach {
    fn forward(&self, y: &[f64], target: u32) -> [f64; 2] {
        let v = y.len();
        let summed = match self.0 {
            Fault::SumOfFirst(n) if v == 50_257 => &y[..n],
            Fault::LastWarpBeyond(n) if v > n => &y[..v - 32],
            _ => y,
        };
        let log_z = match self.0 {
            Fault::MaximumOfFirst(n) => {
                let max = y[..n.min(v)].iter().copied().fold(f64::NEG_INFINITY, f64::max) as f32;
                let sum: f32 = y.iter().map(|&y| (y as f32 - max).exp()).sum();
                f64::from(max + sum.ln())
            }
            _ => log_sum_exp(summed),
        };
        let target = if self.0 == Fault::TargetOf16Bits { target & 0xffff } else { target };
        [y[target as usize] - log_z, log_z].map(|x| f64::from(x as f32))
    }

    fn coefficient(&self, c: f32) -> f64 {
        match self.0 {
            Fault::CoefficientRounded(format) => format.round(c.into()),
            Fault::CoefficientClamped => f64::from(c).clamp(-2.0, 2.0),
            _ => c.into(),
        }
    }

    fn computes(&self, targets: &[u32], ignore: u32) -> Vec<usize> {
        let most = if let Fault::RowsFrom(n) = self.0 { n } else { usize::MAX };
        (0..targets.len().min(most)).filter(|&row| targets[row] != ignore).collect()
    }

    fn logits(&self, head: &Head<'_, f32>, row: usize) -> Vec<f64> {
        let size = head.hidden_size;
        let h = &head.hidden[row * size..][..size];
        let tile = if let Fault::ProductsReset(n) = self.0 { Some(n) } else { None };
        let of = |j: usize| {
            let w = &head.weight[j * size..][..size];
            let terms: Vec<f64> =
                h.iter().zip(w).map(|(&h, &w)| f64::from(h) * f64::from(w)).collect();
            reset(&terms, tile) + head.bias.map_or(0.0, |bias| bias[j].into())
        };
        (0..head.vocab).map(of).collect()
    }
}

fn transformed(x: &[f64], transform: &Transform) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    transform_row(x, transform, &mut y);
    y
}

impl Backend for Reach {
    type Element = f32;
    type Error = Infallible;

    fn name(&self) -> &str {
        "reach"
    }

    fn precision(&self) -> Precision {
        SINGLE
    }

    fn offers(&self) -> &[Output] {
        match self.0 {
            Fault::ProductsReset(_) | Fault::GradsReset(_) => {
                &[Output::HeadLogProb, Output::HeadLogZ, Output::HiddenGrads]
            }
            Fault::CoefficientRounded(_) | Fault::CoefficientClamped => {
                &[Output::LogitGrads, Output::HiddenGrads]
            }
            Fault::None | Fault::RowsFrom(_) => &[
                Output::LogProb,
                Output::LogZ,
                Output::LogitGrads,
                Output::HeadLogProb,
                Output::HeadLogZ,
                Output::HiddenGrads,
            ],
            _ => &[Output::LogProb, Output::LogZ],
        }
    }

    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, f32>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Infallible> {
        for row in self.computes(rows.targets, rows.ignore) {
            let x = rows.logits[row * rows.stride..][..rows.vocab].iter();
            let y = transformed(&x.map(|&x| x.into()).collect::<Vec<f64>>(), &rows.transform);
            [out.log_probs[row], out.log_z[row]] = self.forward(&y, rows.targets[row]);
        }
        Ok(())
    }

    fn logit_grads(
        &mut self,
        rows: &Rows<'_, f32>,
        coefficients: &[f32],
        grads: &mut [f32],
    ) -> Result<(), Infallible> {
        for row in self.computes(rows.targets, rows.ignore) {
            let x = rows.logits[row * rows.stride..][..rows.vocab].iter();
            let x: Vec<f64> = x.map(|&x| x.into()).collect();
            let (target, c) = (rows.targets[row] as usize, self.coefficient(coefficients[row]));
            let mut dx = vec![0.0; rows.vocab];
            if c != 0.0 {
                logit_grads(&x, &rows.transform, target, c, &mut dx);
            }
            let to = grads[row * rows.stride..][..rows.vocab].iter_mut();
            to.zip(dx).for_each(|(to, dx)| *to = dx as f32);
        }
        Ok(())
    }

    fn head(&mut self, head: &Head<'_, f32>, out: &mut RowOut<'_>) -> Result<(), Infallible> {
        for row in self.computes(head.targets, head.ignore) {
            let y = transformed(&self.logits(head, row), &head.transform);
            [out.log_probs[row], out.log_z[row]] = self.forward(&y, head.targets[row]);
        }
        Ok(())
    }

    fn hidden_grads(
        &mut self,
        head: &Head<'_, f32>,
        coefficients: &[f32],
        d_hidden: &mut [f64],
    ) -> Result<(), Infallible> {
        let size = head.hidden_size;
        let tile = if let Fault::GradsReset(n) = self.0 { Some(n) } else { None };
        for row in self.computes(head.targets, head.ignore) {
            let (x, c) = (self.logits(head, row), self.coefficient(coefficients[row]));
            let mut dx = vec![0.0; x.len()];
            logit_grads(&x, &head.transform, head.targets[row] as usize, c, &mut dx);
            for (k, to) in d_hidden[row * size..][..size].iter_mut().enumerate() {
                let terms = dx.iter().enumerate();
                let terms: Vec<f64> =
                    terms.map(|(j, g)| g * f64::from(head.weight[j * size + k])).collect();
                *to = f64::from(reset(&terms, tile) as f32);
            }
        }
        Ok(())
    }
}

/// `KIT_SEEDS=20` takes more of them.
fn shows_in_every_seed(fault: Fault) {
    let seeds = std::env::var("KIT_SEEDS").ok().and_then(|n| n.parse::<u64>().ok());
    for seed in 70..70 + seeds.unwrap_or(1) {
        let report = run(&mut Reach(fault), Plan::new(seed));
        assert!(!report.is_accurate(), "{fault:?} is clean in seed {seed}");
    }
}

#[test]
fn without_a_fault_nothing_fails() {
    let report = run(&mut Reach(Fault::None), Plan::new(70));
    assert!(report.is_clean(), "{report}");
}

#[test]
fn wide_rows_are_read_to_their_end() {
    shows_in_every_seed(Fault::SumOfFirst(1024));
    shows_in_every_seed(Fault::LastWarpBeyond(8192));
    shows_in_every_seed(Fault::LastWarpBeyond(100_000));
    shows_in_every_seed(Fault::MaximumOfFirst(1024));
    shows_in_every_seed(Fault::TargetOf16Bits);
}

#[test]
fn many_rows_are_computed_to_the_last() {
    for rows in [6, 32, 64, 128, 1024] {
        shows_in_every_seed(Fault::RowsFrom(rows));
    }
}

#[test]
fn sums_of_deep_and_wide_heads_are_whole() {
    for tile in [64, 256, 512, 1024] {
        shows_in_every_seed(Fault::ProductsReset(tile));
        shows_in_every_seed(Fault::GradsReset(tile));
    }
}

#[test]
fn coefficients_are_kept_as_they_are() {
    shows_in_every_seed(Fault::CoefficientRounded(Format::F16));
    shows_in_every_seed(Fault::CoefficientRounded(Format::Bf16));
    shows_in_every_seed(Fault::CoefficientClamped);
}
