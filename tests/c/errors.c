/* What C can get wrong, and what the library says of it: the code, the numbers, and no output changed.
 * C99 and C++11. */
#include <dpo_kernel.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ROWS 4
#define VOCAB 3
#define SEQUENCES 2

static int failures = 0;

/* A step, each part of which a case may spoil. */
typedef struct batch {
    float logits[ROWS * VOCAB];
    uint32_t targets[ROWS];
    dpo_span spans[SEQUENCES];
    dpo_pair pair;
    double reference[SEQUENCES];
    float token_weights[ROWS];
    float log_probs[ROWS];
    dpo_row_norm norms[ROWS];
    dpo_sequence_log_prob sums[SEQUENCES];
    double d[SEQUENCES];
    double coefficients[ROWS];
    double d_nll[SEQUENCES];
    dpo_pair_loss losses[1];
    dpo_summary summary;
    dpo_loss loss;
    dpo_dispatch dispatch;
    dpo_objective objective;
    dpo_logits_mut view;
    dpo_layout layout;
    dpo_pairs pairs;
    dpo_step step;
    dpo_nll nll;
    size_t order[SEQUENCES];
    dpo_pair_loss *losses_to;
    dpo_summary *to;
} batch;

static void set_up(batch *b) {
    static const float logits[ROWS * VOCAB] = {0.5f, 1.0f,  -1.0f, 2.0f, 0.0f,  -0.5f,
                                               1.5f, -2.0f, 0.25f, 3.0f, 0.75f, 1.25f};
    const dpo_span first = {0, 2}, second = {2, 4};
    memset(b, 0, sizeof *b);
    memcpy(b->logits, logits, sizeof logits);
    b->targets[1] = 1;
    b->targets[2] = 2;
    b->spans[0] = first;
    b->spans[1] = second;
    b->pair.rejected = 1;
    b->reference[0] = -1.0;
    b->reference[1] = -2.0;
    for (int i = 0; i < ROWS; i++) b->token_weights[i] = 1.0f;
    b->dispatch.level = DPO_LEVEL_BASELINE;
    b->dispatch.arithmetic = DPO_ARITHMETIC_PORTABLE;
    b->objective.size = sizeof b->objective;
    b->objective.losses = &b->loss;
    b->objective.count = 1;
    b->view.size = sizeof b->view;
    b->view.data = b->logits;
    b->view.len = ROWS * VOCAB;
    b->view.rows = ROWS;
    b->view.vocab = VOCAB;
    b->view.type = DPO_TYPE_F32;
    b->layout.size = sizeof b->layout;
    b->layout.targets = b->targets;
    b->layout.rows = ROWS;
    b->layout.spans = b->spans;
    b->layout.count = SEQUENCES;
    b->layout.vocab = VOCAB;
    b->pairs.size = sizeof b->pairs;
    b->pairs.pairs = &b->pair;
    b->pairs.count = 1;
    b->pairs.reference_sums = b->reference;
    b->pairs.divisor = 1.0;
    b->step.size = sizeof b->step;
    b->step.layout = &b->layout;
    b->step.in_place = &b->view;
    b->step.log_probs = b->log_probs;
    b->step.norms = b->norms;
    b->step.sequences = b->sums;
    b->step.d_log_probs = b->d;
    b->step.coefficients = b->coefficients;
    b->step.token_weights = b->token_weights;
    b->nll.size = sizeof b->nll;
    b->nll.divisor = 1.0;
    b->losses_to = b->losses;
    b->to = &b->summary;
}

static dpo_status step(batch *b, dpo_error *error) {
    return dpo_preference_step(b->dispatch, &b->objective, &b->pairs, &b->step, b->losses_to, b->to, error);
}

