//! Cases, and what is due of them: logits written out in the product's order, and plain f64.

use dpo_kernel::gradient::{GradBatch, Unscored};
use dpo_kernel::head::{
    Head, HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, head_token_log_probs,
    hidden_grads_in_place,
};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::{
    Arithmetic, Dispatch, Element, Error, IGNORE_INDEX, Layout, Span, TokenOut, TokenSummary,
    Transform,
};

/// `SplitMix64`.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [−1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }
}

/// R hidden states of H numbers, a head of V rows, and which rows are scored. Every third row is
/// not, and what is padding or not scored is NaN.
#[derive(Clone)]
pub struct Case<E, W> {
    pub rows: usize,
    pub size: usize,
    pub vocab: usize,
    /// Elements from one row to the next, of states and weights.
    pub stride: usize,
    pub states: Vec<E>,
    pub weights: Vec<W>,
    pub bias: Option<Vec<f32>>,
    pub transform: Transform,
    /// What it was made of: scale, softcap, temperature.
    pub parameters: Option<(f32, Option<f32>, f32)>,
    pub targets: Vec<u32>,
    pub spans: Vec<Span>,
    pub coefficients: Vec<f64>,
    /// Panels that the product packs at once, if not the default.
    pub panels: Option<usize>,
}

impl<E: Element, W: Element> Case<E, W> {
    pub fn new(rows: usize, size: usize, vocab: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let stride = size + 3;
        let mut fill = |rows: usize, scale: f32| -> Vec<f32> {
            (0..rows * stride)
                .map(|i| if i % stride < size { scale * random.unit() } else { f32::NAN })
                .collect()
        };
        let (mut states, weights) = (fill(rows, 3.0), fill(vocab, 4.0 / (size as f32).sqrt()));
        let targets: Vec<u32> = (0..rows)
            .map(|row| if row % 3 == 1 { IGNORE_INDEX } else { random.below(vocab) as u32 })
            .collect();
        for (row, target) in targets.iter().enumerate() {
            if *target == IGNORE_INDEX {
                states[row * stride..(row + 1) * stride].fill(f32::NAN);
            }
        }
        Self {
            rows,
            size,
            vocab,
            stride,
            states: states.into_iter().map(E::from_f32).collect(),
            weights: weights.into_iter().map(W::from_f32).collect(),
            bias: None,
            transform: Transform::NONE,
            parameters: None,
            targets,
            spans: vec![Span::new(0, rows / 2), Span::new(rows / 2, rows)],
            coefficients: (0..rows).map(|_| f64::from(random.unit()) * 0.1).collect(),
            panels: None,
        }
    }

    pub fn with_bias(self, seed: u64) -> Self {
        let mut random = Random(seed);
        self.with_bias_of(|_| random.unit())
    }

    pub fn with_bias_of(mut self, bias: impl FnMut(usize) -> f32) -> Self {
        self.bias = Some((0..self.vocab).map(bias).collect());
        self
    }

    /// With other targets in the rows that are scored.
    pub fn with_targets(mut self, target: impl Fn(usize) -> u32) -> Self {
        for (row, to) in self.targets.iter_mut().enumerate() {
            if *to != IGNORE_INDEX {
                *to = target(row);
            }
        }
        self
    }

    /// With other spans. Rows of none are NaN, and their target is in no vocabulary.
    pub fn with_spans(mut self, spans: &[(usize, usize)]) -> Self {
        self.spans = spans.iter().map(|&(start, end)| Span::new(start, end)).collect();
        for row in 0..self.rows {
            if !spans.iter().any(|&(start, end)| (start..end).contains(&row)) {
                self.targets[row] = u32::MAX - 1;
                self.states[row * self.stride..][..self.size].fill(E::from_f32(f32::NAN));
            }
        }
        self
    }

    pub fn with_transform(self, scale: f32, softcap: Option<f32>, temperature: f32) -> Self {
        let transform = Transform::new(scale, softcap, temperature).unwrap();
        Self { transform, parameters: Some((scale, softcap, temperature)), ..self }
    }

