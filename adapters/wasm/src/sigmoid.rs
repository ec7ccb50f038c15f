//! `sigmoid` alone: DPO with label smoothing, for a module a third smaller.

use dpo_kernel::error::Parameter;
use dpo_kernel::loss::{BatchLoss, Inputs};
use dpo_kernel::{Dpo, Error, Pair, PairBatch, PairLoss};

use crate::call::Choice;
use crate::outcome::Fault;

/// A loss of pairs.
#[derive(Debug)]
pub(crate) struct OfPairs(Dpo);

/// DPO, with the errors that all losses have.
pub(crate) fn of_pairs(name: &[u8], options: &[Choice], _: &mut [usize]) -> Result<OfPairs, Fault> {
    if !matches!(name, b"sigmoid" | b"dpo") {
        return Err(Error::UnknownLoss.into());
    }
    let (mut beta, mut label_smoothing) = (0.1, 0.0);
    for &Choice { parameter: number, value, .. } in options {
        let mut all = Parameter::ALL.into_iter();
        match all.find(|&it| it as u32 == number).ok_or(Error::UnknownLoss)? {
            Parameter::Beta => beta = value,
            Parameter::LabelSmoothing => label_smoothing = value,
            parameter => return Err(Error::ParameterUnused { parameter }.into()),
        }
    }
    Ok(OfPairs(Dpo::new(beta)?.with_label_smoothing(label_smoothing)?))
}

impl BatchLoss for OfPairs {
    fn inputs(&self, weights: Option<&[f32]>) -> Inputs {
        BatchLoss::inputs(&&self.0, weights)
    }

    fn check(&self, pairs: &[Pair], weights: Option<&[f32]>) -> Result<(), Error> {
        BatchLoss::check(&&self.0, pairs, weights)
    }

    fn evaluate_all(self, batch: &PairBatch<'_>, losses: &mut [PairLoss]) {
        BatchLoss::evaluate_all(&self.0, batch, losses);
    }
}
