//! Losses of answers without a partner against candle's operations.

use candle_core::{DType, Result, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::Reference;
use dpo_kernel_candle::dpo_kernel::loss::{
    AStarPo, ApoZero, Bco, Kto, Nca, SppoHard, UnpairedLoss,
};
use dpo_kernel_candle::dpo_kernel::step::UnpairedStepBatch;
use dpo_kernel_candle::dpo_kernel::unpaired::{
    Label, PerAnswer, UnpairedAnswer, UnpairedBatchLoss,
};
use dpo_kernel_candle::{Logits, Workspace};

use crate::case::{Case, DIVISOR, ROWS, Random, VOCAB, on};
use crate::formulas::{sigmoid, softplus};
use crate::oracle::Oracle;

/// A loss of one answer.
type Half = fn(&Tensor) -> Result<Tensor>;

const ANSWERS: [UnpairedAnswer; 4] = [
    UnpairedAnswer::new(0, Label::Desirable),
    UnpairedAnswer::new(1, Label::Undesirable),
    UnpairedAnswer::new(3, Label::Undesirable),
    UnpairedAnswer::new(4, Label::Desirable),
];

/// The loss over all answers is the sum of `each`, of the answer's place and its log-ratio.
fn compare(
    random: &mut Random,
    loss: impl UnpairedBatchLoss,
    each: &dyn Fn(usize, &Tensor) -> Result<Tensor>,
) {
    let case = Case::new(random);
    let logits = Var::from_tensor(&random.tensor((ROWS, VOCAB), 1.5, DType::F32)).unwrap();
    let of_tokens = |tokens: &Tensor| {
        let reference = Tensor::new(case.reference.as_slice(), tokens.device())?;
        let a = (case.sums(tokens, None)? - reference)?;
        let mut sum = Tensor::zeros((), DType::F64, tokens.device())?;
        for (i, answer) in ANSWERS.iter().enumerate() {
            sum = (sum + each(i, &a.get(answer.sequence)?)?)?;
        }
        sum / DIVISOR
    };
    let oracle = Oracle::new(&case, &logits, 0.0, &of_tokens);
    let layout = case.layout();
    let reference = Reference::Sums(&case.reference);
    let batch = UnpairedStepBatch::new(&layout, &ANSWERS, reference, DIVISOR);
    let mut workspace = Workspace::new();
    let found = workspace.unpaired_step(on(), loss, Logits::new(&logits), &batch).unwrap();
    let grads = found.loss.backward().unwrap();
    let grads = grads.get(&logits).unwrap();
    let scalar: f32 = found.loss.to_scalar().unwrap();
    assert_eq!(oracle.differs(scalar, grads), None);
    assert!(oracle.differs(scalar, &(grads * 1.00002).unwrap()).is_some(), "other gradients");
    assert!(oracle.differs(scalar * 1.002, grads).is_some(), "another loss");
    assert_eq!(workspace.answer_losses().len(), ANSWERS.len());
    assert!(workspace.pair_losses().is_empty());
}

/// ℓ₁ of the good answers, ℓ₂ of the bad ones.
#[test]
fn unpaired_losses_are_those_of_candles_operations() {
    let mut random = Random(4);
    let (kto, bco) = (Kto::new(0.3, 0.4).unwrap(), Bco::new(0.3).unwrap().with_shift(0.2).unwrap());
    let (zero, nca) = (ApoZero::new(0.3).unwrap(), Nca::new(0.3).unwrap());
    let (sppo, a_star) = (SppoHard::new(0.5).unwrap(), AStarPo::new(0.1, 0.5).unwrap());
    let table: [(&dyn UnpairedLoss, Half, Half); 6] = [
        (&kto, |a| sigmoid(&((a - 0.4)? * -0.3)?), |b| sigmoid(&((b - 0.4)? * 0.3)?)),
        (&bco, |a| softplus(&(0.2 - (a * 0.3)?)?), |b| softplus(&((b * 0.3)? - 0.2)?)),
        (&zero, |a| sigmoid(&(a * -0.3)?), |b| sigmoid(&(b * 0.3)?)),
        (
            &nca,
            |a| softplus(&(a * -0.3)?)? + (softplus(&(a * 0.3)?)? * 0.5)?,
            |b| softplus(&(b * 0.3)?)? * 0.5,
        ),
        (&sppo, |a| (a - 1.0)?.sqr(), |b| (b + 1.0)?.sqr()),
        // The label has no say.
        (&a_star, |a| ((a * 0.1)? - 0.5)?.sqr(), |b| ((b * 0.1)? - 0.5)?.sqr()),
    ];
    for (loss, good, bad) in table {
        compare(&mut random, loss, &|i, a| {
            if ANSWERS[i].label == Label::Desirable { good(a) } else { bad(a) }
        });
    }
}

/// An advantage for each answer.
#[test]
fn losses_of_single_answers_are_those_of_candles_operations() {
    let advantages = [0.5, -0.25, 1.5, 0.0];
    let losses = advantages.map(|advantage| AStarPo::new(0.1, advantage).unwrap());
    compare(&mut Random(8), PerAnswer::new(&losses), &|i, a| ((a * 0.1)? - advantages[i])?.sqr());
}
