/* As zeroed.c, the structs of losses: of pairs, of answers, of likelihoods. */
#include "zeroed.h"

static void losses_of_pairs(void) {
    dpo_error error;
    double d[2];

    CASE(dpo_loss);
    ZEROED(dpo_loss, loss);
    CASE(dpo_pair_log_probs);
    ZEROED(dpo_pair_log_probs, pair);
    CASE(dpo_pair_loss);
    DIRTY(dpo_pair_loss, found);
    /* Policy and reference agree: ln 2, and -beta / 2 with beta 0.1. */
    CHECK(dpo_evaluate_pair(&loss, &pair, &found, NULL) == DPO_OK);
    CHECK(near(found.loss, 0.6931471805599453) && near(found.d_chosen, -0.05) && found.margin == 0.0);
    pair.policy_chosen = -1.0;
    pair.policy_rejected = -3.0;
    /* softplus(-0.1 * 2): a pair by itself has no weight that could be forgotten. */
    CHECK(dpo_evaluate_pair(&loss, &pair, &found, NULL) == DPO_OK && near(found.loss, 0.598138869381592));

    CASE(dpo_option);
    ZEROED(dpo_option, option);
    /* No option, before another too: softplus(-0.5 * 2). */
    loss.options[0] = option;
    loss.options[1].parameter = DPO_PARAMETER_BETA;
    loss.options[1].value = 0.5;
    CHECK(dpo_evaluate_pair(&loss, &pair, &found, NULL) == DPO_OK && near(found.loss, 0.3132616875182228));
    /* A value without its parameter is refused. */
    loss.options[0].value = 0.5;
    CHECK(dpo_evaluate_pair(&loss, &pair, &found, &error) == DPO_ERROR_FIELD_UNUSED);
    memset(loss.options, 0, sizeof loss.options);

    CASE(dpo_objective);
    SIZED(dpo_objective, objective);
    objective.losses = &loss;
    objective.count = 1;
    const dpo_sequence_log_prob policy[2] = {{-1.0, 2}, {-3.0, 2}};
    SIZED(dpo_pairs, pairs);
    pairs.pairs = &PAIR;
    pairs.count = 1;
    pairs.reference_sums = ZEROS;
    DIRTY(dpo_summary, summary);
    CASE(dpo_pairs);
    CHECK(dpo_preference_loss(&objective, &pairs, policy, 2, &found, d, &summary, &error) ==
          DPO_ERROR_PARAMETER);
    CHECK(error.subject == DPO_PARAMETER_DIVISOR && error.value == 0.0);
    pairs.divisor = 1.0;
    CHECK(dpo_preference_loss(&objective, &pairs, policy, 2, &found, d, &summary, NULL) == DPO_OK);
    CHECK(near(summary.loss_sum, 0.598138869381592));
    pairs.reference_sums = NULL;
    CHECK(dpo_preference_loss(&objective, &pairs, policy, 2, &found, d, &summary, NULL) ==
          DPO_ERROR_REFERENCE_MISSING);
    /* SimPO, beta 2 and gamma 0.5 by default, needs none: softplus(-(2 * (-0.5 + 1.5) - 0.5)). */
    ZEROED(dpo_loss, simpo);
    simpo.name = DPO_LOSS_SIMPO;
    objective.losses = &simpo;
    CHECK(dpo_preference_loss(&objective, &pairs, policy, 2, &found, d, &summary, NULL) == DPO_OK);
    CHECK(near(summary.loss_sum, 0.20141327798275246));
    objective.losses = &loss;
    pairs.reference_sums = ZEROS;
    objective.count = 2;
    const dpo_loss two[2] = {loss, loss};
    objective.losses = two;
    CHECK(dpo_preference_loss(&objective, &pairs, policy, 2, &found, d, &summary, NULL) == DPO_ERROR_LENGTH);
    objective.count = 1;

    CASE(dpo_summary);
    /* Every field is written, whatever was there; sums begin at 0. */
    memset(&summary, 0xa5, sizeof summary);
    CHECK(dpo_preference_loss(&objective, &pairs, policy, 2, &found, d, &summary, NULL) == DPO_OK);
    CHECK(summary.pairs == 1 && summary.correct == 1 && summary.ties == 0 && summary.saturated == 0);
    CHECK(summary.displaced == 1 && summary.saturated_wrong == 0 && near(summary.margin_sum, 0.2));

    CASE(dpo_pair);
    ZEROED(dpo_pair, of_nothing);
    pairs.pairs = &of_nothing;
    CHECK(dpo_preference_loss(&objective, &pairs, policy, 2, &found, d, &summary, NULL) ==
          DPO_ERROR_PAIR_OF_ONE_SEQUENCE);
    pairs.pairs = &PAIR;

    CASE(dpo_sequence_log_prob);
    ZEROED(dpo_sequence_log_prob, none);
    const dpo_sequence_log_prob empty[2] = {none, none};
    objective.losses = &simpo;
    pairs.reference_sums = NULL;
    CHECK(dpo_preference_loss(&objective, &pairs, empty, 2, &found, d, &summary, NULL) ==
          DPO_ERROR_NO_SCORED_TOKENS);
    objective.losses = &loss;
    pairs.reference_sequences = empty;
    CHECK(dpo_preference_loss(&objective, &pairs, policy, 2, &found, d, &summary, NULL) ==
          DPO_ERROR_TOKEN_COUNT_MISMATCH);

    CASE(dpo_error);
    memset(&error, 0xa5, sizeof error);
    pairs.reference_sequences = policy;
    CHECK(dpo_preference_loss(&objective, &pairs, policy, 2, &found, d, &summary, &error) == DPO_OK);
    CHECK(error.status == DPO_OK && error.subject == 0 && error.value == 0.0);
    for (int i = 0; i < 4; i++) CHECK(error.numbers[i] == 0);
}

