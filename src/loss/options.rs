//! From a name and its options to a loss.

use super::{
    AlphaPo, AnyDivergence, Aot, ApoDown, ApoZero, Bco, CalDpo, Cpo, CpoHinge, CpoIpo, DiscoPop,
    Dpo, DpopInside, DpopOutside, Exo, Hinge, Ipo, IpoSum, Kto, Loss, LossName, Nca, Orpo, Robust,
    RpoBackward, RpoForward, RpoSquare, SigmoidNorm, SimPo, Slic, SppoHard,
};
use crate::Error;
use crate::error::Parameter;

/// What a configuration says of a loss. An option that is not given has the loss's default; one that
/// the loss does not have is refused.
///
/// Defaults are those of the papers' recipes where there is one: β = 0.1; 5 for `sigmoid_norm` (Tülu 3), 2
/// for `simpo` and `alphapo`, 0.05 for `discopop`, 0.01 for `aot`, 1e-3 for `sppo_hard` and `cal_dpo`; the
/// others stand at their fields.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossOptions {
    /// β, of all but `orpo`, `slic` and `sft`.
    pub beta: Option<f64>,
    /// ε of `sigmoid`, `sigmoid_norm`, `aot`, `aot_unpaired`, `simpo`, `cpo`, `alphapo` (0), `robust` (0.1),
    /// `exo_pair` (1e-3).
    pub label_smoothing: Option<f64>,
    /// γ of `simpo` and `alphapo` (0.5), not together with the ratio.
    pub target_margin: Option<f64>,
    /// γ/β of `simpo`.
    pub target_margin_ratio: Option<f64>,
    /// α of `alphapo` (0, which is `simpo`).
    pub reward_exponent: Option<f64>,
    /// τ of `discopop` (0.05).
    pub blend_temperature: Option<f64>,
    /// δ of `bco_pair` (0).
    pub reward_shift: Option<f64>,
    /// δ of `slic` (1).
    pub slic_margin: Option<f64>,
    /// λ of `dpop_inside` and `dpop_outside` (50).
    pub drop_penalty: Option<f64>,
    /// λ of `orpo` (0.1), called `beta` in TRL.
    pub odds_weight: Option<f64>,
    /// K of `kto`, which must be given.
    pub reference_kl: Option<f64>,
    /// Weight of desirable answers in `kto` (1).
    pub desirable_weight: Option<f64>,
    /// Weight of undesirable answers in `kto` (1).
    pub undesirable_weight: Option<f64>,
    /// Δ of `rpo_fwd_kl`, `rpo_bwd_kl` and `rpo_sq`, which must be given.
    pub reward_gap: Option<f64>,
    /// The f-divergence of losses of a difference of log-ratios (reverse KL).
    pub divergence: Option<AnyDivergence>,
}

/// What a name stands for: losses of pairs, of the whole batch, and of tokens have entries of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Objective {
    /// A loss of pairs.
    Pairs(Loss),
    /// A loss of the whole batch, which needs memory to sort in: [`Aot::over`].
    Batch(Aot),
    /// No preference loss, but an [`Nll`](crate::loss::Nll) term, whose weight and divisor are the host's.
    Nll,
}

/// Options, taken one by one; what is left at the end was not the loss's.
struct Given(LossOptions);

impl LossName {
    /// The loss of this name with these options.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a value outside its domain, [`Error::ParameterUnused`] for an option that
    /// this loss does not have, [`Error::ParameterMissing`] for K and Δ, which have no default.
    ///
    /// # Panics
    /// Never.
    pub fn build(self, options: &LossOptions) -> Result<Objective, Error> {
        let mut given = Given(*options);
        let objective = match self {
            Self::Aot => Objective::Batch(given.aot(Aot::paired)?),
            Self::AotUnpaired => Objective::Batch(given.aot(Aot::unpaired)?),
            Self::Sft => Objective::Nll,
            _ => Objective::Pairs(given.pairs(self)?),
        };
        match given.first_left() {
            Some(parameter) => Err(Error::ParameterUnused { parameter }),
            None => Ok(objective),
        }
    }
}

