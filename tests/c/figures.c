/* Every stage and loss on fixed inputs, as a host would call them. Prints one figure a line, by
 * its bits, for the test to compare with the Rust functions to the bit; checks by itself what does
 * not depend on this library: figures that were computed elsewhere. C99 and C++11. */
#include <dpo_kernel.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 6
#define VOCAB 5
#define STRIDE 7
#define SEQUENCES 3
#define PAIRS 2

static int failures = 0;

static void check(int is_right, const char *what) {
    if (!is_right) {
        fprintf(stderr, "%s\n", what);
        failures += 1;
    }
}

static void near(double found, double expected, double tolerance, const char *what) {
    if (!(fabs(found - expected) <= tolerance)) {
        fprintf(stderr, "%s: %.17g is not %.17g\n", what, found, expected);
        failures += 1;
    }
}

static void ok(dpo_status status, const dpo_error *error, const char *what) {
    if (status != DPO_OK || error->status != DPO_OK) {
        fprintf(stderr, "%s: %s (%d)\n", what, dpo_status_message(status), (int)status);
        exit(1);
    }
}

/* The bits of a double; all NaN are one. */
static void figure(const char *name, double value) {
    uint64_t bits = UINT64_C(0x7ff8000000000000);
    if (!isnan(value)) memcpy(&bits, &value, sizeof bits);
    printf("%s %08lx%08lx\n", name, (unsigned long)(bits >> 32),
           (unsigned long)(bits & UINT64_C(0xffffffff)));
}

/* A batch: two pairs over three sequences, a row of nobody, an ignored row, padding. */
static const uint32_t TARGETS[ROWS] = {1, 0, 4, 99, DPO_IGNORE_INDEX, 2};
static const dpo_span SPANS[SEQUENCES] = {{0, 2}, {4, 6}, {2, 3}};
static const dpo_pair PREFERENCES[PAIRS] = {{0, 1}, {0, 2}};
static const double REFERENCE[SEQUENCES] = {-3.5, -1.25, -2.0};
static const float TOKEN_WEIGHTS[ROWS] = {1.0f, 0.5f, 0.75f, 1.0f, 1.0f, 2.0f};
static const float WEIGHTS[PAIRS] = {1.0f, 0.5f};
static const float OFFSETS[PAIRS] = {0.0f, 0.25f};

static void fill(float *logits) {
    for (int i = 0; i < ROWS * STRIDE; i++) {
        int column = i % STRIDE;
        logits[i] = column < VOCAB ? (float)((i * 37 + 11) % 64) / 8.0f - 4.0f : (float)NAN;
    }
    logits[2 * STRIDE + 1] = -INFINITY;
}

/* The spans do not ascend: memory to sort them in. */
static size_t order[SEQUENCES];

static dpo_layout layout(void) {
    dpo_layout layout = {sizeof layout, TARGETS, ROWS, SPANS, SEQUENCES, VOCAB, 0, 0, order};
    return layout;
}

static dpo_pairs pairs(void) {
    dpo_pairs pairs = {sizeof pairs, PREFERENCES, PAIRS, REFERENCE, NULL, WEIGHTS, OFFSETS, 2.0};
    return pairs;
}

static void give(dpo_loss *loss, int option, int32_t parameter, double value) {
    loss->options[option].parameter = parameter;
    loss->options[option].value = value;
}

static dpo_loss dpo(double beta, double label_smoothing) {
    dpo_loss loss;
    memset(&loss, 0, sizeof loss);
    loss.name = DPO_LOSS_SIGMOID;
    give(&loss, 0, DPO_PARAMETER_BETA, beta);
    give(&loss, 1, DPO_PARAMETER_LABEL_SMOOTHING, label_smoothing);
    return loss;
}

static dpo_objective one(const dpo_loss *loss) {
    dpo_objective objective = {sizeof objective, loss, 1, DPO_OBJECTIVE_ONE, 0, NULL, NULL, 0};
    return objective;
}

