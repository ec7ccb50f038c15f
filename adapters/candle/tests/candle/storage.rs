//! Types, strides, padding, transforms: what the tensor is, and what the gradient is then.

use candle_core::{DType, Device, Result, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::gradient::Unscored;
use dpo_kernel_candle::dpo_kernel::{
    Dpo, IGNORE_INDEX, Layout, Pair, Reference, Span, StepBatch, Transform,
};
use dpo_kernel_candle::{Logits, Workspace};

use crate::case::{Case, DIVISOR, ROWS, Random, VOCAB, numbers, on};
use crate::formulas::softplus;
use crate::oracle::{Oracle, differs};

/// Σ softplus(−0.3 (a − b)) / divisor.
pub(crate) fn sigmoid(case: &Case, tokens: &Tensor) -> Result<Tensor> {
    let x = case.answers(&case.sums(tokens, None)?)?;
    softplus(&((&x.b - &x.a)? * 0.3)?)?.sum_all()? / DIVISOR
}

/// The loss, and the gradient of `of`.
fn step(case: &Case, logits: Logits<'_>, of: &Tensor) -> (f32, Tensor) {
    let layout = case.layout();
    let loss = Dpo::new(0.3).unwrap();
    let batch = case.batch(&layout, false);
    let found = Workspace::new().preference_step(on(), &loss, logits, &batch).unwrap();
    let grads = found.loss.backward().unwrap();
    (found.loss.to_scalar().unwrap(), grads.get(of).unwrap().clone())
}

fn bits(tensor: &Tensor) -> Vec<u64> {
    numbers(tensor).into_iter().map(f64::to_bits).collect()
}

#[test]
fn gradients_have_the_tensors_type_and_are_rounded_once() {
    let mut random = Random(10);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for by in [1.0, 8.0] {
            let case = Case::new(&mut random);
            let logits = Var::from_tensor(&random.tensor((ROWS, VOCAB), by, dtype)).unwrap();
            let oracle = Oracle::new(&case, &logits, 0.0, &|tokens| sigmoid(&case, tokens));
            let (loss, grads) = step(&case, Logits::new(&logits), &logits);
            assert_eq!(grads.dtype(), dtype);
            assert_eq!(grads.dims(), [ROWS, VOCAB]);
            assert_eq!(oracle.differs(loss, &grads), None, "{dtype:?}");
            // Two roundings' worth of the widest type is seen.
            let off = grads.affine(1.0 + 2_f64.powi(-6), 0.0).unwrap();
            assert!(oracle.differs(loss, &off).is_some(), "{dtype:?}: a fault");
        }
    }
}

/// Padding columns and rows that are not scored hold NaN: they are not read, and are 0 in the
/// gradient, which has the bits of contiguous logits.
#[test]
fn padding_is_not_read_and_gets_zeros() {
    let mut random = Random(11);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let case = Case::new(&mut random);
        let plain = random.tensor((ROWS, VOCAB), 1.5, dtype);
        let contiguous = Var::from_tensor(&plain).unwrap();
        let (loss, expected) = step(&case, Logits::new(&contiguous), &contiguous);

        let (stride, first) = (VOCAB + 5, 3);
        let mut padded = vec![f64::NAN; (ROWS + first + 1) * stride];
        for (row, from) in numbers(&plain).chunks(VOCAB).enumerate() {
            if case.sequence(row).is_some() {
                let start = (row + first) * stride + 2;
                padded[start..start + VOCAB].copy_from_slice(from);
            }
        }
        let shape = (ROWS + first + 1, stride);
        let padded = Tensor::from_vec(padded, shape, &Device::Cpu).unwrap();
        let padded = Var::from_tensor(&padded.to_dtype(dtype).unwrap()).unwrap();
        let view = padded.narrow(0, first, ROWS).unwrap().narrow(1, 2, VOCAB).unwrap();
        assert!(!view.is_contiguous());
        let (of_view, grads) = step(&case, Logits::new(&view), &padded);
        assert_eq!(of_view.to_bits(), loss.to_bits());
        let inside = grads.narrow(0, first, ROWS).unwrap().narrow(1, 2, VOCAB).unwrap();
        assert_eq!(bits(&inside), bits(&expected), "{dtype:?}");
        let all: f64 = numbers(&grads).iter().map(|x| x.abs()).sum();
        let of_rows: f64 = numbers(&inside).iter().map(|x| x.abs()).sum();
        assert!(all == of_rows && all > 0.0, "something beside the rows: {all} {of_rows}");
        for row in (0..ROWS).filter(|&row| case.sequence(row).is_none()) {
            assert!(bits(&inside)[row * VOCAB..][..VOCAB].iter().all(|&x| x == 0), "row {row}");
        }
    }
}

/// `Keep` is of buffers that hold logits: a tensor of gradients holds none.
#[test]
fn what_the_batch_says_of_unscored_rows_changes_nothing() {
    let mut random = Random(12);
    let case = Case::new(&mut random);
    let logits = Var::from_tensor(&random.tensor((ROWS, VOCAB), 1.5, DType::F32)).unwrap();
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let found = [Unscored::Keep, Unscored::Zero].map(|unscored| {
        let batch = case.batch(&layout, false).with_unscored(unscored);
        let mut workspace = Workspace::new();
        let step = workspace.preference_step(on(), &loss, Logits::new(&logits), &batch).unwrap();
        bits(step.loss.backward().unwrap().get(&logits).unwrap())
    });
    assert_eq!(found[0], found[1]);
    assert!(found[0][..VOCAB].iter().all(|&x| x == 0), "row 0 is a prompt's");
}

