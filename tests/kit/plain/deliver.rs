//! How results get into outputs, and how they fail to.

use dpo_kernel::Element;
use dpo_kernel::verify::kit::{Mistake, Output};

use super::{Plain, is};
use crate::real::Real;

impl<E: Element, A: Real> Plain<E, A> {
    /// Writes the figures of rows, `width` each; None is a row that is not written.
    pub fn deliver(
        &mut self,
        output: Output,
        found: Vec<Option<f64>>,
        width: usize,
        out: &mut [f64],
    ) {
        if self.has(Mistake::Unwritten) {
            return;
        }
        let round = self.format(|m| is!(m, Mistake::OutputRounded(f) => f));
        let fresh: Vec<f64> = found.iter().map(|x| x.unwrap_or(0.0)).collect();
        let last = self.last.iter().find(|(of, _)| *of == output).map(|(_, list)| list.clone());
        let first = found.iter().position(Option::is_some).unwrap_or(0) / width * width;
        for (at, x) in found.into_iter().enumerate() {
            let Some(x) = x else { continue };
            let shifted = |by: isize| {
                let at = at.checked_add_signed(by * width as isize);
                at.and_then(|at| fresh.get(at)).copied().unwrap_or(0.0)
            };
            out[at] = if self.has(Mistake::Zeros) {
                0.0
            } else if self.has(Mistake::AlwaysNan) {
                f64::NAN
            } else if self.has(Mistake::Constant) {
                -3.25
            } else if self.has(Mistake::LastCall) {
                last.as_ref().and_then(|list| list.get(at)).copied().unwrap_or(0.0)
            } else if self.has(Mistake::Accumulates) {
                if output == Output::Argmax { x } else { out[at] + x }
            } else if self.has(Mistake::FirstRow) {
                fresh[first + at % width]
            } else if self.has(Mistake::RowBefore) {
                shifted(-1)
            } else if self.has(Mistake::RowAfter) {
                shifted(1)
            } else if let (Some(format), true) = (round, output != Output::Argmax) {
                format.round(x)
            } else {
                x
            };
        }
        self.last.retain(|(of, _)| *of != output);
        self.last.push((output, fresh));
    }
}
