/* Types of NLL terms, of the backward and of the step: see dpo_kernel.h. C99 and C++11. */
#ifndef DPO_KERNEL_STEP_H
#define DPO_KERNEL_STEP_H

#include "dpo_kernel_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------- NLL terms and weights */

/* What one unit of an NLL term is: a token, or a whole answer. */
enum { DPO_NLL_PER_TOKEN = 0, DPO_NLL_PER_SEQUENCE = 1 };

/* The term: an NLL raises the likelihood of its answers; XPO's lowers that of samples of the
   reference, per token, by weight alpha (1e-5 in TRL, with the pairs as divisor). */
enum { DPO_NLL_TERM_NLL = 0, DPO_NLL_TERM_XPO = 1 };

/* The answers that it is of: the chosen ones of pairs, or given sequences (gold answers, samples of
   the reference). */
enum { DPO_NLL_OF_CHOSEN = 0, DPO_NLL_OF_ANSWERS = 1 };

/* The likelihood of answers, beside any loss or alone: weight times the sum of -log p over their
   tokens, or of their means. It is of the tokens as they are, without token weights. An answer of
   weight 0 is left out. Zeroed but for its divisor: a term of weight 0, which leaves out all. */
typedef struct dpo_nll {
    size_t size;           /* sizeof(dpo_nll) */
    double weight;         /* >= 0 */
    double divisor;        /* > 0: tokens or answers of the whole batch, as `per` has it */
    int32_t per;           /* DPO_NLL_PER_ */
    int32_t term;          /* DPO_NLL_TERM_ */
    int32_t of;            /* DPO_NLL_OF_ */
    uint32_t reserved;     /* 0 */
    const dpo_pair *pairs; /* count, for DPO_NLL_OF_CHOSEN; in a step NULL and count 0: the step has
                              the pairs */
    const size_t *answers; /* count sequences, for DPO_NLL_OF_ANSWERS; NULL otherwise */
    size_t count;
    const float *weights;  /* one each (P in a step), finite and >= 0. NULL: 1 each, and in a step
                              the weights of the pairs for chosen answers */
} dpo_nll;

#define DPO_NLL_INIT {sizeof(dpo_nll), 0.0, 0.0, 0, 0, 0, 0, NULL, NULL, 0, NULL}

/* Sums over the answers of a term, before the divisor. */
typedef struct dpo_nll_summary {
    uint64_t sequences;
    uint64_t tokens;
    uint64_t left_out; /* answers of weight 0, in no other figure */
    double loss_sum;
} dpo_nll_summary;

enum { DPO_WPO_AT_MOST_ONE = 0, DPO_WPO_UNBOUNDED = 1 };

/* ---------------------------------------- gradients and the step */

/* What becomes of elements that no gradient belongs to: rows that are not scored (no span covers
   them, or their target is the ignore value), and columns past vocab. */
enum {
    DPO_UNSCORED_KEEP = 0, /* not written: in place they STILL HOLD LOGITS beside gradients */
    DPO_UNSCORED_ZERO = 1  /* 0: the whole buffer is a gradient */
};

/* What the backward needs of the forward and of the loss. */
typedef struct dpo_grads {
    size_t size;                /* sizeof(dpo_grads) */
    const dpo_row_norm *norms;  /* R, from the forward of these logits; rows of coefficient 0 need
                                   none */
    const double *coefficients; /* R, d loss / d log p of each row's target: of
                                   dpo_token_coefficients, or of any loss of tokens. Those of rows
                                   that are not scored are not read */
    int32_t unscored;           /* DPO_UNSCORED_ */
    uint32_t reserved;          /* 0 */
} dpo_grads;

#define DPO_GRADS_INIT {sizeof(dpo_grads), NULL, NULL, 0, 0}

/* Some columns of a row, to be replaced by their gradients. */
typedef struct dpo_tile {
    size_t size; /* sizeof(dpo_tile) */
    void *data;
    size_t len;
    double coefficient; /* of the row, as in dpo_grads */
    dpo_row_norm norm;  /* of the whole row */
    dpo_transform transform;
    int32_t type; /* DPO_TYPE_ */
    uint32_t first_column;
    uint32_t target; /* of the row, in this tile or not */
} dpo_tile;

#define DPO_TILE_INIT \
    {sizeof(dpo_tile), NULL, 0, 0.0, {0.0f, 0, 0.0f, 0.0f}, DPO_TRANSFORM_NONE, 0, 0, 0}

/* What a step works on: its layout, its logits, and buffers, which hold afterwards what the stages
   found. Gradients replace the logits (set in_place), or go to another buffer of the logits' type
   or DPO_TYPE_F32 (set logits and grads). */
typedef struct dpo_step {
    size_t size;                      /* sizeof(dpo_step) */
    const dpo_layout *layout;
    const dpo_logits_mut *in_place;   /* logits that their gradients replace, or NULL */
    const dpo_logits *logits;         /* with in_place NULL: logits, which are only read, */
    const dpo_logits_mut *grads;      /* and where their gradients go */
    float *log_probs;                 /* R */
    dpo_row_norm *norms;              /* R */
    dpo_sequence_log_prob *sequences; /* N */
    double *d_log_probs;              /* N */
    double *coefficients;             /* R */
    const float *token_weights;       /* R, as in dpo_sequence_log_probs, or NULL */
    dpo_token_summary *tokens;        /* 1, or NULL */
    const dpo_nll *nll;               /* a term beside the loss of pairs, or NULL */
    double *d_nll;                    /* N with such a term, NULL without */
    dpo_nll_summary *nll_summary;     /* 1 or NULL with such a term, NULL without */
    int32_t unscored;                 /* DPO_UNSCORED_ */
    uint32_t reserved;                /* 0 */
} dpo_step;

#define DPO_STEP_INIT                                                                       \
    {sizeof(dpo_step), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,    \
     NULL, NULL, NULL, 0, 0}

#ifdef __cplusplus
}
#endif

#endif
