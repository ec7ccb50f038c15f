//! A foreign backend: softmax and gather as a first version has them, in plain loops.
//!
//! With a [`Fault`] it makes one of the mistakes that first versions make.

use dpo_kernel::verify::cases::{BatchCase, PairCase};
use dpo_kernel::verify::{Dpo, PairResult};

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// exp without subtracting the maximum.
    NoMaximum,
    /// ln of the probability, which underflows.
    LogOfProbability,
    /// A maximum that starts at 0 instead of −inf.
    MaximumFromZero,
    /// Masked vocabulary as −1e4.
    MaskIsNumber,
    /// Each value counted once.
    TiesCountOnce,
    /// Sums in f32.
    SumsInF32,
    /// Rows `vocab` apart.
    StrideIsVocab,
    /// Columns past the vocabulary in the sum.
    ReadsPadding,
    /// Gradients of columns past the vocabulary.
    WritesPadding,
    /// Gradients of 0 for rows that nobody scores.
    WritesIgnoredRows,
    /// The last column left out.
    DropsLastColumn,
    /// Row t scores the target of row t + 1.
    ShiftsTargets,
    /// Another ignore value than the batch's.
    IgnoreIsConstant,
    /// Temperature before the softcap.
    TemperatureFirst,
    /// The softcap's slope left out.
    NoSlope,
    /// The scale left out of dy/dx.
    ScaleNotInSlope,
    /// c · (p − onehot).
    SignOfGradient,
    /// 1 − p of a rounded p.
    CancelsTarget,
    /// The last token of each sequence left out.
    DropsLastToken,
    /// Sequences of one token taken for empty.
    SkipsOneToken,
    /// The mean of a sequence's log-probs.
    MeanOfTokens,
    /// Token weights left out of the sum.
    NoTokenWeights,
    /// Token weights left out of the gradient.
    NoTokenWeightsBackward,
    /// Rejected preferred to chosen.
    SwapsPairs,
    /// A sequence of several pairs keeps the last one's gradient.
    OverwritesSharedSequence,
    /// The divisor left out.
    NoDivisor,
    /// Pair weights left out.
    NoWeight,
    /// The margin offset added.
    AddsOffset,
    /// Label smoothing left out.
    NoLabelSmoothing,
    /// −ln σ(z), which overflows.
    LogOfSigmoid,
    /// 1 − σ(z), which vanishes.
    SaturatedSlope,
    /// Rewards with the offset in them.
    OffsetInReward,
}

/// What a step of the backend gives; NaN where nothing was written.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub log_probs: Vec<f32>,
    pub sums: Vec<f64>,
    pub d_log_probs: Vec<f64>,
    /// Shaped like the logits.
    pub grads: Vec<f32>,
}

/// The backend, with a fault or without.
#[derive(Clone, Copy, Debug)]
pub struct Backend(pub Option<Fault>);

/// A row's log Z as maximum and logarithm.
struct Norm {
    max: f64,
    log_sum: f64,
}

impl Backend {
    fn has(self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }

    /// Logits → token log-probs → sums → gradients.
    pub fn step(self, case: &BatchCase) -> Outcome {
        let mut log_probs = vec![f32::NAN; case.rows()];
        let mut sums = Vec::new();
        for &span in &case.layout.spans {
            let mut sum = 0.0;
            let scored: Vec<usize> = self.scored(case, span).collect();
            for &row in &scored {
                let y = self.transformed(case, row);
                let log_prob = self.log_prob(&y, self.target(case, row));
                log_probs[row] = log_prob as f32;
                let weight = if self.has(Fault::NoTokenWeights) { 1.0 } else { weight(case, row) };
                sum += if weight == 0.0 { 0.0 } else { weight * f64::from(log_probs[row]) };
                if self.has(Fault::SumsInF32) {
                    sum = f64::from(sum as f32);
                }
            }
            let count = if self.has(Fault::MeanOfTokens) { scored.len() as f64 } else { 1.0 };
            sums.push(sum / count);
        }
        let d_log_probs = self.d_log_probs(case, &sums);
        let grads = self.grads(case, &d_log_probs);
        Outcome { log_probs, sums, d_log_probs, grads }
    }

