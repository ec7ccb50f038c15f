//! The functions of one stage each.

use std::ffi::c_char;

use dpo_kernel::c::*;
use dpo_kernel::gradient::{GradBatch, token_coefficients};
use dpo_kernel::loss::{LossName, PairLogProbs, PreferenceLoss};
use dpo_kernel::training::{
    WpoBound, ld_token_weights, length_offset, odpo_offset, wpo_pair_weights,
};
use dpo_kernel::{Error, Span, Targets, TokenOut, sequence_log_probs, token_log_probs};

use super::memory::{Due, Memory, Ranges, Written, plain, says_size};
use super::report::{report_of, unknown, unused};
use super::structs::{LayoutMemory, dispatch_of, for_element, unscored_of, view};
use super::views::{ViewMemory, Views, for_views};
use super::{Call, HeadCall, Tokens, Wpo, batches, head, losses, row_bytes, rows, step, trained};

impl Call {
    pub(super) fn has_order(&self) -> bool {
        let (Self::TokenLogProbs(_, _, layout, _)
        | Self::HeadTokenLogProbs(_, HeadCall { layout, .. }, _)
        | Self::HeadForward(_, HeadCall { layout, .. }, ..)
        | Self::HiddenGradsInPlace(_, HeadCall { layout, .. }, ..)
        | Self::HiddenGrads(_, HeadCall { layout, .. }, ..)
        | Self::HeadGrads(_, HeadCall { layout, .. }, ..)
        | Self::SequenceLogProbs(_, layout, ..)
        | Self::LdTokenWeights(_, layout, ..)
        | Self::WpoPairWeights(_, layout, ..)
        | Self::TokenCoefficients(layout, ..)
        | Self::LogitGrads(_, _, layout, ..)
        | Self::LogitGradsInPlace(_, _, layout, _)) = *self
        else {
            return false;
        };
        says_size(layout).is_ok_and(|layout| !layout.order.is_null())
    }

