//! What figures may be off by, against the library's plain reference in f64.

use dpo_kernel::verify::{self, Figure, Mismatch, Tolerance, compare};
use dpo_kernel_wgpu::Element;

use super::{Batch, DIRTY, Found};

/// 2⁻²⁴
pub const UNIT: f64 = 1.0 / 16_777_216.0;

/// What f32, f16 and bf16 need beyond the crate's trait.
pub trait Number: Element + Figure + std::fmt::Debug {}

impl<E: Element + Figure + std::fmt::Debug> Number for E {}

/// The bounds, and the worst that was found of each as a part of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst {
    /// log Z and log p, beyond their rounding, in nats.
    pub log_z: f64,
    pub log_prob: f64,
    /// p in the gradient, in (4 + 2c/T + 2|u| + |ln p|)·2⁻²⁴ where there is a softcap, else in
    /// (4 + |ln p|)·2⁻²⁴.
    pub p: f64,
    pub capped_p: f64,
    /// The target's gradient, relative in 2⁻²⁴, and under a softcap in (1 + 2c/T + 2|u|)·2⁻²⁴.
    pub target: f64,
    pub capped_target: f64,
}

// The library's own bounds of portable arithmetic, whose tests search for the worst: `docs/numerics.md`.

/// log Z beyond the half ulp of its f32, in nats; log p likewise, times 1 − p.
pub const LOG_Z: f64 = 2.2e-7;
pub const P: f64 = 0.67;
pub const CAPPED_P: f64 = 2.4;
pub const TARGET: f64 = 2.1;
pub const CAPPED_TARGET: f64 = 2.4;

/// Gradients below it may be 0.
const LEAST: f64 = 4.7e-38;

/// Every figure of a batch against exact values, and what was not to be written.
pub fn judge<E: Number>(
    batch: &Batch<E>,
    found: &Found<E>,
    worst: &mut Worst,
) -> Result<(), Mismatch> {
    let transform = verify::Transform {
        scale: batch.scale.into(),
        softcap: batch.softcap.map(f64::from),
        temperature: batch.temperature.into(),
    };
    // Of values near the softcap: an ulp of c/T.
    let cap = batch.softcap.map_or(0.0, |cap| f64::from(cap) / f64::from(batch.temperature));
    let of_cap = if cap > 0.0 { 2.5 * <f32 as Figure>::ulp(cap) } else { 0.0 };
    for row in 0..batch.rows {
        let target = batch.targets[row];
        let place = row * batch.stride;
        let grads = &found.grads[place..(place + batch.stride).min(found.grads.len())];
        if target == batch.ignore_index {
            for x in [found.log_probs[row], found.log_z[row]] {
                compare("a row that is not scored", row as f64, DIRTY.into(), x, Tolerance::EXACT)?;
            }
            for &x in grads {
                compare("its gradients", row as f64, DIRTY.into(), x, Tolerance::EXACT)?;
            }
            continue;
        }
        let target = target as usize;
        let x: Vec<f64> =
            batch.logits[place..][..batch.vocab].iter().map(|x| f64::from(x.to_f32())).collect();
        let mut y = vec![0.0; batch.vocab];
        verify::transform_row(&x, &transform, &mut y);
        let (log_z, log_prob) = (verify::log_sum_exp(&y), verify::log_prob(&y, target));
        // Of rows of huge logits their distances are what is rounded.
        let half = Tolerance::ulps(0.5);
        let error = (f64::from(found.log_z[row]) - log_z).abs();
        let beyond = error - 0.5 * <f32 as Figure>::ulp(log_z) - of_cap;
        if found.log_z[row].is_finite() {
            worst.log_z = worst.log_z.max(beyond);
        }
        let allowed = half.and_absolute(LOG_Z + of_cap);
        compare("log Z", row as f64, log_z, found.log_z[row], allowed)?;
        let share = -log_prob.exp_m1();
        let error = (f64::from(found.log_probs[row]) - log_prob).abs();
        let beyond = (error - 0.5 * <f32 as Figure>::ulp(log_prob)) / share - 2.0 * of_cap;
        if found.log_probs[row].is_finite() && share > 0.0 {
            worst.log_prob = worst.log_prob.max(beyond);
        }
        let allowed = half.and_absolute((LOG_Z + 2.0 * of_cap) * share);
        compare("log p", x[target], log_prob, found.log_probs[row], allowed)?;

        let c = batch.coefficients[row];
        let mut expected = vec![0.0; batch.vocab];
        verify::logit_grads(&x, &transform, target, c, &mut expected);
        for column in 0..batch.vocab {
            let (expected, found) = (expected[column], grads[column]);
            let inner = batch
                .softcap
                .map_or(0.0, |cap| f64::from(batch.scale) * x[column].abs() / f64::from(cap));
            let ln_p = (y[column] - log_z).abs();
            let (unit, bound, seen) = match (column == target, batch.softcap.is_some()) {
                (true, false) => (1.0, TARGET, &mut worst.target),
                (true, true) => {
                    (1.0 + 2.0 * cap + 2.0 * inner, CAPPED_TARGET, &mut worst.capped_target)
                }
                (false, false) => (4.0 + ln_p, P, &mut worst.p),
                (false, true) => {
                    (4.0 + 2.0 * cap + 2.0 * inner + ln_p, CAPPED_P, &mut worst.capped_p)
                }
            };
            let is_ordinary = expected.abs() > LEAST && unit.is_finite() && expected.is_finite();
            if is_ordinary {
                let error = (f64::from(found.to_f32()) - expected).abs() - 0.5 * E::ulp(expected);
                *seen = seen.max(error / expected.abs() / UNIT / unit);
            }
            let relative = if is_ordinary { bound * unit * UNIT } else { 0.0 };
            let absolute = if is_ordinary { 0.0 } else { LEAST };
            let allowed = half.and_relative(relative).and_absolute(absolute);
            compare("a gradient", x[column], expected, found, allowed)?;
        }
        for &x in &grads[batch.vocab..] {
            compare("padding", row as f64, DIRTY.into(), x, Tolerance::EXACT)?;
        }
    }
    Ok(())
}
