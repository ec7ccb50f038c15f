//! Weight 0 is absence: a batch with pairs, answers or terms of weight 0 has the bits of the batch
//! without them, whatever they name and hold.

use dpo_kernel::loss::{
    BatchLoss, Kto, Loss, LossName, Mixture, MixtureTerm, Nll, NllBatch, NllPer, Objective,
    PairLogProbs, PerPair, PreferenceLoss, SimPo, nll_loss,
};
use dpo_kernel::unpaired::{
    AnswerLoss, Label, PerAnswer, UnpairedAnswer, UnpairedBatch, UnpairedBatchLoss, UnpairedOut,
    UnpairedSummary, unpaired_loss,
};
use dpo_kernel::{
    Dpo, Error, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Summary,
    preference_loss,
};

use crate::catalog::{GOLDEN, build, loss, names};

/// Sequences that are there, and behind them those that only what is left out may name.
const THERE: usize = 6;

/// Policy and reference of all sequences. The last are NaN, infinite, masked, without a token, and
/// of another length under the reference.
fn sequences() -> (Vec<SequenceLogProb>, Vec<SequenceLogProb>) {
    let sequence = |sum, count| SequenceLogProb { sum, count };
    let sums = [(-20.5, -21.0), (-25.25, -24.5), (-31.0, -30.0), (-30.0, -31.5), (-12.25, -13.0)];
    let mut both: Vec<_> = sums
        .iter()
        .enumerate()
        .map(|(i, &(p, r))| (sequence(p, 10 + i), sequence(r, 10 + i)))
        .collect();
    both.push((sequence(-18.5, 7), sequence(-18.0, 7)));
    assert_eq!(both.len(), THERE, "sequences that are there");
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    for (policy, reference) in [
        ((nan, 4), (-3.0, 4)),
        ((-inf, 4), (-inf, 4)),
        ((inf, 2), (nan, 2)),
        ((0.0, 0), (0.0, 0)),
        ((-3.0, 4), (-3.0, 5)),
    ] {
        both.push((sequence(policy.0, policy.1), sequence(reference.0, reference.1)));
    }
    both.into_iter().unzip()
}

/// A batch of pairs that are there, and the same with others in between.
struct Padded {
    pairs: Vec<Pair>,
    weights: Vec<f32>,
    offsets: Vec<f32>,
    /// Where the pairs that are there stand.
    kept: Vec<usize>,
}

/// What stands between the pairs is different for every seed, and may be most of them or none.
fn padded(seed: u64, weighted: bool, offsets: bool) -> (Padded, Padded) {
    let pairs = [Pair::new(0, 1), Pair::new(2, 3), Pair::new(4, 1), Pair::new(0, 5)];
    let weights = if weighted { [0.75, 1.0, 2.5, 0.125] } else { [1.0; 4] };
    let moved = if offsets { [0.5, -0.25, 0.0, 1.0] } else { [0.0; 4] };
    let plain = Padded {
        pairs: pairs.to_vec(),
        weights: weights.to_vec(),
        offsets: moved.to_vec(),
        kept: (0..4).collect(),
    };
    let mut all = Padded { pairs: vec![], weights: vec![], offsets: vec![], kept: vec![] };
    let mut state = seed;
    let mut random = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % below).unwrap()
    };
    for i in 0..=4 {
        for _ in 0..random(4) {
            // Broken sequences, good ones, one sequence twice, and sequences that do not exist.
            let mut any = || [random(11), random(11), random(6), usize::MAX][random(4)];
            all.pairs.push(Pair::new(any(), any()));
            all.weights.push([0.0, -0.0][random(2)]);
            all.offsets.push([f32::NAN, f32::INFINITY, 3.0][random(3)]);
        }
        if i < 4 {
            all.kept.push(all.pairs.len());
            all.pairs.push(plain.pairs[i]);
            all.weights.push(plain.weights[i]);
            all.offsets.push(plain.offsets[i]);
        }
    }
    (plain, all)
}

