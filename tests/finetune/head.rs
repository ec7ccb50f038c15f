//! The head alone, against plain f64: log-probs, gradients of all that is trained, memory.

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::HeadRow;
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Dispatch, Layout, Span, TokenOut};

use crate::finetune::batch::Batch;
use crate::finetune::head::{Head, Pass};
use crate::finetune::linear::{Adapter, Linear, Weights};
use crate::finetune::model::{Model, Shape, VOCAB};
use crate::finetune::random::Random;
use crate::plain::{RANK, tuned};

const WIDTH: usize = 16;
const SHAPE: Shape = Shape { width: WIDTH, hidden: 8, blocks: 1 };
/// More than go through the head at once, and no multiple of it.
const ROWS: usize = 203;

/// Hidden states, targets and slopes of a loss that is Σ c · log p.
struct Case {
    model: Model,
    adapter: Adapter,
    states: Vec<f32>,
    targets: Vec<u32>,
    coefficients: Vec<f64>,
}

/// What came of it, or should.
#[derive(Default)]
struct Found {
    log_probs: Vec<f64>,
    d_states: Vec<f64>,
    /// Of the half that is trained, all of it.
    grads: Vec<f64>,
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

impl Case {
    fn new(adapter: Adapter) -> Self {
        let mut random = Random(21);
        let model = tuned(SHAPE, 4);
        let states = (0..ROWS * WIDTH).map(|_| random.normal()).collect();
        let targets = (0..ROWS).map(|_| u32::from(random.bits().to_be_bytes()[0])).collect();
        let mut coefficients: Vec<f64> =
            (0..ROWS).map(|_| f64::from(random.normal()) / 64.0).collect();
        coefficients[7] = 0.0;
        Self { model, adapter, states, targets, coefficients }
    }

    fn run(&self) -> Found {
        let Self { model, adapter, states, targets, coefficients } = self;
        let spans = [Span::new(0, 100), Span::new(100, ROWS)];
        let layout = Layout::new(targets, &spans, VOCAB).expect("a layout");
        let (mut log_probs, mut norms) = (vec![f32::NAN; ROWS], vec![RowNorm::default(); ROWS]);
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let mut pass = Pass::new(&model.head, &model.weights, *adapter);
        pass.score(Dispatch::detect(), states, &layout, out).expect("finite");
        let mut grads = pass.zeros();
        let batch = GradBatch::new(&layout, &norms, coefficients);
        pass.backward(Dispatch::detect(), states, &batch, &mut grads).expect("gradients");
        let d_states: Vec<f32> = pass.d_states(0..ROWS).flatten().copied().collect();
        let some: Vec<f32> = pass.d_states(99..101).flatten().copied().collect();
        assert_eq!(some, d_states[99 * WIDTH..101 * WIDTH], "rows as they are asked for");
        Found { log_probs: wide(&log_probs), d_states: wide(&d_states), grads: wide(&grads) }
    }

