//! A backend of plain loops: any arithmetic, any storage, many styles, and mistakes on demand.
//!
//! It shares nothing with the kit's models: those know figures in f64, this computes them as kernels
//! do. A [`Mistake`] in `faults` is made here by writing the loop in the wrong way.

mod deliver;
mod gradient;
mod head;
mod pair;
mod row;
mod style;

use std::convert::Infallible;
use std::marker::PhantomData;

use dpo_kernel::Element;
use dpo_kernel::verify::kit::{
    Backend, Format, Head, Mistake, Output, Pairs, Precision, RowOut, Rows,
};
use dpo_kernel::verify::{PairResult, Transform};

pub use style::{Grad, LogProb, Order, Pass, Ratio, Style};

use crate::real::Real;

macro_rules! is {
    ($mistake:expr, $pattern:pat => $value:expr) => {
        if let $pattern = $mistake { Some($value) } else { None }
    };
}
use is;

pub struct Plain<E, A> {
    pub style: Style,
    pub precision: Precision,
    pub offers: Vec<Output>,
    pub faults: Vec<Mistake>,
    /// The last answer of each output, for a backend that gives it again.
    last: Vec<(Output, Vec<f64>)>,
    types: PhantomData<(E, A)>,
}

impl<E: Element, A: Real> Plain<E, A> {
    pub fn new(style: Style, precision: Precision) -> Self {
        Self {
            style,
            precision,
            offers: Output::ALL.to_vec(),
            faults: Vec::new(),
            last: Vec::new(),
            types: PhantomData,
        }
    }

    pub fn with(mut self, fault: Mistake) -> Self {
        self.faults.push(fault);
        self
    }

    pub fn offering(mut self, offers: &[Output]) -> Self {
        self.offers = offers.to_vec();
        self
    }

    fn has(&self, fault: Mistake) -> bool {
        self.faults.contains(&fault)
    }

    fn cut(&self, of: impl Fn(&Mistake) -> Option<&u16>) -> Option<u16> {
        self.faults.iter().find_map(of).copied()
    }

    fn format(&self, of: impl Fn(&Mistake) -> Option<&Format>) -> Option<Format> {
        self.faults.iter().find_map(of).copied()
    }

    /// Rows that are computed: those that are scored, unless the check is forgotten.
    fn computes(&self, rows: &[u32], ignore: u32, row: usize) -> bool {
        rows[row] != ignore || self.has(Mistake::WritesUnscoredRows)
    }

    /// The target's place among the columns that are read.
    fn target(&self, targets: &[u32], ignore: u32, row: usize) -> Option<usize> {
        let of = |row: usize| {
            let target = targets[row % targets.len()];
            if target == ignore { 0 } else { target as usize }
        };
        if self.has(Mistake::TargetOfNextRow) {
            Some(of(row + 1))
        } else if self.has(Mistake::TargetOfRowBefore) {
            Some(of(row + targets.len() - 1))
        } else if self.has(Mistake::ColumnAfterTarget) {
            Some(of(row) + 1)
        } else if self.has(Mistake::ColumnBeforeTarget) || self.has(Mistake::DropsFirstColumn) {
            of(row).checked_sub(1)
        } else {
            Some(of(row))
        }
    }

    /// The logits that a row's loop reads.
    fn gather(&self, rows: &Rows<'_, E>, row: usize) -> Vec<A> {
        let Rows { logits, vocab, stride, .. } = *rows;
        let at = |index: usize| logits.get(index).map_or(A::zero(), |x| A::of(x.to_f32().into()));
        let place = |j: usize| {
            let index = row * stride + j;
            if self.has(Mistake::StrideIsVocab) {
                row * vocab + j
            } else if self.has(Mistake::Transposed) {
                j * rows.rows + row
            } else if self.has(Mistake::IndexOf16Bits) {
                usize::from(index as u16)
            } else if self.has(Mistake::IndexOf32Bits) {
                index & 0x7fff_ffff
            } else {
                index
            }
        };
        let up = |cut: u16| vocab.next_multiple_of(cut.into());
        let mut width = vocab;
        if self.has(Mistake::ReadsPadding) {
            width = stride;
        } else if self.has(Mistake::DropsLastColumn) {
            width = vocab - 1;
        } else if let Some(cut) = self.cut(|m| is!(m, Mistake::TailDropped(t) => t)) {
            width = without_tail(vocab, cut);
        } else if let Some(cut) = self.cut(|m| is!(m, Mistake::TailOfMemory(t) => t)) {
            width = up(cut);
        }
        let first = usize::from(self.has(Mistake::DropsFirstColumn));
        let mut x: Vec<A> = (first..width).map(|j| at(place(j))).collect();
        if let Some(cut) = self.cut(|m| is!(m, Mistake::TailOfZeros(t) => t)) {
            x.resize(up(cut), A::zero());
        }
        x
    }

