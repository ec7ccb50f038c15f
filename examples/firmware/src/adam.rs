//! Adam (Kingma, Ba 2015) over the adapters, without weight decay.

use crate::model::Adapters;

/// The moments, and what is left of their start.
#[derive(Clone, Debug)]
pub struct Adam {
    mean: Adapters,
    square: Adapters,
    left: (f32, f32),
}

const KEEP: (f32, f32) = (0.9, 0.98);

impl Adam {
    pub const NEW: Self = Self { mean: Adapters::ZERO, square: Adapters::ZERO, left: (1.0, 1.0) };

    pub fn start(&mut self) {
        self.mean.fill(0.0);
        self.square.fill(0.0);
        self.left = (1.0, 1.0);
    }

    pub fn update(&mut self, weights: &mut Adapters, grads: &Adapters, rate: f32) {
        self.left = (self.left.0 * KEEP.0, self.left.1 * KEEP.1);
        let unbias = (1.0 - self.left.0, 1.0 - self.left.1);
        let moments = self.mean.parts_mut().zip(self.square.parts_mut());
        for ((weights, grads), (means, squares)) in
            weights.parts_mut().zip(grads.parts()).zip(moments)
        {
            let moments = means.iter_mut().zip(squares);
            for ((weight, grad), (mean, square)) in weights.iter_mut().zip(grads).zip(moments) {
                *mean = KEEP.0 * *mean + (1.0 - KEEP.0) * grad;
                *square = KEEP.1 * *square + (1.0 - KEEP.1) * grad * grad;
                let root = libm::sqrtf(*square / unbias.1);
                *weight -= rate * (*mean / unbias.0) / (root + 1e-8);
            }
        }
    }
}
