//! A ragged batch, and what its losses are in candle's own operations.

use candle_core::{DType, Device, Result, Tensor};
use dpo_kernel_candle::dpo_kernel::{
    Dispatch, IGNORE_INDEX, Layout, Pair, Reference, Span, StepBatch,
};

pub(crate) const ROWS: usize = 23;
pub(crate) const VOCAB: usize = 37;
/// Not the pairs: another part of the batch is elsewhere.
pub(crate) const DIVISOR: f64 = 7.0;

/// The rows of a prompt or of padding lie between answers, and one answer has an ignored row.
const SPANS: [(usize, usize); 5] = [(1, 5), (5, 9), (11, 14), (14, 20), (20, 23)];
const IGNORED: usize = 7;

pub(crate) struct Case {
    pub(crate) targets: Vec<u32>,
    pub(crate) spans: Vec<Span>,
    /// The first answer stands in two of them, one after the other: a group, where there are groups.
    pub(crate) pairs: Vec<Pair>,
    pub(crate) reference: Vec<f64>,
}

impl Case {
    pub(crate) fn new(random: &mut Random) -> Self {
        let spans = SPANS.map(|(start, end)| Span::new(start, end)).to_vec();
        let mut targets: Vec<u32> = (0..ROWS).map(|_| random.below(VOCAB) as u32).collect();
        targets[IGNORED] = IGNORE_INDEX;
        let pairs = vec![Pair::new(0, 1), Pair::new(0, 4), Pair::new(2, 3)];
        let mut case = Self { targets, spans, pairs, reference: Vec::new() };
        case.reference = (0..case.spans.len())
            .map(|i| -3.5 * case.count(i) as f64 + 0.8 * random.normal())
            .collect();
        case
    }

    pub(crate) fn layout(&self) -> Layout<'_> {
        Layout::new(&self.targets, &self.spans, VOCAB).unwrap()
    }

    pub(crate) fn batch<'a>(&'a self, layout: &'a Layout<'a>, is_free: bool) -> StepBatch<'a> {
        let reference = if is_free { Reference::Free } else { Reference::Sums(&self.reference) };
        StepBatch::new(layout, &self.pairs, reference, DIVISOR)
    }

    /// The sequence of a scored row.
    pub(crate) fn sequence(&self, row: usize) -> Option<usize> {
        let is_in = |span: &Span| (span.start..span.end).contains(&row);
        self.spans.iter().position(is_in).filter(|_| row != IGNORED)
    }

    pub(crate) fn count(&self, sequence: usize) -> usize {
        (0..ROWS).filter(|&row| self.sequence(row) == Some(sequence)).count()
    }

    /// Token log-probs, R, of logits in candle's operations; those of rows that are not scored mean
    /// nothing.
    pub(crate) fn token_log_probs(&self, logits: &Tensor) -> Result<Tensor> {
        let ids: Vec<u32> =
            self.targets.iter().map(|&id| if id == IGNORE_INDEX { 0 } else { id }).collect();
        let ids = Tensor::from_vec(ids, (ROWS, 1), &Device::Cpu)?;
        candle_nn::ops::log_softmax(logits, 1)?.gather(&ids, 1)?.flatten_all()
    }

    /// Sums over the sequences, N, each token times its weight.
    pub(crate) fn sums(&self, tokens: &Tensor, weights: Option<&[f32]>) -> Result<Tensor> {
        let mut of = vec![0.0; self.spans.len() * ROWS];
        for row in 0..ROWS {
            if let Some(sequence) = self.sequence(row) {
                of[sequence * ROWS + row] = weights.map_or(1.0, |weights| f64::from(weights[row]));
            }
        }
        let of = Tensor::from_vec(of, (self.spans.len(), ROWS), &Device::Cpu)?;
        of.to_dtype(tokens.dtype())?.matmul(&tokens.reshape((ROWS, 1))?)?.flatten_all()
    }

    /// Both answers of each pair.
    pub(crate) fn answers(&self, sums: &Tensor) -> Result<Answers> {
        let index = |f: fn(&Pair) -> usize| {
            let found: Vec<u32> = self.pairs.iter().map(|pair| f(pair) as u32).collect();
            Tensor::new(found, &Device::Cpu)
        };
        let (chosen, rejected) = (index(|pair| pair.chosen)?, index(|pair| pair.rejected)?);
        let of = |numbers: Vec<f64>| Tensor::new(numbers, &Device::Cpu)?.to_dtype(sums.dtype());
        let counts = of((0..self.spans.len()).map(|i| self.count(i) as f64).collect())?;
        let reference = of(self.reference.clone())?;
        let both = |of: &Tensor| Ok((of.index_select(&chosen, 0)?, of.index_select(&rejected, 0)?));
        let both = |of: &Tensor| -> Result<(Tensor, Tensor)> { both(of) };
        let ((w, l), (rw, rl), (nw, nl)) = (both(sums)?, both(&reference)?, both(&counts)?);
        let (a, b) = ((&w - rw)?, (&l - rl)?);
        let (p, q) = ((&w / &nw)?, (&l / &nl)?);
        Ok(Answers { w, l, a, b, p, q, nw, nl })
    }
}

/// log π, log-ratios, means and counts of the chosen and the rejected answer of each pair.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) w: Tensor,
    pub(crate) l: Tensor,
    pub(crate) a: Tensor,
    pub(crate) b: Tensor,
    pub(crate) p: Tensor,
    pub(crate) q: Tensor,
    pub(crate) nw: Tensor,
    pub(crate) nl: Tensor,
}

/// Numbers that are the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// About normal, of deviation 1.
    pub(crate) fn normal(&mut self) -> f64 {
        let uniform = |x: u64| (x >> 11) as f64 / (1_u64 << 53) as f64;
        (0..12).map(|_| uniform(self.next())).sum::<f64>() - 6.0
    }

    pub(crate) fn tensor(&mut self, shape: (usize, usize), by: f64, dtype: DType) -> Tensor {
        let numbers: Vec<f64> = (0..shape.0 * shape.1).map(|_| by * self.normal()).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }
}

pub(crate) fn on() -> Dispatch {
    Dispatch::detect()
}

/// All numbers of a tensor, as they are.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}
