/* Steps over pairs and over unpaired answers, in place and with gradients in another buffer, with NLL terms,
 * weights of 0, and layouts from trainers' labels and offsets. Prints one figure a line, by its bits, for the
 * test to compare with the Rust functions to the bit; checks by itself what can be computed by hand. C99 and
 * C++11. */
#include <dpo_kernel.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ROWS 6
#define VOCAB 4
#define STRIDE 5
#define SEQUENCES 4
#define PAIRS 2

static int failures = 0;

#define CHECK(condition)                                            \
    do {                                                            \
        if (!(condition)) {                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            failures += 1;                                          \
        }                                                           \
    } while (0)

static void figure(const char *name, double value) {
    uint64_t bits = UINT64_C(0x7ff8000000000000);
    if (!isnan(value)) memcpy(&bits, &value, sizeof bits);
    printf("%s %08lx%08lx\n", name, (unsigned long)(bits >> 32),
           (unsigned long)(bits & UINT64_C(0xffffffff)));
}

static const dpo_dispatch PORTABLE = {DPO_LEVEL_BASELINE, DPO_ARITHMETIC_PORTABLE};

/* Labels as trainers keep them: row 2 is not scored. */
static const int64_t LABELS[ROWS] = {1, 0, -100, 3, 2, 1};
/* The last sequence has no rows, as batches of fixed shape have them. */
static const int32_t OFFSETS[SEQUENCES + 1] = {0, 2, 4, 6, 6};
static const dpo_pair PREFERENCES[PAIRS] = {{0, 1}, {2, 1}};
static const double REFERENCE[SEQUENCES] = {-3.5, -1.25, -2.0, 0.0};

static uint32_t targets[ROWS];
static dpo_span spans[SEQUENCES];
static float floats[ROWS * STRIDE], grads[ROWS * STRIDE];
static uint16_t brains[ROWS * STRIDE];
static float log_probs[ROWS];
static dpo_row_norm norms[ROWS];
static dpo_sequence_log_prob sums[SEQUENCES];
static double d[SEQUENCES], d_nll[SEQUENCES], coefficients[ROWS];
static dpo_pair_loss losses[PAIRS];
static dpo_summary summary;
static dpo_nll_summary nll_summary;
static dpo_token_summary tokens;
static dpo_layout layout;
static dpo_logits view;
static dpo_logits_mut in_place, out;
static dpo_loss loss;
static dpo_objective objective;
static dpo_pairs pairs;
static dpo_step step;

/* Eighths, which bfloat16 holds exactly: its bits are the upper half of the float's. Padding holds 9. */
static void set_up(void) {
    const dpo_layout no_layout = DPO_LAYOUT_INIT;
    const dpo_logits no_logits = DPO_LOGITS_INIT;
    const dpo_logits_mut no_place = DPO_LOGITS_MUT_INIT;
    const dpo_objective no_objective = DPO_OBJECTIVE_INIT;
    const dpo_pairs no_pairs = DPO_PAIRS_INIT;
    const dpo_step no_step = DPO_STEP_INIT;
    for (int i = 0; i < ROWS * STRIDE; i++) {
        uint32_t bits;
        floats[i] = i % STRIDE < VOCAB ? (float)((i * 37 + 11) % 64) / 8.0f - 4.0f : 9.0f;
        memcpy(&bits, &floats[i], sizeof bits);
        brains[i] = (uint16_t)(bits >> 16);
        grads[i] = 7.0f;
    }
    memset(coefficients, 0, sizeof coefficients);
    memset(d_nll, 0, sizeof d_nll);
    memset(&loss, 0, sizeof loss);
    layout = no_layout;
    layout.targets = targets;
    layout.rows = ROWS;
    layout.spans = spans;
    layout.count = SEQUENCES;
    layout.vocab = VOCAB;
    view = no_logits;
    view.data = brains;
    view.len = ROWS * STRIDE;
    view.rows = ROWS;
    view.vocab = VOCAB;
    view.stride = STRIDE;
    view.type = DPO_TYPE_BF16;
    in_place = no_place;
    in_place.data = floats;
    in_place.len = ROWS * STRIDE;
    in_place.rows = ROWS;
    in_place.vocab = VOCAB;
    in_place.stride = STRIDE;
    in_place.type = DPO_TYPE_F32;
    out = in_place;
    out.data = grads;
    objective = no_objective;
    objective.losses = &loss;
    objective.count = 1;
    pairs = no_pairs;
    pairs.pairs = PREFERENCES;
    pairs.count = PAIRS;
    pairs.reference_sums = REFERENCE;
    pairs.divisor = 2.0;
    step = no_step;
    step.layout = &layout;
    step.in_place = &in_place;
    step.log_probs = log_probs;
    step.norms = norms;
    step.sequences = sums;
    step.d_log_probs = d;
    step.coefficients = coefficients;
}

