/* Types and constants of dpo-kernel: see dpo_kernel.h. C99 and C++11. */
#ifndef DPO_KERNEL_TYPES_H
#define DPO_KERNEL_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include "dpo_kernel_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------- instructions and logits */

/* Which instructions. A level never changes a result. */
enum {
    DPO_LEVEL_FASTEST = 0,  /* the last of these that the machine has */
    DPO_LEVEL_BASELINE = 1, /* what the library was compiled for */
    DPO_LEVEL_AVX2 = 2,     /* x86 with AVX2, FMA, F16C */
    DPO_LEVEL_AVX512 = 3    /* the same with AVX-512 F, BW, DQ, VL */
};

/* Which roundings. Each arithmetic has one result. */
enum {
    DPO_ARITHMETIC_DEFAULT = 0, /* fused where the level has it, else portable */
    DPO_ARITHMETIC_FUSED = 1,   /* hardware multiply-add: the same bits wherever it exists */
    DPO_ARITHMETIC_PORTABLE = 2 /* + - * / alone: the same bits on every IEEE-754 machine */
};

/* Zeroed: what dpo_detect() gives. */
typedef struct dpo_dispatch {
    int32_t level;      /* DPO_LEVEL_ */
    int32_t arithmetic; /* DPO_ARITHMETIC_ */
} dpo_dispatch;

/* Element types of logits and gradients. 16-bit elements are uint16_t in memory. There is no type
   0: a forgotten type is refused. */
enum { DPO_TYPE_F32 = 1, DPO_TYPE_F16 = 2, DPO_TYPE_BF16 = 3 };

/* y = softcap * tanh(scale * x / softcap) / temperature, or scale * x / temperature without a
   softcap. Each field is > 0, or 0, which leaves its part out. Zeroed: y = x. */
typedef struct dpo_transform {
    float scale;
    float softcap;
    float temperature;
} dpo_transform;

/* y = x */
#define DPO_TRANSFORM_NONE {0.0f, 0.0f, 0.0f}

/* Rows of logits to read: row t is the vocab elements from data + t * stride. Columns past vocab
   are padding and never read. len is rows * stride; the padding of the last row may be missing.
   */
typedef struct dpo_logits {
    size_t size; /* sizeof(dpo_logits) */
    const void *data;
    size_t len;
    size_t rows;   /* R */
    size_t vocab;  /* V, >= 1 */
    size_t stride; /* >= vocab; 0: vocab, rows without padding */
    int32_t type;  /* DPO_TYPE_ */
    dpo_transform transform;
} dpo_logits;

#define DPO_LOGITS_INIT {sizeof(dpo_logits), NULL, 0, 0, 0, 0, 0, DPO_TRANSFORM_NONE}

/* The same to write: logits to be replaced by gradients, or a place for gradients, which has no
   transform. */
typedef struct dpo_logits_mut {
    size_t size; /* sizeof(dpo_logits_mut) */
    void *data;
    size_t len;
    size_t rows;
    size_t vocab;
    size_t stride;
    int32_t type;
    dpo_transform transform;
} dpo_logits_mut;

#define DPO_LOGITS_MUT_INIT {sizeof(dpo_logits_mut), NULL, 0, 0, 0, 0, 0, DPO_TRANSFORM_NONE}

/* ---------------------------------------- layout */

/* The ignore value by default: -100 as trainers write it. */
#define DPO_IGNORE_INDEX UINT32_C(4294967196)

/* What a dpo_layout gives beside its buffers: another ignore value. */
#define DPO_LAYOUT_IGNORE UINT32_C(1)

/* The rows [start, end) of one sequence: those that predict its completion. Spans share no rows.
   Zeroed: no rows. A sequence without scored rows is refused where a pair, an answer or an NLL
   term names it, and no error otherwise. */
typedef struct dpo_span {
    size_t start;
    size_t end;
} dpo_span;

/* Which rows belong to which sequence, and what they are asked for: row t is asked for
   targets[t]. Rows outside the spans, and rows whose target is the ignore value, are not scored:
   never read and never written, unless DPO_UNSCORED_ZERO asks for zeros. Every function checks it
   as a whole, before anything else. */
