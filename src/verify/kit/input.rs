//! A call in f64, whatever it is stored in, and the figures of its rows.

use alloc::vec;
use alloc::vec::Vec;

use super::call::{Given, HeadGiven, PairsGiven, RowsGiven};
use super::{Format, Output};
use crate::Element;
use crate::verify::{self, PairResult, Transform};

/// What a call gives, exactly.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Rows(RowsInput),
    Pairs(PairsGiven),
    Head(HeadInput),
}

#[derive(Clone, Debug)]
pub(super) struct RowsInput {
    /// R · S
    pub(super) x: Vec<f64>,
    pub(super) vocab: usize,
    pub(super) stride: usize,
    pub(super) transform: Transform,
    pub(super) targets: Vec<u32>,
    pub(super) ignore: u32,
    pub(super) coefficients: Vec<f64>,
    pub(super) storage: Format,
}

#[derive(Clone, Debug)]
pub(super) struct HeadInput {
    pub(super) hidden: Vec<f64>,
    pub(super) weight: Vec<f64>,
    pub(super) bias: Option<Vec<f64>>,
    pub(super) hidden_size: usize,
    pub(super) vocab: usize,
    pub(super) transform: Transform,
    pub(super) targets: Vec<u32>,
    pub(super) ignore: u32,
    pub(super) coefficients: Vec<f64>,
    pub(super) storage: Format,
}

impl Input {
    pub(super) fn of<E: Element>(given: &Given<E>) -> Self {
        match given {
            Given::Rows(rows) => Self::Rows(RowsInput::of(rows)),
            Given::Pairs(pairs) => Self::Pairs(pairs.clone()),
            Given::Head(head) => Self::Head(HeadInput::of(head)),
        }
    }
}

fn wide<E: Element>(values: &[E]) -> Vec<f64> {
    values.iter().map(|x| f64::from(x.to_f32())).collect()
}

impl RowsInput {
    fn of<E: Element>(given: &RowsGiven<E>) -> Self {
        // Rows that lie far apart are brought together: what is between them nobody looks at.
        let far = given.logits.len() > 1 << 28;
        let stride = if far { given.vocab } else { given.stride };
        let x = if far {
            (0..given.rows()).flat_map(|row| wide(given.row(row))).collect()
        } else {
            wide(&given.logits)
        };
        Self {
            x,
            vocab: given.vocab,
            stride,
            transform: given.transform,
            targets: given.targets.clone(),
            ignore: given.ignore,
            coefficients: given.coefficients.iter().map(|&c| c.into()).collect(),
            storage: Format::of::<E>(),
        }
    }

    /// Where a row begins.
    pub(super) fn row_start(&self, row: usize) -> usize {
        row.saturating_mul(self.stride)
    }

    pub(super) fn rows(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn is_scored(&self, row: usize) -> bool {
        self.targets.get(row).is_some_and(|&target| target != self.ignore)
    }
}

impl HeadInput {
    fn of<E: Element>(given: &HeadGiven<E>) -> Self {
        Self {
            hidden: wide(&given.hidden),
            weight: wide(&given.weight),
            bias: given.bias.as_ref().map(|bias| wide(bias)),
            hidden_size: given.hidden_size,
            vocab: given.vocab,
            transform: given.transform,
            targets: given.targets.clone(),
            ignore: given.ignore,
            coefficients: given.coefficients.iter().map(|&c| c.into()).collect(),
            storage: Format::of::<E>(),
        }
    }

    pub(super) fn is_scored(&self, row: usize) -> bool {
        self.targets.get(row).is_some_and(|&target| target != self.ignore)
    }

    /// A row of hidden states.
    pub(super) fn hidden_row(&self, row: usize) -> &[f64] {
        let start = row.saturating_mul(self.hidden_size);
        self.hidden.get(start..).and_then(|h| h.get(..self.hidden_size)).unwrap_or_default()
    }

