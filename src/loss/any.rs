//! Any loss of pairs as one value, so that a host switches by assigning.

use super::bernoulli::{BackwardGapCurve, ForwardGapCurve, SquareGapCurve};
use super::discopop::BlendCurve;
use super::hinge::HingeCurve;
use super::logistic::{LogisticCurve, RobustCurve};
use super::square::SquareCurve;
use super::{
    AlphaPo, AnyDivergence, ApoDown, ApoZero, Bco, CalDpo, Cpo, CpoHinge, CpoIpo, DpopInside,
    DpopOutside, Inputs, Kto, LogRatio, MarginLoss, MeanLogRatio, Nca, Orpo, PreferenceLoss, SimPo,
    Slic, SppoHard, UnpairedLoss,
};
use crate::pair::{PairLogProbs, PairLoss};

/// A loss of a curve over log-ratios, under a divergence chosen at run time.
type Relative<C> = MarginLoss<C, LogRatio<AnyDivergence>>;

/// The same over mean log-ratios.
type MeanRelative<C> = MarginLoss<C, MeanLogRatio<AnyDivergence>>;

/// Any loss of pairs: the switch at run time, by an exhaustive match.
///
/// Each variant is the loss that it is named after; [`LossName::build`](crate::loss::LossName::build) makes one
/// from a trainer's name. It links all of them, where a loss named by its type links itself alone.
///
/// # Example
/// ```
/// use dpo_kernel::loss::{Loss, LossName, LossOptions, Objective, PairLogProbs, PreferenceLoss};
/// let pair = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5).with_tokens(10, 12);
/// let mut sum = 0.0;
/// for name in ["sigmoid", "ipo", "hinge"] {
///     let options = LossOptions { beta: Some(0.1), ..LossOptions::default() };
///     if let Objective::Pairs(loss) = name.parse::<LossName>()?.build(&options)? {
///         sum += loss.evaluate(&pair).loss;
///     }
/// }
/// assert!((sum - (0.632599035317169 + 23.88765625 + 0.875)).abs() < 1e-13);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// [`Dpo`](crate::Dpo), conservative if smoothed.
    Sigmoid(Relative<LogisticCurve>),
    /// [`Robust`](crate::loss::Robust)
    Robust(Relative<RobustCurve>),
    /// [`Hinge`](crate::loss::Hinge)
    Hinge(Relative<HingeCurve>),
    /// [`Ipo`](crate::loss::Ipo), of means.
    Ipo(MeanRelative<SquareCurve>),
    /// [`IpoSum`](crate::loss::IpoSum)
    IpoSum(Relative<SquareCurve>),
    /// [`Exo`](crate::loss::Exo)
    Exo(Relative<ForwardGapCurve>),
    /// [`DiscoPop`](crate::loss::DiscoPop)
    DiscoPop(Relative<BlendCurve>),
    /// [`SigmoidNorm`](crate::loss::SigmoidNorm)
    SigmoidNorm(MeanRelative<LogisticCurve>),
    /// [`RpoForward`](crate::loss::RpoForward)
    RpoForward(Relative<ForwardGapCurve>),
    /// [`RpoBackward`](crate::loss::RpoBackward)
    RpoBackward(Relative<BackwardGapCurve>),
    /// [`RpoSquare`](crate::loss::RpoSquare)
    RpoSquare(Relative<SquareGapCurve>),
    /// [`SimPo`]
    SimPo(SimPo),
    /// [`Cpo`]
    Cpo(Cpo),
    /// [`CpoHinge`]
    CpoHinge(CpoHinge),
    /// [`CpoIpo`]
    CpoIpo(CpoIpo),
    /// [`Slic`]
    Slic(Slic),
    /// [`AlphaPo`]
    AlphaPo(AlphaPo),
    /// [`Orpo`]
    Orpo(Orpo),
    /// [`Nca`]
    Nca(Nca),
    /// [`Bco`]
    Bco(Bco),
    /// [`SppoHard`]
    SppoHard(SppoHard),
    /// [`ApoZero`]
    ApoZero(ApoZero),
    /// [`ApoDown`]
    ApoDown(ApoDown),
    /// [`Kto`], both sides of a pair.
    Kto(Kto),
    /// [`CalDpo`]
    CalDpo(CalDpo),
    /// [`DpopInside`]
    DpopInside(DpopInside),
    /// [`DpopOutside`]
    DpopOutside(DpopOutside),
}

impl Loss {
    /// The loss as one of unpaired answers ([`unpaired_loss`](crate::unpaired::unpaired_loss)), if it is one of sides.
    #[must_use]
    pub const fn as_unpaired(&self) -> Option<&dyn UnpairedLoss> {
        match self {
            Self::Nca(loss) => Some(loss),
            Self::Bco(loss) => Some(loss),
            Self::SppoHard(loss) => Some(loss),
            Self::ApoZero(loss) => Some(loss),
            Self::Kto(loss) => Some(loss),
            Self::Sigmoid(_)
            | Self::Robust(_)
            | Self::Hinge(_)
            | Self::Ipo(_)
            | Self::IpoSum(_)
            | Self::Exo(_)
            | Self::DiscoPop(_)
            | Self::SigmoidNorm(_)
            | Self::RpoForward(_)
            | Self::RpoBackward(_)
            | Self::RpoSquare(_)
            | Self::SimPo(_)
            | Self::Cpo(_)
            | Self::CpoHinge(_)
            | Self::CpoIpo(_)
            | Self::Slic(_)
            | Self::AlphaPo(_)
            | Self::Orpo(_)
            | Self::ApoDown(_)
            | Self::CalDpo(_)
            | Self::DpopInside(_)
            | Self::DpopOutside(_) => None,
        }
    }

    const fn as_loss(&self) -> &dyn PreferenceLoss {
        match self {
            Self::Sigmoid(loss) => loss,
            Self::Robust(loss) => loss,
            Self::Hinge(loss) => loss,
            Self::Ipo(loss) => loss,
            Self::IpoSum(loss) => loss,
            Self::Exo(loss) | Self::RpoForward(loss) => loss,
            Self::DiscoPop(loss) => loss,
            Self::SigmoidNorm(loss) => loss,
            Self::RpoBackward(loss) => loss,
            Self::RpoSquare(loss) => loss,
            Self::SimPo(loss) => loss,
            Self::Cpo(loss) => loss,
            Self::CpoHinge(loss) | Self::Slic(loss) => loss,
            Self::CpoIpo(loss) => loss,
            Self::AlphaPo(loss) => loss,
            Self::Orpo(loss) => loss,
            Self::Nca(loss) => loss,
            Self::Bco(loss) => loss,
            Self::SppoHard(loss) => loss,
            Self::ApoZero(loss) => loss,
            Self::ApoDown(loss) => loss,
            Self::Kto(loss) => loss,
            Self::CalDpo(loss) => loss,
            Self::DpopInside(loss) => loss,
            Self::DpopOutside(loss) => loss,
        }
    }
}

impl PreferenceLoss for Loss {
    fn inputs(&self) -> Inputs {
        self.as_loss().inputs()
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        self.as_loss().evaluate(pair)
    }
}
