//! Rows to test with: seeded, the same on every machine, in every storage type.

use dpo_kernel::verify::Figure;
pub use dpo_kernel::verify::cases::{stored, widened as widen};
use dpo_kernel::{Element, verify};

pub use crate::common::store::Store;

/// Runs one body, generic over the storage type, on all three.
macro_rules! for_each_element {
    ($body:ident($($arg:expr),*)) => {{
        $body::<f32>($($arg),*);
        $body::<dpo_kernel::f16>($($arg),*);
        $body::<dpo_kernel::bf16>($($arg),*);
    }};
}
pub(crate) use for_each_element;

/// SplitMix64, with `libm` for the normal distribution: no platform has a say in the inputs.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / 4_503_599_627_370_496.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.bits() % end as u64).unwrap()
    }

    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }
}

/// V normal logits, as they are stored.
pub fn normal_row<E: Element>(vocab: usize, sigma: f64, shift: f64, seed: u64) -> Vec<E> {
    let mut random = Random::new(seed);
    (0..vocab).map(|_| E::from_f32((sigma * random.normal() + shift) as f32)).collect()
}

/// The three parameters of a transform, for both sides.
#[derive(Clone, Copy, PartialEq)]
pub struct Params {
    pub scale: f32,
    pub softcap: Option<f32>,
    pub temperature: f32,
}

impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scale, softcap, temperature } = self;
        match softcap {
            None => write!(f, "{scale}x/{temperature}"),
            Some(c) => write!(f, "{c} tanh({scale}x/{c})/{temperature}"),
        }
    }
}

impl Params {
    pub const NONE: Self = Self { scale: 1.0, softcap: None, temperature: 1.0 };

    pub fn kernel(self) -> dpo_kernel::Transform {
        dpo_kernel::Transform::new(self.scale, self.softcap, self.temperature).unwrap()
    }

    pub fn exact(self) -> verify::Transform {
        verify::Transform {
            scale: self.scale.into(),
            softcap: self.softcap.map(f64::from),
            temperature: self.temperature.into(),
        }
    }

    /// y of a row, exactly.
    pub fn apply(self, x: &[f64]) -> Vec<f64> {
        let mut y = vec![f64::NAN; x.len()];
        verify::transform_row(x, &self.exact(), &mut y);
        y
    }
}

/// The distance of neighbouring f32 at the size of x.
pub fn ulp(x: f64) -> f64 {
    f32::ulp(x)
}
