//! The buffers of a host, each with its size, its alignment and the number that errors call it by.

use dpo_kernel::c::*;
use dpo_kernel::head::HeadRow;

/// A buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Slot {
    Logits,
    Grads,
    Targets,
    Spans,
    SpanOrder,
    LogProbs,
    Norms,
    Details,
    Tokens,
    TokenWeights,
    Sequences,
    Pairs,
    Answers,
    Sums,
    Reference,
    PairWeights,
    PairOffsets,
    AnswerWeights,
    PairLosses,
    AnswerLosses,
    D,
    DNll,
    Coefficients,
    Summary,
    UnpairedSummary,
    NllSummary,
    Losses,
    SingleLoss,
    SortedLoss,
    AnswerLossKinds,
    TermWeights,
    PairOrder,
    NllAnswers,
    NllWeights,
    Offsets,
    Labels,
    TargetsOut,
    SpansOut,
    Stats,
    StatsFrom,
    RowResult,
    Tile,
    Name,
    Number,
    Offset,
    OneLoss,
    Wpo,
    LdWeights,
    States,
    Weights,
    Bias,
    RowsOut,
    RowsIn,
    HiddenGrads,
    StatsBefore,
    StatsRow,
    TargetRow,
    RowSums,
    Scale,
    HeadGrads,
    BiasGrads,
    StatsDetailed,
    RowBytes,
    RowDetailBytes,
    /// The last two, because they are the largest.
    Scratch,
    TrainedScratch,
}

use Slot as S;

pub const ROWS: usize = 8;
pub const VOCAB: usize = 4;
pub const STRIDE: usize = 5;
/// H
pub const HIDDEN: usize = 3;
/// Elements from one row of hidden states, or of the head, to the next.
pub const HIDDEN_STRIDE: usize = 4;
pub const SEQUENCES: usize = 4;
pub const PAIRS: usize = 2;
/// Rows that go through the head at once, and doubles of its scratch: a tile of 12 rows, panels
/// that may begin anywhere, and what is known of each row.
pub const AT_ONCE: usize = 3;
pub const SCRATCH: usize = 6 * 528 + HIDDEN * (8 * 32 + 6) + 8 + AT_ONCE * size_of::<HeadRow>() / 8;
/// The same of a head that is trained: more rows than are scored, a tile of 12, a chain of 128 tokens.
pub const ALL_AT_ONCE: usize = 7;
pub const TRAINED: usize = 6 * 528 + 128 * 16 + 8 + ALL_AT_ONCE * size_of::<HeadRow>() / 8;
/// What it has more, for the sums of gradients in 16 bits.
pub const SUMS: usize = VOCAB * HIDDEN / 2;

impl Slot {
    pub const ALL: [Self; 66] = [
        S::Logits,
        S::Grads,
        S::Targets,
        S::Spans,
        S::SpanOrder,
        S::LogProbs,
        S::Norms,
        S::Details,
        S::Tokens,
        S::TokenWeights,
        S::Sequences,
        S::Pairs,
        S::Answers,
        S::Sums,
        S::Reference,
        S::PairWeights,
        S::PairOffsets,
        S::AnswerWeights,
        S::PairLosses,
        S::AnswerLosses,
        S::D,
        S::DNll,
        S::Coefficients,
        S::Summary,
        S::UnpairedSummary,
        S::NllSummary,
        S::Losses,
        S::SingleLoss,
        S::SortedLoss,
        S::AnswerLossKinds,
        S::TermWeights,
        S::PairOrder,
        S::NllAnswers,
        S::NllWeights,
        S::Offsets,
        S::Labels,
        S::TargetsOut,
        S::SpansOut,
        S::Stats,
        S::StatsFrom,
        S::RowResult,
        S::Tile,
        S::Name,
        S::Number,
        S::Offset,
        S::OneLoss,
        S::Wpo,
        S::LdWeights,
        S::States,
        S::Weights,
        S::Bias,
        S::RowsOut,
        S::RowsIn,
        S::HiddenGrads,
        S::StatsBefore,
        S::StatsRow,
        S::TargetRow,
        S::RowSums,
        S::Scale,
        S::HeadGrads,
        S::BiasGrads,
        S::StatsDetailed,
        S::RowBytes,
        S::RowDetailBytes,
        S::Scratch,
        S::TrainedScratch,
    ];

    /// Larger than all others together.
    pub const fn is_scratch(self) -> bool {
        matches!(self, S::Scratch | S::TrainedScratch)
    }

