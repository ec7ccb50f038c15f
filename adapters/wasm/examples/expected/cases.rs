//! Steps: from logits to gradients, for each type, odd lengths, transforms, padding of NaN.

use dpo_kernel::gradient::Unscored;
use dpo_kernel::step::UnpairedStepBatch;
use dpo_kernel::unpaired::{Label, UnpairedAnswer};
use dpo_kernel::{
    Arithmetic, Dispatch, Dpo, Element, Error, IGNORE_INDEX, Layout, Level, Logits, LogitsMut,
    Pair, Reference, Span, StepBatch, Transform, Workspace, bf16, f16, loss::Kto,
};
use serde_json::{Value, json};

use crate::losses::{answer_columns, answer_summary, pair_columns, pair_summary};
use crate::random::{Random, f32s, f64s, hex};

/// Rows, of which some are in no span, and some in one with the ignore value.
const ROWS: usize = 13;
/// In no order; the third is empty, and no pair names it.
const SPANS: [Span; 5] =
    [Span::new(9, 12), Span::new(0, 4), Span::new(4, 4), Span::new(4, 6), Span::new(6, 8)];
const PAIRS: [Pair; 3] = [Pair::new(1, 0), Pair::new(3, 4), Pair::new(4, 1)];
const LABELS: [(usize, Label); 4] = [
    (4, Label::Undesirable),
    (0, Label::Desirable),
    (1, Label::Undesirable),
    (3, Label::Desirable),
];

/// Storage whose bits can be told.
trait Bits: Element + Copy {
    const NAME: &'static str;
    fn of(x: f32) -> Self;
    fn bits(self) -> u32;
}

macro_rules! bits {
    ($($type:ident, $name:literal, $of:expr;)*) => { $(
        impl Bits for $type {
            const NAME: &'static str = $name;
            fn of(x: f32) -> Self {
                $of(x)
            }
            fn bits(self) -> u32 {
                self.to_bits().into()
            }
        }
    )* };
}
bits! {
    f32, "f32", |x| x;
    f16, "f16", f16::from_f32;
    bf16, "bf16", bf16::from_f32;
}

fn all_bits<E: Bits>(all: &[E]) -> Value {
    json!(all.iter().map(|x| x.bits()).collect::<Vec<_>>())
}

/// A shape with its transform.
#[derive(Clone, Copy)]
struct Shape {
    vocab: usize,
    stride: usize,
    scale: f32,
    softcap: Option<f32>,
    temperature: f32,
    unscored: Unscored,
    /// Another ignore value than -100.
    ignore: u32,
    is_weighted: bool,
}

const PLAIN: Shape = Shape {
    vocab: 257,
    stride: 257,
    scale: 1.0,
    softcap: None,
    temperature: 1.0,
    unscored: Unscored::Keep,
    ignore: IGNORE_INDEX,
    is_weighted: false,
};

const SHAPES: [Shape; 9] = [
    PLAIN,
    Shape { vocab: 1, stride: 3, ..PLAIN },
    Shape { vocab: 7, stride: 7, is_weighted: true, ..PLAIN },
    Shape { vocab: 31, stride: 40, unscored: Unscored::Zero, ..PLAIN },
    Shape { vocab: 513, stride: 517, is_weighted: true, unscored: Unscored::Zero, ..PLAIN },
    Shape { vocab: 1003, stride: 1003, ignore: 0, ..PLAIN },
    Shape { vocab: 129, stride: 131, softcap: Some(30.0), scale: 2.0, ..PLAIN },
    Shape { vocab: 67, stride: 67, scale: 0.0625, temperature: 0.7, is_weighted: true, ..PLAIN },
    Shape { vocab: 511, stride: 511, softcap: Some(5.0), temperature: 1.3, ..PLAIN },
];

struct Inputs<E> {
    shape: Shape,
    logits: Vec<E>,
    targets: Vec<u32>,
    token_weights: Option<Vec<f32>>,
    weights: Option<Vec<f32>>,
    offsets: Option<Vec<f32>>,
    reference: Vec<f64>,
}

