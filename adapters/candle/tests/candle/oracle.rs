//! Loss and logit gradients by candle's operations in f64, with bounds on what f32 may differ.
//!
//! A token's log-prob is within δ = 2⁻²⁴ (|log p| + |log Z|) + 3e-8: the rounding of log Z and of
//! log p to f32, and the crate's bound on log Z. What that does to the loss and to ∂L/∂log p is
//! found by asking the oracle at every corner ±δ, all tokens of a sequence alike; twice the largest
//! change is allowed, for what lies between. An element of the gradient is
//!
//! ```text
//! c · (onehot − p)      |Δ| ≤ |Δc| · |onehot − p| + |c| · |onehot − p| · (4 + max |ln p|) · 2⁻²⁴
//!                            + one rounding to the type
//! ```

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::case::{Case, ROWS, VOCAB, numbers};

pub(crate) struct Oracle {
    loss: (f64, f64),
    /// Each element with its bound, without the last rounding.
    pub(crate) grads: Vec<(f64, f64)>,
}

/// From token log-probs, R, to the loss.
pub(crate) type OfTokens<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;

impl Oracle {
    /// Of logits that are what their type can hold, and what is uncertain of them by itself.
    pub(crate) fn new(case: &Case, logits: &Tensor, uncertain: f64, of_tokens: OfTokens) -> Self {
        Self::try_new(case, logits, uncertain, of_tokens).unwrap()
    }

    fn try_new(case: &Case, logits: &Tensor, uncertain: f64, of_tokens: OfTokens) -> Result<Self> {
        let logits = Var::from_tensor(&logits.to_dtype(DType::F64)?)?;
        let tokens = case.token_log_probs(&logits)?;
        let loss = of_tokens(&tokens)?;
        let grads = loss.backward()?;
        let grads = numbers(grads.get(&logits).expect("a gradient"));

        let log_probs = numbers(&candle_nn::ops::log_softmax(&logits, 1)?.detach());
        let (x, tokens) = (numbers(&logits), numbers(&tokens));
        let delta: Vec<f64> = (0..ROWS)
            .map(|row| {
                let lse = x[row * VOCAB] - log_probs[row * VOCAB];
                2_f64.powi(-24) * (tokens[row].abs() + lse.abs()) + 3e-8 + 2.0 * uncertain
            })
            .collect();
        let at = |tokens: Vec<f64>| -> Result<(f64, Vec<f64>)> {
            let tokens = Var::from_vec(tokens, ROWS, &Device::Cpu)?;
            let loss = of_tokens(&tokens)?;
            let grads = loss.backward()?;
            let c = grads.get(&tokens).map_or_else(|| vec![0.0; ROWS], numbers);
            Ok((loss.to_scalar()?, c))
        };
        let (loss, c) = at(tokens.clone())?;
        let (mut loss_bound, mut c_bound) = (0.0_f64, vec![0.0_f64; ROWS]);
        for corner in 0..1 << case.spans.len() {
            let moved = (0..ROWS).map(|row| {
                let is_up = case.sequence(row).is_some_and(|i| corner >> i & 1 == 1);
                tokens[row] + if is_up { delta[row] } else { -delta[row] }
            });
            let (moved_loss, moved_c) = at(moved.collect())?;
            loss_bound = loss_bound.max(2.0 * (moved_loss - loss).abs());
            for (bound, (moved, c)) in c_bound.iter_mut().zip(moved_c.iter().zip(&c)) {
                *bound = bound.max(2.0 * (moved - c).abs());
            }
        }
        let grads = grads.iter().enumerate().map(|(i, &grad)| {
            let row = i / VOCAB;
            if case.sequence(row).is_none() {
                return (0.0, 0.0);
            }
            let is_target = i % VOCAB == case.targets[row] as usize;
            let part = (f64::from(u8::from(is_target)) - log_probs[i].exp()).abs();
            let least = log_probs[row * VOCAB..][..VOCAB].iter().fold(0.0_f64, |m, x| m.min(*x));
            let of_p = (4.0 - least) * 2_f64.powi(-24) + 2.0 * uncertain;
            (grad, c_bound[row] * part + c[row].abs() * part * of_p)
        });
        let loss_bound = loss_bound + 2_f64.powi(-24) * loss.abs();
        Ok(Self { loss: (loss, loss_bound), grads: grads.collect() })
    }

    /// What differs by more than it may.
    pub(crate) fn differs(&self, loss: f32, grads: &Tensor) -> Option<String> {
        let (expected, bound) = self.loss;
        let loss = f64::from(loss);
        let is_near = (loss - expected).abs() <= bound;
        if !is_near {
            return Some(format!("loss {loss}, not {expected} ± {bound:e}"));
        }
        differs(&self.grads, grads)
    }
}

/// The first element that is further from what was due than its bound and one rounding to the
/// tensor's type.
pub(crate) fn differs(expected: &[(f64, f64)], found: &Tensor) -> Option<String> {
    let (unit, least) = match found.dtype() {
        DType::F32 => (2_f64.powi(-24), 2_f64.powi(-150)),
        DType::F16 => (2_f64.powi(-11), 2_f64.powi(-25)),
        DType::BF16 => (2_f64.powi(-8), 2_f64.powi(-134)),
        other => panic!("{other:?}"),
    };
    let found = numbers(found);
    assert_eq!(found.len(), expected.len(), "elements");
    found.iter().zip(expected).enumerate().find_map(|(i, (&found, &(expected, bound)))| {
        // What is due as an exact zero may not be −0 or almost 0.
        if expected == 0.0 && bound == 0.0 {
            return (found.to_bits() != 0).then(|| format!("element {i}: {found:e}, not 0"));
        }
        let bound = bound + unit * (expected.abs() + bound) + least;
        let is_near = (found - expected).abs() <= bound;
        (!is_near).then(|| format!("element {i}: {found:e}, not {expected:e} ± {bound:e}"))
    })
}
