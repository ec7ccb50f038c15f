//! The loss in candle's graph: inside a model, twice, scaled, in parts.

use std::ops::Range;

use candle_core::{DType, Device, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::{Dpo, Layout, Pair, PairLoss, Reference, Span, StepBatch};
use dpo_kernel_candle::{Head, Logits, Workspace};

use crate::case::{Case, ROWS, Random, VOCAB, numbers, on};
use crate::formulas::logistic;
use crate::oracle::Oracle;

const SIZE: usize = 19;

fn bits(tensor: &Tensor) -> Vec<u64> {
    numbers(tensor).into_iter().map(f64::to_bits).collect()
}

/// Embedding → linear twice → logits by the embedding again.
struct Model {
    embedding: Var,
    linear: Var,
    tokens: Tensor,
}

impl Model {
    fn new(random: &mut Random) -> Self {
        let embedding = Var::from_tensor(&random.tensor((VOCAB, SIZE), 0.7, DType::F32)).unwrap();
        let linear = Var::from_tensor(&random.tensor((SIZE, SIZE), 0.3, DType::F32)).unwrap();
        let tokens: Vec<u32> = (0..ROWS).map(|_| random.below(VOCAB) as u32).collect();
        Self { embedding, linear, tokens: Tensor::new(tokens, &Device::Cpu).unwrap() }
    }

    fn states(&self) -> Tensor {
        let states = self.embedding.embedding(&self.tokens).unwrap();
        let states = states.matmul(&self.linear).unwrap().tanh().unwrap();
        states.matmul(&self.linear).unwrap()
    }

    fn logits(&self) -> Tensor {
        self.states().matmul(&self.embedding.t().unwrap()).unwrap()
    }
}

/// candle is handed the same numbers by `(logits · gradients).sum()`, whose gradient by the logits
/// they are; so both parameters, each used twice, get the same bits.
#[test]
fn a_parameter_used_twice_gets_what_candle_makes_of_the_same_gradient() {
    let mut random = Random(20);
    let (case, model) = (Case::new(&mut random), Model::new(&mut random));
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let batch = case.batch(&layout, false);
    let mut workspace = Workspace::new();

    let logits = model.logits();
    let found = workspace.preference_step(on(), &loss, Logits::new(&logits), &batch).unwrap();
    let grads = found.loss.backward().unwrap();
    let leaf = Var::from_tensor(&logits.detach()).unwrap();
    let of_leaf = workspace.preference_step(on(), &loss, Logits::new(&leaf), &batch).unwrap();
    let of_leaf = of_leaf.loss.backward().unwrap().get(&leaf).unwrap().clone();
    let handed = (&logits * of_leaf).unwrap().sum_all().unwrap().backward().unwrap();
    for of in [&model.embedding, &model.linear] {
        let (found, expected) = (grads.get(of).unwrap(), handed.get(of).unwrap());
        assert_eq!(bits(found), bits(expected));
        assert!(numbers(found).iter().any(|x| x.abs() > 1e-4), "there is something to see");
    }
}

/// The head's weights are the embedding: their gradient is the head's and the embedding's.
#[test]
fn a_tied_head_adds_its_gradient_to_the_embeddings() {
    let mut random = Random(21);
    let (case, model) = (Case::new(&mut random), Model::new(&mut random));
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let batch = case.batch(&layout, false);
    let mut workspace = Workspace::new();
    let mut grads = |states: &Tensor, weights: &Tensor| {
        let head = Head::new(states, weights);
        let found = workspace.preference_step(on(), &loss, head, &batch).unwrap();
        found.loss.backward().unwrap()
    };
    let states = model.states();
    let both = grads(&states, &model.embedding);
    let head = Var::from_tensor(&model.embedding.detach()).unwrap();
    let apart = grads(&states, &head);
    let expected = (apart.get(&model.embedding).unwrap() + apart.get(&head).unwrap()).unwrap();
    assert_eq!(bits(both.get(&model.embedding).unwrap()), bits(&expected));
}

#[test]
fn a_second_backward_is_the_first() {
    let mut random = Random(22);
    let (case, model) = (Case::new(&mut random), Model::new(&mut random));
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let batch = case.batch(&layout, false);
    let mut workspace = Workspace::new();
    let states = model.states();
    let head = Head::new(&states, &model.embedding);
    let found = workspace.preference_step(on(), &loss, head, &batch).unwrap();
    let first = found.loss.backward().unwrap();
    // Another step in the same memory, between the two.
    let other = Case::new(&mut random);
    let layout = other.layout();
    let batch = other.batch(&layout, false);
    workspace.preference_step(on(), &loss, head, &batch).unwrap();
    let second = found.loss.backward().unwrap();
    for of in [&model.embedding, &model.linear] {
        assert_eq!(bits(first.get(of).unwrap()), bits(second.get(of).unwrap()));
    }
}

/// What stands above the loss multiplies the gradients in f32, and is rounded once to their type.
#[test]
fn what_stands_above_the_loss_multiplies() {
    let mut random = Random(23);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let case = Case::new(&mut random);
        let logits = Var::from_tensor(&random.tensor((ROWS, VOCAB), 1.5, dtype)).unwrap();
        let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
        let batch = case.batch(&layout, false);
        let mut workspace = Workspace::new();
        let found = workspace.preference_step(on(), &loss, Logits::new(&logits), &batch).unwrap();
        let plain = found.loss.backward().unwrap();
        let plain = plain.get(&logits).unwrap().to_dtype(DType::F32).unwrap();
        // Not 0: there candle drops the branch.
        for by in [0.25, 1.0 / 3.0, -3.0] {
            let scaled = (&found.loss * by).unwrap().backward().unwrap();
            let scaled = scaled.get(&logits).unwrap();
            let by = by as f32;
            let expected = plain.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let expected: Vec<f32> = expected.iter().map(|x| x * by).collect();
            let expected = Tensor::from_vec(expected, (ROWS, VOCAB), &Device::Cpu).unwrap();
            // candle adds to zeros, so −0 is 0 on both sides.
            let expected = (expected.to_dtype(dtype).unwrap() + 0.0).unwrap();
            assert_eq!(scaled.dtype(), dtype);
            assert_eq!(numbers(scaled), numbers(&expected), "{dtype:?} by {by}");
        }
        // Beside another term of the same logits, and twice in one sum.
        let sum = ((&found.loss + &found.loss).unwrap() * 0.5).unwrap().backward().unwrap();
        let sum = sum.get(&logits).unwrap().to_dtype(DType::F32).unwrap();
        assert_eq!(numbers(&sum), numbers(&plain));
    }
}

