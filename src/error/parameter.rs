//! The parameters that have a domain.

/// A parameter with a domain, named in [`Error::Parameter`](super::Error::Parameter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parameter {
    /// β, finite and > 0.
    Beta,
    /// ε of conservative DPO, in [0, ½].
    LabelSmoothing,
    /// ε of robust DPO, in [0, ½).
    RobustSmoothing,
    /// ε of EXO, in (0, 1).
    ExoSmoothing,
    /// The target margin γ of `SimPO` and `AlphaPO`, finite and ≥ 0.
    TargetMargin,
    /// γ/β of `SimPO`, finite and ≥ 0.
    TargetMarginRatio,
    /// α of `AlphaPO`, finite.
    RewardExponent,
    /// τ of `DiscoPOP`, finite and > 0.
    BlendTemperature,
    /// α of the α-divergence, finite.
    DivergenceAlpha,
    /// δ of BCO, finite.
    RewardShift,
    /// δ of `SLiC`, finite and > 0.
    SlicMargin,
    /// λ of DPOP, finite and ≥ 0.
    DropPenalty,
    /// λ of ORPO, finite and > 0.
    OddsWeight,
    /// K of KTO, finite and ≥ 0.
    ReferenceKl,
    /// The weight of desirable answers, finite and ≥ 0.
    DesirableWeight,
    /// The weight of undesirable answers, finite and ≥ 0.
    UndesirableWeight,
    /// The gap Δ of external rewards, finite.
    RewardGap,
    /// The weight of a term of a mixture, finite and ≥ 0.
    TermWeight,
    /// The weight of an NLL term, finite and ≥ 0.
    NllWeight,
    /// α of XPO's term, finite and ≥ 0.
    ExplorationWeight,
    /// The weight of tokens past the shorter answer's length, in [0, 1].
    TailWeight,
    /// The factor on ODPO's log score gap, finite and ≥ 0.
    OffsetScale,
    /// The difference of two scores of which the first is the better, finite and > 0.
    ScoreGap,
    /// α of R-DPO, finite.
    LengthPenalty,
    /// The f-divergence.
    Divergence,
    /// a of β-DPO, finite and ≥ 0.
    BetaGain,
    /// α of the moving reference, in [0, 1].
    Mixing,
    /// The divisor of the batch, finite and > 0.
    Divisor,
    /// The factor on the logits, finite and > 0.
    Scale,
    /// The bound of `c · tanh(x / c)`, finite and > 0.
    Softcap,
    /// The sampling temperature, finite and > 0.
    Temperature,
    /// The quotient of two transform parameters, in [1e-30, 1e30].
    Transform,
}

impl Parameter {
    pub(super) const fn name_and_domain(self) -> (&'static str, &'static str) {
        match self {
            Self::Beta => ("beta", "must be finite and > 0"),
            Self::LabelSmoothing => ("label smoothing", "must lie in [0, 0.5]"),
            Self::RobustSmoothing => ("label smoothing of the robust loss", "must lie in [0, 0.5)"),
            Self::ExoSmoothing => ("label smoothing of EXO", "must lie between 0 and 1"),
            Self::TargetMargin => ("target margin", "must be finite and >= 0"),
            Self::TargetMarginRatio => ("target margin over beta", "must be finite and >= 0"),
            Self::RewardExponent => ("alpha of AlphaPO", "must be finite"),
            Self::BlendTemperature => ("tau of DiscoPOP", "must be finite and > 0"),
            Self::DivergenceAlpha => ("alpha of the divergence", "must be finite"),
            Self::RewardShift => ("delta of BCO", "must be finite"),
            Self::SlicMargin => ("delta of SLiC", "must be finite and > 0"),
            Self::DropPenalty => ("lambda of DPOP", "must be finite and >= 0"),
            Self::OddsWeight => ("lambda of ORPO", "must be finite and > 0"),
            Self::ReferenceKl => ("K of KTO", "must be finite and >= 0"),
            Self::DesirableWeight => ("weight of desirable answers", "must be finite and >= 0"),
            Self::UndesirableWeight => ("weight of undesirable answers", "must be finite and >= 0"),
            Self::RewardGap => ("reward gap", "must be finite"),
            Self::TermWeight => ("weight of a mixture's term", "must be finite and >= 0"),
            Self::NllWeight => ("weight of the NLL term", "must be finite and >= 0"),
            Self::ExplorationWeight => ("alpha of XPO", "must be finite and >= 0"),
            Self::TailWeight => ("alpha of LD-DPO", "must lie in [0, 1]"),
            Self::OffsetScale => ("scale of the offset", "must be finite and >= 0"),
            Self::ScoreGap => ("score gap", "must be finite and > 0"),
            Self::LengthPenalty => ("length penalty", "must be finite"),
            Self::Divergence => ("f-divergence", "must be reverse KL for this loss"),
            Self::BetaGain => ("gain of beta-DPO", "must be finite and >= 0"),
            Self::Mixing => ("alpha of the moving reference", "must lie in [0, 1]"),
            Self::Divisor => ("divisor", "must be finite and > 0"),
            Self::Scale => ("logit scale", "must be finite and > 0"),
            Self::Softcap => ("softcap", "must be finite and > 0"),
            Self::Temperature => ("temperature", "must be finite and > 0"),
            Self::Transform => ("combined logit factor", "must lie in [1e-30, 1e30]"),
        }
    }
}
