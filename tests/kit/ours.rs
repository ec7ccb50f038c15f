//! The crate itself as a backend: every dispatch, every type.

use std::marker::PhantomData;

use dpo_kernel::gradient::{GradBatch, logit_grads};
use dpo_kernel::row::{RowDetails, RowNorm, RowStats};
use dpo_kernel::verify::PairResult;
use dpo_kernel::verify::kit::{
    Additions, Backend, Difference, Format, Output, Pairs, Plan, Precision, RowOut, Rows, Target,
    Ulps, run,
};
use dpo_kernel::{
    Arithmetic, Dispatch, Dpo, Element, Error, Layout, Logits, LogitsMut, Pair, PairBatch,
    PairLoss, PairOut, Reference, SequenceLogProb, Span, Targets, TokenOut, Transform, bf16, f16,
    preference_loss, token_log_probs,
};

struct Ours<E> {
    dispatch: Dispatch,
    norms: Vec<RowNorm>,
    /// Of the last forward.
    log_z: Vec<f64>,
    element: PhantomData<E>,
}

/// What docs/numerics.md says: f32 in chains of 32 and a tree, the target apart.
const PRECISION: Precision = Precision {
    pair: Format::F64,
    exp: Ulps::new(1.5),
    additions: Additions::Chain(40),
    difference: Difference::Shifted,
    target: Target::Apart,
    ..Precision::new(Format::F32, Format::F32)
};

fn transform(of: dpo_kernel::verify::Transform) -> Transform {
    let dpo_kernel::verify::Transform { scale, softcap, temperature } = of;
    Transform::new(scale as f32, softcap.map(|c| c as f32), temperature as f32).unwrap()
}

