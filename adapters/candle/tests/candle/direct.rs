//! The adapter is the crate's step: the same bits as the crate called on slices, and more rows than
//! go through a head at once.

use candle_core::{DType, Device, Tensor, Var, WithDType};
use dpo_kernel_candle::dpo_kernel::head::{
    HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut, Linear,
};
use dpo_kernel_candle::dpo_kernel::step::{FrozenHead, TrainedHead};
use dpo_kernel_candle::dpo_kernel::{
    self, Dpo, Element, Layout, LogitsMut, Pair, Reference, Span, StepBatch, Transform, Workspace,
    bf16, f16,
};
use dpo_kernel_candle::{Head, Logits};

use crate::case::{Random, numbers, on};

/// Above the 512 that go through a head at once, and no multiple of anything.
const ROWS: usize = 1_297;
const VOCAB: usize = 53;
const SIZE: usize = 29;

fn with_batch(random: &mut Random, run: impl FnOnce(&StepBatch<'_>)) {
    let targets: Vec<u32> = (0..ROWS).map(|_| random.below(VOCAB) as u32).collect();
    let spans = [Span::new(3, 400), Span::new(400, 690), Span::new(700, 1_296)];
    let layout = Layout::new(&targets, &spans, VOCAB).unwrap();
    let (pairs, reference) = ([Pair::new(0, 1), Pair::new(2, 1)], [-1600.0, -1200.0, -2400.0]);
    run(&StepBatch::new(&layout, &pairs, Reference::Sums(&reference), 3.0));
}

fn slice<E: WithDType>(tensor: &Tensor) -> Vec<E> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn logits_of<E: Element + WithDType>(random: &mut Random) {
    let logits = Var::from_tensor(&random.tensor((ROWS, VOCAB), 1.5, E::DTYPE)).unwrap();
    let (numbers_of, loss) = (slice::<E>(&logits), Dpo::new(0.3).unwrap());
    with_batch(random, |batch| {
        let mut grads = vec![<E as Element>::ZERO; ROWS * VOCAB];
        let from = dpo_kernel::Logits::new(&numbers_of, ROWS, VOCAB).unwrap();
        let to = LogitsMut::new(&mut grads, ROWS, VOCAB).unwrap();
        let expected = Workspace::new().preference_step(on(), &loss, (from, to), batch).unwrap();
        let mut workspace = dpo_kernel_candle::Workspace::new();
        let found = workspace.preference_step(on(), &loss, Logits::new(&logits), batch).unwrap();
        assert_eq!(found.summary, expected);
        let store = found.loss.backward().unwrap();
        let grads: Vec<f32> = grads.into_iter().map(Element::to_f32).collect();
        let found = slice::<f32>(&store.get(&logits).unwrap().to_dtype(DType::F32).unwrap());
        assert_eq!(found, grads, "{:?}", E::DTYPE);
    });
}

#[test]
fn logits_have_the_crates_bits() {
    let mut random = Random(60);
    logits_of::<f32>(&mut random);
    logits_of::<f16>(&mut random);
    logits_of::<bf16>(&mut random);
}

#[test]
fn a_head_has_the_crates_bits_whatever_goes_through_at_once() {
    let mut random = Random(61);
    let states = Var::from_tensor(&random.tensor((ROWS, SIZE), 1.0, DType::F32)).unwrap();
    let weights = Var::from_tensor(&random.tensor((VOCAB, SIZE), 0.3, DType::F32)).unwrap();
    let (s, w) = (slice::<f32>(&states), slice::<f32>(&weights));
    let loss = Dpo::new(0.3).unwrap();
    let transform = Transform::new(0.5, Some(4.0), 0.8).unwrap();
    with_batch(&mut random, |batch| {
        let hidden = Hidden::new(&s, ROWS, SIZE).unwrap();
        let linear = Linear::new(&w, VOCAB, SIZE).unwrap().with_transform(transform);
        let mut rows = vec![HeadRow::NEW; ROWS];
        for is_trained in [false, true] {
            let mut of_states = vec![0.0_f32; ROWS * SIZE];
            let mut of_weights = vec![0.0_f32; VOCAB * SIZE];
            let to = HiddenMut::new(&mut of_states, ROWS, SIZE).unwrap();
            let grads = HeadGrads::of_weights(&mut of_weights, VOCAB, SIZE).unwrap();
            let len = HeadScratch::numbers_trained::<_, f32, _, f32>(on(), &linear, ROWS, &grads);
            let mut memory = vec![0.0; len];
            let scratch = HeadScratch::new(&mut rows, &mut memory);
            let mut workspace = Workspace::new();
            let expected = if is_trained {
                let step = TrainedHead::new(hidden, &linear, to, grads, scratch);
                workspace.preference_step(on(), &loss, step, batch).unwrap()
            } else {
                let step = FrozenHead::new(hidden, &linear, to, scratch);
                workspace.preference_step(on(), &loss, step, batch).unwrap()
            };
            let of = if is_trained { weights.as_tensor().clone() } else { weights.detach() };
            let mut workspace = dpo_kernel_candle::Workspace::new();
            let head = Head::new(&states, &of).with_transform(transform);
            let found = workspace.preference_step(on(), &loss, head, batch).unwrap();
            assert_eq!(found.summary, expected);
            let store = found.loss.backward().unwrap();
            assert_eq!(slice::<f32>(store.get(&states).unwrap()), of_states, "{is_trained}");
            if is_trained {
                assert_eq!(slice::<f32>(store.get(&weights).unwrap()), of_weights);
            }
        }
    });
}

/// A batch without pairs, or without rows: a loss of 0 and gradients of zeros.
#[test]
fn nothing_to_do_is_done() {
    let mut random = Random(63);
    let loss = Dpo::new(0.3).unwrap();
    let mut workspace = dpo_kernel_candle::Workspace::new();
    for rows in [0, 3] {
        let of = |tensor: Tensor| Var::from_tensor(&tensor).unwrap();
        let logits = of(random.tensor((rows, VOCAB), 1.0, DType::BF16));
        let states = of(random.tensor((rows, SIZE), 1.0, DType::F32));
        let weights = of(random.tensor((VOCAB, SIZE), 1.0, DType::F32));
        let targets = vec![0; rows];
        let layout = Layout::new(&targets, &[], VOCAB).unwrap();
        let batch = StepBatch::new(&layout, &[], Reference::Sums(&[]), 1.0);
        let step = workspace.preference_step(on(), &loss, Logits::new(&logits), &batch).unwrap();
        let store = step.loss.backward().unwrap();
        assert_eq!(step.loss.to_scalar::<f32>().unwrap(), 0.0);
        assert_eq!(numbers(store.get(&logits).unwrap()), vec![0.0; rows * VOCAB]);
        for is_trained in [false, true] {
            let of = if is_trained { weights.as_tensor().clone() } else { weights.detach() };
            let head = Head::new(&states, &of);
            let step = workspace.preference_step(on(), &loss, head, &batch).unwrap();
            let store = step.loss.backward().unwrap();
            assert_eq!(numbers(store.get(&states).unwrap()), vec![0.0; rows * SIZE]);
            if let Some(grad) = store.get(&weights) {
                assert_eq!(numbers(grad), vec![0.0; VOCAB * SIZE]);
            }
            assert!(workspace.score(on(), head, &layout, None).unwrap().is_empty());
        }
    }
}

/// A workspace that has seen another batch and another head is as good as a new one.
#[test]
fn memory_that_was_used_changes_nothing() {
    let mut random = Random(62);
    let tensor =
        |random: &mut Random, rows, columns| random.tensor((rows, columns), 0.4, DType::F32);
    let weights = tensor(&mut random, VOCAB, SIZE);
    let (a, b) = (tensor(&mut random, 5, SIZE), tensor(&mut random, VOCAB, 5));
    let states = Var::from_tensor(&tensor(&mut random, ROWS, SIZE).to_dtype(DType::BF16).unwrap());
    let states = states.unwrap();
    let loss = Dpo::new(0.3).unwrap();
    let mut used = dpo_kernel_candle::Workspace::new();
    let heads = [
        Head::new(&states, &weights).with_adapter(&a, &b, 0.5),
        Head::new(&states, &weights),
        Head::new(&states, &weights).with_adapter(&a, &b, 0.5),
    ];
    let mut before = None;
    for head in heads {
        with_batch(&mut random, |batch| {
            let run = |workspace: &mut dpo_kernel_candle::Workspace| {
                let found = workspace.preference_step(on(), &loss, head, batch).unwrap();
                let store = found.loss.backward().unwrap();
                numbers(store.get(&states).unwrap())
            };
            let (found, expected) = (run(&mut used), run(&mut dpo_kernel_candle::Workspace::new()));
            assert_eq!(found, expected);
            for row in [0, 2, 690, 699, ROWS - 1] {
                assert!(found[row * SIZE..][..SIZE].iter().all(|x| *x == 0.0), "row {row}");
            }
            assert_ne!(before.replace(expected.clone()), Some(expected), "another batch");
        });
    }
    let one = Tensor::zeros((1, VOCAB), DType::F32, &Device::Cpu).unwrap();
    let (targets, spans) = ([0], [Span::new(0, 1)]);
    let layout = Layout::new(&targets, &spans, VOCAB).unwrap();
    let found = used.score(on(), Logits::new(&one), &layout, None).unwrap();
    assert_eq!((found.len(), found[0].count), (1, 1));
    assert_eq!(used.log_probs().len(), 1);
}
