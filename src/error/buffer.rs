//! The slices that errors name.

/// A length whose expected value the caller got wrong, named in
/// [`Error::Length`](super::Error::Length).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Buffer {
    /// The logits, `rows · stride` elements (the last row may stop after `vocab`).
    Logits,
    /// The target ids, one a row.
    Targets,
    /// The token log-probs, one a row.
    TokenLogProbs,
    /// The row norms that the backward needs, one a row.
    RowNorms,
    /// The optional row statistics, one a row.
    RowDetails,
    /// The token weights, one a row.
    TokenWeights,
    /// The sequence log-probs, one a span.
    Sequences,
    /// The reference sequence log-probs, one a span.
    Reference,
    /// The gradients with respect to the sequence log-probs, one a span.
    SequenceGrads,
    /// The per-pair losses, one a pair.
    PairLosses,
    /// The per-pair weights, one a pair.
    PairWeights,
    /// The per-pair margin offsets, one a pair.
    PairOffsets,
    /// The gradients with respect to the token log-probs, one a row.
    TokenCoefficients,
    /// The memory that spans are sorted in, one index a span.
    SpanOrder,
    /// The losses of a [`PerPair`](crate::loss::PerPair), one a pair.
    PairLossKinds,
    /// The order that a loss of the whole batch sorts in, two indices a pair.
    PairOrder,
    /// The terms of a mixture of losses, at least one.
    MixtureTerms,
    /// The losses of unpaired answers, one each.
    AnswerLosses,
    /// The weights of unpaired answers, or of those of an NLL term, one each.
    AnswerWeights,
    /// The losses of a [`PerAnswer`](crate::unpaired::PerAnswer), one an answer.
    AnswerLossKinds,
    /// The gradients of an NLL term with respect to the sequence log-probs, one a span.
    NllGrads,
    /// The spans, one a sequence.
    Spans,
    /// The probabilities or rewards of a finite answer set.
    Answers,
    /// The scores of sampled completions, one a completion.
    Scores,
    /// The pairs, one a group of completions.
    Pairs,
    /// One flag a pair.
    PairFlags,
    /// The differences of log-ratios, one a pair.
    Gaps,
    /// The weights that pairs are drawn with, one a pair.
    KeepWeights,
    /// The parameters of the moving reference, one a parameter of the policy.
    ReferenceParameters,
    /// The sums over a batch's differences of log-ratios: the sum, that of squares.
    GapSums,
    /// Their running averages: the mean, the deviation.
    GapAverages,
    /// The hidden states, `rows · stride` elements (the last row may stop after the hidden size).
    Hidden,
    /// The gradients with respect to the hidden states, or the sums that they are made of.
    HiddenGrads,
    /// The head's weights, `vocab · stride` elements (the last row may stop after the hidden size).
    HeadWeights,
    /// The head's bias, one a column of the vocabulary.
    HeadBias,
    /// Room for the rows that a head takes at once, at least one.
    HeadRows,
    /// The numbers that a head works in.
    HeadNumbers,
    /// Gradients of the head: of its weights, `vocab · stride` elements, of its bias, or of an
    /// adapter's matrices.
    HeadGrads,
    /// A matrix of an adapter: `rank · hidden size` numbers, or `vocab · rank`.
    Adapter,
    /// Bytes of the statistics of a row.
    RowBytes,
    /// Statistics of the rows of a shard.
    RowStats,
}

impl Buffer {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Targets => "targets",
            Self::TokenLogProbs => "token log-probs",
            Self::RowNorms => "row norms",
            Self::RowDetails => "row details",
            Self::TokenWeights => "token weights",
            Self::Sequences => "sequence log-probs",
            Self::Reference => "reference log-probs",
            Self::SequenceGrads => "sequence gradients",
            Self::PairLosses => "pair losses",
            Self::PairWeights => "pair weights",
            Self::PairOffsets => "pair margin offsets",
            Self::TokenCoefficients => "token coefficients",
            Self::SpanOrder => "order of the spans",
            Self::PairLossKinds => "losses of the pairs",
            Self::PairOrder => "order of the pairs",
            Self::MixtureTerms => "terms of the mixture",
            Self::AnswerLosses => "losses of unpaired answers",
            Self::AnswerWeights => "weights of the answers",
            Self::AnswerLossKinds => "losses of the answers",
            Self::NllGrads => "NLL gradients",
            Self::Spans => "spans",
            Self::Answers => "answers",
            Self::Scores => "completion scores",
            Self::Pairs => "pairs",
            Self::PairFlags => "pair flags",
            Self::Gaps => "log-ratio gaps",
            Self::KeepWeights => "keep weights",
            Self::ReferenceParameters => "reference parameters",
            Self::GapSums => "sums of log-ratio gaps",
            Self::GapAverages => "averages of log-ratio gaps",
            Self::Hidden => "hidden states",
            Self::HiddenGrads => "hidden gradients",
            Self::HeadWeights => "weights of the head",
            Self::HeadBias => "bias of the head",
            Self::HeadRows => "rows of the head's scratch",
            Self::HeadNumbers => "numbers of the head's scratch",
            Self::HeadGrads => "gradients of the head",
            Self::Adapter => "a matrix of the adapter",
            Self::RowBytes => "bytes of row statistics",
            Self::RowStats => "row statistics",
        }
    }
}
