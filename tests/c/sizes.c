/* Structs that say their size: hosts that forget it, that were compiled with an older header, and with a
 * newer one. C99 and C++11. */
#include <dpo_kernel.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 2
#define VOCAB 4
#define HIDDEN 3
/* Of the head's scratch, at least. */
#define SCRATCH 6000

static int failures = 0;

#define CHECK(condition)                                            \
    do {                                                            \
        if (!(condition)) {                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            failures += 1;                                          \
        }                                                           \
    } while (0)

/* A struct of a newer header: with fields that this library does not know. */
#define NEWER(type) \
    struct {        \
        type now;   \
        uint64_t later[4]; \
    }

/* Every struct that says its size, filled for calls that succeed. */
static float logits[ROWS * VOCAB], grads[ROWS * VOCAB];
static const uint32_t targets[ROWS] = {0, 1};
static const dpo_span spans[2] = {{0, 1}, {1, 2}};
static const dpo_pair pair = {0, 1};
static const dpo_answer answer = {0, DPO_DESIRABLE};
static const double zeros[2] = {0.0, 0.0};
static float log_probs[ROWS];
static dpo_row_norm norms[ROWS];
static dpo_sequence_log_prob sums[2];
static double d[2], d_nll[2], coefficients[ROWS];
static dpo_pair_loss losses[1];
static dpo_nll_summary nll_summary;
static dpo_loss loss;

static float states[ROWS * HIDDEN], weights[VOCAB * HIDDEN], rows_of_head[ROWS * HIDDEN];
static float d_weights[VOCAB * HIDDEN];
static double numbers[SCRATCH];

static NEWER(dpo_layout) layout;
static NEWER(dpo_logits) view;
static NEWER(dpo_logits_mut) out;
static NEWER(dpo_objective) objective;
static NEWER(dpo_pairs) pairs;
static NEWER(dpo_unpaired_batch) answers;
static NEWER(dpo_nll) nll;
static NEWER(dpo_grads) batch;
static NEWER(dpo_tile) tile;
static NEWER(dpo_step) step;
static NEWER(dpo_head) head;
static NEWER(dpo_hidden) hidden;
static NEWER(dpo_hidden_mut) hidden_mut;
static NEWER(dpo_head_mut) head_mut;
static NEWER(dpo_head_scratch) scratch;

