//! Losses by name.
use dpo_kernel::error::Parameter;
use dpo_kernel::loss::{AlphaDivergence, AnyDivergence, AotOver, BatchLoss, Inputs, Loss, LossName, LossOptions, Objective, PreferenceLoss, SoftmaxDpo};
use dpo_kernel::{Error, Pair, PairBatch, PairLoss};
use crate::call::Choice;

#[cfg(not(feature="losses"))]
pub(crate) fn build_dpo(name: &[u8], options: &[Choice]) -> Result<dpo_kernel::Dpo, Error> { if name != b"sigmoid" { return Err(Error::UnknownLoss) } let (mut b, mut l) = (0.1, 0.0); for o in options { match o.parameter { 1 => b = o.value, 2 => l = o.value, _ => return Err(Error::UnknownLoss) } } dpo_kernel::Dpo::new(b)?.with_label_smoothing(l) }
#[cfg(feature="losses")]
pub(crate) fn build(name: &[u8], options: &[Choice]) -> Result<Objective, Error> {
    let name: LossName = str::from_utf8(name).map_err(|_| Error::UnknownLoss)?.parse()?;
    let mut given = LossOptions::default();
    let (mut divergence, mut alpha) = (None, None);
    for &Choice { parameter: number, value, .. } in options {
        let found = Parameter::ALL.into_iter().find(|&p| p as u32 == number);
        match found {
            Some(Parameter::Divergence) => divergence = Some(value),
            Some(Parameter::DivergenceAlpha) => alpha = Some(value),
            Some(parameter) => match given.option_mut(parameter) {
                Some(to) => *to = Some(value),
                None => return Err(Error::ParameterUnused { parameter }),
            },
            None => return Err(Error::UnknownLoss),
        }
    }
    let needed = || alpha.ok_or(Error::ParameterMissing { parameter: Parameter::DivergenceAlpha });
    let unused = Error::ParameterUnused { parameter: Parameter::DivergenceAlpha };
    given.divergence = match divergence.map(|x| x as u32) {
        None if alpha.is_some() => return Err(unused),
        None => None,
        Some(3) => Some(AnyDivergence::Alpha(AlphaDivergence::with_paper_alpha(needed()?)?)),
        Some(4) => Some(AnyDivergence::Alpha(AlphaDivergence::with_trl_alpha(needed()?)?)),
        Some(_) if alpha.is_some() => return Err(unused),
        Some(0) => Some(AnyDivergence::ReverseKl),
        Some(1) => Some(AnyDivergence::ForwardKl),
        _ => Some(AnyDivergence::JensenShannon),
    };
    name.build(&given)
}

#[cfg(feature="losses")]
pub(crate) enum OfPairs<'a> { One(Loss), Sorted(AotOver<'a>), Groups(SoftmaxDpo) }

#[cfg(feature="losses")]
impl BatchLoss for OfPairs<'_> {
    fn inputs(&self, weights: Option<&[f32]>) -> Inputs {
        match self { Self::One(l) => PreferenceLoss::inputs(l), Self::Sorted(l) => l.inputs(weights), Self::Groups(l) => l.inputs(weights) }
    }
    fn check(&self, pairs: &[Pair], weights: Option<&[f32]>) -> Result<(), Error> {
        match self { Self::One(_) => Ok(()), Self::Sorted(l) => l.check(pairs, weights), Self::Groups(l) => l.check(pairs, weights) }
    }
    fn evaluate_all(self, batch: &PairBatch<'_>, losses: &mut [PairLoss]) {
        match self { Self::One(l) => BatchLoss::evaluate_all(&l, batch, losses), Self::Sorted(l) => l.evaluate_all(batch, losses), Self::Groups(l) => l.evaluate_all(batch, losses) }
    }
}