/* Spoils a batch in one place, and expects a code, a subject, and nothing written. */
#define REFUSED(code, subject_, spoil)                                                              \
    do {                                                                                            \
        batch b, before;                                                                            \
        dpo_error error;                                                                            \
        set_up(&b);                                                                                 \
        spoil;                                                                                      \
        before = b;                                                                                 \
        dpo_status status = step(&b, &error);                                                       \
        if (status != (code) || error.status != status || error.subject != (subject_)) {            \
            fprintf(stderr, "line %d: %s: status %d, subject %d\n", __LINE__, #spoil, (int)status,  \
                    (int)error.subject);                                                            \
            failures += 1;                                                                          \
        }                                                                                           \
        if (memcmp(&b, &before, sizeof b) != 0) {                                                   \
            fprintf(stderr, "line %d: %s: something was written\n", __LINE__, #spoil);              \
            failures += 1;                                                                          \
        }                                                                                           \
        if (step(&b, NULL) != status) {                                                             \
            fprintf(stderr, "line %d: %s: another status without error\n", __LINE__, #spoil);       \
            failures += 1;                                                                          \
        }                                                                                           \
    } while (0)

#define CHECK(condition)                                             \
    do {                                                             \
        if (!(condition)) {                                          \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);  \
            failures += 1;                                           \
        }                                                            \
    } while (0)

/* One byte past alignment. */
#define SKEW(type, pointer) ((type *)(void *)((char *)(void *)(pointer) + 1))

static void pointers(void) {
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_LOGITS, b.view.data = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_TARGETS, b.layout.targets = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_SPANS, b.layout.spans = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_PAIRS, b.pairs.pairs = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_TOKEN_LOG_PROBS, b.step.log_probs = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_ROW_NORMS, b.step.norms = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_SEQUENCES, b.step.sequences = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_SEQUENCE_GRADS, b.step.d_log_probs = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_PAIR_LOSSES, b.losses_to = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_TOKEN_COEFFICIENTS, b.step.coefficients = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_LAYOUT, b.step.layout = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_LOGITS, b.step.in_place = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_OUT, b.to = NULL);
    REFUSED(DPO_ERROR_NULL, DPO_BUFFER_LOSSES, b.objective.losses = NULL);
    REFUSED(DPO_ERROR_MISALIGNED, DPO_BUFFER_LOGITS, b.view.data = (char *)b.view.data + 1);
    REFUSED(DPO_ERROR_MISALIGNED, DPO_BUFFER_TARGETS,
            b.layout.targets = SKEW(uint32_t, b.targets));
    REFUSED(DPO_ERROR_MISALIGNED, DPO_BUFFER_SPANS, b.layout.spans = SKEW(dpo_span, b.spans));
    REFUSED(DPO_ERROR_MISALIGNED, DPO_BUFFER_TOKEN_WEIGHTS, b.step.token_weights = SKEW(float, b.token_weights));
    REFUSED(DPO_ERROR_MISALIGNED, DPO_BUFFER_OUT, b.to = SKEW(dpo_summary, &b.summary));
    REFUSED(DPO_ERROR_TOO_LONG, DPO_BUFFER_LOGITS, b.view.len = SIZE_MAX);
    REFUSED(DPO_ERROR_TOO_LONG, DPO_BUFFER_LOGITS, b.view.len = SIZE_MAX / 8 + 1);
    REFUSED(DPO_ERROR_TOO_LONG, DPO_BUFFER_PAIR_LOSSES, b.pairs.count = SIZE_MAX);
    REFUSED(DPO_ERROR_TOO_LONG, DPO_BUFFER_TARGETS, b.layout.rows = SIZE_MAX / 4);
    REFUSED(DPO_ERROR_TOO_LONG, DPO_BUFFER_SPANS, b.layout.count = SIZE_MAX / 2);
    REFUSED(DPO_ERROR_OVERLAP, DPO_BUFFER_LOGITS, b.step.log_probs = b.logits);
    REFUSED(DPO_ERROR_OVERLAP, DPO_BUFFER_LOGITS, b.step.token_weights = b.logits + 8);
    REFUSED(DPO_ERROR_OVERLAP, DPO_BUFFER_SEQUENCE_GRADS, b.step.d_log_probs = b.reference);
    REFUSED(DPO_ERROR_OVERLAP, DPO_BUFFER_TOKEN_LOG_PROBS, b.step.log_probs = b.token_weights);
    REFUSED(DPO_ERROR_OVERLAP, DPO_BUFFER_SPAN_ORDER, b.layout.order = (size_t *)(void *)b.spans);
    REFUSED(DPO_ERROR_MISALIGNED, DPO_BUFFER_SPAN_ORDER, b.layout.order = SKEW(size_t, b.order));
}

#define GIVE(option, parameter_, value_) \
    (b.loss.options[option].parameter = (parameter_), b.loss.options[option].value = (value_))

