//! One loss, one for each pair, or a mixture: what a batch of pairs is measured by.

use super::argument::growing;
use super::memory::{Buffers, Input, Memory, Output};
use super::names::*;
use super::options::dpo_loss;
use super::status::{DPO_ERROR_NULL, DPO_ERROR_TOO_LONG, Fault, codes};
use crate::error::Buffer;
use crate::loss::{
    AotOver, BatchLoss, Inputs, Loss, Mixture, MixtureTerm, Objective, PairLogProbs, PerPair,
    PreferenceLoss, SoftmaxDpo,
};
use crate::pair::Pair;
use crate::{Error, PairBatch, PairLoss};

codes! {
    /// One loss for all pairs.
    DPO_OBJECTIVE_ONE = 0;
    /// [`PerPair`]: as many losses as pairs.
    DPO_OBJECTIVE_PER_PAIR = 1;
    /// [`Mixture`]: a weighted sum of up to [`DPO_MOST_TERMS`] losses.
    DPO_OBJECTIVE_MIXTURE = 2;
}

/// Most terms of a mixture.
pub const DPO_MOST_TERMS: usize = 8;

/// What a batch of pairs is measured by.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct dpo_objective {
    /// Of this struct, in bytes.
    pub size: usize,
    /// The losses.
    pub losses: *const dpo_loss,
    /// How many.
    pub count: usize,
    /// `DPO_OBJECTIVE_…`
    pub kind: i32,
    /// 0
    pub reserved: u32,
    /// The weights of a mixture, `count`; NULL otherwise.
    pub term_weights: *const f64,
    /// Memory to sort in, for `aot` and `aot_unpaired`; NULL otherwise.
    pub order: *mut usize,
    /// How many indices it holds: two a pair.
    pub order_len: usize,
}

growing!(dpo_objective, DPO_BUFFER_LOSSES => count .. order_len;);

/// The buffers of a [`dpo_objective`].
#[derive(Debug)]
pub(super) struct ObjectiveInput {
    losses: Input<dpo_loss>,
    kind: i32,
    term_weights: Option<Input<f64>>,
    order: Option<Output<usize>>,
}

impl dpo_objective {
    pub(super) fn add_to(&self, buffers: &mut Buffers) -> Result<ObjectiveInput, Fault> {
        if self.reserved != 0 {
            return Err(Fault::unused(DPO_BUFFER_LOSSES));
        }
        Ok(ObjectiveInput {
            losses: buffers.input(self.losses, self.count, DPO_BUFFER_LOSSES)?,
            kind: self.kind,
            term_weights: buffers.optional_input(
                self.term_weights,
                self.count,
                DPO_BUFFER_MIXTURE_TERMS,
            )?,
            // NULL with a length is memory that was promised, and not no order.
            order: if self.order.is_null() && self.order_len == 0 {
                None
            } else {
                Some(buffers.output(self.order, self.order_len, DPO_BUFFER_PAIR_ORDER)?)
            },
        })
    }
}

impl ObjectiveInput {
    /// The objective, every loss of which was built once, so that building it again cannot fail.
    ///
    /// # Safety
    /// As [`Memory::slice`].
    pub(super) unsafe fn get<'a>(self, memory: &Memory) -> Result<AnyObjective<'a>, Fault> {
        let Self { losses, kind, term_weights, order } = self;
        // SAFETY: the caller's word, passed on for all three.
        let (losses, term_weights, order) = unsafe {
            let order = order.map(|order| memory.slice_mut(order));
            (memory.slice(losses), memory.optional(term_weights), order)
        };
        if term_weights.is_some() && kind != DPO_OBJECTIVE_MIXTURE {
            return Err(Fault::unused(DPO_BUFFER_MIXTURE_TERMS));
        }
        let objective = match kind {
            DPO_OBJECTIVE_ONE => one(losses, order)?,
            _ if order.is_some() => return Err(Fault::unused(DPO_BUFFER_PAIR_ORDER)),
            DPO_OBJECTIVE_PER_PAIR => {
                losses.iter().try_for_each(|loss| pairs_loss(loss).map(|_| ()))?;
                AnyObjective::PerPair(losses)
            }
            DPO_OBJECTIVE_MIXTURE => AnyObjective::Mixture(Terms::of(losses, term_weights)?),
            other => return Err(Fault::unknown(DPO_BUFFER_LOSSES, other)),
        };
        Ok(objective)
    }
}

fn one<'a>(losses: &[dpo_loss], order: Option<&'a mut [usize]>) -> Result<AnyObjective<'a>, Fault> {
    let [loss] = losses else {
        let (buffer, expected, found) = (Buffer::PairLossKinds, 1, losses.len());
        return Err(Error::Length { buffer, expected, found }.into());
    };
    match (loss.build()?, order) {
        (Objective::Pairs(_) | Objective::Groups(_), Some(_)) => {
            Err(Fault::unused(DPO_BUFFER_PAIR_ORDER))
        }
        (Objective::Pairs(loss), None) => Ok(AnyObjective::One(loss)),
        (Objective::Groups(loss), None) => Ok(AnyObjective::Groups(loss)),
        (Objective::Batch(aot), order) => {
            Ok(AnyObjective::Batch(aot.over(order.unwrap_or_default())))
        }
        (Objective::Unpaired(_) | Objective::Nll, _) => {
            Err(Fault::unknown(DPO_BUFFER_NAME, loss.name))
        }
    }
}