    fn transformed(&self, x: &[A], transform: &Transform) -> Vec<A> {
        x.iter().map(|&x| self.y(x, transform)).collect()
    }

    fn out(&self, x: A) -> f64 {
        self.precision.output.round(x.wide())
    }
}

/// Columns without the tail. Kernels of wide tiles have another path for rows that are narrower.
fn without_tail(width: usize, cut: u16) -> usize {
    let cut = usize::from(cut);
    if cut >= 256 && width < cut { width } else { width - width % cut }
}

/// An argmax as a number and back.
fn column(x: f64) -> u32 {
    if x.is_nan() { 0x7fff_ffff } else { x as u32 }
}

impl<E: Element, A: Real> Backend for Plain<E, A> {
    type Element = E;
    type Error = Infallible;

    fn name(&self) -> &str {
        "plain loops"
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn offers(&self) -> &[Output] {
        &self.offers
    }

    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, E>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Infallible> {
        let mut lists: [Vec<Option<f64>>; 6] = std::array::from_fn(|_| vec![None; rows.rows]);
        for row in 0..rows.rows {
            if !self.computes(rows.targets, rows.ignore, row) {
                continue;
            }
            let target = self.target(rows.targets, rows.ignore, row);
            let y = self.transformed(&self.gather(rows, row), &rows.transform);
            let figures = self.figures(&y, target);
            let found = [
                self.out(figures.log_prob),
                self.out(figures.log_z),
                self.out(figures.entropy),
                figures.argmax.into(),
                self.out(figures.mean_logit),
                self.out(figures.log_sum_sq_probs),
            ];
            lists.iter_mut().zip(found).for_each(|(list, found)| list[row] = Some(found));
        }
        let [log_probs, log_z, entropy, argmax, mean_logit, log_sum_sq_probs] = lists;
        self.deliver(Output::LogProb, log_probs, 1, out.log_probs);
        self.deliver(Output::LogZ, log_z, 1, out.log_z);
        self.deliver(Output::Entropy, entropy, 1, out.entropy);
        self.deliver(Output::MeanLogit, mean_logit, 1, out.mean_logit);
        self.deliver(Output::LogSumSqProbs, log_sum_sq_probs, 1, out.log_sum_sq_probs);
        let mut columns: Vec<f64> = vec![-1.0; rows.rows];
        self.deliver(Output::Argmax, argmax, 1, &mut columns);
        for (to, from) in out.argmax.iter_mut().zip(columns).filter(|(_, from)| *from != -1.0) {
            *to = column(from);
        }
        Ok(())
    }

    fn logit_grads(
        &mut self,
        rows: &Rows<'_, E>,
        coefficients: &[f32],
        grads: &mut [E],
    ) -> Result<(), Infallible> {
        self.row_grads(rows, coefficients, grads);
        Ok(())
    }

    fn pair_loss(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), Infallible> {
        self.pairs(pairs, out);
        Ok(())
    }

    fn head(&mut self, head: &Head<'_, E>, out: &mut RowOut<'_>) -> Result<(), Infallible> {
        self.head_forward(head, out);
        Ok(())
    }

    fn hidden_grads(
        &mut self,
        head: &Head<'_, E>,
        coefficients: &[f32],
        d_hidden: &mut [f64],
    ) -> Result<(), Infallible> {
        self.head_backward(head, coefficients, d_hidden);
        Ok(())
    }
}
