//! A batch against the plain model: the losses written down anew, and their slopes by differences.

use dpo_kernel::loss::LossName;
use dpo_kernel::{Dispatch, SequenceLogProb};

use crate::finetune::batch::{Batch, Scored, pairs};
use crate::finetune::linear::Adapter;
use crate::finetune::model::Model;
use crate::finetune::objective::Objective;
use crate::finetune::text::{Example, Examples, Sequence};
use crate::plain::{Plain, plain_of, tuned};
use crate::{SMALL_RECIPE, finetune, pair};

/// Three pairs of answers, no two of one length.
pub(crate) fn examples() -> Vec<Example> {
    let pairs = [pair("p", "yes", "no"), pair("why", "as it is", "so"), pair("", "sure", "what?!")];
    let examples = Examples::new(&pairs, &mut finetune::random::Random(1));
    let mut all = [examples.train, examples.held_out].concat();
    all.sort_by_key(|example| example.chosen.tokens.len());
    assert_eq!(all.len(), 3, "all of them");
    all
}

fn answer(sequence: &Sequence) -> Scored<'_> {
    (sequence.tokens.as_slice(), sequence.answer_rows())
}

fn answers(examples: &[Example]) -> Vec<Scored<'_>> {
    examples.iter().flat_map(|e| [answer(&e.chosen), answer(&e.rejected)]).collect()
}

/// log π of the answer alone, and its tokens.
pub(crate) fn plain_answer(plain: &Plain, sequence: &Sequence) -> (f64, usize) {
    plain.log_prob(&sequence.tokens, sequence.opening().len())
}

/// log π of chosen, rejected, chosen, …
pub(crate) fn plain_answers(plain: &Plain, examples: &[Example]) -> Vec<(f64, usize)> {
    let both = |e: &Example| [plain_answer(plain, &e.chosen), plain_answer(plain, &e.rejected)];
    examples.iter().flat_map(both).collect()
}

pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The mean over the pairs of −log σ(β (a − b)).
pub(crate) fn dpo(beta: f64, policy: &[(f64, usize)], reference: &[(f64, usize)]) -> f64 {
    let ratios: Vec<f64> = policy.iter().zip(reference).map(|(p, r)| p.0 - r.0).collect();
    let losses = ratios.chunks_exact(2).map(|pair| softplus(-beta * (pair[0] - pair[1])));
    2.0 * losses.sum::<f64>() / policy.len() as f64
}

/// Slopes of a loss against gradients, at every so manieth weight and relative to the steepest.
#[track_caller]
fn same_slopes(what: &str, plain: &Plain, grads: &[f32], loss: impl Fn(&Plain) -> f64) {
    // 8192 weights of the embedding, of which few bytes are used; all else is close together.
    let few = (0..grads.len()).filter(|i| {
        if grads.len() > 8192 && *i < 8192 { grads[*i] != 0.0 && i % 11 == 0 } else { i % 5 == 0 }
    });
    let slopes = plain.slopes(few, loss);
    let steepest = slopes.iter().map(|(_, slope)| slope.abs()).fold(0.0, f64::max);
    assert!(steepest > 1e-4, "{what}: something to see, {steepest:e}");
    for (i, slope) in slopes {
        let error = (f64::from(grads[i]) - slope).abs() / steepest;
        assert!(error < 1e-4, "{what}: weight {i}: {} is not {slope}", grads[i]);
    }
}

/// Supervised training: every token after the first counts, of prompts too, and all alike.
#[test]
fn likelihood_is_the_mean_over_all_tokens_and_has_its_slopes() {
    let (shape, examples) = (SMALL_RECIPE.shape, examples());
    let model = tuned(shape, 3);
    let texts = [&examples[0].chosen, &examples[1].rejected, &examples[2].chosen];
    let scored: Vec<Scored<'_>> =
        texts.iter().map(|text| (text.tokens.as_slice(), text.all_rows())).collect();
    let loss = |plain: &Plain| {
        let (sums, tokens) = texts
            .iter()
            .map(|text| plain.log_prob(&text.tokens, 1))
            .fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        -sums / tokens as f64
    };
    let plain = plain_of(&model, shape, Adapter::Off);
    let mut batch = Batch::forward(&model, &scored, Adapter::Off);
    let found = batch.likelihood(Dispatch::detect()).expect("finite");
    assert!((found - loss(&plain)).abs() < 1e-5, "{found} is not {}", loss(&plain));
    let grads = batch.backward(Dispatch::detect()).expect("gradients");
    same_slopes("likelihood", &plain, &grads, loss);
}

