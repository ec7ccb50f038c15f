//! What rows and heads draw alike: targets, coefficients, numbers as they are stored.

use alloc::vec::Vec;

use super::super::Format;
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

/// The sizes that coefficients of a call have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Coefficients {
    /// 64ths below 2: numbers of every format, so that what else is wrong shows in all digits.
    Plain,
    /// From near 0 to this, with all digits of the storage: hosts of 16 bits round no coefficient,
    /// and one that is rounded, clamped or flushed shows.
    UpTo(f64),
}

impl Coefficients {
    /// Three calls in ten have all sizes.
    pub(super) fn drawn(most: f64, random: &mut Random) -> Self {
        if random.chance(0.3) { Self::UpTo(most) } else { Self::Plain }
    }

    /// The coefficient of a row.
    pub(super) fn draw<E: Element>(self, random: &mut Random) -> f32 {
        let size = match self {
            Self::Plain => libm::rint(random.between(0.05, 2.0) * 64.0) / 64.0,
            Self::UpTo(most) => {
                // f16 has no normal numbers below 6e-5.
                let least = if Format::of::<E>() == Format::F16 { 1e-4 } else { 1e-9 };
                libm::exp(random.between(libm::log(least), libm::log(most)))
            }
        };
        let signed = narrow(if random.chance(0.5) { -size } else { size });
        E::from_f32(signed).to_f32()
    }
}

pub(super) fn stored<E: Element>(values: &[f64]) -> Vec<E> {
    values.iter().map(|&x| E::from_f32(narrow(x))).collect()
}

/// As f32 holds it.
#[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
pub(super) const fn narrow(x: f64) -> f32 {
    x as f32
}
