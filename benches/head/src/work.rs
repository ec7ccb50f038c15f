//! The work: a pair of answers as hidden states, a head, and the exact results.

use dpo_kernel::{Element, Layout, Span};

/// N hidden states of H numbers, the first half of a chosen answer, the second of a rejected one; a
/// head of V rows. Logits have a standard deviation of 2 to 3.
pub struct Work<E> {
    pub rows: usize,
    pub size: usize,
    pub vocab: usize,
    pub states: Vec<E>,
    pub weights: Vec<E>,
    pub targets: Vec<u32>,
    pub spans: [Span; 2],
}

/// What a step gave: token log-probs, ∂L/∂log p of each, and hidden gradients.
#[derive(Clone)]
pub struct Found {
    pub log_probs: Vec<f32>,
    pub coefficients: Vec<f64>,
    pub grads: Vec<f32>,
}

/// Of the loss: so small that the two sums of log-probs, some thousands, leave it a slope.
pub const BETA: f64 = 0.01;

/// What errors a result may have: of a log-prob, and of gradients relative to the largest of their
/// row. Sums of 2,048 products in f32 are off by some 1e-5.
const TOLERANCE: (f64, f64) = (1e-4, 1e-4);

impl<E: Element> Work<E> {
    pub fn new((rows, size, vocab): (usize, usize, usize)) -> Self {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as u32
        };
        let mut fill = |count: usize, scale: f32| -> Vec<E> {
            let mut unit = || random() as f32 / 8_388_608.0 - 1.0;
            (0..count).map(|_| E::from_f32(scale * unit())).collect()
        };
        let (states, weights) = (fill(rows * size, 2.0), fill(vocab * size, 0.1));
        let targets = (0..rows).map(|_| random() % vocab as u32).collect();
        let spans = [Span::new(0, rows / 2), Span::new(rows / 2, rows)];
        Self { rows, size, vocab, states, weights, targets, spans }
    }

    pub fn layout(&self) -> Layout<'_> {
        Layout::new(&self.targets, &self.spans, self.vocab).expect("targets below V")
    }

    /// ∂L/∂log p of each token, of the loss −log σ(β · (Σ chosen − Σ rejected)).
    pub fn coefficients(&self, log_probs: &[f32], to: &mut [f64]) {
        let (chosen, rejected) = log_probs.split_at(self.rows / 2);
        let sum = |of: &[f32]| of.iter().map(|&x| f64::from(x)).sum::<f64>();
        let slope = BETA / (1.0 + (BETA * (sum(chosen) - sum(rejected))).exp());
        let (chosen, rejected) = to.split_at_mut(self.rows / 2);
        chosen.fill(-slope);
        rejected.fill(slope);
    }

    /// The log-prob of a row, and its hidden gradient for a coefficient.
    pub fn exact(&self, row: usize, coefficient: f64) -> (f64, Vec<f64>) {
        let wide = |of: &[E]| of.iter().map(|x| f64::from(x.to_f32())).collect::<Vec<_>>();
        let state = wide(&self.states[row * self.size..][..self.size]);
        let weights = |column: usize| wide(&self.weights[column * self.size..][..self.size]);
        let logit = |column| weights(column).iter().zip(&state).map(|(w, x)| w * x).sum::<f64>();
        let logits = (0..self.vocab).map(logit).collect::<Vec<_>>();
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_z = top + logits.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
        let target = self.targets[row] as usize;
        let mut grad = vec![0.0; self.size];
        for (column, x) in logits.iter().enumerate() {
            let is_target = f64::from(u8::from(column == target));
            let scale = coefficient * (is_target - (x - log_z).exp());
            for (grad, weight) in grad.iter_mut().zip(weights(column)) {
                *grad += scale * weight;
            }
        }
        (logits[target] - log_z, grad)
    }

    /// The gradient of the weights of a column, of log-probs that were checked.
    pub fn exact_of_weights(&self, column: usize, found: &Found) -> Vec<f64> {
        let wide = |of: &[E]| of.iter().map(|x| f64::from(x.to_f32())).collect::<Vec<_>>();
        let weights = |column: usize| wide(&self.weights[column * self.size..][..self.size]);
        let dot = |x: &[f64], w: &[f64]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
        let mut grad = vec![0.0; self.size];
        for row in 0..self.rows {
            let state = wide(&self.states[row * self.size..][..self.size]);
            let target = self.targets[row] as usize;
            let log_z = dot(&state, &weights(target)) - f64::from(found.log_probs[row]);
            let is_target = f64::from(u8::from(target == column));
            let p = (dot(&state, &weights(column)) - log_z).exp();
            for (grad, x) in grad.iter_mut().zip(state) {
                *grad += found.coefficients[row] * (is_target - p) * x;
            }
        }
        grad
    }

    /// Compares weights' gradients with f64; `rounding` is what their type rounds off, relatively.
    ///
    /// # Panics
    /// Where they differ.
    pub fn check_weights(&self, name: &str, found: &Found, weights: &[E], rounding: f64) {
        for column in columns(self) {
            let grads = &weights[column * self.size..][..self.size];
            let grads = grads.iter().map(|x| x.to_f32()).collect::<Vec<_>>();
            let error = apart(&grads, &self.exact_of_weights(column, found));
            let most = TOLERANCE.1 + rounding;
            assert!(error <= most, "{name}: gradients of weights {column} are off by {error}");
        }
    }

    /// Compares the first and the last row with f64.
    ///
    /// # Panics
    /// Where they differ.
    pub fn check(&self, name: &str, found: &Found) {
        for row in [0, self.rows - 1] {
            let (log_prob, grads) = self.exact(row, found.coefficients[row]);
            let error = (f64::from(found.log_probs[row]) - log_prob).abs();
            assert!(error <= TOLERANCE.0, "{name}: the log-prob of row {row} is off by {error}");
            let error = apart(&found.grads[row * self.size..][..self.size], &grads);
            assert!(error <= TOLERANCE.1, "{name}: gradients of row {row} are off by {error}");
        }
    }
}

/// The columns whose weights' gradients are compared: the first and the last, and the targets of the
/// first and the last row.
pub fn columns<E>(work: &Work<E>) -> [usize; 4] {
    let [first, last] = [0, work.rows - 1].map(|row| work.targets[row] as usize);
    [0, work.vocab - 1, first, last]
}

/// The largest difference, relative to the largest number. Infinite where one is NaN.
pub fn apart(found: &[f32], due: &[f64]) -> f64 {
    let most = due.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let apart = |(&found, &due): (&f32, &f64)| (f64::from(found) - due).abs() / most;
    let or_infinite = |x: f64| if x.is_nan() { f64::INFINITY } else { x };
    found.iter().zip(due).map(apart).map(or_infinite).fold(0.0, f64::max)
}