/// Log-probs are those of the answers, prompts left out, in the order of the sequences.
#[test]
fn scores_are_of_the_answers_alone() {
    let (shape, examples) = (SMALL_RECIPE.shape, examples());
    let model = tuned(shape, 5);
    for adapter in [Adapter::Off, Adapter::On] {
        let plain = plain_of(&model, shape, adapter);
        let mut batch = Batch::forward(&model, &answers(&examples), adapter);
        let found = batch.score(Dispatch::detect()).expect("finite");
        for (found, (sum, count)) in found.iter().zip(plain_answers(&plain, &examples)) {
            assert_eq!(found.count, count, "tokens of the answer and its end");
            assert!((found.sum - sum).abs() < 1e-4, "{} is not {sum}", found.sum);
        }
        assert_eq!(found.len(), 6, "every sequence");
    }
}

/// A preference loss, and one with a likelihood term: 1 of −log π of the chosen answers' tokens.
#[test]
fn preference_has_its_loss_and_its_slopes() {
    let (shape, examples) = (SMALL_RECIPE.shape, examples());
    let model = tuned(shape, 7);
    let frozen = plain_answers(&plain_of(&model, shape, Adapter::Off), &examples);
    let reference: Vec<SequenceLogProb> =
        frozen.iter().map(|&(sum, count)| SequenceLogProb { sum, count }).collect();
    let cpo = |policy: &[(f64, usize)]| {
        let zero = vec![(0.0, 0); policy.len()];
        let chosen = policy.iter().step_by(2);
        let (sum, tokens) = chosen.fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        dpo(0.1, policy, &zero) - sum / tokens as f64
    };
    for name in [LossName::Sigmoid, LossName::Cpo] {
        let loss = |plain: &Plain| {
            let policy = plain_answers(plain, &examples);
            if name == LossName::Cpo { cpo(&policy) } else { dpo(0.1, &policy, &frozen) }
        };
        let plain = plain_of(&model, shape, Adapter::On);
        let mut objective = Objective::new(name, None).expect("defaults");
        let mut batch = Batch::forward(&model, &answers(&examples), Adapter::On);
        let found =
            batch.preference(Dispatch::detect(), &mut objective, &reference).expect("finite");
        assert!((found - loss(&plain)).abs() < 1e-5, "{name:?}: {found} is not {}", loss(&plain));
        let grads = batch.backward(Dispatch::detect()).expect("gradients");
        same_slopes(name.name(), &plain, &grads, loss);
    }
}

#[test]
fn pairs_are_neighbours() {
    let found: Vec<_> = pairs(6).iter().map(|pair| (pair.chosen, pair.rejected)).collect();
    assert_eq!(found, [(0, 1), (2, 3), (4, 5)], "chosen, rejected, chosen, …");
    assert!(pairs(0).is_empty(), "of none none");
}

/// No sequence at all is no fault: nothing is held out of one prompt.
#[test]
fn an_empty_batch_has_empty_scores() {
    let model = Model::new(SMALL_RECIPE.shape, &mut finetune::random::Random(1));
    let mut batch = Batch::forward(&model, &[], Adapter::On);
    assert!(batch.score(Dispatch::detect()).expect("nothing").is_empty(), "no sequences");
    let grads = batch.backward(Dispatch::detect()).expect("nothing");
    assert_eq!(grads, vec![0.0; model.weights.adapter.len()], "no gradient");
}
