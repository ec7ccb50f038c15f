//! `AdamW` (Loshchilov, Hutter 2019) as PyTorch has it, and the clip of a gradient's norm.

use candle_core::{Device, Tensor, Var};

use crate::Outcome;

/// Gradients of all trained matrices, in their order.
pub type Grads = Vec<Vec<f32>>;

/// How a step is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    /// β₁ and β₂ of the moments.
    pub keep: (f64, f64),
    /// ε below the fraction.
    pub epsilon: f64,
    /// λ.
    pub weight_decay: f64,
    /// The norm above which a gradient is made shorter; none to leave it.
    pub clip: Option<f64>,
}

impl Default for Hyper {
    /// What TRL has by default.
    fn default() -> Self {
        Self { keep: (0.9, 0.999), epsilon: 1e-8, weight_decay: 0.0, clip: Some(1.0) }
    }
}

/// The moments of every number.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    hyper: Hyper,
    /// Steps taken.
    pub steps: u32,
    /// Means of gradients.
    pub means: Grads,
    /// Means of their squares.
    pub squares: Grads,
}

impl AdamW {
    /// Before the first step.
    pub fn new<'a>(hyper: Hyper, vars: impl Iterator<Item = &'a Var>) -> Self {
        let zeros: Grads = vars.map(|var| vec![0.0; var.elem_count()]).collect();
        Self { hyper, steps: 0, means: zeros.clone(), squares: zeros }
    }

    /// Takes a step; returns the gradient's norm before it was clipped.
    ///
    /// # Errors
    /// candle's.
    #[allow(clippy::cast_possible_truncation, reason = "the moments are f32, as PyTorch's are")]
    pub fn step<'a>(
        &mut self,
        vars: impl Iterator<Item = &'a Var>,
        grads: &Grads,
        rate: f64,
    ) -> Outcome<f64> {
        let squares = grads.iter().flatten().map(|grad| f64::from(*grad) * f64::from(*grad));
        let norm = squares.sum::<f64>().sqrt();
        let share = self.hyper.clip.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0)) as f32;
        self.steps += 1;
        let Hyper { keep: (first, second), epsilon, weight_decay, .. } = self.hyper;
        let power = |keep: f64| 1.0 - keep.powf(f64::from(self.steps));
        let (rate_now, unbias) = ((rate / power(first)) as f32, power(second).sqrt() as f32);
        let (epsilon, decay) = (epsilon as f32, (1.0 - rate * weight_decay) as f32);
        let (first_new, second_new) = ((1.0 - first) as f32, (1.0 - second) as f32);
        let second = second as f32;
        let moments = self.means.iter_mut().zip(&mut self.squares);
        for ((var, grads), (means, squares)) in vars.zip(grads).zip(moments) {
            let mut weights: Vec<f32> = var.flatten_all()?.to_vec1()?;
            let moments = means.iter_mut().zip(squares);
            for ((weight, grad), (mean, square)) in weights.iter_mut().zip(grads).zip(moments) {
                let grad = grad * share;
                *mean += first_new * (grad - *mean);
                *square = second * *square + second_new * grad * grad;
                *weight = *weight * decay - rate_now * (*mean / (square.sqrt() / unbias + epsilon));
            }
            var.set(&Tensor::from_vec(weights, var.shape(), &Device::Cpu)?)?;
        }
        Ok(norm)
    }
}
