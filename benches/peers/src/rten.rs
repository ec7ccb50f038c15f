//! rten-vecmath: its vectorised `LogSoftmax` into another buffer, row by row. No backward.

use std::time::{Duration, Instant};

use rten_simd::SimdOp;
use rten_vecmath::LogSoftmax;

use crate::work::{Peer, Work};

pub struct Rten<'a> {
    work: &'a Work,
    out: Vec<f32>,
}

impl<'a> Rten<'a> {
    pub fn new(work: &'a Work) -> Self {
        Self { work, out: Vec::with_capacity(work.logits.len()) }
    }
}

impl Peer for Rten<'_> {
    fn name(&self) -> String {
        "rten-vecmath 0.27, LogSoftmax".into()
    }

    fn forward(&mut self) -> (Duration, Vec<f32>) {
        let Work { rows, vocab, logits, targets, .. } = self.work;
        let start = Instant::now();
        let out = &mut self.out.spare_capacity_mut()[..rows * vocab];
        let rows = logits.chunks_exact(*vocab).zip(out.chunks_exact_mut(*vocab));
        let found = rows
            .zip(targets)
            .map(|((row, out), &target)| LogSoftmax::new(row, out).dispatch()[target as usize])
            .collect();
        (start.elapsed(), found)
    }

    fn step(&mut self) -> Option<(Duration, Vec<f32>)> {
        None
    }
}
