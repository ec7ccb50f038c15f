//! Gradients of the adapter beside finite differences of the loss in f64.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "counts of tests are small"
)]

mod common;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use common::oracle::{self, Fault, Lora};
use common::{Weights, examples};
use dpo_kernel_candle::dpo_kernel::{Dpo, SequenceLogProb};
use smollm2::Random;
use smollm2::batch::{Example, Packed};
use smollm2::lora::{Adapter, Plan, Projection};
use smollm2::loss::Scorer;
use smollm2::model::Model;

const BETA: f64 = 0.3;
const RANK: usize = 3;
const ALPHA: f64 = 4.0;

/// An adapter on every projection, with B of some size: the numbers of each matrix in f64.
fn adapter(model: &Model) -> (Adapter, Vec<Vec<f64>>) {
    let plan = Plan { rank: RANK, alpha: ALPHA, targets: Projection::ALL.to_vec() };
    let mut random = Random(3);
    let adapter = Adapter::new(model, plan, &mut random).unwrap();
    let mut all = Vec::new();
    for var in adapter.vars() {
        let data: Vec<f32> =
            (0..var.elem_count()).map(|_| 0.3 * (2.0 * random.uniform() - 1.0)).collect();
        all.push(data.iter().map(|x| f64::from(*x)).collect());
        var.set(&Tensor::from_vec(data, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
    (adapter, all)
}

/// The oracle's adapter from matrices in the order of `Adapter::vars`.
fn lora(adapter: &Adapter, all: &[Vec<f64>]) -> Lora {
    let mut matrices: BTreeMap<String, Vec<Vec<Vec<f64>>>> = BTreeMap::new();
    for ((name, var), data) in adapter.names().zip(adapter.vars()).zip(all) {
        let stem = name.strip_prefix("base_model.model.model.layers.").unwrap();
        let parts: Vec<&str> = stem.split('.').collect();
        let rows = data.chunks(var.dims()[1]).map(<[f64]>::to_vec).collect();
        matrices.entry(format!("{}.{}", parts[0], parts[2])).or_default().push(rows);
    }
    let pairs = matrices.into_iter().map(|(name, both)| (name, (both[0].clone(), both[1].clone())));
    Lora { pairs: pairs.collect(), scale: ALPHA / RANK as f64 }
}

fn references(weights: &Weights, examples: &[Example]) -> Vec<SequenceLogProb> {
    let answers = examples.iter().flat_map(|one| [(one, &one.chosen), (one, &one.rejected)]);
    let none = Lora::default();
    let found = answers.map(|(example, answer)| SequenceLogProb {
        sum: oracle::answer(weights, &none, &example.prompt, answer, Fault::None),
        count: answer.len(),
    });
    found.collect()
}

/// What may be wrong on purpose in the oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    None,
    /// Keys of the next group of heads.
    Group,
    /// The rejected answer is the preferred one.
    Exchanged,
    /// The adapter is scaled by α, not by α / r.
    Scale,
}

fn loss(
    weights: &Weights,
    mut lora: Lora,
    examples: &[Example],
    reference: &[SequenceLogProb],
    plant: Plant,
) -> f64 {
    let fault = if plant == Plant::Group { Fault::Group } else { Fault::None };
    let sign = if plant == Plant::Exchanged { -1.0 } else { 1.0 };
    if plant == Plant::Scale {
        lora.scale = ALPHA;
    }
    let losses = examples.iter().zip(reference.chunks_exact(2)).map(|(example, reference)| {
        let of = |answer| oracle::answer(weights, &lora, &example.prompt, answer, fault);
        let chosen = of(&example.chosen) - reference[0].sum;
        let rejected = of(&example.rejected) - reference[1].sum;
        (1.0 + (-BETA * sign * (chosen - rejected)).exp()).ln()
    });
    losses.sum::<f64>() / examples.len() as f64
}

/// Gradients in the order of `Adapter::vars`, in micro-batches.
fn grads(
    model: &Model,
    adapter: &Adapter,
    examples: &[Example],
    reference: &[SequenceLogProb],
    micro_batch: usize,
) -> (f64, Vec<Vec<f32>>) {
    let mut scorer = Scorer::new(model.head());
    let mut sums: Vec<Vec<f32>> = adapter.vars().map(|var| vec![0.0; var.elem_count()]).collect();
    let mut value = 0.0;
    let parts = examples.chunks(micro_batch).zip(reference.chunks(2 * micro_batch));
    for (examples_here, reference) in parts {
        let packed = Packed::new(examples_here).unwrap();
        let states = model.states(&packed, Some(&adapter.trained())).unwrap();
        let loss = (&Dpo::new(BETA).unwrap(), examples.len() as f64);
        let (scalar, _) = scorer.step(&states, &packed, reference, loss).unwrap();
        value += f64::from(scalar.to_scalar::<f32>().unwrap());
        let store = scalar.backward().unwrap();
        for (var, sum) in adapter.vars().zip(&mut sums) {
            let grad: Vec<f32> =
                store.get(var.as_tensor()).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            sum.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += grad);
        }
    }
    (value, sums)
}

/// Directions of length 1 in which a matrix is moved: some entries alone, and all of them at once, each
/// by as much, half of them backwards.
fn directions(count: usize, random: &mut Random) -> Vec<Vec<f64>> {
    let share = (count as f64).sqrt().recip();
    let all =
        (0..count).map(|_| if random.bits().is_multiple_of(2) { share } else { -share }).collect();
    let alone = |entry: usize| (0..count).map(|i| f64::from(u8::from(i == entry))).collect();
    vec![all, alone(0), alone(count / 2), alone(count - 1)]
}

/// How far the loss, and the gradients' slopes, are from the oracle's; and the largest gradient.
fn differences(plant: Plant) -> [f64; 3] {
    let (weights, model, _) = common::model(&format!("gradients-{plant:?}"), 9);
    let examples = examples();
    let reference = references(&weights, &examples);
    let (adapter, all) = adapter(&model);
    let (found, grads) = grads(&model, &adapter, &examples, &reference, 4);
    let at = |all: &[Vec<f64>]| loss(&weights, lora(&adapter, all), &examples, &reference, plant);
    let mut random = Random(5);
    let mut slopes = Vec::new();
    for (matrix, grads) in grads.iter().enumerate() {
        for direction in directions(grads.len(), &mut random) {
            let moved = |step: f64| {
                let mut moved = all.clone();
                moved[matrix].iter_mut().zip(&direction).for_each(|(x, part)| *x += step * part);
                at(&moved)
            };
            // An error of h⁴ in f64.
            let near = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            let far = (moved(2e-3) - moved(-2e-3)) / 4e-3;
            let slope = grads.iter().zip(&direction).map(|(grad, part)| f64::from(*grad) * part);
            slopes.push((4.0 * near - far) / 3.0 - slope.sum::<f64>());
        }
    }
    let grads = grads.iter().flatten().map(|grad| f64::from(*grad));
    [found - at(&all), common::largest(slopes), common::largest(grads)]
}

/// f32 through forward and backward: some hundred roundings of 2⁻²⁴ of the largest gradient. Errors of
/// all entries together, half of them backwards, come to their root mean square, which is no more.
const BOUND: f64 = 100.0 / (1 << 24) as f64;

/// A loss has a slope of β at most by each of its two log-probs.
const LOSS: f64 = 2.0 * BETA * common::LOG_PROB;

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let [loss, slope, largest] = differences(Plant::None);
    assert!(loss.abs() < LOSS, "{loss}");
    assert!(slope < BOUND * largest, "{slope} of {largest}");
}