    #[allow(clippy::too_many_lines, reason = "an arm for each function, in one place")]
    pub(super) fn run(&self, w: &mut Vec<Written>) -> Due<()> {
        match *self {
            Self::SpansOfBatch(rows, spans, n) => {
                let spans = Ranges::default().write(spans, n, DPO_BUFFER_SPANS)?;
                let mut due = spans.get();
                let result = Span::of_batch(rows, &mut due);
                w.push(spans.becomes("spans", due));
                result.map_err(report_of)
            }
            Self::SpansOfOffsets(offsets, m, spans, n) => of_offsets((offsets, m), (spans, n), w),
            Self::SpansOfOffsetsI32(offsets, m, spans, n) => {
                of_offsets((offsets, m), (spans, n), w)
            }
            Self::TargetsOfI64(labels, n, ignore, to) => {
                let mut ranges = Ranges::default();
                let labels = ranges.read(labels, n, DPO_BUFFER_LABELS)?;
                let to = ranges.write(to, n, DPO_BUFFER_TARGETS)?;
                ranges.are_apart()?;
                let mut due = to.get();
                let result = Targets::of_i64(&labels.get(), ignore, &mut due).map(|_| ());
                w.push(to.becomes("targets", due));
                result.map_err(report_of)
            }
            Self::RowStatsNew(transform, flags, target, out) => {
                rows::new_stats(transform, flags, target, out, w)
            }
            Self::RowStatsFold(dispatch, stats, kind, tile, len, _) => {
                rows::fold(dispatch, stats, kind, (tile, len), w)
            }
            Self::RowStatsMerge(into, from) => rows::merge(into, from, w),
            Self::RowStatsWriteBytes(stats, bytes, len) => row_bytes::write(stats, (bytes, len), w),
            Self::RowStatsFromBytes(transform, bytes, len, out) => {
                row_bytes::read(transform, (bytes, len), out, w)
            }
            Self::RowStatsFinish(stats, out) => rows::finish(stats, out, w),
            Self::TokenLogProbs(dispatch, logits, layout, to) => {
                tokens(dispatch, logits, layout, to, w)
            }
            Self::SequenceLogProbs(log_probs, layout, weights, out) => {
                sequences(log_probs, layout, weights, out, w)
            }
            Self::LossParse(name, len, out) => parse((name, len), out, w),
            Self::EvaluatePair(loss, pair, out) => evaluate(loss, pair, out, w),
            Self::PreferenceLoss(objective, pairs, policy, out) => {
                batches::preference_loss_of(objective, pairs, policy, out, w)
            }
            Self::UnpairedLoss(loss, answers, policy, out) => {
                batches::unpaired_loss_of(loss, answers, policy, out, w)
            }
            Self::NllLoss(nll, policy, d, summary) => {
                batches::nll_loss_of(nll, policy, d, summary, w)
            }
            Self::LdTokenWeights(alpha, layout, pairs, p, to) => {
                let layout = says_size(layout)?;
                let mut ranges = Ranges::default();
                let to = ranges.write(to, layout.rows, DPO_BUFFER_TOKEN_WEIGHTS)?;
                let pairs = ranges.read(pairs, p, DPO_BUFFER_PAIRS)?;
                let layout = LayoutMemory::of(&layout, &mut ranges)?;
                ranges.are_apart()?;
                let (mut layout, mut due) = (layout.get(w), to.get());
                let result = ld_token_weights(alpha, &layout.layout()?, &pairs.get(), &mut due);
                w.push(to.becomes("token weights", due));
                result.map_err(report_of)
            }
            Self::WpoPairWeights(bound, layout, pairs, of) => wpo(bound, layout, pairs, of, w),
            Self::OdpoOffset(alpha, gap, out) => offset(odpo_offset(alpha, gap), out, w),
            Self::LengthOffset(alpha, chosen, rejected, out) => {
                offset(length_offset(alpha, chosen, rejected), out, w)
            }
            Self::TokenCoefficients(layout, d, weights, d_nll, out) => {
                coefficients(layout, d, weights, d_nll, out, w)
            }
            Self::LogitGrads(dispatch, logits, layout, grads, out) => {
                let (layout, grads) = (says_size(layout)?, says_size(grads)?);
                let views = Views::Apart(says_size(logits)?, says_size(out)?);
                backward(dispatch, &views, &layout, &grads, w)
            }
            Self::LogitGradsInPlace(dispatch, logits, layout, grads) => {
                let views = Views::InPlace(says_size(logits)?);
                let (layout, grads) = (says_size(layout)?, says_size(grads)?);
                backward(dispatch, &views, &layout, &grads, w)
            }
            Self::TileGradsInPlace(dispatch, tile) => rows::tile_grads(dispatch, tile, w),
            Self::HeadScratchLen(head, rows, out) => head::scratch_len(head, rows, out, w),
            Self::HeadTokenLogProbs(dispatch, of, to) => head::forward(dispatch, of, to, None, w),
            Self::HeadForward(dispatch, of, to, sums) => {
                head::forward(dispatch, of, to, Some(sums), w)
            }
            Self::HiddenGradsInPlace(dispatch, of, grads, sums) => {
                head::grads_in_place(dispatch, of, grads, sums, w)
            }
            Self::HiddenGrads(dispatch, of, grads, sums, out) => {
                head::grads(dispatch, of, grads, (sums, out), w)
            }
            Self::HeadGradsScratchLen(of, d_head, rows, out) => {
                trained::scratch_len(of, d_head, rows, out, w)
            }
            Self::HeadGrads(dispatch, of, grads, d_hidden, d_head) => {
                trained::grads(dispatch, of, grads, (d_hidden, d_head), w)
            }
            Self::TileTermsInPlace(dispatch, of, tile, _, scale) => {
                rows::terms(dispatch, of, tile, scale, w)
            }
            Self::HiddenRowGradsInPlace(dispatch, stats, of) => {
                rows::hidden_row(dispatch, stats, of, w)
            }
            Self::PreferenceStep(dispatch, objective, pairs, of, out) => {
                step::preference_step_of(dispatch, objective, pairs, of, out, w)
            }
            Self::UnpairedStep(dispatch, loss, answers, of, out) => {
                step::unpaired_step_of(dispatch, (loss, answers), of, out, w)
            }
        }
    }
}

fn of_offsets<O: Copy + TryInto<usize>>(
    (offsets, m): (*const O, usize),
    (spans, n): (*mut Span, usize),
    w: &mut Vec<Written>,
) -> Due<()> {
    let mut ranges = Ranges::default();
    let offsets = ranges.read(offsets, m, DPO_BUFFER_OFFSETS)?;
    let spans = ranges.write(spans, n, DPO_BUFFER_SPANS)?;
    ranges.are_apart()?;
    let mut due = spans.get();
    let result = Span::of_offsets(&offsets.get(), &mut due);
    w.push(spans.becomes("spans", due));
    result.map_err(report_of)
}

fn tokens(
    dispatch: dpo_dispatch,
    logits: *const dpo_logits,
    layout: *const dpo_layout,
    to: Tokens,
    w: &mut Vec<Written>,
) -> Due<()> {
    let (logits, layout) = (says_size(logits)?, says_size(layout)?);
    let rows = layout.rows;
    for_element!(logits.r#type, E => {
        let mut ranges = Ranges::default();
        let data = ranges.read(logits.data.cast::<E>(), logits.len, DPO_BUFFER_LOGITS)?;
        let layout = LayoutMemory::of(&layout, &mut ranges)?;
        let out = TokenMemory::of(&to, rows, &mut ranges)?;
        ranges.are_apart()?;
        let data = data.get();
        let view = view(&logits, &data)?;
        let mut layout = layout.get(w);
        let layout = layout.layout()?;
        let dispatch = dispatch_of(dispatch)?;
        out.becomes(w, |out| token_log_probs(dispatch, view, &layout, out))
    })
}

