/* dpo-kernel: the numbers of Direct Preference Optimization, from logits to logit gradients.
 *
 *   logits -> row norms, token log-probs -> sequence log-probs -> preference loss
 *     ^----- gradients <----- d loss / d log p of tokens <----- d loss / d log pi <--'
 *
 * A batch has R rows of logits over a vocabulary of V, N sequences (spans of rows) and P pairs.
 * The host owns every buffer. Every step: dpo_preference_step, or the stages one by one; before
 * it, once, the log-probs of the sequences under the frozen reference, by dpo_token_log_probs
 * and dpo_sequence_log_probs. The first program to read is examples/c/dpo.c, a host that trains
 * examples/c/host.c.
 *
 * One contract serves all functions; each function's comment says what is particular to it.
 *
 * Ownership   The caller owns all memory. Nothing is allocated, no pointer is kept.
 * Lengths     Counts are in elements, and say how much memory a pointer has. They must be true;
 *             everything else (shapes, strides, spans, targets, indices, parameters) may be
 *             anything and is checked. Memory that is written must be initialised, to anything.
 * NULL        A buffer of no elements may be NULL, and so may what a comment calls optional.
 *             Anything else that is NULL, misaligned, or longer than the address space is an
 *             error, and so is a buffer that is written and overlaps another buffer of the call.
 * Zero        Every struct, zeroed but for its size, pointers and counts, is the default that its
 *             comment names, or is refused. There is no silent third.
 * Weight 0    A pair, an answer or a token of weight 0 is as if it were not there: it may hold NaN,
 *             and no sum, count or gradient knows it. Summaries count those left out.
 * Sizes       Structs that a host fills and that may get more fields begin with their own size:
 *
 *                 dpo_layout layout = {.size = sizeof layout, .targets = targets, .rows = rows,
 *                                      .spans = spans, .count = n, .vocab = vocab}; (C99, C++20)
 *                 dpo_layout layout = DPO_LAYOUT_INIT; layout.targets = targets; ...    (C++11)
 *
 *             A struct without its size is refused (STRUCT_SIZE), never misread. New fields come
 *             last, and 0 is their default: a library takes the smaller structs of hosts that were
 *             compiled with an older header, and the larger ones of a newer header as long as what
 *             it does not know is 0. Structs without a size (elements of arrays, results, dpo_loss)
 *             change only with the name of the shared library: until 1.0 with every minor version
 *             (libdpo_kernel.so.0.1), then with every major one.
 * Errors      On an error no output has changed, but for the three codes NON_FINITE, INVALID_VALUE
 *             of a head's weights, what dpo_preference_step says, and the memory that a layout
 *             sorts its spans in and a head works in. Any function may return the codes above 100. `error` is optional in
 *             every function; on success it is filled with zeros.
 * NON_FINITE  names the first row, pair or answer without a finite result and says how many there
 *             are. Their results are NaN (log_probs of the rows; losses of the pairs and answers,
 *             and d_log_probs of their sequences), all other outputs are complete, but the summary
 *             is not written. To go on without them, run the stages: add up the finite losses, set
 *             every d_log_probs that is not finite to 0, lower the divisor by the pairs left out if
 *             the mean is to be over the rest, and run dpo_token_coefficients and the backward:
 *             rows whose coefficient is 0 need no norm and get zeros. Or give the pair weight 0,
 *             and everything runs as if it were not there.
 * Masks       A column of -inf is masked: its probability and its gradient are exactly 0. A row of
 *             nothing but -inf, or with NaN or +inf, is NON_FINITE_ROWS, and a target on a masked
 *             column NON_FINITE_PAIRS. Where a model masks with the lowest finite value of its type
 *             instead (torch.finfo.min), a target on such a column is no error but a log-prob of
 *             -3e38 (-65504 in f16), which swamps the loss: masked_tokens of dpo_token_summary
 *             counts such tokens.
 * Threads     Every function is reentrant and keeps no state but the CPU features that it found.
 *             Calls may run at the same time unless one writes what another uses.
 * Unwinding   Nothing panics, throws, unwinds, or calls back.
 * Numbers     Log-probs are natural logarithms. A row's result depends on its logits, its target
 *             and the arithmetic, and on nothing else.
 *
 * C99 and C++11. Library: pkg-config dpo_kernel. */
#ifndef DPO_KERNEL_H
#define DPO_KERNEL_H

#include "dpo_kernel_head.h"
#include "dpo_kernel_step.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------- version, texts, instructions */

