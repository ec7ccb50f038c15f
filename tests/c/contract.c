/* What the header's contract says beside codes: the ends of f16, masks, rows that are not scored, and how to go
 * on after NON_FINITE. Figures by hand. C99 and C++11. */
#include <dpo_kernel.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;

#define CHECK(condition)                                            \
    do {                                                            \
        if (!(condition)) {                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            failures += 1;                                          \
        }                                                           \
    } while (0)

static const dpo_dispatch FASTEST = {0, 0};

/* Rows of contiguous logits. */
static dpo_logits_mut over(void *data, size_t rows, size_t vocab, int32_t type) {
    dpo_logits_mut view = DPO_LOGITS_MUT_INIT;
    view.data = data;
    view.len = rows * vocab;
    view.rows = rows;
    view.vocab = vocab;
    view.type = type;
    return view;
}

static dpo_logits of(const void *data, size_t rows, size_t vocab, int32_t type) {
    dpo_logits view = DPO_LOGITS_INIT;
    view.data = data;
    view.len = rows * vocab;
    view.rows = rows;
    view.vocab = vocab;
    view.type = type;
    return view;
}

static dpo_layout layout_of(const uint32_t *targets, size_t rows, const dpo_span *spans, size_t count,
                            size_t vocab) {
    dpo_layout layout = DPO_LAYOUT_INIT;
    layout.targets = targets;
    layout.rows = rows;
    layout.spans = spans;
    layout.count = count;
    layout.vocab = vocab;
    return layout;
}

/* Two equal logits, so that the gradient of the target is half the coefficient. */
static void ends_of_f16(void) {
    const uint16_t zeros[2] = {0, 0};
    const uint32_t target = 0;
    const dpo_span span = {0, 1};
    const dpo_layout layout = layout_of(&target, 1, &span, 1, 2);
    const dpo_logits view = of(zeros, 1, 2, DPO_TYPE_F16);
    uint16_t halves[2];
    float floats[2], log_prob;
    dpo_row_norm norm;
    double d;
    dpo_grads batch = DPO_GRADS_INIT;
    batch.norms = &norm;
    batch.coefficients = &d;
    const dpo_logits_mut narrow = over(halves, 1, 2, DPO_TYPE_F16), wide = over(floats, 1, 2, DPO_TYPE_F32);
    CHECK(dpo_token_log_probs(FASTEST, &view, &layout, &log_prob, &norm, NULL, NULL, NULL) == DPO_OK);
    d = 2e5;
    CHECK(dpo_logit_grads(FASTEST, &view, &layout, &batch, &narrow, NULL) == DPO_OK);
    CHECK(halves[0] == 0x7c00 && halves[1] == 0xfc00); /* +inf, -inf */
    CHECK(dpo_logit_grads(FASTEST, &view, &layout, &batch, &wide, NULL) == DPO_OK);
    CHECK(floats[0] == 1e5f && floats[1] == -1e5f);
    d = 4e-8;
    CHECK(dpo_logit_grads(FASTEST, &view, &layout, &batch, &narrow, NULL) == DPO_OK);
    CHECK((halves[0] | halves[1] | 0x8000) == 0x8000); /* zeros */
    CHECK(dpo_logit_grads(FASTEST, &view, &layout, &batch, &wide, NULL) == DPO_OK);
    CHECK(floats[0] == 2e-8f && floats[1] == -2e-8f);
}

static void masks(void) {
    float rows[3][3] = {{-INFINITY, 1.0f, 1.0f}, {-FLT_MAX, 1.0f, 1.0f}, {-FLT_MAX, 1.0f, 1.0f}};
    const uint32_t targets[3] = {1, 1, 0};
    const dpo_span span = {0, 3};
    const dpo_layout layout = layout_of(targets, 3, &span, 1, 3);
    const dpo_logits_mut in_place = over(rows, 3, 3, DPO_TYPE_F32);
    const dpo_logits view = of(rows, 3, 3, DPO_TYPE_F32);
    float log_probs[3];
    dpo_row_norm norms[3];
    const double coefficients[3] = {-1.0, -1.0, -1.0};
    dpo_token_summary tokens;
    dpo_grads batch = DPO_GRADS_INIT;
    batch.norms = norms;
    batch.coefficients = coefficients;
    CHECK(dpo_token_log_probs(FASTEST, &view, &layout, log_probs, norms, NULL, &tokens, NULL) == DPO_OK);
    CHECK(tokens.tokens == 3 && tokens.masked_tokens == 1);
    /* -ln 2 either way, but a target on the lowest finite value is believed. */
    CHECK(fabsf(log_probs[0] + 0.6931472f) < 1e-6f && log_probs[1] == log_probs[0]);
    CHECK(log_probs[2] < -3e38f && isfinite(log_probs[2]));
    CHECK(dpo_logit_grads_in_place(FASTEST, &in_place, &layout, &batch, NULL) == DPO_OK);
    CHECK(rows[0][0] == 0.0f && rows[1][0] == 0.0f && fabsf(rows[0][1] + 0.5f) < 1e-6f);
}