/// Gradients so small that f16 has no number for them: a factor above the loss comes after they are
/// 0, one in the divisor before. The other types have the range, and powers of two round nothing.
#[test]
fn a_factor_in_the_divisor_keeps_what_one_above_the_loss_loses() {
    // |gradient| ≤ 2β/2²⁷ < 2⁻²⁷
    let (factor, large) = (65536.0, 2_f64.powi(27));
    let mut random = Random(28);
    let loss = Dpo::new(0.3).unwrap();
    for (dtype, is_lost) in [(DType::F16, true), (DType::BF16, false), (DType::F32, false)] {
        let case = Case::new(&mut random);
        let logits = Var::from_tensor(&random.tensor((ROWS, VOCAB), 1.5, dtype)).unwrap();
        let layout = case.layout();
        let run = |divisor: f64| {
            let reference = Reference::Sums(&case.reference);
            let batch = StepBatch::new(&layout, &case.pairs, reference, divisor);
            let input = Logits::new(&logits);
            Workspace::new().preference_step(on(), &loss, input, &batch).unwrap().loss
        };
        let found = |loss: Tensor| {
            let grads = loss.backward().unwrap().get(&logits).unwrap().clone();
            (loss.to_scalar::<f32>().unwrap(), grads)
        };
        let (above, of_above) = found((run(large) * factor).unwrap());
        let (inside, of_inside) = found(run(large / factor));
        let of_tokens = |tokens: &Tensor| {
            let x = case.answers(&case.sums(tokens, None)?)?;
            logistic(&((&x.a - &x.b)? * 0.3)?, 0.0)?.sum_all()? / (large / factor)
        };
        let oracle = Oracle::new(&case, &logits, 0.0, &of_tokens);
        assert_eq!(oracle.differs(inside, &of_inside), None, "{dtype:?}");
        if is_lost {
            assert!(numbers(&of_above).iter().all(|x| *x == 0.0), "{dtype:?}");
            assert!(oracle.differs(above, &of_above).is_some(), "{dtype:?}");
        } else {
            assert_eq!(oracle.differs(above, &of_above), None, "{dtype:?}");
        }
    }
}

