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
    DPO_LEVEL_BASELINE = 0, /* what the library was compiled for */
    DPO_LEVEL_AVX2 = 1,     /* x86 with AVX2, FMA, F16C */
    DPO_LEVEL_AVX512 = 2    /* the same with AVX-512 F, BW, DQ, VL */
};

/* Which roundings. Each arithmetic has one result. */
enum {
    DPO_ARITHMETIC_FUSED = 0,   /* hardware multiply-add: the same bits wherever it exists */
    DPO_ARITHMETIC_PORTABLE = 1 /* + - * / alone: the same bits on every IEEE-754 machine */
};

typedef struct dpo_dispatch {
    int32_t level;      /* DPO_LEVEL_ */
    int32_t arithmetic; /* DPO_ARITHMETIC_ */
} dpo_dispatch;

/* Element types of logits and gradients. 16-bit elements are uint16_t in memory. */
enum { DPO_TYPE_F32 = 0, DPO_TYPE_F16 = 1, DPO_TYPE_BF16 = 2 };

/* y = softcap * tanh(scale * x / softcap) / temperature, or scale * x / temperature with softcap
   = 0. */
typedef struct dpo_transform {
    float scale;       /* > 0; 1 without */
    float softcap;     /* > 0; 0 without */
    float temperature; /* > 0; 1 without */
} dpo_transform;

/* y = x */
#define DPO_TRANSFORM_NONE {1.0f, 0.0f, 1.0f}

/* Rows of logits to read: row t is the vocab elements from data + t * stride. Columns past vocab
   are padding and never read. len is rows * stride; the padding of the last row may be missing.
   */
typedef struct dpo_logits {
    const void *data;
    size_t len;
    size_t rows;   /* R */
    size_t vocab;  /* V, >= 1 */
    size_t stride; /* >= vocab */
    int32_t type;  /* DPO_TYPE_ */
    dpo_transform transform;
} dpo_logits;

/* The same to write: logits to be replaced by gradients, or a place for gradients, which has no
   transform. */
typedef struct dpo_logits_mut {
    void *data;
    size_t len;
    size_t rows;
    size_t vocab;
    size_t stride;
    int32_t type;
    dpo_transform transform;
} dpo_logits_mut;

/* ---------------------------------------- sequences */

/* The ignore value by default: -100 as trainers write it. */
#define DPO_IGNORE_INDEX UINT32_C(4294967196)

/* The rows [start, end) of one sequence: those that predict its completion. Spans share no rows.
   */
typedef struct dpo_span {
    size_t start;
    size_t end;
} dpo_span;

/* Which rows are scored: row t is asked for targets[t]. Rows outside the spans, and rows whose
   target is the ignore value, are never read and never written. */
typedef struct dpo_sequences {
    const uint32_t *targets; /* R */
    size_t rows;             /* R */
    uint32_t ignore;         /* DPO_IGNORE_INDEX, unless the host says otherwise */
    const dpo_span *spans;   /* N, in any order */
    size_t count;            /* N */
} dpo_sequences;

/* log pi(y|x) of one sequence, and of how many tokens. */
typedef struct dpo_sequence_log_prob {
    double sum;
    size_t count;
} dpo_sequence_log_prob;

/* ---------------------------------------- rows */

/* What the backward needs of a row: 16 bytes that a forward has made. */
typedef struct dpo_row_norm {
    float shift;
    int32_t exponent;
    float inverse;
    float rest;
} dpo_row_norm;

/* Statistics of a row's distribution. */
typedef struct dpo_row_details {
    float entropy;          /* in nats */
    float mean_logit;       /* -inf where a logit is masked */
    float log_sum_sq_probs; /* ln of the sum of p^2: the weight of WPO */
    uint32_t argmax;        /* the first of the largest */
} dpo_row_details;

/* Flags of dpo_row_stats; the first two are given, the others found. */
#define DPO_ROW_TARGET UINT32_C(1)
#define DPO_ROW_DETAILS UINT32_C(2)
#define DPO_ROW_TARGET_SEEN UINT32_C(4)
#define DPO_ROW_REFERENCE UINT32_C(8)

/* What a fold over (part of) a row has learnt. Plain memory: copy it, keep it, send it to another
   machine, merge it there. But for transform, flags and target, the fields are the library's. */
typedef struct dpo_row_stats {
    dpo_transform transform;
    uint32_t flags; /* DPO_ROW_ */
    uint32_t target;
    float target_value;
    float shift;
    int32_t exponent;
    float top;
    uint32_t top_column;
    uint64_t columns;
    double rest;
    double about;
    double squares;
    double total;
} dpo_row_stats;

/* What a complete row has to say. NaN where there is nothing to say. */
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
    const dpo_loss *losses; /* count */
    size_t count;
    int32_t kind;               /* DPO_OBJECTIVE_ */
    const double *term_weights; /* count, for a mixture; NULL otherwise */
    size_t *order;              /* order_len, for aot; NULL otherwise */
    size_t order_len;           /* two a pair */
} dpo_objective;

/* A preference: indices of two different sequences. */
typedef struct dpo_pair {
    size_t chosen;
    size_t rejected;
} dpo_pair;

enum {
    DPO_REFERENCE_SUMS = 0,      /* N sums */
    DPO_REFERENCE_SEQUENCES = 1, /* N, whose token counts must be the policy's */
    DPO_REFERENCE_FREE = 2       /* none, for losses that have none */
};

