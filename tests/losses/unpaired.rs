//! Answers without a partner: each side of a loss by itself, the checks, and the sums.

use dpo_kernel::error::Buffer;
use dpo_kernel::loss::{ApoZero, Bco, Kto, PairLogProbs, PreferenceLoss, Tangent, UnpairedLoss};
use dpo_kernel::unpaired::{
    AnswerLoss, Label, PerAnswer, UnpairedAnswer, UnpairedBatch, UnpairedBatchLoss, UnpairedOut,
    UnpairedSummary, unpaired_loss,
};
use dpo_kernel::{Error, Reference, SequenceLogProb};

use crate::catalog::{GOLDEN, loss, names};

const POLICY: [f64; 4] = [-20.5, -25.25, -3.0, -7.5];
const REFERENCE: [f64; 4] = [-21.0, -24.5, -3.0, -6.25];

fn answers() -> [UnpairedAnswer; 5] {
    let labelled = |sequence, label| UnpairedAnswer { sequence, label };
    [
        labelled(0, Label::Desirable),
        labelled(1, Label::Undesirable),
        labelled(3, Label::Desirable),
        labelled(3, Label::Undesirable),
        labelled(0, Label::Desirable),
    ]
}

fn sequences() -> [SequenceLogProb; 4] {
    POLICY.map(|sum| SequenceLogProb { sum, count: 10 })
}

fn run(
    loss: impl UnpairedBatchLoss,
    batch: &UnpairedBatch<'_>,
) -> (Result<UnpairedSummary, Error>, Vec<AnswerLoss>, Vec<f64>) {
    let mut losses = vec![AnswerLoss { loss: 7.5, ..AnswerLoss::default() }; batch.answers.len()];
    let mut d = vec![7.5; batch.policy.len()];
    let found = unpaired_loss(loss, batch, UnpairedOut::new(&mut losses, &mut d));
    (found, losses, d)
}

/// A desirable and an undesirable answer are the two sides of a pair, in every unpaired loss.
#[test]
fn two_answers_are_a_pair() {
    let policy = sequences();
    let answers = [
        UnpairedAnswer { sequence: 0, label: Label::Desirable },
        UnpairedAnswer { sequence: 1, label: Label::Undesirable },
    ];
    let pair = PairLogProbs::new(POLICY[0], POLICY[1], REFERENCE[0], REFERENCE[1]);
    let mut sides = 0;
    for name in names() {
        let loss = loss(name, &GOLDEN);
        let Some(side) = loss.as_unpaired() else { continue };
        sides += 1;
        let expected = loss.evaluate(&pair);
        let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&REFERENCE), 1.0);
        let (found, losses, d) = run(side, &batch);
        let found = found.unwrap();
        assert_eq!(losses[0].loss + losses[1].loss, expected.loss, "{name:?}");
        assert_eq!(d[..2], [expected.d_chosen, expected.d_rejected], "{name:?}");
        assert_eq!(d[2..], [0.0; 2], "sequences without a label");
        let rewards = (losses[0].reward, losses[1].reward);
        assert_eq!(rewards, (expected.reward_chosen, expected.reward_rejected), "{name:?}");
        assert_eq!(found.desirable_loss_sum + found.undesirable_loss_sum, expected.loss);
    }
    assert_eq!(sides, 5, "NCA, BCO, SPPO, APO-zero, KTO");
}

