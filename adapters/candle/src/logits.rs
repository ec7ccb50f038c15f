//! Logits of a tensor.

use candle_core::{Device, Tensor};
use dpo_kernel::gradient::Unscored;
use dpo_kernel::{Executor, Layout, LogitsMut, Transform};

use crate::error::{Error, Operand};
use crate::input::private::Source;
use crate::input::{Found, Input, Room};
use crate::matrix::Matrix;
use crate::node::Grad;
use crate::number::{Number, with_type};
use crate::stages::{Reading, Stages};

/// Logits of a tensor, read where candle keeps them.
///
/// ```text
/// [.., V] of f32, f16 or bf16 on the CPU        R rows: the product of the leading dimensions
/// ```
///
/// Columns are contiguous and rows at one distance S ≥ V, so a tensor that was narrowed to its
/// vocabulary is taken as it is, and its padding is not read. Row t scores `targets[t]` of the
/// batch's layout.
///
/// The gradient has the tensor's shape and type. Rows that are not scored are exact zeros in it.
///
/// # Numerics
/// Those of [`dpo_kernel::token_log_probs`] and [`dpo_kernel::gradient`], bit by bit, where
/// `backward()` starts at the loss: rows are summed in f32 and f64 whatever the type, and a gradient
/// is rounded once to it. A factor above the loss multiplies what is rounded, in f32, and rounds
/// again; it cannot bring back what f16 has lost, everything below 2⁻²⁵. Put the factor into the
/// divisor: [the page](crate#what-is-trained).
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    tensor: &'a Tensor,
    transform: Transform,
}

impl<'a> Logits<'a> {
    /// The logits as they are. The tensor is looked at when a step takes it.
    #[must_use]
    pub const fn new(tensor: &'a Tensor) -> Self {
        Self { tensor, transform: Transform::NONE }
    }

    /// With scale, softcap and temperature of the model. The gradient is by the tensor, dy/dx
    /// included.
    #[must_use]
    pub const fn with_transform(mut self, transform: Transform) -> Self {
        self.transform = transform;
        self
    }

    fn matrix(&self) -> Result<Matrix<'a>, Error> {
        Matrix::of(Operand::Logits, self.tensor)
    }

    fn view<'m, E: Number>(
        &self,
        matrix: &'m Matrix<'_>,
    ) -> Result<dpo_kernel::Logits<'m, E>, Error> {
        let Matrix { rows, columns, stride, .. } = *matrix;
        let view = dpo_kernel::Logits::with_stride(matrix.numbers()?, rows, columns, stride)?;
        Ok(view.with_transform(self.transform))
    }

    fn step_of<E: Number, X: Executor, S: Stages>(
        &self,
        executor: X,
        matrix: &Matrix<'_>,
        stages: S,
    ) -> Result<Found<S::Sums>, Error> {
        let Matrix { rows, columns, .. } = *matrix;
        let logits = self.view::<E>(matrix)?;
        // Zeros where nothing is written, so the step leaves what is not scored.
        let mut grads = E::zeros(rows * columns)?;
        let to = LogitsMut::new(&mut grads, rows, columns)?;
        let summary = stages.run(executor, (logits, to), Unscored::Keep)?;
        let grad = Tensor::from_vec(grads, self.tensor.shape(), &Device::Cpu)?;
        Ok((summary, vec![Grad { of: self.tensor.clone(), grad }]))
    }
}

impl Input for Logits<'_> {}

#[allow(private_interfaces, private_bounds, reason = "sealed")]
impl Source for Logits<'_> {
    fn is_tracked(&self) -> bool {
        self.tensor.track_op()
    }

    fn read<X: Executor, R: Reading>(
        &self,
        executor: X,
        _: &Layout<'_>,
        reading: R,
        _: &mut Room,
    ) -> Result<R::Found, Error> {
        let matrix = self.matrix()?;
        with_type!(matrix.float, E => Ok(reading.read(executor, self.view::<E>(&matrix)?)?))
    }

    fn step<X: Executor, S: Stages>(
        &self,
        executor: X,
        _: &Layout<'_>,
        stages: S,
        _: &mut Room,
    ) -> Result<Found<S::Sums>, Error> {
        let matrix = self.matrix()?;
        with_type!(matrix.float, E => self.step_of::<E, X, S>(executor, &matrix, stages))
    }
}