/* As hosts in C++ do, which have no designated initialisers before C++20. */
static void set_up(void) {
    const dpo_layout no_layout = DPO_LAYOUT_INIT;
    const dpo_logits no_view = DPO_LOGITS_INIT;
    const dpo_logits_mut no_out = DPO_LOGITS_MUT_INIT;
    const dpo_objective no_objective = DPO_OBJECTIVE_INIT;
    const dpo_pairs no_pairs = DPO_PAIRS_INIT;
    const dpo_unpaired_batch no_answers = DPO_UNPAIRED_BATCH_INIT;
    const dpo_nll no_nll = DPO_NLL_INIT;
    const dpo_grads no_batch = DPO_GRADS_INIT;
    const dpo_tile no_tile = DPO_TILE_INIT;
    const dpo_step no_step = DPO_STEP_INIT;
    const dpo_head no_head = DPO_HEAD_INIT;
    const dpo_hidden no_hidden = DPO_HIDDEN_INIT;
    const dpo_hidden_mut no_hidden_mut = DPO_HIDDEN_MUT_INIT;
    const dpo_head_mut no_head_mut = DPO_HEAD_MUT_INIT;
    const dpo_head_scratch no_scratch = DPO_HEAD_SCRATCH_INIT;
    memset(&layout, 0, sizeof layout);
    memset(&view, 0, sizeof view);
    memset(&out, 0, sizeof out);
    memset(&objective, 0, sizeof objective);
    memset(&pairs, 0, sizeof pairs);
    memset(&answers, 0, sizeof answers);
    memset(&nll, 0, sizeof nll);
    memset(&batch, 0, sizeof batch);
    memset(&tile, 0, sizeof tile);
    memset(&step, 0, sizeof step);
    memset(&head, 0, sizeof head);
    memset(&hidden, 0, sizeof hidden);
    memset(&hidden_mut, 0, sizeof hidden_mut);
    memset(&head_mut, 0, sizeof head_mut);
    memset(&scratch, 0, sizeof scratch);
    for (int i = 0; i < ROWS * VOCAB; i++) logits[i] = (float)(i % 3);
    memset(grads, 0, sizeof grads);
    layout.now = no_layout;
    layout.now.targets = targets;
    layout.now.rows = ROWS;
    layout.now.spans = spans;
    layout.now.count = 2;
    layout.now.vocab = VOCAB;
    view.now = no_view;
    view.now.data = logits;
    view.now.len = ROWS * VOCAB;
    view.now.rows = ROWS;
    view.now.vocab = VOCAB;
    view.now.type = DPO_TYPE_F32;
    out.now = no_out;
    out.now.data = grads;
    out.now.len = ROWS * VOCAB;
    out.now.rows = ROWS;
    out.now.vocab = VOCAB;
    out.now.type = DPO_TYPE_F32;
    objective.now = no_objective;
    objective.now.losses = &loss;
    objective.now.count = 1;
    pairs.now = no_pairs;
    pairs.now.pairs = &pair;
    pairs.now.count = 1;
    pairs.now.reference_sums = zeros;
    pairs.now.divisor = 1.0;
    answers.now = no_answers;
    answers.now.answers = &answer;
    answers.now.count = 1;
    answers.now.reference_sums = zeros;
    answers.now.divisor = 1.0;
    nll.now = no_nll;
    nll.now.divisor = 1.0;
    nll.now.of = DPO_NLL_OF_ANSWERS;
    batch.now = no_batch;
    batch.now.norms = norms;
    batch.now.coefficients = coefficients;
    tile.now = no_tile;
    tile.now.data = grads;
    tile.now.len = VOCAB;
    tile.now.type = DPO_TYPE_F32;
    step.now = no_step;
    step.now.layout = &layout.now;
    step.now.in_place = &out.now;
    step.now.log_probs = log_probs;
    step.now.norms = norms;
    step.now.sequences = sums;
    step.now.d_log_probs = d;
    step.now.coefficients = coefficients;
    for (int i = 0; i < VOCAB * HIDDEN; i++) weights[i] = (float)(i % 5) - 2.0f;
    for (int i = 0; i < ROWS * HIDDEN; i++) states[i] = (float)(i % 4) - 1.0f;
    head.now = no_head;
    head.now.weights = weights;
    head.now.len = VOCAB * HIDDEN;
    head.now.vocab = VOCAB;
    head.now.hidden = HIDDEN;
    head.now.type = DPO_TYPE_F32;
    hidden.now = no_hidden;
    hidden.now.data = states;
    hidden.now.len = ROWS * HIDDEN;
    hidden.now.rows = ROWS;
    hidden.now.hidden = HIDDEN;
    hidden.now.type = DPO_TYPE_F32;
    hidden_mut.now = no_hidden_mut;
    hidden_mut.now.data = rows_of_head;
    hidden_mut.now.len = ROWS * HIDDEN;
    hidden_mut.now.rows = ROWS;
    hidden_mut.now.hidden = HIDDEN;
    hidden_mut.now.type = DPO_TYPE_F32;
    head_mut.now = no_head_mut;
    head_mut.now.weights = d_weights;
    head_mut.now.len = VOCAB * HIDDEN;
    head_mut.now.type = DPO_TYPE_F32;
    scratch.now = no_scratch;
    scratch.now.numbers = numbers;
    scratch.now.len = SCRATCH;
    scratch.now.rows = ROWS;
}

/* Each function that takes one of the structs; the first status that is not DPO_OK. */
static dpo_status forward(dpo_error *error) {
    const dpo_dispatch fastest = {0, 0};
    dpo_status status = dpo_token_log_probs(fastest, &view.now, &layout.now, log_probs, norms, NULL,
                                            NULL, error);
    if (status == DPO_OK) status = dpo_sequence_log_probs(log_probs, &layout.now, NULL, sums, error);
    return status;
}

static dpo_status measure(dpo_error *error) {
    dpo_summary summary;
    dpo_unpaired_summary of_answers;
    dpo_answer_loss found;
    dpo_loss unpaired;
    double d_answers[2];
    memset(&unpaired, 0, sizeof unpaired);
    unpaired.name = DPO_LOSS_APO_ZERO;
    dpo_status status =
        dpo_preference_loss(&objective.now, &pairs.now, sums, 2, losses, d, &summary, error);
    if (status == DPO_OK)
        status = dpo_unpaired_loss(&unpaired, &answers.now, sums, 2, &found, d_answers, &of_answers, error);
    if (status == DPO_OK) status = dpo_nll_loss(&nll.now, sums, 2, d_nll, &nll_summary, error);
    if (status == DPO_OK) status = dpo_token_coefficients(&layout.now, d, NULL, NULL, coefficients, error);
    return status;
}

static dpo_status backward(dpo_error *error) {
    const dpo_dispatch fastest = {0, 0};
    dpo_summary summary;
    dpo_status status = dpo_logit_grads(fastest, &view.now, &layout.now, &batch.now, &out.now, error);
    if (status != DPO_OK) return status;
    tile.now.norm = norms[0];
    status = dpo_tile_grads_in_place(fastest, &tile.now, error);
    if (status != DPO_OK) return status;
    step.now.nll = &nll.now;
    step.now.d_nll = d_nll;
    out.now.data = logits;
    status = dpo_preference_step(fastest, &objective.now, &pairs.now, &step.now, losses, &summary, error);
    out.now.data = grads;
    return status;
}