/* Log-probs of the sequences under the frozen reference. The pointer that the kind does not use
   is NULL. */
typedef struct dpo_reference {
    int32_t kind;       /* DPO_REFERENCE_ */
    const double *sums; /* N */
    const dpo_sequence_log_prob *sequences;
} dpo_reference;

/* The preferences of a batch. */
typedef struct dpo_pairs {
    const dpo_pair *pairs; /* P */
    size_t count;          /* P */
    dpo_reference reference;
    const float *weights; /* P, finite and >= 0, or NULL: 1 each */
    const float *offsets; /* P, finite, subtracted from the margin, or NULL: 0 each */
    double divisor;       /* > 0, divides gradients alone: pairs in the whole, accumulated batch */
} dpo_pairs;

/* One pair by itself. */
typedef struct dpo_pair_log_probs {
    double policy_chosen;
    double policy_rejected;
    double reference_chosen; /* NaN without a reference */
    double reference_rejected;
    size_t chosen_tokens; /* 0 if unknown; losses of means need them */
    size_t rejected_tokens;
    double weight; /* 1 without */
    double offset; /* 0 without */
} dpo_pair_log_probs;

/* What a loss says of a pair. Nothing is divided by a batch size. */
typedef struct dpo_pair_loss {
    double loss;
    double reward_chosen;
    double reward_rejected;
    double margin;
    double d_chosen;
    double d_rejected;
} dpo_pair_loss;

/* Sums over pairs; those of micro-batches and machines add up field by field. */
typedef struct dpo_summary {
    uint64_t pairs;
    uint64_t correct;         /* margin > 0 */
    uint64_t ties;            /* margin = 0 */
    uint64_t displaced;       /* reward of the chosen answer < 0 */
    uint64_t saturated;       /* margin >= 10 */
    uint64_t saturated_wrong; /* margin <= -10 */
    double loss_sum;
    double reward_chosen_sum;
    double reward_rejected_sum;
    double margin_sum;
} dpo_summary;

enum { DPO_DESIRABLE = 0, DPO_UNDESIRABLE = 1 };

/* An answer without a partner. */
typedef struct dpo_answer {
    size_t sequence;
    int32_t label; /* DPO_DESIRABLE or DPO_UNDESIRABLE */
} dpo_answer;

/* A batch of them. */
typedef struct dpo_unpaired_batch {
    const dpo_answer *answers; /* M */
    size_t count;                /* M */
    dpo_reference reference;
    const float *weights; /* M, finite and >= 0, or NULL: 1 each */
    double divisor;       /* > 0, divides gradients alone */
} dpo_unpaired_batch;

typedef struct dpo_answer_loss {
    double loss;
    double reward;
    double d_log_prob;
} dpo_answer_loss;

typedef struct dpo_unpaired_summary {
    uint64_t desirable;
    uint64_t undesirable;
    double desirable_loss_sum;
    double undesirable_loss_sum;
    double desirable_reward_sum;
    double undesirable_reward_sum;
} dpo_unpaired_summary;

/* What one unit of an NLL term is: a token, or a whole answer. */
enum { DPO_NLL_PER_TOKEN = 0, DPO_NLL_PER_SEQUENCE = 1 };

/* The likelihood of the chosen answers, beside any loss. */
typedef struct dpo_nll {
    double weight;  /* >= 0 */
    double divisor; /* > 0: tokens or pairs of the whole batch, as `per` has it */
    int32_t per;    /* DPO_NLL_PER_ */
} dpo_nll;

typedef struct dpo_nll_summary {
    uint64_t sequences;
    uint64_t tokens;
    double loss_sum;
} dpo_nll_summary;

enum { DPO_WPO_AT_MOST_ONE = 0, DPO_WPO_UNBOUNDED = 1 };

/* ---------------------------------------- gradients and the step */

/* What the backward needs of the forward and of the loss. */
typedef struct dpo_grads {
    const dpo_row_norm *norms;  /* R, from the forward of these logits */
    const double *d_log_probs;  /* N */
    const float *token_weights; /* R, as in dpo_sequence_log_probs, or NULL */
    const double *d_nll;        /* N, from dpo_nll_loss, or NULL */
} dpo_grads;

/* Some columns of a row, to be replaced by their gradients. */
typedef struct dpo_tile {
    void *data;
    size_t len;
    double coefficient; /* of the row: d_log_prob of its sequence times its token weight */
    dpo_row_norm norm;  /* of the whole row */
    dpo_transform transform;
    int32_t type; /* DPO_TYPE_ */
    uint32_t first_column;
    uint32_t target; /* of the row, in this tile or not */
} dpo_tile;

/* Buffers of a step; afterwards they hold what the stages found. */
typedef struct dpo_scratch {
    float *log_probs;                 /* R */
    dpo_row_norm *norms;              /* R */
    dpo_sequence_log_prob *sequences; /* N */
    double *d_log_probs;              /* N */
    dpo_pair_loss *losses;            /* P */
    const dpo_nll *nll;               /* an NLL term, or NULL */
    double *d_nll;                    /* N with an NLL term, NULL without */
    dpo_nll_summary *nll_summary;     /* 1 with an NLL term, NULL without */
} dpo_scratch;

#ifdef __cplusplus
}
#endif

#endif
