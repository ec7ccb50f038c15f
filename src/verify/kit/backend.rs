//! What a backend is asked, and how it answers.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Call, Precision};
use crate::Element;
use crate::verify::{Dpo, PairLogProbs, PairResult, Transform};

/// A batch of rows of logits: row t scores `targets[t]`.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, E> {
    /// R rows, `stride` apart: R · S elements. What lies past the vocabulary, and rows of the ignore
    /// target, may hold NaN: they are not to be read.
    pub logits: &'a [E],
    /// R
    pub rows: usize,
    /// V
    pub vocab: usize,
    /// S ≥ V, in elements.
    pub stride: usize,
    /// `y = softcap(scale · x)/temperature`, with parameters that f32 holds exactly.
    pub transform: Transform,
    /// R ids below V, or the ignore target.
    pub targets: &'a [u32],
    /// The target of rows that are not scored.
    pub ignore: u32,
}

impl<E> Rows<'_, E> {
    /// Whether a row is scored.
    #[must_use]
    pub fn is_scored(&self, row: usize) -> bool {
        self.targets.get(row).is_some_and(|&target| target != self.ignore)
    }

    /// The same of all rows.
    pub(super) fn targets_scored(&self) -> Vec<bool> {
        self.targets.iter().map(|&target| target != self.ignore).collect()
    }
}

/// Where the figures of rows go: R numbers each, exactly what was found, widened to f64.
///
/// What a backend does not offer it leaves alone. Nothing is to be written for rows that are not
/// scored, or zeros, as [`Backend::unscored`] says.
#[derive(Debug)]
pub struct RowOut<'a> {
    /// log p of the target.
    pub log_probs: &'a mut [f64],
    /// log Z
    pub log_z: &'a mut [f64],
    /// `H = −Σ p log p`, in nats.
    pub entropy: &'a mut [f64],
    /// The first column of the largest y.
    pub argmax: &'a mut [u32],
    /// `Σ y / V`
    pub mean_logit: &'a mut [f64],
    /// `log Σ p²`
    pub log_sum_sq_probs: &'a mut [f64],
}

/// Pairs of answers: the log-probs of both under policy and reference.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// β and ε.
    pub dpo: Dpo,
    /// P
    pub log_probs: &'a [PairLogProbs],
    /// P weights ≥ 0.
    pub weights: &'a [f64],
    /// P offsets, which the margin has to exceed.
    pub offsets: &'a [f64],
}

/// A head without logits: `x[t] = W h[t] + b`, then as [`Rows`].
#[derive(Clone, Copy, Debug)]
pub struct Head<'a, E> {
    /// R × H
    pub hidden: &'a [E],
    /// V × H
    pub weight: &'a [E],
    /// V, or none.
    pub bias: Option<&'a [E]>,
    /// R
    pub rows: usize,
    /// H
    pub hidden_size: usize,
    /// V
    pub vocab: usize,
    /// Of the logits.
    pub transform: Transform,
    /// R ids below V, or the ignore target. Hidden states of rows that are not scored may hold NaN.
    pub targets: &'a [u32],
    /// The target of rows that are not scored.
    pub ignore: u32,
}

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

/// A backend to test: kernels of another language, on another device.
///
/// It offers any subset of the [`Output`]s; the functions of what it does not offer are never
/// called, and need not be written. Each call is a batch, because launches cost. A call may fail:
/// the report then says of which case, and with what message.
pub trait Backend {
    /// How logits, hidden states and the gradients of logits are stored.
    type Element: Element;
    /// What a call fails with.
    type Error: fmt::Display;

    /// Name and version, for the report.
    fn name(&self) -> &str;

    /// What bounds follow from.
    fn precision(&self) -> Precision;

    /// What it can be asked for.
    fn offers(&self) -> &[Output];

    /// What it does to the outputs of rows that are not scored.
    fn unscored(&self) -> Unscored {
        Unscored::Untouched
    }

    /// Whether a call can be asked, before it is. One that is declined is listed in the report with
    /// the reason, and neither passed nor failed: a softcap that a library lacks, say.
    ///
    /// # Errors
    /// The reason.
    fn accepts(&mut self, call: &Call<Self::Element>) -> Result<(), String> {
        let _ = call;
        Ok(())
    }

    /// Log-probs, log Z and details of rows.
    ///
    /// # Errors
    /// What the backend's own calls fail with.
    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, Self::Element>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Self::Error> {
        let _ = (rows, out);
        Ok(())
    }

    /// `grads[t·S + j] = c[t] · ([j = target] − p[j]) · dy/dx[j]`, laid out as the logits. Columns
    /// past the vocabulary are left alone.
    ///
    /// # Errors
    /// What the backend's own calls fail with.
    fn logit_grads(
        &mut self,
        rows: &Rows<'_, Self::Element>,
        coefficients: &[f32],
        grads: &mut [Self::Element],
    ) -> Result<(), Self::Error> {
        let _ = (rows, coefficients, grads);
        Ok(())
    }

    /// The loss of pairs: `w · (softplus(−z) + ε z)` with `z = β[(πc − rc) − (πr − rr)] − offset`.
    ///
    /// # Errors
    /// What the backend's own calls fail with.
    fn pair_loss(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), Self::Error> {
        let _ = (pairs, out);
        Ok(())
    }

    /// Log-probs and log Z from hidden states.
    ///
    /// # Errors
    /// What the backend's own calls fail with.
    fn head(
        &mut self,
        head: &Head<'_, Self::Element>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Self::Error> {
        let _ = (head, out);
        Ok(())
    }

    /// `d_hidden[t·H + k] = Σ_j dx[t, j] · W[j, k]`, R × H numbers as found, widened to f64.
    ///
    /// # Errors
    /// What the backend's own calls fail with.
    fn hidden_grads(
        &mut self,
        head: &Head<'_, Self::Element>,
        coefficients: &[f32],
        d_hidden: &mut [f64],
    ) -> Result<(), Self::Error> {
        let _ = (head, coefficients, d_hidden);
        Ok(())
    }
}