/* The stages one by one, then the step, which must give the same bits. */
static void stages(dpo_dispatch dispatch) {
    const dpo_transform transform = {1.25f, 6.0f, 0.75f};
    float logits[ROWS * STRIDE], grads[ROWS * VOCAB], log_probs[ROWS], step_log_probs[ROWS];
    dpo_row_norm norms[ROWS];
    dpo_row_details details[ROWS];
    dpo_sequence_log_prob sums[SEQUENCES];
    dpo_pair_loss losses[PAIRS];
    double d[SEQUENCES], coefficients[ROWS], step_coefficients[ROWS];
    dpo_summary summary, step_summary;
    dpo_token_summary tokens, step_tokens;
    dpo_error error;
    const dpo_layout which = layout();
    const dpo_pairs preferences = pairs();
    const dpo_loss loss = dpo(0.5, 0.125);
    const dpo_objective objective = one(&loss);

    fill(logits);
    memset(log_probs, 0, sizeof log_probs);
    memset(norms, 0, sizeof norms);
    memset(details, 0, sizeof details);
    memset(grads, 0, sizeof grads);
    memset(coefficients, 0, sizeof coefficients);
    memset(step_coefficients, 0, sizeof step_coefficients);
    dpo_logits view = {sizeof view, logits, ROWS * STRIDE, ROWS, VOCAB, STRIDE, DPO_TYPE_F32, transform};
    ok(dpo_token_log_probs(dispatch, &view, &which, log_probs, norms, details, &tokens, &error), &error,
       "token log-probs");
    ok(dpo_sequence_log_probs(log_probs, &which, TOKEN_WEIGHTS, sums, &error), &error, "sums");
    ok(dpo_preference_loss(&objective, &preferences, sums, SEQUENCES, losses, d, &summary, &error), &error,
       "loss");
    dpo_logits_mut out = {sizeof out, grads, ROWS * VOCAB, ROWS, VOCAB, 0, DPO_TYPE_F32, DPO_TRANSFORM_NONE};
    ok(dpo_token_coefficients(&which, d, TOKEN_WEIGHTS, NULL, coefficients, &error), &error, "coefficients");
    dpo_grads backward = {sizeof backward, norms, coefficients, DPO_UNSCORED_KEEP, 0};
    ok(dpo_logit_grads(dispatch, &view, &which, &backward, &out, &error), &error, "gradients");

    figure("tokens", (double)tokens.tokens);
    for (int row = 0; row < ROWS; row++) {
        figure("coefficient", coefficients[row]);
        figure("log_prob", log_probs[row]);
        figure("entropy", details[row].entropy);
        figure("argmax", details[row].argmax);
        figure("mean_logit", details[row].mean_logit);
        figure("log_sum_sq_probs", details[row].log_sum_sq_probs);
    }
    for (int i = 0; i < SEQUENCES; i++) {
        figure("sum", sums[i].sum);
        figure("count", (double)sums[i].count);
        figure("d_log_prob", d[i]);
    }
    for (int i = 0; i < PAIRS; i++) {
        figure("loss", losses[i].loss);
        figure("margin", losses[i].margin);
        figure("d_chosen", losses[i].d_chosen);
    }
    figure("loss_sum", summary.loss_sum);
    figure("correct", (double)summary.correct);
    for (int i = 0; i < ROWS * VOCAB; i++) figure("grad", grads[i]);

    dpo_logits_mut in_place = {sizeof in_place, logits, ROWS * STRIDE, ROWS, VOCAB, STRIDE, DPO_TYPE_F32, transform};
    dpo_step step = DPO_STEP_INIT;
    step.layout = &which;
    step.in_place = &in_place;
    step.log_probs = step_log_probs;
    step.norms = norms;
    step.sequences = sums;
    step.d_log_probs = d;
    step.coefficients = step_coefficients;
    step.token_weights = TOKEN_WEIGHTS;
    step.tokens = &step_tokens;
    ok(dpo_preference_step(dispatch, &objective, &preferences, &step, losses, &step_summary, &error), &error,
       "step");
    check(memcmp(&summary, &step_summary, sizeof summary) == 0, "the step's summary is not its stages'");
    check(memcmp(&tokens, &step_tokens, sizeof tokens) == 0, "the step's tokens are not its stages'");
    check(memcmp(coefficients, step_coefficients, sizeof coefficients) == 0,
          "the step's coefficients are not its stages'");
    for (int row = 0; row < ROWS; row++) {
        int scored = row != 3 && row != 4;
        for (int column = 0; column < STRIDE; column++) {
            float found = logits[row * STRIDE + column];
            if (column >= VOCAB)
                check(isnan(found), "padding was written");
            else if (scored)
                check(found == grads[row * VOCAB + column], "the step's gradient is not its stages'");
        }
    }
}

