//! Losses of pairs against candle's operations: by every name, under every divergence, mixed, one
//! a pair, and with what stands around one.

use candle_core::{DType, Result, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::Dpo;
use dpo_kernel_candle::dpo_kernel::loss::{
    AlphaDivergence, AnyDivergence, BatchLoss, Bco, Loss, LossName, LossOptions, Mixture,
    MixtureTerm, Nll, NllPer, Objective, PerPair,
};
use dpo_kernel_candle::{Logits, Workspace};

use crate::case::{Answers, Case, DIVISOR, ROWS, Random, VOCAB, on};
use crate::formulas::{all, logistic, of_log_ratios, softplus};
use crate::oracle::Oracle;

/// Names that are no losses of pairs, and where they are compared.
const ELSEWHERE: [(LossName, &str); 2] = [
    (LossName::AStarPo, "takes answers without a partner alone: the tests of `unpaired`"),
    (LossName::Sft, "is a term beside a loss: `weights_offsets_and_the_term_are_in_it`"),
];

fn of_name(name: LossName, options: &LossOptions) -> Loss {
    match name.build(options) {
        Ok(Objective::Pairs(loss)) => loss,
        other => panic!("{name:?}: {other:?}"),
    }
}

/// Logits, and the loss and gradients that the adapter finds.
fn step(case: &Case, logits: &Var, loss: impl BatchLoss, is_free: bool) -> (f32, Tensor) {
    let layout = case.layout();
    let batch = case.batch(&layout, is_free);
    let mut workspace = Workspace::new();
    let found = workspace.preference_step(on(), loss, Logits::new(logits), &batch).unwrap();
    let grads = found.loss.backward().unwrap();
    (found.loss.to_scalar().unwrap(), grads.get(logits).unwrap().clone())
}

/// The step of whatever a name stands for.
fn step_of(case: &Case, logits: &Var, objective: Objective, is_free: bool) -> (f32, Tensor) {
    match objective {
        Objective::Pairs(loss) => step(case, logits, &loss, is_free),
        Objective::Groups(loss) => step(case, logits, loss, is_free),
        Objective::Batch(loss) => {
            let mut order = vec![0; 2 * case.pairs.len()];
            step(case, logits, loss.over(&mut order), is_free)
        }
        other => panic!("no loss of pairs: {other:?}"),
    }
}

/// What is found is that of candle's operations, and two thousandths more, of the loss or of the
/// gradients, would be seen: so neither is 0, nor are the bounds wide.
fn assert_same(
    what: &str,
    (case, logits): (&Case, &Var),
    (loss, grads): (f32, Tensor),
    formula: &dyn Fn(&Answers) -> Result<Tensor>,
) {
    let of_tokens =
        |tokens: &Tensor| formula(&case.answers(&case.sums(tokens, None)?)?)?.sum_all()? / DIVISOR;
    let oracle = Oracle::new(case, logits, 0.0, &of_tokens);
    assert_eq!(oracle.differs(loss, &grads), None, "{what}");
    assert!(oracle.differs(loss * 1.002, &grads).is_some(), "{what}: another loss");
    let more = (&grads * 1.002).unwrap();
    assert!(oracle.differs(loss, &more).is_some(), "{what}: other gradients");
}

fn logits(random: &mut Random) -> Var {
    Var::from_tensor(&random.tensor((ROWS, VOCAB), 1.5, DType::F32)).unwrap()
}

#[test]
fn losses_are_those_of_candles_operations() {
    let mut random = Random(1);
    for entry in all() {
        let (case, logits) = (Case::new(&mut random), logits(&mut random));
        let objective = entry.name.build(&entry.options).unwrap();
        let found = step_of(&case, &logits, objective, !entry.has_reference);
        assert_same(entry.name.name(), (&case, &logits), found, &entry.formula);
    }
}

/// A loss that comes to the crate must come to the table, or say why it cannot.
#[test]
fn every_name_is_compared() {
    let compared: Vec<LossName> = all().iter().map(|entry| entry.name).collect();
    for name in LossName::ALL {
        let here = compared.iter().filter(|&&other| other == name).count();
        let elsewhere = ELSEWHERE.iter().filter(|(other, _)| *other == name).count();
        assert_eq!(here + elsewhere, 1, "{}", name.name());
    }
}

/// Scores of log-ratios under each divergence, as its page has them.
#[test]
fn divergences_are_those_of_candles_operations() {
    type Score = fn(&Tensor) -> Result<Tensor>;
    let alpha = AnyDivergence::Alpha(AlphaDivergence::with_paper_alpha(0.5).unwrap());
    let divergences: [(AnyDivergence, Score); 4] = [
        (AnyDivergence::ReverseKl, |u| Ok(u.clone())),
        (AnyDivergence::ForwardKl, |u| 1.0 - u.neg()?.exp()?),
        (AnyDivergence::JensenShannon, |u| softplus(&u.neg()?)?.neg()? + 2_f64.ln()),
        (alpha, |u| (1.0 - (u * -0.5)?.exp()?)? * 2.0),
    ];
    // Whatever else takes one would have to be here.
    for entry in all() {
        let options = LossOptions { divergence: Some(alpha), ..entry.options };
        let is_here = of_log_ratios().iter().any(|other| other.name == entry.name);
        assert_eq!(entry.name.build(&options).is_ok(), is_here, "{}", entry.name.name());
    }
    let mut random = Random(5);
    for entry in of_log_ratios() {
        for (divergence, score) in divergences {
            let mut case = Case::new(&mut random);
            // Log-ratios of some tenths: the scores are exponentials of them.
            let logits = random.tensor((ROWS, VOCAB), 0.3, DType::F32);
            let logits = Var::from_tensor(&logits).unwrap();
            for i in 0..case.spans.len() {
                case.reference[i] = -3.65 * case.count(i) as f64 + 0.3 * random.normal();
            }
            let options = LossOptions { divergence: Some(divergence), ..entry.options };
            let found = step(&case, &logits, &of_name(entry.name, &options), false);
            let what = format!("{} under {divergence:?}", entry.name.name());
            assert_same(&what, (&case, &logits), found, &|x| {
                let (a, b) = (score(&x.a)?, score(&x.b)?);
                (entry.formula)(&Answers { a, b, ..x.clone() })
            });
        }
    }
}

/// A weighted sum of losses of unlike kinds.
#[test]
fn a_mixture_is_that_of_candles_operations() {
    let mut random = Random(6);
    let (case, logits) = (Case::new(&mut random), logits(&mut random));
    let (dpo, bco) = (Dpo::new(0.3).unwrap(), Bco::new(0.2).unwrap());
    let terms = [MixtureTerm::new(0.8, &dpo), MixtureTerm::new(0.25, &bco)];
    let mixture = Mixture::new(&terms).unwrap();
    let found = step(&case, &logits, &mixture, false);
    assert_same("mixture", (&case, &logits), found, &|x| {
        let of_bco = (softplus(&(&x.a * -0.2)?)? + softplus(&(&x.b * 0.2)?)?)?;
        (logistic(&((&x.a - &x.b)? * 0.3)?, 0.0)? * 0.8)? + (of_bco * 0.25)?
    });
}

/// One loss a pair: each of another kind, or of another β.
#[test]
fn losses_of_single_pairs_are_those_of_candles_operations() {
    let mut random = Random(7);
    let (case, logits) = (Case::new(&mut random), logits(&mut random));
    let entries = all();
    let of = |name: LossName| entries.iter().find(|entry| entry.name == name).unwrap();
    let kinds = [LossName::IpoSum, LossName::SppoHard, LossName::Sigmoid].map(of);
    let losses = kinds.map(|entry| of_name(entry.name, &entry.options));
    let found = step(&case, &logits, PerPair::new(&losses), false);
    assert_same("kinds", (&case, &logits), found, &|x| {
        let of_pair = |i: usize| (kinds[i].formula)(x)?.get(i);
        (of_pair(0)? + of_pair(1)?)? + of_pair(2)?
    });

    let betas = [0.1, 0.3, 0.7];
    let losses = betas.map(|beta| Dpo::new(beta).unwrap());
    let found = step(&case, &logits, PerPair::new(&losses), false);
    assert_same("betas", (&case, &logits), found, &|x| {
        logistic(&((&x.a - &x.b)? * Tensor::new(&betas, x.a.device())?)?, 0.0)
    });
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
    let with =
        |beta| of_name(LossName::Sigmoid, &LossOptions { beta: Some(beta), ..Default::default() });
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
