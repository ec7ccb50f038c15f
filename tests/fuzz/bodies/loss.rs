//! Every loss of a pair, by its name: all figures or none, the reference's where it has any, and
//! the same in a batch.

use arbitrary::{Arbitrary, Result as Made, Unstructured};
use dpo_kernel::loss::{Loss, LossName, PairLogProbs, PreferenceLoss};
use dpo_kernel::verify::cases::PairCase;
use dpo_kernel::verify::{Divergence, Dpo, Tolerance, compare};
use dpo_kernel::{
    Error, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, preference_loss,
};

#[path = "../../losses/catalog.rs"]
pub mod catalog;
use catalog::{GOLDEN, Parameters, expected, names, reference};

/// A pair and a loss.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub pair: PairCase,
    pub tokens: (u16, u16),
    pub name: LossName,
    pub parameters: Parameters,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Made<Self> {
        let names: Vec<LossName> = names().collect();
        let name = *u.choose(&names)?;
        // In (0, 1).
        let part = |u: &mut Unstructured<'a>| Ok((f64::from(u.arbitrary::<u8>()?) + 0.5) / 256.0);
        let divergence = match u.int_in_range(0..=7_u8)? {
            1 => Divergence::ForwardKl,
            2 => Divergence::JensenShannon,
            3 => Divergence::Alpha(part(u)?),
            _ => Divergence::ReverseKl,
        };
        let parameters = Parameters {
            beta: 10.0_f64.powf(6.0 * part(u)? - 4.0),
            epsilon: 0.5 * part(u)?,
            gamma: 2.0 * part(u)?,
            alpha: 2.0 * part(u)? - 1.0,
            tau: part(u)?,
            delta: 2.0 * part(u)?,
            lambda: 50.0 * part(u)?,
            kl: 4.0 * part(u)?,
            weights: (part(u)?, part(u)?),
            gap: 4.0 * part(u)? - 2.0,
            centering: part(u)?,
            divergence,
        };
        Ok(Self { name, parameters, tokens: u.arbitrary()?, pair: u.arbitrary()? })
    }
}

impl Case {
    /// DPO with label smoothing.
    pub fn of_dpo(pair: PairCase, dpo: Dpo) -> Self {
        let Dpo { beta, label_smoothing: epsilon } = dpo;
        let parameters = Parameters { beta, epsilon, ..GOLDEN };
        Self { pair, tokens: (1, 1), name: LossName::Sigmoid, parameters }
    }

    pub fn loss(&self) -> Loss {
        catalog::loss(self.name, &self.parameters)
    }

    /// The pair as the loss may read it: an offset only where it has a margin.
    pub fn log_probs(&self) -> PairLogProbs {
        let PairCase { log_probs: of, weight, offset } = self.pair;
        let offset = if self.loss().inputs().offsets { offset } else { 0.0 };
        let (policy, reference) =
            ((of.policy_chosen, of.policy_rejected), (of.reference_chosen, of.reference_rejected));
        PairLogProbs::new(policy.0, policy.1, reference.0, reference.1)
            .with_tokens(self.tokens.0.into(), self.tokens.1.into())
            .with_weight(weight.into())
            .with_offset(offset.into())
    }
}

pub fn check(case: &Case) -> Result<(), String> {
    let (loss, pair) = (case.loss(), case.log_probs());
    let alone = loss.evaluate(&pair);
    accepts(case, &alone)?;
    in_a_batch(&loss, &pair, &alone)
}

/// A batch of the one pair, with what the loss reads and nothing else.
fn in_a_batch(loss: &Loss, pair: &PairLogProbs, alone: &PairLoss) -> Result<(), String> {
    let inputs = loss.inputs();
    let sequence = |sum, count| SequenceLogProb { sum, count };
    let policy = [
        sequence(pair.policy_chosen, pair.chosen_tokens),
        sequence(pair.policy_rejected, pair.rejected_tokens),
    ];
    let sums = [pair.reference_chosen, pair.reference_rejected];
    let reference = if inputs.reference { Reference::Sums(&sums) } else { Reference::Free };
    let (pairs, weights, offsets) = ([Pair::new(0, 1)], [pair.weight as f32], [pair.offset as f32]);
    let mut batch = PairBatch::new(&pairs, &policy, reference, 4.0).with_weights(&weights);
    if inputs.offsets {
        batch = batch.with_offsets(&offsets);
    }
    let (mut losses, mut d_log_probs) = ([PairLoss::default()], [0.0; 2]);
    let out = PairOut::new(&mut losses, &mut d_log_probs);
    let summary = preference_loss(loss, &batch, out);
    if pair.is_left_out() {
        let counted = summary.map(|s| (s.pairs, s.left_out, s.loss_sum)) == Ok((0, 1, 0.0));
        let zeros = losses == [PairLoss::default()] && d_log_probs == [0.0; 2];
        let what = || format!("left out: {losses:?} {d_log_probs:?} {summary:?}");
        return if counted && zeros { Ok(()) } else { Err(what()) };
    }
    if pair.chosen_tokens == 0 || pair.rejected_tokens == 0 {
        let sequence = usize::from(pair.chosen_tokens != 0);
        let refused = summary == Err(Error::NoScoredTokens { sequence });
        return if refused { Ok(()) } else { Err(format!("no token: {summary:?}")) };
    }
    let same = format!("{:?}", losses[0]) == format!("{alone:?}");
    let divided = [alone.d_chosen / 4.0, alone.d_rejected / 4.0];
    // Adding to 0 loses the sign of −0 alone.
    let grads = d_log_probs.iter().zip(divided).all(|(a, b)| *a == b || (a.is_nan() && b.is_nan()));
    let named = summary.map(|s| s.pairs) == Err(Error::NonFinitePairs { first: 0, count: 1 });
    if same && grads && alone.loss.is_nan() == named {
        Ok(())
    } else {
        Err(format!("in a batch: {losses:?} {d_log_probs:?} {summary:?}, alone {alone:?}"))
    }
}

