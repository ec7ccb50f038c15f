//! Figures that are as far off as sums of 16 bits are, and do not come from such sums.

use std::convert::Infallible;

use dpo_kernel::bf16;
use dpo_kernel::verify::kit::{Backend, Mistake, Output, Plan, Precision, RowOut, Rows, run};

use super::SINGLE;

/// What is wrong about log Z in f32.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nothing.
    None,
    /// ln is off by 1e-4.
    FastLog,
    /// 1e-6 is added to the sum.
    Epsilon,
    /// Exponentials are rounded to bf16, sums are not.
    NarrowTerms,
    /// log₂ e has five digits.
    ShortLog2e,
    /// exp(max(x, −10)).
    Clamped,
    /// The first column counts twice.
    FirstTwice,
    /// Logits under a softcap are rounded to bf16.
    NarrowSoftcap,
    /// The target's id has 8 bits.
    NarrowTarget,
    /// The target's logit is not divided by the temperature.
    TargetWithoutTemperature,
    /// Of wide rows, the last 32 columns are left out.
    LastWarp,
}

struct Near(Fault);

impl Near {
    fn exp(&self, x: f32) -> f32 {
        match self.0 {
            Fault::NarrowTerms => bf16::from_f32(x.exp()).to_f32(),
            Fault::ShortLog2e => (x * (14_427.0 / 10_000.0)).exp2(),
            Fault::Clamped => x.max(-10.0).exp(),
            _ => x.exp(),
        }
    }
}

impl Backend for Near {
    type Element = f32;
    type Error = Infallible;

    fn name(&self) -> &str {
        "near"
    }

    fn precision(&self) -> Precision {
        SINGLE
    }

    fn offers(&self) -> &[Output] {
        &[Output::LogProb, Output::LogZ]
    }

    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, f32>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Infallible> {
        let transform = rows.transform;
        for row in (0..rows.rows).filter(|&row| rows.is_scored(row)) {
            let x = &rows.logits[row * rows.stride..][..rows.vocab];
            let y = |&x: &f32| match self.0 {
                Fault::NarrowSoftcap if transform.softcap.is_some() => {
                    bf16::from_f64(transform.apply(x.into())).to_f32()
                }
                _ => transform.apply(x.into()) as f32,
            };
            let mut y: Vec<f32> = x.iter().map(y).collect();
            let max = y.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut target = rows.targets[row] as usize;
            let mut sum = match self.0 {
                Fault::LastWarp if rows.vocab > 512 => &y[..rows.vocab - 32],
                _ => &y[..],
            }
            .iter()
            .map(|y| self.exp(y - max))
            .sum::<f32>();
            match self.0 {
                Fault::Epsilon => sum += 1e-6,
                Fault::FirstTwice => sum += self.exp(y[0] - max),
                Fault::NarrowTarget => target = usize::from(target as u8),
                Fault::TargetWithoutTemperature => y[target] *= transform.temperature as f32,
                _ => {}
            }
            let off = if matches!(self.0, Fault::FastLog) { 1e-4 * (3.0 * sum).sin() } else { 0.0 };
            let log_sum = sum.ln() + off;
            out.log_z[row] = (max + log_sum).into();
            out.log_probs[row] = (y[target] - max - log_sum).into();
        }
        Ok(())
    }
}

#[test]
fn what_is_as_far_off_is_not_taken_for_narrow_sums() {
    use Fault::*;
    let all = [
        FastLog,
        Epsilon,
        NarrowTerms,
        ShortLog2e,
        Clamped,
        FirstTwice,
        NarrowSoftcap,
        NarrowTarget,
        TargetWithoutTemperature,
        LastWarp,
    ];
    assert!(run(&mut Near(None), Plan::new(80)).is_accurate());
    for fault in all {
        for seed in 80..82 {
            let report = run(&mut Near(fault), Plan::new(seed));
            assert!(report.failures.len() > 20, "{fault:?}: {} rows", report.failures.len());
            let narrow = report
                .causes
                .iter()
                .find(|(cause, count)| matches!(cause, Mistake::NarrowSums(_)) && *count > 0);
            assert!(narrow.is_none(), "{fault:?}, seed {seed}: {:?}", report.causes);
        }
    }
}
