//! Terms of likelihood: NLL of chosen and of given answers, XPO's term, and what is made of them.

use dpo_kernel::error::Buffer;
use dpo_kernel::loss::{
    Cpo, Nll, NllAnswers, NllBatch, NllPer, NllSummary, PairLogProbs, PreferenceLoss, Xpo, nll_loss,
};
use dpo_kernel::{
    Dpo, Error, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, preference_loss,
};

use crate::close;

const PAIRS: [Pair; 3] = [Pair::new(0, 1), Pair::new(0, 2), Pair::new(1, 2)];

fn sequences<const N: usize>(of: [(f64, usize); N]) -> [SequenceLogProb; N] {
    of.map(|(sum, count)| SequenceLogProb { sum, count })
}

/// Sequence 0 is chosen twice, 1 once, 2 never.
fn policy() -> [SequenceLogProb; 3] {
    sequences([(-20.0, 10), (-25.0, 5), (-3.0, 3)])
}

fn run(nll: &Nll, batch: &NllBatch<'_>) -> (Result<NllSummary, Error>, [f64; 3]) {
    let mut d = [7.5; 3];
    (nll_loss(nll, batch, &mut d), d)
}

/// (sequences, tokens, left out, Σ loss)
fn counts(found: &NllSummary) -> (u64, u64, u64, f64) {
    (found.sequences, found.tokens, found.left_out, found.loss_sum)
}

fn term(per: NllPer) -> Nll {
    Nll::new(0.5, per, 4.0).unwrap()
}

#[test]
fn of_chosen_answers() {
    let policy = policy();
    let chosen = NllBatch::of_chosen(&PAIRS, &policy);
    for (per, loss, expected) in [
        (NllPer::Token, 0.5 * 65.0, [-0.25, -0.125, 0.0]),
        (NllPer::Sequence, 0.5 * 9.0, [-0.025, -0.025, 0.0]),
    ] {
        let (found, d) = run(&term(per), &chosen);
        assert_eq!((counts(&found.unwrap()), d), ((3, 25, 0, loss), expected));
        // Parts add up.
        let mut total = NllSummary::default();
        for pair in PAIRS {
            total += run(&term(per), &NllBatch::of_chosen(&[pair], &policy)).0.unwrap();
        }
        assert_eq!(total, found.unwrap());
    }
}

/// The answers are those of the indices, whether or not a pair chose them.
#[test]
fn of_given_sequences() {
    let policy = policy();
    for per in [NllPer::Token, NllPer::Sequence] {
        let same = NllBatch::of_sequences(&[0, 0, 1], &policy);
        assert!(matches!(same.answers, NllAnswers::Sequences([0, 0, 1])));
        let chosen = NllBatch::of_chosen(&PAIRS, &policy);
        assert_eq!(run(&term(per), &same), run(&term(per), &chosen));
    }
    let (found, d) = run(&term(NllPer::Token), &NllBatch::of_sequences(&[2], &policy));
    assert_eq!((counts(&found.unwrap()), d), ((1, 3, 0, 1.5), [0.0, 0.0, -0.125]));
}

/// A weight is a factor on loss and gradient; 0 is absence.
#[test]
fn of_weighted_answers() {
    let policy = policy();
    let weights = [1.0_f32, 0.0, 0.5];
    for (per, loss, expected) in [
        (NllPer::Token, 0.5 * (20.0 + 12.5), [-0.125, -0.0625, 0.0]),
        (NllPer::Sequence, 0.5 * (2.0 + 2.5), [-0.0125, -0.0125, 0.0]),
    ] {
        let given = [0, 0, 1];
        for batch in [NllBatch::of_chosen(&PAIRS, &policy), NllBatch::of_sequences(&given, &policy)]
        {
            let (found, d) = run(&term(per), &batch.with_weights(&weights));
            assert_eq!((counts(&found.unwrap()), d), ((2, 15, 1, loss), expected));
            assert_eq!(run(&term(per), &batch.with_weights(&[1.0; 3])), run(&term(per), &batch));
        }
    }
    // A term of weight 0 has no answers, whatever they are.
    let nothing = Nll::new(0.0, NllPer::Sequence, 1.0).unwrap();
    let empty = [SequenceLogProb { sum: f64::NAN, count: 0 }; 3];
    let (found, d) = run(&nothing, &NllBatch::of_chosen(&PAIRS, &empty));
    assert_eq!((counts(&found.unwrap()), d), ((0, 0, 3, 0.0), [0.0; 3]));
    let (found, d) = run(&nothing, &NllBatch::of_sequences(&[usize::MAX], &empty));
    assert_eq!((counts(&found.unwrap()), d), ((0, 0, 1, 0.0), [0.0; 3]));
}

