/* DPO in one step: logits in, loss and logit gradients out. The same program as examples/dpo.rs.
 *
 *   cc dpo.c $(pkg-config --cflags --libs dpo_kernel) -o dpo && ./dpo
 *
 * C99; no other library. */
#include <dpo_kernel.h>

#include <stdio.h>

enum { ROWS = 4, VOCAB = 5, SEQUENCES = 2 };

int main(void) {
    /* What a model's forward gave for two answers of two tokens each, over a vocabulary of 5: row t is
     * the output at position t, and scores the token that comes next. */
    float logits[ROWS][VOCAB] = {
        {0.5f, 1.5f, -1.0f, 0.0f, 0.25f}, /* predicts token 1 of the chosen answer */
        {-0.5f, 0.0f, 2.0f, 0.5f, -1.5f}, /* token 2 */
        {1.0f, 0.0f, 0.5f, 1.25f, -0.75f}, /* token 3 of the rejected answer */
        {0.0f, -2.0f, 0.5f, 0.75f, 1.0f}, /* token 4 */
    };
    const uint32_t targets[ROWS] = {1, 2, 3, 4};
    const dpo_span spans[SEQUENCES] = {{0, 2}, {2, 4}};
    const dpo_pair pair = {.chosen = 0, .rejected = 1}; /* sequence 0 is preferred to sequence 1 */
    const double reference[SEQUENCES] = {-1.5, -2.0};   /* their log-probs under the frozen model */

    const dpo_layout layout = {.size = sizeof layout, .targets = targets, .rows = ROWS,
                               .spans = spans, .count = SEQUENCES, .vocab = VOCAB};
    const dpo_logits_mut view = {.size = sizeof view, .data = logits, .len = ROWS * VOCAB,
                                 .rows = ROWS, .vocab = VOCAB, .type = DPO_TYPE_F32};
    const dpo_loss dpo = {.name = DPO_LOSS_SIGMOID, .options = {{DPO_PARAMETER_BETA, 0.1}}};
    const dpo_objective objective = {.size = sizeof objective, .losses = &dpo, .count = 1};
    const dpo_pairs pairs = {.size = sizeof pairs, .pairs = &pair, .count = 1,
                             .reference_sums = reference, .divisor = 1.0};

    /* Memory of a step, which a training loop keeps. */
    float log_probs[ROWS] = {0};
    dpo_row_norm norms[ROWS] = {{0}};
    dpo_sequence_log_prob policy[SEQUENCES] = {{0}};
    double d_log_probs[SEQUENCES] = {0}, coefficients[ROWS] = {0};
    dpo_pair_loss loss = {0};
    dpo_summary summary = {0};
    const dpo_step step = {.size = sizeof step, .layout = &layout, .in_place = &view,
                           .log_probs = log_probs, .norms = norms, .sequences = policy,
                           .d_log_probs = d_log_probs, .coefficients = coefficients};
    dpo_error error;
    if (dpo_preference_step(dpo_detect(), &objective, &pairs, &step, &loss, &summary, &error)) {
        fprintf(stderr, "%s: %lu, %lu\n", dpo_status_message(error.status),
                (unsigned long)error.numbers[0], (unsigned long)error.numbers[1]);
        return 1;
    }

    printf("loss %.4f, margin %.4f\n", summary.loss_sum / (double)summary.pairs,
           summary.margin_sum / (double)summary.pairs);
    /* `logits` are gradients now: hand them to the model's own backward. Descent raises the logit of
     * the chosen answer's token, and lowers that of the rejected one's. */
    return logits[0][1] < 0.0f && logits[2][3] > 0.0f ? 0 : 1;
}
