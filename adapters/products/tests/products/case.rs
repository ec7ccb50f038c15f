//! Cases, what a head gives of them, and how far two heads may be apart.

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    Head, HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, head_grads,
    hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Dispatch, Element, Error, IGNORE_INDEX, Layout, Span, TokenOut, TokenSummary, Transform,
};
use dpo_kernel_products::{Product, ProductHead};

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

/// Nothing that a result could be.
pub const DIRT: f32 = -7.25e9;

/// R hidden states of H numbers and V rows of weights, all with padding of NaN. Every third row is
/// not scored, and NaN too, unless there is one alone.
pub struct Case<E, W> {
    pub rows: usize,
    pub size: usize,
    pub vocab: usize,
    pub stride: usize,
    pub states: Vec<E>,
    pub weights: Vec<W>,
    pub bias: Option<Vec<f32>>,
    pub transform: Transform,
    /// By how much the transform's slope raises a difference of logits, at most.
    pub slope: f64,
    pub targets: Vec<u32>,
    pub coefficients: Vec<f64>,
}

impl<E: Element, W: Element> Case<E, W> {
    pub fn new((rows, size, vocab): (usize, usize, usize), seed: u64) -> Self {
        let mut random = Random(seed);
        let stride = size + random.below(4);
        let (scale, shift) = (random.unit().abs() * 4.0, random.unit());
        let mut fill = |rows: usize, scale: f32| -> Vec<f32> {
            let mut number =
                |i| if i % stride < size { scale * (random.unit() + shift) } else { f32::NAN };
            (0..rows * stride).map(&mut number).collect()
        };
        let (mut states, weights) = (fill(rows, scale), fill(vocab, 3.0 / (size as f32).sqrt()));
        let mut targets = Vec::new();
        for row in 0..rows {
            let is_scored = rows == 1 || row % 3 != 1;
            targets.push(if is_scored { random.below(vocab) as u32 } else { IGNORE_INDEX });
            if !is_scored {
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
            slope: 1.0,
            targets,
            coefficients: (0..rows).map(|_| f64::from(random.unit()) * 0.1).collect(),
        }
    }

    pub fn with_bias(mut self, seed: u64) -> Self {
        let mut random = Random(seed);
        self.bias = Some((0..self.vocab).map(|_| random.unit()).collect());
        self
    }

    pub fn with_transform(mut self, scale: f32, softcap: Option<f32>, temperature: f32) -> Self {
        self.transform = Transform::new(scale, softcap, temperature).expect("in range");
        self.slope = f64::from(scale / temperature);
        self
    }

    pub fn linear(&self) -> Linear<'_, W> {
        let head = Linear::with_stride(&self.weights, self.vocab, self.size, self.stride);
        let head = head.expect("shapes fit").with_transform(self.transform);
        self.bias.as_ref().map_or(head, |bias| head.with_bias(bias).expect("V of them"))
    }

    pub fn product<P: Product>(&self, rows: usize) -> ProductHead<'_, W, P> {
        let head = ProductHead::with_stride(&self.weights, self.vocab, self.size, self.stride);
        let head = head.expect("shapes fit").with_transform(self.transform).with_rows(rows);
        self.bias.as_ref().map_or(head, |bias| head.with_bias(bias).expect("V of them"))
    }

    pub fn is_scored(&self, row: usize) -> bool {
        self.targets[row] != IGNORE_INDEX
    }

    fn weight(&self, column: usize, k: usize) -> f64 {
        f64::from(self.weights[column * self.stride + k].to_f32())
    }

    /// What differences of weights' gradients are measured in.
    fn unit_of_weights(&self) -> f64 {
        let rows = (0..self.rows).filter(|&row| self.is_scored(row));
        let of_row = |row: usize| {
            let states = &self.states[row * self.stride..][..self.size];
            let most = states.iter().fold(0.0_f32, |most, x| most.max(x.to_f32().abs()));
            self.units(row).0 * (self.coefficients[row] * self.slope).abs() * f64::from(most)
        };
        rows.map(of_row).sum()
    }

    /// What differences of results of a row are measured in: of log-probs, of gradients.
    fn units(&self, row: usize) -> (f64, f64) {
        let state = |k: usize| f64::from(self.states[row * self.stride + k].to_f32());
        let (mut most, mut heaviest) = (1.0_f64, 0.0_f64);
        for column in 0..self.vocab {
            let mut sum = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[column].abs()));
            for k in 0..self.size {
                sum += (state(k) * self.weight(column, k)).abs();
                heaviest = heaviest.max(self.weight(column, k).abs());
            }
            most = most.max(sum * self.slope);
        }
        let unit = most * (-24.0_f64).exp2();
        (unit, unit * (self.coefficients[row] * self.slope).abs() * heaviest)
    }
}

