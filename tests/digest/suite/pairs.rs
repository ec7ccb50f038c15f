//! From token log-probs to the loss, the whole step, and the theory.

use dpo_kernel::gradient::{GradBatch, logit_grads_in_place, token_coefficients};
use dpo_kernel::loss::{PairLogProbs, PreferenceLoss};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::step::StepScratch;
use dpo_kernel::theory::{AnswerSet, preference_log_prob, preference_prob};
use dpo_kernel::training::update_reference;
use dpo_kernel::{
    Dispatch, Dpo, Element, IGNORE_INDEX, Layout, Logits, LogitsMut, Pair, PairBatch, PairLoss,
    PairOut, Reference, SequenceLogProb, Span, StepBatch, TokenOut, Transform, preference_loss,
    preference_step, sequence_log_probs, token_log_probs,
};

use super::Plan;
use super::digest::{Bits, Digest};
use super::logits::{bell, bits, fill};

const ROWS: usize = 8;
const VOCAB: usize = 18;
/// Two columns of padding, which are never read.
const STRIDE: usize = 20;

/// A batch of two pairs over three packed sequences, with an ignored row: by stages, with weights
/// everywhere, and then in one call.
pub fn batch<E: Element + Bits>(plan: &Plan, dispatch: Dispatch, buffer: &mut [E]) -> Digest {
    let mut digest = Digest::new();
    let data = &mut buffer[..ROWS * STRIDE];
    let transform = Transform::new(1.0, Some(20.0), 0.9).unwrap();
    let ids = [3, 17, IGNORE_INDEX, 0, 11, 11, 16, 8];
    let mut spans = [Span::default(); 3];
    Span::of_offsets(&[0, 3, 5, 7], &mut spans).unwrap();
    let layout = Layout::new(&ids, &spans, VOCAB).unwrap();
    let token_weights = [1.0, 0.5, 3.0, 0.0, 1.25, 0.1, 2.0, 1.0];
    let pairs = [Pair::new(0, 1), Pair::new(2, 1)];
    let (weights, offsets) = ([0.7_f32, 1.3], [0.1_f32, -0.2]);
    let loss = Dpo::new(0.1).unwrap().with_label_smoothing(0.05).unwrap();

    let mut log_probs = [0.0; ROWS];
    let mut norms = [RowNorm::default(); ROWS];
    let mut details = [RowDetails::default(); ROWS];
    let mut sequences = [SequenceLogProb::default(); 3];
    let mut losses = [PairLoss::default(); 2];
    let mut d_log_probs = [0.0; 3];

    fill(0, 0, data);
    let logits = Logits::with_stride(data, ROWS, VOCAB, STRIDE).unwrap().with_transform(transform);
    let mut out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    if plan.details {
        out = out.with_details(&mut details);
    }
    token_log_probs(dispatch, logits, &layout, out).unwrap();
    sequence_log_probs(&log_probs, &layout, Some(&token_weights), &mut sequences).unwrap();
    digest.add_all(&log_probs);
    digest.add_all(&details);
    for (sequence, found) in sequences.iter().enumerate() {
        // With the token of weight 0, which the count of a sequence leaves out.
        digest.add(SequenceLogProb { count: layout.tokens(sequence), ..*found });
    }
    let reference = [-8.5, -7.25, -6.125];
    let mut pair_batch = PairBatch::new(&pairs, &sequences, Reference::Sums(&reference), 3.0);
    pair_batch.weights = Some(&weights);
    pair_batch.offsets = Some(&offsets);
    let out = PairOut::new(&mut losses, &mut d_log_probs);
    digest.add(preference_loss(&loss, &pair_batch, out).unwrap());
    digest.add_all(&losses);
    digest.add_all(&d_log_probs);
    let mut coefficients = [0.0; ROWS];
    let weights_of_tokens = Some(&token_weights[..]);
    token_coefficients(&layout, &d_log_probs, weights_of_tokens, None, &mut coefficients).unwrap();
    let grads = GradBatch::new(&layout, &norms, &coefficients);
    let view = LogitsMut::with_stride(data, ROWS, VOCAB, STRIDE).unwrap();
    logit_grads_in_place(dispatch, view.with_transform(transform), &grads).unwrap();
    digest.add_all(data);

    fill(9, 0, data);
    let view = LogitsMut::with_stride(data, ROWS, VOCAB, STRIDE).unwrap();
    let step = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), 2.0);
    let scratch = StepScratch::new(
        &mut log_probs,
        &mut norms,
        &mut sequences,
        &mut losses,
        &mut d_log_probs,
        &mut coefficients,
    );
    digest.add(preference_step(dispatch, &loss, view, &step, scratch).unwrap().loss);
    digest.add_all(&losses);
    digest.add_all(data);
    digest
}

