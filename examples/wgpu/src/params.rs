//! What the shaders are told of a call: shapes, and the constants of the transform.

use std::f64::consts::{LN_2, LOG2_E};

use bytemuck::{Pod, Zeroable};

use crate::Error;
use crate::formula::words;

/// `y = c·tanh(scale·x / c) / temperature`, or `y = scale·x / temperature` without a softcap: the
/// library's [`Transform`](dpo_kernel::Transform), with parameters that the shaders can be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// k, with y = k·v
    factor: f64,
    /// v = tanh(inner·x), or x
    inner: Option<f32>,
    /// dy/dx at 0
    slope: f64,
    of_library: dpo_kernel::Transform,
}

impl Transform {
    /// y = x.
    pub const NONE: Self =
        Self { factor: 1.0, inner: None, slope: 1.0, of_library: dpo_kernel::Transform::NONE };

    /// A transform from its three parameters.
    ///
    /// # Errors
    /// [`Error::Library`] if one of them, or a quotient, is outside of what the library takes.
    pub fn new(scale: f32, softcap: Option<f32>, temperature: f32) -> Result<Self, Error> {
        let of_library = dpo_kernel::Transform::new(scale, softcap, temperature)?;
        let (scale, temperature) = (f64::from(scale), f64::from(temperature));
        let slope = scale / temperature;
        let Some(cap) = softcap.map(f64::from) else {
            return Ok(Self { factor: slope, inner: None, slope, of_library });
        };
        #[allow(clippy::cast_possible_truncation, reason = "checked to be a normal f32")]
        let inner = (scale / cap) as f32;
        Ok(Self { factor: cap / temperature, inner: Some(inner), slope, of_library })
    }

    /// The same for the library.
    #[must_use]
    pub fn of_library(&self) -> dpo_kernel::Transform {
        self.of_library
    }

    pub(crate) fn slope(&self) -> f64 {
        self.slope
    }
}

/// As in `params.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Params {
    pub(crate) rows: u32,
    pub(crate) vocab: u32,
    pub(crate) stride: u32,
    pub(crate) start: u32,
    pub(crate) first_row: u32,
    pub(crate) ignore_index: u32,
    pub(crate) flags: u32,
    pub(crate) zero: u32,
    pub(crate) log2e: f32,
    pub(crate) ln2_high: f32,
    pub(crate) ln2_low: f32,
    pub(crate) factor: f32,
    pub(crate) inner: f32,
    pub(crate) limit: f32,
    pub(crate) unit_log2e: f32,
    pub(crate) unit_ln2_high: f32,
    pub(crate) unit_ln2_low: f32,
    pub(crate) unit_floor: f32,
    pub(crate) hidden_size: u32,
    pub(crate) out_start: u32,
    pub(crate) out_stride: u32,
    pub(crate) rate: f32,
    pub(crate) factor_double: [u32; 2],
    pub(crate) ln2_double: [u32; 2],
    pub(crate) slope_double: [u32; 2],
    pub(crate) log2e_double: [u32; 2],
    pub(crate) plain_ln2_double: [u32; 2],
}

pub(crate) const SOFTCAP: u32 = 1;
pub(crate) const BIAS: u32 = 2;
pub(crate) const HEAD: u32 = 8;

/// ln 2 / k as two words, of which the first has 12 bits.
#[allow(clippy::cast_possible_truncation, reason = "constants are split into f32 words")]
fn two_words(ln2: f64) -> (f32, f32) {
    let high = f32::from_bits((ln2 as f32).to_bits() & 0xffff_f000);
    (high, (ln2 - f64::from(high)) as f32)
}

impl Params {
    /// Of no rows.
    #[allow(clippy::cast_possible_truncation, reason = "constants are rounded to f32")]
    pub(crate) fn new(transform: &Transform, ignore_index: u32) -> Self {
        let Transform { factor, inner, slope, .. } = *transform;
        let (ln2_high, ln2_low) = two_words(LN_2 / factor);
        let (unit_ln2_high, unit_ln2_low) = two_words(LN_2);
        Self {
            ignore_index,
            flags: if inner.is_some() { SOFTCAP } else { 0 },
            zero: 0,
            log2e: (factor * LOG2_E) as f32,
            ln2_high,
            ln2_low,
            factor: factor as f32,
            inner: inner.unwrap_or(1.0),
            // tanh rounds to 1 from 44 on.
            limit: 100.0 / inner.unwrap_or(1.0),
            unit_log2e: LOG2_E as f32,
            unit_ln2_high,
            unit_ln2_low,
            unit_floor: (-127.0 * LN_2) as f32,
            factor_double: words(factor),
            ln2_double: words(LN_2 / factor),
            slope_double: words(slope),
            log2e_double: words(LOG2_E),
            plain_ln2_double: words(LN_2),
            ..Self::zeroed()
        }
    }
}
