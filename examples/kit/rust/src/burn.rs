//! burn on its `flex` backend: `log_softmax`, `gather`, `log_sigmoid`, `linear`, autodiff.

use std::convert::Infallible;
use std::marker::PhantomData;

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::module::linear;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use dpo_kernel::Element;
use dpo_kernel::verify::Transform;
use dpo_kernel::verify::kit::{Output, Pairs};

use crate::host::{Figures, Framework, Labels, Matrix, Product};

/// Tensors of E.
pub(crate) struct Burn<E>(pub(crate) PhantomData<E>);

fn tensor<E: burn::tensor::Element>(x: &Matrix<E>) -> Tensor<2> {
    let data = TensorData::new(x.values.clone(), [x.rows, x.columns]);
    Tensor::from_data(data, (&device(), E::dtype()))
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn column(x: &[f32]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(x.to_vec(), [x.len(), 1]), (&device(), DType::F32))
}

/// A transform is made in f32, as 16 bits would round each of its operations.
fn transformed(x: Tensor<2>, transform: &Transform) -> Tensor<2> {
    if *transform == Transform::NONE {
        return x;
    }
    let x = x.cast(DType::F32);
    let mut y = x.clone() * transform.scale;
    if let Some(softcap) = transform.softcap {
        // What is masked stays so.
        y = ((y / softcap).tanh() * softcap)
            .mask_fill(x.equal_elem(f32::NEG_INFINITY), f32::NEG_INFINITY);
    }
    y / transform.temperature
}

fn numbers<const N: usize>(x: Tensor<N>, of: DType) -> Vec<f64> {
    x.cast(of).cast(DType::F64).into_data().try_to_vec().unwrap_or_default()
}

/// log p of the targets, R × 1.
fn log_probs(x: Tensor<2>, labels: &Labels) -> Tensor<2> {
    let targets: Vec<i64> = labels.targets.iter().map(|&target| target.into()).collect();
    let data = TensorData::new(targets, [labels.targets.len(), 1]);
    let targets = Tensor::<2, Int>::from_data(data, &device());
    log_softmax(transformed(x, &labels.transform), 1).gather(1, targets)
}

/// Gradients of Σ c log p.
fn grads<E: burn::tensor::Element>(at: &Tensor<2>, x: Tensor<2>, labels: &Labels) -> Vec<E> {
    let found = log_probs(x, labels);
    let c = column(&labels.coefficients).cast(found.dtype());
    let grads = (found * c).sum().backward();
    let found = at.grad(&grads).map(|found| found.into_data().try_to_vec().ok());
    found.flatten().unwrap_or_default()
}

fn logits<E: burn::tensor::Element>(product: &Product<E>, hidden: Tensor<2>) -> Tensor<2> {
    let bias = product.bias.as_ref().map(|bias| {
        let data = TensorData::new(bias.clone(), [bias.len()]);
        Tensor::<1>::from_data(data, (&device(), E::dtype()))
    });
    linear(hidden, tensor(&product.weight).transpose(), bias)
}

impl<E: Element + burn::tensor::Element> Framework for Burn<E> {
    type Element = E;
    type Error = Infallible;

    fn name(&self) -> &'static str {
        "burn 0.22.1 (flex)"
    }

    fn offers(&self) -> &[Output] {
        &[
            Output::LogProb,
            Output::Argmax,
            Output::MeanLogit,
            Output::LogitGrads,
            Output::PairLoss,
            Output::HeadLogProb,
            Output::HiddenGrads,
        ]
    }

    fn rows(&self, x: &Matrix<E>, labels: &Labels) -> Result<Figures, Infallible> {
        let x = tensor(x);
        let y = transformed(x.clone(), &labels.transform);
        let argmax = y.clone().argmax(1).into_data().convert::<u32>();
        Ok(Figures {
            log_probs: numbers(log_probs(x, labels), E::dtype()),
            argmax: argmax.try_to_vec().unwrap_or_default(),
            mean_logit: numbers(y.mean_dim(1), E::dtype()),
            ..Figures::default()
        })
    }

    fn row_grads(&self, x: &Matrix<E>, labels: &Labels) -> Result<Vec<E>, Infallible> {
        let x = tensor(x).require_grad();
        Ok(grads(&x, x.clone(), labels))
    }

    /// In f32, and derivatives by autodiff.
    fn pairs(&self, pairs: &Pairs<'_>) -> Result<Vec<[f32; 6]>, Infallible> {
        #[allow(clippy::cast_possible_truncation, reason = "they are numbers of f32")]
        let of = |get: &dyn Fn(usize) -> Option<f64>| {
            let values =
                (0..pairs.log_probs.len()).map(|place| get(place).unwrap_or(f64::NAN) as f32);
            column(&values.collect::<Vec<_>>())
        };
        let log_probs = pairs.log_probs;
        let chosen = of(&|at| log_probs.get(at).map(|pair| pair.policy_chosen)).require_grad();
        let rejected = of(&|at| log_probs.get(at).map(|pair| pair.policy_rejected)).require_grad();
        let of_chosen =
            chosen.clone() - of(&|at| log_probs.get(at).map(|pair| pair.reference_chosen));
        let of_rejected =
            rejected.clone() - of(&|at| log_probs.get(at).map(|pair| pair.reference_rejected));
        let (weight, offset) =
            (of(&|at| pairs.weights.get(at).copied()), of(&|at| pairs.offsets.get(at).copied()));
        let (beta, epsilon) = (pairs.dpo.beta, pairs.dpo.label_smoothing);
        let margin = (of_chosen.clone() - of_rejected.clone()) * beta;
        let z = margin.clone() - offset;
        let curve = log_sigmoid(z.clone()) * (epsilon - 1.0) - log_sigmoid(-z) * epsilon;
        let loss = weight * curve;
        let grads = loss.clone().sum().backward();
        let list = |x: Tensor<2>| x.into_data().try_to_vec::<f32>().unwrap_or_default();
        let d = |x: &Tensor<2>| x.grad(&grads).map(list).unwrap_or_default();
        let columns = [
            list(loss),
            list(of_chosen * beta),
            list(of_rejected * beta),
            list(margin),
            d(&chosen),
            d(&rejected),
        ];
        let number = |column: &Vec<f32>, at: usize| column.get(at).copied().unwrap_or(f32::NAN);
        Ok((0..log_probs.len()).map(|at| columns.each_ref().map(|of| number(of, at))).collect())
    }

    fn head(&self, product: &Product<E>, labels: &Labels) -> Result<Figures, Infallible> {
        let x = logits(product, tensor(&product.hidden));
        Ok(Figures { log_probs: numbers(log_probs(x, labels), E::dtype()), ..Figures::default() })
    }

    fn hidden_grads(&self, product: &Product<E>, labels: &Labels) -> Result<Vec<E>, Infallible> {
        let hidden = tensor(&product.hidden).require_grad();
        Ok(grads(&hidden, logits(product, hidden.clone()), labels))
    }
}
