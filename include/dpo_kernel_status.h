/* Version, status codes and errors of dpo-kernel: see dpo_kernel.h. C99 and C++11. */
#ifndef DPO_KERNEL_STATUS_H
#define DPO_KERNEL_STATUS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header; dpo_version() is that of the library. */
#define DPO_KERNEL_VERSION "0.1.0"
#define DPO_KERNEL_VERSION_MAJOR 0
#define DPO_KERNEL_VERSION_MINOR 1
#define DPO_KERNEL_VERSION_PATCH 0

/* What every function that can fail returns: 0, or one of the codes below. */
typedef int32_t dpo_status;

/* Beside each code: what dpo_error.subject is, then dpo_error.numbers in order, then
   dpo_error.value. Codes to 100 are the library's own errors, one for each; those above are what
   only C can get wrong. */
enum {
    DPO_OK = 0,                                /* all outputs are written */
    DPO_ERROR_LENGTH = 1,                      /* subject: buffer; expected, found */
    DPO_ERROR_SHAPE_OVERFLOW = 2,              /* rows, stride */
    DPO_ERROR_EMPTY_VOCABULARY = 3,
    DPO_ERROR_VOCABULARY_TOO_LARGE = 4,        /* vocab */
    DPO_ERROR_STRIDE_BELOW_VOCABULARY = 5,     /* stride, vocab */
    DPO_ERROR_SHAPE_MISMATCH = 6,              /* rows, vocab of one; rows, vocab of the other */
    DPO_ERROR_TARGET_OUT_OF_RANGE = 7,         /* row, target, vocab; the target with its sign. Of
                                                  negative targets only the ignore value is allowed:
                                                  -100, or what DPO_LAYOUT_IGNORE gives */
    DPO_ERROR_SPAN_OUT_OF_RANGE = 8,           /* sequence, start, end, rows */
    DPO_ERROR_SPANS_OVERLAP = 9,               /* first, second */
    DPO_ERROR_OFFSETS_NOT_ASCENDING = 10,      /* index */
    DPO_ERROR_NO_SCORED_TOKENS = 11,           /* sequence */
    DPO_ERROR_SEQUENCE_OUT_OF_RANGE = 12,      /* pair, sequence, sequences */
    DPO_ERROR_PAIR_OF_ONE_SEQUENCE = 13,       /* pair, sequence */
    DPO_ERROR_TOKEN_COUNT_MISMATCH = 14,       /* sequence, policy, reference */
    DPO_ERROR_PARAMETER = 15,                  /* subject: parameter; value */
    DPO_ERROR_PARAMETER_UNUSED = 16,           /* subject: parameter */
    DPO_ERROR_PARAMETER_MISSING = 17,          /* subject: parameter */
    DPO_ERROR_REFERENCE_MISSING = 18,
    DPO_ERROR_INPUT_UNUSED = 19,               /* subject: buffer */
    DPO_ERROR_UNKNOWN_LOSS = 20,
    DPO_ERROR_ANSWER_OUT_OF_RANGE = 21,        /* answer, sequence, sequences */
    DPO_ERROR_TOKEN_WEIGHTS_DIFFER = 22,       /* pair, sequence */
    DPO_ERROR_INVALID_VALUE = 23,              /* subject: buffer; index; value */
    DPO_ERROR_NON_FINITE_ROWS = 24,            /* first, count; all others are written */
    DPO_ERROR_NON_FINITE_PAIRS = 25,           /* first, count; all others are written */
    DPO_ERROR_NON_FINITE_ANSWERS = 26,         /* first, count; all others are written */
    DPO_ERROR_TRANSFORM_OF_GRADIENTS = 27,
    DPO_ERROR_MERGE_OF_DIFFERENT_ROWS = 28,
    DPO_ERROR_LEVEL_UNAVAILABLE = 29,          /* subject: level */
    DPO_ERROR_FUSED_UNAVAILABLE = 30,          /* subject: level */
    DPO_ERROR_UNKNOWN_LABEL = 31,              /* value: found, neither 0 nor 1 */
    DPO_ERROR_SPANS_NOT_ASCENDING = 32,        /* sequence; see dpo_layout.order */
    DPO_ERROR_OUT_OF_MEMORY = 33,              /* never: these functions allocate nothing */
    DPO_ERROR_EMPTY_HIDDEN = 34,
    DPO_ERROR_STRIDE_BELOW_HIDDEN = 35,        /* stride, hidden */
    DPO_ERROR_HIDDEN_MISMATCH = 36,            /* rows, hidden that are due; rows, hidden found */
    DPO_ERROR_ROW_BYTES = 37,                  /* the first byte that no fold writes, or 20 */
    DPO_ERROR_NULL = 101,                      /* subject: buffer */
    DPO_ERROR_MISALIGNED = 102,                /* subject: buffer; alignment */
    DPO_ERROR_TOO_LONG = 103,                  /* subject: buffer; length */
    DPO_ERROR_OVERLAP = 104,                   /* subject: buffer; the other buffer */
    DPO_ERROR_UNKNOWN_VALUE = 105,             /* subject: buffer; the number; the same, signed */
    DPO_ERROR_FIELD_UNUSED = 106,              /* subject: buffer */
    DPO_ERROR_ROW_STATS = 107,                 /* no fold has made them */
    DPO_ERROR_STRUCT_SIZE = 108                /* subject: struct; its size here, size found: too
                                                  small, forgotten, or larger with fields set that
                                                  this library does not know */
};