/// What a forward and two backwards gave: log-probs, R × (H + 1) gradients of a frozen head and
/// (R + V) × (H + 1) of a trained one.
pub struct Found {
    pub summary: Result<TokenSummary, Error>,
    pub log_probs: Vec<f32>,
    pub grads: Vec<f32>,
    pub trained: Vec<f32>,
}

/// Forward and both backwards with room for `at_once` rows, in dirty memory.
pub fn run<E: Element, W: Element>(
    case: &Case<E, W>,
    head: &impl Head<E>,
    at_once: usize,
) -> Found {
    let dispatch = Dispatch::detect();
    let spans = [Span::new(0, case.rows)];
    let layout = Layout::new(&case.targets, &spans, case.vocab).expect("targets are in range");
    let states = Hidden::with_stride(&case.states, case.rows, case.size, case.stride);
    let states = states.expect("shapes fit");
    let (mut log_probs, mut norms) = (vec![DIRT; case.rows], vec![RowNorm::default(); case.rows]);
    let mut grads = vec![DIRT; case.rows * (case.size + 1)];
    let mut rows = vec![HeadRow::NEW; at_once];
    let mut numbers = vec![f32::NAN; HeadScratch::numbers(head, at_once)];
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    let sums = HiddenMut::with_stride(&mut grads, case.rows, case.size, case.size + 1);
    let sums = sums.expect("shapes fit");
    let scratch = HeadScratch::new(&mut rows, &mut numbers);
    let summary = head_forward(dispatch, states, head, &layout, out, sums, scratch);
    if summary.is_ok() {
        numbers.fill(f32::NAN);
        let batch = GradBatch::new(&layout, &norms, &case.coefficients);
        let sums = HiddenMut::with_stride(&mut grads, case.rows, case.size, case.size + 1);
        let sums = sums.expect("shapes fit");
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        hidden_grads_in_place(dispatch, states, head, &batch, sums, scratch).expect("fits");
    }
    let mut trained = vec![DIRT; (case.rows + case.vocab) * (case.size + 1)];
    if summary.is_ok() {
        let batch = GradBatch::new(&layout, &norms, &case.coefficients);
        let (hidden, weights) = trained.split_at_mut(case.rows * (case.size + 1));
        let hidden = HiddenMut::with_stride(hidden, case.rows, case.size, case.size + 1);
        let (vocab, size) = (case.vocab, case.size);
        let grads = HeadGrads::of_weights_with_stride(weights, vocab, size, size + 1);
        let (hidden, grads) = hidden.ok().zip(grads.ok()).expect("shapes fit");
        // Whole chains of 96 tokens, or all.
        let mut rows = vec![HeadRow::NEW; case.rows];
        let needed = HeadScratch::numbers_trained(dispatch, head, case.rows, &grads);
        let mut numbers = vec![f32::NAN; needed];
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        head_grads(dispatch, states, head, &batch, hidden, grads, scratch).expect("fits");
    }
    Found { summary, log_probs, grads, trained }
}

/// The largest differences of two results, in units: of log-probs, of gradients (hidden ones, of a
/// frozen and of a trained head, and weights'). Infinite where one
/// of them wrote what the other left, or gave NaN.
pub fn distance<E: Element, W: Element>(
    case: &Case<E, W>,
    one: &Found,
    other: &Found,
) -> (f64, f64) {
    let apart = |a: f32, b: f32, unit: f64| {
        let apart = (f64::from(a) - f64::from(b)).abs() / unit;
        if a.to_bits() == b.to_bits() {
            0.0
        } else if apart.is_nan() {
            f64::INFINITY
        } else {
            apart
        }
    };
    let (mut of_log_probs, mut of_grads) = (0.0_f64, 0.0_f64);
    for row in 0..case.rows {
        let (unit, of_grad) = if case.is_scored(row) { case.units(row) } else { (0.0, 0.0) };
        of_log_probs = of_log_probs.max(apart(one.log_probs[row], other.log_probs[row], unit));
        let of = row * (case.size + 1)..(row + 1) * (case.size + 1);
        for (one, other) in [(&one.grads, &other.grads), (&one.trained, &other.trained)] {
            for (&a, &b) in one[of.clone()].iter().zip(&other[of.clone()]) {
                of_grads = of_grads.max(apart(a, b, of_grad));
            }
        }
    }
    let (unit, from) = (case.unit_of_weights(), case.rows * (case.size + 1));
    for (&a, &b) in one.trained[from..].iter().zip(&other.trained[from..]) {
        of_grads = of_grads.max(apart(a, b, unit));
    }
    (of_log_probs, of_grads)
}
