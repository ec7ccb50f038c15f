//! The work: logits, what is asked of them, and the exact answers.

use std::time::Duration;

/// T rows of V f32 logits in ±10, a target and a coefficient ∂L/∂log p for each row.
pub struct Work {
    pub rows: usize,
    pub vocab: usize,
    pub logits: Vec<f32>,
    pub targets: Vec<u32>,
    pub coefficients: Vec<f32>,
}

/// A library that does it, on one thread.
pub trait Peer {
    fn name(&self) -> String;
    /// The log-prob of each target: one forward, timed.
    fn forward(&mut self) -> (Duration, Vec<f32>);
    /// Σ c · log p forward, and back to the logits, timed; none if it has no backward.
    fn step(&mut self) -> Option<(Duration, Vec<f32>)>;
}

impl Work {
    pub fn new(rows: usize, vocab: usize) -> Self {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as u32
        };
        let logits = (0..rows * vocab).map(|_| random() as f32 / 838_860.8 - 10.0).collect();
        let targets = (0..rows).map(|_| random() % vocab as u32).collect();
        // As in DPO: one sign for the chosen half, the other for the rejected one.
        let coefficients = (0..rows).map(|row| if row < rows / 2 { -0.05 } else { 0.05 }).collect();
        Self { rows, vocab, logits, targets, coefficients }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.logits[row * self.vocab..(row + 1) * self.vocab]
    }

    /// In f64, the largest logit left out of the sum and added back.
    fn log_z(&self, row: usize) -> f64 {
        let row = self.row(row);
        let top = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        top + row.iter().map(|&x| (f64::from(x) - top).exp()).sum::<f64>().ln()
    }

    /// The worst error of log-probs, absolute.
    pub fn log_prob_error(&self, found: &[f32]) -> f64 {
        assert_eq!(found.len(), self.rows, "a log-prob for each row");
        let errors = (0..self.rows).map(|row| {
            let target = self.targets[row] as usize;
            let exact = f64::from(self.row(row)[target]) - self.log_z(row);
            (f64::from(found[row]) - exact).abs()
        });
        errors.fold(0.0, f64::max)
    }

    /// The worst error of gradients in the first and the last row, relative to the exact one.
    pub fn grad_error(&self, found: &[f32]) -> f64 {
        assert_eq!(found.len(), self.logits.len(), "a gradient for each logit");
        let mut worst = 0.0_f64;
        for row in [0, self.rows - 1] {
            let (log_z, c) = (self.log_z(row), f64::from(self.coefficients[row]));
            for (column, &x) in self.row(row).iter().enumerate() {
                let p = (f64::from(x) - log_z).exp();
                let one = f64::from(u8::from(column == self.targets[row] as usize));
                let exact = c * (one - p);
                let found = f64::from(found[row * self.vocab + column]);
                worst = worst.max((found - exact).abs() / exact.abs());
            }
        }
        worst
    }
}