/// A class of weight 0 is not there: its answers may be NaN, and count as left out.
#[test]
fn a_class_of_weight_0_is_left_out() {
    for (weights, left_out, present) in [((0.0, 1.0), 3, 2), ((1.0, 0.0), 2, 3)] {
        let kto = Kto::new(0.1, 0.2).unwrap().with_weights(weights.0, weights.1).unwrap();
        let answers = answers();
        let absent = |label| (label == Label::Desirable) == (weights.0 == 0.0);
        let mut policy = [sequences(), sequences()].concat();
        let reference = [REFERENCE, REFERENCE].concat();
        // Each answer of the class has a sequence of its own that is none.
        let apart = answers.map(|of| UnpairedAnswer {
            sequence: of.sequence + if absent(of.label) { 4 } else { 0 },
            ..of
        });
        policy[4..].fill(SequenceLogProb { sum: f64::NAN, count: 10 });
        let batch = UnpairedBatch::new(&apart, &policy, Reference::Sums(&reference), 1.0);
        let (found, losses, d) = run(&kto, &batch);
        let found = found.unwrap();
        assert_eq!((found.left_out, found.desirable + found.undesirable), (left_out, present));
        assert!(d.iter().all(|d| d.is_finite()), "{d:?}");
        for (answer, loss) in apart.iter().zip(&losses) {
            assert_eq!(loss.loss > 0.0, !absent(answer.label), "{loss:?}");
        }
        // The other class is not: a NaN there is an error.
        let batch = UnpairedBatch::new(&answers, &policy[4..], Reference::Sums(&REFERENCE), 1.0);
        let first = usize::from(weights.0 == 0.0);
        let due = Err(Error::NonFiniteAnswers { first, count: present as usize });
        assert_eq!(run(&kto, &batch).0, due);
    }
}

#[test]
fn weights_divisor_and_sums() {
    let (policy, answers) = (sequences(), answers());
    let kto = Kto::new(0.1, 0.2).unwrap().with_weights(1.5, 0.5).unwrap();
    let weights = [1.0_f32, 2.0, 0.5, 0.25, 0.0];
    let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&REFERENCE), 4.0)
        .with_weights(&weights);
    let (found, losses, d) = run(&kto, &batch);
    let mut expected = [0.0; 4];
    for ((answer, weight), loss) in answers.iter().zip(weights).zip(&losses) {
        let log_ratio = POLICY[answer.sequence] - REFERENCE[answer.sequence];
        let Tangent { value, slope } = match answer.label {
            Label::Desirable => kto.chosen(log_ratio),
            Label::Undesirable => kto.rejected(log_ratio),
        };
        if weight == 0.0 {
            assert_eq!(*loss, AnswerLoss::default());
            continue;
        }
        assert_eq!(loss.loss, f64::from(weight) * value);
        assert_eq!(loss.reward, kto.beta() * log_ratio);
        expected[answer.sequence] += f64::from(weight) * slope / 4.0;
    }
    assert_eq!(d, expected);
    let found = found.unwrap();
    assert_eq!((found.desirable, found.undesirable, found.left_out), (2, 2, 1));
    assert_eq!(found.desirable_loss_sum, losses[0].loss + losses[2].loss);
    let mean = (found.desirable_loss_sum + found.undesirable_loss_sum) / 4.0;
    assert_eq!(found.mean_loss(), mean);

    // Micro-batches add up, and a class that does not occur adds 0.
    let mut total = UnpairedSummary::default();
    for (i, answer) in answers.iter().enumerate() {
        let (one, weight) = ([*answer], [weights[i]]);
        let batch = UnpairedBatch::new(&one, &policy, Reference::Sums(&REFERENCE), 4.0)
            .with_weights(&weight);
        let part = run(&kto, &batch).0.unwrap();
        let absent = match answer.label {
            Label::Desirable => (part.undesirable_loss_sum, part.undesirable_reward_sum),
            Label::Undesirable => (part.desirable_loss_sum, part.desirable_reward_sum),
        };
        assert_eq!(absent, (0.0, 0.0));
        total += part;
    }
    assert_eq!(total, found);
    assert!(UnpairedSummary::default().mean_loss().is_nan());
}

/// w/2 and ∓wβ/4 at K = 0.
#[test]
fn step_zero() {
    let policy = sequences();
    let kto = Kto::new(0.1, 0.0).unwrap().with_weights(1.5, 0.5).unwrap();
    let answers = [
        UnpairedAnswer { sequence: 0, label: Label::Desirable },
        UnpairedAnswer { sequence: 1, label: Label::Undesirable },
    ];
    let batch = UnpairedBatch::new(&answers, &policy, Reference::Sequences(&policy), 1.0);
    let (_, losses, d) = run(&kto, &batch);
    assert_eq!((losses[0].loss, losses[1].loss), (0.75, 0.25));
    assert_eq!(d[..2], [-1.5 * (0.1 / 4.0), 0.5 * (0.1 / 4.0)]);
}

