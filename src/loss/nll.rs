//! The NLL term: the likelihood of answers, beside any preference loss or alone.
//!
//! It is of the tokens as they are: token weights
//! ([`ld_token_weights`](crate::training::ld_token_weights)) belong to the preference loss. So its
//! gradients have a buffer of their own, and
//! [`token_coefficients`](crate::gradient::token_coefficients) adds them to each token's
//! coefficient.

use crate::error::{Buffer, NonFinite, Parameter, check_length};
use crate::pair::{Pair, check_divisor, check_pair, check_weights, is_left_out};
use crate::sequence::weight_of;
use crate::{Error, SequenceLogProb};
use core::ops::AddAssign;

/// What one unit of the NLL term is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NllPer {
    /// Every token of an answer weighs the same.
    Token,
    /// Every answer weighs the same, whatever its length.
    Sequence,
}

/// An NLL term on M answers y, with its normaliser.
///
/// ```text
/// per token      L = −w/divisor · Σ_y w_y · Σ_t log p_t
/// per sequence   L = −w/divisor · Σ_y w_y · 1/n_y · Σ_t log p_t
/// ```
///
/// where w is the term's weight, `w_y` the answer's ([`NllBatch::weights`]) and `n_y` its scored
/// tokens.
///
/// On the chosen answers of pairs it is the NLL of iterative RPO (Pang et al. 2024, arXiv
/// 2404.19733, weight 1), RPO (Liu et al. 2024, arXiv 2405.16436, weight 0.005), CPO, ORPO, `SLiC`
/// and MPO; on a third, gold answer that of TPO (Saeidi et al. 2024, arXiv 2405.16681, weight 1);
/// alone it is SFT. With the opposite sign it is XPO's term, [`Xpo`](crate::loss::Xpo).
///
/// Everybody divides by something else, so the divisor is an argument, of the whole (accumulated,
/// global) batch:
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
    /// Factor on the negative log-likelihood; < 0 for XPO's term.
    weight: f64,
    per: NllPer,
    divisor: f64,
}

/// The answers that an NLL term is of.
#[derive(Clone, Copy, Debug)]
pub enum NllAnswers<'a> {
    /// The chosen answers of these pairs; the rejected ones are not read.
    Chosen(&'a [Pair]),
    /// The sequences of these indices: gold answers, supervised data, samples of the reference.
    Sequences(&'a [usize]),
}

/// What an NLL term is given: M answers among N sequences.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NllBatch<'a> {
    /// The answers, M. A sequence may stand in several of them, or in none.
    pub answers: NllAnswers<'a>,
    /// Policy log-probs, N, summed **without** token weights.
    pub policy: &'a [SequenceLogProb],
    /// A weight for each answer, M, finite and ≥ 0; 1 without. Those of the pairs, or others. An
    /// answer of weight 0 is left out, as if it were not there.
    pub weights: Option<&'a [f32]>,
}

/// Sums over the answers of an NLL term; those of micro-batches and machines add up with `+=`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
#[repr(C)]
pub struct NllSummary {
    /// Answers summed, once for each time that they are named.
    pub sequences: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Answers of weight 0, which are in no other figure.
    pub left_out: u64,
    /// Σ of the term before the divisor: the weights times the negative log-probs, or times their
    /// means.
    pub loss_sum: f64,
}

impl AddAssign for NllSummary {
    fn add_assign(&mut self, other: Self) {
        self.sequences = self.sequences.saturating_add(other.sequences);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.loss_sum += other.loss_sum;
    }
}

impl Nll {
    /// A term of this weight. At weight 0 all answers are left out.
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

    /// A term per token that lowers the likelihood.
    pub(super) fn opposed(weight: f64, divisor: f64) -> Result<Self, Error> {
        check_divisor(divisor)?;
        Ok(Self { weight: -weight, per: NllPer::Token, divisor })
    }

    /// What its gradients are divided by.
    pub(crate) const fn divisor(&self) -> f64 {
        self.divisor
    }

    fn is_left_out(&self, weights: Option<&[f32]>, answer: usize) -> bool {
        self.weight == 0.0 || is_left_out(weights, answer)
    }

    /// Loss and gradient of one answer: the factor on the log-prob first, then the divisor.
    fn evaluate(&self, answer: SequenceLogProb, weight: f64) -> (f64, f64) {
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let tokens = match self.per {
            NllPer::Token => 1.0,
            NllPer::Sequence => answer.count as f64,
        };
        let loss = weight * (self.weight * (-answer.sum / tokens));
        (loss, -(weight * self.weight / tokens) / self.divisor)
    }
}

impl<'a> NllAnswers<'a> {
    const fn len(self) -> usize {
        match self {
            Self::Chosen(pairs) => pairs.len(),
            Self::Sequences(sequences) => sequences.len(),
        }
    }

    /// The sequence of each answer.
    fn sequences(self) -> impl Iterator<Item = usize> + use<'a> {
        let (pairs, sequences) = match self {
            Self::Chosen(pairs) => (pairs, &[][..]),
            Self::Sequences(sequences) => (&[][..], sequences),
        };
        pairs.iter().map(|pair| pair.chosen).chain(sequences.iter().copied())
    }

    /// An answer that names a sequence there is.
    fn check(self, answer: usize, sequences: usize) -> Result<(), Error> {
        match self {
            Self::Chosen(pairs) => {
                pairs.get(answer).map_or(Ok(()), |pair| check_pair(answer, pair, sequences))
            }
            Self::Sequences(found) => match found.get(answer) {
                Some(&sequence) if sequence >= sequences => {
                    Err(Error::AnswerOutOfRange { answer, sequence, sequences })
                }
                _ => Ok(()),
            },
        }
    }
}

