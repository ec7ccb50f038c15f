/* A step of DPO over a head whose logits never exist, frozen or trained: by the built-in product, and by a loop
 * over tiles of a host that has a product of its own. All give one gradient of the hidden states, to rounding, and
 * both ways of a head that is trained one gradient of its weights.
 *
 *   cc head.c $(pkg-config --cflags --libs dpo_kernel) -lm -o head && ./head
 *
 * C99; no other library. */
#include <dpo_kernel.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 12, HIDDEN = 24, VOCAB = 1200, TILE = 512, SEQUENCES = 4, PAIRS = 2, AT_ONCE = 8 };

static float states[ROWS][HIDDEN];   /* of the model's last norm: row t predicts targets[t] */
static float weights[VOCAB][HIDDEN]; /* lm_head.weight, or the embedding where the two are tied */
static uint32_t targets[ROWS];
static const dpo_span spans[SEQUENCES] = {{0, 3}, {3, 5}, {5, 9}, {9, ROWS}};
static const dpo_pair pairs[PAIRS] = {{0, 1}, {2, 3}};
static const double reference[SEQUENCES] = {-21.0, -15.0, -29.0, -22.0}; /* of the frozen model, once */

static void must(dpo_status status, const dpo_error *error) {
    if (status == DPO_OK) return;
    fprintf(stderr, "%s: %lu, %lu\n", dpo_status_message(status), (unsigned long)error->numbers[0],
            (unsigned long)error->numbers[1]);
    exit(1);
}

static float any(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 8388608.0f - 1.0f;
}

/* What stands between forward and backward, with logits or without: from token log-probs to d loss / d log p. */
static double measure(const dpo_layout *layout, const float *log_probs, double *coefficients) {
    const dpo_loss dpo = {.name = DPO_LOSS_SIGMOID, .options = {{DPO_PARAMETER_BETA, 0.1}}};
    const dpo_objective objective = {.size = sizeof objective, .losses = &dpo, .count = 1};
    const dpo_pairs batch = {.size = sizeof batch, .pairs = pairs, .count = PAIRS, .reference_sums = reference,
                             .divisor = PAIRS};
    dpo_sequence_log_prob policy[SEQUENCES] = {{0}};
    dpo_pair_loss losses[PAIRS] = {{0}};
    dpo_summary summary = {0};
    double d[SEQUENCES] = {0};
    dpo_error error;
    must(dpo_sequence_log_probs(log_probs, layout, NULL, policy, &error), &error);
    must(dpo_preference_loss(&objective, &batch, policy, SEQUENCES, losses, d, &summary, &error), &error);
    must(dpo_token_coefficients(layout, d, NULL, NULL, coefficients, &error), &error);
    return summary.loss_sum / PAIRS;
}

/* By the built-in product: two calls around the loss. A head that is frozen has no d_weights. */
static double built_in(dpo_dispatch dispatch, const dpo_layout *layout, float grads[ROWS][HIDDEN],
                       float d_weights[VOCAB][HIDDEN]) {
    const int is_trained = d_weights != NULL;
    const dpo_hidden hidden = {.size = sizeof hidden, .data = states, .len = ROWS * HIDDEN, .rows = ROWS,
                               .hidden = HIDDEN, .type = DPO_TYPE_F32};
    const dpo_head head = {.size = sizeof head, .weights = weights, .len = VOCAB * HIDDEN, .vocab = VOCAB,
                           .hidden = HIDDEN, .type = DPO_TYPE_F32};
    const dpo_hidden_mut sums = {.size = sizeof sums, .data = grads, .len = ROWS * HIDDEN, .rows = ROWS,
                                 .hidden = HIDDEN, .type = DPO_TYPE_F32};
    const dpo_head_mut d_head = {.size = sizeof d_head, .weights = d_weights, .len = VOCAB * HIDDEN,
                                 .type = DPO_TYPE_F32};
    float log_probs[ROWS] = {0};
    dpo_row_norm norms[ROWS] = {{0}};
    double coefficients[ROWS] = {0};
    const dpo_grads backward = {.size = sizeof backward, .norms = norms, .coefficients = coefficients,
                                .unscored = DPO_UNSCORED_ZERO};
    /* Of a head that is trained all rows go through it together, or 128 of more. */
    dpo_head_scratch scratch = {.size = sizeof scratch, .rows = is_trained ? ROWS : AT_ONCE};
    dpo_error error;
    must(is_trained ? dpo_head_grads_scratch_len(&head, &d_head, scratch.rows, &scratch.len, &error)
                    : dpo_head_scratch_len(&head, scratch.rows, &scratch.len, &error),
         &error);
    scratch.numbers = calloc(scratch.len, sizeof *scratch.numbers); /* once; a training loop keeps it */
    if (scratch.numbers == NULL) exit(1);
    must(is_trained ? dpo_head_token_log_probs(dispatch, &hidden, &head, layout, log_probs, norms, NULL, NULL,
                                               &scratch, &error)
                    : dpo_head_forward(dispatch, &hidden, &head, layout, log_probs, norms, NULL, NULL, &sums,
                                       &scratch, &error),
         &error);
    const double loss = measure(layout, log_probs, coefficients);
    must(is_trained ? dpo_head_grads(dispatch, &hidden, &head, layout, &backward, &sums, &d_head, &scratch, &error)
                    : dpo_hidden_grads_in_place(dispatch, &hidden, &head, layout, &backward, &sums, &scratch,
                                                &error),
         &error);
    free(scratch.numbers);
    return loss;
}