/* The version of the library that is linked, like DPO_KERNEL_VERSION. Static, never NULL. */
const char *dpo_version(void);

/* What a status means, in a sentence, for any number. Static, never NULL. */
const char *dpo_status_message(dpo_status status);

/* The name of a DPO_BUFFER_ or DPO_PARAMETER_. Static; NULL if there is none of that number. */
const char *dpo_buffer_name(int32_t subject);
const char *dpo_parameter_name(int32_t subject);

/* The fastest combination that this machine has, by its numbers; a zeroed dpo_dispatch stands for
 * it. Hosts whose results must agree with those of machines without hardware multiply-add choose
 * DPO_ARITHMETIC_PORTABLE instead. */
dpo_dispatch dpo_detect(void);

/* 1 if this machine has the combination, else 0. */
int32_t dpo_is_available(dpo_dispatch dispatch);

/* ---------------------------------------- layout */

/* Spans of a rectangular batch: count sequences of rows_each rows, one after another. Codes:
 * SHAPE_OVERFLOW. */
dpo_status dpo_spans_of_batch(size_t rows_each, dpo_span *spans, size_t count, dpo_error *error);

/* Spans of packed sequences from their cumulative offsets, one more than there are sequences:
 * sequence i is [offsets[i], offsets[i + 1]). Codes: LENGTH, OFFSETS_NOT_ASCENDING. */
dpo_status dpo_spans_of_offsets(const uint32_t *offsets, size_t offset_count, dpo_span *spans,
                                size_t count, dpo_error *error);

/* The same of signed offsets, the cu_seqlens of attention kernels; negative ones are refused. */
dpo_status dpo_spans_of_offsets_i32(const int32_t *offsets, size_t offset_count, dpo_span *spans,
                                    size_t count, dpo_error *error);

/* Targets, count, from labels as trainers keep them: int64, with `ignore` (-100 there) where a row
 * is not scored, which becomes DPO_IGNORE_INDEX. The shift by one is the host's: targets[t] is the
 * label of position t + 1. Codes: TARGET_OUT_OF_RANGE for any other label that is negative or
 * beyond 32 bits. */
dpo_status dpo_targets_of_i64(const int64_t *labels, size_t count, int64_t ignore,
                              uint32_t *targets, dpo_error *error);

/* ---------------------------------------- stage 1: rows, tile by tile */

/* Statistics of a row of which nothing was folded yet. flags: DPO_ROW_TARGET if the row has a
 * target (which is 0 otherwise), DPO_ROW_DETAILS to collect entropy, argmax, mean and sum of p^2
 * from the same sweep. Codes: PARAMETER, UNKNOWN_VALUE, FIELD_UNUSED. */
dpo_status dpo_row_stats_new(const dpo_transform *transform, uint32_t flags, uint32_t target,
                             dpo_row_stats *out, dpo_error *error);

/* Folds the columns [first_column, first_column + len) of a row, each of which must come once.
 * tile: len elements of DPO_TYPE_ type. NaN and +inf are no errors: the row's results become NaN.
 * Codes: ROW_STATS, LEVEL_UNAVAILABLE, FUSED_UNAVAILABLE, UNKNOWN_VALUE, PARAMETER. */
dpo_status dpo_row_stats_fold(dpo_dispatch dispatch, dpo_row_stats *stats, int32_t type, const
                              void *tile, size_t len, uint32_t first_column, dpo_error *error);

/* Adds the sums of another part of the same row, of this machine or of another: exactly, so that parts
 * of whole blocks (512 columns from a multiple of it on) give the bits of the whole row, in any order.
 * Codes: MERGE_OF_DIFFERENT_ROWS, ROW_STATS, PARAMETER. */
dpo_status dpo_row_stats_merge(dpo_row_stats *into, const dpo_row_stats *from, dpo_error *error);

/* The statistics as bytes for another machine, little-endian whatever the machine, with a version in
 * them. len: DPO_ROW_BYTES, with details DPO_ROW_DETAIL_BYTES. Codes: LENGTH, ROW_STATS, PARAMETER. */
dpo_status dpo_row_stats_write_bytes(const dpo_row_stats *stats, uint8_t *bytes, size_t len, dpo_error
                                     *error);

/* The statistics that wrote them; transform: that of the row, which the bytes are checked against. The
 * rest is in the bytes. Codes: LENGTH, ROW_BYTES, MERGE_OF_DIFFERENT_ROWS, PARAMETER. */