/// Leading dimensions are rows, whatever lies between them at one distance.
#[test]
fn leading_dimensions_are_rows() {
    let mut random = Random(13);
    let (batch, time, stride) = (2, 12, VOCAB + 3);
    let all = random.tensor((batch * time, stride), 1.5, DType::F32);
    let mut targets: Vec<u32> = (0..batch * time).map(|_| random.below(VOCAB) as u32).collect();
    targets[3] = IGNORE_INDEX;
    let spans = [Span::new(2, 12), Span::new(14, 20)];
    let layout = Layout::new(&targets, &spans, VOCAB).unwrap();
    let (pairs, reference) = ([Pair::new(0, 1)], [-31.0, -22.0]);
    let of = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), 1.0);
    let mut workspace = Workspace::new();
    let mut run = |logits: &Tensor, of_var: &Var| {
        let loss = Dpo::new(0.1).unwrap();
        let found = workspace.preference_step(on(), &loss, Logits::new(logits), &of).unwrap();
        let grads = found.loss.backward().unwrap();
        bits(grads.get(of_var).unwrap())
    };
    let var = Var::from_tensor(&all).unwrap();
    let expected = run(&var.narrow(1, 0, VOCAB).unwrap(), &var);
    for shape in [vec![2, 12], vec![2, 3, 4], vec![1, 24], vec![24, 1], vec![2, 1, 12, 1]] {
        let shape: Vec<usize> = shape.into_iter().chain([stride]).collect();
        let last = shape.len() - 1;
        let view = var.reshape(shape).unwrap().narrow(last, 0, VOCAB).unwrap();
        assert_eq!(run(&view, &var), expected, "{view:?}");
    }
}

/// One row of one column, and a vocabulary of one: strides that are never taken have no say.
#[test]
fn the_smallest_tensors_are_taken() {
    let (targets, spans) = ([0, 0], [Span::new(0, 1), Span::new(1, 2)]);
    let layout = Layout::new(&targets, &spans, 1).unwrap();
    let (pairs, reference) = ([Pair::new(0, 1)], [0.0, 0.0]);
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), 1.0);
    let logits = Var::from_vec(vec![3_f32, f32::NAN, -1.0, f32::NAN], (2, 2), &Device::Cpu);
    let logits = logits.unwrap();
    let column = logits.narrow(1, 0, 1).unwrap();
    let loss = Dpo::new(0.1).unwrap();
    let mut workspace = Workspace::new();
    let found = workspace.preference_step(on(), &loss, Logits::new(&column), &batch).unwrap();
    assert_eq!(found.loss.to_scalar::<f32>().unwrap(), core::f32::consts::LN_2);
    let grads = found.loss.backward().unwrap();
    assert_eq!(numbers(grads.get(&logits).unwrap()), [0.0; 4]);

    let one = Tensor::new(&[0.5_f32, 1.0], &Device::Cpu).unwrap();
    let (targets, spans) = ([1], [Span::new(0, 1)]);
    let layout = Layout::new(&targets, &spans, 2).unwrap();
    let found = workspace.score(on(), Logits::new(&one), &layout, None).unwrap();
    assert!((found[0].sum + 0.474_076_984_180_107).abs() < 1e-7, "{found:?}");
}

/// y = cap · tanh(scale · x / cap) / temperature, and the gradient by x. Beside the log-probs' own
/// bounds: tanh is within 2.5 ulp of cap / temperature, and dy/dx within 8 roundings.
#[test]
fn transforms_are_those_of_candles_operations() {
    let mut random = Random(14);
    for (scale, cap, temperature) in [(0.25, None, 1.0), (1.0, None, 0.7), (1.0, Some(6.0), 0.7)] {
        let case = Case::new(&mut random);
        let logits = Var::from_tensor(&random.tensor((ROWS, VOCAB), 3.0, DType::F32)).unwrap();
        let x = logits.to_dtype(DType::F64).unwrap();
        let x = (x * f64::from(scale)).unwrap();
        let t = f64::from(temperature);
        let (y, slope, uncertain) = match cap.map(f64::from) {
            None => ((&x / t).unwrap(), x.ones_like().unwrap(), 0.0),
            Some(cap) => {
                let tanh = (&x / cap).unwrap().tanh().unwrap();
                let y = ((&tanh * cap).unwrap() / t).unwrap();
                let ulp = 2_f64.powf((cap / t).log2().floor()) * 2_f64.powi(-23);
                (y, (1.0 - tanh.sqr().unwrap()).unwrap(), 2.5 * ulp)
            }
        };
        let slope = (slope * (f64::from(scale) / t)).unwrap();
        let oracle = Oracle::new(&case, &y, uncertain, &|tokens| sigmoid(&case, tokens));
        let least = 2.5 * 2_f64.powi(-23);
        let expected = oracle.grads.iter().zip(numbers(&slope)).map(|(&(grad, bound), slope)| {
            let bound = bound * slope + grad.abs() * (8.0 * 2_f64.powi(-24) * slope);
            // 1 − tanh² where tanh is near 1.
            let of_tanh = if cap.is_some() { grad.abs() * 2.0 * least / t } else { 0.0 };
            (grad * slope, bound + of_tanh)
        });
        let expected: Vec<(f64, f64)> = expected.collect();
        let transform = Transform::new(scale, cap, temperature).unwrap();
        let (_, grads) = step(&case, Logits::new(&logits).with_transform(transform), &logits);
        assert_eq!(differs(&expected, &grads), None, "{scale} {cap:?} {temperature}");
        assert!(differs(&expected, &(grads * 1.0001).unwrap()).is_some(), "a fault");
    }
}