    /// Bytes of it, its alignment, and its number.
    pub const fn form(self) -> (usize, usize, i32) {
        const fn of<T>(count: usize, subject: i32) -> (usize, usize, i32) {
            (count * size_of::<T>(), align_of::<T>(), subject)
        }
        match self {
            S::Logits => of::<f32>(ROWS * STRIDE, DPO_BUFFER_LOGITS),
            S::Grads => of::<f32>(ROWS * STRIDE, DPO_BUFFER_GRADS),
            S::Targets | S::TargetsOut => of::<u32>(ROWS, DPO_BUFFER_TARGETS),
            S::Spans | S::SpansOut => of::<dpo_span>(SEQUENCES, DPO_BUFFER_SPANS),
            S::SpanOrder => of::<usize>(SEQUENCES, DPO_BUFFER_SPAN_ORDER),
            S::LogProbs => of::<f32>(ROWS, DPO_BUFFER_TOKEN_LOG_PROBS),
            S::Norms => of::<dpo_row_norm>(ROWS, DPO_BUFFER_ROW_NORMS),
            S::Details => of::<dpo_row_details>(ROWS, DPO_BUFFER_ROW_DETAILS),
            S::Tokens => of::<dpo_token_summary>(1, DPO_BUFFER_OUT),
            S::TokenWeights | S::LdWeights => of::<f32>(ROWS, DPO_BUFFER_TOKEN_WEIGHTS),
            S::Sequences => of::<dpo_sequence_log_prob>(SEQUENCES, DPO_BUFFER_SEQUENCES),
            S::Pairs => of::<dpo_pair>(PAIRS, DPO_BUFFER_PAIRS),
            S::Answers => of::<dpo_answer>(SEQUENCES, DPO_BUFFER_UNPAIRED_ANSWERS),
            S::Sums => of::<f64>(SEQUENCES, DPO_BUFFER_REFERENCE),
            S::Reference => of::<dpo_sequence_log_prob>(SEQUENCES, DPO_BUFFER_REFERENCE),
            S::PairWeights | S::Wpo => of::<f32>(PAIRS, DPO_BUFFER_PAIR_WEIGHTS),
            S::PairOffsets => of::<f32>(PAIRS, DPO_BUFFER_PAIR_OFFSETS),
            S::AnswerWeights => of::<f32>(SEQUENCES, DPO_BUFFER_ANSWER_WEIGHTS),
            S::PairLosses => of::<dpo_pair_loss>(PAIRS, DPO_BUFFER_PAIR_LOSSES),
            S::AnswerLosses => of::<dpo_answer_loss>(SEQUENCES, DPO_BUFFER_ANSWER_LOSSES),
            S::D => of::<f64>(SEQUENCES, DPO_BUFFER_SEQUENCE_GRADS),
            S::DNll => of::<f64>(SEQUENCES, DPO_BUFFER_NLL_GRADS),
            S::Coefficients => of::<f64>(ROWS, DPO_BUFFER_TOKEN_COEFFICIENTS),
            S::Summary => of::<dpo_summary>(1, DPO_BUFFER_OUT),
            S::UnpairedSummary => of::<dpo_unpaired_summary>(1, DPO_BUFFER_OUT),
            S::NllSummary => of::<dpo_nll_summary>(1, DPO_BUFFER_OUT),
            S::Losses => of::<dpo_loss>(PAIRS, DPO_BUFFER_LOSSES),
            S::SingleLoss | S::SortedLoss => of::<dpo_loss>(1, DPO_BUFFER_LOSSES),
            S::AnswerLossKinds => of::<dpo_loss>(SEQUENCES, DPO_BUFFER_ANSWER_LOSS_KINDS),
            S::TermWeights => of::<f64>(PAIRS, DPO_BUFFER_MIXTURE_TERMS),
            S::PairOrder => of::<usize>(2 * PAIRS, DPO_BUFFER_PAIR_ORDER),
            S::NllAnswers => of::<usize>(2, DPO_BUFFER_NLL_ANSWERS),
            S::NllWeights => of::<f32>(2, DPO_BUFFER_ANSWER_WEIGHTS),
            S::Offsets => of::<u32>(SEQUENCES + 1, DPO_BUFFER_OFFSETS),
            S::Labels => of::<i64>(ROWS, DPO_BUFFER_LABELS),
            S::Stats => of::<dpo_row_stats>(1, DPO_BUFFER_OUT),
            S::StatsFrom | S::StatsBefore | S::StatsRow | S::StatsDetailed => {
                of::<dpo_row_stats>(1, DPO_BUFFER_ARGUMENT)
            }
            S::RowBytes => of::<u8>(DPO_ROW_BYTES, DPO_BUFFER_ROW_BYTES),
            S::RowDetailBytes => of::<u8>(DPO_ROW_DETAIL_BYTES, DPO_BUFFER_ROW_BYTES),
            S::RowResult => of::<dpo_row_result>(1, DPO_BUFFER_OUT),
            S::Tile => of::<f32>(VOCAB, DPO_BUFFER_TILE),
            S::Name => of::<u8>(5, DPO_BUFFER_NAME),
            S::Number => of::<i32>(1, DPO_BUFFER_OUT),
            S::Offset => of::<f64>(1, DPO_BUFFER_OUT),
            S::OneLoss => of::<dpo_pair_loss>(1, DPO_BUFFER_OUT),
            S::Weights => of::<f32>(VOCAB * HIDDEN_STRIDE, DPO_BUFFER_HEAD_WEIGHTS),
            S::Bias => of::<f32>(VOCAB, DPO_BUFFER_HEAD_BIAS),
            S::States | S::RowsIn => of::<f32>(ROWS * HIDDEN_STRIDE, DPO_BUFFER_HIDDEN),
            S::RowsOut | S::HiddenGrads => of::<f32>(ROWS * HIDDEN_STRIDE, DPO_BUFFER_HIDDEN_GRADS),
            S::TargetRow => of::<f32>(HIDDEN, DPO_BUFFER_HEAD_WEIGHTS),
            S::RowSums => of::<f32>(HIDDEN, DPO_BUFFER_HIDDEN_GRADS),
            S::Scale => of::<f32>(1, DPO_BUFFER_OUT),
            S::HeadGrads => of::<f32>(VOCAB * HIDDEN_STRIDE, DPO_BUFFER_HEAD_GRADS),
            S::BiasGrads => of::<f32>(VOCAB, DPO_BUFFER_HEAD_GRADS),
            S::TrainedScratch => of::<f64>(TRAINED, DPO_BUFFER_HEAD_NUMBERS),
            S::Scratch => of::<f64>(SCRATCH, DPO_BUFFER_HEAD_NUMBERS),
        }
    }
}