/* 16-bit logits, whose bits the host brings. */
static void storage(dpo_dispatch dispatch) {
    /* 1, -2, 0.5 and -inf in binary16 and bfloat16. */
    const uint16_t halves[4] = {0x3c00, 0xc000, 0x3800, 0xfc00};
    const uint16_t brains[4] = {0x3f80, 0xc000, 0x3f00, 0xff80};
    const uint32_t target = 2;
    const dpo_span span = {0, 1};
    const dpo_layout which = {sizeof which, &target, 1, &span, 1, 4, 0, 0, NULL};
    const double c = -0.75;
    float log_probs[2] = {0.0f, 0.0f};
    dpo_row_norm norm;
    dpo_error error;
    for (int i = 0; i < 2; i++) {
        uint16_t data[4];
        memcpy(data, i == 0 ? halves : brains, sizeof data);
        const int32_t type = i == 0 ? DPO_TYPE_F16 : DPO_TYPE_BF16;
        dpo_logits view = {sizeof view, data, 4, 1, 4, 0, type, DPO_TRANSFORM_NONE};
        dpo_logits_mut in_place = {sizeof in_place, data, 4, 1, 4, 0, type, DPO_TRANSFORM_NONE};
        dpo_grads backward = {sizeof backward, &norm, &c, DPO_UNSCORED_KEEP, 0};
        ok(dpo_token_log_probs(dispatch, &view, &which, &log_probs[i], &norm, NULL, NULL, &error), &error,
           "16 bits");
        ok(dpo_logit_grads_in_place(dispatch, &in_place, &which, &backward, &error), &error, "16-bit gradients");
        figure("log_prob16", log_probs[i]);
        for (int j = 0; j < 4; j++) figure("bits16", data[j]);
        check(data[3] == 0 || data[3] == 0x8000, "a masked column has a gradient");
    }
    check(log_probs[0] == log_probs[1], "one row in two types has two log-probs");
    near(log_probs[0], -1.0045969023422836, 1e-7, "log p of {1, -2, 0.5, -inf}");
}

/* A row folded on two machines. */
static void tiles(dpo_dispatch dispatch) {
    float row[4] = {1.0f, 2.0f, 3.0f, 4.0f};
    dpo_transform none = DPO_TRANSFORM_NONE;
    dpo_row_stats left, right;
    dpo_row_result result;
    dpo_error error;
    ok(dpo_row_stats_new(&none, DPO_ROW_TARGET | DPO_ROW_DETAILS, 3, &left, &error), &error, "new");
    right = left;
    ok(dpo_row_stats_fold(dispatch, &left, DPO_TYPE_F32, row, 2, 0, &error), &error, "fold");
    ok(dpo_row_stats_fold(dispatch, &right, DPO_TYPE_F32, row + 2, 2, 2, &error), &error, "fold");
    ok(dpo_row_stats_merge(&left, &right, &error), &error, "merge");
    ok(dpo_row_stats_finish(&left, &result, &error), &error, "finish");
    near(result.log_z, 4.440189698561196, 1e-7, "log Z");
    near(result.log_prob, -0.440189698561196, 1e-7, "log p");
    check(result.columns == 4 && result.details.argmax == 3, "columns");
    figure("log_z", result.log_z);
    figure("entropy_of_tiles", result.details.entropy);
    for (int i = 0; i < 2; i++) {
        dpo_tile tile = {sizeof tile, row + 2 * i, 2, 1.0, result.norm, none, DPO_TYPE_F32, (uint32_t)(2 * i), 3};
        ok(dpo_tile_grads_in_place(dispatch, &tile, &error), &error, "tile");
    }
    near(row[0], -0.0320586, 1e-6, "gradient of a tile");
    near(row[3], 1.0 - 0.6439143, 1e-6, "gradient of the target");
    for (int i = 0; i < 4; i++) figure("tile_grad", row[i]);
}

/* A row of three blocks on two machines, of which one sends bytes: those that are printed, to a
 * process that checks them. Merged either way it has the bits of the row folded by one. */