static dpo_status without_logits(dpo_error *error) {
    const dpo_dispatch fastest = {0, 0};
    size_t len = 0;
    dpo_status status = dpo_head_scratch_len(&head.now, ROWS, &len, error);
    if (status == DPO_OK) status = dpo_head_grads_scratch_len(&head.now, &head_mut.now, ROWS, &len, error);
    if (status != DPO_OK) return status;
    CHECK(len <= SCRATCH);
    status = dpo_head_forward(fastest, &hidden.now, &head.now, &layout.now, log_probs, norms, NULL, NULL,
                              &hidden_mut.now, &scratch.now, error);
    if (status != DPO_OK) return status;
    status = dpo_hidden_grads_in_place(fastest, &hidden.now, &head.now, &layout.now, &batch.now,
                                       &hidden_mut.now, &scratch.now, error);
    if (status != DPO_OK) return status;
    return dpo_head_grads(fastest, &hidden.now, &head.now, &layout.now, &batch.now, &hidden_mut.now,
                          &head_mut.now, &scratch.now, error);
}

static dpo_status all(dpo_error *error) {
    dpo_status status = forward(error);
    if (status == DPO_OK) status = measure(error);
    if (status == DPO_OK) status = backward(error);
    if (status == DPO_OK) status = without_logits(error);
    return status;
}

/* One struct: sizes that no release has, the size of a newer header with and without fields set, and the
 * bytes of its initialiser. */
static void sizes_of(const char *name, void *host, size_t size, int32_t subject) {
    const size_t wrong[] = {0, 1, sizeof(void *), 2 * sizeof(void *), size + 1, 4096 + 64, SIZE_MAX};
    dpo_error error;
    CHECK(all(&error) == DPO_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(host, &wrong[i], sizeof(size_t));
        dpo_status status = all(&error);
        if (status != DPO_ERROR_STRUCT_SIZE || error.subject != subject || error.numbers[0] != size ||
            error.numbers[1] != wrong[i]) {
            fprintf(stderr, "%s: size %lu: status %d, subject %d\n", name, (unsigned long)wrong[i],
                    (int)status, (int)error.subject);
            failures += 1;
        }
        set_up();
    }
    const size_t newer = size + 4 * sizeof(uint64_t);
    unsigned char *bytes = (unsigned char *)host;
    memcpy(host, &newer, sizeof newer);
    CHECK(all(&error) == DPO_OK);
    for (size_t i = size; i < newer; i++) {
        set_up();
        memcpy(host, &newer, sizeof newer);
        bytes[i] = 1;
        dpo_status status = all(&error);
        if (status != DPO_ERROR_STRUCT_SIZE || error.numbers[0] != size || error.numbers[1] != newer) {
            fprintf(stderr, "%s: byte %lu of a later field: status %d\n", name, (unsigned long)i, (int)status);
            failures += 1;
        }
        set_up();
    }
}

