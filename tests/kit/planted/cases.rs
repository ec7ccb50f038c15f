//! What is planted, in which kernels, for which storage.

use dpo_kernel::verify::kit::{Format, Mistake, Output};

/// What a backend with a mistake offers.
pub const ROWS: &[Output] = &[
    Output::LogProb,
    Output::LogZ,
    Output::Entropy,
    Output::Argmax,
    Output::MeanLogit,
    Output::LogSumSqProbs,
    Output::LogitGrads,
];
pub const PAIRS: &[Output] = &[Output::PairLoss];
pub const HEADS: &[Output] = &[Output::HeadLogProb, Output::HeadLogZ, Output::HiddenGrads];

/// Of any kernel: planted in all of them.
pub fn of_any() -> Vec<Mistake> {
    use Mistake::*;
    vec![
        Unwritten,
        Zeros,
        AlwaysNan,
        Constant,
        LastCall,
        Accumulates,
        FirstRow,
        RowBefore,
        RowAfter,
        WritesUnscoredRows,
        OutputRounded(Format::F16),
        OutputRounded(Format::Bf16),
    ]
}

/// Of what is read, and of sums.
pub fn of_memory() -> Vec<Mistake> {
    use Mistake::*;
    vec![
        WritesPadding,
        StrideIsVocab,
        Transposed,
        ReadsPadding,
        DropsLastColumn,
        DropsFirstColumn,
        IndexOf16Bits,
        TailDropped(4),
        TailDropped(8),
        TailDropped(32),
        TailDropped(128),
        TailDropped(256),
        TailDropped(512),
        TailDropped(1024),
        TailOfZeros(4),
        TailOfZeros(16),
        TailOfZeros(64),
        TailOfZeros(256),
        TailOfZeros(512),
        TailOfZeros(1024),
        TailOfMemory(8),
        TailOfMemory(32),
        TailOfMemory(64),
        NoRescale(16),
        NoRescale(64),
        NoRescale(256),
        NoRescale(512),
        NoRescale(1024),
        LeadingMaskedTile(4),
        LeadingMaskedTile(16),
        LeadingMaskedTile(64),
        LeadingMaskedTile(128),
        LeadingMaskedTile(512),
        LeadingMaskedTile(1024),
        MaskedTile(8),
        MaskedTile(32),
        MaskedTile(128),
        MaskedTile(512),
        MaskedTile(1024),
    ]
}

/// Of log Z, log p and details.
pub fn of_forward() -> Vec<Mistake> {
    use Mistake::*;
    vec![
        SignOfLogProb,
        LogBase2,
        LogBase10,
        Probability,
        NoLogZ,
        NoTargetLogit,
        OnlyMaximum,
        MaximumNotAdded,
        TargetOfNextRow,
        TargetOfRowBefore,
        ColumnAfterTarget,
        ColumnBeforeTarget,
        NoMaximum,
        MaximumFromZero,
        LogOfProbability,
        MaskIsNumber(-10_000),
        MaskIsNumber(-65_504),
        MaskIsNumber(-1_000_000_000),
        MaskIsNumber(i32::MIN),
        NanIsSkipped,
        InfinityIsNumber,
        TiesCountOnce,
        MaximumTwice,
        SoftcapUnmasks,
        NoScale,
        NoSoftcap,
        SoftcapNotScaledBack,
        NoTemperature,
        TimesTemperature,
        TemperatureFirst,
        ScaleAfterSoftcap,
        EntropyInBits,
        SignOfEntropy,
        EntropyOfMask,
        ArgmaxIsLast,
        SumOfLogits,
        MeanOfUnmasked,
        NoLogOfSquares,
        InputRounded(Format::F16),
        InputRounded(Format::Bf16),
        NarrowSums(Format::F16),
        NarrowSums(Format::Bf16),
    ]
}