/* The host's products, which it has better ones for: a tile of logits, and a tile times the head's rows. */
static size_t make(size_t row, size_t first, float tile[TILE]) {
    const size_t len = VOCAB - first < TILE ? VOCAB - first : TILE;
    for (size_t j = 0; j < len; j++) {
        tile[j] = 0.0f;
        for (size_t h = 0; h < HIDDEN; h++) tile[j] += states[row][h] * weights[first + j][h];
    }
    return len;
}

static void weigh(const float *tile, size_t first, size_t len, float sums[HIDDEN]) {
    for (size_t j = 0; j < len; j++)
        for (size_t h = 0; h < HIDDEN; h++) sums[h] += tile[j] * weights[first + j][h];
}

/* The target's logit, if it is in this tile. */
static void look(const float *tile, size_t first, size_t len, uint32_t target, float *logit) {
    if (target >= first && target - first < len) *logit = tile[target - first];
}

/* By the host's own loop, for a frozen head: one stream over the weights. */
static double frozen(dpo_dispatch dispatch, const dpo_layout *layout, float grads[ROWS][HIDDEN]) {
    const dpo_transform none = DPO_TRANSFORM_NONE;
    static dpo_row_stats stats[ROWS];
    float log_probs[ROWS] = {0}, logits[ROWS] = {0}, tile[TILE], scale = 1.0f;
    double coefficients[ROWS] = {0};
    dpo_row_result result;
    dpo_error error;
    memset(grads, 0, ROWS * sizeof *grads);
    memset(&result, 0, sizeof result);
    for (size_t row = 0; row < ROWS; row++)
        must(dpo_row_stats_new(&none, DPO_ROW_TARGET, targets[row], &stats[row], &error), &error);
    for (size_t first = 0; first < VOCAB; first += TILE)
        for (size_t row = 0; row < ROWS; row++) {
            const size_t len = make(row, first, tile);
            look(tile, first, len, targets[row], &logits[row]);
            const dpo_row_stats before = stats[row];
            must(dpo_row_stats_fold(dispatch, &stats[row], DPO_TYPE_F32, tile, len, (uint32_t)first, &error),
                 &error);
            must(dpo_tile_terms_in_place(dispatch, &before, &stats[row], tile, len, (uint32_t)first, &scale,
                                         &error),
                 &error);
            for (size_t h = 0; h < HIDDEN; h++) grads[row][h] *= scale; /* 1, nearly always */
            weigh(tile, first, len, grads[row]);
        }
    for (size_t row = 0; row < ROWS; row++) {
        must(dpo_row_stats_finish(&stats[row], &result, &error), &error);
        log_probs[row] = (float)result.log_prob;
    }
    const double loss = measure(layout, log_probs, coefficients);
    for (size_t row = 0; row < ROWS; row++)
        must(dpo_hidden_row_grads_in_place(dispatch, &stats[row], coefficients[row], logits[row], DPO_TYPE_F32,
                                           weights[targets[row]], grads[row], HIDDEN, &error),
             &error);
    return loss;
}

/* By the loop of a head that is trained: every tile is made again, once the loss is known, and is the gradient of
 * its logits then, which the host multiplies by weights, and by states for the head's own gradient. */