#[test]
fn what_is_refused() {
    let (policy, answers) = (sequences(), answers());
    let bco = Bco::new(0.1).unwrap().with_shift(0.05).unwrap();
    let sums = Reference::Sums(&REFERENCE);
    let good = UnpairedBatch::new(&answers, &policy, sums, 1.0);
    assert!(run(&bco, &good).0.is_ok());
    let check = |batch: &UnpairedBatch<'_>, error: Error| {
        let (found, losses, d) = run(&bco, batch);
        match (found, error) {
            (Err(Error::Parameter { value, .. }), Error::Parameter { value: expected, .. }) => {
                assert_eq!(value.to_bits(), expected.to_bits());
            }
            (found, error) => assert_eq!(found, Err(error)),
        }
        let untouched = losses.iter().all(|x| x.loss == 7.5) && d.iter().all(|&d| d == 7.5);
        assert!(untouched, "written on {error:?}");
    };
    let length = |buffer, expected, found| Error::Length { buffer, expected, found };
    for divisor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let parameter = dpo_kernel::error::Parameter::Divisor;
        let batch = UnpairedBatch::new(&answers, &policy, sums, divisor);
        check(&batch, Error::Parameter { parameter, value: divisor });
    }
    let batch = UnpairedBatch::new(&answers, &policy, Reference::Free, 1.0);
    check(&batch, Error::ReferenceMissing);
    let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&REFERENCE[..3]), 1.0);
    check(&batch, length(Buffer::Reference, 4, 3));
    check(&good.with_weights(&[1.0; 4]), length(Buffer::AnswerWeights, 5, 4));
    let (buffer, index) = (Buffer::AnswerWeights, 2);
    let batch = good.with_weights(&[1.0, 1.0, -0.5, 1.0, 1.0]);
    check(&batch, Error::InvalidValue { buffer, index, value: -0.5 });
    let far = [UnpairedAnswer { sequence: 4, label: Label::Desirable }];
    let batch = UnpairedBatch::new(&far, &policy, sums, 1.0);
    check(&batch, Error::AnswerOutOfRange { answer: 0, sequence: 4, sequences: 4 });
    let mut other = policy;
    other[3].count = 9;
    let batch = UnpairedBatch::new(&answers, &policy, Reference::Sequences(&other), 1.0);
    check(&batch, Error::TokenCountMismatch { sequence: 3, policy: 10, reference: 9 });
    let mut empty = policy;
    empty[1].count = 0;
    check(&UnpairedBatch::new(&answers, &empty, sums, 1.0), Error::NoScoredTokens { sequence: 1 });
    // No answer names sequence 2, so that nothing is asked of it.
    other = REFERENCE.map(|sum| SequenceLogProb { sum, count: 10 });
    empty = policy;
    (other[2].count, empty[2]) = (9, SequenceLogProb { sum: f64::NAN, count: 0 });
    for (policy, reference) in [(&policy, Reference::Sequences(&other)), (&empty, sums)] {
        let batch = UnpairedBatch::new(&answers, policy, reference, 1.0);
        assert_eq!(run(&bco, &batch), run(&bco, &good));
    }

    let (mut losses, mut d) = ([AnswerLoss::default(); 4], [0.0; 4]);
    let out = UnpairedOut::new(&mut losses, &mut d);
    let found = unpaired_loss(&bco, &good, out);
    assert_eq!(found, Err(length(Buffer::AnswerLosses, 5, 4)));
    let (mut losses, mut d) = ([AnswerLoss::default(); 5], [0.0; 3]);
    let out = UnpairedOut::new(&mut losses, &mut d);
    let found = unpaired_loss(&bco, &good, out);
    assert_eq!(found, Err(length(Buffer::SequenceGrads, 4, 3)));
}

