//! The preference losses: what a pair of answers, or an answer without a partner, costs.
//!
//! ```text
//! margin ──▶ curve ℓ(z), score s(y)      logistic, hinge, square, bernoulli, discopop, reference_free
//! sides  ──▶ ℓ₁(a) + ℓ₂(b)               sides, bounded; unpaired for answers without a partner
//! both   ──▶ ℓ(a, b)                     anchored, orpo
//! batch  ──▶ one entry for all of them   loss, batch; aot sorts; mixture, nll, weights stand around
//! names  ──▶ any of them at run time     name, options, any
//! ```

mod anchored;
mod any;
mod aot;
mod bernoulli;
mod bounded;
mod discopop;
mod divergence;
mod hinge;
mod logistic;
mod loss;
mod margin;
mod mixture;
mod name;
mod nll;
mod options;
mod orpo;
mod reference_free;
mod score;
mod sides;
mod square;
mod xpo;

pub use crate::pair::PairLogProbs;
pub use anchored::{CalDpo, DpopInside, DpopOutside};
pub use any::Loss;
pub use aot::{Aot, AotOver};
pub use bernoulli::{
    BackwardGapCurve, Exo, ForwardGapCurve, RpoBackward, RpoForward, RpoSquare, SquareGapCurve,
};
pub use bounded::{ApoDown, ApoZero, Kto};
pub use discopop::{BlendCurve, DiscoPop};
pub use divergence::{
    AlphaDivergence, AnyDivergence, Divergence, ForwardKl, JensenShannon, ReverseKl,
};
pub use hinge::{CpoHinge, Hinge, HingeCurve, Slic};
pub use logistic::{Dpo, LogisticCurve, Robust, RobustCurve, SigmoidNorm};
pub use loss::{BatchLoss, Inputs, PerPair, PreferenceLoss};
pub use margin::{Curve, MarginLoss, Tangent};
pub use mixture::{Mixture, MixtureTerm};
pub use name::LossName;
pub(crate) use nll::check_nll;
pub use nll::{Nll, NllAnswers, NllBatch, NllPer, NllSummary, nll_loss};
pub use options::{LossOptions, Objective};
pub use orpo::Orpo;
pub use reference_free::{AlphaPo, Cpo, SimPo};
pub use score::{LogProb, LogRatio, MeanLogProb, MeanLogRatio, PowerLogProb, Score};
pub use sides::{Bco, Nca, SppoHard, UnpairedLoss};
pub use square::{CpoIpo, Ipo, IpoSum, SquareCurve};
pub use xpo::Xpo;
