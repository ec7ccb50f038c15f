//! Without a gradient: the same figures as a step's, and a reference.

use candle_core::{DType, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::loss::{Kto, Nll, NllPer};
use dpo_kernel_candle::dpo_kernel::step::UnpairedStepBatch;
use dpo_kernel_candle::dpo_kernel::unpaired::{Label, UnpairedAnswer};
use dpo_kernel_candle::dpo_kernel::{self, Dpo, Reference, StepBatch};
use dpo_kernel_candle::{Error, Head, Input, Logits, Workspace};

use crate::case::{Case, DIVISOR, ROWS, Random, VOCAB, on};

const SIZE: usize = 19;

fn bits(of: &Tensor) -> u32 {
    of.to_scalar::<f32>().unwrap().to_bits()
}

/// What the loss of a step and of an evaluation report, and that they are of the same bits.
fn agree(case: &Case, tracked: impl Input, plain: impl Input) {
    let (weights, offsets) = ([1.0_f32, 0.0, 2.0], [0.25_f32, -0.5, 0.0]);
    let mut token_weights = vec![1.0_f32; ROWS];
    (token_weights[2], token_weights[15]) = (0.5, 0.0);
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let term = Nll::new(0.75, NllPer::Sequence, 11.0).unwrap();
    let gold = [1, 3];
    let plainly = case.batch(&layout, false);
    let rich = plainly.with_weights(&weights).with_offsets(&offsets);
    let rich = rich.with_token_weights(&token_weights);
    let batches = [
        plainly,
        rich,
        rich.with_nll(term),
        rich.with_nll(term).with_nll_weights(&[0.0, 1.0, 0.5]),
        rich.with_nll_on(term, &gold),
        rich.with_nll_on(term, &gold).with_nll_weights(&[0.5, 2.0]),
        rich.with_nll(Nll::new(0.0, NllPer::Token, 3.0).unwrap()),
    ];
    for batch in &batches {
        let mut workspaces = [Workspace::new(), Workspace::new()];
        let step = workspaces[0].preference_step(on(), &loss, tracked, batch).unwrap();
        let evaluation = workspaces[1].preference_step(on(), &loss, plain, batch).unwrap();
        assert!(step.loss.track_op() && !evaluation.loss.track_op());
        assert_eq!(step.summary, evaluation.summary);
        assert_eq!(bits(&step.loss), bits(&evaluation.loss));
        assert_eq!(workspaces[0].pair_losses(), workspaces[1].pair_losses());
        assert_eq!(workspaces[0].sequences(), workspaces[1].sequences());
        for row in (0..ROWS).filter(|&row| case.sequence(row).is_some()) {
            let [a, b] = [0, 1].map(|i| workspaces[i].log_probs()[row].to_bits());
            assert_eq!(a, b, "row {row}");
        }
        let expected = step.summary.loss.loss_sum / DIVISOR
            + batch.nll.map_or(0.0, |_| step.summary.nll.loss_sum / 11.0);
        assert!((f64::from(f32::from_bits(bits(&step.loss))) - expected).abs() <= 1e-7 * expected);
    }
    let answers =
        [UnpairedAnswer::new(1, Label::Desirable), UnpairedAnswer::new(2, Label::Undesirable)];
    let loss = Kto::new(0.3, 0.2).unwrap();
    let batch = UnpairedStepBatch::new(&layout, &answers, Reference::Sums(&case.reference), 3.0);
    for batch in [batch, batch.with_weights(&[2.0, 0.5]).with_token_weights(&token_weights)] {
        let mut workspaces = [Workspace::new(), Workspace::new()];
        let step = workspaces[0].unpaired_step(on(), &loss, tracked, &batch).unwrap();
        let evaluation = workspaces[1].unpaired_step(on(), &loss, plain, &batch).unwrap();
        assert_eq!(step.summary, evaluation.summary);
        assert_eq!(bits(&step.loss), bits(&evaluation.loss));
        assert_eq!(workspaces[0].answer_losses(), workspaces[1].answer_losses());
    }
}

#[test]
fn an_evaluation_has_the_figures_of_a_step() {
    let mut random = Random(40);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let case = Case::new(&mut random);
        let logits = random.tensor((ROWS, VOCAB), 1.5, dtype);
        let var = Var::from_tensor(&logits).unwrap();
        agree(&case, Logits::new(&var), Logits::new(&logits));

        let states = random.tensor((ROWS, SIZE), 1.0, dtype);
        let weights = random.tensor((VOCAB, SIZE), 0.3, DType::F32);
        let (a, b) =
            (random.tensor((2, SIZE), 0.3, DType::F32), random.tensor((VOCAB, 2), 0.3, DType::F32));
        let var = Var::from_tensor(&states).unwrap();
        agree(&case, Head::new(&var, &weights), Head::new(&states, &weights));
        let [tracked, plain] = [&var, &states]
            .map(|states: &Tensor| Head::new(states, &weights).with_adapter(&a, &b, 0.5));
        agree(&case, tracked, plain);
    }
}

