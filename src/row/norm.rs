//! What the backward needs of a row.

use super::base::Base;

/// What the backward needs of a row: its normaliser, and 1 − p of its target. 16 bytes.
///
/// ```text
/// p_j = e^(k·(v_j − shift)) / 2^exponent · inverse      for every column but the target
/// ```
///
/// where y = k·v is the logit of the [`Transform`](crate::Transform). Made by
/// [`token_log_probs`](crate::token_log_probs) where
/// [`TokenOut::with_norms`](crate::TokenOut::with_norms) asks for it, and by
/// [`RowStats::norm`](super::RowStats::norm); its numbers are private. The default, all zeros, is
/// room for one, which the backward refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct RowNorm {
    /// 0, or a value near the row's largest where logits are huge.
    pub(crate) shift: f32,
    pub(crate) exponent: i32,
    /// 2^exponent · e^(k·shift) / Z, in [½, 1].
    pub(crate) inverse: f32,
    /// 1 − p(target), without cancellation.
    pub(crate) complement: f32,
}

impl RowNorm {
    /// The norm of a row without a finite log Z: refused by the backward.
    pub(crate) const INVALID: Self =
        Self { shift: f32::NAN, exponent: 0, inverse: f32::NAN, complement: f32::NAN };

    /// Whether the backward can use it.
    #[inline]
    pub(crate) fn is_valid(&self) -> bool {
        self.shift.is_finite()
            && self.inverse > 0.25
            && self.inverse <= 1.0
            && (0.0..=1.0).contains(&self.complement)
    }

    /// By what numbers relative to this norm's base are multiplied to be relative to another's.
    #[allow(clippy::cast_possible_truncation, reason = "the one rounding to f32")]
    pub(crate) fn scale_to(&self, other: &Self, factor: f64) -> f32 {
        let [from, to] = [self, other].map(|of| Base { shift: of.shift, exponent: of.exponent });
        let (part, power, _) = from.over(to, factor);
        libm::scalbn(part, power) as f32
    }

    /// Of a row whose Z is `sum` times its base, finite; `complement` is 1 − p of the target.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "norms are stored in f32")]
    pub(super) fn new(base: Base, sum: f64, complement: f64) -> Self {
        // sum = mantissa · 2^power, mantissa in [1, 2): a normal number, so its bits hold both.
        let bits = sum.to_bits();
        let power = (bits >> 52) as i32 - 1023;
        let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | 1.0_f64.to_bits());
        Self {
            shift: base.shift,
            exponent: base.exponent + power,
            inverse: (1.0 / mantissa) as f32,
            complement: complement as f32,
        }
    }
}
