//! Losses without logits: each by its name, every option.

use dpo_kernel::loss::{
    AlphaDivergence, AnyDivergence, BatchLoss, LossName, LossOptions, Objective,
};
use dpo_kernel::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, UnpairedSummary, unpaired_loss,
};
use dpo_kernel::{
    Error, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Summary, preference_loss,
};
use serde_json::{Map, Value, json};

use crate::random::{Random, f64s, hex};

/// Options beside the defaults, by the names of the fields: of a divergence its name.
type Options = &'static [(&'static str, f64)];

const GIVEN: [(&str, Options); 61] = [
    ("sigmoid", &[]),
    ("dpo", &[("beta", 0.5), ("label_smoothing", 0.2)]),
    ("sigmoid", &[("forward_kl", 0.0)]),
    ("sigmoid", &[("jensen_shannon", 0.0), ("beta", 0.25)]),
    ("sigmoid", &[("reverse_kl", 0.0)]),
    ("sigmoid", &[("alpha_paper", 0.3)]),
    ("sigmoid", &[("alpha_trl", 0.3)]),
    ("ipo", &[("alpha_paper", 0.5)]),
    ("robust", &[("label_smoothing", 0.1)]),
    ("robust", &[]),
    ("hinge", &[("beta", 0.7)]),
    ("hinge", &[]),
    ("ipo", &[]),
    ("ipo_sum", &[]),
    ("exo_pair", &[("label_smoothing", 0.05)]),
    ("exo_pair", &[]),
    ("discopop", &[("blend_temperature", 0.1)]),
    ("discopop", &[]),
    ("sigmoid_norm", &[]),
    ("dpo_norm", &[("beta", 1.5)]),
    ("rpo_fwd_kl", &[("reward_gap", 1.5)]),
    ("rpo_bwd_kl", &[("reward_gap", -0.5)]),
    ("rpo_sq", &[("reward_gap", 2.5)]),
    ("simpo", &[("target_margin_ratio", 0.5)]),
    ("simpo", &[("beta", 2.5), ("target_margin", 1.4)]),
    ("simpo", &[]),
    ("cpo", &[]),
    ("cpo_hinge", &[]),
    ("cpo_ipo", &[]),
    ("slic", &[("slic_margin", 2.0)]),
    ("slic", &[]),
    ("alphapo", &[("reward_exponent", 0.25), ("target_margin", 0.5)]),
    ("alphapo", &[]),
    ("orpo", &[("odds_weight", 0.5)]),
    ("orpo", &[]),
    ("apo_down", &[]),
    ("cal_dpo", &[]),
    ("dpop_inside", &[("drop_penalty", 5.0)]),
    ("dpop_inside", &[]),
    ("dpop_outside", &[("drop_penalty", 7.0)]),
    ("dpop_outside", &[]),
    ("tpo", &[]),
    ("tpo_hinge", &[]),
    ("tpo_ipo", &[]),
    ("tpo_l", &[("target_margin", 0.3)]),
    ("tpo_l", &[]),
    ("reward_model", &[("centering", 0.01)]),
    ("bradley_terry", &[]),
    ("nca_pair", &[]),
    ("bco_pair", &[("reward_shift", 0.5)]),
    ("bco", &[]),
    ("sppo_hard", &[]),
    ("apo_zero", &[]),
    ("apo_zero_unpaired", &[("beta", 0.3)]),
    ("kto", &[("reference_kl", 0.1), ("desirable_weight", 1.5), ("undesirable_weight", 0.5)]),
    ("kto", &[("reference_kl", 0.0)]),
    ("a2po", &[("advantage", 0.4)]),
    ("s_dpo", &[]),
    ("aot", &[("label_smoothing", 0.1)]),
    ("aot_unpaired", &[]),
    ("softmax_dpo", &[("beta", 0.2)]),
];

