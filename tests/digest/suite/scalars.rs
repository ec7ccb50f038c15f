//! The scalar functions on grids of bit patterns and of values.

use dpo_kernel::math;

use super::Plan;
use super::digest::Digest;
use super::logits::bits;

/// f32: bit patterns from one end of the range to the other, and values where the functions bend.
#[inline(never)]
pub fn single(plan: &Plan) -> Digest {
    let mut digest = Digest::new();
    let step = u32::MAX / plan.scalars;
    let patterns = (0..plan.scalars).map(|i| f32::from_bits(i * step));
    let values = (0..plan.scalars).map(|i| i as f32 * (240.0 / plan.scalars as f32) - 120.0);
    for (i, x) in (0..).zip(patterns.chain(values)) {
        digest.add(math::f32::log_sigmoid(x));
        digest.add(math::f32::sigmoid(x));
        digest.add(math::f32::softplus(x));
        digest.add(math::f32::log1mexp(x));
        let other = x + f32::from_bits(0x4000_0000 | (bits(i, 0) >> 34) as u32);
        digest.add(math::f32::logaddexp(x, other));
    }
    digest
}

/// f64, likewise.
#[inline(never)]
pub fn double(plan: &Plan) -> Digest {
    let mut digest = Digest::new();
    let step = u64::MAX / u64::from(plan.scalars);
    let patterns = (0..plan.scalars).map(|i| f64::from_bits(u64::from(i) * step));
    let pitch = 1600.0 / f64::from(plan.scalars);
    let values = (0..plan.scalars).map(|i| f64::from(i) * pitch - 800.0);
    let fine = (0..plan.scalars).map(|i| f64::from(i) * pitch / 160.0 - 5.0);
    for (i, x) in (0..).zip(patterns.chain(values).chain(fine)) {
        digest.add(math::log_sigmoid(x));
        digest.add(math::sigmoid(x));
        digest.add(math::softplus(x));
        digest.add(math::log1mexp(x));
        let other = x + f64::from((bits(i, 1) >> 40) as u32) / 1_048_576.0;
        digest.add(math::logaddexp(x, other));
    }
    digest
}