/// The same of hidden states: whole rows are lost above, and none in the divisor.
#[test]
fn a_factor_in_the_divisor_keeps_hidden_gradients() {
    let mut random = Random(29);
    let case = Case::new(&mut random);
    let states = Var::from_tensor(&random.tensor((ROWS, SIZE), 1.0, DType::F16)).unwrap();
    let weights = random.tensor((VOCAB, SIZE), 0.3, DType::F32);
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let rows_lost = |divisor: f64, factor: f64| {
        let batch = StepBatch::new(&layout, &case.pairs, Reference::Sums(&case.reference), divisor);
        let head = Head::new(&states, &weights);
        let found = Workspace::new().preference_step(on(), &loss, head, &batch).unwrap();
        let grads = (found.loss * factor).unwrap().backward().unwrap();
        let grads = numbers(grads.get(&states).unwrap());
        let is_lost = |row: &usize| grads[row * SIZE..][..SIZE].iter().all(|x| *x == 0.0);
        (0..ROWS).filter(|&row| case.sequence(row).is_some()).filter(is_lost).count()
    };
    let scored = (0..case.spans.len()).map(|i| case.count(i)).sum::<usize>();
    assert_eq!(rows_lost(2_f64.powi(30), 65536.0), scored);
    assert_eq!(rows_lost(2_f64.powi(14), 1.0), 0);
}

/// Every tensor of a head gets its part of what stands above: a quarter, which is exact.
#[test]
fn what_stands_above_reaches_every_tensor() {
    let mut random = Random(27);
    let case = Case::new(&mut random);
    let of = |tensor: Tensor| Var::from_tensor(&tensor).unwrap();
    let states = of(random.tensor((ROWS, SIZE), 1.0, DType::F32));
    let weights = of(random.tensor((VOCAB, SIZE), 0.3, DType::F32));
    let bias = of(random.tensor((1, VOCAB), 0.5, DType::F32).flatten_all().unwrap());
    let a = of(random.tensor((2, SIZE), 0.3, DType::F32));
    let b = of(random.tensor((VOCAB, 2), 0.3, DType::F32));
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let batch = case.batch(&layout, false);
    let head = Head::new(&states, &weights).with_bias(&bias).with_adapter(&a, &b, 0.5);
    let found = Workspace::new().preference_step(on(), &loss, head, &batch).unwrap();
    let plain = found.loss.backward().unwrap();
    let quarter = (&found.loss * 0.25).unwrap().backward().unwrap();
    for of in [&states, &weights, &bias, &a, &b] {
        let expected = (plain.get(of).unwrap() * 0.25).unwrap();
        assert_eq!(numbers(quarter.get(of).unwrap()), numbers(&expected), "{of:?}");
        assert!(numbers(&expected).iter().any(|x| *x != 0.0));
    }
}

/// Two micro-batches: each row of the gradient and each pair's loss have the bits of the whole
/// batch. Their sums differ by the roundings of sums: the losses are three numbers that are rounded
/// once each; a weight's gradient is a sum of R products in one order or another, each of which is
/// within (R + 1) · 2⁻²⁴ of Σ |g · s|.
#[test]
fn micro_batches_are_one_batch() {
    let mut random = Random(24);
    let half = 9;
    let targets: Vec<u32> = (0..2 * half).map(|_| random.below(VOCAB) as u32).collect();
    let spans = |from: usize| [Span::new(from + 1, from + 5), Span::new(from + 5, from + half)];
    let reference: Vec<f64> = (0..4).map(|_| -14.0 + random.normal()).collect();
    let loss = Dpo::new(0.3).unwrap();
    let states = random.tensor((2 * half, SIZE), 1.0, DType::F32);
    let weights = Var::from_tensor(&random.tensor((VOCAB, SIZE), 0.4, DType::F32)).unwrap();
    let mut workspace = Workspace::new();
    let mut run = |rows: Range<usize>, spans: &[Span], reference: &[f64]| {
        let layout = Layout::new(&targets[rows.clone()], spans, VOCAB).unwrap();
        let pairs: Vec<Pair> = (0..spans.len() / 2).map(|i| Pair::new(2 * i, 2 * i + 1)).collect();
        let batch = StepBatch::new(&layout, &pairs, Reference::Sums(reference), 2.0);
        let states = states.narrow(0, rows.start, rows.len()).unwrap();
        let logits = states.matmul(&weights.t().unwrap()).unwrap();
        let leaf = Var::from_tensor(&logits.detach()).unwrap();
        let of_leaf = workspace.preference_step(on(), &loss, Logits::new(&leaf), &batch).unwrap();
        let rows = of_leaf.loss.backward().unwrap().get(&leaf).unwrap().clone();
        let found = workspace.preference_step(on(), &loss, Logits::new(&logits), &batch).unwrap();
        let grads = found.loss.backward().unwrap();
        let grads = numbers(grads.get(&weights).unwrap());
        let scalar = f64::from(found.loss.to_scalar::<f32>().unwrap());
        (scalar, workspace.pair_losses().to_vec(), rows, grads)
    };
    let all_spans: Vec<Span> = [spans(0), spans(half)].concat();
    let (whole, whole_pairs, whole_rows, whole_grads) = run(0..2 * half, &all_spans, &reference);
    let first = run(0..half, &spans(0), &reference[..2]);
    let second = run(half..2 * half, &spans(0), &reference[2..]);

    let loss_bits = |pairs: &[PairLoss]| pairs.iter().map(|x| x.loss.to_bits()).collect::<Vec<_>>();
    assert_eq!(loss_bits(&whole_pairs), [loss_bits(&first.1), loss_bits(&second.1)].concat());
    assert_eq!(bits(&whole_rows), [bits(&first.2), bits(&second.2)].concat());
    let bound = 2_f64.powi(-24) * (whole.abs() + first.0.abs() + second.0.abs());
    assert!((first.0 + second.0 - whole).abs() <= bound, "{} {} {whole}", first.0, second.0);
    let terms = whole_rows.abs().unwrap().t().unwrap().to_dtype(DType::F64).unwrap();
    let terms = terms.matmul(&states.abs().unwrap().to_dtype(DType::F64).unwrap()).unwrap();
    let unit = 2.0 * (2 * half + 1) as f64 * 2_f64.powi(-24);
    for (i, bound) in numbers(&terms).iter().map(|terms| unit * terms).enumerate() {
        let (parts, whole) = (first.3[i] + second.3[i], whole_grads[i]);
        assert!((parts - whole).abs() <= bound, "{parts}, not {whole} ± {bound:e}");
    }
    // A micro-batch divided by its own pairs would be seen.
    assert!((first.0 * 2.0 + second.0 * 2.0 - whole).abs() > bound);
}

