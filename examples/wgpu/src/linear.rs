//! A head that is trained, with its logits on the device: what the program needs beside the library's
//! stages.

use crate::head::HeadOperands;
use crate::kernels::{Entry, Kernels, whole};
use crate::params::{BIAS, Params};
use crate::rows::count;
use crate::{Error, Matrix, Scored, Transform};

/// Workgroups of 64 for so many.
fn groups(x: usize) -> u64 {
    (x as u64).div_ceil(64)
}

impl Kernels<'_, f32> {
    /// Writes `hidden · weightᵀ` and the bias, R × V, into `logits`.
    ///
    /// # Errors
    /// [`Error::Size`], [`Error::Length`], [`Error::TooLarge`], [`Error::TooManyWorkgroups`]: operands
    /// and logits are bound whole.
    pub fn logits(
        &self,
        head: &HeadOperands<'_, f32>,
        logits: &mut Matrix<f32>,
    ) -> Result<(), Error> {
        head.check()?;
        let (rows, vocab) = (head.hidden.rows(), head.weight.rows());
        logits.check("logits", (rows, vocab))?;
        let params = Params {
            rows: count(rows)?,
            vocab: count(vocab)?,
            stride: count(head.hidden.stride())?,
            hidden_size: count(head.hidden.columns())?,
            out_stride: count(logits.stride())?,
            flags: if head.bias.is_some() { BIAS } else { 0 },
            ..Params::new(&Transform::NONE, 0)
        };
        let none = self.gpu().bindable("no bias", 4)?;
        let bound = [
            whole(1, logits.buffer()),
            whole(10, head.hidden.buffer()),
            whole(11, head.weight.buffer()),
            whole(12, head.bias.map_or(&none, Matrix::buffer)),
        ];
        let mut work = self.work();
        work.dispatch(Entry::Logits, &params, &bound, (groups(vocab), rows.div_ceil(4) as u64))?;
        work.submit()
    }

    /// A step of gradient descent: `W ← W − rate · Σ_t d_t ⊗ h_t` over the scored rows, `grads` being
    /// the gradients d of their logits.
    ///
    /// # Errors
    /// As [`Kernels::logits`].
    pub fn weight_step(
        &self,
        hidden: &Matrix<f32>,
        scored: &Scored,
        grads: &Matrix<f32>,
        weight: &mut Matrix<f32>,
        rate: f32,
    ) -> Result<(), Error> {
        HeadOperands { hidden, weight, bias: None }.check()?;
        let (rows, vocab, size) = (hidden.rows(), weight.rows(), hidden.columns());
        grads.check("gradients", (rows, vocab))?;
        scored.check(rows, vocab)?;
        let params = Params {
            rows: count(rows)?,
            vocab: count(vocab)?,
            stride: count(hidden.stride())?,
            hidden_size: count(size)?,
            out_stride: count(grads.stride())?,
            rate,
            ..Params::new(&Transform::NONE, scored.ignore_index)
        };
        let bound = [
            whole(1, &scored.targets),
            whole(2, grads.buffer()),
            whole(3, hidden.buffer()),
            whole(4, weight.buffer()),
        ];
        let mut work = self.work();
        work.dispatch(
            Entry::WeightStep,
            &params,
            &bound,
            (groups(size), vocab.div_ceil(4) as u64),
        )?;
        work.submit()
    }
}