    /// By the formulas, with every logit written out.
    fn expected(&self) -> Found {
        let Self { model, adapter, states, targets, coefficients } = self;
        let (base, low) = (wide(&model.weights.base), wide(&model.weights.adapter));
        // The last of each: W is VOCAB × WIDTH; A RANK × WIDTH, then B VOCAB × RANK.
        let (w, b) = (base.len() - VOCAB * WIDTH, low.len() - VOCAB * RANK);
        let a = b - RANK * WIDTH;
        let is_on = *adapter == Adapter::On;
        let mut found = Found {
            grads: vec![0.0; if is_on { low.len() } else { base.len() }],
            ..Found::default()
        };
        for (row, x) in wide(states).chunks_exact(WIDTH).enumerate() {
            let dot = |y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            let u: Vec<f64> = (0..RANK)
                .map(|k| if is_on { 2.0 * dot(&low[a + k * WIDTH..][..WIDTH]) } else { 0.0 })
                .collect();
            let logit = |j: usize| {
                let low: f64 = (0..RANK).map(|k| u[k] * low[b + j * RANK + k]).sum();
                dot(&base[w + j * WIDTH..][..WIDTH]) + low
            };
            let logits: Vec<f64> = (0..VOCAB).map(logit).collect();
            let lse = logits.iter().map(|y| y.exp()).sum::<f64>().ln();
            let target = usize::try_from(targets[row]).expect("a byte");
            found.log_probs.push(logits[target] - lse);
            let (mut d_x, mut d_u) = (vec![0.0; WIDTH], vec![0.0; RANK]);
            for (j, y) in logits.iter().enumerate() {
                let hit = f64::from(u8::from(j == target));
                let d = coefficients[row] * (hit - (y - lse).exp());
                for h in 0..WIDTH {
                    d_x[h] += d * base[w + j * WIDTH + h];
                    if !is_on {
                        found.grads[w + j * WIDTH + h] += d * x[h];
                    }
                }
                for k in (0..RANK).filter(|_| is_on) {
                    d_u[k] += d * low[b + j * RANK + k];
                    found.grads[b + j * RANK + k] += d * u[k];
                }
            }
            for k in (0..RANK).filter(|_| is_on) {
                for h in 0..WIDTH {
                    d_x[h] += 2.0 * d_u[k] * low[a + k * WIDTH + h];
                    found.grads[a + k * WIDTH + h] += 2.0 * d_u[k] * x[h];
                }
            }
            found.d_states.extend(d_x);
        }
        found
    }
}

/// The largest difference, relative to the largest that is due.
fn error(found: &[f64], due: &[f64]) -> f64 {
    assert_eq!(found.len(), due.len(), "as many");
    let largest = due.iter().map(|due| due.abs()).fold(0.0, f64::max);
    assert!(largest > 1e-3, "something to see: {largest:e}");
    found.iter().zip(due).map(|(found, due)| (found - due).abs()).fold(0.0, f64::max) / largest
}

#[test]
fn log_probs_and_gradients_are_those_of_plain_f64() {
    for adapter in [Adapter::Off, Adapter::On] {
        let case = Case::new(adapter);
        let (found, due) = (case.run(), case.expected());
        let errors = [
            error(&found.log_probs, &due.log_probs),
            error(&found.d_states, &due.d_states),
            error(&found.grads, &due.grads),
        ];
        assert!(errors.iter().all(|error| *error < 2e-6), "{adapter:?}: {errors:?}");
        let below = due.grads.iter().zip(&found.grads).filter(|(due, _)| **due == 0.0);
        assert!(below.clone().all(|(_, found)| *found == 0.0), "{adapter:?}: layers below");
        assert!(below.count() > 0, "{adapter:?}: there are some");
        let planted: Vec<f64> = found.grads.iter().map(|d| d * 1.00001).collect();
        assert!(error(&planted, &due.grads) > 5e-6, "{adapter:?}: a planted fault");
    }
}

/// What the head holds of so many rows, as its documents have it: 528 numbers for each of 132 rows
/// at once, 8207 for its products; gradients and projections of all rows.
pub(crate) fn held(rows: usize, width: usize, adapter: Adapter) -> usize {
    let each = match adapter {
        Adapter::Off => width,
        Adapter::On => width + 2 * RANK,
    };
    let numbers = 132 * 528 + 8207;
    4 * (rows * each + numbers) + 128 * size_of::<HeadRow>()
}

/// In bytes of what is there, and of logits that are not.
#[test]
fn memory_is_counted() {
    let model = tuned(SHAPE, 4);
    let tokens: Vec<u8> = (0..=250).collect();
    for adapter in [Adapter::Off, Adapter::On] {
        let mut batch = Batch::forward(&model, &[(&tokens, 5..90), (&tokens, 0..250)], adapter);
        batch.likelihood(Dispatch::detect()).expect("finite");
        batch.backward(Dispatch::detect()).expect("gradients");
        let found = batch.memory();
        assert_eq!((found.rows, found.logits), (335, 335 * 256 * 4), "{adapter:?}");
        assert_eq!(found.held, held(335, WIDTH, adapter), "{adapter:?}");
    }
}

/// The numbers that a layer would have at its place, transposed: results stay comparable.
#[test]
fn a_head_starts_as_a_layer_does() {
    let start = || (Weights { base: vec![0.5; 3], adapter: vec![0.25; 2] }, Random(9));
    let ((mut layer, mut draws), (mut head, mut again)) = (start(), start());
    Linear::new(WIDTH, VOCAB, 0.3, &mut layer, &mut draws);
    Head::new(WIDTH, 0.3, &mut head, &mut again);
    assert_eq!(draws.bits(), again.bits(), "as many numbers were drawn");
    for (layer, head, start, outputs) in
        [(&layer.base, &head.base, 3, VOCAB), (&layer.adapter, &head.adapter, 2, RANK)]
    {
        assert_eq!((head.len(), &head[..start]), (layer.len(), &layer[..start]), "what was there");
        for (i, x) in layer[start..start + WIDTH * outputs].iter().enumerate() {
            let (input, output) = (i / outputs, i % outputs);
            assert_eq!(head[start + output * WIDTH + input].to_bits(), x.to_bits(), "{i}");
        }
        let end = start + WIDTH * outputs;
        assert!(head[end..].iter().all(|&x| x == 0.0), "B is 0");
    }
}