static void shards(dpo_dispatch dispatch) {
    static float row[1100];
    const dpo_transform transform = {1.25f, 0.0f, 0.75f};
    for (int i = 0; i < 1100; i++) row[i] = (float)((i * 37 + 11) % 64) / 8.0f + (float)(i / 512 * 40);
    row[20] = -INFINITY;
    for (uint32_t details = 0; details <= DPO_ROW_DETAILS; details += DPO_ROW_DETAILS) {
        const size_t len = details == 0 ? DPO_ROW_BYTES : DPO_ROW_DETAIL_BYTES;
        uint8_t bytes[DPO_ROW_DETAIL_BYTES];
        dpo_row_stats whole, left, right, sent;
        dpo_row_result result;
        dpo_error error;
        ok(dpo_row_stats_new(&transform, DPO_ROW_TARGET | details, 700, &whole, &error), &error, "new");
        left = right = whole;
        memset(&sent, 0x5a, sizeof sent);
        ok(dpo_row_stats_fold(dispatch, &whole, DPO_TYPE_F32, row, 1100, 0, &error), &error, "fold");
        ok(dpo_row_stats_fold(dispatch, &left, DPO_TYPE_F32, row, 512, 0, &error), &error, "fold");
        ok(dpo_row_stats_fold(dispatch, &right, DPO_TYPE_F32, row + 512, 588, 512, &error), &error, "fold");
        ok(dpo_row_stats_write_bytes(&right, bytes, len, &error), &error, "write");
        for (size_t i = 0; i < len; i++) figure("row_byte", bytes[i]);
        ok(dpo_row_stats_from_bytes(&transform, bytes, len, &sent, &error), &error, "read");
        check(memcmp(&sent, &right, sizeof sent) == 0, "bytes are read as they were written");
        ok(dpo_row_stats_merge(&sent, &left, &error), &error, "merge");
        ok(dpo_row_stats_merge(&left, &right, &error), &error, "merge");
        check(memcmp(&sent, &whole, sizeof sent) == 0, "the right shard first");
        check(memcmp(&left, &whole, sizeof left) == 0, "the left shard first");
        ok(dpo_row_stats_finish(&sent, &result, &error), &error, "finish");
        figure("log_z_of_shards", result.log_z);
        figure("log_prob_of_shards", result.log_prob);
        figure("entropy_of_shards", result.details.entropy);
    }
}

/* Losses by name, against figures from elsewhere: 40-digit arithmetic on this pair. */
static void losses(void) {
    static const struct {
        const char *name;
        double loss;
    } table[] = {{"sigmoid", 0.632599035317169}, {"ipo", 23.88765625}, {"hinge", 0.875}};
    const dpo_pair_log_probs pair = {-20.5, -25.25, -21.0, -24.5, 10, 12, 0.0};
    dpo_error error;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        dpo_loss loss;
        dpo_pair_loss found;
        memset(&loss, 0, sizeof loss);
        ok(dpo_loss_parse(table[i].name, strlen(table[i].name), &loss.name, &error), &error, table[i].name);
        check(strcmp(dpo_loss_name(loss.name), table[i].name) == 0, "the name of a name");
        give(&loss, 0, DPO_PARAMETER_BETA, 0.1);
        ok(dpo_evaluate_pair(&loss, &pair, &found, &error), &error, table[i].name);
        near(found.loss, table[i].loss, 1e-13, table[i].name);
    }
    /* All of them with what has no default, in the order of their numbers. */
    for (int32_t name = 0; dpo_loss_name(name) != NULL; name++) {
        dpo_loss loss;
        dpo_pair_loss found;
        memset(&loss, 0, sizeof loss);
        loss.name = name;
        /* In any place, with empty ones before it. */
        if (name == DPO_LOSS_KTO) give(&loss, DPO_MOST_OPTIONS - 1, DPO_PARAMETER_REFERENCE_KL, 0.25);
        if (name == DPO_LOSS_RPO_FWD_KL || name == DPO_LOSS_RPO_BWD_KL || name == DPO_LOSS_RPO_SQ)
            give(&loss, 3, DPO_PARAMETER_REWARD_GAP, 0.5);
        if (name == DPO_LOSS_A2PO) give(&loss, 0, DPO_PARAMETER_ADVANTAGE, 0.5);
        dpo_status status = dpo_evaluate_pair(&loss, &pair, &found, &error);
        if (name == DPO_LOSS_AOT || name == DPO_LOSS_AOT_UNPAIRED || name == DPO_LOSS_SFT ||
            name == DPO_LOSS_A2PO || name == DPO_LOSS_S_DPO) {
            check(status == DPO_ERROR_UNKNOWN_VALUE, "a loss of another kind was evaluated on a pair");
            continue;
        }
        ok(status, &error, dpo_loss_name(name));
        figure(dpo_loss_name(name), found.loss);
        figure("d_chosen", found.d_chosen);
        figure("d_rejected", found.d_rejected);
    }
}