static void numbers(void) {
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_DISPATCH, b.dispatch.level = 4);
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_DISPATCH, b.dispatch.arithmetic = -1);
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_TYPE, b.view.type = 4);
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_NAME, b.loss.name = 1000);
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_NAME, b.loss.name = DPO_LOSS_SFT);
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_LOSSES, b.objective.kind = 9);
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_LAYOUT, b.layout.given = 2);
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_LAYOUT, b.layout.ignore = DPO_IGNORE_INDEX);
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_LOSSES, b.objective.reserved = 1);
    /* Numbers that are no parameter, and parameters that are no option. */
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_OPTIONS, b.loss.options[0].parameter = 1000);
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_OPTIONS, b.loss.options[0].parameter = -1);
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_OPTIONS, GIVE(0, DPO_PARAMETER_DIVISOR, 1.0));
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_OPTIONS, GIVE(0, DPO_PARAMETER_ROBUST_SMOOTHING, 0.1));
    /* A value without a parameter, and one given twice. */
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_OPTIONS, b.loss.options[7].value = 0.5);
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_OPTIONS,
            (GIVE(0, DPO_PARAMETER_BETA, 0.1), GIVE(5, DPO_PARAMETER_BETA, 0.1)));
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_OPTIONS, GIVE(0, DPO_PARAMETER_DIVERGENCE, 5));
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_OPTIONS, GIVE(0, DPO_PARAMETER_DIVERGENCE, 0.5));
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_OPTIONS, GIVE(0, DPO_PARAMETER_DIVERGENCE, NAN));
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_OPTIONS, GIVE(0, DPO_PARAMETER_DIVERGENCE_ALPHA, 0.5));
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_OPTIONS,
            (GIVE(0, DPO_PARAMETER_DIVERGENCE_ALPHA, 0.5), GIVE(1, DPO_PARAMETER_DIVERGENCE, 1)));
    REFUSED(DPO_ERROR_PARAMETER_MISSING, DPO_PARAMETER_DIVERGENCE_ALPHA,
            GIVE(1, DPO_PARAMETER_DIVERGENCE, DPO_DIVERGENCE_ALPHA_PAPER));
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_NAME,
            (b.loss.name = DPO_LOSS_A2PO, GIVE(0, DPO_PARAMETER_ADVANTAGE, 0.5)));
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_REFERENCE, b.pairs.reference_sequences = b.sums);
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_MIXTURE_TERMS, b.objective.term_weights = b.reference);
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_NLL, b.step.d_nll = b.reference);
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_STEP, b.step.reserved = 1);
    REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_STEP, b.step.grads = &b.view);
    REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_STEP, b.step.unscored = 2);
    REFUSED(DPO_ERROR_PARAMETER_UNUSED, DPO_PARAMETER_REFERENCE_KL,
            GIVE(0, DPO_PARAMETER_REFERENCE_KL, 0.0));
    REFUSED(DPO_ERROR_PARAMETER, DPO_PARAMETER_BETA, GIVE(0, DPO_PARAMETER_BETA, 0.0));
    REFUSED(DPO_ERROR_PARAMETER, DPO_PARAMETER_DIVISOR, b.pairs.divisor = 0.0);
    REFUSED(DPO_ERROR_PARAMETER, DPO_PARAMETER_SCALE, b.view.transform.scale = -1.0f);
    REFUSED(DPO_ERROR_PARAMETER, DPO_PARAMETER_TEMPERATURE, b.view.transform.temperature = (float)NAN);
    REFUSED(DPO_ERROR_PARAMETER, DPO_PARAMETER_SOFTCAP, b.view.transform.softcap = -1.0f);
    REFUSED(DPO_ERROR_PARAMETER_MISSING, DPO_PARAMETER_REFERENCE_KL, b.loss.name = DPO_LOSS_KTO);
    REFUSED(DPO_ERROR_REFERENCE_MISSING, 0, b.pairs.reference_sums = NULL);
    REFUSED(DPO_ERROR_INPUT_UNUSED, DPO_BUFFER_REFERENCE, b.loss.name = DPO_LOSS_CPO);
    REFUSED(DPO_ERROR_LENGTH, DPO_BUFFER_LOGITS, b.view.rows = ROWS + 1);
    REFUSED(DPO_ERROR_SHAPE_MISMATCH, 0, (b.view.rows = ROWS - 1, b.view.len -= VOCAB));
    REFUSED(DPO_ERROR_SHAPE_MISMATCH, 0, b.layout.vocab = VOCAB + 1);
    REFUSED(DPO_ERROR_EMPTY_VOCABULARY, 0, b.layout.vocab = 0);
    REFUSED(DPO_ERROR_LENGTH, DPO_BUFFER_PAIR_ORDER, b.loss.name = DPO_LOSS_AOT);
    REFUSED(DPO_ERROR_SHAPE_OVERFLOW, 0, b.view.rows = SIZE_MAX);
    REFUSED(DPO_ERROR_SHAPE_OVERFLOW, 0, b.view.stride = SIZE_MAX);
    REFUSED(DPO_ERROR_EMPTY_VOCABULARY, 0, b.view.vocab = 0);
    REFUSED(DPO_ERROR_STRIDE_BELOW_VOCABULARY, 0, b.view.stride = VOCAB - 1);
    REFUSED(DPO_ERROR_TARGET_OUT_OF_RANGE, 0, b.targets[3] = VOCAB);
    REFUSED(DPO_ERROR_SPAN_OUT_OF_RANGE, 0, b.spans[1].end = ROWS + 1);
    REFUSED(DPO_ERROR_SPAN_OUT_OF_RANGE, 0, b.spans[1].start = SIZE_MAX);
    REFUSED(DPO_ERROR_SPANS_OVERLAP, 0, b.spans[1].start = 1);
    REFUSED(DPO_ERROR_SPANS_NOT_ASCENDING, 0,
            (b.spans[0].start = 2, b.spans[0].end = 4, b.spans[1].start = 0, b.spans[1].end = 2));
    REFUSED(DPO_ERROR_NO_SCORED_TOKENS, 0, b.spans[1].end = 2);
    REFUSED(DPO_ERROR_SEQUENCE_OUT_OF_RANGE, 0, b.pair.chosen = SIZE_MAX);
    REFUSED(DPO_ERROR_PAIR_OF_ONE_SEQUENCE, 0, b.pair.chosen = 1);
    REFUSED(DPO_ERROR_INVALID_VALUE, DPO_BUFFER_TOKEN_WEIGHTS, b.token_weights[2] = (float)NAN);
}

