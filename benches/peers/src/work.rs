//! The work: logits, what is asked of them, and the exact answers.

use std::time::Duration;

use dpo_kernel::{bf16, f16};

/// What logits and gradients are stored as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    F32,
    F16,
    Bf16,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// As Python's torch calls it, and the option `--type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    fn rounded(self, x: f32) -> f32 {
        match self {
            Self::F32 => x,
            Self::F16 => f16::from_f32(x).to_f32(),
            Self::Bf16 => bf16::from_f32(x).to_f32(),
        }
    }
}

/// T rows of V logits in ±10, a target and a coefficient ∂L/∂log p for each row. Logits are numbers
/// of the kind that they are stored as.
pub struct Work {
    pub kind: Kind,
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
    pub fn new(kind: Kind, rows: usize, vocab: usize) -> Self {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as u32
        };
        let logits =
            (0..rows * vocab).map(|_| kind.rounded(random() as f32 / 838_860.8 - 10.0)).collect();
        let targets = (0..rows).map(|_| random() % vocab as u32).collect();
        // As in DPO: one sign for the chosen half, the other for the rejected one. Every kind has them.
        let coefficients =
            (0..rows).map(|row| if row < rows / 2 { -0.0625 } else { 0.0625 }).collect();
        Self { kind, rows, vocab, logits, targets, coefficients }
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

    /// The worst error of gradients in the first and the last row. Of f32 it is relative to the
    /// exact gradient, of 16 bits to the largest of the row, the target's left out: most of them are
    /// subnormal as f16, and steps of bf16 log-probs are percents of p.
    pub fn grad_error(&self, found: &[f32]) -> f64 {
        assert_eq!(found.len(), self.logits.len(), "a gradient for each logit");
        let mut worst = 0.0_f64;
        for row in [0, self.rows - 1] {
            let (log_z, c) = (self.log_z(row), f64::from(self.coefficients[row]));
            let target = self.targets[row] as usize;
            let exact = |column: usize| {
                let p = (f64::from(self.row(row)[column]) - log_z).exp();
                c * (f64::from(u8::from(column == target)) - p)
            };
            let others = (0..self.vocab).filter(|&column| column != target);
            let largest = others.map(|column| exact(column).abs()).fold(0.0, f64::max);
            for column in 0..self.vocab {
                let found = f64::from(found[row * self.vocab + column]);
                let exact = exact(column);
                let size = match self.kind {
                    Kind::F32 => exact.abs(),
                    Kind::F16 | Kind::Bf16 => exact.abs().max(largest),
                };
                worst = worst.max((found - exact).abs() / size);
            }
        }
        worst
    }
}