#[test]
fn what_is_refused() {
    let policy = policy();
    let nll = term(NllPer::Token);
    let chosen = |policy: &[SequenceLogProb; 3]| run(&nll, &NllBatch::of_chosen(&PAIRS, policy));
    let given =
        |policy: &[SequenceLogProb; 3]| run(&nll, &NllBatch::of_sequences(&[2, 0, 0], policy));
    for bad in [f64::NEG_INFINITY, f64::NAN, f64::INFINITY] {
        let mut broken = policy;
        broken[0].sum = bad;
        let (found, d) = chosen(&broken);
        assert_eq!(found, Err(Error::NonFinitePairs { first: 0, count: 2 }));
        assert!(d[0].is_nan() && d[1] == -0.125);
        let (found, d) = given(&broken);
        assert_eq!(found, Err(Error::NonFiniteAnswers { first: 1, count: 2 }));
        assert!(d[0].is_nan() && d[2] == -0.125);
    }
    // No token: refused per token too, and not looked at where nothing names it.
    let mut empty = policy;
    empty[0] = SequenceLogProb { sum: 0.0, count: 0 };
    let refused = (Err(Error::NoScoredTokens { sequence: 0 }), [7.5; 3]);
    assert_eq!((chosen(&empty), given(&empty)), (refused, refused));
    empty = policy;
    empty[2].count = 0;
    assert_eq!(chosen(&empty), chosen(&policy));

    let far = Error::SequenceOutOfRange { pair: 0, sequence: 3, sequences: 3 };
    let pairs = [Pair::new(3, 0)];
    let batch = NllBatch::of_chosen(&pairs, &policy);
    assert_eq!(run(&nll, &batch), (Err(far), [7.5; 3]));
    let far = Error::AnswerOutOfRange { answer: 1, sequence: 3, sequences: 3 };
    let batch = NllBatch::of_sequences(&[0, 3], &policy);
    assert_eq!(run(&nll, &batch), (Err(far), [7.5; 3]));

    let (batch, two) = (NllBatch::of_chosen(&PAIRS, &policy), [1.0_f32; 2]);
    let length = |buffer| Err(Error::Length { buffer, expected: 3, found: 2 });
    assert_eq!(run(&nll, &batch.with_weights(&two)), (length(Buffer::PairWeights), [7.5; 3]));
    assert_eq!(nll_loss(&nll, &batch, &mut [0.0; 2]), length(Buffer::NllGrads));
    let batch = NllBatch::of_sequences(&[0, 0, 1], &policy);
    assert_eq!(run(&nll, &batch.with_weights(&two)), (length(Buffer::AnswerWeights), [7.5; 3]));
    let (buffer, index) = (Buffer::AnswerWeights, 1);
    let found = run(&nll, &batch.with_weights(&[1.0, -0.5, 1.0]));
    let error = Error::InvalidValue { buffer, index, value: -0.5 };
    assert_eq!(found, (Err(error), [7.5; 3]));
}