static dpo_status run(dpo_error *error) {
    return dpo_preference_step(PORTABLE, &objective, &pairs, &step, losses, &summary, error);
}

static void figures_of(const char *name, const float *found) {
    figure(name, summary.loss_sum);
    figure("nll", nll_summary.loss_sum);
    for (int i = 0; i < ROWS; i++) figure("coefficient", coefficients[i]);
    for (int i = 0; i < ROWS * STRIDE; i++) figure("grad", found[i]);
}

static void layouts(void) {
    dpo_error error;
    const int64_t wrong[2] = {5, -1};
    const int32_t falling[3] = {0, -1, 2};
    uint32_t kept[2] = {7, 7};
    CHECK(dpo_targets_of_i64(LABELS, ROWS, -100, targets, NULL) == DPO_OK);
    CHECK(targets[0] == 1 && targets[2] == DPO_IGNORE_INDEX && targets[5] == 1);
    CHECK(dpo_targets_of_i64(wrong, 2, -100, kept, &error) == DPO_ERROR_TARGET_OUT_OF_RANGE);
    CHECK(error.numbers[0] == 1 && error.value == -1.0 && kept[0] == 7 && kept[1] == 7);
    CHECK(dpo_targets_of_i64(wrong, 2, -1, kept, NULL) == DPO_OK && kept[1] == DPO_IGNORE_INDEX);
    CHECK(dpo_spans_of_offsets_i32(OFFSETS, SEQUENCES + 1, spans, SEQUENCES, NULL) == DPO_OK);
    CHECK(spans[1].start == 2 && spans[1].end == 4 && spans[3].start == 6 && spans[3].end == 6);
    dpo_span two[2];
    CHECK(dpo_spans_of_offsets_i32(falling, 3, two, 2, &error) == DPO_ERROR_OFFSETS_NOT_ASCENDING);
    CHECK(error.numbers[0] == 1);
}

/* float gradients of bfloat16 logits, all else 0, beside an NLL term of the chosen answers. */
static void apart(void) {
    dpo_error error;
    const float nll_weights[PAIRS] = {0.5f, 2.0f};
    dpo_nll nll = DPO_NLL_INIT;
    set_up();
    nll.weight = 0.25;
    nll.divisor = 3.0;
    nll.weights = nll_weights;
    step.in_place = NULL;
    step.logits = &view;
    step.grads = &out;
    step.unscored = DPO_UNSCORED_ZERO;
    step.tokens = &tokens;
    step.nll = &nll;
    step.d_nll = d_nll;
    step.nll_summary = &nll_summary;
    const uint16_t before = brains[3];
    CHECK(run(&error) == DPO_OK);
    CHECK(tokens.tokens == 5 && tokens.masked_tokens == 0 && brains[3] == before);
    CHECK(nll_summary.sequences == 2 && nll_summary.tokens == 4 && nll_summary.left_out == 0);
    /* -weight * weight of the answer / divisor, the same for every token. */
    CHECK(fabs(d_nll[0] + 0.25 * 0.5 / 3.0) < 1e-16 && fabs(d_nll[2] + 0.25 * 2.0 / 3.0) < 1e-16);
    CHECK(d_nll[1] == 0.0 && coefficients[0] == d[0] + d_nll[0]);
    for (int column = 0; column < STRIDE; column++) CHECK(grads[2 * STRIDE + column] == 0.0f);
    for (int row = 0; row < ROWS; row++) CHECK(grads[row * STRIDE + VOCAB] == 0.0f);
    figures_of("apart", grads);
    for (int i = 0; i < SEQUENCES; i++) figure("d_nll", d_nll[i]);
    /* Gradients in float logits alone, or in the logits' own type. */
    out.type = DPO_TYPE_F16;
    CHECK(run(&error) == DPO_ERROR_UNKNOWN_VALUE && error.subject == DPO_BUFFER_TYPE);
    out.type = DPO_TYPE_F32;
    out.transform.scale = 2.0f;
    CHECK(run(&error) == DPO_ERROR_TRANSFORM_OF_GRADIENTS);
    step.grads = NULL;
    CHECK(run(&error) == DPO_ERROR_NULL && error.subject == DPO_BUFFER_GRADS);
}

