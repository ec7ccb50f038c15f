//! The linear layer y = x W with a low-rank adapter beside it: y = x W + s (x A) B (`LoRA`, Hu et
//! al. 2021, arXiv 2106.09685).
//!
//! W lies in flash as i8 with one scale; A (`I` × [`RANK`]) and B ([`RANK`] × `O`) are f32 in RAM.
//! A starts random and B zero, so that a fresh adapter changes nothing, bit for bit. Sums run in
//! the order of the inputs, whatever the machine.

use crate::random::Random;

/// Rank of every adapter.
pub const RANK: usize = 4;
/// The factor s of the adapter's branch.
const SCALE: f32 = 2.0;

/// A matrix in flash, `I` rows of `O` bytes: the weight is `scale` times the byte, read as i8.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<const I: usize, const O: usize> {
    pub scale: f32,
    pub bytes: &'static [[u8; O]; I],
}

/// An adapter, and the shape of its gradients and moments.
#[derive(Clone, Debug)]
pub struct Adapter<const I: usize, const O: usize> {
    pub a: [[f32; RANK]; I],
    pub b: [[f32; O]; RANK],
}

impl<const I: usize, const O: usize> Adapter<I, O> {
    pub const ZERO: Self = Self { a: [[0.0; RANK]; I], b: [[0.0; O]; RANK] };

    /// A fresh adapter: A uniform in ±`bound`, B zero.
    pub fn start(&mut self, bound: f32, random: &mut Random) {
        *self = Self::ZERO;
        self.a.as_flattened_mut().fill_with(|| bound * random.uniform());
    }

    pub fn fill(&mut self, value: f32) {
        self.parts_mut().into_iter().for_each(|part| part.fill(value));
    }

    pub fn parts(&self) -> [&[f32]; 2] {
        [self.a.as_flattened(), self.b.as_flattened()]
    }

    pub fn parts_mut(&mut self) -> [&mut [f32]; 2] {
        [self.a.as_flattened_mut(), self.b.as_flattened_mut()]
    }

    /// s x A, the narrow middle.
    fn down(&self, x: &[f32; I]) -> [f32; RANK] {
        let mut middle = [0.0; RANK];
        for (&x, a) in x.iter().zip(&self.a) {
            add_scaled(&mut middle, x, a);
        }
        middle.map(|value| SCALE * value)
    }
}

impl<const I: usize, const O: usize> Matrix<I, O> {
    /// y = x W + s (x A) B
    pub fn forward(&self, adapter: Option<&Adapter<I, O>>, x: &[f32; I]) -> [f32; O] {
        let mut y = [0.0; O];
        for (&x, row) in x.iter().zip(self.bytes) {
            let x = x * self.scale;
            for (y, &w) in y.iter_mut().zip(row) {
                *y += x * f32::from(w.cast_signed());
            }
        }
        if let Some(adapter) = adapter {
            for (middle, b) in adapter.down(x).into_iter().zip(&adapter.b) {
                add_scaled(&mut y, middle, b);
            }
        }
        y
    }

    /// From dy to dx, and the adapter's gradients, added to `grads`:
    ///
    /// ```text
    /// dB += (s x A)ᵀ dy      dn = s dy Bᵀ      dA += xᵀ dn      dx = dy Wᵀ + dn Aᵀ
    /// ```
    pub fn backward(
        &self,
        adapter: &Adapter<I, O>,
        x: &[f32; I],
        dy: &[f32; O],
        grads: &mut Adapter<I, O>,
    ) -> [f32; I] {
        let mut d_middle = [0.0; RANK];
        let parts = adapter.down(x).into_iter().zip(&adapter.b).zip(&mut grads.b);
        for (((middle, b), db), dn) in parts.zip(&mut d_middle) {
            add_scaled(db, middle, dy);
            *dn = SCALE * dot(b, dy);
        }
        let mut dx = [0.0; I];
        for (((&x, dx), a), da) in x.iter().zip(&mut dx).zip(&adapter.a).zip(&mut grads.a) {
            add_scaled(da, x, &d_middle);
            *dx = dot(a, &d_middle);
        }
        for (dx, row) in dx.iter_mut().zip(self.bytes) {
            let mut sum = 0.0;
            for (&w, dy) in row.iter().zip(dy) {
                sum += f32::from(w.cast_signed()) * dy;
            }
            *dx += self.scale * sum;
        }
        dx
    }
}

/// Adds `factor` times a row to another.
pub fn add_scaled<const N: usize>(to: &mut [f32; N], factor: f32, row: &[f32; N]) {
    for (to, value) in to.iter_mut().zip(row) {
        *to += factor * value;
    }
}

/// The sum of products, in order.
pub fn dot<const N: usize>(a: &[f32; N], b: &[f32; N]) -> f32 {
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        sum += a * b;
    }
    sum
}