impl Given {
    fn aot(&mut self, new: fn(f64) -> Result<Aot, Error>) -> Result<Aot, Error> {
        new(self.beta(0.01))?.with_label_smoothing(self.smoothing(0.0))
    }

    fn pairs(&mut self, name: LossName) -> Result<Loss, Error> {
        Ok(match name {
            LossName::Sigmoid => {
                let loss = Dpo::new(self.beta(0.1))?.with_label_smoothing(self.smoothing(0.0))?;
                Loss::Sigmoid(loss.with_divergence(self.divergence()))
            }
            LossName::Robust => {
                let loss = Robust::new(self.beta(0.1), self.smoothing(0.1))?;
                Loss::Robust(loss.with_divergence(self.divergence()))
            }
            LossName::Hinge => {
                Loss::Hinge(Hinge::new(self.beta(0.1))?.with_divergence(self.divergence()))
            }
            LossName::Ipo => {
                Loss::Ipo(Ipo::new(self.beta(0.1))?.with_divergence(self.divergence()))
            }
            LossName::IpoSum => {
                Loss::IpoSum(IpoSum::new(self.beta(0.1))?.with_divergence(self.divergence()))
            }
            LossName::Exo => {
                let loss = Exo::new(self.beta(0.1), self.smoothing(1e-3))?;
                Loss::Exo(loss.with_divergence(self.divergence()))
            }
            LossName::DiscoPop => {
                let tau = self.0.blend_temperature.take().unwrap_or(0.05);
                let loss = DiscoPop::new(self.beta(0.05), tau)?;
                Loss::DiscoPop(loss.with_divergence(self.divergence()))
            }
            LossName::SigmoidNorm => {
                let loss = SigmoidNorm::new(self.beta(5.0))?;
                let loss = loss.with_label_smoothing(self.smoothing(0.0))?;
                Loss::SigmoidNorm(loss.with_divergence(self.divergence()))
            }
            LossName::RpoForward => {
                let loss = RpoForward::of_gap(self.beta(0.1), self.gap()?)?;
                Loss::RpoForward(loss.with_divergence(self.divergence()))
            }
            LossName::RpoBackward => {
                let loss = RpoBackward::of_gap(self.beta(0.1), self.gap()?)?;
                Loss::RpoBackward(loss.with_divergence(self.divergence()))
            }
            LossName::RpoSquare => {
                let loss = RpoSquare::of_gap(self.beta(0.1), self.gap()?)?;
                Loss::RpoSquare(loss.with_divergence(self.divergence()))
            }
            LossName::SimPo => {
                let beta = self.beta(2.0);
                let loss = match self.0.target_margin_ratio.take() {
                    // With both, γ is left over and refused.
                    Some(ratio) => SimPo::with_ratio(beta, ratio)?,
                    None => SimPo::new(beta, self.target_margin())?,
                };
                Loss::SimPo(loss.with_label_smoothing(self.smoothing(0.0))?)
            }
            LossName::AlphaPo => {
                let alpha = self.0.reward_exponent.take().unwrap_or(0.0);
                let loss = AlphaPo::new(self.beta(2.0), self.target_margin(), alpha)?;
                Loss::AlphaPo(loss.with_label_smoothing(self.smoothing(0.0))?)
            }
            LossName::Cpo => {
                let loss = Cpo::new(self.beta(0.1))?;
                Loss::Cpo(loss.with_label_smoothing(self.smoothing(0.0))?)
            }
            LossName::CpoHinge => Loss::CpoHinge(CpoHinge::of_rewards(self.beta(0.1))?),
            LossName::CpoIpo => Loss::CpoIpo(CpoIpo::new(self.beta(0.1))?),
            LossName::Slic => Loss::Slic(Slic::new(self.0.slic_margin.take().unwrap_or(1.0))?),
            LossName::Orpo => Loss::Orpo(Orpo::new(self.0.odds_weight.take().unwrap_or(0.1))?),
            LossName::Nca => Loss::Nca(Nca::new(self.beta(0.1))?),
            LossName::Bco => {
                let shift = self.0.reward_shift.take().unwrap_or(0.0);
                Loss::Bco(Bco::new(self.beta(0.1))?.with_shift(shift)?)
            }
            LossName::SppoHard => Loss::SppoHard(SppoHard::new(self.beta(1e-3))?),
            LossName::ApoZero => Loss::ApoZero(ApoZero::new(self.beta(0.1))?),
            LossName::ApoDown => Loss::ApoDown(ApoDown::new(self.beta(0.1))?),
            LossName::Kto => {
                let parameter = Parameter::ReferenceKl;
                let kl = self.0.reference_kl.take().ok_or(Error::ParameterMissing { parameter })?;
                let desirable = self.0.desirable_weight.take().unwrap_or(1.0);
                let undesirable = self.0.undesirable_weight.take().unwrap_or(1.0);
                Loss::Kto(Kto::new(self.beta(0.1), kl)?.with_weights(desirable, undesirable)?)
            }
            LossName::CalDpo => Loss::CalDpo(CalDpo::new(self.beta(1e-3))?),
            LossName::DpopInside => {
                Loss::DpopInside(DpopInside::new(self.beta(0.1), self.penalty())?)
            }
            LossName::DpopOutside => {
                Loss::DpopOutside(DpopOutside::new(self.beta(0.1), self.penalty())?)
            }
            // Not losses of pairs; `build` has dealt with them.
            LossName::Aot | LossName::AotUnpaired | LossName::Sft => {
                return Err(Error::UnknownLoss);
            }
        })
    }