    fn scored(self, case: &BatchCase, (start, end): (usize, usize)) -> impl Iterator<Item = usize> {
        let end = if self.has(Fault::DropsLastToken) { end - 1 } else { end };
        let end = if self.has(Fault::SkipsOneToken) && end - start == 1 { start } else { end };
        let constant = self.has(Fault::IgnoreIsConstant);
        let ignore = if constant { u32::MAX - 99 } else { case.layout.ignore };
        (start..end).filter(move |&row| case.layout.targets[row] != ignore)
    }

    fn target(self, case: &BatchCase, row: usize) -> usize {
        let shift = usize::from(self.has(Fault::ShiftsTargets));
        let targets = &case.layout.targets;
        targets[(row + shift).min(targets.len() - 1)] as usize
    }

    fn row(self, case: &BatchCase, row: usize) -> &[f32] {
        let stride = if self.has(Fault::StrideIsVocab) { case.vocab() } else { case.stride };
        let start = row * stride;
        let width = if self.has(Fault::ReadsPadding) { case.stride } else { case.vocab() };
        let row = &case.logits[start..(start + width).min(case.logits.len())];
        let dropped = self.has(Fault::DropsLastColumn) && row.len() > 1;
        &row[..row.len() - usize::from(dropped)]
    }

    /// y of a row.
    fn transformed(self, case: &BatchCase, row: usize) -> Vec<f64> {
        let transform = case.transform;
        let one = |&x: &f32| {
            if x == f32::NEG_INFINITY {
                return if self.has(Fault::MaskIsNumber) { -1e4 } else { f64::NEG_INFINITY };
            }
            if x == f32::INFINITY {
                // No softcap makes it a number again.
                return f64::NAN;
            }
            let scaled = f64::from(x) * transform.scale;
            let Some(c) = transform.softcap else { return scaled / transform.temperature };
            if self.has(Fault::TemperatureFirst) {
                c * (scaled / transform.temperature / c).tanh()
            } else {
                c * (scaled / c).tanh() / transform.temperature
            }
        };
        self.row(case, row).iter().map(one).collect()
    }

    fn norm(self, y: &[f64]) -> Norm {
        let first = if self.has(Fault::MaximumFromZero) { 0.0 } else { f64::NEG_INFINITY };
        let max = y.iter().copied().fold(first, f64::max);
        let max = if self.has(Fault::NoMaximum) { 0.0 } else { max };
        let mut counted = y.to_vec();
        if self.has(Fault::TiesCountOnce) {
            counted.sort_by(f64::total_cmp);
            counted.dedup();
        }
        let sum: f64 = counted.iter().map(|y| (y - max).exp()).sum();
        Norm { max, log_sum: sum.ln() }
    }

    fn log_prob(self, y: &[f64], target: usize) -> f64 {
        let Norm { max, log_sum } = self.norm(y);
        let Some(y) = y.get(target) else { return f64::NAN };
        if self.has(Fault::LogOfProbability) {
            ((y - max).exp() / log_sum.exp()).ln()
        } else {
            y - max - log_sum
        }
    }

    fn d_log_probs(self, case: &BatchCase, sums: &[f64]) -> Vec<f64> {
        let mut d_log_probs = vec![0.0; sums.len()];
        for (i, &(chosen, rejected)) in case.pairs.iter().enumerate() {
            let entry = |x: &Option<Vec<f32>>, default| x.as_ref().map_or(default, |x| x[i]);
            let pair = PairCase {
                log_probs: dpo_kernel::verify::PairLogProbs {
                    policy_chosen: sums[chosen],
                    policy_rejected: sums[rejected],
                    reference_chosen: case.reference[chosen],
                    reference_rejected: case.reference[rejected],
                },
                weight: entry(&case.weights, 1.0),
                offset: entry(&case.offsets, 0.0),
            };
            let result = self.pair(&case.dpo, &pair);
            let divisor = if self.has(Fault::NoDivisor) { 1.0 } else { case.divisor };
            for (sequence, d) in [(chosen, result.d_chosen), (rejected, result.d_rejected)] {
                let before = if self.has(Fault::OverwritesSharedSequence) {
                    0.0
                } else {
                    d_log_probs[sequence]
                };
                d_log_probs[sequence] = before + d / divisor;
            }
        }
        d_log_probs
    }

