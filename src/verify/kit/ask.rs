//! Asks a backend: one call, its outputs dirty before it.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::call::{Answer, Call, Given, HeadGiven, PairsGiven, RowsGiven};
use super::{Backend, Output, RowOut, Unscored};
use crate::Element;
use crate::verify::PairResult;

/// What outputs hold before a call: NaN shows that nothing was written, a number that something was
/// added to it. All formats hold both.
const DIRT: [f64; 2] = [f64::NAN, 1216.0];

/// Something written where nothing was to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stray {
    pub(super) output: Output,
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) found: f64,
    /// Past the vocabulary, rather than in a row that is not scored.
    pub(super) in_padding: bool,
}

/// What is to stand where nothing is scored.
#[derive(Clone, Copy)]
struct Rest {
    before: f64,
    unscored: Unscored,
}

impl Rest {
    fn is_stray(self, found: f64, in_padding: bool) -> bool {
        // Formats have NaNs of their own; a number is kept as it is.
        let kept = found == self.before || (found.is_nan() && self.before.is_nan());
        match self.unscored {
            Unscored::Zero if !in_padding => found != 0.0 && !kept,
            Unscored::Zero | Unscored::Untouched => !kept,
        }
    }
}

/// The answer to a call, and what was written beside it.
pub(super) type Asked = Result<(Answer, Vec<Stray>), String>;

/// The `count`-th call of a run.
pub(super) fn ask<B: Backend>(backend: &mut B, call: &Call<B::Element>, count: usize) -> Asked {
    let before = DIRT.get(count % DIRT.len()).copied().unwrap_or(f64::NAN);
    match &call.given {
        Given::Rows(rows) => ask_rows(backend, rows, before),
        Given::Pairs(pairs) => ask_pairs(backend, pairs, before),
        Given::Head(head) => ask_head(backend, head, before),
    }
}

/// The buffers of a forward.
struct Forward {
    figures: [Vec<f64>; 5],
    argmax: Vec<u32>,
}

/// No vocabulary has it.
const NO_COLUMN: u32 = 0xdead_beef;

impl Forward {
    fn new(rows: usize, before: f64) -> Self {
        Self {
            figures: core::array::from_fn(|_| vec![before; rows]),
            argmax: vec![NO_COLUMN; rows],
        }
    }

    fn out(&mut self) -> RowOut<'_> {
        let [log_probs, log_z, entropy, mean_logit, log_sum_sq_probs] = &mut self.figures;
        let argmax = &mut self.argmax;
        RowOut { log_probs, log_z, entropy, argmax, mean_logit, log_sum_sq_probs }
    }
}

const FORWARD: [Output; 6] = [
    Output::LogProb,
    Output::LogZ,
    Output::Entropy,
    Output::MeanLogit,
    Output::LogSumSqProbs,
    Output::Argmax,
];

fn ask_rows<B: Backend>(backend: &mut B, given: &RowsGiven<B::Element>, before: f64) -> Asked {
    let (offers, unscored) = (backend.offers().to_vec(), backend.unscored());
    let offered = |output: Output| offers.contains(&output);
    let rest = Rest { before, unscored };
    let mut answer = Answer { before, ..Answer::default() };
    let mut strays = Vec::new();
    if FORWARD.into_iter().any(offered) {
        let mut forward = Forward::new(given.rows(), before);
        let called = backend.token_log_probs(&given.view(), &mut forward.out());
        called.map_err(|error| error.to_string())?;
        let Forward { figures: [log_probs, log_z, entropy, mean_logit, log_sum_sq], argmax } =
            forward;
        let argmax = argmax
            .into_iter()
            .map(|column| if column == NO_COLUMN { before } else { column.into() });
        let argmax: Vec<f64> = argmax.collect();
        let lists = [log_probs, log_z, entropy, mean_logit, log_sum_sq, argmax];
        for (output, list) in FORWARD.into_iter().zip(lists).filter(|&(output, _)| offered(output))
        {
            add_strays(&mut strays, output, &given.view().targets_scored(), &list, rest);
            *answer.list_mut(output) = Some(list);
        }
    }
    if offered(Output::LogitGrads) {
        // A buffer of zeros costs nothing where nobody looks.
        let dirt = if given.logits.len() > 1 << 30 { 0.0 } else { before };
        #[allow(clippy::cast_possible_truncation, reason = "all formats hold it")]
        let dirt = B::Element::from_f32(dirt as f32);
        let zeros = vec![B::Element::ZERO; given.logits.len()];
        let mut grads = zeros;
        if dirt.to_f32() != 0.0 {
            grads.fill(dirt);
        }
        let called = backend.logit_grads(&given.view(), &given.coefficients, &mut grads);
        called.map_err(|error| error.to_string())?;
        let mut kept = Vec::new();
        for (row, found) in grads.chunks(given.stride.max(1)).enumerate() {
            let scored = given.view().is_scored(row);
            let width = if scored { given.vocab } else { 0 };
            kept.extend(found.iter().take(given.vocab).map(|x| f64::from(x.to_f32())));
            let rest = Rest { before: dirt.to_f32().into(), unscored };
            let written = |&(column, x): &(usize, &B::Element)| {
                rest.is_stray(x.to_f32().into(), column >= given.vocab)
            };
            if let Some((column, x)) = found.iter().enumerate().skip(width).find(written) {
                strays.push(Stray {
                    output: Output::LogitGrads,
                    row,
                    column,
                    found: x.to_f32().into(),
                    in_padding: column >= given.vocab,
                });
            }
        }
        answer.grads = Some(kept);
    }
    Ok((answer, strays))
}

