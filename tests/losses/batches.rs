//! What a batch of pairs is refused for before anything is written, each check by itself.

use dpo_kernel::error::{Buffer, Parameter};
use dpo_kernel::{
    Dpo, Error, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, preference_loss,
};

const POLICY: [SequenceLogProb; 3] = [
    SequenceLogProb { sum: -20.5, count: 10 },
    SequenceLogProb { sum: -25.25, count: 8 },
    SequenceLogProb { sum: -3.0, count: 4 },
];
const SUMS: [f64; 3] = [-21.0, -24.5, -3.5];

/// What is changed of a batch that is right.
struct Changed<'a> {
    pairs: &'a [Pair],
    policy: &'a [SequenceLogProb],
    reference: Reference<'a>,
    weights: Option<&'a [f32]>,
    offsets: Option<&'a [f32]>,
    divisor: f64,
    losses: usize,
    grads: usize,
}

const RIGHT: Changed<'_> = Changed {
    pairs: &[Pair::new(0, 1), Pair::new(2, 1)],
    policy: &POLICY,
    reference: Reference::Sums(&SUMS),
    weights: None,
    offsets: None,
    divisor: 2.0,
    losses: 2,
    grads: 3,
};

fn run(of: &Changed<'_>) -> Result<(), Error> {
    let mut batch = PairBatch::new(of.pairs, of.policy, of.reference, of.divisor);
    (batch.weights, batch.offsets) = (of.weights, of.offsets);
    let dirty = PairLoss { loss: 7.5, ..PairLoss::default() };
    let (mut losses, mut d) = (vec![dirty; of.losses], vec![7.5; of.grads]);
    let out = PairOut::new(&mut losses, &mut d);
    let found = preference_loss(&Dpo::new(0.1).unwrap(), &batch, out).map(|_| ());
    let untouched = losses.iter().all(|x| *x == dirty) && d.iter().all(|d| *d == 7.5);
    assert_eq!(found.is_err(), untouched, "{found:?}: written, or not");
    found
}

#[test]
fn are_refused_for_what_is_wrong() {
    assert_eq!(run(&RIGHT), Ok(()));
    let far = [Pair::new(0, 1), Pair::new(2, 3)];
    let of_chosen = [Pair::new(0, 1), Pair::new(4, 1)];
    let same = [Pair::new(0, 1), Pair::new(2, 2)];
    for (pairs, error) in [
        (&far, Error::SequenceOutOfRange { pair: 1, sequence: 3, sequences: 3 }),
        (&of_chosen, Error::SequenceOutOfRange { pair: 1, sequence: 4, sequences: 3 }),
        (&same, Error::PairOfOneSequence { pair: 1, sequence: 2 }),
    ] {
        assert_eq!(run(&Changed { pairs, ..RIGHT }), Err(error));
        // A pair of weight 0 may name anything.
        assert_eq!(run(&Changed { pairs, weights: Some(&[1.0, 0.0]), ..RIGHT }), Ok(()));
    }
    for value in [0.0, -1.0, f64::INFINITY] {
        let error = Error::Parameter { parameter: Parameter::Divisor, value };
        assert_eq!(run(&Changed { divisor: value, ..RIGHT }), Err(error));
    }
    let invalid =
        |buffer, value: f32| Err(Error::InvalidValue { buffer, index: 1, value: f64::from(value) });
    for value in [-0.5, f32::INFINITY] {
        let weights = [1.0, value];
        let found = run(&Changed { weights: Some(&weights), ..RIGHT });
        assert_eq!(found, invalid(Buffer::PairWeights, value));
    }
    for value in [f32::INFINITY, f32::NEG_INFINITY] {
        let offsets = [0.25, value];
        let found = run(&Changed { offsets: Some(&offsets), ..RIGHT });
        assert_eq!(found, invalid(Buffer::PairOffsets, value));
        let left_out = Changed { offsets: Some(&offsets), weights: Some(&[1.0, 0.0]), ..RIGHT };
        assert_eq!(run(&left_out), Ok(()), "an offset of a pair that is left out");
    }
    let length = |buffer, expected, found| Err(Error::Length { buffer, expected, found });
    let three = [1.0_f32; 3];
    let found = run(&Changed { weights: Some(&three), ..RIGHT });
    assert_eq!(found, length(Buffer::PairWeights, 2, 3));
    let found = run(&Changed { offsets: Some(&three), ..RIGHT });
    assert_eq!(found, length(Buffer::PairOffsets, 2, 3));
    let found = run(&Changed { losses: 3, ..RIGHT });
    assert_eq!(found, length(Buffer::PairLosses, 2, 3));
    let found = run(&Changed { grads: 2, ..RIGHT });
    assert_eq!(found, length(Buffer::SequenceGrads, 3, 2));
    let found = run(&Changed { reference: Reference::Sums(&SUMS[1..]), ..RIGHT });
    assert_eq!(found, length(Buffer::Reference, 3, 2));
    let found = run(&Changed { reference: Reference::Sequences(&POLICY[1..]), ..RIGHT });
    assert_eq!(found, length(Buffer::Reference, 3, 2));
    let free = Changed { reference: Reference::Free, ..RIGHT };
    assert_eq!(run(&free), Err(Error::ReferenceMissing));
}

/// Both answers of a pair need tokens, as many under the reference as under the policy.
#[test]
fn are_refused_for_their_tokens() {
    for sequence in 0..3 {
        let mut policy = POLICY;
        policy[sequence].count = 0;
        let found = run(&Changed { policy: &policy, ..RIGHT });
        assert_eq!(found, Err(Error::NoScoredTokens { sequence }));
        let mut other = POLICY;
        other[sequence].count += 1;
        let (policy, reference) = (POLICY[sequence].count, POLICY[sequence].count + 1);
        let found = run(&Changed { reference: Reference::Sequences(&other), ..RIGHT });
        assert_eq!(found, Err(Error::TokenCountMismatch { sequence, policy, reference }));
    }
    let found = run(&Changed { reference: Reference::Sequences(&POLICY), ..RIGHT });
    assert_eq!(found, Ok(()));
}
