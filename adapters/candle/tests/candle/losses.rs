//! Every loss that candle's operations can write, by its name, and what stands around one.

use candle_core::{DType, Result, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::loss::{
    ApoZero, Bco, Kto, Loss, LossName, LossOptions, Nca, Nll, NllPer, Objective, UnpairedLoss,
};
use dpo_kernel_candle::dpo_kernel::step::UnpairedStepBatch;
use dpo_kernel_candle::dpo_kernel::unpaired::{Label, UnpairedAnswer};
use dpo_kernel_candle::dpo_kernel::{Dpo, Reference};
use dpo_kernel_candle::{Logits, Workspace};

use crate::case::{Answers, Case, DIVISOR, ROWS, Random, VOCAB, on};
use crate::oracle::Oracle;

/// log(1 + eˣ)
pub(crate) fn softplus(x: &Tensor) -> Result<Tensor> {
    (x.exp()? + 1.0)?.log()
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// sp(−z) + ε z
fn logistic(z: &Tensor, epsilon: f64) -> Result<Tensor> {
    softplus(&z.neg()?)? + (z * epsilon)?
}

/// p − log(1 − eᵖ)
fn log_odds(p: &Tensor) -> Result<Tensor> {
    p - (1.0 - p.exp()?)?.log()?
}

/// A loss of one answer.
type Half = fn(&Tensor) -> Result<Tensor>;

/// A loss of each pair.
type Formula = fn(&Answers) -> Result<Tensor>;

/// Name, options, whether it has a reference, formula.
fn table() -> Vec<(&'static str, LossOptions, bool, Formula)> {
    let none = LossOptions::default();
    let beta = |beta| LossOptions { beta: Some(beta), ..none };
    let smooth = |of, epsilon| LossOptions { label_smoothing: Some(epsilon), ..beta(of) };
    let margin = |of, margin| LossOptions { target_margin: Some(margin), ..beta(of) };
    vec![
        ("sigmoid", smooth(0.3, 0.1), true, |x| logistic(&((&x.a - &x.b)? * 0.3)?, 0.1)),
        ("robust", smooth(0.3, 0.2), true, |x| {
            let z = ((&x.a - &x.b)? * 0.3)?;
            softplus(&z.neg()?)? - (z * (0.2 / 0.6))?
        }),
        ("hinge", beta(0.3), true, |x| (1.0 - ((&x.a - &x.b)? * 0.3)?)?.relu()),
        ("ipo", beta(0.5), true, |x| (((&x.a / &x.nw)? - (&x.b / &x.nl)?)? - 1.0)?.sqr()),
        ("ipo_sum", beta(0.5), true, |x| ((&x.a - &x.b)? - 1.0)?.sqr()),
        ("exo_pair", smooth(0.3, 0.05), true, |x| {
            let z = ((&x.a - &x.b)? * 0.3)?;
            let (up, down) = (softplus(&z.neg()?)?.neg()?, softplus(&z)?.neg()?);
            (up.exp()? * (&up - 0.95_f64.ln())?)? + (down.exp()? * (&down - 0.05_f64.ln())?)?
        }),
        ("discopop", beta(0.1), true, |x| {
            let z = ((&x.a - &x.b)? * 0.1)?;
            let m = sigmoid(&(&z / 0.05)?)?;
            let logistic = softplus(&z.neg()?)?;
            ((1.0 - &m)? * logistic)? + (m * z.neg()?.exp()?)?
        }),
        ("sigmoid_norm", beta(5.0), true, |x| {
            logistic(&(((&x.a / &x.nw)? - (&x.b / &x.nl)?)? * 5.0)?, 0.0)
        }),
        ("simpo", margin(2.0, 0.5), false, |x| logistic(&(((&x.p - &x.q)? * 2.0)? - 0.5)?, 0.0)),
        ("cpo", smooth(0.2, 0.1), false, |x| logistic(&((&x.w - &x.l)? * 0.2)?, 0.1)),
        ("cpo_hinge", beta(0.2), false, |x| (1.0 - ((&x.w - &x.l)? * 0.2)?)?.relu()),
        ("cpo_ipo", beta(0.5), false, |x| ((&x.p - &x.q)? - 1.0)?.sqr()),
        ("slic", none, false, |x| (1.0 - (&x.w - &x.l)?)?.relu()),
        ("orpo", LossOptions { odds_weight: Some(0.2), ..none }, false, |x| {
            logistic(&(log_odds(&x.p)? - log_odds(&x.q)?)?, 0.0)? * 0.2
        }),
        ("nca_pair", beta(0.3), true, |x| {
            let (a, b) = ((&x.a * 0.3)?, (&x.b * 0.3)?);
            softplus(&a.neg()?)? + ((softplus(&a)? + softplus(&b)?)? * 0.5)?
        }),
        ("bco_pair", beta(0.3), true, |x| softplus(&(&x.a * -0.3)?)? + softplus(&(&x.b * 0.3)?)?),
        ("sppo_hard", beta(0.5), true, |x| (&x.a - 1.0)?.sqr()? + (&x.b + 1.0)?.sqr()?),
        ("apo_zero", beta(0.3), true, |x| sigmoid(&(&x.a * -0.3)?)? + sigmoid(&(&x.b * 0.3)?)?),
        ("apo_down", beta(0.3), true, |x| {
            sigmoid(&(&x.a * 0.3)?)? + sigmoid(&((&x.a - &x.b)? * -0.3)?)?
        }),
        ("cal_dpo", beta(0.5), true, |x| {
            let squares = ((&x.a - 1.0)?.sqr()? + (&x.b + 1.0)?.sqr()?)?;
            softplus(&(&x.b - &x.a)?)? + (squares * 0.5)?
        }),
        ("dpop_outside", LossOptions { drop_penalty: Some(2.0), ..beta(0.3) }, true, |x| {
            softplus(&((&x.b - &x.a)? * 0.3)?)? + (x.a.neg()?.relu()? * 2.0)?
        }),
    ]
}

fn of_name(name: &str, options: &LossOptions) -> Loss {
    match name.parse::<LossName>().and_then(|name| name.build(options)) {
        Ok(Objective::Pairs(loss)) => loss,
        other => panic!("{name}: {other:?}"),
    }
}

/// Logits, and the loss and gradients that the adapter finds.
fn step(case: &Case, logits: &Var, loss: &Loss, is_free: bool) -> (f32, Tensor) {
    let layout = case.layout();
    let batch = case.batch(&layout, is_free);
    let mut workspace = Workspace::new();
    let found = workspace.preference_step(on(), loss, Logits::new(logits), &batch).unwrap();
    let grads = found.loss.backward().unwrap();
    (found.loss.to_scalar().unwrap(), grads.get(logits).unwrap().clone())
}

fn logits(random: &mut Random) -> Var {
    Var::from_tensor(&random.tensor((ROWS, VOCAB), 1.5, DType::F32)).unwrap()
}

#[test]
fn losses_are_those_of_candles_operations() {
    let mut random = Random(1);
    for (name, options, has_reference, formula) in table() {
        let (case, logits) = (Case::new(&mut random), logits(&mut random));
        let of_tokens = |tokens: &Tensor| {
            formula(&case.answers(&case.sums(tokens, None)?)?)?.sum_all()? / DIVISOR
        };
        let oracle = Oracle::new(&case, &logits, 0.0, &of_tokens);
        let (loss, grads) = step(&case, &logits, &of_name(name, &options), !has_reference);
        assert_eq!(oracle.differs(loss, &grads), None, "{name}");
    }
}

/// What the comparison must see: another β, another loss, a pair the wrong way round, an element
/// that is off by a thousandth, a row of padding that is not zero.
#[test]
fn faults_are_seen() {
    let mut random = Random(2);
    let (mut case, logits) = (Case::new(&mut random), logits(&mut random));
    let of_tokens = |tokens: &Tensor| {
        let x = case.answers(&case.sums(tokens, None)?)?;
        logistic(&((&x.a - &x.b)? * 0.3)?, 0.0)?.sum_all()? / DIVISOR
    };
    let oracle = Oracle::new(&case, &logits, 0.0, &of_tokens);
    let with = |beta| of_name("sigmoid", &LossOptions { beta: Some(beta), ..Default::default() });
    let (loss, grads) = step(&case, &logits, &with(0.3), false);
    assert_eq!(oracle.differs(loss, &grads), None);
    let (other, other_grads) = step(&case, &logits, &with(0.3 * 1.00001), false);
    assert!(oracle.differs(other, &grads).is_some(), "a loss of another β");
    assert!(oracle.differs(loss, &other_grads).is_some(), "gradients of another β");
    let alter = |row: usize, f: fn(f32) -> f32| {
        let mut numbers: Vec<f32> = grads.flatten_all().unwrap().to_vec1().unwrap();
        numbers[row * VOCAB + 3] = f(numbers[row * VOCAB + 3]);
        Tensor::from_vec(numbers, (ROWS, VOCAB), grads.device()).unwrap()
    };
    assert!(oracle.differs(loss, &alter(2, |x| x * 1.00002)).is_some(), "an element");
    assert!(oracle.differs(loss, &alter(0, |_| 1e-40)).is_some(), "a row that is not scored");
    assert!(oracle.differs(loss, &alter(7, |x| x - 0.0).neg().unwrap()).is_some(), "signs");
    let pair = &mut case.pairs[0];
    (pair.chosen, pair.rejected) = (pair.rejected, pair.chosen);
    let (turned, grads) = step(&case, &logits, &with(0.3), false);
    assert!(oracle.differs(turned, &grads).is_some(), "a pair the wrong way round");
}

/// Weights of pairs and tokens, offsets, and an NLL term, all at once.
#[test]
fn weights_offsets_and_the_term_are_in_it() {
    let mut random = Random(3);
    let (case, logits) = (Case::new(&mut random), logits(&mut random));
    let (weights, offsets) = ([1.0_f32, 0.5, 2.0], [0.25_f32, -0.5, 0.0]);
    let mut token_weights = vec![1.0_f32; ROWS];
    (token_weights[2], token_weights[15]) = (0.5, 0.0);
    let term = Nll::new(0.75, NllPer::Token, 11.0).unwrap();

    let device = logits.device();
    let of_tokens = |tokens: &Tensor| {
        let x = case.answers(&case.sums(tokens, Some(&token_weights))?)?;
        let offsets = Tensor::new(&offsets, device)?.to_dtype(tokens.dtype())?;
        let weights = Tensor::new(&weights, device)?.to_dtype(tokens.dtype())?;
        let z = (((&x.a - &x.b)? * 0.3)? - offsets)?;
        let of_pairs = (logistic(&z, 0.0)? * &weights)?.sum_all()?;
        let plain = case.answers(&case.sums(tokens, None)?)?;
        let of_term = (plain.w * weights)?.sum_all()?;
        (of_pairs / DIVISOR)? + (of_term * (-0.75 / 11.0))?
    };
    let oracle = Oracle::new(&case, &logits, 0.0, &of_tokens);

    let layout = case.layout();
    let batch = case.batch(&layout, false);
    let batch = batch.with_weights(&weights).with_offsets(&offsets).with_nll(term);
    let batch = batch.with_token_weights(&token_weights);
    let (mut workspace, loss) = (Workspace::new(), Dpo::new(0.3).unwrap());
    let found = workspace.preference_step(on(), &loss, Logits::new(&logits), &batch).unwrap();
    let grads = found.loss.backward().unwrap();
    let scalar = found.loss.to_scalar().unwrap();
    assert_eq!(oracle.differs(scalar, grads.get(&logits).unwrap()), None);
    assert!(oracle.differs(scalar * 1.00001, grads.get(&logits).unwrap()).is_some(), "a fault");
    assert_eq!(found.summary.nll.sequences, 3);
}

/// Answers without a partner: ℓ₁ of the good ones, ℓ₂ of the bad ones.
#[test]
fn unpaired_losses_are_those_of_candles_operations() {
    let mut random = Random(4);
    let answers = [
        UnpairedAnswer::new(0, Label::Desirable),
        UnpairedAnswer::new(1, Label::Undesirable),
        UnpairedAnswer::new(3, Label::Undesirable),
        UnpairedAnswer::new(4, Label::Desirable),
    ];
    let (kto, bco) = (Kto::new(0.3, 0.4).unwrap(), Bco::new(0.3).unwrap().with_shift(0.2).unwrap());
    let (zero, nca) = (ApoZero::new(0.3).unwrap(), Nca::new(0.3).unwrap());
    let table: [(&dyn UnpairedLoss, Half, Half); 4] = [
        (&kto, |a| sigmoid(&((a - 0.4)? * -0.3)?), |b| sigmoid(&((b - 0.4)? * 0.3)?)),
        (&bco, |a| softplus(&(0.2 - (a * 0.3)?)?), |b| softplus(&((b * 0.3)? - 0.2)?)),
        (&zero, |a| sigmoid(&(a * -0.3)?), |b| sigmoid(&(b * 0.3)?)),
        (
            &nca,
            |a| softplus(&(a * -0.3)?)? + (softplus(&(a * 0.3)?)? * 0.5)?,
            |b| softplus(&(b * 0.3)?)? * 0.5,
        ),
    ];
    for (loss, good, bad) in table {
        let (case, logits) = (Case::new(&mut random), logits(&mut random));
        let of_tokens = |tokens: &Tensor| {
            let reference = Tensor::new(case.reference.as_slice(), tokens.device())?;
            let a = (case.sums(tokens, None)? - reference)?;
            let mut sum = Tensor::zeros((), DType::F64, tokens.device())?;
            for answer in answers {
                let a = a.get(answer.sequence)?;
                let half = if answer.label == Label::Desirable { good } else { bad };
                sum = (sum + half(&a)?)?;
            }
            sum / DIVISOR
        };
        let oracle = Oracle::new(&case, &logits, 0.0, &of_tokens);
        let layout = case.layout();
        let reference = Reference::Sums(&case.reference);
        let batch = UnpairedStepBatch::new(&layout, &answers, reference, DIVISOR);
        let mut workspace = Workspace::new();
        let found = workspace.unpaired_step(on(), loss, Logits::new(&logits), &batch).unwrap();
        let grads = found.loss.backward().unwrap();
        let grads = grads.get(&logits).unwrap();
        let scalar: f32 = found.loss.to_scalar().unwrap();
        assert_eq!(oracle.differs(scalar, grads), None);
        assert!(oracle.differs(scalar, &(grads * 1.00002).unwrap()).is_some(), "a fault");
        assert_eq!(workspace.answer_losses().len(), answers.len());
        assert!(workspace.pair_losses().is_empty());
    }
}