    /// The loss of a pair.
    pub fn pair(self, dpo: &Dpo, pair: &PairCase) -> PairResult {
        let of = pair.log_probs;
        let mut a = of.policy_chosen - of.reference_chosen;
        let mut b = of.policy_rejected - of.reference_rejected;
        if self.has(Fault::SwapsPairs) {
            core::mem::swap(&mut a, &mut b);
        }
        let Dpo { beta, mut label_smoothing } = *dpo;
        if self.has(Fault::NoLabelSmoothing) {
            label_smoothing = 0.0;
        }
        let offset = f64::from(pair.offset);
        // A pair that is not finite has no loss that is.
        let poison = 0.0 * (a + b);
        let z =
            poison + beta * (a - b) + if self.has(Fault::AddsOffset) { offset } else { -offset };
        let weight = if self.has(Fault::NoWeight) { 1.0 } else { f64::from(pair.weight) };
        if weight == 0.0 {
            return PairResult::default();
        }
        let tail = (-z.abs()).exp();
        let sigmoid = if z < 0.0 { 1.0 / (1.0 + tail) } else { tail / (1.0 + tail) };
        let saturated = self.has(Fault::SaturatedSlope);
        let sigmoid = if saturated { 1.0 - 1.0 / (1.0 + (-z).exp()) } else { sigmoid };
        let softplus = if self.has(Fault::LogOfSigmoid) {
            -(1.0 / (1.0 + (-z).exp())).ln()
        } else {
            (-z).max(0.0) + tail.ln_1p()
        };
        let d_chosen = weight * beta * (label_smoothing - sigmoid);
        let extra = if self.has(Fault::OffsetInReward) { offset } else { 0.0 };
        PairResult {
            loss: weight * (softplus + label_smoothing * z),
            reward_chosen: beta * a - extra + poison,
            reward_rejected: beta * b + poison,
            margin: beta * (a - b) + poison,
            d_chosen,
            d_rejected: -d_chosen,
        }
    }

    fn grads(self, case: &BatchCase, d_log_probs: &[f64]) -> Vec<f32> {
        let mut grads = vec![f32::NAN; case.logits.len()];
        if self.has(Fault::WritesIgnoredRows) {
            let whole = case.stride * case.rows();
            for row in grads[..whole].chunks_mut(case.stride) {
                row[..case.vocab()].fill(0.0);
            }
        }
        for (&span, &d) in case.layout.spans.iter().zip(d_log_probs) {
            for row in self.scored(case, span) {
                let weighted = !self.has(Fault::NoTokenWeightsBackward);
                let c = d * if weighted { weight(case, row) } else { 1.0 };
                self.row_grads(case, row, c, &mut grads[row * case.stride..]);
            }
        }
        grads
    }

    fn row_grads(self, case: &BatchCase, row: usize, c: f64, grads: &mut [f32]) {
        let (x, y) = (self.row(case, row), self.transformed(case, row));
        let (Norm { max, log_sum }, target) = (self.norm(&y), self.target(case, row));
        for (j, (&x, &y)) in x.iter().zip(&y).enumerate() {
            let log_p = y - max - log_sum;
            let p = log_p.exp();
            let one = if j == target { 1.0 } else { 0.0 };
            // 1 − p of a confident token is what the other columns hold.
            let cancels = self.has(Fault::CancelsTarget);
            let mut part = match (j == target, cancels) {
                (true, true) => f64::from(1.0 - p as f32),
                (true, false) => -log_p.exp_m1(),
                (false, _) => one - p,
            };
            if self.has(Fault::SignOfGradient) {
                part = -part;
            }
            let masked = x == f32::NEG_INFINITY && !log_sum.is_nan();
            grads[j] = if masked || c == 0.0 { 0.0 } else { c * part * self.slope(case, x) } as f32;
        }
        if self.has(Fault::WritesPadding) && grads.len() > case.vocab() {
            let end = case.stride.min(grads.len());
            grads[case.vocab()..end].fill(0.0);
        }
    }

    /// dy/dx
    fn slope(self, case: &BatchCase, x: f32) -> f64 {
        let transform = case.transform;
        let bend = match transform.softcap {
            Some(c) if !self.has(Fault::NoSlope) => {
                let cosh = (f64::from(x) * transform.scale / c).cosh();
                1.0 / cosh / cosh
            }
            _ => 1.0,
        };
        let scale = if self.has(Fault::ScaleNotInSlope) { 1.0 } else { transform.scale };
        bend * scale / transform.temperature
    }
}

fn weight(case: &BatchCase, row: usize) -> f64 {
    case.token_weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]))
}
