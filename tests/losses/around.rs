//! What stands around a loss: LD-DPO's and WPO's weights, offsets, mixtures, a loss for each pair.

use dpo_kernel::error::Buffer;
use dpo_kernel::loss::{Loss, Mixture, MixtureTerm, PairLogProbs, PerPair, PreferenceLoss};
use dpo_kernel::row::RowDetails;
use dpo_kernel::training::{
    WpoBound, ld_token_weights, length_offset, odpo_offset, wpo_pair_weights,
};
use dpo_kernel::{
    Dpo, Error, Layout, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Span,
    preference_loss, sequence_log_probs,
};

use crate::catalog::{GOLDEN, loss, names};
use crate::{close, is_close};

pub const IDS: [u32; 9] = [1, 2, 3, dpo_kernel::IGNORE_INDEX, 4, 0, 1, 2, 3];

/// Three sequences of 2, 2 (one row ignored) and 4 tokens.
pub fn spans() -> [Span; 3] {
    [Span::new(0, 2), Span::new(2, 5), Span::new(5, 9)]
}

pub fn layout(spans: &[Span; 3]) -> Layout<'_> {
    Layout::new(&IDS, spans, 6).unwrap()
}

#[test]
fn length_desensitized_weights() {
    let spans = spans();
    let layout = layout(&spans);
    let run = |alpha, pairs: &[Pair]| {
        let mut weights = [7.5_f32; 9];
        ld_token_weights(alpha, &layout, pairs, &mut weights).map(|()| weights)
    };
    // Scored tokens count, not rows.
    let found = run(0.25, &[Pair::new(1, 2)]).unwrap();
    assert_eq!(found, [7.5, 7.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.25, 0.25]);
    let found = run(0.25, &[Pair::new(2, 0)]).unwrap();
    assert_eq!(found, [1.0, 1.0, 7.5, 7.5, 7.5, 1.0, 1.0, 0.25, 0.25]);
    // Two sequences of equal length, and α = 1: nothing is weighed down.
    assert_eq!(run(0.0, &[Pair::new(0, 1)]).unwrap()[..5], [1.0; 5]);
    assert_eq!(run(1.0, &[Pair::new(0, 2)]).unwrap()[5..], [1.0; 4]);
    // One sequence in two pairs: fine while one weight serves both.
    assert!(run(0.5, &[Pair::new(0, 2), Pair::new(1, 2)]).is_ok());
    assert!(run(0.5, &[Pair::new(0, 2), Pair::new(0, 1)]).is_ok());
    let shorter = [Span::new(0, 1), Span::new(1, 3), Span::new(4, 8)];
    let shorter = Layout::new(&IDS, &shorter, 6).unwrap();
    let conflict = [Pair::new(0, 2), Pair::new(2, 1)];
    let mut weights = [7.5_f32; 9];
    let found = ld_token_weights(0.5, &shorter, &conflict, &mut weights);
    assert_eq!(found, Err(Error::TokenWeightsDiffer { pair: 1, sequence: 2 }));
    // Both ways to look: chosen and rejected ascend, or not.
    for reversed in [[Pair::new(2, 1), Pair::new(0, 2)], [Pair::new(1, 2), Pair::new(2, 0)]] {
        let found = ld_token_weights(0.5, &shorter, &reversed, &mut weights);
        assert_eq!(found, Err(Error::TokenWeightsDiffer { pair: 1, sequence: 2 }));
    }
    let ascending = [Pair::new(0, 1), Pair::new(1, 2)];
    let found = ld_token_weights(0.5, &shorter, &ascending, &mut weights);
    assert_eq!(found, Err(Error::TokenWeightsDiffer { pair: 1, sequence: 1 }));
    for alpha in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(run(alpha, &[Pair::new(0, 1)]), Err(Error::Parameter { .. })), "{alpha}");
    }
    let far = Error::SequenceOutOfRange { pair: 0, sequence: 3, sequences: 3 };
    assert_eq!(run(0.5, &[Pair::new(0, 3)]), Err(far));
    let short = ld_token_weights(0.5, &shorter, &[], &mut weights[..8]);
    let buffer = Buffer::TokenWeights;
    assert_eq!(short, Err(Error::Length { buffer, expected: 9, found: 8 }));
    assert_eq!(weights, [7.5; 9], "nothing was written");
}

