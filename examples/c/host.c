/* A host in C that brings its own model and memory, and learns preferences with dpo-kernel.
 *
 *   cc host.c $(pkg-config --cflags --libs dpo_kernel) -o host && ./host
 *
 * The model is a table: the logits of the next byte, given the last one. What is particular to a host
 * is all here: it lays out the batch once, asks for the reference's log-probs once, and in every step
 * fills its own logits buffer, calls dpo_preference_step, and takes the gradients that stand where the
 * logits stood. dpo.c is one step without a model. C99; no other library. */
#include <dpo_kernel.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VOCAB 128
#define MOST_ROWS 256
#define PAIRS 4
#define SEQUENCES (2 * PAIRS)
#define STEPS 40

/* Prompt, chosen answer, rejected answer. */
static const char *DATA[PAIRS][3] = {
    {"May I?", " Yes, please.", " No."},
    {"Thanks!", " You are welcome.", " Whatever."},
    {"Help me", " With pleasure.", " Do it yourself."},
    {"Hello", ", how are you?", ". Go away."},
};

static float table[VOCAB][VOCAB];       /* the model */
static float logits[MOST_ROWS][VOCAB];  /* what it says of the batch, then the gradients */
static unsigned char last[MOST_ROWS];   /* the byte that each row continues */
static uint32_t targets[MOST_ROWS];     /* the byte that it is asked for */
static dpo_span spans[SEQUENCES];       /* the rows of each answer */
static dpo_pair pairs[PAIRS];

static void must(dpo_status status, const dpo_error *error) {
    if (status == DPO_OK) return;
    fprintf(stderr, "%s", dpo_status_message(status));
    if (dpo_buffer_name(error->subject) != NULL)
        fprintf(stderr, " (%s)", dpo_buffer_name(error->subject));
    fprintf(stderr, ": %lu, %lu\n", (unsigned long)error->numbers[0],
            (unsigned long)error->numbers[1]);
    exit(1);
}

/* Row t of a model's output scores byte t + 1 of its input: the last byte of the prompt asks for the
 * first of the answer. */
static size_t lay_out(void) {
    size_t rows = 0;
    for (size_t sequence = 0; sequence < SEQUENCES; sequence++) {
        const char *prompt = DATA[sequence / 2][0], *answer = DATA[sequence / 2][1 + sequence % 2];
        unsigned char before = (unsigned char)prompt[strlen(prompt) - 1];
        spans[sequence].start = rows;
        for (const char *byte = answer; *byte != '\0'; byte++, rows++) {
            last[rows] = before;
            before = (unsigned char)*byte;
            targets[rows] = before;
        }
        spans[sequence].end = rows;
    }
    for (size_t pair = 0; pair < PAIRS; pair++) {
        pairs[pair].chosen = 2 * pair;
        pairs[pair].rejected = 2 * pair + 1;
    }
    return rows;
}

static void forward(size_t rows) {
    for (size_t row = 0; row < rows; row++) memcpy(logits[row], table[last[row]], sizeof logits[row]);
}

static void descend(size_t rows, float rate) {
    for (size_t row = 0; row < rows; row++)
        for (size_t byte = 0; byte < VOCAB; byte++) table[last[row]][byte] -= rate * logits[row][byte];
}

int main(void) {
    static float log_probs[MOST_ROWS];
    static dpo_row_norm norms[MOST_ROWS];
    static dpo_sequence_log_prob reference[SEQUENCES], policy[SEQUENCES];
    static double d_log_probs[SEQUENCES], coefficients[MOST_ROWS];
    static dpo_pair_loss losses[PAIRS];
    const size_t rows = lay_out();
    const dpo_dispatch dispatch = dpo_detect();
    const dpo_layout layout = {.size = sizeof layout, .targets = targets, .rows = rows, .spans = spans,
                               .count = SEQUENCES, .vocab = VOCAB};
    dpo_error error;

    /* Once: the log-probs under the frozen reference, which is the model as it is now. */
    forward(rows);
    const dpo_logits frozen = {.size = sizeof frozen, .data = logits, .len = rows * VOCAB,
                               .rows = rows, .vocab = VOCAB, .type = DPO_TYPE_F32};
    must(dpo_token_log_probs(dispatch, &frozen, &layout, log_probs, NULL, NULL, NULL, &error), &error);
    must(dpo_sequence_log_probs(log_probs, &layout, NULL, reference, &error), &error);

    /* Every step. */
    dpo_loss loss;
    memset(&loss, 0, sizeof loss);
    loss.name = DPO_LOSS_SIGMOID;
    loss.options[0].parameter = DPO_PARAMETER_BETA;
    loss.options[0].value = 0.1;
    const dpo_objective objective = {.size = sizeof objective, .losses = &loss, .count = 1};
    const dpo_pairs batch = {.size = sizeof batch, .pairs = pairs, .count = PAIRS,
                             .reference_sequences = reference, .divisor = PAIRS};
    const dpo_logits_mut view = {.size = sizeof view, .data = logits, .len = rows * VOCAB,
                                 .rows = rows, .vocab = VOCAB, .type = DPO_TYPE_F32};
    const dpo_step step = {.size = sizeof step, .layout = &layout, .in_place = &view,
                           .log_probs = log_probs, .norms = norms, .sequences = policy,
                           .d_log_probs = d_log_probs, .coefficients = coefficients};
    dpo_summary summary;
    double first = 0.0;
    memset(&summary, 0, sizeof summary);
    for (int i = 0; i <= STEPS; i++) {
        forward(rows);
        must(dpo_preference_step(dispatch, &objective, &batch, &step, losses, &summary, &error), &error);
        if (i == 0) first = summary.loss_sum;
        if (i % 10 == 0)
            printf("step %2d: loss %.4f, margin %.4f, %u of %u in order\n", i,
                   summary.loss_sum / PAIRS, summary.margin_sum / PAIRS, (unsigned)summary.correct, PAIRS);
        descend(rows, 4.0f);
    }
    return summary.loss_sum < first && summary.correct == PAIRS ? 0 : 1;
}
