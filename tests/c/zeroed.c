/* Every struct of the header, zeroed but for its size, pointers and counts: the default that its comment
 * names, by figures that were computed elsewhere, or refused. Those of losses are in zeroed_losses.c. Prints
 * the name of each struct that was tried, for the test to compare with the header's. C99 and C++11. */
#include "zeroed.h"

#define ROWS 2
#define VOCAB 4

/* The worst that a cleared struct has done: the target 0 of the first row was taken for the ignore value. */
static const float LOGITS[ROWS * VOCAB] = {0, 1, 2, 3, 0, 0, 0, 0};
static const uint32_t TARGETS[ROWS] = {0, 1};
static const dpo_span ONE_SPAN = {0, ROWS};
static const dpo_span TWO_SPANS[2] = {{0, 1}, {1, 2}};
/* -ln(1 + e + e^2 + e^3), -ln 4 */
static const double LOG_PROBS[ROWS] = {-3.4401896985611953, -1.3862943611198906};

static dpo_logits logits(void) {
    SIZED(dpo_logits, view);
    view.data = LOGITS;
    view.len = ROWS * VOCAB;
    view.rows = ROWS;
    view.vocab = VOCAB;
    view.type = DPO_TYPE_F32;
    return view;
}

static dpo_layout layout(const dpo_span *spans, size_t count) {
    SIZED(dpo_layout, layout);
    layout.targets = TARGETS;
    layout.rows = ROWS;
    layout.spans = spans;
    layout.count = count;
    layout.vocab = VOCAB;
    return layout;
}

static void instructions(void) {
    const dpo_layout rows = layout(&ONE_SPAN, 1);
    const dpo_logits view = logits();
    float zeroed[ROWS], detected[ROWS];
    CASE(dpo_dispatch);
    ZEROED(dpo_dispatch, fastest);
    CHECK(dpo_is_available(fastest) == 1);
    CHECK(dpo_detect().level >= DPO_LEVEL_BASELINE && dpo_detect().arithmetic >= DPO_ARITHMETIC_FUSED);
    CHECK(dpo_token_log_probs(fastest, &view, &rows, zeroed, NULL, NULL, NULL, NULL) == DPO_OK);
    CHECK(dpo_token_log_probs(dpo_detect(), &view, &rows, detected, NULL, NULL, NULL, NULL) == DPO_OK);
    CHECK(memcmp(zeroed, detected, sizeof zeroed) == 0);
    fastest.arithmetic = DPO_ARITHMETIC_PORTABLE;
    CHECK(dpo_is_available(fastest) == 1);
    ZEROED(dpo_dispatch, baseline);
    baseline.level = DPO_LEVEL_BASELINE;
    CHECK(dpo_is_available(baseline) == 1);
}

