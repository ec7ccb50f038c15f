//! What a status means, in a sentence, and the version.

use core::ffi::{CStr, c_char};

use super::status::*;

/// The version of the library, like "0.1.0".
const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };

/// The version of the library that is linked; `DPO_KERNEL_VERSION` is that of the header.
#[unsafe(no_mangle)]
pub extern "C" fn dpo_version() -> *const c_char {
    VERSION.as_ptr()
}

/// What a status means: a sentence for any number at all, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dpo_status_message(status: dpo_status) -> *const c_char {
    let message: &CStr = match status {
        DPO_OK => c"no error",
        DPO_ERROR_LENGTH => c"a buffer has another length than the shapes say",
        DPO_ERROR_SHAPE_OVERFLOW => c"rows times stride overflow the address space",
        DPO_ERROR_EMPTY_VOCABULARY => c"the vocabulary is empty",
        DPO_ERROR_VOCABULARY_TOO_LARGE => c"the vocabulary exceeds the 32-bit target ids",
        DPO_ERROR_STRIDE_BELOW_VOCABULARY => c"the row stride is smaller than the vocabulary",
        DPO_ERROR_SHAPE_MISMATCH => c"two views differ in rows or vocabulary",
        DPO_ERROR_TARGET_OUT_OF_RANGE => {
            c"a target lies outside the vocabulary; of negative ones only the ignore value is allowed, \
              which is -100 unless the layout gives another with DPO_LAYOUT_IGNORE"
        }
        DPO_ERROR_SPAN_OUT_OF_RANGE => c"a span lies outside the rows",
        DPO_ERROR_SPANS_OVERLAP => c"two spans share rows",
        DPO_ERROR_SPANS_NOT_ASCENDING => {
            c"a span lies before the one before it: give the layout memory to sort them in (order)"
        }
        DPO_ERROR_OFFSETS_NOT_ASCENDING => c"cumulative offsets decrease or are negative, or there are none",
        DPO_ERROR_NO_SCORED_TOKENS => c"a sequence has no scored token, but something names it",
        DPO_ERROR_SEQUENCE_OUT_OF_RANGE => c"a pair names a sequence that does not exist",
        DPO_ERROR_PAIR_OF_ONE_SEQUENCE => c"a pair names one sequence as chosen and rejected",
        DPO_ERROR_TOKEN_COUNT_MISMATCH => {
            c"policy and reference scored different numbers of tokens of a sequence"
        }
        DPO_ERROR_PARAMETER => c"a parameter lies outside its domain",
        DPO_ERROR_PARAMETER_UNUSED => c"a parameter is given that the loss does not have",
        DPO_ERROR_PARAMETER_MISSING => c"a parameter without a default is not given",
        DPO_ERROR_REFERENCE_MISSING => c"the loss needs reference log-probs",
        DPO_ERROR_INPUT_UNUSED => c"an input is given that the loss would not read",
        DPO_ERROR_UNKNOWN_LOSS => c"no loss has this name",
        DPO_ERROR_ANSWER_OUT_OF_RANGE => c"an answer names a sequence that does not exist",
        DPO_ERROR_TOKEN_WEIGHTS_DIFFER => {
            c"a sequence stands in two pairs that want different token weights"
        }
        DPO_ERROR_INVALID_VALUE => c"an element of a buffer lies outside its domain; of row norms: no forward over finite logits has made it",
        DPO_ERROR_NON_FINITE_ROWS => c"rows hold NaN, +inf, or nothing but -inf",
        DPO_ERROR_NON_FINITE_PAIRS => c"pairs have no finite loss",
        DPO_ERROR_NON_FINITE_ANSWERS => c"answers have no finite loss",
        DPO_ERROR_TRANSFORM_OF_GRADIENTS => {
            c"the gradients carry a transform, which belongs to the logits"
        }
        DPO_ERROR_MERGE_OF_DIFFERENT_ROWS => c"the statistics are not parts of one row",
        DPO_ERROR_OUT_OF_MEMORY => c"there is no memory for a buffer",
        DPO_ERROR_EMPTY_HIDDEN => c"the hidden size is 0",
        DPO_ERROR_STRIDE_BELOW_HIDDEN => c"a row stride is smaller than the hidden size",
        DPO_ERROR_HIDDEN_MISMATCH => c"views of hidden states differ in shape",
        DPO_ERROR_ROW_BYTES => c"bytes are no row statistics of this version",
        DPO_ERROR_LEVEL_UNAVAILABLE => c"this machine or build does not have the level",
        DPO_ERROR_FUSED_UNAVAILABLE => c"the level has no fused multiply-add",
        DPO_ERROR_UNKNOWN_LABEL => c"a label is neither 1 (desirable) nor 0 (undesirable)",
        DPO_ERROR_NULL => c"a pointer is NULL that may not be",
        DPO_ERROR_MISALIGNED => c"a pointer is not aligned for its elements",
        DPO_ERROR_TOO_LONG => c"a length exceeds the address space",
        DPO_ERROR_OVERLAP => c"a buffer that is written overlaps another",
        DPO_ERROR_UNKNOWN_VALUE => c"a number that stands for a choice stands for none",
        DPO_ERROR_FIELD_UNUSED => c"a field is set that nothing would read",
        DPO_ERROR_ROW_STATS => c"no fold has made these row statistics",
        DPO_ERROR_STRUCT_SIZE => {
            c"a struct does not say its size, or sets fields that this library does not know"
        }
        _ => c"no status of this library",
    };
    message.as_ptr()
}
