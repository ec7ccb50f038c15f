//! The loss by name, as trainers have it, and two forms of DPO that answer the length exploit beside the loss.
//!
//! ```text
//! name          β     beside
//! sigmoid       0.1
//! r_dpo         0.1   offsets: each token that the chosen answer is longer by counts as 0.05 rewards already
//! ld_dpo        0.1   token weights: tokens past the length of the shorter answer count nothing
//! dpop_inside   0.1   a fall of the chosen answer is dear
//! ipo           2     means; the aim is a gap of 1/(2β) nats a token
//! sigmoid_norm  10    means
//! simpo         10    means, no reference; target margin 1
//! cpo           0.1   no reference; likelihood of the chosen answers
//! orpo          –     no reference; likelihood of the chosen answers, odds weight 0.1
//! ```
//!
//! Parameters are those of `examples/finetune`, for a model this small. `Loss` of the crate, which has all losses,
//! would take 20 kB of a module that has room for 60.

use alloc::vec::Vec;

use dpo_kernel::error::Parameter;
use dpo_kernel::loss::{
    Cpo, DpopInside, Ipo, Nll, NllBatch, NllPer, Orpo, PreferenceLoss, SigmoidNorm, SimPo, nll_loss,
};
use dpo_kernel::training::{ld_token_weights, length_offset};
use dpo_kernel::{
    Dpo, Error, Layout, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb,
    preference_loss,
};

/// What stands beside DPO's loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extra {
    Nothing,
    /// LD-DPO: tokens past the length of the shorter answer count nothing.
    TokenWeights,
    /// R-DPO: each token that the chosen answer is longer by counts as so much of a reward already.
    Offsets,
}

/// Weights of tokens and offsets of pairs, where there are some.
#[derive(Clone, Debug)]
pub struct Beside {
    /// R weights.
    pub token_weights: Option<Vec<f32>>,
    offsets: Option<Vec<f32>>,
}

/// What a batch's loss is, and what its gradients start from.
#[derive(Clone, Debug)]
pub struct Found {
    /// Mean over the pairs, a likelihood term included.
    pub loss: f64,
    /// ∂ loss / ∂ log π of every sequence, as weighted.
    pub d_log_probs: Vec<f64>,
    /// What a likelihood term adds for each token of a sequence.
    pub d_nll: Option<Vec<f64>>,
}

/// LD-DPO's α.
const TAIL_WEIGHT: f64 = 0.0;
/// R-DPO's α, rewards a token.
const LENGTH_PENALTY: f64 = 0.05;
/// γ of `SimPo`.
const TARGET_MARGIN: f64 = 1.0;
/// DPOP's λ.
const DROP_PENALTY: f64 = 50.0;
/// ORPO's λ.
const ODDS_WEIGHT: f64 = 0.1;

#[derive(Clone, Copy, Debug)]
enum Loss {
    Dpo(Dpo),
    DpopInside(DpopInside),
    Ipo(Ipo),
    SigmoidNorm(SigmoidNorm),
    SimPo(SimPo),
    Cpo(Cpo),
    Orpo(Orpo),
}

/// A loss with its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Objective {
    loss: Loss,
    /// Whether the mean −log p of the chosen answers' tokens is added.
    likelihood: bool,
    extra: Extra,
}

/// The names.
pub const NAMES: [&str; 9] =
    ["sigmoid", "r_dpo", "ld_dpo", "dpop_inside", "ipo", "sigmoid_norm", "simpo", "cpo", "orpo"];

/// The β of a loss where none is given; ORPO has none.
pub fn default_beta(name: &str) -> Option<f64> {
    match name {
        "ipo" => Some(2.0),
        "sigmoid_norm" | "simpo" => Some(10.0),
        "orpo" => None,
        _ => Some(0.1),
    }
}