static void inputs(void) {
    ZEROED(dpo_dispatch, fastest);
    float log_probs[ROWS] = {0, 0};
    dpo_sequence_log_prob sum;
    dpo_error error;

    CASE(dpo_layout);
    const dpo_layout rows = layout(&ONE_SPAN, 1);
    const dpo_logits view = logits();
    CHECK(dpo_token_log_probs(fastest, &view, &rows, log_probs, NULL, NULL, NULL, NULL) == DPO_OK);
    CHECK(dpo_sequence_log_probs(log_probs, &rows, NULL, &sum, NULL) == DPO_OK);
    CHECK(near(sum.sum, -4.826484059681086) && sum.count == 2);
    /* Which is the ignore value, if it is given. */
    dpo_layout without_zero = rows;
    without_zero.given = DPO_LAYOUT_IGNORE;
    CHECK(dpo_sequence_log_probs(log_probs, &without_zero, NULL, &sum, NULL) == DPO_OK);
    CHECK(near(sum.sum, LOG_PROBS[1]) && sum.count == 1);
    dpo_layout without_vocab = rows;
    without_vocab.vocab = 0;
    CHECK(dpo_sequence_log_probs(log_probs, &without_vocab, NULL, &sum, NULL) == DPO_ERROR_EMPTY_VOCABULARY);

    CASE(dpo_transform);
    CHECK(near(log_probs[0], LOG_PROBS[0]) && near(log_probs[1], LOG_PROBS[1]));
    dpo_logits halved = view;
    halved.transform.temperature = 2.0f;
    CHECK(dpo_token_log_probs(fastest, &halved, &rows, log_probs, NULL, NULL, NULL, NULL) == DPO_OK);
    /* -ln(1 + e^0.5 + e + e^1.5) */
    CHECK(near(log_probs[0], -2.2873386716983295));

    CASE(dpo_token_summary);
    DIRTY(dpo_token_summary, tokens);
    CHECK(dpo_token_log_probs(fastest, &view, &without_zero, log_probs, NULL, NULL, &tokens, NULL) == DPO_OK);
    CHECK(tokens.tokens == 1 && tokens.masked_tokens == 0);

    CASE(dpo_logits);
    dpo_logits without_type = view;
    without_type.type = 0;
    CHECK(dpo_token_log_probs(fastest, &without_type, &rows, log_probs, NULL, NULL, NULL, &error) ==
          DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_TYPE && error.numbers[0] == 0);
    dpo_logits strided = view;
    strided.stride = VOCAB;
    float same[ROWS];
    CHECK(dpo_token_log_probs(fastest, &view, &rows, log_probs, NULL, NULL, NULL, NULL) == DPO_OK);
    CHECK(dpo_token_log_probs(fastest, &strided, &rows, same, NULL, NULL, NULL, NULL) == DPO_OK);
    CHECK(memcmp(log_probs, same, sizeof same) == 0);

    CASE(dpo_span);
    ZEROED(dpo_span, nothing);
    const dpo_span spans[2] = {{0, 1}, nothing};
    const dpo_layout one_empty = layout(spans, 2);
    float in_place[ROWS * VOCAB];
    memcpy(in_place, LOGITS, sizeof in_place);
    SIZED(dpo_logits_mut, step_view);
    step_view.data = in_place;
    step_view.len = ROWS * VOCAB;
    step_view.rows = ROWS;
    step_view.vocab = VOCAB;
    step_view.type = DPO_TYPE_F32;
    ZEROED(dpo_loss, loss);
    SIZED(dpo_objective, objective);
    objective.losses = &loss;
    objective.count = 1;
    SIZED(dpo_pairs, pairs);
    pairs.pairs = &PAIR;
    pairs.count = 1;
    pairs.reference_sums = ZEROS;
    pairs.divisor = 1.0;
    dpo_row_norm norms[ROWS];
    dpo_sequence_log_prob sums[2];
    double d[2], coefficients[ROWS];
    dpo_pair_loss losses[1];
    dpo_summary summary;
    SIZED(dpo_step, step);
    step.layout = &one_empty;
    step.in_place = &step_view;
    step.log_probs = log_probs;
    step.norms = norms;
    step.sequences = sums;
    step.d_log_probs = d;
    step.coefficients = coefficients;
    CHECK(dpo_preference_step(fastest, &objective, &pairs, &step, losses, &summary, &error) ==
          DPO_ERROR_NO_SCORED_TOKENS);
    CHECK(error.numbers[0] == 1);

    CASE(dpo_step);
    const dpo_layout two = layout(TWO_SPANS, 2);
    step.layout = &two;
    CHECK(dpo_preference_step(fastest, &objective, &pairs, &step, losses, &summary, NULL) == DPO_OK);
    /* softplus(0.1 * (3.44019 - 1.38629)): DPO, beta 0.1, and no NLL term. */
    CHECK(near(summary.loss_sum, 0.8011058124319891));
    CHECK(near(d[0], -0.05511676348) && near(d[1], 0.05511676348));
    SIZED(dpo_step, no_buffers);
    CHECK(dpo_preference_step(fastest, &objective, &pairs, &no_buffers, losses, &summary, &error) ==
          DPO_ERROR_NULL);

    CASE(dpo_logits_mut);
    /* d[0] * (1 - p) for the target, whose p is e^-3.44019. */
    CHECK(near(in_place[0], d[0] * (1.0 - 0.03205860328)));
    dpo_logits_mut of_no_type = step_view;
    of_no_type.type = 0;
    step.in_place = &of_no_type;
    CHECK(dpo_preference_step(fastest, &objective, &pairs, &step, losses, &summary, &error) ==
          DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_TYPE);
}

