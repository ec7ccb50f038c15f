//! Weighted sums of losses.

use super::{Inputs, PreferenceLoss};
use crate::Error;
use crate::error::{Buffer, Parameter};
use crate::pair::{PairLogProbs, PairLoss};

/// A term of a [`Mixture`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct MixtureTerm<'a> {
    /// Factor on the loss, finite and ≥ 0. A term of weight 0 is left out: it is not evaluated and
    /// asks for no inputs.
    pub weight: f64,
    /// Any loss of pairs.
    pub loss: &'a dyn PreferenceLoss,
}

impl<'a> MixtureTerm<'a> {
    /// weight · loss
    #[must_use]
    pub const fn new(weight: f64, loss: &'a dyn PreferenceLoss) -> Self {
        Self { weight, loss }
    }
}

impl core::fmt::Debug for MixtureTerm<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MixtureTerm").field("weight", &self.weight).finish_non_exhaustive()
    }
}

/// A weighted sum of losses, Σ `w_k·L_k`, of whatever kinds; only those are linked that are named.
///
/// Mixed preference optimization (Wang et al. 2024, arXiv 2411.10442) is 0.8·[`Dpo`](crate::Dpo) +
/// 0.2·[`Bco`](crate::loss::Bco) + 1·[`Nll`](crate::loss::Nll), the last beside this sum, because
/// it is of tokens. TRL and ms-swift: `loss_type` a list with `loss_weights`, 1 by default.
///
/// Rewards are those of the first term that has a weight, not a sum: ms-swift's grow with the sum
/// of the weights.
///
/// # Example
/// ```
/// use dpo_kernel::Dpo;
/// use dpo_kernel::loss::{Bco, Mixture, PairLogProbs, PreferenceLoss, MixtureTerm};
/// let (dpo, bco) = (Dpo::new(0.1)?, Bco::new(0.1)?);
/// let terms = [MixtureTerm::new(0.8, &dpo), MixtureTerm::new(0.2, &bco)];
/// let pair = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5);
/// let found = Mixture::new(&terms)?.evaluate(&pair);
/// assert!((found.loss - (0.8 * 0.632599035317169 + 0.2 * 1.3248097888400815)).abs() < 1e-15);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Mixture<'a> {
    terms: &'a [MixtureTerm<'a>],
}

impl<'a> Mixture<'a> {
    /// The sum of the terms.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a weight that is not finite and ≥ 0, [`Error::Length`] without a
    /// term whose weight is > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(terms: &'a [MixtureTerm<'a>]) -> Result<Self, Error> {
        for term in terms {
            Parameter::TermWeight.not_negative(term.weight)?;
        }
        let mixture = Self { terms };
        if mixture.with_weight().next().is_none() {
            return Err(Error::Length { buffer: Buffer::MixtureTerms, expected: 1, found: 0 });
        }
        Ok(mixture)
    }

    /// The terms that are there.
    fn with_weight(&self) -> impl Iterator<Item = &MixtureTerm<'a>> {
        self.terms.iter().filter(|term| term.weight != 0.0)
    }
}

impl PreferenceLoss for Mixture<'_> {
    fn inputs(&self) -> Inputs {
        let all = self.with_weight().map(|term| term.loss.inputs()).reduce(Inputs::and);
        all.unwrap_or(Inputs { reference: true, tokens: true, offsets: true })
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        let mut terms =
            self.with_weight().map(|term| term.loss.evaluate(pair).weighted(term.weight));
        let first = terms.next().unwrap_or(PairLoss::NAN);
        terms
            .fold(first, |sum, term| PairLoss {
                loss: sum.loss + term.loss,
                d_chosen: sum.d_chosen + term.d_chosen,
                d_rejected: sum.d_rejected + term.d_rejected,
                ..sum
            })
            .weighted(1.0)
    }
}