typedef struct dpo_layout {
    size_t size;             /* sizeof(dpo_layout) */
    const uint32_t *targets; /* R; a row that is not scored may have any */
    size_t rows;             /* R */
    const dpo_span *spans;   /* N, in the order of their rows; see order */
    size_t count;            /* N */
    size_t vocab;            /* V, that of the logits; a layout without is refused */
    uint32_t given;          /* 0, or DPO_LAYOUT_IGNORE: ignore is given */
    uint32_t ignore;         /* the ignore value if it is given, any number; otherwise 0, and
                                DPO_IGNORE_INDEX is meant */
    size_t *order;           /* N, or NULL. Spans in any order need this memory, which every call
                                sorts them in anew and may write on an error too; without it they
                                must ascend (SPANS_NOT_ASCENDING) */
} dpo_layout;

#define DPO_LAYOUT_INIT {sizeof(dpo_layout), NULL, 0, NULL, 0, 0, 0, 0, NULL}

/* What a sweep over logits has counted. */
typedef struct dpo_token_summary {
    uint64_t tokens;        /* scored */
    uint64_t masked_tokens; /* scored, on a logit of the type's lowest finite value: see Masks */
} dpo_token_summary;

/* log pi(y|x) of one sequence, and of how many tokens. Zeroed: of no tokens, which losses of means
   refuse. */
typedef struct dpo_sequence_log_prob {
    double sum;
    size_t count;
} dpo_sequence_log_prob;

/* ---------------------------------------- rows */

/* What the backward needs of a row: 16 bytes that a forward has made. Zeroed: refused where a norm
   is needed. */
typedef struct dpo_row_norm {
    float shift;
    int32_t exponent;
    float inverse;
    float complement;
} dpo_row_norm;

/* Statistics of a row's distribution. Zeroed: of a row that is certain of its first column. */
typedef struct dpo_row_details {
    float entropy;          /* in nats */
    float mean_logit;       /* -inf where a logit is masked */
    float log_sum_sq_probs; /* ln of the sum of p^2: the weight of WPO */
    uint32_t argmax;        /* the first of the largest */
} dpo_row_details;

/* Flags of dpo_row_stats; the first two are given, the others found: the target's column was folded,
   one other than the target's was above -inf, one was NaN or +inf (or the target's came twice), one
   was -inf (with DPO_ROW_DETAILS). */
#define DPO_ROW_TARGET UINT32_C(1)
#define DPO_ROW_DETAILS UINT32_C(2)
#define DPO_ROW_TARGET_SEEN UINT32_C(4)
#define DPO_ROW_BASE UINT32_C(8)
#define DPO_ROW_BROKEN UINT32_C(16)
#define DPO_ROW_MASKED UINT32_C(32)

/* What dpo_row_stats_write_bytes writes, without and with details. */
#define DPO_ROW_BYTES 64
#define DPO_ROW_DETAIL_BYTES 160

/* The sums of a fold over (part of) a row. Plain memory: copy it, keep it, give it to another
   process of the same machine and library; dpo_row_stats_write_bytes is for any machine. But for
   transform, flags and target, the fields are the library's. Zeroed: nothing folded yet of a row
   without target. */
typedef struct dpo_row_stats {
    dpo_transform transform;
    uint32_t flags; /* DPO_ROW_ */
    uint32_t target; /* 0 without DPO_ROW_TARGET */
    float target_value;
    float shift;
    float max;
    uint32_t argmax;
    uint32_t tops[4];
    uint32_t reserved; /* 0 */
    uint64_t columns;
    int64_t others[3];
    int64_t weighted[3];
    int64_t squares[3];
    int64_t values[3];
} dpo_row_stats;

/* Results of a complete row; NaN where there are none. */
typedef struct dpo_row_result {
    double log_z;
    double log_prob; /* of the target */
    double target_logit;
    uint64_t columns;        /* folded; compare with the vocabulary */
    dpo_row_norm norm;       /* invalid unless finite, with the target seen */
    dpo_row_details details; /* with DPO_ROW_DETAILS */
} dpo_row_result;

/* ---------------------------------------- losses */

/* Losses, by the names that trainers give them (dpo_loss_parse). Formulas, papers and defaults:
   docs/losses.md. */