static void rows(void) {
    ZEROED(dpo_dispatch, fastest);
    ZEROED(dpo_transform, none);
    dpo_error error;

    CASE(dpo_row_stats);
    ZEROED(dpo_row_stats, stats);
    DIRTY(dpo_row_stats, made);
    CHECK(dpo_row_stats_new(&none, 0, 0, &made, NULL) == DPO_OK);
    CHECK(dpo_row_stats_fold(fastest, &stats, DPO_TYPE_F32, LOGITS, VOCAB, 0, NULL) == DPO_OK);
    CHECK(dpo_row_stats_fold(fastest, &made, DPO_TYPE_F32, LOGITS, VOCAB, 0, NULL) == DPO_OK);
    CHECK(memcmp(&stats, &made, sizeof stats) == 0 && stats.columns == VOCAB && stats.others[0] + stats.others[1] > 0);
    DIRTY(dpo_row_result, result);
    CHECK(dpo_row_stats_finish(&stats, &result, NULL) == DPO_OK);
    CHECK(near(result.log_z, -LOG_PROBS[0]) && isnan(result.log_prob) && isnan(result.target_logit));
    /* Details that a host asks for without dpo_row_stats_new: the largest of negative logits is not 0. */
    const float negative[3] = {-3.0f, -1.0f, -2.0f};
    ZEROED(dpo_row_stats, detailed);
    detailed.flags = DPO_ROW_DETAILS;
    CHECK(dpo_row_stats_fold(fastest, &detailed, DPO_TYPE_F32, negative, 3, 0, NULL) == DPO_OK);
    CHECK(dpo_row_stats_finish(&detailed, &result, NULL) == DPO_OK);
    CHECK(result.details.argmax == 1 && near(result.details.mean_logit, -2.0));

    /* As bytes, of no columns, with details and without. */
    for (uint32_t flags = 0; flags <= DPO_ROW_DETAILS; flags += DPO_ROW_DETAILS) {
        const size_t len = flags == 0 ? DPO_ROW_BYTES : DPO_ROW_DETAIL_BYTES;
        uint8_t bytes[DPO_ROW_DETAIL_BYTES], due[DPO_ROW_DETAIL_BYTES];
        ZEROED(dpo_row_stats, empty);
        DIRTY(dpo_row_stats, read);
        empty.flags = flags;
        CHECK(dpo_row_stats_new(&none, flags, 0, &made, NULL) == DPO_OK);
        CHECK(dpo_row_stats_write_bytes(&empty, bytes, len, NULL) == DPO_OK);
        CHECK(dpo_row_stats_write_bytes(&made, due, len, NULL) == DPO_OK);
        CHECK(memcmp(bytes, due, len) == 0);
        CHECK(dpo_row_stats_from_bytes(&none, bytes, len, &read, NULL) == DPO_OK);
        CHECK(memcmp(&read, &made, sizeof read) == 0);
        memset(bytes, 0, sizeof bytes);
        CHECK(dpo_row_stats_from_bytes(&none, bytes, len, &read, NULL) == DPO_ERROR_ROW_BYTES);
    }

    CASE(dpo_row_result);
    ZEROED(dpo_row_stats, nothing);
    memset(&result, 0xa5, sizeof result);
    CHECK(dpo_row_stats_finish(&nothing, &result, NULL) == DPO_OK);
    CHECK(isnan(result.log_z) && isnan(result.log_prob) && result.columns == 0);

    CASE(dpo_row_norm);
    ZEROED(dpo_row_norm, norm);
    const dpo_row_norm two_norms[ROWS] = {norm, norm};
    const double coefficients[ROWS] = {-1.0, -1.0};
    float grads[ROWS * VOCAB] = {0};
    const dpo_layout which = layout(&ONE_SPAN, 1);
    const dpo_logits view = logits();
    SIZED(dpo_grads, batch);
    batch.norms = two_norms;
    batch.coefficients = coefficients;
    SIZED(dpo_logits_mut, out);
    out.data = grads;
    out.len = ROWS * VOCAB;
    out.rows = ROWS;
    out.vocab = VOCAB;
    out.type = DPO_TYPE_F32;
    CHECK(dpo_logit_grads(fastest, &view, &which, &batch, &out, &error) == DPO_ERROR_INVALID_VALUE);
    CHECK(error.subject == DPO_BUFFER_ROW_NORMS && error.numbers[0] == 0);
    /* Rows whose coefficient is 0 need none. */
    batch.coefficients = ZEROS;
    grads[3] = 7.0f;
    CHECK(dpo_logit_grads(fastest, &view, &which, &batch, &out, NULL) == DPO_OK && grads[3] == 0.0f);

    CASE(dpo_grads);
    float log_probs[ROWS];
    dpo_row_norm norms[ROWS];
    CHECK(dpo_token_log_probs(fastest, &view, &which, log_probs, norms, NULL, NULL, NULL) == DPO_OK);
    batch.norms = norms;
    batch.coefficients = coefficients;
    CHECK(dpo_logit_grads(fastest, &view, &which, &batch, &out, NULL) == DPO_OK);
    /* -(1 - p) of the target, p = e^-3.44019; -(0 - 1/4) of another column of the second row. */
    CHECK(near(grads[0], -0.96794139672) && near(grads[4], 0.25) && near(grads[5], -0.75));
    SIZED(dpo_grads, no_buffers);
    CHECK(dpo_logit_grads(fastest, &view, &which, &no_buffers, &out, NULL) == DPO_ERROR_NULL);

    CASE(dpo_tile);
    float tile_data[2] = {0.0f, 0.0f};
    SIZED(dpo_tile, tile);
    tile.data = tile_data;
    tile.len = 2;
    CHECK(dpo_tile_grads_in_place(fastest, &tile, &error) == DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_TYPE);
    tile.type = DPO_TYPE_F32;
    /* Coefficient 0: the row is absent, and needs no norm. */
    tile_data[1] = (float)NAN;
    CHECK(dpo_tile_grads_in_place(fastest, &tile, &error) == DPO_OK);
    CHECK(tile_data[0] == 0.0f && tile_data[1] == 0.0f);
    tile.coefficient = 1.0;
    CHECK(dpo_tile_grads_in_place(fastest, &tile, &error) == DPO_ERROR_INVALID_VALUE);
    CHECK(error.subject == DPO_BUFFER_ROW_NORMS);
    tile.norm = norms[1];
    tile.coefficient = -1.0;
    CHECK(dpo_tile_grads_in_place(fastest, &tile, NULL) == DPO_OK);
    /* Column 0, the target that a cleared field says, and column 1, of the second row. */
    CHECK(near(tile_data[0], -0.75) && near(tile_data[1], 0.25));

    CASE(dpo_row_details);
    ZEROED(dpo_row_details, certain);
    const dpo_row_details details[ROWS] = {certain, certain};
    const dpo_layout two = layout(TWO_SPANS, 2);
    const float token_log_probs[ROWS] = {-0.5f, -1.5f};
    float weight;
    CHECK(dpo_wpo_pair_weights(DPO_WPO_AT_MOST_ONE, &two, &PAIR, 1, token_log_probs, details, &weight,
                               NULL) == DPO_OK);
    /* e^(-0.5 - 1.5): nothing to align by where the model is certain. */
    CHECK(near(weight, 0.1353352832366127));
}

