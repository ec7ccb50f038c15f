//! What most code does, in f32; and exact enough to check against, in f64.

use dpo_kernel::Element;

/// A maximum, a sum of `exp`, a logarithm.
pub fn log_z<E: Element>(row: &[E]) -> f32 {
    let top = row.iter().map(|x| x.to_f32()).fold(f32::NEG_INFINITY, f32::max);
    top + row.iter().map(|x| (x.to_f32() - top).exp()).sum::<f32>().ln()
}

/// The log-prob of a target.
pub fn log_prob<E: Element>(row: &[E], target: u32) -> f32 {
    row[target as usize].to_f32() - log_z(row)
}

/// −c · p over the row, c · (1 − p) at the target, in place.
pub fn grads<E: Element>(row: &mut [E], target: u32, c: f32) {
    let log_z = log_z(row);
    let p = (row[target as usize].to_f32() - log_z).exp();
    for x in row.iter_mut() {
        *x = E::from_f32(-c * (x.to_f32() - log_z).exp());
    }
    row[target as usize] = E::from_f32(c * (1.0 - p));
}

/// log Z in f64.
pub fn exact_log_z<E: Element>(row: &[E]) -> f64 {
    let top = f64::from(row.iter().map(|x| x.to_f32()).fold(f32::NEG_INFINITY, f32::max));
    top + row.iter().map(|x| (f64::from(x.to_f32()) - top).exp()).sum::<f64>().ln()
}