enum {
    DPO_LOSS_SIGMOID = 0,
    DPO_LOSS_ROBUST = 1,
    DPO_LOSS_HINGE = 2,
    DPO_LOSS_IPO = 3,
    DPO_LOSS_IPO_SUM = 4,
    DPO_LOSS_EXO_PAIR = 5,
    DPO_LOSS_DISCOPOP = 6,
    DPO_LOSS_SIGMOID_NORM = 7,
    DPO_LOSS_RPO_FWD_KL = 8,
    DPO_LOSS_RPO_BWD_KL = 9,
    DPO_LOSS_RPO_SQ = 10,
    DPO_LOSS_SIMPO = 11,
    DPO_LOSS_CPO = 12,
    DPO_LOSS_CPO_HINGE = 13,
    DPO_LOSS_CPO_IPO = 14,
    DPO_LOSS_SLIC = 15,
    DPO_LOSS_ALPHAPO = 16,
    DPO_LOSS_ORPO = 17,
    DPO_LOSS_NCA_PAIR = 18,
    DPO_LOSS_BCO_PAIR = 19,
    DPO_LOSS_SPPO_HARD = 20,
    DPO_LOSS_APO_ZERO = 21,
    DPO_LOSS_APO_DOWN = 22,
    DPO_LOSS_KTO = 23,
    DPO_LOSS_CAL_DPO = 24,
    DPO_LOSS_DPOP_INSIDE = 25,
    DPO_LOSS_DPOP_OUTSIDE = 26,
    DPO_LOSS_AOT = 27,
    DPO_LOSS_AOT_UNPAIRED = 28,
    DPO_LOSS_SFT = 29,
    DPO_LOSS_TPO = 30,
    DPO_LOSS_TPO_HINGE = 31,
    DPO_LOSS_TPO_IPO = 32,
    DPO_LOSS_TPO_L = 33,
    DPO_LOSS_REWARD_MODEL = 34, /* scores of a reward model in the place of log-probs */
    DPO_LOSS_A2PO = 35,         /* of answers without a partner alone */
    DPO_LOSS_S_DPO = 36         /* consecutive pairs of one chosen answer are a group */
};

/* The f-divergence that log-ratios are measured by, in losses of a difference of log-ratios. */
enum {
    DPO_DIVERGENCE_REVERSE_KL = 0,
    DPO_DIVERGENCE_FORWARD_KL = 1,
    DPO_DIVERGENCE_JENSEN_SHANNON = 2,
    DPO_DIVERGENCE_ALPHA_PAPER = 3, /* alpha as in arXiv 2309.16240 */
    DPO_DIVERGENCE_ALPHA_TRL = 4    /* 1 - alpha, as TRL from 0.29 on has it */
};

#define DPO_MOST_OPTIONS 8

/* An option of a loss. A divergence is DPO_PARAMETER_DIVERGENCE with a DPO_DIVERGENCE_ number as its
   value; the alpha-divergences need DPO_PARAMETER_DIVERGENCE_ALPHA beside it. */
typedef struct dpo_option {
    int32_t parameter; /* DPO_PARAMETER_; 0: no option, and the value must be 0 */
    double value;
} dpo_option;

/* A loss with its options, in any order. What is not there has the loss's default; what the loss
   does not have, what stands there twice, and numbers that are no option are refused. {0} is
   `sigmoid`, DPO with beta 0.1; {DPO_LOSS_SIMPO, {{DPO_PARAMETER_BETA, 2.5}}} is SimPO with beta 2.5. */
typedef struct dpo_loss {
    int32_t name; /* DPO_LOSS_ */
    dpo_option options[DPO_MOST_OPTIONS];
} dpo_loss;

enum {
    DPO_OBJECTIVE_ONE = 0,      /* one loss for all pairs */
    DPO_OBJECTIVE_PER_PAIR = 1, /* as many losses as pairs */
    DPO_OBJECTIVE_MIXTURE = 2   /* a weighted sum; rewards are the first's */
};

#define DPO_MOST_TERMS 8

/* What a batch of pairs is measured by. `aot`, `aot_unpaired` and `s_dpo` stand alone; the first two
   need memory to sort in. */
typedef struct dpo_objective {
    size_t size;            /* sizeof(dpo_objective) */
    const dpo_loss *losses; /* count */
    size_t count;
    int32_t kind;               /* DPO_OBJECTIVE_ */
    uint32_t reserved;          /* 0 */
    const double *term_weights; /* count, for a mixture; NULL otherwise */
    size_t *order;              /* order_len, for aot; NULL otherwise */
    size_t order_len;           /* two a pair; 0 without order */
} dpo_objective;

#define DPO_OBJECTIVE_INIT {sizeof(dpo_objective), NULL, 0, 0, 0, NULL, NULL, 0}

/* A preference: indices of two different sequences. Zeroed: refused. */
typedef struct dpo_pair {
    size_t chosen;
    size_t rejected;
} dpo_pair;