/* An NLL term beside the loss: what is wrong with it, and where its buffers are. */
static void terms(void) {
#define NLL_REFUSED(code, subject, spoil) \
    REFUSED(code, subject, (b.step.nll = &b.nll, b.step.d_nll = b.d_nll, spoil))
    NLL_REFUSED(DPO_ERROR_NULL, DPO_BUFFER_NLL_GRADS, b.step.d_nll = NULL);
    NLL_REFUSED(DPO_ERROR_OVERLAP, DPO_BUFFER_SEQUENCE_GRADS, b.step.d_nll = b.d);
    NLL_REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_NLL, b.nll.per = 2);
    NLL_REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_NLL, b.nll.term = 2);
    NLL_REFUSED(DPO_ERROR_UNKNOWN_VALUE, DPO_BUFFER_NLL, b.nll.of = 2);
    NLL_REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_NLL, b.nll.reserved = 1);
    NLL_REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_NLL, b.nll.pairs = &b.pair);
    NLL_REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_NLL, b.nll.count = 1);
    NLL_REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_NLL, b.nll.answers = b.order);
    NLL_REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_NLL, (b.nll.of = DPO_NLL_OF_ANSWERS, b.nll.pairs = &b.pair));
    NLL_REFUSED(DPO_ERROR_FIELD_UNUSED, DPO_BUFFER_NLL,
                (b.nll.term = DPO_NLL_TERM_XPO, b.nll.per = DPO_NLL_PER_SEQUENCE));
    NLL_REFUSED(DPO_ERROR_NULL, DPO_BUFFER_NLL_ANSWERS, (b.nll.of = DPO_NLL_OF_ANSWERS, b.nll.count = 1));
    NLL_REFUSED(DPO_ERROR_ANSWER_OUT_OF_RANGE, 0,
                (b.nll.of = DPO_NLL_OF_ANSWERS, b.nll.answers = b.order, b.nll.count = 1, b.nll.weight = 1.0,
                 b.order[0] = SEQUENCES));
    NLL_REFUSED(DPO_ERROR_PARAMETER, DPO_PARAMETER_NLL_WEIGHT, b.nll.weight = -1.0);
    NLL_REFUSED(DPO_ERROR_PARAMETER, DPO_PARAMETER_EXPLORATION_WEIGHT,
                (b.nll.term = DPO_NLL_TERM_XPO, b.nll.weight = -1.0));
    NLL_REFUSED(DPO_ERROR_PARAMETER, DPO_PARAMETER_DIVISOR, b.nll.divisor = 0.0);
    NLL_REFUSED(DPO_ERROR_STRUCT_SIZE, DPO_BUFFER_NLL, b.nll.size = 8);
}

