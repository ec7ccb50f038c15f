//! The mistakes that are known by name.

use core::fmt;

use super::Format;

macro_rules! mistakes {
    ($($(#[$doc:meta])* $name:ident $(($kind:ident: $all:expr))? => $words:literal;)+) => {
        /// A mistake that kernels are known to make. Each is a model: the figures that a backend
        /// with this mistake, and none other, would have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Mistake {
            $($(#[$doc])* $name $(($kind))?,)+
        }

        impl Mistake {
            /// Calls `each` with every mistake, those of the same figures in the order in which they
            /// are believed.
            pub fn each(mut each: impl FnMut(Self)) {
                $(mistakes!(@each each, $name $(, $all)?);)+
            }
        }

        impl fmt::Display for Mistake {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(mistakes!(@pattern $name, kind $(, $kind)?) => mistakes!(@write f, $words, kind $(, $kind)?),)+
                }
            }
        }
    };
    (@each $each:ident, $name:ident) => { $each(Self::$name) };
    (@each $each:ident, $name:ident, $all:expr) => { for of in $all { $each(Self::$name(of)) } };
    (@pattern $name:ident, $of:ident) => { Self::$name };
    (@pattern $name:ident, $of:ident, $kind:ident) => { Self::$name($of) };
    (@write $f:ident, $words:literal, $of:ident) => { $f.write_str($words) };
    (@write $f:ident, $words:literal, $of:ident, $kind:ident) => { write!($f, $words, Named($of)) };
}

/// The cuts of a row that are tried: lanes, warps, blocks.
const CUTS: [u16; 9] = [1024, 512, 256, 128, 64, 32, 16, 8, 4];
/// Those up to which a row is read past its end: what wider ones read is mostly not in the buffer.
const MEMORY_CUTS: [u16; 5] = [64, 32, 16, 8, 4];
/// Numbers that stand for −inf.
const MASKS: [i32; 4] = [-10_000, -65_504, -1_000_000_000, i32::MIN];
const NARROW: [Format; 2] = [Format::F16, Format::Bf16];
const NARROWER: [Format; 3] = [Format::F32, Format::F16, Format::Bf16];

/// What a kind is called in a sentence.
struct Named<T>(T);

impl fmt::Display for Named<u16> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Named<i32> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == i32::MIN {
            f.write_str("the lowest number of its format")
        } else {
            self.0.fmt(f)
        }
    }
}

impl fmt::Display for Named<Format> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

