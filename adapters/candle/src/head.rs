//! Hidden states and a head, in tensors.

use candle_core::Tensor;
use dpo_kernel::head::{Adapted, Adapter, Hidden, Linear};
use dpo_kernel::{Executor, Layout, Transform};

use crate::error::{Error, Operand};
use crate::head_step::HeadStep;
use crate::input::private::Source;
use crate::input::{Found, Input, Memory, Room, grow};
use crate::matrix::Matrix;
use crate::number::{Number, with_type};
use crate::stages::{Reading, Stages};

/// Hidden states and the language-model head that would make logits of them: logits exist a tile at
/// a time, and so do their gradients.
///
/// ```text
/// y = transform(states · Wᵀ + b + scale · (states · Aᵀ) · Bᵀ)
/// states [.., H], R rows    W [V, H]    b [V]    A [r, H]    B [V, r]
/// ```
///
/// States and weights are f32, f16 or bf16, each by itself; bias, A and B are f32. Rows may lie at a
/// distance above H.
///
/// What is trained is what candle tracks. Weights of a `Var` get a gradient, those of a plain tensor
/// or after `detach()` none, and then nothing is computed for one. A head that is tied to the
/// embedding is nothing special: give it the embedding's tensor, and candle adds both gradients.
///
/// # Numerics
/// Sums are of f32, as those of [`dpo_kernel::head`], whatever the tensors are; a gradient is rounded
/// once to its tensor's type, where `backward()` starts at the loss. f16 ends at 65504, and below
/// 2⁻²⁵ it is 0. A factor above the loss multiplies what is rounded, in f32, and rounds again, so in
/// f16 put the factor into the divisor: [the page](crate#what-is-trained). Rows of states that are
/// not scored are exact zeros.
///
/// # Example
/// A frozen head with an adapter that is trained:
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use dpo_kernel_candle::dpo_kernel::{Dispatch, Dpo, Layout, Pair, Reference, Span, StepBatch};
/// use dpo_kernel_candle::{Head, Workspace};
/// let states = Var::randn(0_f32, 1.0, (2, 8), &Device::Cpu)?; // what the last norm gives
/// let weights = Tensor::randn(0_f32, 0.1, (10, 8), &Device::Cpu)?.to_dtype(DType::BF16)?;
/// let a = Var::randn(0_f32, 0.1, (4, 8), &Device::Cpu)?;
/// let b = Var::zeros((10, 4), DType::F32, &Device::Cpu)?;
///
/// let (targets, spans) = ([3, 7], [Span::new(0, 1), Span::new(1, 2)]);
/// let layout = Layout::new(&targets, &spans, 10)?;
/// let pairs = [Pair::new(0, 1)];
/// let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&[-2.3, -2.3]), 1.0);
/// let head = Head::new(&states, &weights).with_adapter(&a, &b, 2.0);
/// let loss = Dpo::new(0.1)?;
/// let step = Workspace::new().preference_step(Dispatch::detect(), &loss, head, &batch)?;
/// let grads = step.loss.backward()?;
/// assert!(grads.get(&states).is_some() && grads.get(&a).is_some() && grads.get(&b).is_some());
/// assert!(grads.get(&weights).is_none());
/// # Ok::<(), dpo_kernel_candle::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub(crate) states: &'a Tensor,
    pub(crate) weights: &'a Tensor,
    pub(crate) bias: Option<&'a Tensor>,
    pub(crate) adapter: Option<Lora<'a>>,
    transform: Transform,
    pub(crate) negligible: f32,
}

/// The tensors of an adapter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lora<'a> {
    pub(crate) a: &'a Tensor,
    pub(crate) b: &'a Tensor,
    scale: f32,
}

impl<'a> Head<'a> {
    /// Hidden states, as the model's last norm gives them, and the head's weights. The tensors are
    /// looked at when a step takes them.
    #[must_use]
    pub const fn new(states: &'a Tensor, weights: &'a Tensor) -> Self {
        let transform = Transform::NONE;
        Self { states, weights, bias: None, adapter: None, transform, negligible: 0.0 }
    }