/* The preferences of a batch. The reference is the log-probs of the sequences under the frozen
   model: set one of its two pointers, or neither for losses that have none. A loss without its
   reference is refused, and so is a reference that nothing reads.

   A pair of weight 0 is left out, as if it were not there: its sequences may be empty or out of
   range and its log-probs NaN, it is in no sum, count or gradient, and only left_out counts it.
   Weights {1, 0} report the loss of one pair, over 1 pair. */
typedef struct dpo_pairs {
    size_t size;                  /* sizeof(dpo_pairs) */
    const dpo_pair *pairs;        /* P */
    size_t count;                 /* P */
    const double *reference_sums; /* N, or NULL */
    const dpo_sequence_log_prob *reference_sequences; /* N, or NULL; counts are checked */
    const float *weights; /* P, finite and >= 0, or NULL: 1 each */
    const float *offsets; /* P, finite, subtracted from z, or NULL: 0 each */
    double divisor;       /* > 0, divides gradients alone: pairs in the whole, accumulated batch */
} dpo_pairs;

#define DPO_PAIRS_INIT {sizeof(dpo_pairs), NULL, 0, NULL, NULL, NULL, NULL, 0.0}

/* One pair by itself. Zeroed: policy and reference are one model. */
typedef struct dpo_pair_log_probs {
    double policy_chosen;
    double policy_rejected;
    double reference_chosen; /* NaN without a reference */
    double reference_rejected;
    size_t chosen_tokens; /* 0 if unknown; losses of means need them */
    size_t rejected_tokens;
    double offset; /* subtracted from z; 0 without */
} dpo_pair_log_probs;

/* What a loss says of a pair. Nothing is divided by a batch size. The margin is that of the
   rewards: neither a target margin nor an offset is subtracted. */
typedef struct dpo_pair_loss {
    double loss;
    double reward_chosen;
    double reward_rejected;
    double margin;
    double d_chosen;
    double d_rejected;
} dpo_pair_loss;

/* Sums over pairs; those of micro-batches and machines add up field by field. Means divide by
   `pairs`. */
typedef struct dpo_summary {
    uint64_t pairs;
    uint64_t correct;         /* margin > 0 */
    uint64_t ties;            /* margin = 0 */
    uint64_t displaced;       /* reward of the chosen answer < 0 */
    uint64_t saturated;       /* margin >= 10 */
    uint64_t saturated_wrong; /* margin <= -10 */
    uint64_t left_out;        /* pairs of weight 0, in no other figure */
    double loss_sum;
    double reward_chosen_sum;
    double reward_rejected_sum;
    double margin_sum;
} dpo_summary;

/* Labels as data sets write them. */
enum { DPO_UNDESIRABLE = 0, DPO_DESIRABLE = 1 };

/* An answer without a partner. Zeroed: sequence 0 is undesirable. */
typedef struct dpo_answer {
    size_t sequence;
    int32_t label; /* DPO_UNDESIRABLE or DPO_DESIRABLE; anything else is refused, at weight 0 too */
} dpo_answer;

/* A batch of them. The reference as in dpo_pairs; every unpaired loss needs one. An answer of
   weight 0 is left out, as a pair is. */
typedef struct dpo_unpaired_batch {
    size_t size;                  /* sizeof(dpo_unpaired_batch) */
    const dpo_answer *answers;    /* M */
    size_t count;                 /* M */
    const double *reference_sums; /* N, or NULL */
    const dpo_sequence_log_prob *reference_sequences; /* N, or NULL */
    const float *weights; /* M, finite and >= 0, or NULL: 1 each */
    const dpo_loss *losses; /* M, one an answer (A*PO); the call's loss is NULL then. Or NULL */
    double divisor;         /* > 0, divides gradients alone */
} dpo_unpaired_batch;

#define DPO_UNPAIRED_BATCH_INIT {sizeof(dpo_unpaired_batch), NULL, 0, NULL, NULL, NULL, NULL, 0.0}

typedef struct dpo_answer_loss {
    double loss;
    double reward;
    double d_log_prob;
} dpo_answer_loss;

typedef struct dpo_unpaired_summary {
    uint64_t desirable;
    uint64_t undesirable;
    uint64_t left_out; /* answers of weight 0, in no other figure */
    double desirable_loss_sum;
    double undesirable_loss_sum;
    double desirable_reward_sum;
    double undesirable_reward_sum;
} dpo_unpaired_summary;

#ifdef __cplusplus
}
#endif

#endif
