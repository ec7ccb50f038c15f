//! XPO's term: the likelihood of the reference's answers, lowered.

use super::Nll;
use crate::Error;
use crate::error::Parameter;

/// The exploration term of XPO (Xie et al. 2024, arXiv 2405.21046), beside a DPO loss.
///
/// ```text
/// L = L_DPO + α/divisor · Σ_y w_y · Σ_t log p_t
/// ```
///
/// over answers y that were sampled from the reference (or another fixed model), whether their pair
/// chose or rejected them. It is an NLL term of the opposite sign: it makes those answers less
/// likely, which leaves probability for answers that nobody has tried.
/// [`nll_loss`](crate::loss::nll_loss) computes it:
///
/// ```
/// use dpo_kernel::SequenceLogProb;
/// use dpo_kernel::loss::{NllBatch, Xpo, nll_loss};
/// // Two pairs; sequences 1 and 2 are the answers of the reference.
/// let policy = [-20.5, -25.25, -8.0, -9.5].map(|sum| SequenceLogProb { sum, count: 10 });
/// let batch = NllBatch::of_sequences(&[1, 2], &policy);
/// let mut d_log_probs = [0.0; 4];
/// let xpo = Xpo::new(Xpo::ALPHA, 2.0)?;
/// let summary = nll_loss(&xpo.into(), &batch, &mut d_log_probs)?;
/// assert!((summary.loss_sum - 1e-5 * (-25.25 - 8.0)).abs() < 1e-18);
/// assert_eq!(d_log_probs, [0.0, 1e-5 / 2.0, 1e-5 / 2.0, 0.0]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
///
/// [`NllSummary::loss_sum`](crate::loss::NllSummary::loss_sum) is Σ `w_y`·α·log π(y), ≤ 0. In TRL
/// (`XPOTrainer`) the divisor is the pairs, each with one answer of the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Xpo {
    term: Nll,
}

impl Xpo {
    /// α of TRL's `XPOConfig`.
    pub const ALPHA: f64 = 1e-5;

    /// A term of weight α. At α = 0 all answers are left out.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless α is finite and ≥ 0 and the divisor finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(alpha: f64, divisor: f64) -> Result<Self, Error> {
        let alpha = Parameter::ExplorationWeight.not_negative(alpha)?;
        Ok(Self { term: Nll::opposed(alpha, divisor)? })
    }
}

impl From<Xpo> for Nll {
    fn from(xpo: Xpo) -> Self {
        xpo.term
    }
}