/// What a loss said of the pairs that are there.
#[derive(Debug, PartialEq)]
struct Found {
    losses: Vec<[u64; 6]>,
    grads: Vec<u64>,
    summary: Summary,
}

fn bits(of: &PairLoss) -> [u64; 6] {
    let PairLoss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = *of;
    [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected].map(f64::to_bits)
}

/// Runs a loss over all sequences, into memory that holds something else; what is left out must be
/// 0.
fn run(
    loss: impl BatchLoss,
    padded: &Padded,
    is_free: bool,
    offsets: bool,
) -> Result<Found, Error> {
    let (policy, reference) = sequences();
    let reference = if is_free { Reference::Free } else { Reference::Sequences(&reference) };
    let mut batch =
        PairBatch::new(&padded.pairs, &policy, reference, 3.0).with_weights(&padded.weights);
    if offsets {
        batch = batch.with_offsets(&padded.offsets);
    }
    let stale = PairLoss { loss: 7.5, margin: -7.5, d_chosen: 7.5, ..PairLoss::default() };
    let (mut losses, mut d) = (vec![stale; padded.pairs.len()], vec![7.5; policy.len()]);
    let out = PairOut::new(&mut losses, &mut d);
    let mut summary = preference_loss(loss, &batch, out)?;
    let left_out = padded.pairs.len() - padded.kept.len();
    assert_eq!(summary.left_out, left_out as u64, "pairs left out");
    summary.left_out = 0;
    for (i, loss) in losses.iter().enumerate() {
        if !padded.kept.contains(&i) {
            assert_eq!(bits(loss), [0; 6], "pair {i} is left out");
        }
    }
    assert!(d[THERE..].iter().all(|d| d.to_bits() == 0), "{d:?}");
    let kept = padded.kept.iter().map(|&i| bits(&losses[i])).collect();
    Ok(Found { losses: kept, grads: d.iter().map(|d| d.to_bits()).collect(), summary })
}

const SEEDS: u64 = 40;

/// Every loss of pairs and of the batch, by its name.
#[test]
fn of_every_loss() {
    let mut seen = 0;
    for name in LossName::ALL {
        for seed in 0..SEEDS {
            match build(name, &GOLDEN).1 {
                Objective::Pairs(loss) => {
                    let (is_free, offsets) = (!loss.inputs().reference, loss.inputs().offsets);
                    let (plain, all) = padded(seed, true, offsets);
                    let expected = run(&loss, &plain, is_free, offsets);
                    assert_eq!(run(&loss, &all, is_free, offsets), expected, "{name:?}, {seed}");
                    assert_eq!(expected.unwrap().summary.pairs, 4, "{name:?}");
                }
                Objective::Batch(aot) => {
                    let (plain, all) = padded(seed, false, false);
                    let mut order = vec![7; 2 * plain.pairs.len()];
                    let expected = run(aot.over(&mut order), &plain, false, false);
                    let mut order = vec![7; 2 * all.pairs.len()];
                    let found = run(aot.over(&mut order), &all, false, false);
                    assert_eq!(found, expected, "{name:?}, {seed}");
                    assert!(expected.is_ok());
                }
                // What is left out does not cut a group in two.
                Objective::Groups(loss) => {
                    let (mut plain, mut all) = padded(seed, false, true);
                    plain.pairs[1].chosen = plain.pairs[0].chosen;
                    all.pairs[all.kept[1]].chosen = plain.pairs[0].chosen;
                    let expected = run(loss, &plain, false, true);
                    assert_eq!(run(loss, &all, false, true), expected, "{name:?}, {seed}");
                    assert_eq!(expected.unwrap().losses[1][0], 0, "one loss a group");
                }
                // Others have tests of their own below.
                _ => {}
            }
        }
        seen += 1;
    }
    assert_eq!(seen, LossName::ALL.len());
}