/// A `detach`ed tensor has no gradient, and its loss no graph.
#[test]
fn what_is_not_tracked_has_no_graph() {
    let mut random = Random(25);
    let case = Case::new(&mut random);
    let logits = random.tensor((ROWS, VOCAB), 1.5, DType::F32);
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let batch = case.batch(&layout, false);
    let mut workspace = Workspace::new();
    let found = workspace.preference_step(on(), &loss, Logits::new(&logits), &batch).unwrap();
    assert!(!found.loss.track_op());
    let var = Var::from_tensor(&logits).unwrap();
    let tracked = workspace.preference_step(on(), &loss, Logits::new(&var), &batch).unwrap();
    assert!(tracked.loss.track_op());
    let scalars = [found.loss, tracked.loss].map(|x| x.to_scalar::<f32>().unwrap().to_bits());
    assert_eq!(scalars[0], scalars[1]);
}

/// Rows over threads: the same bits.
#[cfg(feature = "rayon")]
#[test]
fn threads_change_no_bit() {
    use dpo_kernel_candle::dpo_kernel::Parallel;
    let mut random = Random(26);
    let (case, model) = (Case::new(&mut random), Model::new(&mut random));
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let batch = case.batch(&layout, false);
    let mut workspace = Workspace::new();
    let states = model.states();
    let head = Head::new(&states, &model.embedding);
    let logits = model.logits();
    let threads = Parallel::new(on());
    let frozen = model.embedding.detach();
    let a = Var::from_tensor(&random.tensor((3, SIZE), 0.3, DType::F32)).unwrap();
    let b = Var::from_tensor(&random.tensor((VOCAB, 3), 0.3, DType::F32)).unwrap();
    let adapted = Head::new(&states, &frozen).with_adapter(&a, &b, 0.5);
    let pairs = [
        (
            workspace.preference_step(on(), &loss, adapted, &batch).unwrap(),
            workspace.preference_step(threads, &loss, adapted, &batch).unwrap(),
        ),
        (
            workspace.preference_step(on(), &loss, head, &batch).unwrap(),
            workspace.preference_step(threads, &loss, head, &batch).unwrap(),
        ),
        (
            workspace.preference_step(on(), &loss, Logits::new(&logits), &batch).unwrap(),
            workspace.preference_step(threads, &loss, Logits::new(&logits), &batch).unwrap(),
        ),
    ];
    for (one, more) in pairs {
        assert_eq!(one.summary, more.summary);
        let (one, more) = (one.loss.backward().unwrap(), more.loss.backward().unwrap());
        for of in [&model.embedding, &model.linear, &a, &b] {
            assert_eq!(one.get(of).map(bits), more.get(of).map(bits));
        }
        assert!(one.get(&model.linear).is_some());
    }
}
