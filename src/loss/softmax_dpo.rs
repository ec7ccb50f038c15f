//! S-DPO: one chosen answer against several rejected ones.

use super::options::{FromOptions, Given};
use super::{BatchLoss, Inputs};
use crate::Error;
use crate::error::{Buffer, Parameter};
use crate::math::{sigmoid, softplus};
use crate::pair::{Pair, PairBatch, PairLogProbs, PairLoss, is_left_out};

/// Softmax-DPO (S-DPO, Chen et al. 2024, arXiv 2406.09215): the chosen answer of a prompt against k
/// rejected ones, the Plackett–Luce model of the first place alone.
///
/// ```text
/// x_i = β·(b_i − a) + offset_i          one a rejected answer
/// L = −log softmax of the chosen among the k + 1 scores β·log-ratio = softplus(log Σ_i e^(x_i))
/// p_i = e^(x_i)/(1 + Σ_j e^(x_j))
/// ∂L/∂log π(y_w) = −β·Σ_i p_i      ∂L/∂log π(y_l,i) = β·p_i
/// ```
///
/// A group is written as k pairs, one after the other, that name the same chosen sequence; two
/// groups of one chosen sequence side by side would be one. A group of one pair is
/// [`Dpo`](super::Dpo) to the last bit. β = 0.1 by default.
///
/// The group's loss stands on the first of its pairs whose weight is not 0, and the others have 0,
/// so the mean over the prompts is `loss_sum` over the number of groups, not over the pairs; the
/// gradients are divided by the batch's divisor, which is the number of groups then. Each pair has
/// the rewards of its own answers, and the gradient that its rejected answer causes.
///
/// Pairs of weight 0 are left out of their group. The others of one group have one weight:
/// [`Error::InvalidValue`] names the first that differs. Where one log-prob of a group is not
/// finite, all pairs of the group are NaN.
///
/// # Example
/// ```
/// use dpo_kernel::{loss::*, *};
/// // Sequence 0 is preferred to 1 and to 2.
/// let policy = [-20.5, -25.25, -24.0].map(|sum| SequenceLogProb { sum, count: 8 });
/// let reference = Reference::Sums(&[-21.0, -24.5, -25.0]);
/// let pairs = [Pair::new(0, 1), Pair::new(0, 2)];
/// let batch = PairBatch::new(&pairs, &policy, reference, 1.0);
/// let (mut losses, mut d_log_probs) = ([PairLoss::default(); 2], [0.0; 3]);
/// let out = PairOut::new(&mut losses, &mut d_log_probs);
/// preference_loss(SoftmaxDpo::new(0.1)?, &batch, out)?;
/// // x is −0.125 and 0.05.
/// let odds = (-0.125_f64).exp() + 0.05_f64.exp();
/// assert!((losses[0].loss - odds.ln_1p()).abs() < 1e-15 && losses[1].loss == 0.0);
/// assert!((d_log_probs[0] + 0.1 * odds / (1.0 + odds)).abs() < 1e-15);
/// # Ok::<(), Error>(())
/// ```
#[doc(alias = "S-DPO")]
#[doc(alias = "Plackett-Luce")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxDpo {
    beta: f64,
}

impl SoftmaxDpo {
    /// S-DPO.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        Ok(Self { beta: Parameter::Beta.positive(beta)? })
    }

    /// x of a pair: minus the preference logit of DPO.
    fn score(self, pair: &PairLogProbs) -> f64 {
        let (a, b) = pair.log_ratios();
        -(self.beta * (a - b) - pair.offset)
    }

    /// The losses of the group that starts with pair `first`.
    fn evaluate_group(self, batch: &PairBatch<'_>, first: usize, losses: &mut [PairLoss]) {
        let pairs = || (first..).take(losses.len()).map(|i| batch.pair(i));
        let scores = || pairs().filter(is_present).map(|pair| self.score(&pair));
        let log_sum = log_sum_exp(scores);
        let all = sigmoid(log_sum);
        let is_finite = scores().all(f64::is_finite);
        let mut value = softplus(log_sum);
        for (i, to) in (first..).zip(losses) {
            let pair = batch.pair(i);
            *to = if !is_present(&pair) {
                PairLoss::default()
            } else if is_finite {
                let d = self.beta * (all * libm::exp(self.score(&pair) - log_sum));
                let loss = core::mem::take(&mut value);
                PairLoss::of_log_ratios(self.beta, pair.log_ratios(), loss, (-d, d)).of(&pair)
            } else {
                PairLoss::NAN
            };
        }
    }
}

/// A pair of weight 0 is as if it were not there.
fn is_present(pair: &PairLogProbs) -> bool {
    pair.weight.is_nan() || pair.weight.abs() > 0.0
}

/// log Σ e^x; x itself, if it is the only one.
fn log_sum_exp<I: Iterator<Item = f64>>(scores: impl Fn() -> I) -> f64 {
    let largest = scores().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores().map(|x| libm::exp(x - largest)).sum();
    largest + libm::log(sum)
}

/// How many pairs the group that starts with pair `first` has: those up to the next pair that is
/// there and of another chosen answer.
fn group_len(batch: &PairBatch<'_>, first: usize) -> usize {
    let pairs = || batch.pairs.iter().enumerate().skip(first);
    let is_there = |i: usize| !is_left_out(batch.weights, i);
    let chosen = pairs().find(|&(i, _)| is_there(i)).map(|(_, pair)| pair.chosen);
    pairs().take_while(|&(i, pair)| !is_there(i) || Some(pair.chosen) == chosen).count()
}

impl BatchLoss for SoftmaxDpo {
    fn inputs(&self, _: Option<&[f32]>) -> Inputs {
        Inputs { reference: true, tokens: false, offsets: true }
    }

    fn check(&self, pairs: &[Pair], weights: Option<&[f32]>) -> Result<(), Error> {
        // The chosen sequence of the group so far, and the weight of its pairs.
        let mut group: Option<(usize, f32)> = None;
        let weighted = pairs.iter().zip(weights.unwrap_or_default()).enumerate();
        for (index, (pair, &weight)) in weighted.filter(|(i, _)| !is_left_out(weights, *i)) {
            match group {
                Some((chosen, known)) if chosen == pair.chosen => {
                    if known.to_bits() != weight.to_bits() {
                        let (buffer, value) = (Buffer::PairWeights, f64::from(weight));
                        return Err(Error::InvalidValue { buffer, index, value });
                    }
                }
                _ => group = Some((pair.chosen, weight)),
            }
        }
        Ok(())
    }

    fn evaluate_all(self, batch: &PairBatch<'_>, losses: &mut [PairLoss]) {
        let (mut first, mut left) = (0, losses);
        while !left.is_empty() {
            let len = group_len(batch, first).max(1);
            let (group, rest) = left.split_at_mut(len.min(left.len()));
            self.evaluate_group(batch, first, group);
            (first, left) = (first + len, rest);
        }
    }
}

impl FromOptions for SoftmaxDpo {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(0.1))
    }
}