/// A loss for each pair: what is left out has a loss too, which is not asked, not even for its
/// inputs.
#[test]
fn of_a_loss_for_each_pair() {
    for seed in 0..SEEDS {
        let (plain, all) = padded(seed, true, true);
        let simpo = loss(LossName::SimPo, &GOLDEN);
        let others = [LossName::Sigmoid, LossName::Nca].map(|n| loss(n, &GOLDEN));
        let mut losses: Vec<Loss> = (0..all.pairs.len()).map(|i| others[i % 2]).collect();
        for &i in &all.kept {
            losses[i] = simpo;
        }
        let expected = run(PerPair::new(&[simpo; 4]), &plain, true, true).unwrap();
        assert_eq!(run(PerPair::new(&losses), &all, true, true), Ok(expected), "{seed}");
    }
}

/// A loss that must not be asked.
struct Forbidden;

impl PreferenceLoss for Forbidden {
    fn inputs(&self) -> dpo_kernel::loss::Inputs {
        panic!("asked for its inputs")
    }

    fn evaluate(&self, _: &PairLogProbs) -> PairLoss {
        panic!("evaluated")
    }
}

/// A term of weight 0 is not evaluated, asks for nothing, and is not the first.
#[test]
fn of_a_mixture() {
    let simpo = SimPo::new(2.0, 0.5).unwrap();
    let dpo = Dpo::new(0.1).unwrap();
    let term = |weight, loss| MixtureTerm::new(weight, loss);
    let (a, b, none): (&dyn PreferenceLoss, &dyn PreferenceLoss, &dyn PreferenceLoss) =
        (&simpo, &dpo, &Forbidden);
    let there = [term(0.75, a), term(0.5, b)];
    let all = [term(0.0, none), there[0], term(-0.0, none), there[1], term(0.0, none)];
    let (there, all) = (Mixture::new(&there).unwrap(), Mixture::new(&all).unwrap());
    assert_eq!(all.inputs(), there.inputs());
    for seed in 0..SEEDS {
        let (plain, padded) = padded(seed, true, true);
        let expected = run(&there, &plain, false, true).unwrap();
        assert_eq!(run(&all, &padded, false, true), Ok(expected), "{seed}");
    }
    // Without DPO there is no reference to ask for.
    let free = [term(0.0, b), term(1.0, a)];
    let free = Mixture::new(&free).unwrap();
    let (plain, _) = padded(0, true, true);
    assert_eq!(run(&free, &plain, true, true), run(&simpo, &plain, true, true));
    let pair = PairLogProbs::reference_free(-20.5, -25.25).with_tokens(10, 12);
    assert_eq!(free.evaluate(&pair), simpo.evaluate(&pair), "rewards of the first with a weight");
}

/// The figures: one pair of weight 1 and one of weight 0.
#[test]
fn means_are_of_the_pairs_that_are_there() {
    let policy = [-20.5, -25.25, f64::NEG_INFINITY].map(|sum| SequenceLogProb { sum, count: 9 });
    let pairs = [Pair::new(0, 1), Pair::new(2, 1)];
    let sums = Reference::Sums(&[-21.0, -24.5, f64::NAN]);
    let run = |weights: &[f32]| {
        let batch = PairBatch::new(&pairs, &policy, sums, 1.0).with_weights(weights);
        let (mut losses, mut d) = ([PairLoss::default(); 2], [7.5; 3]);
        let out = PairOut::new(&mut losses, &mut d);
        (preference_loss(&Dpo::new(0.1).unwrap(), &batch, out), d)
    };
    let (found, d) = run(&[1.0, 0.0]);
    let found = found.unwrap();
    assert!((found.mean_loss() - 0.632_599_035_317_169_07).abs() < 1e-15);
    assert_eq!((found.pairs, found.left_out, found.correct), (1, 1, 1));
    assert_eq!((found.accuracy(), d[2]), (1.0, 0.0));
    // The control: with a weight the second pair is looked at.
    assert_eq!(run(&[1.0, 1e-30]).0, Err(Error::NonFinitePairs { first: 1, count: 1 }));
    // Nothing there: no mean, and no gradient.
    let (found, d) = run(&[0.0; 2]);
    let found = found.unwrap();
    assert!(found.mean_loss().is_nan());
    assert_eq!((found.pairs, found.left_out, found.loss_sum, d), (0, 2, 0.0, [0.0; 3]));
}