/// Answers of equal length, or α = 1: the losses without weights, to the last bit, and ln 2 at step
/// 0 when both models are weighed.
#[test]
fn length_desensitized_losses() {
    let spans = spans();
    let layout = layout(&spans);
    let log_probs: Vec<f32> = (0..9).map(|i| -0.3 - 0.17 * i as f32).collect();
    let reference: Vec<f32> = (0..9).map(|i| -0.9 + 0.07 * i as f32).collect();
    let run = |alpha: Option<f64>, pair: Pair, reference: &[f32]| {
        let mut weights = [1.0_f32; 9];
        if let Some(alpha) = alpha {
            ld_token_weights(alpha, &layout, &[pair], &mut weights).unwrap();
        }
        let sum = |x: &[f32]| {
            let mut out = [SequenceLogProb::default(); 3];
            let weights = alpha.map(|_| &weights[..]);
            sequence_log_probs(x, &layout, weights, &mut out).unwrap();
            out
        };
        let (policy, reference) = (sum(&log_probs), sum(reference));
        let (mut losses, mut d) = ([PairLoss::default()], [0.0; 3]);
        let pairs = [pair];
        let batch = PairBatch::new(&pairs, &policy, Reference::Sequences(&reference), 1.0);
        let out = PairOut::new(&mut losses, &mut d);
        preference_loss(&Dpo::new(0.1).unwrap(), &batch, out).unwrap();
        (losses[0], d)
    };
    let (short, long) = (Pair::new(0, 1), Pair::new(0, 2));
    assert_eq!(run(Some(0.3), short, &reference), run(None, short, &reference));
    assert_eq!(run(Some(1.0), long, &reference), run(None, long, &reference));
    assert_ne!(run(Some(0.3), long, &reference), run(None, long, &reference), "the control");
    assert_eq!(run(Some(0.3), long, &log_probs).0.loss, core::f64::consts::LN_2);
}

#[test]
fn weights_of_wpo() {
    let log_probs = [-1.0_f32, -2.0, -0.5, f32::NAN, -1.5, -0.25, -3.0, -0.75, -1.0];
    let details =
        log_probs.map(|x| RowDetails { log_sum_sq_probs: x * 0.5, ..RowDetails::default() });
    let pairs = [Pair::new(0, 1), Pair::new(2, 0)];
    let run = |bound, log_probs: &[f32], details: &[RowDetails]| {
        let mut weights = [7.5_f32; 2];
        let spans = spans();
        let layout = layout(&spans);
        let found = wpo_pair_weights(bound, &layout, &pairs, log_probs, details, &mut weights);
        (found, weights)
    };
    // Means of log p − log Σp², half of log p here; the ignored row is not read.
    let means = [-1.5_f64 / 2.0, -1.0 / 2.0, -5.0 / 4.0 / 2.0];
    let (found, weights) = run(WpoBound::Unbounded, &log_probs, &details);
    found.unwrap();
    for (weight, pair) in weights.iter().zip(pairs) {
        let exact = (means[pair.chosen] + means[pair.rejected]).exp();
        assert!((f64::from(*weight) - exact).abs() < 1e-7, "{weight} is not {exact}");
    }
    let mut sure = details;
    for row in &mut sure {
        row.log_sum_sq_probs = -4.0;
    }
    let unbounded = run(WpoBound::Unbounded, &log_probs, &sure).1;
    assert!(unbounded.iter().all(|&w| w > 1.0), "the control");
    assert_eq!(run(WpoBound::AtMostOne, &log_probs, &sure).1, [1.0; 2]);
    // No number, a token without probability (whose weight would be 0), and a weight beyond f32.
    for value in [f32::NAN, f32::NEG_INFINITY, 1e4] {
        let mut broken = log_probs;
        broken[6] = value;
        for bound in [WpoBound::AtMostOne, WpoBound::Unbounded] {
            let (found, weights) = run(bound, &broken, &details);
            assert_eq!(found, Err(Error::NonFinitePairs { first: 1, count: 1 }), "{value}");
            assert!(weights[0].is_finite() && weights[1].is_nan(), "{value}");
        }
    }
    let (found, weights) = run(WpoBound::AtMostOne, &log_probs, &details[..8]);
    let buffer = Buffer::RowDetails;
    assert_eq!(found, Err(Error::Length { buffer, expected: 9, found: 8 }));
    assert_eq!(weights, [7.5; 2]);
    // The middle one has no token: its mean is none.
    let spans = [Span::new(0, 2), Span::new(4, 4), Span::new(5, 9)];
    let layout = layout(&spans);
    let (bound, mut weights) = (WpoBound::Unbounded, [7.5_f32; 2]);
    let pairs = [Pair::new(2, 0), Pair::new(0, 1)];
    let found = wpo_pair_weights(bound, &layout, &pairs, &log_probs, &details, &mut weights);
    assert_eq!((found, weights), (Err(Error::NoScoredTokens { sequence: 1 }), [7.5; 2]));
}