/// DPO with XPO's term: mean loss and gradient with respect to each sequence's log-prob.
fn xpo(policy: &[SequenceLogProb; 4], alpha: f64) -> (f64, [f64; 4]) {
    let pairs = [Pair::new(0, 1), Pair::new(2, 3)];
    let reference = Reference::Sums(&[-21.0, -24.5, -9.0, -9.25]);
    let divisor = 2.0;
    let batch = PairBatch::new(&pairs, policy, reference, divisor);
    let (mut losses, mut d, mut d_xpo) = ([PairLoss::default(); 2], [0.0; 4], [0.0; 4]);
    let out = PairOut::new(&mut losses, &mut d);
    let summary = preference_loss(&Dpo::new(0.1).unwrap(), &batch, out).unwrap();
    // One answer of the reference was rejected, the other one chosen.
    let batch = NllBatch::of_sequences(&[1, 2], policy);
    let found = nll_loss(&Xpo::new(alpha, divisor).unwrap().into(), &batch, &mut d_xpo).unwrap();
    let counted = if alpha == 0.0 { (0, 0, 2) } else { (2, 22, 0) };
    assert_eq!((found.sequences, found.tokens, found.left_out), counted, "α = {alpha}");
    let d = [0, 1, 2, 3].map(|i| d[i] + d_xpo[i]);
    ((summary.loss_sum + found.loss_sum) / divisor, d)
}

#[test]
fn of_xpo() {
    let policy = sequences([(-20.5, 10), (-25.25, 12), (-8.0, 10), (-9.5, 7)]);
    // By hand: Σ log π of the reference's answers is −33.25, over two pairs −16.625.
    let plain = xpo(&policy, 0.0).0;
    // z = 0.125 in both pairs.
    close("the loss of DPO", plain, 0.632_599_035_317_169_07, 1e-15);
    close("α = 1", xpo(&policy, 1.0).0 - plain, -16.625, 1e-15);
    assert_eq!(Xpo::ALPHA, 1e-5);
    close("the default", xpo(&policy, Xpo::ALPHA).0 - plain, -1.6625e-4, 1e-15);

    let (_, d) = xpo(&policy, 0.3);
    let h = 1e-4;
    for i in 0..4 {
        let at = |h: f64| {
            let mut policy = policy;
            policy[i].sum += h;
            xpo(&policy, 0.3).0
        };
        close("central differences", d[i], (at(h) - at(-h)) / (2.0 * h), 1e-10);
    }
    // Descent makes the answers of the reference less likely than DPO alone does.
    let (_, without) = xpo(&policy, 0.0);
    assert!(d[1] > without[1] && d[2] > without[2] && d[0] == without[0] && d[3] == without[3]);
}

fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}

/// TPO: a contrast without a reference on the pair, plus α times the NLL of a third, gold answer.
#[test]
fn of_tpo() {
    let (beta, alpha) = (0.01, 1.0);
    let loss = |policy: &[SequenceLogProb; 3]| {
        let pairs = [Pair::new(0, 1)];
        let batch = PairBatch::new(&pairs, policy, Reference::Free, 1.0);
        let (mut losses, mut d, mut d_gold) = ([PairLoss::default()], [0.0; 3], [0.0; 3]);
        let out = PairOut::new(&mut losses, &mut d);
        let contrast = preference_loss(&Cpo::new(beta).unwrap(), &batch, out).unwrap();
        let nll = Nll::new(alpha, NllPer::Sequence, 1.0).unwrap();
        let gold = NllBatch::of_sequences(&[2], policy);
        let found = nll_loss(&nll, &gold, &mut d_gold).unwrap();
        (contrast.loss_sum + found.loss_sum, [0, 1, 2].map(|i| d[i] + d_gold[i]))
    };
    let policy = sequences([(-20.5, 10), (-25.25, 12), (-18.0, 9)]);
    let (value, d) = loss(&policy);
    // z = 0.01·(−20.5 + 25.25) = 0.0475; the gold answer has 2 nats a token.
    close("TPO", value, softplus(-0.0475) + 2.0, 1e-15);
    let slope = beta / (1.0 + 0.0475_f64.exp());
    for (found, expected) in d.into_iter().zip([-slope, slope, -1.0 / 9.0]) {
        close("gradient", found, expected, 1e-15);
    }
    // The control: the contrast does not see the gold answer, nor the term the pair.
    let pair = PairLogProbs::reference_free(-20.5, -25.25);
    let alone = Cpo::new(beta).unwrap().evaluate(&pair);
    assert_eq!((d[0], d[1]), (alone.d_chosen, alone.d_rejected));
}
