//! The loss as a node of candle's graph, whose gradients were computed with it.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Result, Shape, Tensor, bail};
use dpo_kernel::Element;

use crate::error::Error;
use crate::number::{Float, Number, reserved, with_type};

/// A tensor, and the gradient of the loss by it.
pub(crate) struct Grad {
    pub(crate) of: Tensor,
    pub(crate) grad: Tensor,
}

/// The scalar `loss` that leads back to every tensor that has a gradient. They are chained, because
/// candle's nodes have three arguments at most:
///
/// ```text
/// loss ─▶ second tensor's node ─▶ first tensor's node
///            └ gradient · upstream    └ gradient · upstream
/// ```
pub(crate) fn loss(loss: f32, grads: Vec<Grad>) -> Result<Tensor> {
    let mut chain: Option<Tensor> = None;
    for Grad { of, grad } in grads {
        let node = Node { loss, grad };
        chain = Some(match chain {
            None => of.apply_op1(node)?,
            Some(before) => before.apply_op2(&of, node)?,
        });
    }
    chain.map_or_else(|| Tensor::new(loss, &Device::Cpu), Ok)
}

struct Node {
    loss: f32,
    grad: Tensor,
}

impl Node {
    fn scalar(&self) -> (CpuStorage, Shape) {
        (CpuStorage::F32(vec![self.loss]), Shape::from(()))
    }

    /// The gradient, kept for the next backward too, times what stands above the loss.
    fn times(&self, upstream: &Tensor) -> Result<Tensor> {
        let upstream: f32 = upstream.to_scalar()?;
        // The loss itself was asked for: the same memory.
        #[allow(clippy::float_cmp, reason = "times 1 is nothing to do, times its neighbours is")]
        if upstream == 1.0 {
            return Ok(self.grad.clone());
        }
        let Some(float) = Float::of(self.grad.dtype()) else {
            bail!("a gradient of {:?}", self.grad.dtype());
        };
        with_type!(float, E => scaled::<E>(&self.grad, upstream))
    }
}

/// In f32, rounded once: candle's own product of 16-bit tensors would round the factor first.
fn scaled<E: Number>(grad: &Tensor, by: f32) -> Result<Tensor> {
    let (storage, _) = grad.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else { bail!("a gradient off the CPU") };
    let numbers = storage.as_slice::<E>()?;
    let mut scaled: Vec<E> = reserved(numbers.len()).map_err(Error::Kernel)?;
    scaled.extend(numbers.iter().map(|x| <E as Element>::from_f32(x.to_f32() * by)));
    Tensor::from_vec(scaled, grad.shape(), &Device::Cpu)
}

impl CustomOp1 for Node {
    fn name(&self) -> &'static str {
        "dpo-kernel"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(self.scalar())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<Option<Tensor>> {
        self.times(upstream).map(Some)
    }
}

impl CustomOp2 for Node {
    fn name(&self) -> &'static str {
        "dpo-kernel"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(self.scalar())
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        upstream: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(upstream.clone()), Some(self.times(upstream)?)))
    }
}