impl Objective {
    /// The loss of a name, with a β in the place of its default.
    ///
    /// # Errors
    /// [`Error::UnknownLoss`] for a name that is not one of [`NAMES`]; [`Error::Parameter`] for a β that the loss
    /// refuses; [`Error::ParameterUnused`] for one that it does not have.
    pub fn new(name: &str, beta: Option<f64>) -> Result<Self, Error> {
        let given = beta;
        let beta = beta.or(default_beta(name)).unwrap_or(f64::NAN);
        let loss = match name {
            "sigmoid" | "r_dpo" | "ld_dpo" => Loss::Dpo(Dpo::new(beta)?),
            "dpop_inside" => Loss::DpopInside(DpopInside::new(beta, DROP_PENALTY)?),
            "ipo" => Loss::Ipo(Ipo::new(beta)?),
            "sigmoid_norm" => Loss::SigmoidNorm(SigmoidNorm::new(beta)?),
            "simpo" => Loss::SimPo(SimPo::new(beta, TARGET_MARGIN)?),
            "cpo" => Loss::Cpo(Cpo::new(beta)?),
            "orpo" => {
                if given.is_some() {
                    return Err(Error::ParameterUnused { parameter: Parameter::Beta });
                }
                Loss::Orpo(Orpo::new(ODDS_WEIGHT)?)
            }
            _ => return Err(Error::UnknownLoss),
        };
        let extra = match name {
            "ld_dpo" => Extra::TokenWeights,
            "r_dpo" => Extra::Offsets,
            _ => Extra::Nothing,
        };
        Ok(Self { loss, likelihood: matches!(loss, Loss::Cpo(_) | Loss::Orpo(_)), extra })
    }

    fn loss(&self) -> &dyn PreferenceLoss {
        match &self.loss {
            Loss::Dpo(loss) => loss,
            Loss::DpopInside(loss) => loss,
            Loss::Ipo(loss) => loss,
            Loss::SigmoidNorm(loss) => loss,
            Loss::SimPo(loss) => loss,
            Loss::Cpo(loss) => loss,
            Loss::Orpo(loss) => loss,
        }
    }

    /// What a batch is trained with beside the loss.
    ///
    /// # Errors
    /// Those of the functions that make it.
    pub fn beside(&self, layout: &Layout<'_>, pairs: &[Pair]) -> Result<Beside, Error> {
        let (token_weights, offsets) =
            (self.token_weights(layout, pairs)?, self.offsets(layout, pairs)?);
        Ok(Beside { token_weights, offsets })
    }

    /// Mean loss and gradients of pairs, from log-probs under the policy, of all tokens alike and weighted,
    /// and weighted ones under the reference.
    ///
    /// # Errors
    /// Those of [`preference_loss`] and [`nll_loss`].
    pub fn evaluate(
        &self,
        pairs: &[Pair],
        beside: &Beside,
        [plain, weighted]: [&[SequenceLogProb]; 2],
        reference: &[SequenceLogProb],
    ) -> Result<Found, Error> {
        let loss = self.loss();
        let reference =
            if loss.inputs().reference { Reference::Sequences(reference) } else { Reference::Free };
        let divisor = pairs.len().max(1) as f64;
        let mut batch = PairBatch::new(pairs, weighted, reference, divisor);
        batch.offsets = beside.offsets.as_deref();
        let mut losses = alloc::vec![PairLoss::default(); pairs.len()];
        let mut d_log_probs = alloc::vec![0.0; weighted.len()];
        let out = PairOut::new(&mut losses, &mut d_log_probs);
        let mut mean = preference_loss(loss, &batch, out)?.loss_sum / divisor;
        let mut d_nll = None;
        if self.likelihood {
            let tokens: usize = plain.iter().step_by(2).map(|chosen| chosen.count).sum();
            let divisor = tokens.max(1) as f64;
            let term = Nll::new(1.0, NllPer::Token, divisor)?;
            let d = d_nll.insert(alloc::vec![0.0; plain.len()]);
            mean += nll_loss(&term, &NllBatch::of_chosen(pairs, plain), d)?.loss_sum / divisor;
        }
        Ok(Found { loss: mean, d_log_probs, d_nll })
    }

    /// The weight of each token, where it is not 1.
    fn token_weights(
        &self,
        layout: &Layout<'_>,
        pairs: &[Pair],
    ) -> Result<Option<Vec<f32>>, Error> {
        if self.extra != Extra::TokenWeights {
            return Ok(None);
        }
        let mut weights = alloc::vec![1.0; layout.rows()];
        ld_token_weights(TAIL_WEIGHT, layout, pairs, &mut weights)?;
        Ok(Some(weights))
    }

    /// What is subtracted from each pair's preference logit, where it is not 0.
    fn offsets(&self, layout: &Layout<'_>, pairs: &[Pair]) -> Result<Option<Vec<f32>>, Error> {
        if self.extra != Extra::Offsets {
            return Ok(None);
        }
        let offset = |pair: &Pair| {
            let [chosen, rejected] =
                [pair.chosen, pair.rejected].map(|answer| layout.tokens(answer));
            Ok(length_offset(LENGTH_PENALTY, chosen, rejected)? as f32)
        };
        pairs.iter().map(offset).collect::<Result<_, Error>>().map(Some)
    }
}