dpo_status dpo_row_stats_from_bytes(const dpo_transform *transform, const uint8_t *bytes, size_t len,
                                    dpo_row_stats *out, dpo_error *error);

/* log Z, log-prob, norm and details. Codes: ROW_STATS, PARAMETER. */
dpo_status dpo_row_stats_finish(const dpo_row_stats *stats, dpo_row_result *out, dpo_error
                                *error);

/* ---------------------------------------- stages 2 and 3: log-probs */

/* log p of the target of every scored row, R; with norms, R, optional, for the backward, and with
 * details, R, optional, from the same sweep. summary, 1, optional, is not written on
 * NON_FINITE_ROWS. Rows that are not scored are not written. Codes: shapes (1 to 6), layout (3, 7
 * to 9, 32), PARAMETER, LEVEL_UNAVAILABLE, FUSED_UNAVAILABLE; NON_FINITE_ROWS. */
dpo_status dpo_token_log_probs(dpo_dispatch dispatch, const dpo_logits *logits, const
                               dpo_layout *layout, float *log_probs, dpo_row_norm *norms,
                               dpo_row_details *details, dpo_token_summary *summary, dpo_error
                               *error);

/* The sum of token_weights * log_probs over each sequence, N. token_weights: R, finite, optional
 * (1 each); tokens of weight 0 are not counted and not read. Policy and reference must be weighted
 * alike. Codes: layout (3, 7 to 9, 32), INVALID_VALUE. */
dpo_status dpo_sequence_log_probs(const float *log_probs, const dpo_layout *layout, const
                                  float *token_weights, dpo_sequence_log_prob *out, dpo_error
                                  *error);

/* ---------------------------------------- stage 4: losses */

/* The number of a loss (DPO_LOSS_) from a name that trainers give it: len characters, no
 * terminator. Codes: UNKNOWN_LOSS. */
dpo_status dpo_loss_parse(const char *name, size_t len, int32_t *out, dpo_error *error);

/* Its name. Static; NULL if there is none of that number. */
const char *dpo_loss_name(int32_t name);

/* One pair by itself: NaN in every field where a result is not a finite number. Not for aot and
 * sft. Codes: PARAMETER, PARAMETER_UNUSED, PARAMETER_MISSING, UNKNOWN_VALUE, FIELD_UNUSED. */
dpo_status dpo_evaluate_pair(const dpo_loss *loss, const dpo_pair_log_probs *pair, dpo_pair_loss
                             *out, dpo_error *error);

/* Losses of all pairs, P, their sums, and d_log_probs, N: the gradient of (sum of losses /
 * divisor) with respect to log pi of each sequence, 0 where no pair names it. policy: N =
 * sequences. The summary is not written on NON_FINITE_PAIRS. Codes: those of dpo_evaluate_pair,
 * LENGTH, SEQUENCE_OUT_OF_RANGE, PAIR_OF_ONE_SEQUENCE, TOKEN_COUNT_MISMATCH, NO_SCORED_TOKENS,
 * REFERENCE_MISSING, INPUT_UNUSED, INVALID_VALUE; NON_FINITE_PAIRS. */
dpo_status dpo_preference_loss(const dpo_objective *objective, const dpo_pairs *pairs, const
                               dpo_sequence_log_prob *policy, size_t sequences, dpo_pair_loss
                               *losses, double *d_log_probs, dpo_summary *summary, dpo_error
                               *error);

/* The same for answers that are desirable or undesirable by themselves, M, under an unpaired loss:
 * kto, apo_zero, bco_pair, nca_pair, sppo_hard, a2po (others: UNKNOWN_VALUE). Where the batch has
 * losses, one an answer, loss is NULL (FIELD_UNUSED otherwise). The summary is not written on
 * NON_FINITE_ANSWERS. Codes: those of dpo_preference_loss, ANSWER_OUT_OF_RANGE, UNKNOWN_LABEL;
 * NON_FINITE_ANSWERS. */
dpo_status dpo_unpaired_loss(const dpo_loss *loss, const dpo_unpaired_batch *answers, const
                             dpo_sequence_log_prob *policy, size_t sequences, dpo_answer_loss
                             *losses, double *d_log_probs, dpo_unpaired_summary *summary,
                             dpo_error *error);

/* An NLL term, or XPO's: its gradient with respect to each token's log-prob, by sequence, N, 0
 * where no answer with a weight names it, and its sums. policy: N = sequences, summed without token
 * weights. Codes: PARAMETER, INVALID_VALUE, SEQUENCE_OUT_OF_RANGE and PAIR_OF_ONE_SEQUENCE for
 * pairs, ANSWER_OUT_OF_RANGE for answers, NO_SCORED_TOKENS, UNKNOWN_VALUE, FIELD_UNUSED;
 * NON_FINITE_PAIRS or NON_FINITE_ANSWERS, on which the summary is not written. */
