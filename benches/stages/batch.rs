//! A batch of logits at an odd place of a cache line, and what goes with it.

use dpo_kernel::row::RowNorm;
use dpo_kernel::{Element, Layout, Logits, Span};

/// Logits of a batch, about.
const LOGITS: usize = 1 << 20;

pub struct Batch<E> {
    data: Vec<E>,
    start: usize,
    pub rows: usize,
    pub vocab: usize,
    pub ids: Vec<u32>,
    pub spans: [Span; 1],
    pub log_probs: Vec<f32>,
    pub norms: Vec<RowNorm>,
}

/// Reproducible numbers of 24 bits.
pub fn random(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as u32
    }
}

impl<E: Element> Batch<E> {
    /// Logits in ±10.
    pub fn new(vocab: usize) -> Self {
        let rows = (LOGITS / vocab).max(1);
        let mut random = random(vocab as u64);
        let line = 64 / size_of::<E>();
        let mut data = vec![E::ZERO; rows * vocab + 2 * line];
        let odd = 1 + random() as usize % (line - 1);
        let start = data.as_ptr().align_offset(64) + odd;
        for x in &mut data[start..start + rows * vocab] {
            *x = E::from_f32(random() as f32 / 838_860.8 - 10.0);
        }
        Self {
            data,
            start,
            rows,
            vocab,
            ids: (0..rows).map(|_| random() % vocab as u32).collect(),
            spans: [Span::new(0, rows)],
            log_probs: vec![0.0; rows],
            norms: vec![RowNorm::default(); rows],
        }
    }

    pub fn logits(&self) -> &[E] {
        &self.data[self.start..self.start + self.rows * self.vocab]
    }

    pub fn logits_mut(&mut self) -> &mut [E] {
        &mut self.data[self.start..self.start + self.rows * self.vocab]
    }

    pub fn view(&self) -> Logits<'_, E> {
        Logits::new(self.logits(), self.rows, self.vocab).unwrap()
    }

    pub fn layout(&self) -> Layout<'_> {
        Layout::new(&self.ids, &self.spans, self.vocab).unwrap()
    }

    pub fn bytes(&self) -> u64 {
        size_of_val(self.logits()) as u64
    }
}
