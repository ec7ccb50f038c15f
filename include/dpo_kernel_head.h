/* Types of the language-model head: see dpo_kernel.h. C99 and C++11. */
#ifndef DPO_KERNEL_HEAD_H
#define DPO_KERNEL_HEAD_H

#include "dpo_kernel_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A head of weights in memory: row j of it, the hidden elements from weights + j * stride, makes
   column j of the logits: transform(states . row + bias[j]). Row-major, as trainers keep
   lm_head.weight, or the embedding where the two are tied. Elements past hidden are padding and
   never read. len is vocab * stride; the padding of the last row may be missing. */
typedef struct dpo_head {
    size_t size; /* sizeof(dpo_head) */
    const void *weights;
    size_t len;
    size_t vocab;  /* V, >= 1 */
    size_t hidden; /* H, >= 1 */
    size_t stride; /* >= hidden; 0: hidden, rows without padding */
    int32_t type;  /* DPO_TYPE_ */
    dpo_transform transform;
    const float *bias; /* V, or NULL */
    size_t panels;     /* of 32 columns, packed at once: 1 to 16, and more are 16. 0: 16. Fewer take
                          less scratch and more time, and give the same bits */
} dpo_head;

#define DPO_HEAD_INIT {sizeof(dpo_head), NULL, 0, 0, 0, 0, 0, DPO_TRANSFORM_NONE, NULL, 0}

/* Hidden states to read: row t is the hidden elements from data + t * stride, what the model's last
   norm gives for position t. Elements past hidden are padding and never read. len is rows * stride;
   the padding of the last row may be missing. */
typedef struct dpo_hidden {
    size_t size; /* sizeof(dpo_hidden) */
    const void *data;
    size_t len;
    size_t rows;   /* R */
    size_t hidden; /* H, >= 1 */
    size_t stride; /* >= hidden; 0: hidden, rows without padding */
    int32_t type;  /* DPO_TYPE_ */
    uint32_t reserved; /* 0 */
} dpo_hidden;

#define DPO_HIDDEN_INIT {sizeof(dpo_hidden), NULL, 0, 0, 0, 0, 0, 0}

/* The same to write: sums of the head's rows, or gradients of hidden states. */
typedef struct dpo_hidden_mut {
    size_t size; /* sizeof(dpo_hidden_mut) */
    void *data;
    size_t len;
    size_t rows;
    size_t hidden;
    size_t stride;
    int32_t type;
    uint32_t reserved; /* 0 */
} dpo_hidden_mut;

#define DPO_HIDDEN_MUT_INIT {sizeof(dpo_hidden_mut), NULL, 0, 0, 0, 0, 0, 0}

/* What becomes of gradients of a head that are there already. */
enum {
    DPO_GRADS_REPLACE = 0,
    DPO_GRADS_ADD = 1 /* added to, as the second micro-batch of a step needs it */
};

/* A head to write: where its gradients go. Of its weights, laid out as they are, of its bias, or of both;
   neither is refused (NULL). Without weights, len, stride and type are 0. */
typedef struct dpo_head_mut {
    size_t size;   /* sizeof(dpo_head_mut) */
    void *weights; /* V x H, or NULL */
    size_t len;    /* vocab * stride; the padding of the last row may be missing */
    size_t stride; /* >= hidden; 0: hidden, rows without padding. Padding is not written */
    int32_t type;  /* DPO_TYPE_: that of the head's weights, or another */
    int32_t mode;  /* DPO_GRADS_ */
    float *bias;   /* V, or NULL */
} dpo_head_mut;

#define DPO_HEAD_MUT_INIT {sizeof(dpo_head_mut), NULL, 0, 0, 0, 0, NULL}

/* The memory that a head works in. Contents do not matter before or after a call, and calls at the
   same time need one each. Results do not depend on rows: so many go through the head together, and
   its weights are read once for each such group. Some hundred rows keep a processor busy. */
typedef struct dpo_head_scratch {
    size_t size;     /* sizeof(dpo_head_scratch) */
    double *numbers; /* len, at least what dpo_head_scratch_len says of rows, or, for dpo_head_grads,
                        dpo_head_grads_scratch_len */
    size_t len;
    size_t rows; /* >= 1; more than are scored are no use */
} dpo_head_scratch;

#define DPO_HEAD_SCRATCH_INIT {sizeof(dpo_head_scratch), NULL, 0, 0}

#ifdef __cplusplus
}
#endif

#endif