impl<E: Bits> Inputs<E> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "columns below the vocabulary, and a few rows"
    )]
    fn new(shape: Shape, seed: u64) -> Self {
        let random = &mut Random::new(seed);
        // A NaN that is told from others.
        let mut logits = vec![E::of(f32::from_bits(0x7fc1_2345)); ROWS * shape.stride];
        let mut targets = vec![shape.ignore; ROWS];
        let in_spans = |row| SPANS.iter().any(|span| (span.start..span.end).contains(&row));
        for (row, target) in targets.iter_mut().enumerate() {
            // Rows 2 and 10 are in spans with the ignore value.
            if !in_spans(row) || matches!(row, 2 | 10) {
                continue;
            }
            let spread = if row == 5 { 300.0 } else { 10.0 };
            let columns = logits.iter_mut().skip(row * shape.stride).take(shape.vocab);
            columns.for_each(|x| *x = E::of(random.unit_f32() * spread));
            let first = u64::from(shape.ignore == 0 && shape.vocab > 1);
            *target = (first + random.below(shape.vocab as u64 - first)) as u32;
            // Masked vocabulary, but never a target.
            let mut columns = logits.iter_mut().skip(row * shape.stride).take(shape.vocab);
            if let Some(x) = columns.nth((*target as usize + 3) % shape.vocab)
                && shape.vocab > 3
            {
                *x = E::of(f32::NEG_INFINITY);
            }
        }
        let weights = |n: usize, random: &mut Random| {
            let of_one = |i| if i == 1 { 0.0 } else { 1.0 + 0.5 * random.unit_f32() };
            shape.is_weighted.then(|| (0..n).map(of_one).collect::<Vec<_>>())
        };
        let token_weights = weights(ROWS, random);
        let pair_weights = weights(PAIRS.len(), random);
        let offsets = shape.is_weighted.then(|| vec![0.25, -0.5, 1.0]);
        let reference = SPANS.map(|span| -5.0 * (span.end - span.start) as f64 + random.unit());
        Self {
            shape,
            logits,
            targets,
            token_weights,
            weights: pair_weights,
            offsets,
            reference: reference.to_vec(),
        }
    }

    fn json(&self) -> Value {
        let Shape { vocab, stride, scale, softcap, temperature, .. } = self.shape;
        let weights = |weights: &Option<Vec<f32>>| weights.as_deref().map(f32s);
        json!({
            "type": E::NAME, "rows": ROWS, "vocab": vocab, "stride": stride, "scale": scale.to_bits(),
            "softcap": softcap.map(f32::to_bits), "temperature": temperature.to_bits(),
            "unscored": if self.shape.unscored == Unscored::Zero { "zero" } else { "keep" },
            "ignore": self.shape.ignore, "targets": self.targets, "logits": all_bits(&self.logits),
            "spans": SPANS.map(|span| [span.start, span.end]),
            "pairs": PAIRS.map(|pair| [pair.chosen, pair.rejected]),
            "answers": LABELS.map(|(sequence, label)| [sequence, label as usize]),
            "tokenWeights": weights(&self.token_weights), "weights": weights(&self.weights),
            "offsets": weights(&self.offsets), "reference": f64s(self.reference.iter().copied()),
        })
    }
}

fn dispatch() -> Result<Dispatch, Error> {
    Dispatch::new(Level::Baseline, Arithmetic::Portable)
}

/// What a step leaves in the workspace.
fn stages(workspace: &Workspace) -> Value {
    json!({
        "logProbs": f32s(workspace.log_probs()),
        "sums": f64s(workspace.sequences().iter().map(|found| found.sum)),
        "counts": workspace.sequences().iter().map(|found| found.count).collect::<Vec<_>>(),
    })
}

fn step<E: Bits>(shape: Shape, seed: u64) -> Result<Value, Error> {
    let inputs = Inputs::<E>::new(shape, seed);
    let ids = dpo_kernel::Targets::new(&inputs.targets).with_ignore(shape.ignore);
    let mut order = [0; SPANS.len()];
    let layout = Layout::in_any_order(ids, &SPANS, shape.vocab, &mut order)?;
    let transform = Transform::new(shape.scale, shape.softcap, shape.temperature)?;
    let (rows, vocab, stride) = (ROWS, shape.vocab, shape.stride);
    let mut workspace = Workspace::new();

    let logits =
        Logits::with_stride(&inputs.logits, rows, vocab, stride)?.with_transform(transform);
    workspace.score(dispatch()?, logits, &layout, inputs.token_weights.as_deref())?;
    let score = stages(&workspace);

    let mut grads = inputs.logits.clone();
    let view = LogitsMut::with_stride(&mut grads, rows, vocab, stride)?.with_transform(transform);
    let reference = Reference::Sums(&inputs.reference);
    let mut batch = StepBatch::new(&layout, &PAIRS, reference, 5.0).with_unscored(shape.unscored);
    batch.weights = inputs.weights.as_deref();
    batch.offsets = inputs.offsets.as_deref();
    batch.token_weights = inputs.token_weights.as_deref();
    let loss = Dpo::new(0.3)?.with_label_smoothing(0.1)?;
    let found = workspace.preference_step(dispatch()?, &loss, view, &batch)?;
    let pairs = json!({
        "stages": stages(&workspace), "grads": all_bits(&grads),
        "columns": pair_columns(workspace.pair_losses()), "summary": pair_summary(&found.loss),
        "loss": hex(batch.total_loss(&found)),
        "tokens": found.tokens.tokens, "maskedTokens": found.tokens.masked_tokens,
    });

    let mut grads = inputs.logits.clone();
    let view = LogitsMut::with_stride(&mut grads, rows, vocab, stride)?.with_transform(transform);
    let labelled = LABELS.map(|(sequence, label)| UnpairedAnswer::new(sequence, label));
    let mut batch =
        UnpairedStepBatch::new(&layout, &labelled, reference, 4.0).with_unscored(shape.unscored);
    batch.token_weights = inputs.token_weights.as_deref();
    let found = workspace.unpaired_step(dispatch()?, &Kto::new(0.2, 0.05)?, view, &batch)?;
    let answers = json!({
        "stages": stages(&workspace), "grads": all_bits(&grads),
        "columns": answer_columns(workspace.answer_losses()), "summary": answer_summary(&found.loss),
        "loss": hex(batch.total_loss(&found)),
    });
    Ok(json!({ "in": inputs.json(), "score": score, "pairs": pairs, "answers": answers }))
}

/// Every shape in every type.
pub(crate) fn steps() -> Result<Vec<Value>, Error> {
    let mut all = Vec::new();
    for (seed, &shape) in (1_u64..).zip(&SHAPES) {
        all.push(step::<f32>(shape, seed)?);
        all.push(step::<f16>(shape, seed + 100)?);
        all.push(step::<bf16>(shape, seed + 200)?);
    }
    Ok(all)
}
