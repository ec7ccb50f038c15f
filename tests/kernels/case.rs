//! Whole batches, for the kernels and for the reference.

use dpo_kernel::verify::{self, Batch, IGNORE_INDEX};
use dpo_kernel::{
    Dispatch, Dpo, Error, GradBatch, Logits, LogitsMut, Pair, PairBatch, PairLoss, PairOut,
    Reference, RowNorm, SequenceLogProb, Span, StepBatch, StepScratch, Summary, Targets, TokenOut,
    logit_grads, preference_loss, preference_step, sequence_log_probs, token_log_probs,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::rows::{Params, Store, stored, widen};

pub const SEQUENCES: usize = 3;

/// A batch with f32 logits. Padding columns and rows that are not scored hold NaN.
#[derive(Clone, Debug)]
pub struct Case {
    pub logits: Vec<f32>,
    pub vocab: usize,
    pub stride: usize,
    pub params: Params,
    pub targets: Vec<u32>,
    pub token_weights: Option<Vec<f32>>,
    pub spans: Vec<(usize, usize)>,
    pub pairs: Vec<(usize, usize)>,
    pub reference: Vec<f64>,
    pub weights: Option<Vec<f32>>,
    pub offsets: Option<Vec<f32>>,
    pub beta: f64,
    pub label_smoothing: f64,
    pub divisor: f64,
}

/// What a step leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub summary: Summary,
    pub log_probs: Vec<f32>,
    pub sequences: Vec<SequenceLogProb>,
    pub d_log_probs: Vec<f64>,
    pub losses: Vec<PairLoss>,
    /// The gradients, widened; NaN where nothing was written.
    pub grads: Vec<f64>,
}

impl Case {
    pub fn rows(&self) -> usize {
        self.targets.len()
    }

    pub fn dpo(&self) -> Dpo {
        Dpo::new(self.beta).unwrap().with_label_smoothing(self.label_smoothing).unwrap()
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.iter().map(|&(start, end)| Span::new(start, end)).collect()
    }

    fn pairs(&self) -> Vec<Pair> {
        self.pairs.iter().map(|&(chosen, rejected)| Pair::new(chosen, rejected)).collect()
    }

    /// [`preference_step`].
    pub fn step<E: Store>(&self, dispatch: Dispatch) -> Result<Found, Error> {
        let mut logits: Vec<E> = stored(&self.logits);
        let (targets, spans, pairs) = (&self.targets, self.spans(), self.pairs());
        let mut batch = StepBatch::new(
            Targets::new(targets),
            &spans,
            &pairs,
            Reference::Sums(&self.reference),
            self.divisor,
        );
        if let Some(weights) = &self.weights {
            batch = batch.with_weights(weights);
        }
        if let Some(offsets) = &self.offsets {
            batch = batch.with_offsets(offsets);
        }
        if let Some(token_weights) = &self.token_weights {
            batch = batch.with_token_weights(token_weights);
        }
        let (rows, n) = (self.rows(), spans.len());
        let mut log_probs = vec![f32::NAN; rows];
        let mut norms = vec![RowNorm::default(); rows];
        let mut sequences = vec![SequenceLogProb::default(); n];
        let mut d_log_probs = vec![f64::NAN; n];
        let mut losses = vec![PairLoss::default(); pairs.len()];
        let scratch = StepScratch {
            log_probs: &mut log_probs,
            norms: &mut norms,
            sequences: &mut sequences,
            d_log_probs: &mut d_log_probs,
            losses: &mut losses,
            nll: None,
        };
        let view = LogitsMut::with_stride(&mut logits, rows, self.vocab, self.stride)?
            .with_transform(self.params.kernel());
        let summary = preference_step(dispatch, &self.dpo(), view, &batch, scratch)?;
        let grads = widen(&logits);
        Ok(Found { summary, log_probs, sequences, d_log_probs, losses, grads })
    }

    /// The stages one by one, gradients apart into f32.
    pub fn stages<E: Store>(&self, dispatch: Dispatch) -> Result<Found, Error> {
        let logits: Vec<E> = stored(&self.logits);
        let (rows, spans, pairs) = (self.rows(), self.spans(), self.pairs());
        let targets = Targets::new(&self.targets);
        let view = Logits::with_stride(&logits, rows, self.vocab, self.stride)?
            .with_transform(self.params.kernel());
        let mut log_probs = vec![f32::NAN; rows];
        let mut norms = vec![RowNorm::default(); rows];
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        token_log_probs(dispatch, view, targets, &spans, out)?;
        let mut sequences = vec![SequenceLogProb::default(); spans.len()];
        let token_weights = self.token_weights.as_deref();
        sequence_log_probs(&log_probs, targets, &spans, token_weights, &mut sequences)?;
        let mut losses = vec![PairLoss::default(); pairs.len()];
        let mut d_log_probs = vec![f64::NAN; spans.len()];
        let reference = Reference::Sums(&self.reference);
        let mut batch = PairBatch::new(&pairs, &sequences, reference, self.divisor);
        if let Some(weights) = &self.weights {
            batch = batch.with_weights(weights);
        }
        if let Some(offsets) = &self.offsets {
            batch = batch.with_offsets(offsets);
        }
        let out = PairOut { losses: &mut losses, d_log_probs: &mut d_log_probs };
        let summary = preference_loss(&self.dpo(), &batch, out)?;
        let mut batch = GradBatch::new(targets, &spans, &norms, &d_log_probs);
        if let Some(token_weights) = token_weights {
            batch = batch.with_token_weights(token_weights);
        }
        let mut grads = vec![f32::NAN; logits.len()];
        let to = LogitsMut::with_stride(&mut grads, rows, self.vocab, self.stride)?;
        logit_grads(dispatch, view, &batch, to)?;
        let grads = widen(&grads);
        Ok(Found { summary, log_probs, sequences, d_log_probs, losses, grads })
    }