/* Negative targets, as trainers write them, and what the error says of them. */
static void negative_targets(void) {
    batch b;
    dpo_error error;
    set_up(&b);
    b.targets[3] = (uint32_t)-1;
    CHECK(step(&b, &error) == DPO_ERROR_TARGET_OUT_OF_RANGE);
    CHECK(error.numbers[0] == 3 && error.numbers[1] == SIZE_MAX && error.numbers[2] == VOCAB);
    CHECK(error.value == -1.0);
    CHECK(strstr(dpo_status_message(error.status), "DPO_LAYOUT_IGNORE") != NULL);
    b.layout.given = DPO_LAYOUT_IGNORE;
    b.layout.ignore = (uint32_t)-1;
    CHECK(step(&b, &error) == DPO_OK);
    CHECK(b.sums[0].count == 2 && b.sums[1].count == 1);
    set_up(&b);
    b.targets[3] = (uint32_t)-100;
    CHECK(step(&b, &error) == DPO_OK && b.sums[1].count == 1);
    set_up(&b);
    b.targets[3] = VOCAB;
    CHECK(step(&b, &error) == DPO_ERROR_TARGET_OUT_OF_RANGE && error.value == VOCAB);
}

/* What is not finite is named after the rest is done. */
static void not_finite(void) {
    batch b;
    dpo_error error;
    set_up(&b);
    b.logits[4] = INFINITY;
    b.logits[10] = (float)NAN;
    CHECK(step(&b, &error) == DPO_ERROR_NON_FINITE_ROWS);
    CHECK(error.numbers[0] == 1 && error.numbers[1] == 2);
    CHECK(b.log_probs[0] < 0.0f && b.logits[0] == 0.5f);
    set_up(&b);
    b.reference[1] = NAN;
    CHECK(step(&b, &error) == DPO_ERROR_NON_FINITE_PAIRS && error.numbers[1] == 1);
    set_up(&b);
    b.spans[0].end = 3;
    CHECK(step(&b, &error) == DPO_ERROR_SPANS_OVERLAP && error.numbers[0] == 0 && error.numbers[1] == 1);
    set_up(&b);
    CHECK(step(&b, &error) == DPO_OK);
    CHECK(error.status == 0 && error.subject == 0 && error.numbers[0] == 0 && error.value == 0.0);
}