static void every_struct(void) {
#define SIZES_OF(type, struct_, subject) \
    printf("%s\n", #type);               \
    sizes_of(#type, &struct_, sizeof(type), subject)
    SIZES_OF(dpo_layout, layout, DPO_BUFFER_LAYOUT);
    SIZES_OF(dpo_logits, view, DPO_BUFFER_LOGITS);
    SIZES_OF(dpo_logits_mut, out, DPO_BUFFER_LOGITS);
    SIZES_OF(dpo_objective, objective, DPO_BUFFER_LOSSES);
    SIZES_OF(dpo_pairs, pairs, DPO_BUFFER_PAIRS);
    SIZES_OF(dpo_unpaired_batch, answers, DPO_BUFFER_UNPAIRED_ANSWERS);
    SIZES_OF(dpo_nll, nll, DPO_BUFFER_NLL);
    SIZES_OF(dpo_grads, batch, DPO_BUFFER_BACKWARD);
    SIZES_OF(dpo_tile, tile, DPO_BUFFER_TILE);
    SIZES_OF(dpo_step, step, DPO_BUFFER_STEP);
    SIZES_OF(dpo_head, head, DPO_BUFFER_HEAD_WEIGHTS);
    SIZES_OF(dpo_hidden, hidden, DPO_BUFFER_HIDDEN);
    SIZES_OF(dpo_hidden_mut, hidden_mut, DPO_BUFFER_HIDDEN_GRADS);
    SIZES_OF(dpo_head_mut, head_mut, DPO_BUFFER_HEAD_GRADS);
    SIZES_OF(dpo_head_scratch, scratch, DPO_BUFFER_HEAD_NUMBERS);
}

/* Hosts whose header ends where the fields begin that have a default: the memory after them is not theirs, and
 * is not read (valgrind looks: each struct is the whole of its allocation). */
static void *older(const void *host, size_t size) {
    void *copy = malloc(size);
    if (copy == NULL) exit(2);
    memcpy(copy, host, size);
    memcpy(copy, &size, sizeof size);
    return copy;
}

static void older_hosts(void) {
    const dpo_dispatch fastest = {0, 0};
    float found[ROWS], expected[ROWS];
    dpo_summary summary;
    dpo_error error;
    set_up();
    /* What lies past the end must not count. */
    layout.now.given = DPO_LAYOUT_IGNORE;
    layout.now.ignore = 0;
    view.now.transform.temperature = 3.0f;
    void *old_layout = older(&layout.now, offsetof(dpo_layout, given));
    void *old_view = older(&view.now, offsetof(dpo_logits, type) + 2 * sizeof(int32_t));
    CHECK(dpo_token_log_probs(fastest, (dpo_logits *)old_view, (dpo_layout *)old_layout, found, norms, NULL,
                              NULL, NULL) == DPO_OK);
    CHECK(dpo_sequence_log_probs(found, (dpo_layout *)old_layout, NULL, sums, NULL) == DPO_OK);
    CHECK(sums[0].count == 1 && sums[1].count == 1);
    set_up();
    CHECK(dpo_token_log_probs(fastest, &view.now, &layout.now, expected, NULL, NULL, NULL, NULL) == DPO_OK);
    CHECK(memcmp(found, expected, sizeof found) == 0);

    objective.now.kind = 77;
    void *old_objective = older(&objective.now, offsetof(dpo_objective, kind));
    CHECK(dpo_preference_loss((dpo_objective *)old_objective, &pairs.now, sums, 2, losses, d, &summary, NULL) ==
          DPO_OK);
    CHECK(summary.loss_sum > 0.1);

    batch.now.unscored = 77;
    void *old_batch = older(&batch.now, offsetof(dpo_grads, unscored));
    CHECK(dpo_logit_grads(fastest, &view.now, &layout.now, (dpo_grads *)old_batch, &out.now, NULL) == DPO_OK);
    step.now.nll_summary = &nll_summary;
    void *old_step = older(&step.now, offsetof(dpo_step, token_weights));
    out.now.data = logits;
    CHECK(dpo_preference_step(fastest, &objective.now, &pairs.now, (dpo_step *)old_step, losses,
                              &summary, &error) == DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_LOSSES && error.numbers[0] == 77);
    CHECK(dpo_preference_step(fastest, (dpo_objective *)old_objective, &pairs.now,
                              (dpo_step *)old_step, losses, &summary, NULL) == DPO_OK);
    set_up();
    CHECK(without_logits(NULL) == DPO_OK);
    memcpy(expected, log_probs, sizeof expected);
    head.now.transform.temperature = 3.0f;
    head.now.bias = logits;
    hidden.now.reserved = 77;
    void *old_head = older(&head.now, offsetof(dpo_head, type) + 2 * sizeof(int32_t));
    CHECK(dpo_head_token_log_probs(fastest, &hidden.now, (dpo_head *)old_head, &layout.now, found, NULL, NULL,
                                   NULL, &scratch.now, NULL) == DPO_ERROR_FIELD_UNUSED);
    hidden.now.reserved = 0;
    CHECK(dpo_head_token_log_probs(fastest, &hidden.now, (dpo_head *)old_head, &layout.now, found, NULL, NULL,
                                   NULL, &scratch.now, NULL) == DPO_OK);
    CHECK(memcmp(found, expected, sizeof found) == 0);
    free(old_head);
    /* Gradients of the bias, which lie past the end. */
    set_up();
    head_mut.now.bias = grads;
    grads[0] = 7.0f;
    void *old_head_mut = older(&head_mut.now, offsetof(dpo_head_mut, type) + 2 * sizeof(int32_t));
    CHECK(dpo_head_grads(fastest, &hidden.now, &head.now, &layout.now, &batch.now, &hidden_mut.now,
                         (dpo_head_mut *)old_head_mut, &scratch.now, NULL) == DPO_OK);
    CHECK(grads[0] == 7.0f && d_weights[0] != 0.0f);
    free(old_head_mut);
    /* Before its last field without a default, a struct is too small. */
    void *cut = older(&layout.now, offsetof(dpo_layout, vocab));
    CHECK(dpo_sequence_log_probs(found, (dpo_layout *)cut, NULL, sums, &error) == DPO_ERROR_STRUCT_SIZE);
    CHECK(error.numbers[0] == sizeof(dpo_layout) && error.numbers[1] == offsetof(dpo_layout, vocab));
    free(cut);
    free(old_step);
    free(old_batch);
    free(old_objective);
    free(old_view);
    free(old_layout);
}

int main(void) {
    set_up();
    every_struct();
    older_hosts();
    return failures == 0 ? 0 : 1;
}
