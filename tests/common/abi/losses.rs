//! Losses and objectives: from numbers to what the Rust functions take.

use dpo_kernel::c::*;
use dpo_kernel::error::Parameter;
use dpo_kernel::loss::{
    AlphaDivergence, AnyDivergence, Aot, BatchLoss, Loss, LossName, LossOptions, Mixture,
    MixtureTerm, Objective, SoftmaxDpo, UnpairedLoss,
};

use super::memory::{Due, Memory, Ranges, Written};
use super::report::{refusal, report_of, unknown, unused};

/// The option that a parameter is. Each is named, so that one that is added does not compile
/// without standing here.
fn option_of(options: &mut LossOptions, parameter: Parameter) -> Option<&mut Option<f64>> {
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
        centering,
        advantage,
        divergence: _,
    } = options;
    Some(match parameter as i32 {
        1 => beta,
        2 => label_smoothing,
        5 => target_margin,
        6 => target_margin_ratio,
        7 => reward_exponent,
        8 => blend_temperature,
        10 => reward_shift,
        11 => slic_margin,
        12 => drop_penalty,
        13 => odds_weight,
        14 => reference_kl,
        15 => desirable_weight,
        16 => undesirable_weight,
        17 => reward_gap,
        32 => centering,
        33 => advantage,
        _ => return None,
    })
}

pub fn loss_of(of: &dpo_loss) -> Due<Objective> {
    let name = LossName::ALL.into_iter().find(|&name| name as i32 == of.name);
    let name = name.ok_or(unknown(DPO_BUFFER_NAME, of.name))?;
    let mut options = LossOptions::default();
    let (mut divergence, mut alpha) = (None, None);
    for option in of.options {
        let number = option.parameter;
        if number == 0 && option.value.to_bits() == 0 {
            continue;
        }
        if number == 0 {
            return Err(unused(DPO_BUFFER_OPTIONS));
        }
        let parameter = Parameter::ALL.into_iter().find(|&parameter| parameter as i32 == number);
        let parameter = parameter.ok_or(unknown(DPO_BUFFER_OPTIONS, number))?;
        let place = match number {
            24 => &mut divergence,
            9 => &mut alpha,
            _ => option_of(&mut options, parameter).ok_or(unknown(DPO_BUFFER_OPTIONS, number))?,
        };
        if place.is_some() {
            return Err(unused(DPO_BUFFER_OPTIONS));
        }
        *place = Some(option.value);
    }
    options.divergence = divergence_of(divergence, alpha)?;
    name.build(&options).map_err(report_of)
}

fn divergence_of(kind: Option<f64>, alpha: Option<f64>) -> Due<Option<AnyDivergence>> {
    let takes_alpha = kind == Some(3.0) || kind == Some(4.0);
    let kind = match (kind, alpha) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(unused(DPO_BUFFER_OPTIONS)),
        (Some(kind), _) => kind,
    };
    if !(0..=4).map(f64::from).any(|known| known == kind) {
        return Err(unknown(DPO_BUFFER_OPTIONS, Parameter::Divergence as i32));
    }
    if takes_alpha && alpha.is_none() {
        let parameter = Parameter::DivergenceAlpha as i32;
        return Err(refusal(DPO_ERROR_PARAMETER_MISSING, parameter, [0, 0]));
    }
    if !takes_alpha && alpha.is_some() {
        return Err(unused(DPO_BUFFER_OPTIONS));
    }
    let with = |made: Result<AlphaDivergence, _>| made.map(AnyDivergence::Alpha).map_err(report_of);
    let alpha = alpha.unwrap_or(0.0);
    Ok(Some(match kind as i32 {
        0 => AnyDivergence::ReverseKl,
        1 => AnyDivergence::ForwardKl,
        2 => AnyDivergence::JensenShannon,
        3 => with(AlphaDivergence::with_paper_alpha(alpha))?,
        _ => with(AlphaDivergence::with_trl_alpha(alpha))?,
    }))
}

/// A loss of pairs one by one.
pub fn pairs_loss(of: &dpo_loss) -> Due<Loss> {
    match loss_of(of)? {
        Objective::Pairs(loss) => Ok(loss),
        _ => Err(unknown(DPO_BUFFER_NAME, of.name)),
    }
}

/// A loss of answers one by one.
pub fn answers_loss(of: &dpo_loss) -> Due<OwnUnpaired> {
    let built = loss_of(of)?;
    let is_one = built.as_unpaired().is_some();
    if is_one { Ok(OwnUnpaired(built)) } else { Err(unknown(DPO_BUFFER_NAME, of.name)) }
}

/// A loss of answers.
#[derive(Clone, Copy, Debug)]
pub struct OwnUnpaired(Objective);

impl OwnUnpaired {
    pub fn loss(&self) -> &dyn UnpairedLoss {
        self.0.as_unpaired().unwrap()
    }
}

/// So that a slice of them can be one loss an answer.
impl UnpairedLoss for OwnUnpaired {
    fn beta(&self) -> f64 {
        self.loss().beta()
    }

    fn chosen(&self, log_ratio: f64) -> dpo_kernel::loss::Tangent {
        self.loss().chosen(log_ratio)
    }