/* Nothing at all may be NULL. */
static void nothing(void) {
    const dpo_transform none = DPO_TRANSFORM_NONE;
    const dpo_logits view = {sizeof view, NULL, 0, 0, 7, 0, DPO_TYPE_BF16, none};
    const dpo_logits_mut in_place = {sizeof in_place, NULL, 0, 0, 7, 0, DPO_TYPE_F32, none};
    dpo_layout no = DPO_LAYOUT_INIT;
    const dpo_pairs pairs = {sizeof pairs, NULL, 0, NULL, NULL, NULL, NULL, 1.0};
    dpo_step step = DPO_STEP_INIT;
    const dpo_grads grads = DPO_GRADS_INIT;
    const dpo_unpaired_batch answers = {sizeof answers, NULL, 0, NULL, NULL, NULL, NULL, 1.0};
    dpo_nll nll = DPO_NLL_INIT;
    const dpo_dispatch fastest = dpo_detect();
    dpo_unpaired_summary labelled;
    dpo_nll_summary likelihood;
    dpo_loss loss;
    dpo_objective objective = {sizeof objective, &loss, 1, DPO_OBJECTIVE_ONE, 0, NULL, NULL, 0};
    dpo_summary summary;
    dpo_row_stats stats;
    memset(&loss, 0, sizeof loss);
    no.vocab = 7;
    step.layout = &no;
    step.in_place = &in_place;
    nll.divisor = 1.0;
    CHECK(dpo_token_log_probs(fastest, &view, &no, NULL, NULL, NULL, NULL, NULL) == DPO_OK);
    CHECK(dpo_token_coefficients(&no, NULL, NULL, NULL, NULL, NULL) == DPO_OK);
    CHECK(dpo_targets_of_i64(NULL, 0, -100, NULL, NULL) == DPO_OK);
    CHECK(dpo_sequence_log_probs(NULL, &no, NULL, NULL, NULL) == DPO_OK);
    CHECK(dpo_preference_loss(&objective, &pairs, NULL, 0, NULL, NULL, &summary, NULL) == DPO_OK);
    CHECK(summary.pairs == 0 && summary.loss_sum == 0.0);
    CHECK(dpo_logit_grads(fastest, &view, &no, &grads, &in_place, NULL) == DPO_OK);
    CHECK(dpo_logit_grads_in_place(fastest, &in_place, &no, &grads, NULL) == DPO_OK);
    CHECK(dpo_preference_step(fastest, &objective, &pairs, &step, NULL, &summary, NULL) == DPO_OK);
    loss.name = DPO_LOSS_CPO;
    CHECK(dpo_preference_loss(&objective, &pairs, NULL, 0, NULL, NULL, &summary, NULL) == DPO_OK);
    loss.name = DPO_LOSS_APO_ZERO;
    CHECK(dpo_unpaired_loss(&loss, &answers, NULL, 0, NULL, NULL, &labelled, NULL) == DPO_OK);
    CHECK(dpo_unpaired_step(fastest, &loss, &answers, &step, NULL, &labelled, NULL) == DPO_OK);
    CHECK(dpo_nll_loss(&nll, NULL, 0, NULL, &likelihood, NULL) == DPO_OK);
    CHECK(dpo_ld_token_weights(0.5, &no, NULL, 0, NULL, NULL) == DPO_OK);
    CHECK(dpo_wpo_pair_weights(DPO_WPO_UNBOUNDED, &no, NULL, 0, NULL, NULL, NULL, NULL) == DPO_OK);
    CHECK(dpo_spans_of_batch(3, NULL, 0, NULL) == DPO_OK);
    CHECK(dpo_spans_of_batch(3, NULL, 1, NULL) == DPO_ERROR_NULL);
    CHECK(dpo_spans_of_offsets(NULL, 0, NULL, 0, NULL) == DPO_ERROR_OFFSETS_NOT_ASCENDING);
    CHECK(dpo_row_stats_new(&none, 0, 0, &stats, NULL) == DPO_OK);
    CHECK(dpo_row_stats_fold(fastest, &stats, DPO_TYPE_F16, NULL, 0, 9, NULL) == DPO_OK);
    CHECK(dpo_token_log_probs(fastest, NULL, &no, NULL, NULL, NULL, NULL, NULL) == DPO_ERROR_NULL);
}

/* Row statistics that another machine may have spoilt on the way. */
static void statistics(void) {
    const dpo_transform none = DPO_TRANSFORM_NONE;
    const dpo_dispatch fastest = dpo_detect();
    const float row[3] = {1.0f, 2.0f, 3.0f};
    dpo_row_stats good, bad;
    dpo_row_result result;
    dpo_error error;
    CHECK(dpo_row_stats_new(&none, DPO_ROW_TARGET, 1, &good, NULL) == DPO_OK);
    CHECK(dpo_row_stats_new(&none, DPO_ROW_TARGET_SEEN, 0, &bad, NULL) == DPO_ERROR_UNKNOWN_VALUE);
    CHECK(dpo_row_stats_new(&none, 0, 1, &bad, NULL) == DPO_ERROR_FIELD_UNUSED);
    CHECK(dpo_row_stats_fold(fastest, &good, DPO_TYPE_F32, row, 3, 0, NULL) == DPO_OK);
    for (int i = 0; i < 9; i++) {
        bad = good;
        if (i == 0) bad.flags |= UINT32_C(1) << 30;
        if (i == 1) bad.tops[0] = 0;
        if (i == 2) bad.shift = (float)NAN;
        if (i == 3) bad.columns = UINT64_MAX;
        if (i == 4) bad.flags &= ~DPO_ROW_TARGET;
        if (i == 5) bad.tops[0] = 5;
        if (i == 6) bad.others[1] = -1;
        if (i == 7) bad.columns = 0;
        if (i == 8) bad.reserved = 1;
        dpo_row_stats before = bad, other = good;
        CHECK(dpo_row_stats_fold(fastest, &bad, DPO_TYPE_F32, row, 3, 3, &error) == DPO_ERROR_ROW_STATS);
        CHECK(dpo_row_stats_merge(&bad, &other, NULL) == DPO_ERROR_ROW_STATS);
        CHECK(dpo_row_stats_merge(&other, &bad, NULL) == DPO_ERROR_ROW_STATS);
        CHECK(dpo_row_stats_finish(&bad, &result, NULL) == DPO_ERROR_ROW_STATS);
        CHECK(memcmp(&bad, &before, sizeof bad) == 0 && memcmp(&other, &good, sizeof good) == 0);
    }
    bad = good;
    bad.reserved = 1;
    uint8_t bytes[DPO_ROW_BYTES] = {7};
    CHECK(dpo_row_stats_write_bytes(&bad, bytes, sizeof bytes, NULL) == DPO_ERROR_ROW_STATS && bytes[0] == 7);
    bad = good;
    CHECK(dpo_row_stats_merge(&bad, &good, NULL) == DPO_ERROR_MERGE_OF_DIFFERENT_ROWS);
    CHECK(dpo_row_stats_merge(&bad, &bad, NULL) == DPO_ERROR_OVERLAP);
    bad.flags |= DPO_ROW_DETAILS;
    CHECK(dpo_row_stats_merge(&bad, &good, NULL) == DPO_ERROR_MERGE_OF_DIFFERENT_ROWS);
}