/// Rows without probabilities are named, and all others are complete.
fn complete<T>(result: Result<T, Error>) -> Result<(), Error> {
    match result {
        Err(Error::NonFiniteRows { .. } | Error::NonFinitePairs { .. }) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Each scored row a sequence of its own.
fn spans(rows: &Rows<'_, impl Copy>) -> Vec<Span> {
    (0..rows.rows).filter(|&row| rows.is_scored(row)).map(|row| Span::new(row, row + 1)).collect()
}

impl<E: Element> Backend for Ours<E> {
    type Element = E;
    type Error = Error;

    fn name(&self) -> &str {
        "dpo-kernel"
    }

    fn precision(&self) -> Precision {
        PRECISION
    }

    fn offers(&self) -> &[Output] {
        &[
            Output::LogProb,
            Output::LogZ,
            Output::Entropy,
            Output::Argmax,
            Output::MeanLogit,
            Output::LogSumSqProbs,
            Output::LogitGrads,
            Output::PairLoss,
        ]
    }
    fn token_log_probs(&mut self, rows: &Rows<'_, E>, out: &mut RowOut<'_>) -> Result<(), Error> {
        let spans = spans(rows);
        let targets = Targets::new(rows.targets).with_ignore(rows.ignore);
        let layout = Layout::new(targets, &spans, rows.vocab)?;
        let logits = Logits::with_stride(rows.logits, rows.rows, rows.vocab, rows.stride)?
            .with_transform(transform(rows.transform));
        let mut log_probs = vec![f32::NAN; rows.rows];
        let mut norms = vec![RowNorm::default(); rows.rows];
        let mut details = vec![RowDetails::default(); rows.rows];
        let to = TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
        complete(token_log_probs(self.dispatch, logits, &layout, to))?;
        for row in spans.iter().map(|span| span.start) {
            out.log_probs[row] = log_probs[row].into();
            let mut stats = RowStats::<()>::new(logits.transform(), Some(rows.targets[row]));
            stats.fold(self.dispatch, logits.row(row), 0);
            out.log_z[row] = f64::from(stats.log_z() as f32);
            out.entropy[row] = details[row].entropy.into();
            out.argmax[row] = details[row].argmax;
            out.mean_logit[row] = details[row].mean_logit.into();
            out.log_sum_sq_probs[row] = details[row].log_sum_sq_probs.into();
        }
        self.norms = norms;
        self.log_z = out.log_z.to_vec();
        Ok(())
    }

    fn logit_grads(
        &mut self,
        rows: &Rows<'_, E>,
        coefficients: &[f32],
        grads: &mut [E],
    ) -> Result<(), Error> {
        // The crate refuses norms of rows that have none: their gradient is NaN, as their log-prob.
        let (spans, broken): (Vec<Span>, Vec<Span>) =
            spans(rows).into_iter().partition(|span| self.log_z[span.start].is_finite());
        for span in broken {
            grads[span.start * rows.stride..][..rows.vocab].fill(E::from_f32(f32::NAN));
        }
        let targets = Targets::new(rows.targets).with_ignore(rows.ignore);
        let layout = Layout::new(targets, &spans, rows.vocab)?;
        let logits = Logits::with_stride(rows.logits, rows.rows, rows.vocab, rows.stride)?
            .with_transform(transform(rows.transform));
        let wide: Vec<f64> = coefficients.iter().map(|&c| c.into()).collect();
        let to = LogitsMut::with_stride(grads, rows.rows, rows.vocab, rows.stride)?;
        let batch = GradBatch::new(&layout, &self.norms, &wide);
        complete(logit_grads(self.dispatch, logits, &batch, to))
    }

    fn pair_loss(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), Error> {
        let sums: Vec<SequenceLogProb> = pairs
            .log_probs
            .iter()
            .flat_map(|p| [p.policy_chosen, p.policy_rejected])
            .map(|sum| SequenceLogProb { sum, count: 1 })
            .collect();
        let reference: Vec<f64> = pairs
            .log_probs
            .iter()
            .flat_map(|p| [p.reference_chosen, p.reference_rejected])
            .collect();
        let weights: Vec<f32> = pairs.weights.iter().map(|&w| w as f32).collect();
        let offsets: Vec<f32> = pairs.offsets.iter().map(|&o| o as f32).collect();
        let list: Vec<Pair> = (0..out.len()).map(|i| Pair::new(2 * i, 2 * i + 1)).collect();
        let mut losses = vec![PairLoss::default(); out.len()];
        let mut d = vec![0.0; sums.len()];
        let batch = PairBatch::new(&list, &sums, Reference::Sums(&reference), 1.0)
            .with_weights(&weights)
            .with_offsets(&offsets);
        let dpo = Dpo::new(pairs.dpo.beta)?.with_label_smoothing(pairs.dpo.label_smoothing)?;
        preference_loss(&dpo, &batch, PairOut::new(&mut losses, &mut d))?;
        for (i, (out, loss)) in out.iter_mut().zip(&losses).enumerate() {
            *out = PairResult {
                loss: loss.loss,
                reward_chosen: loss.reward_chosen,
                reward_rejected: loss.reward_rejected,
                margin: loss.margin,
                d_chosen: d[2 * i],
                d_rejected: d[2 * i + 1],
            };
        }
        Ok(())
    }
}

fn is_clean<E: Element>(arithmetic: Arithmetic, seed: u64) {
    let mut dispatches = Dispatch::available().filter(|d| d.arithmetic() == arithmetic).peekable();
    // Only a processor without multiply-add has no fused arithmetic.
    let fused = Dispatch::available().any(|d| d.arithmetic() == Arithmetic::Fused);
    assert!(dispatches.peek().is_some() || (arithmetic == Arithmetic::Fused && !fused));
    for dispatch in dispatches {
        let mut ours =
            Ours::<E> { dispatch, norms: Vec::new(), log_z: Vec::new(), element: PhantomData };
        let report = run(&mut ours, Plan::new(seed));
        assert!(report.is_clean(), "{dispatch:?}\n{report}");
        assert!(report.causes.is_empty());
    }
}

#[test]
fn the_crate_is_clean() {
    for arithmetic in [Arithmetic::Fused, Arithmetic::Portable] {
        is_clean::<f32>(arithmetic, 1);
        is_clean::<f16>(arithmetic, 2);
        is_clean::<bf16>(arithmetic, 3);
    }
}