/* The numbers behind a status; 0 where there is nothing to say. Every call writes all of it. */
typedef struct dpo_error {
    dpo_status status;
    int32_t subject;   /* DPO_BUFFER_, DPO_PARAMETER_ or DPO_LEVEL_, as the status has it */
    size_t numbers[4]; /* rows, sequences and pairs are counted from 0 */
    double value;
} dpo_error;

/* Buffers that errors name, by dpo_buffer_name(). */
enum {
    DPO_BUFFER_LOGITS = 1,
    DPO_BUFFER_TARGETS = 2,
    DPO_BUFFER_TOKEN_LOG_PROBS = 3,
    DPO_BUFFER_ROW_NORMS = 4,
    DPO_BUFFER_ROW_DETAILS = 5,
    DPO_BUFFER_TOKEN_WEIGHTS = 6,
    DPO_BUFFER_SEQUENCES = 7,
    DPO_BUFFER_REFERENCE = 8,
    DPO_BUFFER_SEQUENCE_GRADS = 9,
    DPO_BUFFER_PAIR_LOSSES = 10,
    DPO_BUFFER_PAIR_WEIGHTS = 11,
    DPO_BUFFER_PAIR_OFFSETS = 12,
    DPO_BUFFER_PAIR_LOSS_KINDS = 13,
    DPO_BUFFER_PAIR_ORDER = 14,
    DPO_BUFFER_MIXTURE_TERMS = 15,
    DPO_BUFFER_ANSWER_LOSSES = 16,
    DPO_BUFFER_ANSWER_WEIGHTS = 17,
    DPO_BUFFER_NLL_GRADS = 18,
    DPO_BUFFER_SPANS = 19,
    DPO_BUFFER_ANSWERS = 20,
    DPO_BUFFER_SCORES = 21,
    DPO_BUFFER_PAIR_FLAGS = 22,
    DPO_BUFFER_GAPS = 23,
    DPO_BUFFER_KEEP_WEIGHTS = 24,
    DPO_BUFFER_REFERENCE_PARAMETERS = 25,
    DPO_BUFFER_GAP_SUMS = 26,
    DPO_BUFFER_GAP_AVERAGES = 27,
    DPO_BUFFER_ANSWER_LOSS_KINDS = 28,
    DPO_BUFFER_TOKEN_COEFFICIENTS = 29,
    DPO_BUFFER_SPAN_ORDER = 30,
    DPO_BUFFER_HIDDEN = 31,
    DPO_BUFFER_HIDDEN_GRADS = 32,
    DPO_BUFFER_HEAD_WEIGHTS = 33,
    DPO_BUFFER_HEAD_BIAS = 34,
    DPO_BUFFER_HEAD_ROWS = 35,
    DPO_BUFFER_HEAD_NUMBERS = 36,
    DPO_BUFFER_HEAD_GRADS = 37,
    DPO_BUFFER_ADAPTER = 38,
    DPO_BUFFER_ROW_BYTES = 39,
    DPO_BUFFER_ROW_STATS = 40,
    DPO_BUFFER_ARGUMENT = 101,
    DPO_BUFFER_PAIRS = 102,
    DPO_BUFFER_UNPAIRED_ANSWERS = 103,
    DPO_BUFFER_OFFSETS = 104,
    DPO_BUFFER_TILE = 105,
    DPO_BUFFER_LOSSES = 106,
    DPO_BUFFER_OUT = 107,
    DPO_BUFFER_NAME = 108,
    DPO_BUFFER_DISPATCH = 109,
    DPO_BUFFER_TYPE = 110,
    DPO_BUFFER_LABELS = 111,
    DPO_BUFFER_OPTIONS = 112,
    DPO_BUFFER_NLL = 113,
    DPO_BUFFER_GRADS = 114,
    DPO_BUFFER_WPO_BOUND = 115,
    DPO_BUFFER_LAYOUT = 116,
    DPO_BUFFER_STEP = 117,
    DPO_BUFFER_BACKWARD = 118,
    DPO_BUFFER_NLL_ANSWERS = 119
};