/* Bytes of row statistics that another machine may have written otherwise, or the way spoilt. */
static void bytes_of_statistics(void) {
    const dpo_transform none = DPO_TRANSFORM_NONE;
    const dpo_transform warm = {0.0f, 0.0f, 2.0f}, capped = {0.0f, 30.0f, 0.0f};
    const float row[3] = {1.0f, 2.0f, 6.0f};
    uint8_t bytes[DPO_ROW_DETAIL_BYTES], long_bytes[DPO_ROW_DETAIL_BYTES + 1];
    dpo_row_stats made, read, before;
    dpo_error error;
    CHECK(dpo_row_stats_new(&none, DPO_ROW_TARGET | DPO_ROW_DETAILS, 1, &made, NULL) == DPO_OK);
    CHECK(dpo_row_stats_fold(dpo_detect(), &made, DPO_TYPE_F32, row, 3, 0, NULL) == DPO_OK);
    CHECK(dpo_row_stats_write_bytes(&made, long_bytes, sizeof long_bytes, &error) == DPO_ERROR_LENGTH);
    CHECK(error.subject == DPO_BUFFER_ROW_BYTES && error.numbers[0] == DPO_ROW_DETAIL_BYTES);
    CHECK(dpo_row_stats_write_bytes(&made, bytes, DPO_ROW_BYTES, NULL) == DPO_ERROR_LENGTH);
    CHECK(dpo_row_stats_write_bytes(&made, NULL, sizeof bytes, NULL) == DPO_ERROR_NULL);
    CHECK(dpo_row_stats_write_bytes(&made, (uint8_t *)&made, sizeof bytes, NULL) == DPO_ERROR_OVERLAP);
    CHECK(dpo_row_stats_write_bytes(&made, bytes, sizeof bytes, NULL) == DPO_OK);
    memset(&before, 0x5a, sizeof before);
    read = before;
    CHECK(dpo_row_stats_from_bytes(&none, bytes, sizeof bytes - 1, &read, NULL) == DPO_ERROR_LENGTH);
    CHECK(dpo_row_stats_from_bytes(&none, bytes, DPO_ROW_BYTES, &read, NULL) == DPO_ERROR_ROW_BYTES);
    CHECK(dpo_row_stats_from_bytes(&warm, bytes, sizeof bytes, &read, NULL) ==
          DPO_ERROR_MERGE_OF_DIFFERENT_ROWS);
    CHECK(dpo_row_stats_from_bytes(&capped, bytes, sizeof bytes, &read, NULL) ==
          DPO_ERROR_MERGE_OF_DIFFERENT_ROWS);
    for (int i = 0; i < 8; i++) {
        /* A version, magic, a flag, columns, a sum, its place, a largest value of NaN, an end. */
        static const size_t at[8] = {3, 0, 7, 27, 43, 63, 151, 156}, named[8] = {0, 0, 4, 20, 20, 20, 20, 156};
        static const uint8_t bad[8] = {2, 'D', 0x80, 0xff, 0x80, 0x77, 0x7f, 1};
        const uint8_t kept = bytes[at[i]];
        bytes[at[i]] = bad[i];
        CHECK(dpo_row_stats_from_bytes(&none, bytes, sizeof bytes, &read, &error) == DPO_ERROR_ROW_BYTES);
        CHECK(error.numbers[0] == named[i]);
        bytes[at[i]] = kept;
    }
    CHECK(memcmp(&read, &before, sizeof read) == 0);
    CHECK(dpo_row_stats_from_bytes(&none, bytes, sizeof bytes, &read, NULL) == DPO_OK);
    CHECK(memcmp(&read, &made, sizeof read) == 0);
}

