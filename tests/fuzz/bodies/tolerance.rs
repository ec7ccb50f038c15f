//! How far the kernels may be from the reference on any row at all: their documented bounds for
//! adversaries, and what the f64 of both sides rounds away where logits are huge.

use dpo_kernel::verify::cases::RowCase;
use dpo_kernel::verify::{Figure, Tolerance};

/// ½ ulp of an f32 near 1.
pub const HALF_ULP: f64 = 5.960_464_477_539_063e-8;
/// Relative error of Z at an adversary's worst: a lane of a block adds eight quads, each of which
/// may lose half an ulp of it. Found is 3.2e-7 (`findings::rows_of_two_values`).
const OF_Z: f64 = 8.0 * HALF_ULP;
/// Gradients below it are 0.
const FLUSHED: f64 = 4.701_977_403_289_15e-38; // 2^-124

/// The sizes that bounds depend on.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The largest |y| that is finite.
    largest: f64,
    /// c / temperature, or 0 without a softcap.
    cap: f64,
    scale: f64,
    softcap: Option<f64>,
    /// dy/dx where tanh' = 1.
    slope: f64,
}

impl Sizes {
    pub fn of(case: &RowCase, y: &[f64]) -> Self {
        let transform = case.transform;
        let finite = y.iter().map(|y| y.abs()).filter(|y| y.is_finite());
        Self {
            largest: finite.fold(0.0, f64::max),
            cap: transform.softcap.map_or(0.0, |c| c / transform.temperature),
            scale: transform.scale,
            softcap: transform.softcap,
            slope: transform.scale / transform.temperature,
        }
    }

    /// Some roundings of a product of y and the transform's factors in f64.
    fn of_f64(self) -> f64 {
        8.0 * f64::EPSILON * self.largest
    }

    /// An ulp of c / temperature as f32, which a softcap may err by 2.5 of.
    fn of_cap(self) -> f64 {
        if self.cap > 0.0 { 2.5 * f32::ulp(self.cap) } else { 0.0 }
    }

    /// Of log Z, in f64.
    pub fn log_z(self) -> Tolerance {
        Tolerance::EXACT.and_absolute(OF_Z + self.of_cap() + self.of_f64())
    }

    /// Of a log-prob before it is rounded: the error of the other columns, as far as they count,
    /// and of the distance of the target to them.
    pub fn log_prob(self, expected: f64) -> Tolerance {
        let rest = -libm::expm1(expected);
        let others = (OF_Z + 2.0 * self.of_cap()) * rest;
        Tolerance::EXACT.and_absolute(others + self.of_f64()).and_relative(8.0 * f64::EPSILON)
    }

    /// Of the gradient −c · p · slope of a column with logit x, relative to it and rounded to F.
    pub fn column(self, x: f64, log_p: f64, coefficient: f64) -> Tolerance {
        let contract = match self.softcap {
            None => 4.0 + log_p.abs(),
            Some(c) => {
                let u = (self.scale * x / c).abs();
                2.4 * (4.0 + 2.0 * self.cap + 4.0 * u + log_p.abs())
            }
        };
        let relative = contract * HALF_ULP + self.of_f64();
        self.rounded(coefficient).and_relative(relative)
    }

    /// Of the target's gradient c · (1 − p) · slope.
    pub fn target(self, x: f64, coefficient: f64) -> Tolerance {
        let contract = match self.softcap {
            None => 0.0,
            // tanh′ is made of e^(−2u), and u is rounded twice.
            Some(c) => 2.4 * (1.0 + 2.0 * self.cap + 4.0 * (self.scale * x / c).abs()),
        };
        // What Z errs by, and the rounding of 1 − p.
        let relative = OF_Z + (1.0 + contract) * HALF_ULP + self.of_f64();
        self.rounded(coefficient).and_relative(relative)
    }

    /// One rounding to storage; 0 for 2^−124 and less, of the gradient and of a softcap's tanh′; 1
    /// − p below the normal f32.
    fn rounded(self, coefficient: f64) -> Tolerance {
        let slope = coefficient.abs() * self.slope;
        let bend = if self.softcap.is_some() { FLUSHED * slope } else { 0.0 };
        Tolerance::ulps(0.5).and_absolute(FLUSHED + bend + f32::ulp(0.0) * slope)
    }
}