/// Of gradients.
pub fn of_gradients() -> Vec<Mistake> {
    use Mistake::*;
    vec![
        SignOfGradient,
        OnlyTarget,
        NoTarget,
        TargetInEveryTile(8),
        TargetInEveryTile(64),
        TargetInEveryTile(512),
        TargetInEveryTile(1024),
        NotNormalised,
        FirstCoefficient,
        NoCoefficient,
        CoefficientTwice,
        MeanOverRows,
        MeanOverScored,
        NormOfFirstRow,
        RoundedProbability,
        RoundedLogProb,
        RoundedLogZ,
        NoSlope,
        SlopeOfTanhSquared,
        ScaleNotInSlope,
        TemperatureNotInSlope,
        NanOfMask,
        OnlyDiagonal,
    ]
}

pub fn of_pairs() -> Vec<Mistake> {
    use Mistake::*;
    vec![
        SwapsPairs,
        NoReference,
        AddsReference,
        NoBeta,
        NoBetaInGradient,
        BetaTwice,
        NoBetaInRewards,
        AddsOffset,
        NoOffset,
        OffsetInMargin,
        NoWeight,
        NoWeightInGradient,
        WeightTwice,
        FirstWeight,
        NoLabelSmoothing,
        NoLabelSmoothingInGradient,
        SmoothingReversed,
        LogOfSigmoid,
        NoLog1p,
        SoftplusOverflows,
        SaturatedSlope,
        MeanOverPairs,
        SameSign,
        SignOfLoss,
        NarrowSums(Format::F16),
        NarrowSums(Format::Bf16),
        OutputRounded(Format::Bf16),
    ]
}

pub fn of_heads() -> Vec<Mistake> {
    use Mistake::*;
    vec![
        NoBias,
        FirstBias,
        BiasEveryTile(8),
        BiasEveryTile(16),
        BiasEveryTile(64),
        BiasEveryTile(256),
        BiasEveryTile(512),
        BiasEveryTile(1024),
        HiddenTailDropped(4),
        HiddenTailDropped(8),
        HiddenTailDropped(32),
        HiddenTailDropped(256),
        HiddenTailDropped(512),
        HiddenTailDropped(1024),
        WeightTransposed,
        LogitsRounded(Format::F16),
        LogitsRounded(Format::Bf16),
        TailDropped(16),
        TailDropped(1024),
        TailOfZeros(32),
        DropsLastColumn,
        NoMaximum,
        TargetOfNextRow,
        FirstCoefficient,
        NoSlope,
    ]
}

/// The widths of all tiles that are not planted above.
pub fn other_widths() -> [Vec<Mistake>; 3] {
    use Mistake::*;
    let (mut memory, mut gradients, mut heads) = (of_memory(), of_gradients(), of_heads());
    let first = [memory.len(), gradients.len(), heads.len()];
    Mistake::each(|mistake| {
        let list = match mistake {
            TailDropped(_) | TailOfZeros(_) | TailOfMemory(_) | NoRescale(_)
            | LeadingMaskedTile(_) | MaskedTile(_) => &mut memory,
            TargetInEveryTile(_) => &mut gradients,
            BiasEveryTile(_) | HiddenTailDropped(_) => &mut heads,
            _ => return,
        };
        if !list.contains(&mistake) {
            list.push(mistake);
        }
    });
    let [a, b, c] = first;
    [memory.split_off(a), gradients.split_off(b), heads.split_off(c)]
}

/// Whether a mistake can be made at all where logits are stored so.
pub fn shows_in(mistake: Mistake, storage: Format) -> bool {
    match mistake {
        // Numbers of 16 bits stay what they are.
        Mistake::InputRounded(Format::F16) => storage == Format::F32,
        Mistake::InputRounded(_) => storage > Format::Bf16,
        Mistake::RoundedProbability | Mistake::RoundedLogProb | Mistake::RoundedLogZ => {
            storage < Format::F32
        }
        _ => true,
    }
}

/// Mistakes that give the same figures on every input of a plan.
pub fn is_same(planted: Mistake, named: Mistake, storage: Format) -> bool {
    let lowest = [
        Mistake::MaskIsNumber(i32::MIN),
        Mistake::MaskIsNumber(-65_504),
        Mistake::MaskIsNumber(-1_000_000_000),
    ];
    // f16 ends at -65504: what is below it is this number too.
    storage == Format::F16 && lowest.contains(&planted) && lowest.contains(&named)
}
