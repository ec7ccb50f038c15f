//! All losses, by name.

use dpo_kernel::error::Parameter;
use dpo_kernel::loss::{
    AlphaDivergence, AnyDivergence, AotOver, BatchLoss, Inputs, Loss, LossName, LossOptions,
    Objective, PreferenceLoss, SoftmaxDpo,
};
use dpo_kernel::{Error, Pair, PairBatch, PairLoss};

use crate::call::Choice;
use crate::outcome::Fault;

/// A loss of pairs.
#[derive(Debug)]
pub(crate) enum OfPairs<'a> {
    One(Loss),
    Sorted(AotOver<'a>),
    Groups(SoftmaxDpo),
}

/// A loss of pairs, with memory for one that sorts.
pub(crate) fn of_pairs<'a>(
    name: &[u8],
    options: &[Choice],
    order: &'a mut [usize],
) -> Result<OfPairs<'a>, Fault> {
    match build(name, options)? {
        Objective::Pairs(loss) => Ok(OfPairs::One(loss)),
        Objective::Batch(loss) => Ok(OfPairs::Sorted(loss.over(order))),
        Objective::Groups(loss) => Ok(OfPairs::Groups(loss)),
        _ => Err(Fault::NotOfPairs),
    }
}

/// What a name and its options stand for. JavaScript gives every option once.
pub(crate) fn build(name: &[u8], options: &[Choice]) -> Result<Objective, Error> {
    let name: LossName = str::from_utf8(name).map_err(|_| Error::UnknownLoss)?.parse()?;
    let mut given = LossOptions::default();
    let (mut divergence, mut alpha) = (None, None);
    for &Choice { parameter: number, value, .. } in options {
        let mut all = Parameter::ALL.into_iter();
        let parameter = all.find(|&it| it as u32 == number).ok_or(Error::UnknownLoss)?;
        let to = match parameter {
            Parameter::Divergence => &mut divergence,
            Parameter::DivergenceAlpha => &mut alpha,
            _ => given.option_mut(parameter).ok_or(Error::ParameterUnused { parameter })?,
        };
        *to = Some(value);
    }
    given.divergence = any_divergence(divergence, alpha)?;
    name.build(&given)
}

/// The divergence by its number in C, with α where it has one.
fn any_divergence(kind: Option<f64>, alpha: Option<f64>) -> Result<Option<AnyDivergence>, Error> {
    let (parameter, kinds) = (Parameter::DivergenceAlpha, [0.0, 1.0, 2.0, 3.0, 4.0]);
    let Some(value) = kind else {
        return if alpha.is_some() { Err(Error::ParameterUnused { parameter }) } else { Ok(None) };
    };
    let plain = match kinds.iter().position(|kind| (kind - value).abs() <= 0.0) {
        Some(0) => AnyDivergence::ReverseKl,
        Some(1) => AnyDivergence::ForwardKl,
        Some(2) => AnyDivergence::JensenShannon,
        Some(kind) => {
            let alpha = alpha.ok_or(Error::ParameterMissing { parameter })?;
            let made = if kind == 3 {
                AlphaDivergence::with_paper_alpha(alpha)
            } else {
                AlphaDivergence::with_trl_alpha(alpha)
            };
            return Ok(Some(AnyDivergence::Alpha(made?)));
        }
        None => return Err(Error::Parameter { parameter: Parameter::Divergence, value }),
    };
    if alpha.is_some() { Err(Error::ParameterUnused { parameter }) } else { Ok(Some(plain)) }
}

impl BatchLoss for OfPairs<'_> {
    fn inputs(&self, weights: Option<&[f32]>) -> Inputs {
        match self {
            Self::One(loss) => PreferenceLoss::inputs(loss),
            Self::Sorted(loss) => loss.inputs(weights),
            Self::Groups(loss) => loss.inputs(weights),
        }
    }

    fn check(&self, pairs: &[Pair], weights: Option<&[f32]>) -> Result<(), Error> {
        match self {
            Self::One(loss) => BatchLoss::check(&loss, pairs, weights),
            Self::Sorted(loss) => loss.check(pairs, weights),
            Self::Groups(loss) => loss.check(pairs, weights),
        }
    }

    fn evaluate_all(self, batch: &PairBatch<'_>, losses: &mut [PairLoss]) {
        match self {
            Self::One(loss) => BatchLoss::evaluate_all(&loss, batch, losses),
            Self::Sorted(loss) => loss.evaluate_all(batch, losses),
            Self::Groups(loss) => loss.evaluate_all(batch, losses),
        }
    }
}
