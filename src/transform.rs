//! What a model does to its logits after the head: scale, softcap, temperature.

use crate::Error;
use crate::error::Parameter;
use crate::simd::softcap::Softcap;

/// `y = c·tanh(scale·x / c) / temperature`, or `y = scale·x / temperature` without a softcap.
///
/// x is what lies in the buffer, y the logit whose softmax is the policy. Log-probs are those of y;
/// gradients are with respect to x: the backward multiplies by dy/dx.
///
/// A masked x = −inf stays masked (y = −inf) under a softcap too.
///
/// # Numerics
/// Scale and temperature cost no rounding: their quotient enters the exponential's reduction as a
/// two-word constant. tanh is evaluated in f32 lanes, so log Z and log-probs under a softcap carry
/// an error of up to 2.5 ulp of c / temperature (2.2 found by a search, where that is just below
/// 32).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// k, with y = k·v
    factor: f64,
    /// v = tanh(inner·x) if there is a softcap, else v = x
    softcap: Option<Softcap>,
    /// dy/dx at x = 0
    slope: f64,
}

impl Transform {
    /// y = x.
    pub const NONE: Self = Self { factor: 1.0, softcap: None, slope: 1.0 };

    /// A transform from its three parameters; 1, `None`, 1 is [`Transform::NONE`].
    ///
    /// # Errors
    /// [`Error::Parameter`] if one of them is not finite and positive, or if one of their quotients
    /// lies outside [1e-30, 1e30].
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::Transform;
    /// let gemma = Transform::new(1.0, Some(30.0), 0.7)?;
    /// let cohere = Transform::new(0.0625, None, 1.0)?;
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    pub fn new(scale: f32, softcap: Option<f32>, temperature: f32) -> Result<Self, Error> {
        let scale = positive(Parameter::Scale, scale)?;
        let temperature = positive(Parameter::Temperature, temperature)?;
        let slope = normal(scale / temperature)?;
        match softcap {
            None => Ok(Self { factor: slope, softcap: None, slope }),
            Some(cap) => {
                let cap = positive(Parameter::Softcap, cap)?;
                let inner = normal(scale / cap)?;
                #[allow(clippy::cast_possible_truncation, reason = "checked to be a normal f32")]
                let softcap = Some(Softcap::new(inner as f32));
                Ok(Self { factor: normal(cap / temperature)?, softcap, slope })
            }
        }
    }

    /// Whether y = x.
    pub(crate) fn is_none(self) -> bool {
        // Without a softcap the slope is the factor. It is above 0, so equal numbers have equal bits,
        // and comparing those calls nothing where f64 is software.
        self.factor.to_bits() == 1.0_f64.to_bits() && self.softcap.is_none()
    }

    pub(crate) const fn factor(self) -> f64 {
        self.factor
    }

    pub(crate) const fn softcap(self) -> Option<Softcap> {
        self.softcap
    }

    pub(crate) const fn slope(self) -> f64 {
        self.slope
    }
}

impl Default for Transform {
    fn default() -> Self {
        Self::NONE
    }
}

fn positive(parameter: Parameter, value: f32) -> Result<f64, Error> {
    let value = f64::from(value);
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(Error::Parameter { parameter, value })
    }
}

/// Quotients must keep a reciprocal in f32 too: the kernels divide by them.
fn normal(value: f64) -> Result<f64, Error> {
    if (1e-30..=1e30).contains(&value) {
        Ok(value)
    } else {
        Err(Error::Parameter { parameter: Parameter::Transform, value })
    }
}