/* Four sequences of one row, two pairs, of which the second has a row without a number. Row 4 is nobody's. */
#define ROWS 5
#define VOCAB 2
#define STRIDE 3

static void going_on(void) {
    float data[ROWS][STRIDE] = {{1, 0, 9}, {0, 2, 9}, {3, 0, 9}, {0, (float)NAN, 9}, {10, 11, 12}};
    const uint32_t targets[ROWS] = {0, 0, 0, 0, 0};
    const dpo_span spans[4] = {{0, 1}, {1, 2}, {2, 3}, {3, 4}};
    const dpo_pair preferences[2] = {{0, 1}, {2, 3}};
    const double reference[4] = {0, 0, 0, 0};
    const dpo_layout layout = layout_of(targets, ROWS, spans, 4, VOCAB);
    dpo_logits view = of(data, ROWS, VOCAB, DPO_TYPE_F32);
    dpo_logits_mut in_place = over(data, ROWS, VOCAB, DPO_TYPE_F32);
    view.len = in_place.len = ROWS * STRIDE;
    view.stride = in_place.stride = STRIDE;
    float log_probs[ROWS];
    dpo_row_norm norms[ROWS];
    dpo_sequence_log_prob sums[4];
    dpo_pair_loss losses[2];
    dpo_summary summary;
    dpo_error error;
    double d[4], coefficients[ROWS], loss_sum = 0.0;
    dpo_loss loss;
    memset(&loss, 0, sizeof loss);
    dpo_objective objective = DPO_OBJECTIVE_INIT;
    objective.losses = &loss;
    objective.count = 1;
    dpo_pairs pairs = DPO_PAIRS_INIT;
    pairs.pairs = preferences;
    pairs.count = 2;
    pairs.reference_sums = reference;
    pairs.divisor = 1.0; /* one of two pairs is left */
    dpo_grads batch = DPO_GRADS_INIT;
    batch.norms = norms;
    batch.coefficients = coefficients;

    CHECK(dpo_token_log_probs(FASTEST, &view, &layout, log_probs, norms, NULL, NULL, &error) ==
          DPO_ERROR_NON_FINITE_ROWS);
    CHECK(error.numbers[0] == 3 && error.numbers[1] == 1 && isnan(log_probs[3]));
    CHECK(dpo_sequence_log_probs(log_probs, &layout, NULL, sums, NULL) == DPO_OK);
    memset(&summary, 0x5a, sizeof summary);
    const dpo_summary before = summary;
    CHECK(dpo_preference_loss(&objective, &pairs, sums, 4, losses, d, &summary, &error) ==
          DPO_ERROR_NON_FINITE_PAIRS);
    CHECK(error.numbers[0] == 1 && error.numbers[1] == 1);
    CHECK(memcmp(&summary, &before, sizeof summary) == 0);
    CHECK(isnan(losses[1].loss) && isnan(d[2]) && isnan(d[3]));
    for (int i = 0; i < 2; i++)
        if (isfinite(losses[i].loss)) loss_sum += losses[i].loss;
    for (int i = 0; i < 4; i++)
        if (!isfinite(d[i])) d[i] = 0.0;
    /* log p: -ln(1 + e^-1) and -ln(1 + e^2); softplus(-0.1 * (-0.3132617 + 2.1269280)). */
    CHECK(fabs(loss_sum - 0.6065698) < 1e-6);
    CHECK(dpo_token_coefficients(&layout, d, NULL, NULL, coefficients, NULL) == DPO_OK);
    CHECK(dpo_logit_grads_in_place(FASTEST, &in_place, &layout, &batch, NULL) == DPO_OK);
    /* d[0] = -0.1 * sigmoid(-0.1813666), times 1 - p = 0.2689414. */
    CHECK(fabsf(data[0][0] + 0.0122310f) < 1e-6f && data[0][0] == -data[0][1]);
    for (int column = 0; column < VOCAB; column++) CHECK(data[2][column] == 0.0f && data[3][column] == 0.0f);
    /* What is not scored, and padding, still holds what it held. */
    CHECK(data[4][0] == 10.0f && data[4][1] == 11.0f);
    for (int row = 0; row < ROWS; row++) CHECK(data[row][VOCAB] == (row == 4 ? 12.0f : 9.0f));
    /* Unless it is to become 0; gradients are logits like any others. */
    const float gradient = data[0][0];
    batch.unscored = DPO_UNSCORED_ZERO;
    for (int row = 0; row < ROWS; row++) coefficients[row] = 0.0;
    CHECK(gradient != 0.0f && dpo_logit_grads_in_place(FASTEST, &in_place, &layout, &batch, NULL) == DPO_OK);
    for (int row = 0; row < ROWS; row++)
        for (int column = 0; column < STRIDE; column++) CHECK(data[row][column] == 0.0f);
}

int main(void) {
    ends_of_f16();
    masks();
    going_on();
    return failures == 0 ? 0 : 1;
}
