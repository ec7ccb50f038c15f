//! Differentiable operations for a model whose weights are frozen.
//!
//! candle's own operations could do all of this. These differ in that
//! 1. a frozen weight has no gradient: the backward of candle's `matmul` makes one for both operands,
//!    whether anything needs it or not, and that is a third of the products of a step;
//! 2. each keeps its inputs and its result for the backward and nothing between, where candle's
//!    formula of a norm keeps seven tensors;
//! 3. rows run over rayon's threads; candle's element-wise operations run on one.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Error, Layout, Result, Shape, Storage, Tensor,
};
use rayon::prelude::*;

use crate::numbers::{dot, numbers};

/// Numbers below which another thread is not worth waking.
const PART: usize = 1 << 13;

/// Makes each row of `width` numbers on some thread.
fn by_rows(count: usize, width: usize, row: impl Fn(usize, &mut [f32]) + Sync) -> CpuStorage {
    let mut out = vec![0.0; count * width];
    let rows = out.par_chunks_mut(width.max(1)).with_min_len(PART.div_ceil(width.max(1)));
    rows.enumerate().for_each(|(i, out)| row(i, out));
    CpuStorage::F32(out)
}

fn same(name: &str, a: &Layout, b: &Layout) -> Result<()> {
    if a.shape() == b.shape() {
        return Ok(());
    }
    Err(Error::msg(format!("{name}: shapes {:?} and {:?}", a.shape(), b.shape())))
}

/// `y = x · Wᵀ` of a weight that is not trained, O × I as trainers keep it.
#[derive(Clone, Debug)]
pub(crate) struct Frozen(pub(crate) Tensor);

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let weight = self.0.t()?;
        let (inputs, outputs) = weight.dims2()?;
        if inputs != width {
            return Err(Error::msg(format!("{width} numbers a row for weights of {inputs}")));
        }
        let (storage, weight_layout) = weight.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            return Err(Error::msg("weights that are not on the CPU"));
        };
        let y = x.matmul(storage, (1, rows, outputs, inputs), layout, weight_layout)?;
        Ok((y, Shape::from((rows, outputs))))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.contiguous()?.matmul(&self.0).map(Some)
    }
}

/// `y = w · x · r` with `r = 1 / √(mean(x²) + ε)` of each row, for a weight that is not trained.
///
/// `dx = r · (w·g − x · r² · mean(x·w·g))`
#[derive(Clone, Debug)]
pub(crate) struct RmsNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl RmsNorm {
    fn rows(&self, layout: &Layout) -> Result<(usize, usize)> {
        let (rows, width) = layout.shape().dims2()?;
        if width != self.weight.len() {
            let count = self.weight.len();
            return Err(Error::msg(format!("{width} numbers a row for a norm of {count}")));
        }
        Ok((rows, width))
    }

    fn scale(&self, x: &[f32]) -> f32 {
        (dot(x, x) / width(x) + self.epsilon).sqrt().recip()
    }
}

#[allow(clippy::cast_precision_loss, reason = "widths of models are exact in f32")]
fn width(row: &[f32]) -> f32 {
    row.len() as f32
}

fn row(all: &[f32], i: usize, width: usize) -> &[f32] {
    all.get(i * width..(i + 1) * width).unwrap_or_default()
}

impl CustomOp1 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((rows, width), x) = (self.rows(layout)?, numbers(x, layout)?);
        let y = by_rows(rows, width, |i, y| {
            let x = row(x, i, width);
            let scale = self.scale(x);
            for (y, (x, w)) in y.iter_mut().zip(x.iter().zip(&self.weight)) {
                *y = w * (x * scale);
            }
        });
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = RmsNormBack(self.clone());
        x.apply_op2_no_bwd(&grad.contiguous()?, &back).map(Some)
    }
}

struct RmsNormBack(RmsNorm);

impl CustomOp2 for RmsNormBack {
    fn name(&self) -> &'static str {
        "rms-norm-backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        same(self.name(), layout, grad_layout)?;
        let (rows, size) = self.0.rows(layout)?;
        let (x, grad) = (numbers(x, layout)?, numbers(grad, grad_layout)?);
        let dx = by_rows(rows, size, |i, dx| {
            let (x, grad) = (row(x, i, size), row(grad, i, size));
            for (dx, (grad, w)) in dx.iter_mut().zip(grad.iter().zip(&self.0.weight)) {
                *dx = grad * w;
            }
            let scale = self.0.scale(x);
            let along = dot(x, dx) / width(x) * scale * scale;
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = scale * (*dx - along * x);
            }
        });
        Ok((dx, layout.shape().clone()))
    }
}

/// `y = gate · σ(gate) · up`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        same(self.name(), layout, up_layout)?;
        let (gate, up) = (numbers(gate, layout)?, numbers(up, up_layout)?);
        let (rows, size) = layout.shape().dims2()?;
        let y = by_rows(rows, size, |i, y| {
            let inputs = row(gate, i, size).iter().zip(row(up, i, size));
            for (y, (gate, up)) in y.iter_mut().zip(inputs) {
                *y = gate * sigmoid(*gate) * up;
            }
        });
        Ok((y, layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let both = gate.apply_op3_no_bwd(up, &grad.contiguous()?, &SwiGluBack)?;
        Ok((Some(both.get(0)?), Some(both.get(1)?)))
    }
}

/// Both gradients below one another, 2 × R × I.
struct SwiGluBack;

impl CustomOp3 for SwiGluBack {
    fn name(&self) -> &'static str {
        "swiglu-backward"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        same(self.name(), layout, up_layout)?;
        same(self.name(), layout, grad_layout)?;
        let (gate, up) = (numbers(gate, layout)?, numbers(up, up_layout)?);
        let grad = numbers(grad, grad_layout)?;
        let (rows, size) = layout.shape().dims2()?;
        let mut out = vec![0.0; 2 * rows * size];
        let (d_gate, d_up) = out.split_at_mut(rows * size);
        let outputs = d_gate.par_chunks_mut(PART).zip(d_up.par_chunks_mut(PART));
        let inputs = gate.par_chunks(PART).zip(up.par_chunks(PART)).zip(grad.par_chunks(PART));
        outputs.zip(inputs).for_each(|((d_gate, d_up), ((gate, up), grad))| {
            let outputs = d_gate.iter_mut().zip(d_up);
            for ((d_gate, d_up), ((gate, up), grad)) in outputs.zip(gate.iter().zip(up).zip(grad)) {
                let share = sigmoid(*gate);
                *d_up = grad * gate * share;
                *d_gate = grad * up * share * (1.0 + gate * (1.0 - share));
            }
        });
        Ok((CpuStorage::F32(out), Shape::from((2, rows, size))))
    }
}

fn sigmoid(x: f32) -> f32 {
    (1.0 + (-x).exp()).recip()
}
