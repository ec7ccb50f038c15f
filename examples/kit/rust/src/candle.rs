//! candle on the CPU: `log_softmax`, `log_sum_exp`, `binary_cross_entropy_with_logit`, `matmul`, autograd.

use std::marker::PhantomData;

use candle_core::{D, DType, Device, Result, Tensor, Var, WithDType};
use candle_nn::loss::binary_cross_entropy_with_logit;
use candle_nn::ops::log_softmax;
use dpo_kernel::Element;
use dpo_kernel::verify::Transform;
use dpo_kernel::verify::kit::{Output, Pairs};

use crate::host::{Figures, Framework, Labels, Matrix, Product};

/// Tensors of E.
pub(crate) struct Candle<E>(pub(crate) PhantomData<E>);

fn tensor<E: WithDType>(x: &Matrix<E>) -> Result<Tensor> {
    Tensor::from_slice(&x.values, (x.rows, x.columns), &Device::Cpu)
}

/// A transform is made in f32, as 16 bits would round each of its operations.
fn transformed(x: &Tensor, transform: &Transform) -> Result<Tensor> {
    if *transform == Transform::NONE {
        return Ok(x.clone());
    }
    let x = x.to_dtype(DType::F32)?;
    let mut y = (&x * transform.scale)?;
    if let Some(softcap) = transform.softcap {
        y = ((y / softcap)?.tanh()? * softcap)?;
        // What is masked stays so.
        let masked = Tensor::full(f32::NEG_INFINITY, x.dims(), &Device::Cpu)?;
        y = x.eq(&masked)?.where_cond(&masked, &y)?;
    }
    y / transform.temperature
}

fn numbers(x: &Tensor, of: DType) -> Result<Vec<f64>> {
    x.to_dtype(of)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// log p of the targets, R × 1.
fn log_probs(x: &Tensor, labels: &Labels) -> Result<Tensor> {
    let targets = Tensor::from_slice(&labels.targets, (labels.targets.len(), 1), &Device::Cpu)?;
    log_softmax(&transformed(x, &labels.transform)?, D::Minus1)?.gather(&targets, D::Minus1)
}

/// Gradients of Σ c log p.
fn grads<E: WithDType>(at: &Var, x: &Tensor, labels: &Labels) -> Result<Vec<E>> {
    let found = log_probs(x, labels)?;
    let c = Tensor::from_slice(&labels.coefficients, found.dims(), &Device::Cpu)?;
    let grads = (found * c.to_dtype(found_type(x, labels))?)?.sum_all()?.backward()?;
    let found = grads.get(at).ok_or_else(|| candle_core::Error::msg("no gradient"))?;
    found.flatten_all()?.to_vec1()
}

/// What log-probs are in: f32 behind a transform.
fn found_type(x: &Tensor, labels: &Labels) -> DType {
    if labels.transform == Transform::NONE { x.dtype() } else { DType::F32 }
}

fn logits<E: WithDType>(product: &Product<E>, hidden: &Tensor) -> Result<Tensor> {
    let x = hidden.matmul(&tensor(&product.weight)?.t()?)?;
    match &product.bias {
        Some(bias) => x.broadcast_add(&Tensor::from_slice(bias, bias.len(), &Device::Cpu)?),
        None => Ok(x),
    }
}

impl<E: Element + WithDType> Framework for Candle<E> {
    type Element = E;
    type Error = candle_core::Error;

    fn name(&self) -> &'static str {
        "candle 0.11.1"
    }

    fn offers(&self) -> &[Output] {
        &[
            Output::LogProb,
            Output::LogZ,
            Output::Argmax,
            Output::MeanLogit,
            Output::LogitGrads,
            Output::PairLoss,
            Output::HeadLogProb,
            Output::HeadLogZ,
            Output::HiddenGrads,
        ]
    }

    fn rows(&self, x: &Matrix<E>, labels: &Labels) -> Result<Figures> {
        let x = tensor(x)?;
        let y = transformed(&x, &labels.transform)?;
        Ok(Figures {
            log_probs: numbers(&log_probs(&x, labels)?, E::DTYPE)?,
            log_z: numbers(&y.log_sum_exp(D::Minus1)?, E::DTYPE)?,
            argmax: y.argmax(D::Minus1)?.to_vec1()?,
            mean_logit: numbers(&y.mean(D::Minus1)?, E::DTYPE)?,
        })
    }

    fn row_grads(&self, x: &Matrix<E>, labels: &Labels) -> Result<Vec<E>> {
        let x = Var::from_tensor(&tensor(x)?)?;
        grads(&x, &x, labels)
    }

    /// A cross-entropy of the logit z with the label 1 − ε, a pair at a time: it gives means.
    fn pairs(&self, pairs: &Pairs<'_>) -> Result<Vec<[f32; 6]>> {
        let of = |x: f64| Tensor::new(&[x], &Device::Cpu)?.to_dtype(DType::F32);
        let beta = pairs.dpo.beta;
        let mut found = Vec::new();
        for ((pair, &weight), &offset) in
            pairs.log_probs.iter().zip(pairs.weights).zip(pairs.offsets)
        {
            let policy = [pair.policy_chosen, pair.policy_rejected];
            let policy = [Var::from_tensor(&of(policy[0])?)?, Var::from_tensor(&of(policy[1])?)?];
            let [chosen, rejected] = &policy;
            let ratios = [
                (chosen.as_tensor() - of(pair.reference_chosen)?)?,
                (rejected.as_tensor() - of(pair.reference_rejected)?)?,
            ];
            let [of_chosen, of_rejected] = &ratios;
            let margin = ((of_chosen - of_rejected)? * beta)?;
            let label = of(1.0 - pairs.dpo.label_smoothing)?;
            let z = (&margin - of(offset)?)?;
            let loss = (binary_cross_entropy_with_logit(&z, &label)? * weight)?;
            let grads = loss.backward()?;
            let number = |x: &Tensor| x.flatten_all()?.get(0)?.to_scalar::<f32>();
            // A loss times 0 has no gradient in candle; it stands for 0.
            let d = |x: &Var| grads.get(x).map_or(Ok(0.0), number);
            found.push([
                number(&loss)?,
                number(&(of_chosen * beta)?)?,
                number(&(of_rejected * beta)?)?,
                number(&margin)?,
                d(chosen)?,
                d(rejected)?,
            ]);
        }
        Ok(found)
    }

    fn head(&self, product: &Product<E>, labels: &Labels) -> Result<Figures> {
        let x = logits(product, &tensor(&product.hidden)?)?;
        let log_z = transformed(&x, &labels.transform)?.log_sum_exp(D::Minus1)?;
        Ok(Figures {
            log_probs: numbers(&log_probs(&x, labels)?, E::DTYPE)?,
            log_z: numbers(&log_z, E::DTYPE)?,
            ..Figures::default()
        })
    }

    fn hidden_grads(&self, product: &Product<E>, labels: &Labels) -> Result<Vec<E>> {
        let hidden = Var::from_tensor(&tensor(&product.hidden)?)?;
        grads(&hidden, &logits(product, &hidden)?, labels)
    }
}