static void losses_of_answers(void) {
    dpo_error error;
    double d[2];
    const dpo_sequence_log_prob policy[2] = {{-1.0, 2}, {-3.0, 3}};
    ZEROED(dpo_loss, loss);
    loss.name = DPO_LOSS_APO_ZERO;

    CASE(dpo_unpaired_batch);
    ZEROED(dpo_answer, answer);
    SIZED(dpo_unpaired_batch, batch);
    batch.answers = &answer;
    batch.count = 1;
    batch.reference_sums = ZEROS;
    DIRTY(dpo_answer_loss, found);
    DIRTY(dpo_unpaired_summary, summary);
    CHECK(dpo_unpaired_loss(&loss, &batch, policy, 2, &found, d, &summary, &error) == DPO_ERROR_PARAMETER);
    CHECK(error.subject == DPO_PARAMETER_DIVISOR);
    batch.divisor = 1.0;
    batch.reference_sums = NULL;
    CHECK(dpo_unpaired_loss(&loss, &batch, policy, 2, &found, d, &summary, NULL) ==
          DPO_ERROR_REFERENCE_MISSING);
    batch.reference_sums = ZEROS;

    /* As data sets write it: 0 is bad, so its log-prob is pushed down; APO-zero, beta 0.1: sigmoid(-0.1). */
    CASE(dpo_answer);
    CHECK(dpo_unpaired_loss(&loss, &batch, policy, 2, &found, d, &summary, NULL) == DPO_OK);
    CHECK(summary.undesirable == 1 && summary.desirable == 0 && d[0] > 0.0);
    CASE(dpo_answer_loss);
    CHECK(near(found.loss, 0.47502081252106) && near(found.reward, -0.1) && found.d_log_prob == d[0]);
    CASE(dpo_unpaired_summary);
    CHECK(near(summary.undesirable_loss_sum, 0.47502081252106) && summary.desirable_loss_sum == 0.0);
    answer.label = 1;
    CHECK(dpo_unpaired_loss(&loss, &batch, policy, 2, &found, d, &summary, NULL) == DPO_OK);
    CHECK(summary.desirable == 1 && summary.undesirable == 0 && d[0] < 0.0);
    CHECK(near(found.loss, 1.0 - 0.47502081252106));
    for (int32_t label = -2; label < 5; label++) {
        answer.label = label;
        dpo_status status = dpo_unpaired_loss(&loss, &batch, policy, 2, &found, d, &summary, &error);
        if (label == 0 || label == 1) continue;
        CHECK(status == DPO_ERROR_UNKNOWN_LABEL && error.value == label);
    }

    CASE(dpo_nll);
    SIZED(dpo_nll, nll);
    DIRTY(dpo_nll_summary, likelihood);
    nll.pairs = &PAIR;
    nll.count = 1;
    CHECK(dpo_nll_loss(&nll, policy, 2, d, &likelihood, &error) == DPO_ERROR_PARAMETER);
    CHECK(error.subject == DPO_PARAMETER_DIVISOR);
    nll.divisor = 1.0;
    CHECK(dpo_nll_loss(&nll, policy, 2, d, &likelihood, NULL) == DPO_OK);
    CHECK(d[0] == 0.0 && likelihood.left_out == 1 && likelihood.sequences == 0); /* weight 0 */
    nll.weight = 1.0;
    CHECK(dpo_nll_loss(&nll, policy, 2, d, &likelihood, NULL) == DPO_OK);
    CHECK(d[0] == -1.0 && d[1] == 0.0); /* per token */
    CASE(dpo_nll_summary);
    CHECK(likelihood.sequences == 1 && likelihood.tokens == 2 && near(likelihood.loss_sum, 1.0));
}

int main(void) {
    losses_of_pairs();
    losses_of_answers();
    return failures == 0 ? 0 : 1;
}