/// A pair by itself, under every loss.
#[test]
fn of_a_pair_by_itself() {
    for name in names() {
        let loss = loss(name, &GOLDEN);
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -3.0] {
            let pair = PairLogProbs::new(x, -2.0, -3.0, x).with_offset(x).with_weight(0.0);
            assert!(pair.is_left_out() && !pair.with_weight(1.0).is_left_out());
            assert_eq!(bits(&loss.evaluate(&pair)), [0; 6], "{name:?} of {x}");
        }
    }
}

/// What a pair with a weight names must have tokens, as many as under the reference; in every loss.
#[test]
fn what_is_named_is_looked_at() {
    let (policy, reference) = sequences();
    let (empty, longer) = (9, 10);
    for name in names() {
        let loss = loss(name, &GOLDEN);
        let is_free = !loss.inputs().reference;
        let reference = if is_free { Reference::Free } else { Reference::Sequences(&reference) };
        let run = |pair, weight| {
            let (pairs, weights) = ([Pair::new(0, 1), pair], [1.0, weight]);
            let batch = PairBatch::new(&pairs, &policy, reference, 1.0).with_weights(&weights);
            let (mut losses, mut d) = ([PairLoss::default(); 2], vec![7.5; policy.len()]);
            let out = PairOut::new(&mut losses, &mut d);
            let found = preference_loss(&loss, &batch, out).map(|_| ());
            assert_eq!(found.is_err(), d[0] == 7.5, "written on {found:?}");
            found
        };
        let no_tokens = Err(Error::NoScoredTokens { sequence: empty });
        assert_eq!(run(Pair::new(empty, 1), 0.5), no_tokens, "{name:?}");
        assert_eq!(run(Pair::new(0, empty), 0.5), no_tokens, "{name:?}");
        let differ = Error::TokenCountMismatch { sequence: longer, policy: 4, reference: 5 };
        let differ = if is_free { Ok(()) } else { Err(differ) };
        assert_eq!(run(Pair::new(longer, 1), 0.5), differ, "{name:?}");
        for pair in [Pair::new(empty, 1), Pair::new(0, longer)] {
            assert_eq!(run(pair, 0.0), Ok(()), "{name:?}");
        }
    }
}

/// Bits of losses, bits of gradients, sums.
type Answers = (Vec<[u64; 3]>, Vec<u64>, UnpairedSummary);

fn run_answers(loss: impl UnpairedBatchLoss, padded: &Padded) -> Answers {
    let (policy, reference) = sequences();
    let label = |sequence: usize| Label::from(sequence.is_multiple_of(2));
    let answers: Vec<_> =
        padded.pairs.iter().map(|p| UnpairedAnswer::new(p.chosen, label(p.chosen))).collect();
    let batch = UnpairedBatch::new(&answers, &policy, Reference::Sequences(&reference), 3.0)
        .with_weights(&padded.weights);
    let stale = AnswerLoss { loss: 7.5, reward: 7.5, d_log_prob: 7.5 };
    let (mut losses, mut d) = (vec![stale; answers.len()], vec![7.5; policy.len()]);
    let out = UnpairedOut::new(&mut losses, &mut d);
    let mut summary = unpaired_loss(loss, &batch, out).unwrap();
    let left_out = answers.len() - padded.kept.len();
    assert_eq!(summary.left_out, left_out as u64, "answers left out");
    summary.left_out = 0;
    let bits = |of: &AnswerLoss| [of.loss, of.reward, of.d_log_prob].map(f64::to_bits);
    for (i, loss) in losses.iter().enumerate() {
        assert!(padded.kept.contains(&i) || bits(loss) == [0; 3], "answer {i} is left out");
    }
    let kept = padded.kept.iter().map(|&i| bits(&losses[i])).collect();
    (kept, d.iter().map(|d| d.to_bits()).collect(), summary)
}

