//! Inputs that are no numbers, and inputs that are missing.

use dpo_kernel::loss::{
    BatchLoss, Inputs, Kto, Loss, Mixture, MixtureTerm, Nll, NllBatch, NllPer, Orpo, PairLogProbs,
    PerPair, PreferenceLoss, SimPo, Xpo, nll_loss,
};
use dpo_kernel::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, unpaired_loss,
};
use dpo_kernel::{
    Dpo, Error, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, preference_loss,
};

use crate::catalog::{GOLDEN, loss, names};

const PAIR: PairLogProbs = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5).with_tokens(10, 12);

fn is_all_nan(found: &PairLoss) -> bool {
    let PairLoss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = *found;
    [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected].iter().all(|x| x.is_nan())
}

fn all() -> impl Iterator<Item = Loss> {
    names().map(|name| loss(name, &GOLDEN))
}

/// Any input that is read and is no number makes every field NaN, in every loss.
#[test]
fn what_is_not_finite_is_nan() {
    type Set = fn(&mut PairLogProbs, f64);
    let policy: [Set; 2] = [|p, x| p.policy_chosen = x, |p, x| p.policy_rejected = x];
    let reference: [Set; 2] = [|p, x| p.reference_chosen = x, |p, x| p.reference_rejected = x];
    for loss in all() {
        assert!(!is_all_nan(&loss.evaluate(&PAIR)), "{loss:?}: the control");
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let with = |set: Set| {
                let mut pair = PAIR;
                set(&mut pair, bad);
                is_all_nan(&loss.evaluate(&pair))
            };
            for set in policy {
                assert!(with(set), "{loss:?}: a policy log-prob of {bad}");
            }
            for set in reference {
                assert_eq!(with(set), loss.inputs().reference, "{loss:?}: a reference of {bad}");
            }
            assert!(with(|p, x| p.weight = x), "{loss:?}: a weight of {bad}");
            assert!(with(|p, x| p.offset = x), "{loss:?}: an offset of {bad}");
        }
    }
}

/// Missing references, missing counts and offsets without a margin are never computed with.
#[test]
fn what_is_missing_is_nan() {
    for loss in all() {
        let Inputs { reference, tokens, offsets, .. } = loss.inputs();
        let free = PairLogProbs::reference_free(PAIR.policy_chosen, PAIR.policy_rejected);
        assert_eq!(is_all_nan(&loss.evaluate(&free.with_tokens(10, 12))), reference, "{loss:?}");
        for (m, n) in [(0, 0), (0, 12), (10, 0)] {
            let pair = PAIR.with_tokens(m, n);
            assert_eq!(is_all_nan(&loss.evaluate(&pair)), tokens, "{loss:?}: {m}, {n} tokens");
            let at_zero = PairLogProbs::new(-3.0, -2.0, -3.0, -2.0).with_tokens(m, n);
            assert_eq!(is_all_nan(&loss.evaluate(&at_zero)), tokens, "{loss:?}: at step 0");
        }
        let pair = PAIR.with_offset(0.25);
        assert_eq!(is_all_nan(&loss.evaluate(&pair)), !offsets, "{loss:?}: an offset");
    }
}