dpo_status dpo_nll_loss(const dpo_nll *nll, const dpo_sequence_log_prob *policy, size_t sequences,
                        double *d_nll, dpo_nll_summary *summary, dpo_error *error);

/* ---------------------------------------- weights and offsets around a loss */

/* Token weights of LD-DPO, R: 1 up to the length of a pair's shorter answer, alpha in [0, 1] past
 * it; written in the rows of sequences that a pair names. Codes: layout (3, 7 to 9, 32), PARAMETER,
 * SEQUENCE_OUT_OF_RANGE, PAIR_OF_ONE_SEQUENCE, TOKEN_WEIGHTS_DIFFER. */
dpo_status dpo_ld_token_weights(double alpha, const dpo_layout *layout, const dpo_pair
                                *pairs, size_t pair_count, float *token_weights, dpo_error
                                *error);

/* Pair weights of WPO, P, from log_probs, R, and details, R, of one sweep. bound: DPO_WPO_.
 * Codes: layout (3, 7 to 9, 32), SEQUENCE_OUT_OF_RANGE, PAIR_OF_ONE_SEQUENCE, NO_SCORED_TOKENS,
 * UNKNOWN_VALUE; NON_FINITE_PAIRS. */
dpo_status dpo_wpo_pair_weights(int32_t bound, const dpo_layout *layout, const dpo_pair
                                *pairs, size_t pair_count, const float *log_probs, const
                                dpo_row_details *details, float *weights, dpo_error *error);

/* The margin offset of ODPO: alpha * ln(score_gap). Codes: PARAMETER. */
dpo_status dpo_odpo_offset(double alpha, double score_gap, double *out, dpo_error *error);

/* The margin offset of R-DPO: -alpha * (chosen_tokens - rejected_tokens). Codes: PARAMETER. */
dpo_status dpo_length_offset(double alpha, size_t chosen_tokens, size_t rejected_tokens, double
                             *out, dpo_error *error);

/* ---------------------------------------- stage 5: gradients */

/* From d_log_probs, N, of sequences to d loss / d log p of their tokens, R: token_weights (R,
 * optional) times the sequence's, plus d_nll (N, optional, of dpo_nll_loss). Rows that are not
 * scored are not written. A loss of tokens (GRPO and its kin) writes coefficients by itself. Codes:
 * layout (3, 7 to 9, 32), INVALID_VALUE for what is not finite. */
dpo_status dpo_token_coefficients(const dpo_layout *layout, const double *d_log_probs, const float
                                  *token_weights, const double *d_nll, double *coefficients,
                                  dpo_error *error);

/* Gradients of the scored rows into another buffer of the same rows and vocabulary, its own
 * stride, and the logits' type or DPO_TYPE_F32. out->transform is DPO_TRANSFORM_NONE. Rows that are
 * not scored and padding are not written, and hold what they held before, unless grads->unscored is
 * DPO_UNSCORED_ZERO.
 *
 * DPO_TYPE_F16 ends at 65504 and begins at 6e-8: larger gradients become infinite, smaller ones 0,
 * and gradients of a mean over many pairs are that small. Take a smaller divisor, as training in
 * mixed precision scales its loss, or write to DPO_TYPE_F32. Codes: shapes (1 to 6), layout (3, 7
 * to 9, 32), INVALID_VALUE, TRANSFORM_OF_GRADIENTS, PARAMETER, LEVEL_UNAVAILABLE,
 * FUSED_UNAVAILABLE, UNKNOWN_VALUE. */
dpo_status dpo_logit_grads(dpo_dispatch dispatch, const dpo_logits *logits, const dpo_layout
                           *layout, const dpo_grads *grads, const dpo_logits_mut *out,
                           dpo_error *error);

/* The same over the logits themselves. Afterwards rows that are not scored (those that no span
 * covers, and those whose target is the ignore value) and columns past vocab STILL HOLD LOGITS,
 * beside gradients. A host that multiplies the whole buffer by its weights would train on them: it
 * asks for DPO_UNSCORED_ZERO. */
dpo_status dpo_logit_grads_in_place(dpo_dispatch dispatch, const dpo_logits_mut *logits, const
                                    dpo_layout *layout, const dpo_grads *grads, dpo_error
                                    *error);