#[test]
fn of_unpaired_answers() {
    for seed in 0..SEEDS {
        let (plain, all) = padded(seed, true, false);
        let mut seen = 0;
        for name in names() {
            let loss = loss(name, &GOLDEN);
            let Some(loss) = loss.as_unpaired() else { continue };
            assert_eq!(run_answers(loss, &all), run_answers(loss, &plain), "{name:?}, {seed}");
            seen += 1;
        }
        assert_eq!(seen, 5);
        let kto = |kl| Kto::new(0.1, kl).unwrap();
        let mut each = vec![kto(9.0); all.pairs.len()];
        for &i in &all.kept {
            each[i] = kto(0.5);
        }
        let expected = run_answers(&kto(0.5), &plain);
        assert_eq!(run_answers(PerAnswer::new(&each), &all), expected);
        assert_eq!(expected.2.desirable + expected.2.undesirable, 4);
    }
}

#[test]
fn of_nll_terms() {
    let (policy, _) = sequences();
    for (seed, per) in (0..SEEDS).flat_map(|seed| [(seed, NllPer::Token), (seed, NllPer::Sequence)])
    {
        let nll = Nll::new(0.5, per, 3.0).unwrap();
        let (plain, all) = padded(seed, true, false);
        let run = |padded: &Padded, given: bool| {
            let chosen: Vec<usize> = padded.pairs.iter().map(|pair| pair.chosen).collect();
            let batch = if given {
                NllBatch::of_sequences(&chosen, &policy)
            } else {
                NllBatch::of_chosen(&padded.pairs, &policy)
            };
            let mut d = vec![7.5; policy.len()];
            let batch = batch.with_weights(&padded.weights);
            let mut summary = nll_loss(&nll, &batch, &mut d).unwrap();
            assert_eq!(summary.left_out, (padded.pairs.len() - padded.kept.len()) as u64);
            summary.left_out = 0;
            (summary, d.iter().map(|d| d.to_bits()).collect::<Vec<_>>())
        };
        let expected = run(&plain, false);
        assert_eq!((expected.0.sequences, expected.0.loss_sum > 0.0), (4, true));
        for found in [run(&all, false), run(&plain, true), run(&all, true)] {
            assert_eq!(found, expected, "{seed}");
        }
    }
}

/// The comparison sees a pair that is there after all, and one that is not.
#[test]
fn planted_faults_are_caught() {
    let loss = loss(LossName::Sigmoid, &GOLDEN);
    let (plain, all) = padded(3, true, true);
    assert!(all.pairs.len() > plain.pairs.len(), "something is left out");
    let expected = run(&loss, &plain, false, true).unwrap();
    let (mut more, mut fewer) = (padded(3, true, true).0, padded(3, true, true).0);
    more.pairs.push(Pair::new(2, 5));
    more.weights.push(1e-9);
    more.offsets.push(0.0);
    more.kept.push(4);
    assert_ne!(run(&loss, &more, false, true).unwrap(), expected, "one more");
    fewer.weights[1] = 0.0;
    fewer.kept.remove(1);
    assert_ne!(run(&loss, &fewer, false, true).unwrap(), expected, "one less");
    let mut heavier = padded(3, true, true).1;
    let i = (0..heavier.pairs.len()).find(|i| !heavier.kept.contains(i)).unwrap();
    heavier.weights[i] = 1.0;
    heavier.kept.push(i);
    assert!(run(&loss, &heavier, false, true).is_err(), "what is left out would be refused");
}
