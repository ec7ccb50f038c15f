//! Two mistakes at once, and none: noise has no cause.

use std::convert::Infallible;

use dpo_kernel::verify::PairResult;
use dpo_kernel::verify::kit::{
    Backend, Head, Mistake, Output, Pairs, Plan, Precision, RowOut, Rows, run,
};

use super::{SINGLE, report};
use crate::plain::{Plain, Style};

fn both_are_named(faults: [Mistake; 2], offers: &[Output]) {
    for seed in 40..42 {
        let report = report::<f32>(&faults, offers, seed);
        let named: Vec<Mistake> = report.causes.iter().map(|&(cause, _)| cause).take(2).collect();
        assert!(
            faults.iter().all(|fault| named.contains(fault)),
            "{faults:?}: {:?}",
            report.causes
        );
    }
}

#[test]
fn mistakes_of_forward_and_backward_are_both_named() {
    both_are_named([Mistake::LogBase2, Mistake::FirstCoefficient], super::cases::ROWS);
    both_are_named([Mistake::EntropyInBits, Mistake::NoSlope], super::cases::ROWS);
}

#[test]
fn mistakes_of_different_kernels_are_both_named() {
    both_are_named([Mistake::AddsOffset, Mistake::BiasEveryTile(16)], &Output::ALL);
    both_are_named([Mistake::TargetOfNextRow, Mistake::SwapsPairs], &Output::ALL);
}

#[test]
fn mistakes_of_different_inputs_are_both_named() {
    both_are_named([Mistake::NoTemperature, Mistake::LeadingMaskedTile(32)], super::cases::ROWS);
    both_are_named([Mistake::NoLabelSmoothing, Mistake::NoOffset], super::cases::PAIRS);
}

/// A right backend, and noise on some of its figures: three times what they may be off.
struct Noisy {
    plain: Plain<f32, f32>,
    state: u64,
}

impl Noisy {
    /// ±3 in one of four figures, else 0.
    fn noise(&mut self) -> f64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        match self.state >> 61 {
            0 => 3.0,
            1 => -3.0,
            _ => 0.0,
        }
    }
}

impl Backend for Noisy {
    type Element = f32;
    type Error = Infallible;

    fn name(&self) -> &str {
        "noisy"
    }

    fn precision(&self) -> Precision {
        SINGLE
    }

    fn offers(&self) -> &[Output] {
        &Output::ALL
    }

    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, f32>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Infallible> {
        self.plain.token_log_probs(rows, out)?;
        for row in (0..rows.rows).filter(|&row| rows.is_scored(row)) {
            // The size of the bound: V u, and what a shift adds.
            let unit = f64::from(f32::EPSILON);
            let off = unit * (rows.vocab as f64 + out.log_z[row].abs());
            if off.is_finite() {
                out.log_probs[row] += self.noise() * off;
                out.log_z[row] += self.noise() * off;
                out.entropy[row] += self.noise() * off * 4.0;
            }
        }
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
                let off = f32::EPSILON * (rows.vocab as f32 + 100.0);
                *g *= 1.0 + self.noise() as f32 * off;
            }
        }
        Ok(())
    }

    fn pair_loss(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), Infallible> {
        self.plain.pair_loss(pairs, out)?;
        for (out, pair) in out.iter_mut().zip(pairs.log_probs) {
            let off = f64::from(f32::EPSILON) * (pair.policy_chosen.abs() + 16.0);
            out.loss *= 1.0 + self.noise() * off;
            out.d_chosen *= 1.0 + self.noise() * off;
        }
        Ok(())
    }

    fn head(&mut self, head: &Head<'_, f32>, out: &mut RowOut<'_>) -> Result<(), Infallible> {
        self.plain.head(head, out)?;
        for x in out.log_z.iter_mut().filter(|x| x.is_finite() && **x != 1216.0) {
            *x *= 1.0 + self.noise() * f64::from(f32::EPSILON) * head.hidden_size as f64;
        }
        Ok(())
    }

    fn hidden_grads(
        &mut self,
        head: &Head<'_, f32>,
        coefficients: &[f32],
        d_hidden: &mut [f64],
    ) -> Result<(), Infallible> {
        self.plain.hidden_grads(head, coefficients, d_hidden)
    }
}

#[test]
fn noise_has_no_cause() {
    for seed in 60..63 {
        let plain = Plain::new(Style::PLAIN, SINGLE);
        let report = run(&mut Noisy { plain, state: seed }, Plan::new(seed));
        assert!(report.failures.len() > 100, "the noise is to be seen: {}", report.failures.len());
        let explained = report.failures.len() - report.unexplained();
        assert_eq!(explained, 0, "{:?} of {}", report.causes, report.failures.len());
    }
}
