//! Which kernel a mistake is made in: in others it cannot show.

use super::Mistake;

impl Mistake {
    /// Whether what follows a forward is the mistake's doing.
    pub(super) const fn kernel(self) -> Kernel {
        match self {
            Self::Unwritten
            | Self::Zeros
            | Self::AlwaysNan
            | Self::Constant
            | Self::LastCall
            | Self::Accumulates
            | Self::FirstRow
            | Self::RowBefore
            | Self::RowAfter
            | Self::OutputRounded(_)
            | Self::NarrowSums(_) => Kernel::Any,
            Self::SwapsPairs
            | Self::NoReference
            | Self::AddsReference
            | Self::NoBeta
            | Self::NoBetaInGradient
            | Self::BetaTwice
            | Self::NoBetaInRewards
            | Self::AddsOffset
            | Self::NoOffset
            | Self::OffsetInMargin
            | Self::NoWeight
            | Self::NoWeightInGradient
            | Self::WeightTwice
            | Self::FirstWeight
            | Self::NoLabelSmoothing
            | Self::NoLabelSmoothingInGradient
            | Self::SmoothingReversed
            | Self::LogOfSigmoid
            | Self::NoLog1p
            | Self::SoftplusOverflows
            | Self::SaturatedSlope
            | Self::MeanOverPairs
            | Self::SameSign
            | Self::SignOfLoss => Kernel::Pairs,
            Self::NoBias
            | Self::FirstBias
            | Self::BiasEveryTile(_)
            | Self::HiddenTailDropped(_)
            | Self::WeightTransposed
            | Self::LogitsRounded(_) => Kernel::Head,
            _ => Kernel::Rows,
        }
    }
}

/// The kernel that a mistake is made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// Any: outputs are not what was computed.
    Any,
    Rows,
    Pairs,
    Head,
}