/// A loss of pairs one by one.
pub(super) fn pairs_loss(loss: &dpo_loss) -> Result<Loss, Fault> {
    match loss.build()? {
        Objective::Pairs(loss) => Ok(loss),
        _ => Err(Fault::unknown(DPO_BUFFER_NAME, loss.name)),
    }
}

/// The terms of a mixture, built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    terms: [Option<(f64, Loss)>; DPO_MOST_TERMS],
}

impl Terms {
    fn of(losses: &[dpo_loss], weights: Option<&[f64]>) -> Result<Self, Fault> {
        let Some(weights) = weights else {
            return Err(Fault::Call(DPO_ERROR_NULL, DPO_BUFFER_MIXTURE_TERMS, [0, 0]));
        };
        if losses.len() > DPO_MOST_TERMS {
            return Err(Fault::Call(
                DPO_ERROR_TOO_LONG,
                DPO_BUFFER_MIXTURE_TERMS,
                [losses.len(), 0],
            ));
        }
        let mut terms = [None; DPO_MOST_TERMS];
        for ((to, loss), &weight) in terms.iter_mut().zip(losses).zip(weights) {
            *to = Some((weight, pairs_loss(loss)?));
        }
        // Weights out of their domain, and a mixture of nothing, are refused here.
        let terms = Self { terms };
        terms.with(|_| ())?;
        Ok(terms)
    }

    /// Looks at the mixture, which borrows its terms.
    fn with<T>(&self, look: impl FnOnce(&Mixture<'_>) -> T) -> Result<T, Error> {
        let terms = || self.terms.iter().flatten();
        let Some((_, first)) = terms().next() else {
            return Err(Error::Length { buffer: Buffer::MixtureTerms, expected: 1, found: 0 });
        };
        let mut mixed = [MixtureTerm::new(0.0, first); DPO_MOST_TERMS];
        for (to, (weight, loss)) in mixed.iter_mut().zip(terms()) {
            *to = MixtureTerm::new(*weight, loss);
        }
        let mixed = mixed.get(..terms().count()).unwrap_or_default();
        Ok(look(&Mixture::new(mixed)?))
    }
}

/// A loss that is built where it is evaluated: there is nowhere to keep one for each pair.
impl PreferenceLoss for dpo_loss {
    fn inputs(&self) -> Inputs {
        pairs_loss(self).map_or(NO_INPUTS, |loss| loss.inputs())
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        pairs_loss(self).map_or(NO_NUMBERS, |loss| loss.evaluate(pair))
    }
}

/// What a loss that cannot be built would say; entries refuse it before.
const NO_NUMBERS: PairLoss = PairLoss {
    loss: f64::NAN,
    reward_chosen: f64::NAN,
    reward_rejected: f64::NAN,
    margin: f64::NAN,
    d_chosen: f64::NAN,
    d_rejected: f64::NAN,
};
const NO_INPUTS: Inputs = Inputs { reference: true, tokens: true, offsets: false };

/// Any objective, as one loss of a batch.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one, on the stack, and nowhere else to put it"
)]
pub(super) enum AnyObjective<'a> {
    One(Loss),
    Batch(AotOver<'a>),
    Groups(SoftmaxDpo),
    PerPair(&'a [dpo_loss]),
    Mixture(Terms),
}

impl BatchLoss for AnyObjective<'_> {
    fn inputs(&self, weights: Option<&[f32]>) -> Inputs {
        match self {
            Self::One(loss) => PreferenceLoss::inputs(loss),
            Self::Batch(aot) => aot.inputs(weights),
            Self::Groups(loss) => loss.inputs(weights),
            Self::PerPair(losses) => PerPair::new(losses).inputs(weights),
            Self::Mixture(terms) => {
                terms.with(|mixture| PreferenceLoss::inputs(mixture)).unwrap_or(NO_INPUTS)
            }
        }
    }

    fn check(&self, pairs: &[Pair], weights: Option<&[f32]>) -> Result<(), Error> {
        match self {
            Self::One(loss) => BatchLoss::check(&loss, pairs, weights),
            Self::Batch(aot) => aot.check(pairs, weights),
            Self::Groups(loss) => loss.check(pairs, weights),
            Self::PerPair(losses) => PerPair::new(losses).check(pairs, weights),
            Self::Mixture(terms) => {
                terms.with(|mixture| BatchLoss::check(&mixture, pairs, weights))?
            }
        }
    }

    fn evaluate_all(self, batch: &PairBatch<'_>, losses: &mut [PairLoss]) {
        match self {
            Self::One(loss) => BatchLoss::evaluate_all(&loss, batch, losses),
            Self::Batch(aot) => aot.evaluate_all(batch, losses),
            Self::Groups(loss) => loss.evaluate_all(batch, losses),
            Self::PerPair(each) => PerPair::new(each).evaluate_all(batch, losses),
            Self::Mixture(terms) => {
                if terms.with(|mixture| mixture.evaluate_all(batch, losses)).is_err() {
                    losses.fill(NO_NUMBERS);
                }
            }
        }
    }
}
