//! What rows and heads draw alike: targets, coefficients, numbers as they are stored.

use alloc::vec::Vec;

use super::super::random::Random;
use super::IGNORE;
use crate::Element;

/// Targets of rows: one row is scored at least, and one in five of the others is not.
pub(super) fn targets(
    rows: usize,
    random: &mut Random,
    mut column: impl FnMut(&mut Random) -> usize,
) -> Vec<u32> {
    let scored = random.below(rows);
    (0..rows)
        .map(|row| {
            let target = id(column(random));
            if row != scored && random.chance(0.2) { IGNORE } else { target }
        })
        .collect()
}

/// A column as a target.
pub(super) fn id(column: usize) -> u32 {
    u32::try_from(column).unwrap_or_default()
}

/// The coefficient of a row.
pub(super) fn coefficient(random: &mut Random) -> f32 {
    let size = sixty_fourths(random.between(0.05, 2.0));
    narrow(if random.chance(0.5) { -size } else { size })
}

/// Numbers below 2 that all formats hold: hosts of 16 bits round no coefficient.
fn sixty_fourths(x: f64) -> f64 {
    libm::rint(x * 64.0) / 64.0
}

pub(super) fn stored<E: Element>(values: &[f64]) -> Vec<E> {
    values.iter().map(|&x| E::from_f32(narrow(x))).collect()
}

/// As f32 holds it.
#[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
pub(super) const fn narrow(x: f64) -> f32 {
    x as f32
}