mistakes! {
    /// Nothing was computed.
    Unwritten => "the outputs were not written";
    /// All outputs are 0.
    Zeros => "zeros";
    /// All outputs are NaN.
    AlwaysNan => "NaN everywhere";
    /// All outputs are one number.
    Constant => "one constant everywhere";
    /// The figures of the call before.
    LastCall => "the figures of the last call";
    /// Results are added to what the output held.
    Accumulates => "results are added to what the outputs held";
    /// The figures of the first row in every row.
    FirstRow => "the first row's figures in every row";
    /// The figures of the row before.
    RowBefore => "each row has the figures of the row before";
    /// The figures of the row after.
    RowAfter => "each row has the figures of the row after";
    /// In a row that is not scored.
    WritesUnscoredRows => "rows that are not scored are written";
    /// Past the vocabulary.
    WritesPadding => "columns past the vocabulary are written";

    /// −log p.
    SignOfLogProb => "the negative log-prob";
    /// log₂.
    LogBase2 => "logarithms to base 2";
    /// log₁₀.
    LogBase10 => "logarithms to base 10";
    /// p itself.
    Probability => "the probability in place of its logarithm";
    /// y of the target alone.
    NoLogZ => "log Z is not subtracted";
    /// −log Z alone.
    NoTargetLogit => "the target's logit is left out";
    /// The maximum alone.
    OnlyMaximum => "the maximum in place of log Z";
    /// ln Σ exp(y − m).
    MaximumNotAdded => "the maximum is not added back to log Z";
    /// Row t scores the target of row t + 1.
    TargetOfNextRow => "targets shifted: each row scores the target of the next";
    /// Row t scores the target of row t − 1.
    TargetOfRowBefore => "targets shifted: each row scores the target of the row before";
    /// Column t + 1.
    ColumnAfterTarget => "the column after the target";
    /// Column t − 1.
    ColumnBeforeTarget => "the column before the target";

    /// Rows V apart.
    StrideIsVocab => "rows are taken to be V apart, not the stride";
    /// Logits as V × R.
    Transposed => "logits are read transposed";
    /// S columns.
    ReadsPadding => "columns past the vocabulary are counted";
    /// V − 1 columns.
    DropsLastColumn => "the last column is left out";
    /// Columns 1 to V − 1.
    DropsFirstColumn => "the first column is left out";
    /// An index of 16 bits.
    IndexOf16Bits => "an index of 16 bits";
    /// An index of 31 or 32 bits.
    IndexOf32Bits => "an index of 32 bits";
    /// V rounded down.
    TailDropped(u16: CUTS) => "the tail is left out: columns past the last multiple of {}";
    /// V rounded up, with zeros.
    TailOfZeros(u16: CUTS) => "tail lanes are counted as zeros, up to a multiple of {}";
    /// V rounded up, with what follows in memory.
    TailOfMemory(u16: MEMORY_CUTS) => "tail lanes are read past the row, up to a multiple of {}";
    /// An online sum that is not rescaled.
    NoRescale(u16: CUTS) => "the sum is not rescaled when a later tile of {} has a larger maximum";
    /// −inf − −inf at the start of a row.
    LeadingMaskedTile(u16: CUTS) => "NaN from a first tile of {} that is -inf throughout";
    /// −inf − −inf anywhere.
    MaskedTile(u16: CUTS) => "NaN from any tile of {} that is -inf throughout";

    /// Σ exp(y).
    NoMaximum => "exponentials without subtracting the maximum";
    /// A maximum of at least 0.
    MaximumFromZero => "a maximum that starts at 0 rather than -inf";
    /// ln(p).
    LogOfProbability => "the logarithm of a probability that underflows";
    /// c·tanh(−inf).
    SoftcapUnmasks => "-inf becomes minus the softcap, and has a probability";
    /// A finite number in place of −inf.
    MaskIsNumber(i32: MASKS) => "-inf is replaced by {}";
    /// NaN is skipped.
    NanIsSkipped => "NaN logits are skipped";
    /// Rows with +inf have figures.
    InfinityIsNumber => "+inf logits are taken for the largest number";
    /// Equal logits count once.
    TiesCountOnce => "equal logits are counted once";
    /// The largest counts twice.
    MaximumTwice => "the largest logit is counted twice";

    /// Factor left out.
    NoScale => "the scale is left out";
    /// Softcap left out.
    NoSoftcap => "the softcap is left out";
    /// tanh(v/c).
    SoftcapNotScaledBack => "the softcap's tanh is not multiplied by the cap";
    /// Temperature left out.
    NoTemperature => "the temperature is left out";
    /// y·T.
    TimesTemperature => "logits are multiplied by the temperature";
    /// softcap(x/T).
    TemperatureFirst => "the temperature comes before the softcap";
    /// Scale after the softcap.
    ScaleAfterSoftcap => "the scale comes after the softcap";

    /// In bits.
    EntropyInBits => "the entropy in bits";
    /// Σ p log p.
    SignOfEntropy => "the negative entropy";
    /// 0 · −inf.
    EntropyOfMask => "NaN in the entropy from 0 times -inf";
    /// The last of equal ones.
    ArgmaxIsLast => "the last of equal maxima";
    /// Σ y.
    SumOfLogits => "the sum of logits, not their mean";
    /// Over what is not −inf.
    MeanOfUnmasked => "the mean over unmasked columns";
    /// Σ p².
    NoLogOfSquares => "the sum of squares without its logarithm";

    /// c (p − onehot).
    SignOfGradient => "the sign of the gradient";
    /// c · onehot.
    OnlyTarget => "the gradient of the target alone";
    /// −c p.
    NoTarget => "the target's 1 is missing in the gradient";
    /// Onehot in each tile.
    TargetInEveryTile(u16: CUTS) => "the target's 1 stands in every tile of {}";
    /// Σ exp left out.
    NotNormalised => "the gradient's exponentials are not divided by their sum";
    /// c of row 0.
    FirstCoefficient => "the first row's coefficient for all";
    /// c = 1.
    NoCoefficient => "the coefficient is left out";
    /// c².
    CoefficientTwice => "the coefficient is applied twice";
    /// c/R.
    MeanOverRows => "the mean over all rows, not the sum";
    /// c over scored rows.
    MeanOverScored => "the mean over scored rows, not the sum";
    /// log Z of row 0.
    NormOfFirstRow => "the first row's log Z for all gradients";
    /// 1 − round(p).
    RoundedProbability => "the gradient from a rounded probability";
    /// exp(round(log p)).
    RoundedLogProb => "the gradient from rounded log-probs";
    /// exp(y − round(log Z)).
    RoundedLogZ => "the gradient from a rounded log Z";
    /// dy/dx without 1 − tanh².
    NoSlope => "the softcap's derivative is left out";
    /// tanh² in its place.
    SlopeOfTanhSquared => "the softcap's derivative is tanh squared";
    /// dy/dx without the factor.
    ScaleNotInSlope => "the scale is left out of the derivative";
    /// dy/dx without 1/T.
    TemperatureNotInSlope => "the temperature is left out of the derivative";
    /// NaN at −inf.
    NanOfMask => "NaN in the gradient of -inf logits";
    /// c y p (1 − p).
    OnlyDiagonal => "the softmax's Jacobian is taken for its diagonal";

    /// Chosen and rejected.
    SwapsPairs => "chosen and rejected are swapped";
    /// πc − πr.
    NoReference => "the reference is left out";
    /// + reference.
    AddsReference => "the reference is added, not subtracted";
    /// z without β.
    NoBeta => "beta is left out of the loss";
    /// ∂z without β.
    NoBetaInGradient => "beta is left out of the derivative";
    /// β².
    BetaTwice => "beta is applied twice in the derivative";
    /// Rewards without β.
    NoBetaInRewards => "beta is left out of the rewards";
    /// Offset added.
    AddsOffset => "the offset is added, not subtracted";
    /// Offset left out.
    NoOffset => "the offset is left out";
    /// Offset in the margin.
    OffsetInMargin => "the offset is in the margin";
    /// Weight left out.
    NoWeight => "the weight is left out";
    /// Weight in the loss alone.
    NoWeightInGradient => "the weight is left out of the derivative";
    /// w².
    WeightTwice => "the weight is applied twice";
    /// w of pair 0.
    FirstWeight => "the first pair's weight for all";
    /// ε left out.
    NoLabelSmoothing => "label smoothing is left out";
    /// ε of the loss alone.
    NoLabelSmoothingInGradient => "label smoothing is left out of the derivative";
    /// 1 − ε for ε.
    SmoothingReversed => "label smoothing on the wrong side";
    /// −ln σ(z).
    LogOfSigmoid => "the logarithm of a sigmoid that underflows";
    /// ln(1 + e).
    NoLog1p => "ln(1 + e) where log1p keeps the digits";
    /// ln(1 + exp(−z)).
    SoftplusOverflows => "ln(1 + exp(-z)) overflows";
    /// 1 − σ(z).
    SaturatedSlope => "1 - sigmoid(z), which vanishes";
    /// L/P.
    MeanOverPairs => "the mean over pairs, not the sum";
    /// Same sign.
    SameSign => "both derivatives have the same sign";
    /// Loss −L.
    SignOfLoss => "the sign of the loss";

    /// Bias left out.
    NoBias => "the bias is left out";
    /// Bias of column 0.
    FirstBias => "the first column's bias for all";
    /// Bias k times.
    BiasEveryTile(u16: CUTS) => "the bias is added once for each {} of the hidden size";
    /// H rounded down.
    HiddenTailDropped(u16: CUTS) => "hidden columns past the last multiple of {} are left out";
    /// W read as H × V.
    WeightTransposed => "the weight is read transposed";
    /// x rounded before the softmax.
    LogitsRounded(Format: NARROW) => "a head's logits are rounded to {} before the softmax";

    /// 1 − p of a p that was rounded, where the target is promised to be kept apart.
    TargetNotApart => "1 - p has the digits of 1: the target's term is not kept apart";
    /// Input rounded.
    InputRounded(Format: NARROW) => "logits are rounded to {} first";
    /// Output rounded.
    OutputRounded(Format: NARROW) => "figures are rounded to {}";
    /// Sums in a narrow format.
    NarrowSums(Format: NARROWER) => "exponentials and sums in {}";
}