static void texts(void) {
    for (int32_t status = -2; status < 200; status++) CHECK(strlen(dpo_status_message(status)) > 5);
    CHECK(strcmp(dpo_status_message(99), dpo_status_message(-1)) == 0);
    CHECK(strcmp(dpo_status_message(DPO_ERROR_NULL), dpo_status_message(99)) != 0);
    CHECK(strcmp(dpo_buffer_name(DPO_BUFFER_LOGITS), "logits") == 0);
    CHECK(strcmp(dpo_parameter_name(DPO_PARAMETER_BETA), "beta") == 0);
    CHECK(dpo_buffer_name(0) == NULL && dpo_parameter_name(1000) == NULL && dpo_loss_name(-1) == NULL);
    int32_t name = -7;
    CHECK(dpo_loss_parse("dpop", 4, &name, NULL) == DPO_ERROR_UNKNOWN_LOSS && name == -7);
    CHECK(dpo_loss_parse("sigmoid!", 7, &name, NULL) == DPO_OK && name == DPO_LOSS_SIGMOID);
    CHECK(dpo_loss_parse("\xff", 1, &name, NULL) == DPO_ERROR_UNKNOWN_LOSS);
    dpo_answer wrong = {0, 2};
    const double reference = -1.0;
    dpo_unpaired_batch answers = {sizeof answers, &wrong, 1, &reference, NULL, NULL, NULL, 1.0};
    const dpo_sequence_log_prob policy = {-1.5, 1};
    dpo_answer_loss found;
    dpo_unpaired_summary summary;
    double d;
    dpo_loss loss;
    dpo_error error;
    memset(&loss, 0, sizeof loss);
    loss.name = DPO_LOSS_APO_ZERO;
    CHECK(dpo_unpaired_loss(&loss, &answers, &policy, 1, &found, &d, &summary, &error) ==
          DPO_ERROR_UNKNOWN_LABEL);
    CHECK(error.value == 2.0);
    wrong.label = -1;
    CHECK(dpo_unpaired_loss(&loss, &answers, &policy, 1, &found, &d, &summary, &error) ==
          DPO_ERROR_UNKNOWN_LABEL);
    CHECK(error.value == -1.0);
    wrong.label = DPO_DESIRABLE;
    loss.name = DPO_LOSS_SIGMOID;
    CHECK(dpo_unpaired_loss(&loss, &answers, &policy, 1, &found, &d, &summary, &error) ==
          DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_NAME);

    /* A loss for each answer stands in the place of the one for all, and is looked at as that is. */
    found.loss = 7.5;
    answers.losses = &loss;
    CHECK(dpo_unpaired_loss(NULL, &answers, &policy, 1, &found, &d, &summary, &error) ==
          DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_NAME);
    loss.name = DPO_LOSS_APO_ZERO;
    CHECK(dpo_unpaired_loss(&loss, &answers, &policy, 1, &found, &d, &summary, &error) ==
          DPO_ERROR_FIELD_UNUSED);
    CHECK(error.subject == DPO_BUFFER_ANSWER_LOSS_KINDS && found.loss == 7.5);
    CHECK(dpo_unpaired_loss(NULL, &answers, &policy, 1, &found, &d, &summary, &error) == DPO_OK);
    CHECK(found.loss > 0.0 && found.loss < 1.0);
    answers.losses = NULL;
    CHECK(dpo_unpaired_loss(NULL, &answers, &policy, 1, &found, &d, &summary, &error) == DPO_ERROR_NULL);
    CHECK(error.subject == DPO_BUFFER_ARGUMENT);
}

int main(void) {
    pointers();
    numbers();
    terms();
    negative_targets();
    not_finite();
    nothing();
    statistics();
    bytes_of_statistics();
    texts();
    return failures == 0 ? 0 : 1;
}