#[test]
fn offsets() {
    close("ODPO", odpo_offset(0.5, 3.0).unwrap(), 0.5 * 3.0_f64.ln(), 1e-15);
    assert_eq!(odpo_offset(1.0, 1.0).unwrap(), 0.0);
    assert!(odpo_offset(1.0, 0.5).unwrap() < 0.0);
    assert_eq!(length_offset(0.5, 10, 12).unwrap(), 1.0, "a shorter winner must win by more");
    assert_eq!(length_offset(0.5, 12, 10).unwrap(), -1.0);
    assert_eq!(length_offset(0.0, 12, 10).unwrap(), 0.0);
}

/// A mixture is the sum of its terms, with the rewards of the first.
#[test]
fn mixtures() {
    let pair = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5).with_tokens(10, 12).with_weight(0.75);
    let all: Vec<Loss> = names().map(|name| loss(name, &GOLDEN)).collect();
    for two in all.windows(2) {
        let terms = [(0.8, &two[0]), (0.2, &two[1])];
        let terms = terms.map(|(weight, loss)| MixtureTerm::new(weight, loss));
        let found = Mixture::new(&terms).unwrap().evaluate(&pair);
        let (one, other) = (two[0].evaluate(&pair), two[1].evaluate(&pair));
        let sum = |f: fn(&PairLoss) -> f64| 0.8 * f(&one) + 0.2 * f(&other);
        for f in [|l: &PairLoss| l.loss, |l: &PairLoss| l.d_chosen, |l: &PairLoss| l.d_rejected] {
            assert!(is_close(f(&found), sum(f), 1e-15), "{two:?}");
        }
        assert_eq!((found.reward_chosen, found.margin), (one.reward_chosen, one.margin));
    }
    let dpo = Dpo::new(0.1).unwrap();
    let one = [MixtureTerm::new(1.0, &dpo)];
    assert_eq!(Mixture::new(&one).unwrap().evaluate(&pair), dpo.evaluate(&pair));
    assert!(format!("{:?}", Mixture::new(&one).unwrap()).contains("weight: 1.0"));
}

/// β-DPO: a loss for each pair is each pair under its own loss.
#[test]
fn a_loss_for_each_pair() {
    let policy = [-20.5, -25.25, -7.0].map(|sum| SequenceLogProb { sum, count: 10 });
    let sums = Reference::Sums(&[-21.0, -24.5, -6.0]);
    let pairs = [Pair::new(0, 1), Pair::new(1, 2), Pair::new(0, 2)];
    let losses = [0.05, 0.1, 0.2].map(|beta| Dpo::new(beta).unwrap());
    let batch = PairBatch::new(&pairs, &policy, sums, 2.0);
    let run = |losses: &[Dpo]| {
        let (mut out, mut d) = ([PairLoss::default(); 3], [7.5; 3]);
        let to = PairOut::new(&mut out, &mut d);
        (preference_loss(PerPair::new(losses), &batch, to), out, d)
    };
    let (found, out, _) = run(&losses);
    assert_eq!(found.unwrap().pairs, 3);
    for ((pair, loss), found) in batch.log_probs().zip(&losses).zip(&out) {
        assert_eq!(*found, loss.evaluate(&pair));
    }
    let same = [losses[1]; 3];
    let (mut plain, mut d) = ([PairLoss::default(); 3], [7.5; 3]);
    let to = PairOut::new(&mut plain, &mut d);
    preference_loss(&losses[1], &batch, to).unwrap();
    assert_eq!((run(&same).1, run(&same).2), (plain, d));
    let (buffer, expected, found) = (Buffer::PairLossKinds, 3, 2);
    let (refused, _, d) = run(&losses[..2]);
    assert_eq!((refused, d), (Err(Error::Length { buffer, expected, found }), [7.5; 3]));
}
