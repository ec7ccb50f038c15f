//! What the adapter is trained on: any loss that the crate has a name for, with the statistics that
//! some of them gather on the way.
//!
//! ```text
//! of pairs      preference_loss(&loss)                most; δ of BCO is a running mean
//! of a batch    preference_loss(aot.over(order))      AOT
//! of answers    unpaired_loss(&kto)                   KTO, K from answers to other prompts; A*PO
//! of tokens     nll_loss                              sft; and beside CPO, ORPO, SLiC
//! ```

use dpo_kernel::loss::{
    AStarPo, Loss, LossName, LossOptions, Nll, NllBatch, NllPer, Objective as Built,
    PreferenceLoss, UnpairedLoss, nll_loss,
};
use dpo_kernel::training::{LengthSums, LogRatioSums};
use dpo_kernel::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, unpaired_loss,
};
use dpo_kernel::{
    Dpo, Error, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Summary, preference_loss,
};

use super::batch::pairs;
use super::defaults::{Defaults, Over, defaults};

/// A loss with its parameters, and what it has seen.
#[derive(Clone, Copy, Debug)]
pub struct Objective {
    pub name: LossName,
    options: LossOptions,
    nll: Option<(f64, Over)>,
    /// Of every answer trained on so far: BCO's δ.
    seen: LogRatioSums,
    /// Of the last batch's answers to other prompts: KTO's K.
    mismatched: LogRatioSums,
}

/// What an objective makes of pairs whose sequences come as chosen, rejected, chosen, …
#[derive(Debug)]
pub struct Found {
    /// Mean over the pairs (KTO: the answers), an NLL term included.
    pub loss: f64,
    pub summary: Summary,
    pub losses: Vec<PairLoss>,
    /// ∂ loss / ∂ log π of every sequence.
    pub d_log_probs: Vec<f64>,
    /// What an NLL term adds for each of its tokens.
    pub d_nll: Option<Vec<f64>>,
}

impl Objective {
    /// The loss with its defaults for this model; a β replaces the default one.
    pub fn new(name: LossName, beta: Option<f64>) -> Result<Self, Error> {
        let Defaults { mut options, nll } = defaults(name);
        options.beta = beta.or(options.beta);
        let (seen, mismatched) = <(LogRatioSums, LogRatioSums)>::default();
        let objective = Self { name, options, nll, seen, mismatched };
        // What it refuses, it refuses before any work.
        objective.build()?;
        Ok(objective)
    }

    /// Its parameter, for a caption.
    pub fn parameter(&self) -> String {
        let LossOptions { beta, odds_weight, slic_margin, .. } = self.options;
        let all = [("β", beta), ("λ", odds_weight), ("δ", slic_margin)];
        let named =
            all.iter().find_map(|(symbol, value)| Some(format!("{symbol} = {}", (*value)?)));
        named.unwrap_or_else(|| "no parameter".to_owned())
    }

    /// Whether the loss takes its reference point from answers to other prompts.
    pub fn wants_mismatched(&self) -> bool {
        self.name == LossName::Kto
    }

    /// Log-probs of the batch's answers to other prompts.
    pub fn observe_mismatched(
        &mut self,
        policy: &[SequenceLogProb],
        reference: &[SequenceLogProb],
    ) -> Result<(), Error> {
        self.mismatched = LogRatioSums::default();
        self.mismatched.add_batch(policy, Reference::Sequences(reference))
    }

    /// Log-probs of the batch that comes next.
    pub fn observe(
        &mut self,
        policy: &[SequenceLogProb],
        reference: &[SequenceLogProb],
    ) -> Result<(), Error> {
        self.seen.add_batch(policy, Reference::Sequences(reference))
    }

    /// The loss as it is now.
    fn build(&self) -> Result<Built, Error> {
        let mut options = self.options;
        match self.name {
            LossName::Bco => {
                options.reward_shift = options.beta.map(|beta| self.seen.bco_shift(beta));
            }
            LossName::Kto => options.reference_kl = Some(self.mismatched.kto_k()),
            _ => {}
        }
        self.name.build(&options)
    }