/// At step 0 the policy is the reference: the loss is exactly ln 2, and so is the mean's f32.
#[test]
fn the_reference_of_the_policy_itself_gives_ln_2() {
    let mut random = Random(41);
    let case = Case::new(&mut random);
    let states = random.tensor((ROWS, SIZE), 1.0, DType::BF16);
    let weights = random.tensor((VOCAB, SIZE), 0.3, DType::BF16);
    let head = Head::new(&states, &weights);
    let mut workspace = Workspace::new();
    let layout = case.layout();
    let reference = workspace.score(on(), head, &layout, None).unwrap().to_vec();
    let reference = Reference::Sequences(&reference);
    let batch = StepBatch::new(&layout, &case.pairs, reference, case.pairs.len() as f64);
    let var = Var::from_tensor(&states).unwrap();
    let (loss, policy) = (Dpo::new(0.3).unwrap(), Head::new(&var, &weights));
    let found = workspace.preference_step(on(), &loss, policy, &batch).unwrap();
    assert_eq!(found.loss.to_scalar::<f32>().unwrap(), core::f32::consts::LN_2);
    assert_eq!(found.summary.ties, 3);
}

/// A broken row of token weight 0 does not matter to `score`; one of another weight is named.
#[test]
fn broken_rows_of_weight_0_are_scored_around() {
    let mut random = Random(42);
    let case = Case::new(&mut random);
    let layout = case.layout();
    let logits = |broken: &[usize], columns: usize| {
        let mut all: Vec<f32> = random
            .tensor((ROWS, columns), 1.0, DType::F32)
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        for row in broken {
            all[row * columns + 3] = f32::NAN;
        }
        Tensor::from_vec(all, (ROWS, columns), &candle_core::Device::Cpu).unwrap()
    };
    let mut logits = logits;
    let (broken, states) = (logits(&[12, 16, 17], VOCAB), logits(&[12, 16, 17], SIZE));
    let weights = logits(&[], SIZE).narrow(0, 0, 1).unwrap().broadcast_as((VOCAB, SIZE)).unwrap();
    let weights = weights.contiguous().unwrap();
    let mut token_weights = vec![1.0_f32; ROWS];
    (token_weights[12], token_weights[16], token_weights[17]) = (0.0, 0.0, 0.0);
    let mut workspace = Workspace::new();
    let head = Head::new(&states, &weights);
    let input = Logits::new(&broken);
    let found = workspace.score(on(), input, &layout, Some(&token_weights)).unwrap();
    assert!(found.iter().all(|x| x.sum.is_finite()));
    assert_eq!(found[2].count, 2);
    let found = workspace.score(on(), head, &layout, Some(&token_weights)).unwrap();
    assert!(found.iter().all(|x| x.sum.is_finite()));

    token_weights[17] = -1.0;
    for found in [
        workspace.score(on(), input, &layout, Some(&token_weights)).unwrap_err(),
        workspace.score(on(), head, &layout, Some(&token_weights)).unwrap_err(),
    ] {
        let expected = dpo_kernel::Error::NonFiniteRows { first: 17, count: 1 };
        assert!(matches!(found, Error::Kernel(found) if found == expected), "{found}");
    }
    let found = workspace.score(on(), input, &layout, None).unwrap_err();
    let expected = dpo_kernel::Error::NonFiniteRows { first: 12, count: 3 };
    assert!(matches!(found, Error::Kernel(found) if found == expected), "{found}");
}

/// A weight of −∞ masks its column where the state is above 0, and breaks the row where it is 0: no
/// error where that row's token has weight 0, and else one that names the head's row.
#[test]
fn a_broken_head_is_scored_around_too() {
    let mut random = Random(43);
    let case = Case::new(&mut random);
    let layout = case.layout();
    let all = |tensor: Tensor| -> Vec<f32> { tensor.flatten_all().unwrap().to_vec1().unwrap() };
    let mut states = all(random.tensor((ROWS, SIZE), 1.0, DType::F32));
    for (row, state) in states.chunks_mut(SIZE).enumerate() {
        state[2] = if row == 12 { 0.0 } else { 1.5 };
    }
    let mut weights = all(random.tensor((VOCAB, SIZE), 0.3, DType::F32));
    let masked = (0..VOCAB).find(|&id| !case.targets.contains(&(id as u32))).unwrap();
    weights[masked * SIZE + 2] = f32::NEG_INFINITY;
    let device = candle_core::Device::Cpu;
    let states = Tensor::from_vec(states, (ROWS, SIZE), &device).unwrap();
    let weights = Tensor::from_vec(weights, (VOCAB, SIZE), &device).unwrap();
    let head = Head::new(&states, &weights);
    let mut token_weights = vec![1.0_f32; ROWS];
    token_weights[12] = 0.0;
    let mut workspace = Workspace::new();
    let found = workspace.score(on(), head, &layout, Some(&token_weights)).unwrap();
    assert!(found.iter().all(|x| x.sum.is_finite()));
    let error = workspace.score(on(), head, &layout, None).unwrap_err();
    let Error::Kernel(dpo_kernel::Error::InvalidValue { index, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(index, masked);
}