/* The gradient of one tile of a row over the tile, for heads that make their logits block by
 * block. Codes: INVALID_VALUE, PARAMETER, LEVEL_UNAVAILABLE, FUSED_UNAVAILABLE, UNKNOWN_VALUE. */
dpo_status dpo_tile_grads_in_place(dpo_dispatch dispatch, const dpo_tile *tile, dpo_error *error);

/* ---------------------------------------- all stages in one call */

/* Policy logits to losses, P, their sums, and gradients of the logits, in place or in another
 * buffer. In place, rows that are not scored and columns past vocab still hold logits afterwards unless
 * step->unscored is DPO_UNSCORED_ZERO, as dpo_logit_grads_in_place says.
 *
 * Codes: those of the stages. Shapes, layout, counts and parameters are checked before anything is
 * written. Rows and pairs that are not finite are an error where something of weight other than 0
 * depends on them; they, and coefficients beyond f32 (INVALID_VALUE), are found before the
 * backward, with buffers of the step written: logits, gradients and summaries are unchanged then,
 * as on any error. */
dpo_status dpo_preference_step(dpo_dispatch dispatch, const dpo_objective *objective, const
                               dpo_pairs *pairs, const dpo_step *step, dpo_pair_loss *losses,
                               dpo_summary *summary, dpo_error *error);

/* The same for unpaired answers, M, under a loss of dpo_unpaired_loss. It has no NLL term
 * (FIELD_UNUSED). Sequences that no answer names, like the mismatched ones that K of KTO is made
 * of, get zeros. */
dpo_status dpo_unpaired_step(dpo_dispatch dispatch, const dpo_loss *loss, const dpo_unpaired_batch
                             *answers, const dpo_step *step, dpo_answer_loss *losses,
                             dpo_unpaired_summary *summary, dpo_error *error);

/* ---------------------------------------- the head: logits that never exist */

/* How many doubles a dpo_head_scratch of so many rows holds. Codes: UNKNOWN_VALUE, LENGTH,
 * SHAPE_OVERFLOW, EMPTY_VOCABULARY, VOCABULARY_TOO_LARGE, EMPTY_HIDDEN, STRIDE_BELOW_HIDDEN,
 * PARAMETER. */
dpo_status dpo_head_scratch_len(const dpo_head *head, size_t rows, size_t *out, dpo_error *error);

/* dpo_token_log_probs of the logits that the head would make of the hidden states, of which no more
 * than a tile exists at a time: the same bits. Hidden states of rows that are not scored are not
 * read. Rows whose logits hold NaN or +inf are NON_FINITE_ROWS, or INVALID_VALUE of the head's
 * weights where a row of these is why: all else is written then too. Codes: those of
 * dpo_token_log_probs and dpo_head_scratch_len, HIDDEN_MISMATCH, INVALID_VALUE. */
dpo_status dpo_head_token_log_probs(dpo_dispatch dispatch, const dpo_hidden *states, const dpo_head
                                    *head, const dpo_layout *layout, float *log_probs, dpo_row_norm
                                    *norms, dpo_row_details *details, dpo_token_summary *summary,
                                    const dpo_head_scratch *scratch, dpo_error *error);

/* The same, and in the same stream over the weights the sums of the head's rows that the backward of
 * a frozen head needs, R x H in DPO_TYPE_F32: rows that are scored are written. The backward needs
 * norms too. */
dpo_status dpo_head_forward(dpo_dispatch dispatch, const dpo_hidden *states, const dpo_head *head,
                            const dpo_layout *layout, float *log_probs, dpo_row_norm *norms,
                            dpo_row_details *details, dpo_token_summary *summary, const
                            dpo_hidden_mut *sums, const dpo_head_scratch *scratch, dpo_error
                            *error);

/* The sums of dpo_head_forward become the gradients of the hidden states, in place: states, head and
 * layout are the forward's, grads what dpo_logit_grads takes. Rows that are not scored hold what they
 * held unless grads->unscored is DPO_UNSCORED_ZERO; padding is not written. Once a forward: the sums
 * are gone then. Codes: those of dpo_head_forward, never NON_FINITE_ROWS. */
dpo_status dpo_hidden_grads_in_place(dpo_dispatch dispatch, const dpo_hidden *states, const dpo_head
                                     *head, const dpo_layout *layout, const dpo_grads *grads, const
                                     dpo_hidden_mut *sums, const dpo_head_scratch *scratch, dpo_error
                                     *error);