/* A mixture, one loss for each pair, a sorted batch, answers without a partner, NLL. */
static void batches(void) {
    const dpo_sequence_log_prob policy[SEQUENCES] = {{-3.0, 2}, {-1.5, 1}, {-2.5, 1}};
    dpo_loss two[2] = {dpo(0.5, 0.0), dpo(0.25, 0.0)};
    const double term_weights[2] = {0.75, 0.25};
    size_t order[2 * PAIRS];
    dpo_pair_loss found[PAIRS];
    double d[SEQUENCES];
    dpo_summary summary;
    dpo_error error;
    dpo_pairs preferences = pairs();
    memset(&two[1], 0, sizeof two[1]);
    two[1].name = DPO_LOSS_HINGE;
    give(&two[1], 0, DPO_PARAMETER_BETA, 0.25);
    for (int kind = DPO_OBJECTIVE_PER_PAIR; kind <= DPO_OBJECTIVE_MIXTURE; kind++) {
        const double *weights = kind == DPO_OBJECTIVE_MIXTURE ? term_weights : NULL;
        dpo_objective objective = {sizeof objective, two, 2, kind, 0, weights, NULL, 0};
        ok(dpo_preference_loss(&objective, &preferences, policy, SEQUENCES, found, d, &summary, &error), &error,
           "two losses");
        figure("objective", summary.loss_sum);
        for (int i = 0; i < SEQUENCES; i++) figure("d_objective", d[i]);
    }
    dpo_loss aot;
    memset(&aot, 0, sizeof aot);
    aot.name = DPO_LOSS_AOT;
    dpo_objective sorted = {sizeof sorted, &aot, 1, DPO_OBJECTIVE_ONE, 0, NULL, order, 2 * PAIRS};
    preferences.weights = NULL;
    preferences.offsets = NULL;
    ok(dpo_preference_loss(&sorted, &preferences, policy, SEQUENCES, found, d, &summary, &error), &error, "aot");
    figure("aot", summary.loss_sum);
    /* Both pairs have the first sequence for their chosen answer: one group. */
    dpo_loss softmax;
    memset(&softmax, 0, sizeof softmax);
    softmax.name = DPO_LOSS_S_DPO;
    give(&softmax, 0, DPO_PARAMETER_BETA, 0.5);
    dpo_objective grouped = {sizeof grouped, &softmax, 1, DPO_OBJECTIVE_ONE, 0, NULL, NULL, 0};
    ok(dpo_preference_loss(&grouped, &preferences, policy, SEQUENCES, found, d, &summary, &error), &error,
       "s_dpo");
    figure("s_dpo", summary.loss_sum);
    for (int i = 0; i < SEQUENCES; i++) figure("d_s_dpo", d[i]);
    dpo_loss divergent = dpo(0.5, 0.125);
    give(&divergent, 2, DPO_PARAMETER_DIVERGENCE, DPO_DIVERGENCE_ALPHA_TRL);
    give(&divergent, 4, DPO_PARAMETER_DIVERGENCE_ALPHA, 0.25);
    dpo_objective alpha = one(&divergent);
    ok(dpo_preference_loss(&alpha, &preferences, policy, SEQUENCES, found, d, &summary, &error), &error,
       "an alpha-divergence");
    figure("alpha", summary.loss_sum);

    dpo_loss kto;
    memset(&kto, 0, sizeof kto);
    kto.name = DPO_LOSS_KTO;
    give(&kto, 0, DPO_PARAMETER_REFERENCE_KL, 0.0);
    const dpo_answer labelled[3] = {{0, DPO_DESIRABLE}, {1, DPO_UNDESIRABLE}, {2, DPO_UNDESIRABLE}};
    dpo_unpaired_batch answers = {sizeof answers, labelled, 3, REFERENCE, NULL, NULL, NULL, 3.0};
    dpo_answer_loss each[3];
    dpo_unpaired_summary sums;
    ok(dpo_unpaired_loss(&kto, &answers, policy, SEQUENCES, each, d, &sums, &error), &error, "kto");
    figure("desirable", sums.desirable_loss_sum);
    figure("undesirable", sums.undesirable_loss_sum);
    dpo_loss regression;
    memset(&regression, 0, sizeof regression);
    regression.name = DPO_LOSS_A2PO;
    give(&regression, 0, DPO_PARAMETER_ADVANTAGE, 0.5);
    ok(dpo_unpaired_loss(&regression, &answers, policy, SEQUENCES, each, d, &sums, &error), &error, "a2po");
    figure("a2po", sums.desirable_loss_sum + sums.undesirable_loss_sum);

    /* An advantage for each answer. */
    dpo_loss advantages[3];
    const double of_answer[3] = {0.5, -0.25, 1.0};
    for (int i = 0; i < 3; i++) {
        advantages[i] = regression;
        give(&advantages[i], 0, DPO_PARAMETER_ADVANTAGE, of_answer[i]);
    }
    answers.losses = advantages;
    ok(dpo_unpaired_loss(NULL, &answers, policy, SEQUENCES, each, d, &sums, &error), &error, "an a2po each");
    for (int i = 0; i < 3; i++) figure("a2po_each", each[i].loss);
    for (int i = 0; i < SEQUENCES; i++) figure("a2po_each_d", d[i]);

    dpo_nll nll = DPO_NLL_INIT;
    nll.weight = 1.0;
    nll.divisor = 4.0;
    nll.per = DPO_NLL_PER_SEQUENCE;
    nll.pairs = PREFERENCES;
    nll.count = PAIRS;
    dpo_nll_summary likelihood;
    ok(dpo_nll_loss(&nll, policy, SEQUENCES, d, &likelihood, &error), &error, "nll");
    near(likelihood.loss_sum, 3.0, 0.0, "two chosen answers of 1.5 nats a token");
    for (int i = 0; i < SEQUENCES; i++) figure("d_nll", d[i]);

    float token_weights[ROWS] = {0.0f};
    const dpo_layout which = layout();
    ok(dpo_ld_token_weights(0.25, &which, PREFERENCES, 1, token_weights, &error), &error, "LD");
    check(token_weights[0] == 1.0f && token_weights[1] == 0.25f, "LD weighs the longer answer's tail");
    double offset;
    ok(dpo_odpo_offset(2.0, 1.0, &offset, &error), &error, "ODPO");
    check(offset == 0.0, "ODPO");
    ok(dpo_length_offset(0.01, 10, 12, &offset, &error), &error, "R-DPO");
    near(offset, 0.02, 1e-17, "R-DPO");

    const float log_probs[ROWS] = {-1.0f, -2.0f, -1.5f, 0.0f, 0.0f, -0.5f};
    dpo_row_details details[ROWS];
    memset(details, 0, sizeof details);
    float weights[PAIRS];
    ok(dpo_wpo_pair_weights(DPO_WPO_AT_MOST_ONE, &which, PREFERENCES, PAIRS, log_probs, details, weights, &error),
       &error, "WPO");
    near(weights[0], 0.1353352832366127, 1e-8, "WPO: exp(-1.5 - 0.5)");
}