    fn beta(&mut self, default: f64) -> f64 {
        self.0.beta.take().unwrap_or(default)
    }

    fn smoothing(&mut self, default: f64) -> f64 {
        self.0.label_smoothing.take().unwrap_or(default)
    }

    fn target_margin(&mut self) -> f64 {
        self.0.target_margin.take().unwrap_or(0.5)
    }

    fn penalty(&mut self) -> f64 {
        self.0.drop_penalty.take().unwrap_or(50.0)
    }

    fn divergence(&mut self) -> AnyDivergence {
        self.0.divergence.take().unwrap_or_default()
    }

    fn gap(&mut self) -> Result<f64, Error> {
        let parameter = Parameter::RewardGap;
        self.0.reward_gap.take().ok_or(Error::ParameterMissing { parameter })
    }

    /// An option that no one took.
    fn first_left(&self) -> Option<Parameter> {
        let LossOptions {
            beta,
            label_smoothing,
            target_margin,
            target_margin_ratio,
            reward_exponent,
            blend_temperature,
            reward_shift,
            slic_margin,
            drop_penalty,
            odds_weight,
            reference_kl,
            desirable_weight,
            undesirable_weight,
            reward_gap,
            divergence,
        } = self.0;
        let left = [
            (beta, Parameter::Beta),
            (label_smoothing, Parameter::LabelSmoothing),
            (target_margin, Parameter::TargetMargin),
            (target_margin_ratio, Parameter::TargetMarginRatio),
            (reward_exponent, Parameter::RewardExponent),
            (blend_temperature, Parameter::BlendTemperature),
            (reward_shift, Parameter::RewardShift),
            (slic_margin, Parameter::SlicMargin),
            (drop_penalty, Parameter::DropPenalty),
            (odds_weight, Parameter::OddsWeight),
            (reference_kl, Parameter::ReferenceKl),
            (desirable_weight, Parameter::DesirableWeight),
            (undesirable_weight, Parameter::UndesirableWeight),
            (reward_gap, Parameter::RewardGap),
            (divergence.map(|_| 0.0), Parameter::Divergence),
        ];
        left.into_iter().find(|(option, _)| option.is_some()).map(|(_, parameter)| parameter)
    }
}