fn figures(loss: &PairLoss) -> [f64; 6] {
    let PairLoss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = *loss;
    [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected]
}

/// Whether the figures are numbers or none of them is, and the reference's, to the size of the
/// terms that the reference adds up; over answers with a token, log-probs to ±10⁶ and β to 100,
/// where the plain forms hold.
pub fn accepts(case: &Case, found: &PairLoss) -> Result<(), String> {
    let pair = case.log_probs();
    let all = figures(found);
    if pair.is_left_out() {
        let is_zero = *found == PairLoss::default();
        return if is_zero { Ok(()) } else { Err(format!("of a pair left out: {found:?}")) };
    }
    let finite = all.iter().filter(|x| x.is_finite()).count();
    if finite != 6 && !all.iter().all(|x| x.is_nan()) {
        return Err(format!("half a number: {found:?}"));
    }
    let log_probs =
        [pair.policy_chosen, pair.policy_rejected, pair.reference_chosen, pair.reference_rejected];
    let read = if case.loss().inputs().reference { &log_probs[..] } else { &log_probs[..2] };
    if finite == 6 && !read.iter().all(|x| x.is_finite()) {
        return Err(format!("numbers of what is none: {found:?}"));
    }
    let exact = expected(&reference(case.name, &case.parameters), &pair);
    let is_plain = log_probs.iter().all(|x| (-1e6..=0.0).contains(x))
        && pair.chosen_tokens > 0
        && pair.rejected_tokens > 0
        && figures(&exact).iter().all(|x| x.is_finite());
    if !is_plain {
        return Ok(());
    }
    let Parameters { beta, epsilon, divergence, lambda, alpha, .. } = case.parameters;
    let (a, b) = (
        pair.policy_chosen - pair.reference_chosen,
        pair.policy_rejected - pair.reference_rejected,
    );
    // Scores and slopes are what z and the gradient are made of: under other divergences they are
    // powers.
    let score = |x: f64| divergence.slope(x).abs() + divergence.score(x).abs();
    let bent = if divergence == Divergence::ReverseKl { 1.0 } else { 1.0 + score(a) + score(b) };
    let power = |x: f64, n: usize| libm::exp(-alpha * x / n as f64);
    let powers = power(pair.policy_chosen, pair.chosen_tokens)
        + power(pair.policy_rejected, pair.rejected_tokens);
    let bent = if case.name == LossName::AlphaPo { 1.0 + powers } else { bent };
    let ratios = a.abs() + b.abs() + pair.policy_chosen.abs() + pair.policy_rejected.abs();
    // Odds of answers that are as good as certain have steep slopes, which label smoothing
    // subtracts.
    let miss = |x: f64, n: usize| 1.0 + 1.0 / -libm::expm1(x / n as f64);
    let bent = if case.name == LossName::Orpo {
        miss(pair.policy_chosen, pair.chosen_tokens)
            + miss(pair.policy_rejected, pair.rejected_tokens)
    } else {
        bent
    };
    let of_loss =
        (1.0 + exact.loss.abs() + beta * ratios + lambda * a.abs() + pair.offset.abs()) * bent;
    let of_slope = (1.0 + beta * beta + 1.0 / beta + ratios + lambda + pair.offset.abs()) * bent;
    // Of DPO every digit counts, but for those of ε·z and ε, which are subtracted.
    let is_dpo = case.name == LossName::Sigmoid && divergence == Divergence::ReverseKl;
    let smoothing = 8.0 * f64::EPSILON * pair.weight * epsilon;
    let z = exact.margin - pair.offset;
    let (of_loss, of_slope) = if is_dpo {
        (smoothing * (z.abs() + 1.0), smoothing * beta)
    } else {
        (1e-12 * of_loss, 1e-12 * of_slope * bent)
    };
    // The slopes of odds are quotients of seven roundings, in the plain form too, at any size.
    let ulps = if case.name == LossName::Orpo { 8.0 } else { 4.0 };
    let names = ["loss", "chosen reward", "rejected reward", "margin", "∂L/∂πc", "∂L/∂πr"];
    for (i, (expected, found)) in figures(&exact).into_iter().zip(all).enumerate() {
        // A rounding of z is one of every tail e^−z.
        let of_tail = 4.0 * f64::EPSILON * (exact.margin.abs() + pair.offset.abs());
        let tolerance = Tolerance::ulps(ulps).and_relative(of_tail).and_absolute(match i {
            0 => of_loss,
            4.. => of_slope,
            _ => 0.0,
        });
        compare(names[i], exact.margin, expected, found, tolerance)
            .map_err(|why| why.to_string())?;
    }
    Ok(())
}