#[test]
fn faults_are_seen() {
    for plant in [Plant::Group, Plant::Exchanged, Plant::Scale] {
        let [loss, slope, largest] = differences(plant);
        assert!(slope > 100.0 * BOUND * largest, "{plant:?}: {slope} of {largest}");
        assert!(loss.abs() > 1e-3, "{plant:?}: {loss}");
    }
}

#[test]
fn micro_batches_add_up_to_the_batch() {
    let (weights, model, _) = common::model("micro", 9);
    let examples = examples();
    let reference = references(&weights, &examples);
    let (adapter, _) = adapter(&model);
    let (value, whole) = grads(&model, &adapter, &examples, &reference, 4);
    let largest = common::largest(whole.iter().flatten().map(|grad| f64::from(*grad)));
    for micro_batch in [1, 3] {
        let (parts_value, parts) = grads(&model, &adapter, &examples, &reference, micro_batch);
        // Each is as far from the formulas as it may be.
        assert!((value - parts_value).abs() < 2.0 * LOSS, "{value} {parts_value}");
        for (a, b) in whole.iter().flatten().zip(parts.iter().flatten()) {
            assert!(f64::from((a - b).abs()) < 2.0 * BOUND * largest, "{a} {b} of {largest}");
        }
    }
}

#[test]
fn without_an_adapter_nothing_is_tracked() {
    let (_, model, _) = common::model("untracked", 9);
    let packed = Packed::new(&examples()).unwrap();
    let (adapter, _) = adapter(&model);
    assert!(!model.states(&packed, None).unwrap().track_op());
    assert!(!model.states(&packed, Some(&adapter.fixed())).unwrap().track_op());
    assert!(model.states(&packed, Some(&adapter.trained())).unwrap().track_op());
}