/// Broken answers are named and NaN; the others are complete.
#[test]
fn broken_answers_are_named() {
    let answers = answers();
    let apo = ApoZero::new(0.1).unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut policy = sequences();
        policy[3].sum = bad;
        let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&REFERENCE), 1.0);
        let (found, losses, d) = run(&apo, &batch);
        assert_eq!(found, Err(Error::NonFiniteAnswers { first: 2, count: 2 }), "{bad}");
        for (i, loss) in losses.iter().enumerate() {
            let nan = [loss.loss, loss.reward, loss.d_log_prob].map(f64::is_nan);
            assert_eq!(nan, [i == 2 || i == 3; 3], "answer {i}");
        }
        assert!(d[3].is_nan() && d[..3].iter().all(|d| d.is_finite()));
    }
}

/// A loss for each answer is each answer under its own loss.
#[test]
fn a_loss_for_each_answer() {
    let (policy, answers) = (sequences(), answers());
    let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&REFERENCE), 2.0);
    let each = [0.0, 0.1, 0.4, 1.0, 3.0].map(|kl| Kto::new(0.1, kl).unwrap());
    let (found, losses, d) = run(PerAnswer::new(&each), &batch);
    let (mut total, mut gradient) = (UnpairedSummary::default(), [0.0; 4]);
    for (i, kto) in each.iter().enumerate() {
        let one = [answers[i]];
        let batch = UnpairedBatch::new(&one, &policy, Reference::Sums(&REFERENCE), 2.0);
        let (alone, loss, d) = run(kto, &batch);
        assert_eq!(losses[i], loss[0], "answer {i}");
        total += alone.unwrap();
        gradient[answers[i].sequence] += d[answers[i].sequence];
    }
    assert_eq!((found.unwrap(), &d[..]), (total, &gradient[..]));
    assert_ne!(losses, run(&each[0], &batch).1, "the control");
    // Whether an answer is left out says its own loss, not the first one's.
    let mut some = each;
    some[2] = some[2].with_weights(0.0, 1.0).unwrap();
    let (found, losses, _) = run(PerAnswer::new(&some), &batch);
    assert_eq!(found.unwrap().left_out, 1);
    let is_there: Vec<bool> = losses.iter().map(|of| of.loss != 0.0).collect();
    assert_eq!(is_there, [true, true, false, true, true]);
    assert_eq!(run(PerAnswer::new(&[each[1]; 5]), &batch), run(&each[1], &batch));
    for wrong in [4, 6] {
        let (found, losses, d) = run(PerAnswer::new(&vec![each[0]; wrong]), &batch);
        let buffer = Buffer::AnswerLossKinds;
        assert_eq!(found, Err(Error::Length { buffer, expected: 5, found: wrong }));
        assert!(losses.iter().all(|x| x.loss == 7.5) && d == [7.5; 4], "nothing was written");
    }
}

/// Data sets write 1 for good and 0 for bad; ±1, 2 and the rest are refused.
#[test]
fn labels_are_those_of_data_sets() {
    assert_eq!((Label::Undesirable as i32, Label::Desirable as i32), (0, 1));
    assert_eq!((Label::from(true), Label::from(false)), (Label::Desirable, Label::Undesirable));
    for value in [0_i32, 1] {
        let label = Label::from(value == 1);
        assert_eq!((Label::try_from(value), label as i32), (Ok(label), value));
        assert_eq!(Label::try_from(i64::from(value)), Ok(label));
    }
    for value in [-1_i32, 2, i32::MIN, i32::MAX] {
        let error = Err(Error::UnknownLabel { value: value.into() });
        assert_eq!(Label::try_from(value), error);
        assert_eq!(Label::try_from(i64::from(value)), error);
    }
    // Not cut to 32 bits, where it would be 1.
    let error = Error::UnknownLabel { value: (1 << 32) + 1 };
    assert_eq!(Label::try_from((1_i64 << 32) + 1), Err(error));
    let text = "label 4294967297 is neither 1 (desirable) nor 0 (undesirable)";
    assert_eq!(error.to_string(), text);
}
