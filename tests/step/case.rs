//! A batch of four sequences between rows that nobody scores, and its way through the step.

use dpo_kernel::gradient::Unscored;
use dpo_kernel::loss::{BatchLoss, Nll};
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::StepLogits;
use dpo_kernel::step::{StepScratch, StepSummary};
use dpo_kernel::{
    Dispatch, Element, Error, Executor, IGNORE_INDEX, Layout, Logits, LogitsMut, Pair, PairLoss,
    Reference, SequenceLogProb, Span, StepBatch, Summary, preference_step,
};

pub const ROWS: usize = 12;
pub const VOCAB: usize = 37;
pub const STRIDE: usize = 40;
/// Rows 0, 5 and 11 are in no span, row 7 is ignored.
pub const SPANS: [Span; 4] = [Span::new(1, 3), Span::new(3, 5), Span::new(6, 9), Span::new(9, 11)];
pub const TARGETS: [u32; ROWS] = [99, 3, 17, 36, 0, 99, 5, IGNORE_INDEX, 11, 30, 2, 99];
pub const PAIRS: [Pair; 2] = [Pair::new(0, 1), Pair::new(3, 2)];
pub const REFERENCE: [f64; 4] = [-8.5, -7.25, -6.5, -9.0];

/// Logits of a few nats, NaN in padding and in the rows that nobody scores.
pub fn logits<E: Element>() -> Vec<E> {
    let mut state = 5_u32;
    (0..ROWS * STRIDE)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let x = (state >> 20) as f32 / 512.0 - 4.0;
            let scored = matches!(i / STRIDE, 1..=4 | 6 | 8..=10) && i % STRIDE < VOCAB;
            E::from_f32(if scored { x } else { f32::NAN })
        })
        .collect()
}

pub fn layout() -> Layout<'static> {
    Layout::new(&TARGETS, &SPANS, VOCAB).unwrap()
}

pub fn view<E: Element>(logits: &mut [E]) -> LogitsMut<'_, E> {
    LogitsMut::with_stride(logits, ROWS, VOCAB, STRIDE).unwrap()
}

pub fn read<E: Element>(logits: &[E]) -> Logits<'_, E> {
    Logits::with_stride(logits, ROWS, VOCAB, STRIDE).unwrap()
}

/// What is given beside layout, pairs and reference.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    pub weights: Option<&'a [f32]>,
    pub token_weights: Option<&'a [f32]>,
    pub nll: Option<Nll>,
    pub nll_weights: Option<&'a [f32]>,
    pub unscored: Unscored,
}

impl<'a> Given<'a> {
    pub fn batch(self, layout: &'a Layout<'a>, reference: Reference<'a>) -> StepBatch<'a> {
        let mut batch = StepBatch::new(layout, &PAIRS, reference, 2.0).with_unscored(self.unscored);
        (batch.weights, batch.token_weights) = (self.weights, self.token_weights);
        (batch.nll, batch.nll_weights) = (self.nll, self.nll_weights);
        batch
    }
}

/// What a step leaves in its buffers.
#[derive(Clone, Debug)]
pub struct Found {
    pub summary: Result<StepSummary<Summary>, Error>,
    pub log_probs: Vec<f32>,
    pub norms: Vec<RowNorm>,
    pub sequences: Vec<SequenceLogProb>,
    pub losses: Vec<PairLoss>,
    pub d_log_probs: Vec<f64>,
    pub d_nll: Vec<f64>,
    pub coefficients: Vec<f64>,
}

impl Found {
    /// Everything as bits, so that NaN is equal to itself.
    pub fn bits(&self) -> Vec<u64> {
        let loss = |l: &PairLoss| {
            [l.loss, l.reward_chosen, l.reward_rejected, l.margin, l.d_chosen, l.d_rejected]
        };
        let wide = self.log_probs.iter().map(|&x| f64::from(x));
        let sums = self.sequences.iter().flat_map(|s| [s.sum, s.count as f64]);
        let rest = self.d_log_probs.iter().chain(&self.coefficients).copied();
        let losses = self.losses.iter().flat_map(loss);
        wide.chain(sums).chain(losses).chain(rest).map(f64::to_bits).collect()
    }
}

/// One step with dirty buffers.
pub fn step<X: Executor, L: BatchLoss, G: StepLogits>(
    on: X,
    loss: L,
    logits: G,
    batch: &StepBatch<'_>,
) -> Found {
    let (rows, n, p) = (batch.layout.rows(), batch.layout.sequences(), batch.pairs.len());
    let dirty = SequenceLogProb { sum: f64::NAN, count: 77 };
    let mut found = Found {
        summary: Ok(StepSummary::default()),
        log_probs: vec![f32::NAN; rows],
        norms: vec![RowNorm::default(); rows],
        sequences: vec![dirty; n],
        losses: vec![PairLoss::default(); p],
        d_log_probs: vec![f64::NAN; n],
        d_nll: vec![f64::NAN; n],
        coefficients: vec![f64::NAN; rows],
    };
    let scratch = StepScratch::new(
        &mut found.log_probs,
        &mut found.norms,
        &mut found.sequences,
        &mut found.losses,
        &mut found.d_log_probs,
        &mut found.coefficients,
    );
    found.summary = preference_step(on, loss, logits, batch, scratch.with_nll(&mut found.d_nll));
    found
}

/// One step in place; what the buffer holds afterwards.
pub fn in_place<E: Element, L: BatchLoss>(
    loss: L,
    mut logits: Vec<E>,
    batch: &StepBatch<'_>,
) -> (Found, Vec<E>) {
    let found = step(Dispatch::detect(), loss, view(&mut logits), batch);
    (found, logits)
}

pub fn bits<E: Element>(x: &[E]) -> Vec<u32> {
    x.iter().map(|x| x.to_f32().to_bits()).collect()
}