/// The same, for a batch: refused before anything is written.
#[test]
fn what_is_missing_or_unused_is_refused() {
    use dpo_kernel::error::Buffer;
    let pairs = [Pair::new(0, 1)];
    let policy = [-20.5, -25.25].map(|sum| SequenceLogProb { sum, count: 10 });
    let empty = [SequenceLogProb { sum: -20.5, count: 0 }, policy[1]];
    let sums = Reference::Sums(&[-21.0, -24.5]);
    let run = |loss: &Loss, policy: &[SequenceLogProb], reference, offsets: bool| {
        let (mut losses, mut d) = ([PairLoss { loss: 7.5, ..PairLoss::default() }], [7.5; 2]);
        let mut batch = PairBatch::new(&pairs, policy, reference, 1.0);
        if offsets {
            batch = batch.with_offsets(&[0.25]);
        }
        let out = PairOut::new(&mut losses, &mut d);
        let found = preference_loss(loss, &batch, out).map(|_| ());
        let untouched = losses[0].loss == 7.5 && d == [7.5; 2];
        assert_eq!(found.is_err(), untouched, "{loss:?}: written on {found:?}");
        found
    };
    for loss in all() {
        let Inputs { reference, offsets, .. } = loss.inputs();
        let (right, wrong) =
            if reference { (sums, Reference::Free) } else { (Reference::Free, sums) };
        let unused = |buffer| Err(Error::InputUnused { buffer });
        assert_eq!(run(&loss, &policy, right, false), Ok(()), "{loss:?}");
        let error =
            if reference { Err(Error::ReferenceMissing) } else { unused(Buffer::Reference) };
        assert_eq!(run(&loss, &policy, wrong, false), error, "{loss:?}");
        let error = if offsets { Ok(()) } else { unused(Buffer::PairOffsets) };
        assert_eq!(run(&loss, &policy, right, true), error, "{loss:?}");
        let error = Err(Error::NoScoredTokens { sequence: 0 });
        assert_eq!(run(&loss, &empty, right, false), error, "{loss:?}");
    }
}

/// Several losses read what one of them reads, and take an offset only if all do.
#[test]
fn inputs_of_several() {
    let (dpo, simpo) = (Dpo::new(0.1).unwrap(), SimPo::new(2.0, 0.5).unwrap());
    let nca = dpo_kernel::loss::Nca::new(0.1).unwrap();
    let inputs = |reference, tokens, offsets| {
        let given = Inputs::POLICY;
        let given = if reference { given.with_reference() } else { given };
        let given = if tokens { given.with_tokens() } else { given };
        if offsets { given.with_offsets() } else { given }
    };
    let mix = |a: &dyn PreferenceLoss, b: &dyn PreferenceLoss| {
        let terms = [a, b].map(|loss| MixtureTerm::new(0.5, loss));
        Mixture::new(&terms).unwrap().inputs()
    };
    assert_eq!(mix(&dpo, &simpo), inputs(true, true, true));
    assert_eq!(mix(&dpo, &nca), inputs(true, false, false));
    assert_eq!(mix(&simpo, &simpo), inputs(false, true, true));
    let p = GOLDEN;
    let two = [dpo_kernel::loss::LossName::Sigmoid, dpo_kernel::loss::LossName::SimPo]
        .map(|n| loss(n, &p));
    let each = |losses: &[Loss], weights| BatchLoss::inputs(&PerPair::new(losses), weights);
    assert_eq!(each(&two, None), inputs(true, true, true));
    assert_eq!(each(&two[1..], None), inputs(false, true, true));
    // A pair that is left out asks for nothing, unless there is no other.
    assert_eq!(each(&two, Some(&[0.0, 2.0])), inputs(false, true, true));
    assert_eq!(each(&two, Some(&[0.5, 0.0])), inputs(true, false, true));
    assert_eq!(each(&two, Some(&[0.0; 2])), inputs(true, true, true));
    let terms = [(0.0, &two[0]), (0.5, &two[1])];
    let terms = terms.map(|(weight, loss)| MixtureTerm::new(weight, loss));
    assert_eq!(Mixture::new(&terms).unwrap().inputs(), inputs(false, true, true));
    assert_eq!(
        inputs(true, false, true).and(inputs(false, true, false)),
        inputs(true, true, false)
    );
}