fn ask_pairs<B: Backend>(backend: &mut B, given: &PairsGiven, before: f64) -> Asked {
    let mut answer = Answer { before, ..Answer::default() };
    if backend.offers().contains(&Output::PairLoss) {
        let dirty = PairResult {
            loss: before,
            reward_chosen: before,
            reward_rejected: before,
            margin: before,
            d_chosen: before,
            d_rejected: before,
        };
        let mut out = vec![dirty; given.log_probs.len()];
        backend.pair_loss(&given.view(), &mut out).map_err(|error| error.to_string())?;
        answer.pairs = Some(out);
    }
    Ok((answer, Vec::new()))
}

fn ask_head<B: Backend>(backend: &mut B, given: &HeadGiven<B::Element>, before: f64) -> Asked {
    let (offers, unscored) = (backend.offers().to_vec(), backend.unscored());
    let offered = |output: Output| offers.contains(&output);
    let rest = Rest { before, unscored };
    let view = given.view();
    let scored: Vec<bool> = given.targets.iter().map(|&target| target != given.ignore).collect();
    let mut answer = Answer { before, ..Answer::default() };
    let mut strays = Vec::new();
    if offered(Output::HeadLogProb) || offered(Output::HeadLogZ) {
        let mut forward = Forward::new(scored.len(), before);
        backend.head(&view, &mut forward.out()).map_err(|error| error.to_string())?;
        let [log_probs, log_z, ..] = forward.figures;
        let lists = [(Output::HeadLogProb, log_probs), (Output::HeadLogZ, log_z)];
        for (output, list) in lists.into_iter().filter(|&(output, _)| offered(output)) {
            add_strays(&mut strays, output, &scored, &list, rest);
            *answer.list_mut(output) = Some(list);
        }
    }
    if offered(Output::HiddenGrads) {
        let mut grads = vec![before; scored.len() * given.hidden_size];
        let called = backend.hidden_grads(&view, &given.coefficients, &mut grads);
        called.map_err(|error| error.to_string())?;
        let rows = grads.chunks(given.hidden_size.max(1)).zip(&scored);
        for (row, (found, _)) in rows.enumerate().filter(|(_, (_, scored))| !**scored) {
            let written = |&(_, &x): &(usize, &f64)| rest.is_stray(x, false);
            if let Some((column, &found)) = found.iter().enumerate().find(written) {
                let output = Output::HiddenGrads;
                strays.push(Stray { output, row, column, found, in_padding: false });
            }
        }
        answer.grads = Some(grads);
    }
    Ok((answer, strays))
}

/// Figures of rows that are not scored, where something was written.
fn add_strays(strays: &mut Vec<Stray>, output: Output, scored: &[bool], list: &[f64], rest: Rest) {
    let rows = list.iter().zip(scored).enumerate();
    for (row, (&found, _)) in rows.filter(|(_, (_, scored))| !**scored) {
        if rest.is_stray(found, false) {
            strays.push(Stray { output, row, column: 0, found, in_padding: false });
        }
    }
}