    pub fn layout(&self) -> Layout<'_> {
        Layout::new(&self.targets, &self.spans, self.vocab).unwrap()
    }

    pub fn hidden(&self) -> Hidden<'_, E> {
        Hidden::with_stride(&self.states, self.rows, self.size, self.stride).unwrap()
    }

    pub fn head(&self) -> Linear<'_, W> {
        let weights = &self.weights;
        let head = Linear::with_stride(weights, self.vocab, self.size, self.stride).unwrap();
        let head = head.with_transform(self.transform);
        let head = self.panels.map_or(head, |panels| head.with_panels(panels));
        match &self.bias {
            Some(bias) => head.with_bias(bias).unwrap(),
            None => head,
        }
    }

    pub fn is_scored(&self, row: usize) -> bool {
        (self.targets[row] as usize) < self.vocab
    }

    /// The logits of scored rows as the built-in product gives them, one after the other; NaN in
    /// other rows.
    pub fn written_out(&self, arithmetic: Arithmetic) -> Vec<f32> {
        let mut logits = vec![f32::NAN; self.rows * self.vocab];
        for row in (0..self.rows).filter(|&row| self.is_scored(row)) {
            for column in 0..self.vocab {
                let mut x: Option<f32> = None;
                for from in (0..self.size).step_by(256) {
                    let mut chain = 0.0_f32;
                    for k in from..self.size.min(from + 256) {
                        let a = self.states[row * self.stride + k].to_f32();
                        let b = self.weights[column * self.stride + k].to_f32();
                        chain = match arithmetic {
                            Arithmetic::Fused => a.mul_add(b, chain),
                            Arithmetic::Portable => chain + a * b,
                        };
                    }
                    x = Some(x.map_or(chain, |x| x + chain));
                }
                let bias = self.bias.as_ref().map(|bias| bias[column]);
                let x = x.unwrap();
                logits[row * self.vocab + column] = bias.map_or(x, |bias| x + bias);
            }
        }
        logits
    }
}

/// What a forward and a backward gave.
#[derive(Clone, Debug)]
pub struct Found {
    pub summary: Result<TokenSummary, Error>,
    pub log_probs: Vec<f32>,
    pub norms: Vec<RowNorm>,
    pub details: Vec<RowDetails>,
    /// R × (H + 1); the last of each row is padding.
    pub grads: Vec<f32>,
}

/// Nothing that a result could be.
pub const DIRT: f32 = -7.25e9;

impl Found {
    fn dirty(rows: usize, size: usize) -> Self {
        let details = RowDetails { entropy: DIRT, mean_logit: DIRT, ..RowDetails::default() };
        Self {
            summary: Ok(TokenSummary::default()),
            log_probs: vec![DIRT; rows],
            norms: vec![RowNorm::default(); rows],
            details: vec![details; rows],
            grads: vec![DIRT; rows * (size + 1)],
        }
    }
}

/// Forward, and backward in place, with room for `at_once` rows.
pub fn run<E: Element, W: Element>(
    case: &Case<E, W>,
    dispatch: Dispatch,
    at_once: usize,
    unscored: Unscored,
) -> Found {
    let (head, layout) = (case.head(), case.layout());
    let mut found = Found::dirty(case.rows, case.size);
    let mut rows = vec![HeadRow::NEW; at_once];
    let mut numbers = vec![f32::NAN; HeadScratch::numbers::<E, _>(&head, at_once)];
    let out = TokenOut::new(&mut found.log_probs)
        .with_norms(&mut found.norms)
        .with_details(&mut found.details);
    let (size, stride) = (case.size, case.size + 1);
    let sums = HiddenMut::with_stride(&mut found.grads, case.rows, size, stride).unwrap();
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    found.summary = head_forward(dispatch, case.hidden(), &head, &layout, out, sums, scratch);
    numbers.fill(f32::NAN);
    if found.summary.is_ok() {
        let batch =
            GradBatch::new(&layout, &found.norms, &case.coefficients).with_unscored(unscored);
        let sums = HiddenMut::with_stride(&mut found.grads, case.rows, size, stride).unwrap();
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        hidden_grads_in_place(dispatch, case.hidden(), &head, &batch, sums, scratch).unwrap();
    }
    found
}

/// The forward without sums.
pub fn score<E: Element, W: Element>(
    case: &Case<E, W>,
    dispatch: Dispatch,
    at_once: usize,
) -> Vec<f32> {
    score_from(case, dispatch, at_once, 0)
}

/// The same, in memory that begins some numbers after where an allocator has it begin.
pub fn score_from<E: Element, W: Element>(
    case: &Case<E, W>,
    dispatch: Dispatch,
    at_once: usize,
    first: usize,
) -> Vec<f32> {
    let (head, layout) = (case.head(), case.layout());
    let mut log_probs = vec![DIRT; case.rows];
    let mut rows = vec![HeadRow::NEW; at_once];
    let mut numbers = vec![f32::NAN; first + HeadScratch::numbers::<E, _>(&head, at_once)];
    let scratch = HeadScratch::new(&mut rows, &mut numbers[first..]);
    let out = TokenOut::new(&mut log_probs);
    head_token_log_probs(dispatch, case.hidden(), &head, &layout, out, scratch).unwrap();
    log_probs
}

/// Every head of the crate goes through one trait.
pub fn numbers_of<E: Element>(head: &dyn Head<E>, rows: usize) -> usize {
    HeadScratch::numbers(head, rows)
}