    fn rejected(&self, log_ratio: f64) -> dpo_kernel::loss::Tangent {
        self.loss().rejected(log_ratio)
    }

    fn leaves_out(&self) -> (bool, bool) {
        self.loss().leaves_out()
    }
}

/// The buffers of an objective.
#[derive(Debug)]
pub struct ObjectiveMemory {
    losses: Memory<dpo_loss>,
    kind: i32,
    weights: Option<Memory<f64>>,
    order: Option<Memory<usize>>,
}

/// An objective, with what it borrows.
#[derive(Debug)]
pub enum OwnObjective {
    One(Loss),
    Sorted(Aot, Vec<usize>),
    Groups(SoftmaxDpo),
    Each(Vec<Loss>),
    Mixed(Vec<(f64, Loss)>),
}

impl ObjectiveMemory {
    pub fn of(of: &dpo_objective, ranges: &mut Ranges) -> Due<Self> {
        if of.reserved != 0 {
            return Err(unused(DPO_BUFFER_LOSSES));
        }
        let losses = ranges.read(of.losses, of.count, DPO_BUFFER_LOSSES)?;
        let weights = ranges.read_if(of.term_weights, of.count, DPO_BUFFER_MIXTURE_TERMS)?;
        let has_order = !of.order.is_null() || of.order_len != 0;
        let order = has_order.then(|| ranges.write(of.order, of.order_len, DPO_BUFFER_PAIR_ORDER));
        Ok(Self { losses, kind: of.kind, weights, order: order.transpose()? })
    }

    pub fn get(&self, out: &mut Vec<Written>) -> Due<OwnObjective> {
        let losses = self.losses.get();
        if self.weights.is_some() && self.kind != DPO_OBJECTIVE_MIXTURE {
            return Err(unused(DPO_BUFFER_MIXTURE_TERMS));
        }
        if self.order.is_some() && self.kind != DPO_OBJECTIVE_ONE {
            return Err(unused(DPO_BUFFER_PAIR_ORDER));
        }
        match self.kind {
            DPO_OBJECTIVE_ONE => self.one(&losses, out),
            DPO_OBJECTIVE_PER_PAIR => {
                losses.iter().map(pairs_loss).collect::<Due<_>>().map(OwnObjective::Each)
            }
            DPO_OBJECTIVE_MIXTURE => self.mixture(&losses),
            other => Err(unknown(DPO_BUFFER_LOSSES, other)),
        }
    }

    fn one(&self, losses: &[dpo_loss], out: &mut Vec<Written>) -> Due<OwnObjective> {
        if losses.len() != 1 {
            let count = [1, losses.len()];
            return Err(refusal(DPO_ERROR_LENGTH, DPO_BUFFER_PAIR_LOSS_KINDS, count));
        }
        let built = loss_of(&losses[0])?;
        if let Objective::Batch(aot) = built {
            out.extend(self.order.map(|order| order.becomes_anything()));
            return Ok(OwnObjective::Sorted(aot, self.order.map_or(vec![], |order| order.get())));
        }
        match built {
            Objective::Pairs(_) | Objective::Groups(_) if self.order.is_some() => {
                Err(unused(DPO_BUFFER_PAIR_ORDER))
            }
            Objective::Pairs(loss) => Ok(OwnObjective::One(loss)),
            Objective::Groups(loss) => Ok(OwnObjective::Groups(loss)),
            _ => Err(unknown(DPO_BUFFER_NAME, losses[0].name)),
        }
    }

    fn mixture(&self, losses: &[dpo_loss]) -> Due<OwnObjective> {
        let Some(weights) = &self.weights else {
            return Err(refusal(DPO_ERROR_NULL, DPO_BUFFER_MIXTURE_TERMS, [0, 0]));
        };
        if losses.len() > 8 {
            let len = [losses.len(), 0];
            return Err(refusal(DPO_ERROR_TOO_LONG, DPO_BUFFER_MIXTURE_TERMS, len));
        }
        let terms = losses.iter().map(pairs_loss).collect::<Due<Vec<_>>>()?;
        let terms: Vec<_> = weights.get().into_iter().zip(terms).collect();
        let mixed: Vec<_> = terms.iter().map(|(w, loss)| MixtureTerm::new(*w, loss)).collect();
        Mixture::new(&mixed).map_err(report_of)?;
        Ok(OwnObjective::Mixed(terms))
    }
}

/// Something to do with any objective.
pub trait WithObjective {
    type Out;
    fn with<L: BatchLoss>(self, objective: L) -> Self::Out;
}

impl OwnObjective {
    pub fn with<W: WithObjective>(&mut self, what: W) -> W::Out {
        match self {
            Self::One(loss) => what.with(&*loss),
            Self::Sorted(aot, order) => what.with(aot.over(order)),
            Self::Groups(loss) => what.with(*loss),
            Self::Each(losses) => what.with(dpo_kernel::loss::PerPair::new(losses)),
            Self::Mixed(terms) => {
                let terms: Vec<_> =
                    terms.iter().map(|(weight, loss)| MixtureTerm::new(*weight, loss)).collect();
                what.with(&Mixture::new(&terms).unwrap())
            }
        }
    }
}