/// A reference that moves towards a policy, over lengths around whole vectors.
pub fn moved<E: Element + Bits>(dispatch: Dispatch, buffer: &mut [E]) -> Digest {
    let mut digest = Digest::new();
    for (seed, count) in [1, 15, 16, 17, 50, 80].into_iter().enumerate() {
        for alpha in [1e-4, 0.6, 0.999] {
            let data = &mut buffer[..2 * count];
            fill(seed as u32, 0, data);
            let (policy, reference) = data.split_at_mut(count);
            update_reference(dispatch, policy, alpha, reference).unwrap();
            digest.add_all(reference);
        }
    }
    digest
}

/// Losses of pairs near and far, with smoothing, weights and offsets.
#[inline(never)]
pub fn losses(plan: &Plan) -> Digest {
    let mut digest = Digest::new();
    let mut seed = 0;
    for beta in [0.01, 0.1, 0.5, 20.0] {
        for smoothing in [0.0, 0.1, 0.5] {
            let loss = Dpo::new(beta).unwrap().with_label_smoothing(smoothing).unwrap();
            for i in 0..plan.pairs {
                seed += 1;
                let spread = [1.0, 60.0, 4000.0, 1e300][i as usize % 4];
                let x = |j| f64::from(bell(bits(seed, j))) * spread;
                let mut pair = PairLogProbs::new(x(0), x(1), x(2), x(3));
                pair.weight = x(4).abs();
                pair.offset = x(5) / 16.0;
                digest.add(loss.evaluate(&pair));
            }
            digest.add(loss.evaluate(&PairLogProbs::new(-1.0, -2.0, -1.0, -2.0)));
            digest.add(loss.evaluate(&PairLogProbs::new(f64::NEG_INFINITY, -2.0, -1.0, -2.0)));
            digest.add(loss.evaluate(&PairLogProbs::new(-1.0, f64::NAN, -1.0, -2.0)));
        }
    }
    digest
}

/// The derivation of the loss over a set of answers.
#[inline(never)]
pub fn theory() -> Digest {
    const ANSWERS: usize = 12;
    let mut digest = Digest::new();
    let values = |seed, shift: f32| {
        core::array::from_fn::<f64, ANSWERS, _>(|i| f64::from(bell(bits(seed, i as u32)) - shift))
    };
    let (reference, rewards, policy) = (values(1, 5.0), values(2, 0.0), values(3, 6.0));
    let weights = values(4, 0.0).map(f64::abs);
    for beta in [1e-3, 0.1, 1.0, 10.0] {
        let answers = AnswerSet::new(&reference, &rewards, beta).unwrap();
        let log_partition = answers.log_partition();
        digest.add(log_partition);
        digest.add(answers.objective(&policy).unwrap());
        digest.add(answers.population_loss(&policy, &weights).unwrap());
        let mut out = [0.0; ANSWERS];
        answers.population_loss_grad(&policy, &weights, &mut out).unwrap();
        digest.add_all(&out);
        answers.implicit_rewards(&policy, log_partition, &mut out).unwrap();
        digest.add_all(&out);
        answers.optimal_policy(&mut out).unwrap();
        digest.add_all(&out);
    }
    for pair in rewards.windows(2) {
        digest.add(preference_prob(pair[0], pair[1]));
        digest.add(preference_log_prob(pair[0], pair[1]));
    }
    digest
}