/* A head that is nothing but zeros makes equal logits. */
static void without_logits(void) {
    ZEROED(dpo_dispatch, fastest);
    static const float states[ROWS] = {1.0f, -2.0f}, weights[VOCAB] = {0.0f, 0.0f, 0.0f, 0.0f};
    static double numbers[8000];
    float log_probs[ROWS] = {0}, sums[ROWS] = {0};
    dpo_row_norm norms[ROWS];
    size_t len = 0;
    dpo_error error;
    const dpo_layout which = layout(&ONE_SPAN, 1);

    CASE(dpo_head);
    SIZED(dpo_head, head);
    CHECK(dpo_head_scratch_len(&head, 1, &len, &error) == DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_TYPE && len == 0);
    head.type = DPO_TYPE_F32;
    CHECK(dpo_head_scratch_len(&head, 1, &len, &error) == DPO_ERROR_EMPTY_VOCABULARY);
    head.vocab = VOCAB;
    CHECK(dpo_head_scratch_len(&head, 1, &len, &error) == DPO_ERROR_EMPTY_HIDDEN);
    head.hidden = 1;
    CHECK(dpo_head_scratch_len(&head, 1, &len, &error) == DPO_ERROR_LENGTH);
    head.weights = weights;
    head.len = VOCAB;
    CHECK(dpo_head_scratch_len(&head, 0, &len, &error) == DPO_ERROR_LENGTH);
    CHECK(error.subject == DPO_BUFFER_HEAD_ROWS);
    /* No stride is rows without padding, no panels are all of them. */
    CHECK(dpo_head_scratch_len(&head, 1, &len, NULL) == DPO_OK && len > 0 && len <= 8000);

    CASE(dpo_hidden);
    SIZED(dpo_hidden, hidden);
    CASE(dpo_head_scratch);
    SIZED(dpo_head_scratch, scratch);
    CHECK(dpo_head_token_log_probs(fastest, &hidden, &head, &which, log_probs, NULL, NULL, NULL, &scratch,
                                   &error) == DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_TYPE);
    hidden.type = DPO_TYPE_F32;
    CHECK(dpo_head_token_log_probs(fastest, &hidden, &head, &which, log_probs, NULL, NULL, NULL, &scratch,
                                   &error) == DPO_ERROR_EMPTY_HIDDEN);
    hidden.data = states;
    hidden.len = hidden.rows = ROWS;
    hidden.hidden = 1;
    CHECK(dpo_head_token_log_probs(fastest, &hidden, &head, &which, log_probs, NULL, NULL, NULL, &scratch,
                                   &error) == DPO_ERROR_LENGTH);
    CHECK(error.subject == DPO_BUFFER_HEAD_ROWS);
    scratch.rows = 1;
    CHECK(dpo_head_token_log_probs(fastest, &hidden, &head, &which, log_probs, NULL, NULL, NULL, &scratch,
                                   &error) == DPO_ERROR_LENGTH);
    CHECK(error.subject == DPO_BUFFER_HEAD_NUMBERS && error.numbers[0] == len);
    scratch.numbers = numbers;
    scratch.len = len;
    CHECK(dpo_head_token_log_probs(fastest, &hidden, &head, &which, log_probs, NULL, NULL, NULL, &scratch,
                                   NULL) == DPO_OK);
    /* Without bias and transform: four equal logits. */
    CHECK(near(log_probs[0], LOG_PROBS[1]) && near(log_probs[1], LOG_PROBS[1]));

    CASE(dpo_hidden_mut);
    SIZED(dpo_hidden_mut, place);
    CHECK(dpo_head_forward(fastest, &hidden, &head, &which, log_probs, NULL, NULL, NULL, &place, &scratch,
                           &error) == DPO_ERROR_UNKNOWN_VALUE);
    place.type = DPO_TYPE_F32;
    CHECK(dpo_head_forward(fastest, &hidden, &head, &which, log_probs, NULL, NULL, NULL, &place, &scratch,
                           &error) == DPO_ERROR_EMPTY_HIDDEN);
    place.data = sums;
    place.len = place.rows = ROWS;
    place.hidden = 1;
    CHECK(dpo_head_forward(fastest, &hidden, &head, &which, log_probs, norms, NULL, NULL, &place, &scratch,
                           NULL) == DPO_OK);

    CASE(dpo_head_mut);
    SIZED(dpo_head_mut, of_nothing);
    SIZED(dpo_grads, batch);
    const double coefficients[ROWS] = {-1.0, -0.5};
    float d_weights[VOCAB] = {7.0f, 7.0f, 7.0f, 7.0f}, d_bias[VOCAB];
    batch.norms = norms;
    batch.coefficients = coefficients;
    CHECK(dpo_head_grads_scratch_len(&head, &of_nothing, ROWS, &len, &error) == DPO_ERROR_NULL);
    CHECK(error.subject == DPO_BUFFER_HEAD_GRADS);
    SIZED(dpo_head_mut, of_weights);
    of_weights.weights = d_weights;
    of_weights.len = VOCAB;
    CHECK(dpo_head_grads_scratch_len(&head, &of_weights, ROWS, &len, &error) == DPO_ERROR_UNKNOWN_VALUE);
    CHECK(error.subject == DPO_BUFFER_TYPE);
    of_weights.type = DPO_TYPE_F32;
    CHECK(dpo_head_grads_scratch_len(&head, &of_weights, ROWS, &len, NULL) == DPO_OK && len <= 8000);
    scratch.len = len;
    scratch.rows = 1;
    CHECK(dpo_head_grads(fastest, &hidden, &head, &which, &batch, &place, &of_weights, &scratch, &error) ==
          DPO_ERROR_LENGTH);
    CHECK(error.subject == DPO_BUFFER_HEAD_ROWS && error.numbers[0] == ROWS);
    scratch.rows = ROWS;
    CHECK(dpo_head_grads(fastest, &hidden, &head, &which, &batch, &place, &of_weights, &scratch, NULL) == DPO_OK);
    /* No stride is rows without padding, no mode replaces: -1 * (1 - 1/4, -1/4, ...) * 1, and of the second
     * row -0.5 * (-1/4, 1 - 1/4, ...) * -2. */
    CHECK(near(d_weights[0], -1.0) && near(d_weights[1], 1.0) && near(d_weights[2], 0.0));
    /* The bias alone: no type is that of no weights. */
    SIZED(dpo_head_mut, of_bias);
    of_bias.bias = d_bias;
    memset(d_bias, 0xa5, sizeof d_bias);
    CHECK(dpo_head_grads(fastest, &hidden, &head, &which, &batch, &place, &of_bias, &scratch, NULL) == DPO_OK);
    CHECK(near(d_bias[0], -0.625) && near(d_bias[1], -0.125) && near(d_bias[3], 0.375));
}

int main(void) {
    instructions();
    inputs();
    rows();
    without_logits();
    return failures == 0 ? 0 : 1;
}