    pub(super) fn weight_row(&self, column: usize) -> &[f64] {
        let start = column.saturating_mul(self.hidden_size);
        self.weight.get(start..).and_then(|w| w.get(..self.hidden_size)).unwrap_or_default()
    }

    pub(super) fn bias_of(&self, column: usize) -> f64 {
        self.bias.as_ref().map_or(0.0, |bias| bias.get(column).copied().unwrap_or(f64::NAN))
    }

    /// x of a row, and Σ |h w| + |b| of each column.
    pub(super) fn logits(&self, row: usize) -> (Vec<f64>, Vec<f64>) {
        let h = self.hidden_row(row);
        let of = |column: usize| {
            let products = h.iter().zip(self.weight_row(column)).map(|(h, w)| h * w);
            let bias = self.bias_of(column);
            let size = products.clone().map(f64::abs).sum::<f64>() + bias.abs();
            (products.sum::<f64>() + bias, size)
        };
        (0..self.vocab).map(of).unzip()
    }
}

/// The figures of one row. NaN of a special kind stands for "anything": see [`ANY`].
#[derive(Clone, Debug, Default)]
pub(super) struct RowFigures {
    pub(super) log_prob: f64,
    pub(super) log_z: f64,
    pub(super) entropy: f64,
    pub(super) argmax: f64,
    pub(super) mean_logit: f64,
    pub(super) log_sum_sq_probs: f64,
    /// V of logits, H of hidden states.
    pub(super) grads: Vec<f64>,
}

/// A figure that may be anything.
pub(super) const ANY: f64 = f64::from_bits(0x7ff8_0000_0a11_0001);

pub(super) const fn is_any(x: f64) -> bool {
    x.to_bits() == ANY.to_bits()
}

impl RowFigures {
    pub(super) fn get(&self, output: Output, column: usize) -> f64 {
        match output {
            Output::LogProb | Output::HeadLogProb => self.log_prob,
            Output::LogZ | Output::HeadLogZ => self.log_z,
            Output::Entropy => self.entropy,
            Output::Argmax => self.argmax,
            Output::MeanLogit => self.mean_logit,
            Output::LogSumSqProbs => self.log_sum_sq_probs,
            Output::LogitGrads | Output::HiddenGrads => {
                self.grads.get(column).copied().unwrap_or(f64::NAN)
            }
            Output::PairLoss => f64::NAN,
        }
    }

    /// The reference's figures of a row x; the gradient where it is asked for.
    #[allow(clippy::cast_precision_loss, reason = "columns are below 2^53")]
    pub(super) fn of(
        x: &[f64],
        transform: &Transform,
        target: usize,
        coefficient: f64,
        wants: impl Fn(Output) -> bool,
    ) -> (Self, Vec<f64>) {
        let mut y = vec![f64::NAN; x.len()];
        verify::transform_row(x, transform, &mut y);
        let if_wanted = |output, of: &dyn Fn() -> f64| if wants(output) { of() } else { f64::NAN };
        let mut figures = Self {
            log_prob: verify::log_prob(&y, target),
            log_z: verify::log_sum_exp(&y),
            entropy: if_wanted(Output::Entropy, &|| verify::entropy(&y)),
            argmax: if_wanted(Output::Argmax, &|| {
                verify::argmax(&y).map_or(f64::NAN, |column| column as f64)
            }),
            mean_logit: if_wanted(Output::MeanLogit, &|| verify::mean_logit(&y)),
            log_sum_sq_probs: if_wanted(Output::LogSumSqProbs, &|| verify::log_sum_sq_probs(&y)),
            grads: Vec::new(),
        };
        if wants(Output::LogitGrads) || wants(Output::HiddenGrads) {
            figures.grads = vec![0.0; x.len()];
            if coefficient != 0.0 {
                verify::logit_grads(x, transform, target, coefficient, &mut figures.grads);
            }
        }
        (figures, y)
    }
}

/// Loss, rewards, margin and derivatives, in this order.
pub(super) const fn pair_figures(result: &PairResult) -> [f64; 6] {
    let &PairResult { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = result;
    [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected]
}