    /// Loss and gradients of a batch.
    pub fn evaluate(
        &self,
        policy: &[SequenceLogProb],
        reference: &[SequenceLogProb],
    ) -> Result<Found, Error> {
        let pairs = pairs(policy.len());
        let divisor = pairs.len().max(1) as f64;
        let mut losses = vec![PairLoss::default(); pairs.len()];
        let mut d_log_probs = vec![0.0; policy.len()];
        let batch = |reference| PairBatch::new(&pairs, policy, reference, divisor);
        let with = Reference::Sequences(reference);
        let out = PairOut::new(&mut losses, &mut d_log_probs);
        let (mut loss, summary) = match self.build()? {
            Built::Pairs(loss) => {
                let reference = if loss.inputs().reference { with } else { Reference::Free };
                let summary = preference_loss(&loss, &batch(reference), out)?;
                let mean = match loss {
                    Loss::Kto(kto) => of_answers([&kto, &kto], policy, with, &mut d_log_probs)?,
                    _ => summary.mean_loss(),
                };
                (mean, summary)
            }
            Built::Batch(aot) => {
                let mut order = vec![0; 2 * pairs.len()];
                let summary = preference_loss(aot.over(&mut order), &batch(with), out)?;
                (summary.mean_loss(), summary)
            }
            Built::Groups(loss) => {
                let summary = preference_loss(loss, &batch(with), out)?;
                (summary.mean_loss(), summary)
            }
            // Advantages of one size, with the sign of the preference; rewards as DPO reports them.
            Built::Unpaired(_) => {
                let (beta, size) = (self.options.beta, self.options.advantage);
                let (beta, size) = (beta.unwrap_or(0.1), size.unwrap_or(1.0));
                let summary = preference_loss(&Dpo::new(beta)?, &batch(with), out)?;
                let [good, bad] = [AStarPo::new(beta, size)?, AStarPo::new(beta, -size)?];
                (of_answers([&good, &bad], policy, with, &mut d_log_probs)?, summary)
            }
            // No preference at all; rewards are reported as DPO has them.
            _ => {
                let summary = preference_loss(&Dpo::new(0.1)?, &batch(with), out)?;
                d_log_probs.fill(0.0);
                (0.0, summary)
            }
        };
        let mut d_nll = None;
        if let Some((weight, over)) = self.nll {
            let tokens: usize = policy.iter().step_by(2).map(|chosen| chosen.count).sum();
            let divisor = if over == Over::Tokens { tokens.max(1) as f64 } else { divisor };
            let term = Nll::new(weight, NllPer::Token, divisor)?;
            let d = d_nll.insert(vec![0.0; policy.len()]);
            loss += nll_loss(&term, &NllBatch::of_chosen(&pairs, policy), d)?.loss_sum / divisor;
        }
        Ok(Found { loss, summary, losses, d_log_probs, d_nll })
    }
}

/// The mean loss of answers that are good or bad on their own, with a loss for each kind.
fn of_answers(
    losses: [&dyn UnpairedLoss; 2],
    policy: &[SequenceLogProb],
    reference: Reference<'_>,
    d_log_probs: &mut [f64],
) -> Result<f64, Error> {
    let divisor = policy.len().max(1) as f64;
    let (mut sum, mut d) = (0.0, vec![0.0; policy.len()]);
    d_log_probs.fill(0.0);
    for (i, (loss, label)) in
        losses.into_iter().zip([Label::Desirable, Label::Undesirable]).enumerate()
    {
        let answers: Vec<UnpairedAnswer> = (i..policy.len())
            .step_by(2)
            .map(|sequence| UnpairedAnswer { sequence, label })
            .collect();
        let batch = UnpairedBatch::new(&answers, policy, reference, divisor);
        let mut found = vec![AnswerLoss::default(); answers.len()];
        let out = UnpairedOut::new(&mut found, &mut d);
        let summary = unpaired_loss(loss, &batch, out)?;
        sum += summary.desirable_loss_sum + summary.undesirable_loss_sum;
        d_log_probs.iter_mut().zip(&d).for_each(|(to, d)| *to += d);
    }
    Ok(sum / divisor)
}

/// What all losses are compared by, whatever rewards they have of their own: log-ratios against the
/// reference, in nats.
#[derive(Clone, Copy, Debug)]
pub struct Yardstick {
    pub log_ratios: Summary,
    pub lengths: LengthSums,
}

impl Yardstick {
    pub fn of(policy: &[SequenceLogProb], reference: &[SequenceLogProb]) -> Result<Self, Error> {
        let pairs = pairs(policy.len());
        let mut losses = vec![PairLoss::default(); pairs.len()];
        let mut d_log_probs = vec![0.0; policy.len()];
        let batch = PairBatch::new(&pairs, policy, Reference::Sequences(reference), 1.0);
        let out = PairOut::new(&mut losses, &mut d_log_probs);
        // β = 1: a reward is a log-ratio.
        let log_ratios = preference_loss(&Dpo::new(1.0)?, &batch, out)?;
        let mut lengths = LengthSums::default();
        lengths.add_batch(&pairs, None, policy, &losses)?;
        Ok(Self { log_ratios, lengths })
    }
}
