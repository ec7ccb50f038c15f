//! The NLL term: the likelihood of the chosen answers, beside any preference loss.
//!
//! ```text
//! per token      L = −w/divisor · Σ_{chosen y} Σ_t log p_t
//! per sequence   L = −w/divisor · Σ_{chosen y} 1/n · Σ_t log p_t
//! ```
//!
//! It is of the tokens as they are: token weights ([`ld_token_weights`](crate::training::ld_token_weights))
//! belong to the preference loss. So its gradients are kept apart, and the backward adds them to each
//! token's coefficient.

use crate::error::{Buffer, NonFinite, Parameter, check_length};
use crate::pair::Pair;
use crate::pair::{check_divisor, check_indices};
use crate::{Error, SequenceLogProb};
use core::ops::AddAssign;

/// What one unit of the NLL term is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NllPer {
    /// Every token of a chosen answer weighs the same.
    Token,
    /// Every chosen answer weighs the same, whatever its length.
    Sequence,
}

/// An NLL term on the chosen answers, with its normaliser: iterative RPO (Pang et al. 2024, arXiv
/// 2404.19733, weight 1), RPO (Liu et al. 2024, arXiv 2405.16436, weight 0.005), and the NLL in CPO, ORPO,
/// `SLiC` and MPO.
///
/// Everybody divides by something else, so the divisor is an argument, of the whole (accumulated, global)
/// batch:
///
/// | trainer | per | divisor |
/// |---|---|---|
/// | TRL `sft`, CPO; ms-swift, Liger | token | chosen tokens |
/// | LLaMA-Factory `pref_ftx`, OpenRLHF `nll_loss_coef` | sequence | pairs |
/// | NeMo-RL, NeMo-Aligner, summed | token | pairs |
/// | NeMo-RL, NeMo-Aligner, `sft_average_log_probs` | sequence | pairs |
/// | TRL ORPO | token, prompt included: spans over both | their tokens |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nll {
    weight: f64,
    per: NllPer,
    divisor: f64,
}

/// Sums over the chosen answers; those of micro-batches and machines add up with `+=`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct NllSummary {
    /// Chosen answers summed, once for each pair that names them.
    pub sequences: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Σ of the term before the divisor: its weight times the negative log-probs, or times their means.
    pub loss_sum: f64,
}

impl AddAssign for NllSummary {
    fn add_assign(&mut self, other: Self) {
        self.sequences = self.sequences.saturating_add(other.sequences);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.loss_sum += other.loss_sum;
    }
}

impl Nll {
    /// A term of this weight.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the weight is finite and ≥ 0 and the divisor finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(weight: f64, per: NllPer, divisor: f64) -> Result<Self, Error> {
        let weight = Parameter::NllWeight.not_negative(weight)?;
        check_divisor(divisor)?;
        Ok(Self { weight, per, divisor })
    }
}

/// The NLL term of a batch.
///
/// `policy` are log-probs summed **without** token weights, N. `d_log_probs`, N, is filled with
/// `∂(L)/∂log p_t`, the same for every token of a sequence, 0 for sequences that no pair chose; hand it to the
/// backward with [`GradBatch::with_nll`](crate::GradBatch::with_nll). It goes with the preference loss's own
/// `d_log_probs`, which is not touched.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::SequenceOutOfRange`],
/// [`Error::PairOfOneSequence`], [`Error::NoScoredTokens`] for a chosen answer without a token.
/// After all other pairs are complete: [`Error::NonFinitePairs`] for chosen answers whose log-prob is not
/// finite; the gradients of their sequences are NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{Pair, SequenceLogProb};
/// use dpo_kernel::loss::{Nll, NllPer, nll_loss};
/// let policy = [-20.5, -25.25].map(|sum| SequenceLogProb { sum, count: 10 });
/// let mut d_log_probs = [0.0; 2];
/// let nll = Nll::new(1.0, NllPer::Token, 10.0)?;
/// let summary = nll_loss(&nll, &[Pair::new(0, 1)], &policy, &mut d_log_probs)?;
/// assert_eq!((summary.loss_sum, summary.tokens, d_log_probs), (20.5, 10, [-0.1, 0.0]));
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
pub fn nll_loss(
    nll: &Nll,
    pairs: &[Pair],
    policy: &[SequenceLogProb],
    d_log_probs: &mut [f64],
) -> Result<NllSummary, Error> {
    check_indices(pairs, policy.len())?;
    check_length(Buffer::NllGrads, policy.len(), d_log_probs.len())?;
    let is_empty = |p: &&Pair| policy.get(p.chosen).is_some_and(|s| s.count == 0);
    if let Some(&Pair { chosen: sequence, .. }) = pairs.iter().find(is_empty) {
        return Err(Error::NoScoredTokens { sequence });
    }

    d_log_probs.fill(0.0);
    let mut summary = NllSummary::default();
    let mut bad = NonFinite::NONE;
    for (i, &Pair { chosen, .. }) in pairs.iter().enumerate() {
        let missing = SequenceLogProb { sum: f64::NAN, count: 0 };
        let sequence = policy.get(chosen).copied().unwrap_or(missing);
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let tokens = match nll.per {
            NllPer::Token => 1.0,
            NllPer::Sequence => sequence.count as f64,
        };
        let loss = nll.weight * (-sequence.sum / tokens);
        let mut d = -(nll.weight / tokens) / nll.divisor;
        if loss.is_finite() && d.is_finite() {
            let tokens = u64::try_from(sequence.count).unwrap_or(u64::MAX);
            summary += NllSummary { sequences: 1, tokens, loss_sum: loss };
        } else {
            bad.see(i);
            d = f64::NAN;
        }
        if let Some(to) = d_log_probs.get_mut(chosen) {
            *to += d;
        }
    }
    bad.pairs().map(|()| summary)
}