static double trained(dpo_dispatch dispatch, const dpo_layout *layout, float grads[ROWS][HIDDEN],
                      float d_weights[VOCAB][HIDDEN]) {
    const dpo_transform none = DPO_TRANSFORM_NONE;
    static dpo_row_stats stats[ROWS];
    dpo_row_result results[ROWS];
    float log_probs[ROWS] = {0}, tile[TILE];
    double coefficients[ROWS] = {0};
    dpo_error error;
    memset(grads, 0, ROWS * sizeof *grads);
    memset(d_weights, 0, VOCAB * sizeof *d_weights);
    memset(results, 0, sizeof results);
    for (size_t row = 0; row < ROWS; row++) {
        must(dpo_row_stats_new(&none, DPO_ROW_TARGET, targets[row], &stats[row], &error), &error);
        for (size_t first = 0; first < VOCAB; first += TILE) {
            const size_t len = make(row, first, tile);
            must(dpo_row_stats_fold(dispatch, &stats[row], DPO_TYPE_F32, tile, len, (uint32_t)first, &error),
                 &error);
        }
        must(dpo_row_stats_finish(&stats[row], &results[row], &error), &error);
        log_probs[row] = (float)results[row].log_prob;
    }
    const double loss = measure(layout, log_probs, coefficients);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t first = 0; first < VOCAB; first += TILE) {
            const size_t len = make(row, first, tile);
            const dpo_tile of = {.size = sizeof of, .data = tile, .len = len, .coefficient = coefficients[row],
                                 .norm = results[row].norm, .type = DPO_TYPE_F32,
                                 .first_column = (uint32_t)first, .target = targets[row]};
            must(dpo_tile_grads_in_place(dispatch, &of, &error), &error);
            weigh(tile, first, len, grads[row]);
            for (size_t j = 0; j < len; j++)
                for (size_t h = 0; h < HIDDEN; h++) d_weights[first + j][h] += tile[j] * states[row][h];
        }
    return loss;
}

/* Sums in f32 in other orders: within 2e-6 of the largest gradient. */
static int agree(const char *what, const float *a, const float *b, size_t len) {
    float largest = 0.0f, apart = 0.0f;
    for (size_t i = 0; i < len; i++) {
        largest = fmaxf(largest, fabsf(a[i]));
        apart = fmaxf(apart, fabsf(a[i] - b[i]));
    }
    const int is_same = largest > 1e-3f && apart <= 2e-6f * largest;
    printf(", gradients of %s %s", what, is_same ? "agree" : "differ");
    return is_same;
}

/* Another way: its loss and gradients against those of the first. */
static int is_other_way(const char *what, double loss, double other, float a[ROWS][HIDDEN], float b[ROWS][HIDDEN]) {
    printf("\n%s: loss %.4f", what, other);
    return agree("hidden states", *a, *b, ROWS * HIDDEN) && fabs(loss - other) <= 1e-6;
}

int main(void) {
    static float by_us[ROWS][HIDDEN], again[ROWS][HIDDEN], d_weights[VOCAB][HIDDEN], by_host[VOCAB][HIDDEN];
    const dpo_dispatch dispatch = dpo_detect();
    for (size_t row = 0; row < ROWS; row++) {
        targets[row] = (uint32_t)((row * 389 + 7) % VOCAB);
        for (size_t h = 0; h < HIDDEN; h++) states[row][h] = any();
    }
    for (size_t column = 0; column < VOCAB; column++)
        for (size_t h = 0; h < HIDDEN; h++) weights[column][h] = any();
    const dpo_layout layout = {.size = sizeof layout, .targets = targets, .rows = ROWS, .spans = spans,
                               .count = SEQUENCES, .vocab = VOCAB};
    const double loss = built_in(dispatch, &layout, by_us, NULL);
    printf("a frozen head: loss %.4f", loss);
    int is_same = is_other_way("by the host's loop", loss, frozen(dispatch, &layout, again), by_us, again);
    is_same &= is_other_way("a trained head", loss, built_in(dispatch, &layout, again, d_weights), by_us, again);
    is_same &= is_other_way("by the host's loop", loss, trained(dispatch, &layout, again, by_host), by_us, again);
    is_same &= agree("weights", *d_weights, *by_host, VOCAB * HIDDEN);
    printf("\n");
    return is_same ? 0 : 1;
}