/* The same into another buffer, of the states' type or DPO_TYPE_F32, its own stride. */
dpo_status dpo_hidden_grads(dpo_dispatch dispatch, const dpo_hidden *states, const dpo_head *head,
                            const dpo_layout *layout, const dpo_grads *grads, const dpo_hidden
                            *sums, const dpo_hidden_mut *out, const dpo_head_scratch *scratch,
                            dpo_error *error);

/* How many doubles a dpo_head_scratch of so many rows holds for dpo_head_grads, with d_head as it is
 * given there. The forward needs no more. Codes: those of dpo_head_scratch_len. */
dpo_status dpo_head_grads_scratch_len(const dpo_head *head, const dpo_head_mut *d_head, size_t rows,
                                      size_t *out, dpo_error *error);

/* The backward of a head that is trained, after dpo_head_token_log_probs with norms: every tile is
 * made again. states, head, layout and grads as in dpo_hidden_grads_in_place. d_hidden, R x H in
 * DPO_TYPE_F32, gets the gradients of the hidden states, whatever was there: rows that are not scored
 * and padding as there. d_head gets those of the head: sums over all rows in float, rounded to their
 * type once a call, 0 where no row reaches the head. Rows whose coefficient is 0 add nothing.
 * scratch->rows: at least the number of scored rows, or 128 (LENGTH otherwise); bits do not depend on
 * it.
 *
 * Rows whose hidden gradients are not finite are NON_FINITE_ROWS, or INVALID_VALUE of the head's
 * weights where one of these is why: all is written then. Codes: those of dpo_hidden_grads_in_place,
 * NON_FINITE_ROWS. */
dpo_status dpo_head_grads(dpo_dispatch dispatch, const dpo_hidden *states, const dpo_head *head, const
                          dpo_layout *layout, const dpo_grads *grads, const dpo_hidden_mut *d_hidden,
                          const dpo_head_mut *d_head, const dpo_head_scratch *scratch, dpo_error *error);

/* For hosts that make their tiles of logits by a product of their own; docs/c.md has both loops.
 *
 * Columns of a row, [first_column, first_column + len), which dpo_row_stats_fold has folded into
 * stats, become the terms that the head's rows are weighted by. scale, 1, is what the row's sums so
 * far are multiplied by before these are added: sums = scale * sums + tile . W. It is 1, or a power of
 * two unless logits are beyond 1300. before: what the sums so far are relative to, mostly a copy of
 * stats before the fold. With len 0, tile may be NULL, and scale says by what sums relative to `before`
 * become relative to stats, into which `before` was merged. Tiles that begin at multiples of 512 and
 * are no longer give the bits of dpo_head_forward. Codes: ROW_STATS, PARAMETER, LEVEL_UNAVAILABLE,
 * FUSED_UNAVAILABLE, UNKNOWN_VALUE. */
dpo_status dpo_tile_terms_in_place(dpo_dispatch dispatch, const dpo_row_stats *before, const
                                   dpo_row_stats *stats, float *tile, size_t len, uint32_t
                                   first_column, float *scale, dpo_error *error);

/* The sums of a complete row, len = H, become the gradient of its hidden state. coefficient: d loss /
 * d log p, as in dpo_grads. target_logit: as the host's product made it, before the transform.
 * target_row: the target's row of the head, len elements of DPO_TYPE_ type. Codes: INVALID_VALUE,
 * for a row without a finite log Z or whose target was not folded, and for a coefficient beyond f32;
 * those of dpo_tile_terms_in_place. */
dpo_status dpo_hidden_row_grads_in_place(dpo_dispatch dispatch, const dpo_row_stats *stats, double
                                         coefficient, float target_logit, int32_t type, const void
                                         *target_row, float *sums, size_t len, dpo_error *error);

/* ---------------------------------------- scalar functions */

/* 1 / (1 + e^-x); ln of it; ln(1 + e^x); ln(1 - e^x), x <= 0; ln(e^a + e^b). NaN in, NaN out; the
 * _f32 forms of one argument are correctly rounded on all inputs. */
double dpo_sigmoid(double x);
double dpo_log_sigmoid(double x);
double dpo_softplus(double x);
double dpo_log1mexp(double x);
double dpo_logaddexp(double a, double b);
float dpo_sigmoid_f32(float x);
float dpo_log_sigmoid_f32(float x);
float dpo_softplus_f32(float x);
float dpo_log1mexp_f32(float x);
float dpo_logaddexp_f32(float a, float b);

#ifdef __cplusplus
}
#endif

#endif