fn options(given: Options) -> Result<LossOptions, Error> {
    let mut options = LossOptions::default();
    for &(name, value) in given {
        let alpha = |made: Result<AlphaDivergence, Error>| made.map(AnyDivergence::Alpha);
        let to = match name {
            "beta" => &mut options.beta,
            "label_smoothing" => &mut options.label_smoothing,
            "target_margin" => &mut options.target_margin,
            "target_margin_ratio" => &mut options.target_margin_ratio,
            "reward_exponent" => &mut options.reward_exponent,
            "blend_temperature" => &mut options.blend_temperature,
            "reward_shift" => &mut options.reward_shift,
            "slic_margin" => &mut options.slic_margin,
            "drop_penalty" => &mut options.drop_penalty,
            "odds_weight" => &mut options.odds_weight,
            "reference_kl" => &mut options.reference_kl,
            "desirable_weight" => &mut options.desirable_weight,
            "undesirable_weight" => &mut options.undesirable_weight,
            "reward_gap" => &mut options.reward_gap,
            "centering" => &mut options.centering,
            "advantage" => &mut options.advantage,
            _ => {
                options.divergence = Some(match name {
                    "forward_kl" => AnyDivergence::ForwardKl,
                    "jensen_shannon" => AnyDivergence::JensenShannon,
                    "reverse_kl" => AnyDivergence::ReverseKl,
                    "alpha_paper" => alpha(AlphaDivergence::with_paper_alpha(value))?,
                    "alpha_trl" => alpha(AlphaDivergence::with_trl_alpha(value))?,
                    _ => return Err(Error::UnknownLoss),
                });
                continue;
            }
        };
        *to = Some(value);
    }
    Ok(options)
}

/// The loss as JavaScript is given it.
fn object(name: &str, given: Options) -> Value {
    let mut loss = Map::from_iter([("name".to_owned(), json!(name))]);
    for &(option, value) in given {
        match option {
            "forward_kl" | "jensen_shannon" | "reverse_kl" => {
                loss.insert("divergence".to_owned(), json!(option));
            }
            "alpha_paper" | "alpha_trl" => {
                loss.insert("divergence".to_owned(), json!(option));
                loss.insert("divergence_alpha".to_owned(), json!(value));
            }
            _ => {
                loss.insert(option.to_owned(), json!(value));
            }
        }
    }
    Value::Object(loss)
}

struct Batch {
    policy: Vec<SequenceLogProb>,
    reference: Vec<SequenceLogProb>,
}

impl Batch {
    #[expect(clippy::cast_precision_loss, reason = "a few tokens")]
    fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let counts = [7, 12, 3, 9, 15, 1];
        let mut of_one = |count: usize| SequenceLogProb {
            sum: -1.5 * count as f64 + 0.5 * count as f64 * random.unit(),
            count,
        };
        let policy = counts.map(&mut of_one).to_vec();
        Self { policy, reference: counts.map(of_one).to_vec() }
    }

    fn json(&self) -> Value {
        let of = |all: &[SequenceLogProb]| {
            json!({ "sums": f64s(all.iter().map(|found| found.sum)),
                "counts": all.iter().map(|found| found.count).collect::<Vec<_>>() })
        };
        json!({ "policy": of(&self.policy), "reference": of(&self.reference) })
    }

    fn pairs<L: BatchLoss>(
        &self,
        loss: L,
        pairs: &[Pair],
        has_reference: bool,
    ) -> Result<Value, Error> {
        let reference =
            if has_reference { Reference::Sequences(&self.reference) } else { Reference::Free };
        let batch = PairBatch::new(pairs, &self.policy, reference, 3.0);
        let mut losses = vec![PairLoss::default(); pairs.len()];
        let mut d_log_probs = vec![0.0; self.policy.len()];
        let out = PairOut::new(&mut losses, &mut d_log_probs);
        let summary = preference_loss(loss, &batch, out)?;
        Ok(json!({ "columns": pair_columns(&losses), "summary": pair_summary(&summary),
            "dLogProbs": f64s(d_log_probs), "hasReference": has_reference }))
    }
}

/// With its reference, or without one where the loss refuses it.
fn tried(find: impl Fn(bool) -> Result<Value, Error>) -> Result<Value, Error> {
    match find(true) {
        Err(Error::InputUnused { .. }) => find(false),
        found => found,
    }
}