/// The buffers of token log-probs.
pub(super) struct TokenMemory {
    log_probs: Memory<f32>,
    norms: Option<Memory<dpo_row_norm>>,
    details: Option<Memory<dpo_row_details>>,
    summary: Option<Memory<dpo_token_summary>>,
}

impl TokenMemory {
    pub(super) fn of(to: &Tokens, rows: usize, ranges: &mut Ranges) -> Due<Self> {
        Ok(Self {
            log_probs: ranges.write(to.log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?,
            norms: ranges.write_if(to.norms, rows, DPO_BUFFER_ROW_NORMS)?,
            details: ranges.write_if(to.details, rows, DPO_BUFFER_ROW_DETAILS)?,
            summary: ranges.write_if(to.summary, 1, DPO_BUFFER_OUT)?,
        })
    }

    /// What a forward leaves there.
    pub(super) fn becomes(
        &self,
        w: &mut Vec<Written>,
        forward: impl FnOnce(TokenOut<'_>) -> Result<dpo_token_summary, Error>,
    ) -> Due<()> {
        let Self { log_probs, norms, details, summary } = self;
        let mut due = (log_probs.get(), norms.map(|n| n.get()), details.map(|d| d.get()));
        let mut out = TokenOut::new(&mut due.0);
        if let Some(norms) = &mut due.1 {
            out = out.with_norms(norms);
        }
        if let Some(details) = &mut due.2 {
            out = out.with_details(details);
        }
        let result = forward(out);
        w.push(log_probs.becomes("log-probs", due.0));
        w.extend(norms.zip(due.1).map(|(to, due)| to.becomes("norms", due)));
        w.extend(details.zip(due.2).map(|(to, due)| to.becomes("details", due)));
        let found = result.map_err(report_of)?;
        w.extend(summary.map(|to| to.becomes("token summary", vec![found])));
        Ok(())
    }
}

fn sequences(
    log_probs: *const f32,
    layout: *const dpo_layout,
    weights: *const f32,
    out: *mut dpo_sequence_log_prob,
    w: &mut Vec<Written>,
) -> Due<()> {
    let layout = says_size(layout)?;
    let (rows, n) = (layout.rows, layout.count);
    let mut ranges = Ranges::default();
    let log_probs = ranges.read(log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?;
    let weights = ranges.read_if(weights, rows, DPO_BUFFER_TOKEN_WEIGHTS)?;
    let out = ranges.write(out, n, DPO_BUFFER_SEQUENCES)?;
    let layout = LayoutMemory::of(&layout, &mut ranges)?;
    ranges.are_apart()?;
    let (mut layout, mut due) = (layout.get(w), out.get());
    let weights = weights.map(|weights| weights.get());
    let layout = layout.layout()?;
    let result = sequence_log_probs(&log_probs.get(), &layout, weights.as_deref(), &mut due);
    w.push(out.becomes("sequences", due));
    result.map_err(report_of)
}

fn parse((name, len): (*const c_char, usize), out: *mut i32, w: &mut Vec<Written>) -> Due<()> {
    let mut ranges = Ranges::default();
    let name = ranges.read(name.cast::<u8>(), len, DPO_BUFFER_NAME)?;
    let out = ranges.write(out, 1, DPO_BUFFER_OUT)?;
    ranges.are_apart()?;
    let parsed = String::from_utf8(name.get()).map_err(|_| Error::UnknownLoss);
    let found: LossName = parsed.and_then(|name| name.parse()).map_err(report_of)?;
    w.push(out.becomes("the number", vec![found as i32]));
    Ok(())
}

fn evaluate(
    loss: *const dpo_loss,
    pair: *const dpo_pair_log_probs,
    out: *mut dpo_pair_loss,
    w: &mut Vec<Written>,
) -> Due<()> {
    let (loss, of) = (plain(loss)?, plain(pair)?);
    let loss = losses::pairs_loss(&loss)?;
    let out = Ranges::default().write(out, 1, DPO_BUFFER_OUT)?;
    let mut pair = PairLogProbs::new(0.0, 0.0, 0.0, 0.0);
    let dpo_pair_log_probs { policy_chosen, policy_rejected, .. } = of;
    (pair.policy_chosen, pair.policy_rejected) = (policy_chosen, policy_rejected);
    pair.reference_chosen = of.reference_chosen;
    pair.reference_rejected = of.reference_rejected;
    (pair.chosen_tokens, pair.rejected_tokens) = (of.chosen_tokens, of.rejected_tokens);
    pair.offset = of.offset;
    w.push(out.becomes("the loss", vec![loss.evaluate(&pair)]));
    Ok(())
}

fn wpo(
    bound: i32,
    layout: *const dpo_layout,
    (pairs, p): (*const dpo_pair, usize),
    of: Wpo,
    w: &mut Vec<Written>,
) -> Due<()> {
    let bound = match bound {
        0 => WpoBound::AtMostOne,
        1 => WpoBound::Unbounded,
        other => return Err(unknown(DPO_BUFFER_WPO_BOUND, other)),
    };
    let layout = says_size(layout)?;
    let rows = layout.rows;
    let mut ranges = Ranges::default();
    let weights = ranges.write(of.weights, p, DPO_BUFFER_PAIR_WEIGHTS)?;
    let pairs = ranges.read(pairs, p, DPO_BUFFER_PAIRS)?;
    let log_probs = ranges.read(of.log_probs, rows, DPO_BUFFER_TOKEN_LOG_PROBS)?;
    let details = ranges.read(of.details, rows, DPO_BUFFER_ROW_DETAILS)?;
    let layout = LayoutMemory::of(&layout, &mut ranges)?;
    ranges.are_apart()?;
    let (mut layout, mut due) = (layout.get(w), weights.get());
    let layout = layout.layout()?;
    let (log_probs, details) = (log_probs.get(), details.get());
    let result = wpo_pair_weights(bound, &layout, &pairs.get(), &log_probs, &details, &mut due);
    w.push(weights.becomes("weights", due));
    result.map_err(report_of)
}

fn offset(found: Result<f64, Error>, out: *mut f64, w: &mut Vec<Written>) -> Due<()> {
    let out = Ranges::default().write(out, 1, DPO_BUFFER_OUT)?;
    w.push(out.becomes("the offset", vec![found.map_err(report_of)?]));
    Ok(())
}

fn coefficients(
    layout: *const dpo_layout,
    d: *const f64,
    weights: *const f32,
    d_nll: *const f64,
    out: *mut f64,
    w: &mut Vec<Written>,
) -> Due<()> {
    let layout = says_size(layout)?;
    let (rows, n) = (layout.rows, layout.count);
    let mut ranges = Ranges::default();
    let out = ranges.write(out, rows, DPO_BUFFER_TOKEN_COEFFICIENTS)?;
    let d = ranges.read(d, n, DPO_BUFFER_SEQUENCE_GRADS)?;
    let weights = ranges.read_if(weights, rows, DPO_BUFFER_TOKEN_WEIGHTS)?;
    let d_nll = ranges.read_if(d_nll, n, DPO_BUFFER_NLL_GRADS)?;
    let layout = LayoutMemory::of(&layout, &mut ranges)?;
    ranges.are_apart()?;
    let (mut layout, mut due) = (layout.get(w), out.get());
    let (weights, d_nll) = (weights.map(|x| x.get()), d_nll.map(|x| x.get()));
    let (weights, d_nll) = (weights.as_deref(), d_nll.as_deref());
    let result = token_coefficients(&layout.layout()?, &d.get(), weights, d_nll, &mut due);
    w.push(out.becomes("coefficients", due));
    result.map_err(report_of)
}

fn backward(
    dispatch: dpo_dispatch,
    views: &Views,
    layout: &dpo_layout,
    grads: &dpo_grads,
    w: &mut Vec<Written>,
) -> Due<()> {
    let dispatch = dispatch_of(dispatch)?;
    for_views!(views, E, O => {
        let mut ranges = Ranges::default();
        let logits = ViewMemory::<E, O>::of(views, &mut ranges)?;
        if grads.reserved != 0 {
            return Err(unused(DPO_BUFFER_BACKWARD));
        }
        let own = LayoutMemory::of(layout, &mut ranges)?;
        let norms = ranges.read(grads.norms, layout.rows, DPO_BUFFER_ROW_NORMS)?;
        let coefficients =
            ranges.read(grads.coefficients, layout.rows, DPO_BUFFER_TOKEN_COEFFICIENTS)?;
        let unscored = unscored_of(grads.unscored, DPO_BUFFER_BACKWARD)?;
        ranges.are_apart()?;
        let mut due = logits.get();
        due.check(views)?;
        let mut own = own.get(w);
        let layout = own.layout()?;
        let (norms, coefficients) = (norms.get(), coefficients.get());
        let batch = GradBatch::new(&layout, &norms, &coefficients).with_unscored(unscored);
        let result = due.write_grads(dispatch, views, &batch);
        logits.becomes(due, w);
        result
    })
}