    /// With a bias, V.
    #[must_use]
    pub const fn with_bias(mut self, bias: &'a Tensor) -> Self {
        self.bias = Some(bias);
        self
    }

    /// With a low-rank adapter on the head: `a`, r × H (`lora_A.weight`), `b`, V × r
    /// (`lora_B.weight`), and scale, α/r.
    #[must_use]
    pub const fn with_adapter(mut self, a: &'a Tensor, b: &'a Tensor, scale: f32) -> Self {
        self.adapter = Some(Lora { a, b, scale });
        self
    }

    /// With scale, softcap and temperature of the model.
    #[must_use]
    pub const fn with_transform(mut self, transform: Transform) -> Self {
        self.transform = transform;
        self
    }

    /// With leave to pass over tiles of 512 columns in which every probability is below this, as
    /// [`HeadScratch::with_negligible`](dpo_kernel::head::HeadScratch::with_negligible) says: a
    /// step refuses what lies outside [0, 1/256].
    #[must_use]
    pub const fn with_negligible(mut self, probability: f32) -> Self {
        self.negligible = probability;
        self
    }

    /// All tensors, held and checked against each other.
    fn open(&self) -> Result<Operands<'a>, Error> {
        let states = Matrix::of(Operand::States, self.states)?;
        let weights = Matrix::of_two(Operand::Weights, self.weights, "[V, H]")?;
        let (vocab, size) = (weights.rows, states.columns);
        if weights.columns != size {
            let (operand, found) = (Operand::Weights, self.weights.dims().into());
            return Err(Error::Shape { operand, expected: format!("[V, {size}]"), found });
        }
        let mut bias = None;
        if let Some(tensor) = self.bias {
            let found = Matrix::of(Operand::Bias, tensor)?;
            found.check(&[vocab])?;
            bias = Some(found);
        }
        let mut adapter = None;
        if let Some(Lora { a, b, scale }) = self.adapter {
            let a = Matrix::of_two(Operand::AdapterA, a, "[r, H]")?;
            let b = Matrix::of_two(Operand::AdapterB, b, "[V, r]")?;
            a.check(&[a.rows, size])?;
            b.check(&[vocab, a.rows])?;
            adapter = Some((a, b, scale));
        }
        Ok(Operands { states, weights, bias, adapter, transform: self.transform })
    }
}

impl Head<'_> {
    /// Runs a job on what a step over this head needs.
    fn with_step<E: Number, X: Executor, T>(
        &self,
        operands: &Operands<'_>,
        executor: X,
        layout: &Layout<'_>,
        room: &mut Room,
        job: impl FnOnce(HeadStep<'_, E>, &mut Memory, &mut Vec<f32>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Room { memory, projected, hidden } = room;
        let (states, linear) = (operands.states::<E>()?, operands.linear::<E>()?);
        let (weights, at_once) = (operands.weights.float, rows_at_once(layout));
        let Some(adapter) = operands.adapter()? else {
            let head = &*linear;
            let step = HeadStep { of: self, states, head, weights, adapter: None, at_once };
            return job(step, memory, hidden);
        };
        let u = project(executor, &adapter, states, layout, memory, projected)?;
        let head = &Adapted::new::<E>(&*linear, &adapter, u)?;
        let adapter = Some((&adapter, u));
        let step = HeadStep { of: self, states, head, weights, adapter, at_once };
        job(step, memory, hidden)
    }
}

/// Tensors of a head, held for reading.
struct Operands<'a> {
    states: Matrix<'a>,
    weights: Matrix<'a>,
    bias: Option<Matrix<'a>>,
    adapter: Option<(Matrix<'a>, Matrix<'a>, f32)>,
    transform: Transform,
}

