//! What is refused, with the numbers in it and what to do; and nothing is left half done.

use candle_core::{DType, Device, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::error::{Buffer, Parameter};
use dpo_kernel_candle::dpo_kernel::loss::{Nll, NllPer};
use dpo_kernel_candle::dpo_kernel::{self, Dpo, Layout, Reference, StepBatch};
use dpo_kernel_candle::{Error, Head, Input, Logits, Operand, Workspace};

use crate::case::{Case, ROWS, Random, VOCAB, on};

const SIZE: usize = 19;
const RANK: usize = 3;

/// The error of a step, which is that of scoring too.
fn refused(case: &Case, input: impl Input) -> Error {
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let batch = case.batch(&layout, false);
    let mut workspace = Workspace::new();
    let error = workspace.preference_step(on(), &loss, input, &batch).unwrap_err();
    let other = workspace.score(on(), input, &layout, None).unwrap_err();
    assert_eq!(error.to_string(), other.to_string());
    error
}

/// All inputs are tried as variables and as plain tensors: a step and an evaluation.
fn var(tensor: &Tensor) -> Var {
    Var::from_tensor(tensor).unwrap()
}

#[test]
fn types_without_a_kernel_are_refused() {
    let case = Case::new(&mut Random(50));
    let zeros = |shape: (usize, usize), dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    for dtype in [DType::F64, DType::U32, DType::U8, DType::I64] {
        let logits = zeros((ROWS, VOCAB), dtype);
        let error = refused(&case, Logits::new(&logits));
        assert!(
            matches!(error, Error::DType { operand: Operand::Logits, found } if found == dtype)
        );
        let text = error.to_string();
        assert!(text.contains("f32, f16 or bf16") && text.contains("to_dtype"), "{text}");
        let (states, weights) = (zeros((ROWS, SIZE), DType::F32), zeros((VOCAB, SIZE), DType::F32));
        let error = refused(&case, Head::new(&zeros((ROWS, SIZE), dtype), &weights));
        assert!(matches!(error, Error::DType { operand: Operand::States, .. }), "{error}");
        let error = refused(&case, Head::new(&states, &zeros((VOCAB, SIZE), dtype)));
        assert!(matches!(error, Error::DType { operand: Operand::Weights, .. }), "{error}");
    }
    // Bias and adapter in 16 bits: those are f32 alone.
    let (states, weights) =
        (var(&zeros((ROWS, SIZE), DType::BF16)), zeros((VOCAB, SIZE), DType::BF16));
    let bias = Tensor::zeros(VOCAB, DType::BF16, &Device::Cpu).unwrap();
    let error = refused(&case, Head::new(&states, &weights).with_bias(&bias));
    assert!(matches!(error, Error::DType { operand: Operand::Bias, found: DType::BF16 }));
    assert!(error.to_string().contains("where f32 is due"), "{error}");
    let (a, b) = (zeros((RANK, SIZE), DType::F32), zeros((VOCAB, RANK), DType::F16));
    let error = refused(&case, Head::new(&states, &weights).with_adapter(&a, &b, 1.0));
    assert!(matches!(error, Error::DType { operand: Operand::AdapterB, .. }), "{error}");
    let a = zeros((RANK, SIZE), DType::F16);
    let error = refused(&case, Head::new(&states, &weights).with_adapter(&a, &b, 1.0));
    assert!(matches!(error, Error::DType { operand: Operand::AdapterA, .. }), "{error}");
}

/// Columns that are not contiguous, rows at more than one distance, rows that share memory.
#[test]
fn strides_that_would_need_a_copy_are_refused() {
    let case = Case::new(&mut Random(51));
    let of = |shape: &[usize]| var(&Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap());
    let transposed = of(&[VOCAB, ROWS]).t().unwrap();
    let broadcast = of(&[1, VOCAB]).broadcast_as((ROWS, VOCAB)).unwrap();
    let two = of(&[2, ROWS + 1, VOCAB]).narrow(1, 0, ROWS).unwrap();
    let swapped = of(&[3, ROWS, VOCAB]).transpose(0, 1).unwrap();
    let vast = of(&[1, 1, VOCAB]).broadcast_as((1 << 40, 1 << 40, VOCAB)).unwrap();
    for logits in [&transposed, &broadcast, &two, &swapped, &vast] {
        let error = refused(&case, Logits::new(logits));
        let Error::Strides { operand: Operand::Logits, dims, strides } = &error else {
            panic!("{error}");
        };
        assert_eq!((dims.as_slice(), strides.as_slice()), (logits.dims(), logits.stride()));
        assert!(error.to_string().contains("contiguous()"), "{error}");
    }
    let (states, weights) = (of(&[ROWS, SIZE]), of(&[SIZE, VOCAB]).t().unwrap());
    let error = refused(&case, Head::new(&states, &weights));
    assert!(matches!(error, Error::Strides { operand: Operand::Weights, .. }), "{error}");
    // Bias and adapter lie in one piece.
    let weights = of(&[VOCAB, SIZE]);
    let head = Head::new(&states, &weights);
    let bias = of(&[VOCAB, 2]).narrow(1, 0, 1).unwrap().squeeze(1).unwrap();
    let error = refused(&case, head.with_bias(&bias));
    assert!(matches!(error, Error::Strides { operand: Operand::Bias, .. }), "{error}");
    let a = of(&[RANK, SIZE + 1]).narrow(1, 0, SIZE).unwrap();
    let b = of(&[VOCAB, RANK]);
    let error = refused(&case, head.with_adapter(&a, &b, 1.0));
    assert!(matches!(error, Error::Strides { operand: Operand::AdapterA, .. }), "{error}");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let case = Case::new(&mut Random(52));
    let of = |shape: &[usize]| var(&Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap());
    let scalar = var(&Tensor::new(0.5_f32, &Device::Cpu).unwrap());
    let error = refused(&case, Logits::new(&scalar));
    assert!(matches!(error, Error::Shape { operand: Operand::Logits, .. }), "{error}");
    let error = refused(&case, Logits::new(&of(&[ROWS + 1, VOCAB])));
    let expected =
        dpo_kernel::Error::ShapeMismatch { expected: (ROWS, VOCAB), found: (ROWS + 1, VOCAB) };
    assert!(matches!(error, Error::Kernel(found) if found == expected), "{error}");
    let error = refused(&case, Logits::new(&of(&[ROWS, 0])));
    assert!(matches!(error, Error::Kernel(dpo_kernel::Error::EmptyVocabulary)), "{error}");

    let (states, weights) = (of(&[ROWS, SIZE]), of(&[VOCAB, SIZE]));
    let head = Head::new(&states, &weights);
    let shape = |input: Head<'_>, operand: Operand, due: &str| {
        let error = refused(&case, input);
        let Error::Shape { operand: found, expected, .. } = &error else { panic!("{error}") };
        assert_eq!((*found, expected.as_str()), (operand, due), "{error}");
        assert!(error.to_string().contains(due), "{error}");
    };
    shape(Head::new(&states, &of(&[VOCAB, SIZE + 1])), Operand::Weights, "[V, 19]");
    shape(Head::new(&states, &of(&[1, VOCAB, SIZE])), Operand::Weights, "[V, H]");
    shape(head.with_bias(&of(&[VOCAB + 1])), Operand::Bias, "[37]");
    shape(head.with_bias(&of(&[1, VOCAB])), Operand::Bias, "[37]");
    let (a, b) = (of(&[RANK, SIZE]), of(&[VOCAB, RANK]));
    shape(head.with_adapter(&of(&[RANK, SIZE - 1]), &b, 1.0), Operand::AdapterA, "[3, 19]");
    shape(head.with_adapter(&of(&[SIZE]), &b, 1.0), Operand::AdapterA, "[r, H]");
    shape(head.with_adapter(&a, &of(&[VOCAB, RANK + 1]), 1.0), Operand::AdapterB, "[37, 3]");
    shape(head.with_adapter(&a, &of(&[VOCAB - 1, RANK]), 1.0), Operand::AdapterB, "[37, 3]");

    let error = refused(&case, Head::new(&of(&[ROWS - 1, SIZE]), &weights));
    assert!(matches!(error, Error::Kernel(dpo_kernel::Error::ShapeMismatch { .. })), "{error}");
    let error = refused(&case, Head::new(&states, &of(&[VOCAB + 1, SIZE])));
    assert!(matches!(error, Error::Kernel(dpo_kernel::Error::ShapeMismatch { .. })), "{error}");
    let error = refused(&case, Head::new(&of(&[ROWS, 0]), &of(&[VOCAB, 0])));
    assert!(matches!(error, Error::Kernel(dpo_kernel::Error::EmptyHidden)), "{error}");
    let error = refused(&case, head.with_adapter(&a, &b, f32::NAN));
    let Error::Kernel(dpo_kernel::Error::Parameter { parameter, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(parameter, Parameter::AdapterScale);
    for probability in [-0.1, 0.5, f32::NAN] {
        for head in [head, Head::new(&states.detach(), &weights.detach())] {
            let error = refused(&case, head.with_negligible(probability));
            let Error::Kernel(dpo_kernel::Error::Parameter { parameter, .. }) = error else {
                panic!("{error}")
            };
            assert_eq!(parameter, Parameter::Negligible);
        }
    }
}

/// The crate's own refusals, of a step and of an evaluation.
#[test]
fn what_the_loss_does_not_read_is_refused() {
    let mut random = Random(53);
    let case = Case::new(&mut random);
    let logits = random.tensor((ROWS, VOCAB), 1.0, DType::F32);
    let tracked = var(&logits);
    let (layout, dpo) = (case.layout(), Dpo::new(0.3).unwrap());
    let simpo = dpo_kernel::loss::SimPo::new(2.0, 0.5).unwrap();
    let free = case.batch(&layout, true);
    let given = case.batch(&layout, false);
    let term = Nll::new(1.0, NllPer::Token, 1.0).unwrap();
    let mut with_answers = given;
    with_answers.nll_answers = Some(&[0]);
    for input in [Logits::new(&tracked), Logits::new(&logits)] {
        let mut workspace = Workspace::new();
        let kernel = |found: Result<_, Error>| match found {
            Err(Error::Kernel(error)) => error,
            Err(other) => panic!("{other}"),
            Ok(()) => panic!("accepted"),
        };
        let mut run = |batch: &StepBatch<'_>, is_simpo: bool| {
            let found = if is_simpo {
                workspace.preference_step(on(), &simpo, input, batch)
            } else {
                workspace.preference_step(on(), &dpo, input, batch)
            };
            kernel(found.map(|_| ()))
        };
        assert_eq!(run(&free, false), dpo_kernel::Error::ReferenceMissing);
        let unused = |buffer| dpo_kernel::Error::InputUnused { buffer };
        assert_eq!(run(&given, true), unused(Buffer::Reference));
        assert_eq!(run(&with_answers, false), unused(Buffer::Answers));
        assert_eq!(run(&given.with_nll_weights(&[1.0; 3]), false), unused(Buffer::AnswerWeights));
        let length = run(&given.with_weights(&[1.0; 2]), false);
        assert!(matches!(length, dpo_kernel::Error::Length { expected: 3, found: 2, .. }));
        let length = run(&given.with_token_weights(&[1.0; 2]), false);
        assert!(matches!(length, dpo_kernel::Error::Length { expected: ROWS, found: 2, .. }));
        let answers = run(&given.with_nll_on(term, &[9]), false);
        assert!(matches!(answers, dpo_kernel::Error::AnswerOutOfRange { sequence: 9, .. }));
        let mut divisor = given;
        divisor.divisor = 0.0;
        assert!(matches!(run(&divisor, false), dpo_kernel::Error::Parameter { .. }));
    }
}

/// Broken rows and pairs are errors, so that no gradient of others leaves; and the workspace goes on
/// as if nothing had been.
#[test]
fn what_is_not_finite_is_named() {
    let mut random = Random(54);
    let case = Case::new(&mut random);
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let batch = case.batch(&layout, false);
    let good = random.tensor((ROWS, VOCAB), 1.0, DType::F32);
    let with = |row: usize, column: usize, x: f32| {
        let mut all: Vec<f32> = good.flatten_all().unwrap().to_vec1().unwrap();
        all[row * VOCAB + column] = x;
        Tensor::from_vec(all, (ROWS, VOCAB), &Device::Cpu).unwrap()
    };
    let mut workspace = Workspace::new();
    let expected = {
        let found = workspace.preference_step(on(), &loss, Logits::new(&var(&good)), &batch);
        found.unwrap().loss.to_scalar::<f32>().unwrap()
    };
    let broken = with(16, 4, f32::NAN);
    let masked = with(16, case.targets[16] as usize, f32::NEG_INFINITY);
    for is_tracked in [true, false] {
        let mut run = |logits: &Tensor| {
            let var = var(logits);
            let input = Logits::new(if is_tracked { &var } else { logits });
            workspace.preference_step(on(), &loss, input, &batch).map(|found| found.loss)
        };
        let rows = dpo_kernel::Error::NonFiniteRows { first: 16, count: 1 };
        let error = run(&broken).unwrap_err();
        assert!(matches!(error, Error::Kernel(found) if found == rows), "{error}");
        // A target that is masked has probability 0: its pair has no finite loss.
        let pairs = dpo_kernel::Error::NonFinitePairs { first: 2, count: 1 };
        let error = run(&masked).unwrap_err();
        assert!(matches!(error, Error::Kernel(found) if found == pairs), "{error}");
        assert_eq!(run(&good).unwrap().to_scalar::<f32>().unwrap(), expected);
    }
    // A head with a broken row is named in the place of the rows that it spoils.
    let states = var(&random.tensor((ROWS, SIZE), 1.0, DType::F32));
    let mut weights: Vec<f32> =
        random.tensor((VOCAB, SIZE), 0.3, DType::F32).flatten_all().unwrap().to_vec1().unwrap();
    weights[5 * SIZE + 2] = f32::INFINITY;
    let weights = Tensor::from_vec(weights, (VOCAB, SIZE), &Device::Cpu).unwrap();
    for weights in [weights.clone(), var(&weights).as_tensor().clone()] {
        let error = refused(&case, Head::new(&states, &weights));
        let Error::Kernel(dpo_kernel::Error::InvalidValue { buffer, index, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!((buffer, index), (Buffer::HeadWeights, 5));
    }
}

/// Through candle's `Result`, and back to what it was.
#[test]
fn errors_pass_through_candles_result() {
    let case = Case::new(&mut Random(55));
    let logits = var(&Tensor::zeros((ROWS, VOCAB), DType::F64, &Device::Cpu).unwrap());
    let inside = || -> candle_core::Result<()> {
        let layout = Layout::new(&case.targets, &case.spans, VOCAB).map_err(Error::from)?;
        let reference = Reference::Sums(&case.reference);
        let batch = StepBatch::new(&layout, &case.pairs, reference, 1.0);
        let loss = Dpo::new(0.1).map_err(Error::from)?;
        Workspace::new().preference_step(on(), &loss, Logits::new(&logits), &batch)?;
        Ok(())
    };
    let error = inside().unwrap_err();
    assert!(error.to_string().contains("logits of F64"), "{error}");
    // candle's own comes back as it was.
    let candle = logits.matmul(&logits).unwrap_err();
    let text = candle.to_string();
    let through = candle_core::Error::from(Error::from(candle));
    assert!(!matches!(through, candle_core::Error::Wrapped(_)), "{through}");
    assert_eq!(through.to_string(), text);
    let kernel = Error::from(dpo_kernel::Error::EmptyVocabulary);
    let source = std::error::Error::source(&kernel).unwrap();
    assert_eq!(source.to_string(), kernel.to_string());
}