    /// The reference's view of what E holds of the logits.
    pub fn with_exact<E: Store, T>(&self, look: impl FnOnce(&Batch<'_>) -> T) -> T {
        let logits = widen(&stored::<E>(&self.logits));
        let wide = |x: &Option<Vec<f32>>| x.as_ref().map(|x| widen(x));
        let (token_weights, weights) = (wide(&self.token_weights), wide(&self.weights));
        let offsets = wide(&self.offsets);
        look(&Batch {
            logits: &logits,
            vocab: self.vocab,
            stride: self.stride,
            transform: self.params.exact(),
            targets: &self.targets,
            ignore: IGNORE_INDEX,
            token_weights: token_weights.as_deref(),
            spans: &self.spans,
            pairs: &self.pairs,
            reference: &self.reference,
            pair_weights: weights.as_deref(),
            pair_offsets: offsets.as_deref(),
            dpo: verify::Dpo { beta: self.beta, label_smoothing: self.label_smoothing },
            divisor: self.divisor,
        })
    }

    /// An upper bound of all gradients.
    pub fn largest_grad(&self) -> f64 {
        let pairs: f64 = match &self.weights {
            Some(weights) => weights.iter().copied().map(f64::from).sum(),
            None => self.pairs.len() as f64,
        };
        let slope = f64::from(self.params.scale) / f64::from(self.params.temperature);
        2.0 * pairs * self.beta * slope / self.divisor
    }

    /// Whether a row is scored.
    pub fn scored(&self, row: usize) -> bool {
        let inside = self.spans.iter().any(|&(start, end)| (start..end).contains(&row));
        inside && self.targets[row] != IGNORE_INDEX
    }
}

/// Batches of up to `max_vocab` columns; every span has a scored row.
pub fn cases(max_vocab: usize) -> impl Strategy<Value = Case> {
    (1..=max_vocab, 0..=3_usize, 1..=3_usize).prop_flat_map(|(vocab, padding, length)| {
        let (rows, stride) = (SEQUENCES * length, vocab + padding);
        let sequence = 0..SEQUENCES;
        let pair = (sequence.clone(), sequence).prop_filter("two answers", |(c, r)| c != r);
        let last_target = u32::try_from(vocab - 1).unwrap();
        let transform = prop_oneof![
            Just(Params::NONE),
            (0.25..2.0_f32, proptest::option::of(2.0..30.0_f32), 0.5..2.0_f32)
                .prop_map(|(scale, softcap, temperature)| Params { scale, softcap, temperature }),
        ];
        let logits = (vec(-6.0..6.0_f32, rows * stride), transform);
        let tokens = (
            vec(prop_oneof![4 => 0..=last_target, 1 => Just(IGNORE_INDEX)], rows),
            proptest::option::of(vec(0.0..=1.0_f32, rows)),
            vec(-10.0..0.0, SEQUENCES),
        );
        let pairs = vec(pair, 1..=3).prop_flat_map(|pairs| {
            let n = pairs.len();
            let options = (
                proptest::option::of(vec(0.0..=2.0_f32, n)),
                proptest::option::of(vec(-0.5..=0.5_f32, n)),
            );
            (Just(pairs), options, 0.05..1.0, 0.0..=0.5, 1.0..8.0)
        });
        (logits, tokens, pairs).prop_map(move |(logits, tokens, pairs)| {
            let ((mut logits, params), (mut targets, token_weights, reference)) = (logits, tokens);
            let (pairs, (weights, offsets), beta, label_smoothing, divisor) = pairs;
            for first in (0..rows).step_by(length) {
                if targets[first..first + length].iter().all(|&t| t == IGNORE_INDEX) {
                    targets[first] = last_target;
                }
            }
            for (i, x) in logits.iter_mut().enumerate() {
                let (row, column) = (i / stride, i % stride);
                if column >= vocab || targets[row] == IGNORE_INDEX {
                    *x = f32::NAN;
                } else if *x < -5.0 && usize::try_from(targets[row]) != Ok(column) {
                    *x = f32::NEG_INFINITY;
                }
            }
            let spans = (0..SEQUENCES).map(|i| (i * length, (i + 1) * length)).collect();
            Case {
                logits,
                vocab,
                stride,
                params,
                targets,
                token_weights,
                spans,
                pairs,
                reference,
                weights,
                offsets,
                beta,
                label_smoothing,
                divisor,
            }
        })
    })
}

/// Runs a property on so many random cases and panics with the smallest that fails.
pub fn holds<S: Strategy>(
    cases: u32,
    strategy: S,
    check: impl Fn(&S::Value) -> Result<(), String>,
) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let result = proptest::test_runner::TestRunner::new(config)
        .run(&strategy, |case| check(&case).map_err(TestCaseError::fail));
    if let Err(why) = result {
        panic!("{why}");
    }
}