/// A head whose weights' type is hidden, so that a step is compiled once for all three.
type AnyHead<'m, E> = Box<dyn dpo_kernel::head::Head<E> + 'm>;

impl Operands<'_> {
    fn states<E: Number>(&self) -> Result<Hidden<'_, E>, Error> {
        let Matrix { rows, columns, stride, .. } = self.states;
        Ok(Hidden::with_stride(self.states.numbers()?, rows, columns, stride)?)
    }

    fn linear<E: Number>(&self) -> Result<AnyHead<'_, E>, Error> {
        let Matrix { rows, columns, stride, .. } = self.weights;
        with_type!(self.weights.float, W => {
            let numbers = self.weights.numbers::<W>()?;
            let mut linear = Linear::with_stride(numbers, rows, columns, stride)?;
            if let Some(bias) = &self.bias {
                linear = linear.with_bias(bias.numbers()?)?;
            }
            Ok(Box::new(linear.with_transform(self.transform)))
        })
    }

    fn adapter(&self) -> Result<Option<Adapter<'_>>, Error> {
        let Some((a, b, scale)) = &self.adapter else { return Ok(None) };
        let (rank, size, vocab) = (a.rows, a.columns, b.rows);
        Ok(Some(Adapter::new(a.numbers()?, b.numbers()?, rank, size, vocab, *scale)?))
    }
}

/// How many rows go through a head at once: enough that reading weights takes less time than
/// multiplying, a multiple of the chains that a trained head sums in.
const ROWS: usize = 512;

/// Of the rows that are scored.
fn rows_at_once(layout: &Layout<'_>) -> usize {
    let scored: usize = (0..layout.sequences()).map(|i| layout.tokens(i)).sum();
    scored.clamp(1, ROWS)
}

/// u of every scored row.
fn project<'m, E: Number, X: Executor>(
    executor: X,
    adapter: &Adapter<'_>,
    states: Hidden<'_, E>,
    layout: &Layout<'_>,
    memory: &mut Memory,
    projected: &'m mut Vec<f32>,
) -> Result<Hidden<'m, f32>, Error> {
    let (rows, rank, at_once) = (states.rows(), adapter.rank(), rows_at_once(layout));
    let projected = grow(projected, rows.saturating_mul(rank), 0.0)?;
    let scratch = memory.scratch(at_once, adapter.numbers(at_once))?;
    let out = dpo_kernel::head::HiddenMut::new(&mut *projected, rows, rank)?;
    adapter.project(executor, states, layout, out, scratch)?;
    Ok(Hidden::new(projected, rows, rank)?)
}

impl Input for Head<'_> {}

#[allow(private_interfaces, private_bounds, reason = "sealed")]
impl Source for Head<'_> {
    fn is_tracked(&self) -> bool {
        let adapter = self.adapter.is_some_and(|of| of.a.track_op() || of.b.track_op());
        let bias = self.bias.is_some_and(Tensor::track_op);
        self.states.track_op() || self.weights.track_op() || bias || adapter
    }

    fn read<X: Executor, R: Reading>(
        &self,
        executor: X,
        layout: &Layout<'_>,
        reading: R,
        room: &mut Room,
    ) -> Result<R::Found, Error> {
        let operands = self.open()?;
        with_type!(operands.states.float, E => {
            self.with_step::<E, _, _>(&operands, executor, layout, room, |step, memory, _| {
                step.read(executor, reading, memory)
            })
        })
    }

    fn step<X: Executor, S: Stages>(
        &self,
        executor: X,
        layout: &Layout<'_>,
        stages: S,
        room: &mut Room,
    ) -> Result<Found<S::Sums>, Error> {
        let operands = self.open()?;
        with_type!(operands.states.float, E => {
            self.with_step::<E, _, _>(&operands, executor, layout, room, |step, memory, hidden| {
                step.run(executor, layout, stages, memory, hidden)
            })
        })
    }
}
