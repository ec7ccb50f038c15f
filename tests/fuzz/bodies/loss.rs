//! The loss of one pair: every figure against the reference's, alone and in a batch.

use arbitrary::{Arbitrary, Result as Made, Unstructured};
use dpo_kernel::verify::cases::PairCase;
use dpo_kernel::verify::{self, PairResult, Tolerance, compare};
use dpo_kernel::{
    Dpo, Error, Pair, PairBatch, PairLogProbs, PairLoss, PairOut, PreferenceLoss, Reference,
    SequenceLogProb, preference_loss,
};

/// A pair and a loss.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub pair: PairCase,
    pub dpo: verify::Dpo,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Made<Self> {
        Ok(Self { dpo: u.arbitrary()?, pair: u.arbitrary()? })
    }
}

pub fn check(case: &Case) -> Result<(), String> {
    let verify::Dpo { beta, label_smoothing } = case.dpo;
    let loss = Dpo::new(beta).and_then(|dpo| dpo.with_label_smoothing(label_smoothing));
    let loss = loss.map_err(|why| why.to_string())?;
    let PairCase { log_probs: of, weight, offset } = case.pair;
    let pair = PairLogProbs::new(
        of.policy_chosen,
        of.policy_rejected,
        of.reference_chosen,
        of.reference_rejected,
    );
    let pair = pair.with_weight(weight.into()).with_offset(offset.into());
    let alone = loss.evaluate(&pair);
    accepts(case, &alone)?;

    let policy = [of.policy_chosen, of.policy_rejected];
    let policy = policy.map(|sum| SequenceLogProb { sum, count: 1 });
    let reference = [of.reference_chosen, of.reference_rejected];
    let (pairs, weights, offsets) = ([Pair::new(0, 1)], [weight], [offset]);
    let batch = PairBatch::new(&pairs, &policy, Reference::Sums(&reference), 4.0)
        .with_weights(&weights)
        .with_offsets(&offsets);
    let (mut losses, mut d_log_probs) = ([PairLoss::default()], [0.0; 2]);
    let out = PairOut { losses: &mut losses, d_log_probs: &mut d_log_probs };
    let summary = preference_loss(&loss, &batch, out);
    let same = format!("{:?}", losses[0]) == format!("{alone:?}");
    let divided = [alone.d_chosen / 4.0, alone.d_rejected / 4.0];
    // Adding to 0 loses the sign of −0 alone.
    let grads = d_log_probs.iter().zip(divided).all(|(a, b)| *a == b || (a.is_nan() && b.is_nan()));
    let expected = alone.loss.is_nan();
    let named = summary.map(|s| s.pairs) == Err(Error::NonFinitePairs { first: 0, count: 1 });
    if !same || !grads || expected != named {
        return Err(format!("in a batch: {losses:?} {d_log_probs:?} {summary:?}, alone {alone:?}"));
    }
    Ok(())
}

fn figures(loss: &PairLoss) -> [f64; 6] {
    let PairLoss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = *loss;
    [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected]
}

pub fn accepts(case: &Case, found: &PairLoss) -> Result<(), String> {
    let PairCase { log_probs, weight, offset } = case.pair;
    let (weight, offset) = (f64::from(weight), f64::from(offset));
    let expected = verify::preference_loss(&case.dpo, &log_probs, weight, offset);
    let PairResult { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } =
        expected;
    let mut figures_expected = [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected];
    if !figures_expected.iter().all(|x| x.is_finite()) {
        figures_expected = [f64::NAN; 6];
    }
    // ε·z is subtracted from the softplus, and ε from the sigmoid: some roundings of both.
    let z = margin - offset;
    let of_loss = 8.0 * f64::EPSILON * weight * (z.abs() + 1.0) * case.dpo.label_smoothing;
    let of_grad = 8.0 * f64::EPSILON * weight * case.dpo.beta * case.dpo.label_smoothing;
    let absolute = [of_loss, 0.0, 0.0, 0.0, of_grad, of_grad];
    let names = ["loss", "chosen reward", "rejected reward", "margin", "∂L/∂πc", "∂L/∂πr"];
    for (i, found) in figures(found).into_iter().enumerate() {
        let tolerance = Tolerance::ulps(4.0).and_absolute(absolute[i]);
        compare(names[i], z, figures_expected[i], found, tolerance)
            .map_err(|why| why.to_string())?;
    }
    Ok(())
}