/// Every loss of pairs.
pub(crate) fn of_pairs() -> Result<Vec<Value>, Error> {
    let plain = [Pair::new(0, 1), Pair::new(3, 2), Pair::new(4, 5)];
    let grouped = [Pair::new(0, 1), Pair::new(0, 2), Pair::new(4, 5)];
    let mut all = Vec::new();
    for (seed, &(name, given)) in (1_u64..).zip(&GIVEN) {
        let batch = Batch::new(seed);
        let (mut pairs, mut order) = (plain, [0; 6]);
        let found = match name.parse::<LossName>()?.build(&options(given)?)? {
            Objective::Pairs(loss) => tried(|with| batch.pairs(&loss, &pairs, with))?,
            Objective::Batch(loss) => batch.pairs(loss.over(&mut order), &pairs, true)?,
            Objective::Groups(loss) => {
                pairs = grouped;
                batch.pairs(loss, &pairs, true)?
            }
            _ => continue,
        };
        let pairs = pairs.map(|pair| [pair.chosen, pair.rejected]);
        all.push(json!({ "loss": object(name, given), "batch": batch.json(), "pairs": pairs, "found": found }));
    }
    Ok(all)
}

/// Every loss of answers.
pub(crate) fn of_answers() -> Result<Vec<Value>, Error> {
    let answers = [(0, 1), (2, 0), (5, 1), (1, 0)];
    let mut all = Vec::new();
    for (seed, &(name, given)) in (1_u64..).zip(&GIVEN) {
        let objective = name.parse::<LossName>()?.build(&options(given)?)?;
        let Some(loss) = objective.as_unpaired() else { continue };
        let data = Batch::new(seed + 1000);
        let mut labelled = Vec::new();
        for (sequence, label) in answers {
            labelled.push(UnpairedAnswer::new(sequence, Label::try_from(label)?));
        }
        let reference = Reference::Sequences(&data.reference);
        let mut losses = vec![AnswerLoss::default(); answers.len()];
        let mut d_log_probs = vec![0.0; data.policy.len()];
        let batch = UnpairedBatch::new(&labelled, &data.policy, reference, 3.0);
        let out = UnpairedOut::new(&mut losses, &mut d_log_probs);
        let summary = unpaired_loss(loss, &batch, out)?;
        all.push(json!({ "loss": object(name, given), "batch": data.json(), "answers": answers, "found": {
            "columns": answer_columns(&losses), "summary": answer_summary(&summary),
            "dLogProbs": f64s(d_log_probs) } }));
    }
    Ok(all)
}

pub(crate) fn pair_columns(losses: &[PairLoss]) -> Value {
    let column = |of: fn(&PairLoss) -> f64| f64s(losses.iter().map(of));
    json!({ "loss": column(|x| x.loss), "rewardChosen": column(|x| x.reward_chosen),
        "rewardRejected": column(|x| x.reward_rejected), "margin": column(|x| x.margin),
        "dChosen": column(|x| x.d_chosen), "dRejected": column(|x| x.d_rejected) })
}

pub(crate) fn answer_columns(losses: &[AnswerLoss]) -> Value {
    let column = |of: fn(&AnswerLoss) -> f64| f64s(losses.iter().map(of));
    json!({ "loss": column(|x| x.loss), "reward": column(|x| x.reward), "dLogProb": column(|x| x.d_log_prob) })
}

/// Counts as numbers, sums as bits.
pub(crate) fn pair_summary(x: &Summary) -> Value {
    json!({ "pairs": x.pairs, "correct": x.correct, "ties": x.ties, "displaced": x.displaced,
        "saturated": x.saturated, "saturatedWrong": x.saturated_wrong, "leftOut": x.left_out,
        "lossSum": hex(x.loss_sum), "rewardChosenSum": hex(x.reward_chosen_sum),
        "rewardRejectedSum": hex(x.reward_rejected_sum), "marginSum": hex(x.margin_sum) })
}

pub(crate) fn answer_summary(x: &UnpairedSummary) -> Value {
    json!({ "desirable": x.desirable, "undesirable": x.undesirable, "leftOut": x.left_out,
        "desirableLossSum": hex(x.desirable_loss_sum), "undesirableLossSum": hex(x.undesirable_loss_sum),
        "desirableRewardSum": hex(x.desirable_reward_sum), "undesirableRewardSum": hex(x.undesirable_reward_sum) })
}