/* XPO's term on given answers lowers their likelihood; a sequence may have no partner. */
static void exploration(void) {
    const size_t answers[2] = {1, 3};
    const float only_first[2] = {1.0f, 0.0f};
    dpo_error error;
    dpo_nll xpo = DPO_NLL_INIT;
    set_up();
    xpo.weight = 0.5;
    xpo.divisor = 2.0;
    xpo.term = DPO_NLL_TERM_XPO;
    xpo.of = DPO_NLL_OF_ANSWERS;
    xpo.answers = answers;
    xpo.count = 2;
    step.nll = &xpo;
    step.d_nll = d_nll;
    step.nll_summary = &nll_summary;
    /* Sequence 3 has no token. */
    CHECK(run(&error) == DPO_ERROR_NO_SCORED_TOKENS && error.numbers[0] == 3);
    xpo.weights = only_first;
    CHECK(run(&error) == DPO_OK);
    CHECK(nll_summary.sequences == 1 && nll_summary.left_out == 1 && nll_summary.loss_sum < 0.0);
    CHECK(d_nll[1] == 0.25 && d_nll[3] == 0.0);
    figures_of("xpo", floats);
    /* The same by itself. */
    double alone[SEQUENCES];
    dpo_nll_summary of_alone;
    CHECK(dpo_nll_loss(&xpo, sums, SEQUENCES, alone, &of_alone, NULL) == DPO_OK);
    CHECK(memcmp(alone, d_nll, sizeof alone) == 0 && of_alone.loss_sum == nll_summary.loss_sum);
}

/* A pair of weight 0 is not there: its answers may have no token, and the mean is over 1 pair. */
static void absence(void) {
    static const dpo_pair with_nobody[PAIRS] = {{0, 1}, {3, 9}};
    const float weights[PAIRS] = {1.0f, 0.0f};
    dpo_error error;
    set_up();
    pairs.pairs = with_nobody;
    pairs.weights = weights;
    pairs.divisor = 1.0;
    CHECK(run(&error) == DPO_OK);
    CHECK(summary.pairs == 1 && summary.left_out == 1 && losses[1].loss == 0.0);
    const double mean = summary.loss_sum / (double)summary.pairs;
    /* softplus(-beta (a - b)) of the first pair. */
    const double z = 0.1 * ((sums[0].sum - REFERENCE[0]) - (sums[1].sum - REFERENCE[1]));
    CHECK(fabs(mean - log(1.0 + exp(-z))) < 1e-15);
    figures_of("absent", floats);
    set_up();
    pairs.pairs = with_nobody;
    CHECK(run(&error) == DPO_ERROR_SEQUENCE_OUT_OF_RANGE);
}