int main(void) {
    if (strcmp(dpo_version(), DPO_KERNEL_VERSION) != 0) {
        fprintf(stderr, "header %s, library %s\n", DPO_KERNEL_VERSION, dpo_version());
        return 1;
    }
    const dpo_dispatch portable = {DPO_LEVEL_BASELINE, DPO_ARITHMETIC_PORTABLE};
    dpo_dispatch fastest = dpo_detect();
    check(dpo_is_available(portable) == 1 && dpo_is_available(fastest) == 1, "what is found is there");
    fastest.arithmetic = DPO_ARITHMETIC_PORTABLE;
    const dpo_dispatch both[2] = {portable, fastest};
    for (int i = 0; i < 2; i++) {
        stages(both[i]);
        storage(both[i]);
        tiles(both[i]);
        shards(both[i]);
    }
    losses();
    batches();
    near(dpo_log_sigmoid(-17.0), -17.000000041399376, 0.0, "log sigmoid");
    figure("sigmoid", dpo_sigmoid(0.3));
    figure("softplus", dpo_softplus(-40.0));
    figure("log1mexp", dpo_log1mexp(-0.7));
    figure("logaddexp", dpo_logaddexp(1.0, 2.0));
    figure("sigmoid_f32", dpo_sigmoid_f32(0.3f));
    figure("log_sigmoid_f32", dpo_log_sigmoid_f32(0.3f));
    figure("softplus_f32", dpo_softplus_f32(0.3f));
    figure("log1mexp_f32", dpo_log1mexp_f32(-0.3f));
    figure("logaddexp_f32", dpo_logaddexp_f32(0.3f, 0.4f));
    return failures == 0 ? 0 : 1;
}
