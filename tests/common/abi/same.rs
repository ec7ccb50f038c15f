//! Results are the same if all their fields have the same bits, where all NaN are one.

use dpo_kernel::c::*;
use dpo_kernel::loss::NllSummary;
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::unpaired::{AnswerLoss, UnpairedSummary};
use dpo_kernel::{PairLoss, SequenceLogProb, Span, Summary, TokenSummary, bf16, f16};

pub trait Same {
    fn same(&self, other: &Self) -> bool;
}

macro_rules! floats {
    ($($type:ty)*) => {
        $(impl Same for $type {
            fn same(&self, other: &Self) -> bool {
                self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
            }
        })*
    };
}
floats!(f32 f64 f16 bf16);

macro_rules! numbers {
    ($($type:ty)*) => {
        $(impl Same for $type {
            fn same(&self, other: &Self) -> bool {
                self == other
            }
        })*
    };
}
numbers!(u8 u32 u64 i32 usize [i64; 3] [u32; 4] Span);

/// Every field: with one that is added and does not stand here, the sizes differ.
macro_rules! fields {
    ($($type:ident { $($field:ident),* })*) => {
        $(impl Same for $type {
            fn same(&self, other: &Self) -> bool {
                let bytes = 0 $(+ size_of_val(&self.$field))*;
                assert_eq!(bytes, size_of::<Self>(), "fields of {}", stringify!($type));
                true $(&& self.$field.same(&other.$field))*
            }
        })*
    };
}
fields! {
    SequenceLogProb { sum, count }
    PairLoss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected }
    AnswerLoss { loss, reward, d_log_prob }
    TokenSummary { tokens, masked_tokens }
    RowDetails { entropy, mean_logit, log_sum_sq_probs, argmax }
    Summary {
        pairs, correct, ties, displaced, saturated, saturated_wrong, left_out, loss_sum,
        reward_chosen_sum, reward_rejected_sum, margin_sum
    }
    UnpairedSummary {
        desirable, undesirable, left_out, desirable_loss_sum, undesirable_loss_sum,
        desirable_reward_sum, undesirable_reward_sum
    }
    NllSummary { sequences, tokens, left_out, loss_sum }
    dpo_row_result { log_z, log_prob, target_logit, columns, norm, details }
    dpo_transform { scale, softcap, temperature }
    dpo_row_stats {
        transform, flags, target, target_value, shift, max, argmax, tops,
        reserved, columns, others, weighted, squares, values
    }
}

impl Same for RowNorm {
    /// It keeps its fields to itself.
    fn same(&self, other: &Self) -> bool {
        // SAFETY: four 32-bit numbers, as the header has it.
        let bits = |norm: &Self| unsafe { (&raw const *norm).cast::<[u32; 4]>().read() };
        bits(self) == bits(other)
    }
}