/* Answers without a partner; sequence 1 is nobody's. */
static void answers(void) {
    const dpo_answer labelled[3] = {{0, 1}, {2, 0}, {3, 1}};
    const float weights[3] = {1.0f, 0.5f, 0.0f};
    dpo_answer_loss each[3];
    dpo_unpaired_summary found;
    dpo_unpaired_batch batch = DPO_UNPAIRED_BATCH_INIT;
    dpo_error error;
    set_up();
    loss.name = DPO_LOSS_KTO;
    loss.options[0].parameter = DPO_PARAMETER_REFERENCE_KL;
    batch.answers = labelled;
    batch.count = 3;
    batch.reference_sums = REFERENCE;
    batch.divisor = 2.0;
    batch.weights = weights;
    step.unscored = DPO_UNSCORED_ZERO;
    step.tokens = &tokens;
    CHECK(dpo_unpaired_step(PORTABLE, &loss, &batch, &step, each, &found, &error) == DPO_OK);
    CHECK(found.desirable == 1 && found.undesirable == 1 && found.left_out == 1 && tokens.tokens == 5);
    CHECK(d[0] < 0.0 && d[2] > 0.0 && d[1] == 0.0 && coefficients[3] == 0.0);
    for (int i = 2 * STRIDE; i < 4 * STRIDE; i++) CHECK(floats[i] == 0.0f);
    summary.loss_sum = found.desirable_loss_sum + found.undesirable_loss_sum;
    nll_summary.loss_sum = 0.0;
    figures_of("answers", floats);

    /* The same loss once for each answer: the same figures. */
    const dpo_loss copies[3] = {loss, loss, loss};
    dpo_unpaired_summary again;
    const dpo_step given = step;
    memset(&again, 0xff, sizeof again);
    batch.losses = copies;
    set_up();
    step = given;
    loss = copies[0];
    CHECK(dpo_unpaired_step(PORTABLE, &loss, &batch, &step, each, &again, &error) == DPO_ERROR_FIELD_UNUSED);
    CHECK(error.subject == DPO_BUFFER_ANSWER_LOSS_KINDS);
    CHECK(dpo_unpaired_step(PORTABLE, NULL, &batch, &step, each, &again, &error) == DPO_OK);
    CHECK(memcmp(&again, &found, sizeof found) == 0);
    figures_of("answers_each", floats);
    batch.losses = NULL;

    dpo_nll nll = DPO_NLL_INIT;
    nll.divisor = 1.0;
    step.nll = &nll;
    step.d_nll = d_nll;
    CHECK(dpo_unpaired_step(PORTABLE, &loss, &batch, &step, each, &found, &error) == DPO_ERROR_FIELD_UNUSED);
    CHECK(error.subject == DPO_BUFFER_NLL);
    step.nll = NULL;
    step.d_nll = NULL;
    memset(loss.options, 0, sizeof loss.options);
    loss.name = DPO_LOSS_SIGMOID;
    CHECK(dpo_unpaired_step(PORTABLE, &loss, &batch, &step, each, &found, &error) == DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_NAME);
}

/* A loss of tokens brings its own coefficients. */
static void of_tokens(void) {
    static const double c[ROWS] = {-0.5, 0.25, NAN, 0.0, 1.0, -1.0};
    double from[SEQUENCES] = {0.5, 0.0, NAN, 0.0};
    dpo_error error;
    dpo_grads batch = DPO_GRADS_INIT;
    set_up();
    CHECK(dpo_token_log_probs(PORTABLE, &view, &layout, log_probs, norms, NULL, NULL, NULL) == DPO_OK);
    batch.norms = norms;
    batch.coefficients = c;
    CHECK(dpo_logit_grads(PORTABLE, &view, &layout, &batch, &out, NULL) == DPO_OK);
    summary.loss_sum = 0.0;
    figures_of("tokens", grads);
    batch.unscored = 2;
    CHECK(dpo_logit_grads(PORTABLE, &view, &layout, &batch, &out, &error) == DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_BACKWARD);
    CHECK(dpo_token_coefficients(&layout, from, NULL, NULL, coefficients, &error) == DPO_ERROR_INVALID_VALUE);
    CHECK(error.subject == DPO_BUFFER_SEQUENCE_GRADS && error.numbers[0] == 2);
    from[2] = -1.0;
    const float weights[ROWS] = {1.0f, 0.5f, 1.0f, 1.0f, 2.0f, 0.0f};
    const double nll[SEQUENCES] = {0.0, 0.0, 0.125, 0.0};
    CHECK(dpo_token_coefficients(&layout, from, weights, nll, coefficients, NULL) == DPO_OK);
    CHECK(coefficients[0] == 0.5 && coefficients[1] == 0.25 && coefficients[2] == 0.0);
    CHECK(coefficients[4] == -1.875 && coefficients[5] == 0.125);
    CHECK(dpo_token_coefficients(&layout, from, weights, nll, from, &error) == DPO_ERROR_OVERLAP);
}

int main(void) {
    layouts();
    apart();
    exploration();
    absence();
    answers();
    of_tokens();
    return failures == 0 ? 0 : 1;
}