impl<'a> NllBatch<'a> {
    /// The term is of the chosen answers of pairs.
    #[must_use]
    pub const fn of_chosen(pairs: &'a [Pair], policy: &'a [SequenceLogProb]) -> Self {
        Self { answers: NllAnswers::Chosen(pairs), policy, weights: None }
    }

    /// The term is of the sequences of these indices.
    #[must_use]
    pub const fn of_sequences(sequences: &'a [usize], policy: &'a [SequenceLogProb]) -> Self {
        Self { answers: NllAnswers::Sequences(sequences), policy, weights: None }
    }

    /// With a weight for each answer.
    #[must_use]
    pub const fn with_weights(mut self, weights: &'a [f32]) -> Self {
        self.weights = Some(weights);
        self
    }
}

/// The NLL term of a batch, or [XPO's](crate::loss::Xpo).
///
/// `d_log_probs`, N, is filled with `∂L/∂log p_t`, the same for every token of a sequence, 0 for
/// sequences that no answer with a weight names; hand it to the backward with
/// [`token_coefficients`](crate::gradient::token_coefficients). It goes with the preference loss's
/// own `d_log_probs`, which is not touched. The gradients of several terms add up.
///
/// An answer of weight 0 is left out, as if it were not there: it may name a sequence without
/// tokens or out of range, and its log-prob may be NaN.
///
/// # Numerics
/// f64 throughout; the summary is not divided.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::InvalidValue`] for weights;
/// [`Error::SequenceOutOfRange`] and [`Error::PairOfOneSequence`] for pairs,
/// [`Error::AnswerOutOfRange`] for sequences; [`Error::NoScoredTokens`] for an answer without a
/// token. After all other answers are complete: [`Error::NonFinitePairs`], or
/// [`Error::NonFiniteAnswers`] for sequences, of answers whose log-prob, or whose gradient over the
/// divisor, is not finite; the gradients of their sequences are NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{Pair, SequenceLogProb};
/// use dpo_kernel::loss::{Nll, NllBatch, NllPer, nll_loss};
/// let policy = [-20.5, -25.25].map(|sum| SequenceLogProb { sum, count: 10 });
/// let (pairs, mut d_log_probs) = ([Pair::new(0, 1)], [0.0; 2]);
/// let nll = Nll::new(1.0, NllPer::Token, 10.0)?;
/// let summary = nll_loss(&nll, &NllBatch::of_chosen(&pairs, &policy), &mut d_log_probs)?;
/// assert_eq!((summary.loss_sum, summary.tokens, d_log_probs), (20.5, 10, [-0.1, 0.0]));
/// // The same term on a given sequence.
/// let gold = NllBatch::of_sequences(&[1], &policy);
/// assert_eq!(nll_loss(&nll, &gold, &mut d_log_probs)?.loss_sum, 25.25);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
pub fn nll_loss(
    nll: &Nll,
    batch: &NllBatch<'_>,
    d_log_probs: &mut [f64],
) -> Result<NllSummary, Error> {
    let NllBatch { answers, policy, weights } = *batch;
    let tokens = |sequence: usize| policy.get(sequence).map_or(0, |found| found.count);
    check_nll(nll, answers, weights, policy.len(), tokens)?;
    check_length(Buffer::NllGrads, policy.len(), d_log_probs.len())?;

    d_log_probs.fill(0.0);
    let mut summary = NllSummary::default();
    let mut bad = NonFinite::NONE;
    for (i, sequence) in answers.sequences().enumerate() {
        if nll.is_left_out(weights, i) {
            summary += NllSummary { left_out: 1, ..NllSummary::default() };
            continue;
        }
        let missing = SequenceLogProb { sum: f64::NAN, count: 0 };
        let answer = policy.get(sequence).copied().unwrap_or(missing);
        let (loss_sum, mut d) = nll.evaluate(answer, weight_of(weights, i));
        if loss_sum.is_finite() && d.is_finite() {
            let tokens = u64::try_from(answer.count).unwrap_or(u64::MAX);
            summary += NllSummary { sequences: 1, tokens, left_out: 0, loss_sum };
        } else {
            bad.see(i);
            d = f64::NAN;
        }
        if let Some(to) = d_log_probs.get_mut(sequence) {
            *to += d;
        }
    }
    match answers {
        NllAnswers::Chosen(_) => bad.pairs(),
        NllAnswers::Sequences(_) => bad.answers(),
    }
    .map(|()| summary)
}

/// Every check of a term that needs no log-probs: `tokens` is how many tokens of a sequence are
/// scored.
pub(crate) fn check_nll(
    nll: &Nll,
    answers: NllAnswers<'_>,
    weights: Option<&[f32]>,
    sequences: usize,
    tokens: impl Fn(usize) -> usize,
) -> Result<(), Error> {
    let buffer = match answers {
        NllAnswers::Chosen(_) => Buffer::PairWeights,
        NllAnswers::Sequences(_) => Buffer::AnswerWeights,
    };
    check_weights(buffer, weights, answers.len())?;
    for (i, sequence) in answers.sequences().enumerate() {
        if !nll.is_left_out(weights, i) {
            answers.check(i, sequences)?;
            if tokens(sequence) == 0 {
                return Err(Error::NoScoredTokens { sequence });
            }
        }
    }
    Ok(())
}
