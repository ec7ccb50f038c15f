//! What a backend can be asked for.

use core::fmt;

/// What a backend can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Output {
    /// Log-probs of targets, from logits.
    LogProb,
    /// log Z, from logits.
    LogZ,
    /// The entropy of a row.
    Entropy,
    /// The first largest column of a row.
    Argmax,
    /// The mean of a row.
    MeanLogit,
    /// `log Σ p²` of a row.
    LogSumSqProbs,
    /// Gradients of logits, from one coefficient a row.
    LogitGrads,
    /// The loss of pairs, their rewards and derivatives.
    PairLoss,
    /// Log-probs of targets, from hidden states.
    HeadLogProb,
    /// log Z, from hidden states.
    HeadLogZ,
    /// Gradients of hidden states.
    HiddenGrads,
}

impl Output {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::LogProb,
        Self::LogZ,
        Self::Entropy,
        Self::Argmax,
        Self::MeanLogit,
        Self::LogSumSqProbs,
        Self::LogitGrads,
        Self::PairLoss,
        Self::HeadLogProb,
        Self::HeadLogZ,
        Self::HiddenGrads,
    ];

    /// As reports and `answers.json` spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogProb => "log_prob",
            Self::LogZ => "log_z",
            Self::Entropy => "entropy",
            Self::Argmax => "argmax",
            Self::MeanLogit => "mean_logit",
            Self::LogSumSqProbs => "log_sum_sq_probs",
            Self::LogitGrads => "logit_grads",
            Self::PairLoss => "pair_loss",
            Self::HeadLogProb => "head_log_prob",
            Self::HeadLogZ => "head_log_z",
            Self::HiddenGrads => "hidden_grads",
        }
    }

    /// The output of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|output| output.name() == name)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of the outputs of rows that are not scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unscored {
    /// They keep what they held.
    Untouched,
    /// They are 0, or keep what they held.
    Zero,
}