/// Answers as good as certain: odds whose slopes overflow before λ and the tokens divide them.
#[test]
fn odds_of_certain_answers_are_finite() {
    let (lambda, n) = (1e-4, 65_413.0);
    let orpo = Orpo::new(lambda).unwrap();
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-9;
    // Near 0, 1 − e^x is −x: U = 1/(|p| + |q|), and U·(1 − P)/(1 − Q) = U·p/q.
    let (p, q) = (-3e-306, -6e-306);
    let pair = PairLogProbs::new(p, q, 0.0, 0.0).with_tokens(65_413, 65_413);
    let found = orpo.evaluate(&pair);
    assert!(near(found.loss, lambda * libm::log(1.5)), "{found:?}");
    assert!(near(found.d_chosen, lambda / (p + q)), "{found:?}");
    assert!(near(found.d_rejected, -lambda / (p + q) * (p / q)), "{found:?}");
    // The rejected answer alone: the odds are those of a chosen answer that is none.
    let pair = PairLogProbs::new(-95.5 * n, q, 0.0, 0.0).with_tokens(65_413, 65_413);
    let found = orpo.evaluate(&pair);
    assert!(near(found.loss, lambda * (95.5 - libm::log(-q / n))), "{found:?}");
    assert!(near(found.d_chosen, -lambda / n), "{found:?}");
    assert!(near(found.d_rejected, lambda / -q), "{found:?}");
}

/// A divisor so small that a gradient overflows makes the pair, the answer or the term not finite:
/// after the division, in every entry.
#[test]
fn finite_is_judged_after_the_divisor() {
    const DIVISOR: f64 = 1e-310;
    let policy = [-20.5, -25.25, -3.0, -4.0].map(|sum| SequenceLogProb { sum, count: 10 });
    // Of the second pair, or of sequences 2 and 3, the gradients are small enough.
    let sums = [-20.5, -25.25, -1003.0, 996.0];
    let pairs = [Pair::new(0, 1), Pair::new(2, 3)];
    let dpo = Dpo::new(1.0).unwrap();
    let run = |divisor| {
        let batch = PairBatch::new(&pairs, &policy, Reference::Sums(&sums), divisor);
        let (mut losses, mut d) = ([PairLoss::default(); 2], [7.5; 4]);
        let out = PairOut::new(&mut losses, &mut d);
        (preference_loss(&dpo, &batch, out), losses, d)
    };
    assert!(run(1.0).0.is_ok(), "the control");
    let (found, losses, d) = run(DIVISOR);
    assert_eq!(found, Err(Error::NonFinitePairs { first: 0, count: 1 }));
    assert!(is_all_nan(&losses[0]) && d[0].is_nan() && d[1].is_nan());
    assert!(losses[1].loss.is_finite() && d[2].is_finite() && d[3].is_finite());

    let answers = [0, 2].map(|sequence| UnpairedAnswer::new(sequence, Label::Desirable));
    let kto = Kto::new(1.0, 0.0).unwrap();
    let run = |divisor| {
        let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&sums), divisor);
        let (mut losses, mut d) = ([AnswerLoss::default(); 2], [7.5; 4]);
        let out = UnpairedOut::new(&mut losses, &mut d);
        (unpaired_loss(&kto, &batch, out), losses, d)
    };
    assert!(run(1.0).0.is_ok(), "the control");
    let (found, losses, d) = run(DIVISOR);
    assert_eq!(found, Err(Error::NonFiniteAnswers { first: 0, count: 1 }));
    assert!(losses[0].loss.is_nan() && d[0].is_nan());
    assert!(losses[1].loss.is_finite() && d[2].is_finite());

    let run = |divisor, batch: &NllBatch<'_>| {
        let nll = Nll::new(1.0, NllPer::Token, divisor).unwrap();
        let xpo = Xpo::new(1.0, divisor).unwrap();
        [nll, xpo.into()].map(|term: Nll| {
            let mut d = [7.5; 4];
            (nll_loss(&term, batch, &mut d), d)
        })
    };
    let weights = [1.0_f32, 1e-38];
    let chosen = NllBatch::of_chosen(&pairs, &policy).with_weights(&weights);
    let given = NllBatch::of_sequences(&[0, 2], &policy).with_weights(&weights);
    for (batch, error) in [
        (chosen, Error::NonFinitePairs { first: 0, count: 1 }),
        (given, Error::NonFiniteAnswers { first: 0, count: 1 }),
    ] {
        assert!(run(1.0, &batch).iter().all(|(found, _)| found.is_ok()), "the control");
        for (found, d) in run(DIVISOR, &batch) {
            assert_eq!(found, Err(error));
            assert!(d[0].is_nan() && d[2].is_finite() && d[1] == 0.0 && d[3] == 0.0);
        }
    }
}