/* Parameters that errors name, by dpo_parameter_name(), and that options of losses are. */
enum {
    DPO_PARAMETER_BETA = 1,
    DPO_PARAMETER_LABEL_SMOOTHING = 2,
    DPO_PARAMETER_ROBUST_SMOOTHING = 3,
    DPO_PARAMETER_EXO_SMOOTHING = 4,
    DPO_PARAMETER_TARGET_MARGIN = 5,
    DPO_PARAMETER_TARGET_MARGIN_RATIO = 6,
    DPO_PARAMETER_REWARD_EXPONENT = 7,
    DPO_PARAMETER_BLEND_TEMPERATURE = 8,
    DPO_PARAMETER_DIVERGENCE_ALPHA = 9,
    DPO_PARAMETER_REWARD_SHIFT = 10,
    DPO_PARAMETER_SLIC_MARGIN = 11,
    DPO_PARAMETER_DROP_PENALTY = 12,
    DPO_PARAMETER_ODDS_WEIGHT = 13,
    DPO_PARAMETER_REFERENCE_KL = 14,
    DPO_PARAMETER_DESIRABLE_WEIGHT = 15,
    DPO_PARAMETER_UNDESIRABLE_WEIGHT = 16,
    DPO_PARAMETER_REWARD_GAP = 17,
    DPO_PARAMETER_TERM_WEIGHT = 18,
    DPO_PARAMETER_NLL_WEIGHT = 19,
    DPO_PARAMETER_TAIL_WEIGHT = 20,
    DPO_PARAMETER_OFFSET_SCALE = 21,
    DPO_PARAMETER_SCORE_GAP = 22,
    DPO_PARAMETER_LENGTH_PENALTY = 23,
    DPO_PARAMETER_DIVERGENCE = 24,
    DPO_PARAMETER_DIVISOR = 25,
    DPO_PARAMETER_SCALE = 26,
    DPO_PARAMETER_SOFTCAP = 27,
    DPO_PARAMETER_TEMPERATURE = 28,
    DPO_PARAMETER_TRANSFORM = 29,
    DPO_PARAMETER_BETA_GAIN = 30,
    DPO_PARAMETER_MIXING = 31,
    DPO_PARAMETER_CENTERING = 32,
    DPO_PARAMETER_ADVANTAGE = 33,
    DPO_PARAMETER_EXPLORATION_WEIGHT = 34,
    DPO_PARAMETER_NEGLIGIBLE = 35,
    DPO_PARAMETER_ADAPTER_SCALE = 36
};

#ifdef __cplusplus
}
#endif

#endif
