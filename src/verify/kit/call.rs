//! A call of a backend, owned: what it is given, and what it answered.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Head, Output, Pairs, Rows};
use crate::Element;
use crate::verify::{Dpo, PairLogProbs, PairResult, Transform};

/// One call of a backend.
#[derive(Clone, Debug)]
pub struct Call<E> {
    /// Its place among the calls of a plan, as `rows-0007`.
    pub name: String,
    /// What is special about the input, in words.
    pub input: String,
    /// What is given.
    pub given: Given<E>,
}

/// What a backend is given in a call.
#[derive(Clone, Debug)]
pub enum Given<E> {
    /// Rows of logits, forward and backward.
    Rows(RowsGiven<E>),
    /// Pairs of answers.
    Pairs(PairsGiven),
    /// A head, forward and backward.
    Head(HeadGiven<E>),
}

impl<E: Element> Given<E> {
    /// What the call can be asked for.
    #[must_use]
    pub const fn outputs(&self) -> &'static [Output] {
        match self {
            Self::Rows(_) => &[
                Output::LogProb,
                Output::LogZ,
                Output::Entropy,
                Output::Argmax,
                Output::MeanLogit,
                Output::LogSumSqProbs,
                Output::LogitGrads,
            ],
            Self::Pairs(_) => &[Output::PairLoss],
            Self::Head(_) => &[Output::HeadLogProb, Output::HeadLogZ, Output::HiddenGrads],
        }
    }

    /// Whether a row is scored; pairs are.
    pub(super) fn is_scored(&self, row: usize) -> bool {
        match self {
            Self::Rows(rows) => rows.view().is_scored(row),
            Self::Pairs(_) => true,
            Self::Head(head) => head.targets.get(row).is_some_and(|&target| target != head.ignore),
        }
    }

    /// The figures of a row or a pair.
    pub(super) const fn width(&self, output: Output) -> usize {
        match (self, output) {
            (Self::Rows(rows), Output::LogitGrads) => rows.vocab,
            (Self::Head(head), Output::HiddenGrads) => head.hidden_size,
            (Self::Pairs(_), _) => 6,
            _ => 1,
        }
    }
}

/// Rows of logits, with one coefficient each: [`Rows`], owned.
#[derive(Clone, Debug)]
pub struct RowsGiven<E> {
    /// R · S
    pub logits: Vec<E>,
    /// V
    pub vocab: usize,
    /// S
    pub stride: usize,
    /// Of the logits.
    pub transform: Transform,
    /// R
    pub targets: Vec<u32>,
    /// The target of rows that are not scored.
    pub ignore: u32,
    /// ∂L/∂log p of each row.
    pub coefficients: Vec<f32>,
}

impl<E: Element> RowsGiven<E> {
    /// R
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.targets.len()
    }

    /// As backends see it.
    #[must_use]
    pub fn view(&self) -> Rows<'_, E> {
        Rows {
            logits: &self.logits,
            rows: self.targets.len(),
            vocab: self.vocab,
            stride: self.stride,
            transform: self.transform,
            targets: &self.targets,
            ignore: self.ignore,
        }
    }

    /// The logits of a row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[E] {
        let start = row.saturating_mul(self.stride);
        self.logits.get(start..).and_then(|rows| rows.get(..self.vocab)).unwrap_or_default()
    }
}

/// Pairs of answers: [`Pairs`], owned.
#[derive(Clone, Debug)]
pub struct PairsGiven {
    /// β and ε.
    pub dpo: Dpo,
    /// P
    pub log_probs: Vec<PairLogProbs>,
    /// P
    pub weights: Vec<f64>,
    /// P
    pub offsets: Vec<f64>,
}

impl PairsGiven {
    /// As backends see it.
    #[must_use]
    pub fn view(&self) -> Pairs<'_> {
        Pairs {
            dpo: self.dpo,
            log_probs: &self.log_probs,
            weights: &self.weights,
            offsets: &self.offsets,
        }
    }
}

/// A head with its hidden states, and one coefficient a row: [`Head`], owned.
#[derive(Clone, Debug)]
pub struct HeadGiven<E> {
    /// R × H
    pub hidden: Vec<E>,
    /// V × H
    pub weight: Vec<E>,
    /// V
    pub bias: Option<Vec<E>>,
    /// H
    pub hidden_size: usize,
    /// V
    pub vocab: usize,
    /// Of the logits.
    pub transform: Transform,
    /// R
    pub targets: Vec<u32>,
    /// The target of rows that are not scored.
    pub ignore: u32,
    /// ∂L/∂log p of each row.
    pub coefficients: Vec<f32>,
}

impl<E: Element> HeadGiven<E> {
    /// As backends see it.
    #[must_use]
    pub fn view(&self) -> Head<'_, E> {
        Head {
            hidden: &self.hidden,
            weight: &self.weight,
            bias: self.bias.as_deref(),
            rows: self.targets.len(),
            hidden_size: self.hidden_size,
            vocab: self.vocab,
            transform: self.transform,
            targets: &self.targets,
            ignore: self.ignore,
        }
    }
}

/// What a backend answered to a call; None is what it does not offer.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// R, log p of targets.
    pub(super) log_probs: Option<Vec<f64>>,
    /// R
    pub(super) log_z: Option<Vec<f64>>,
    /// R
    pub(super) entropy: Option<Vec<f64>>,
    /// R
    pub(super) argmax: Option<Vec<f64>>,
    /// R
    pub(super) mean_logit: Option<Vec<f64>>,
    /// R
    pub(super) log_sum_sq_probs: Option<Vec<f64>>,
    /// R × V without what lies past the vocabulary, or R × H of a head.
    pub(super) grads: Option<Vec<f64>>,
    /// P
    pub(super) pairs: Option<Vec<PairResult>>,
    /// What outputs held before the call.
    pub(super) before: f64,
}

impl Answer {
    /// Where the figures of an output stand; those of pairs and gradients apart.
    pub(super) fn list_mut(&mut self, output: Output) -> &mut Option<Vec<f64>> {
        match output {
            Output::LogProb | Output::HeadLogProb => &mut self.log_probs,
            Output::LogZ | Output::HeadLogZ => &mut self.log_z,
            Output::Entropy => &mut self.entropy,
            Output::Argmax => &mut self.argmax,
            Output::MeanLogit => &mut self.mean_logit,
            Output::LogSumSqProbs => &mut self.log_sum_sq_probs,
            Output::LogitGrads | Output::HiddenGrads | Output::PairLoss => &mut self.grads,
        }
    }

    /// R, where a figure of each row is offered.
    pub(super) fn rows(&self) -> usize {
        let lists = [&self.log_probs, &self.log_z, &self.entropy, &self.argmax];
        lists.into_iter().flatten().map(Vec::len).max().unwrap_or(0)
    }

    /// The figures of an output, but for those of pairs.
    pub(super) fn list(&self, output: Output) -> &[f64] {
        let list = match output {
            Output::LogProb | Output::HeadLogProb => &self.log_probs,
            Output::LogZ | Output::HeadLogZ => &self.log_z,
            Output::Entropy => &self.entropy,
            Output::Argmax => &self.argmax,
            Output::MeanLogit => &self.mean_logit,
            Output::LogSumSqProbs => &self.log_sum_sq_probs,
            Output::LogitGrads | Output::HiddenGrads => &self.grads,
            Output::PairLoss => return &[],
        };
        list.as_deref().unwrap_or_default()
    }
}
