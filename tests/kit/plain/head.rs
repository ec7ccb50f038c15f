//! A head: products of hidden states and weights, then as rows.

use dpo_kernel::Element;
use dpo_kernel::verify::kit::{Head, Mistake, Output, RowOut};

use super::{Plain, is, without_tail};
use crate::real::Real;

impl<E: Element, A: Real> Plain<E, A> {
    fn weight(&self, head: &Head<'_, E>, j: usize, k: usize) -> A {
        let at = if self.has(Mistake::WeightTransposed) {
            k * head.vocab + j
        } else {
            j * head.hidden_size + k
        };
        A::of(head.weight[at].to_f32().into())
    }

    /// Hidden columns that are read.
    fn depth(&self, head: &Head<'_, E>) -> usize {
        let cut = self.cut(|m| is!(m, Mistake::HiddenTailDropped(t) => t));
        cut.map_or(head.hidden_size, |cut| head.hidden_size - head.hidden_size % usize::from(cut))
    }

    fn logits(&self, head: &Head<'_, E>, row: usize) -> Vec<A> {
        let h = &head.hidden[row * head.hidden_size..][..head.hidden_size];
        let depth = self.depth(head);
        let mut width = head.vocab;
        if let Some(cut) = self.cut(|m| is!(m, Mistake::TailDropped(t) => t)) {
            width = without_tail(width, cut);
        } else if self.has(Mistake::DropsLastColumn) {
            width -= 1;
        }
        let rounded = self.format(|m| is!(m, Mistake::LogitsRounded(f) => f));
        let of = |j: usize| {
            let product = |k: usize| A::of(h[k].to_f32().into()) * self.weight(head, j, k);
            let products: Vec<A> = (0..depth).map(product).collect();
            let mut x = self.style.order.sum(&products);
            if let Some(bias) = head.bias {
                let column = if self.has(Mistake::FirstBias) { 0 } else { j };
                let bias = A::of(bias[column].to_f32().into());
                let cut = self.cut(|m| is!(m, Mistake::BiasEveryTile(t) => t));
                let added = if self.has(Mistake::NoBias) {
                    0
                } else {
                    cut.map_or(1, |cut| head.hidden_size.div_ceil(cut.into()))
                };
                for _ in 0..added {
                    x = x + bias;
                }
            }
            match rounded.or(self.style.head_logits) {
                Some(format) => A::of(format.round(x.wide())),
                None => x,
            }
        };
        let mut x: Vec<A> = (0..width).map(of).collect();
        if let Some(cut) = self.cut(|m| is!(m, Mistake::TailOfZeros(t) => t)) {
            x.resize(head.vocab.next_multiple_of(cut.into()), A::zero());
        }
        x
    }

    pub fn head_forward(&mut self, head: &Head<'_, E>, out: &mut RowOut<'_>) {
        let mut lists = [vec![None; head.rows], vec![None; head.rows]];
        for row in 0..head.rows {
            if !self.computes(head.targets, head.ignore, row) {
                continue;
            }
            let y = self.transformed(&self.logits(head, row), &head.transform);
            let figures = self.figures(&y, self.target(head.targets, head.ignore, row));
            lists[0][row] = Some(self.out(figures.log_prob));
            lists[1][row] = Some(self.out(figures.log_z));
        }
        let [log_probs, log_z] = lists;
        self.deliver(Output::HeadLogProb, log_probs, 1, out.log_probs);
        self.deliver(Output::HeadLogZ, log_z, 1, out.log_z);
    }

    pub fn head_backward(
        &mut self,
        head: &Head<'_, E>,
        coefficients: &[f32],
        d_hidden: &mut [f64],
    ) {
        let width = head.hidden_size;
        let mut found: Vec<Option<f64>> = vec![None; head.rows * width];
        let first = self.transformed(&self.logits(head, 0), &head.transform);
        let first = self.norm(&first, None);
        let depth = self.depth(head);
        for row in 0..head.rows {
            if !self.computes(head.targets, head.ignore, row) {
                continue;
            }
            let x = self.logits(head, row);
            let y = self.transformed(&x, &head.transform);
            let target = self.target(head.targets, head.ignore, row);
            let mut norm = self.norm(&y, target);
            if self.has(Mistake::NormOfFirstRow) {
                norm = first;
            }
            let scored = head.targets.iter().filter(|&&target| target != head.ignore).count();
            let c = self.coefficient(coefficients, row, scored);
            let dx = self.dx(&x, &y, &head.transform, target, &norm, c);
            for k in 0..width {
                let products: Vec<A> = dx
                    .iter()
                    .enumerate()
                    .take(head.vocab)
                    .map(|(j, &d)| d * self.weight(head, j, k))
                    .collect();
                let sum = if k < depth { self.style.order.sum(&products) } else { A::zero() };
                found[row * width + k] = Some(self.precision.hidden_grads.round(sum.wide()));
            }
        }
        self.deliver(Output::HiddenGrads, found, width, d_hidden);
    }
}
