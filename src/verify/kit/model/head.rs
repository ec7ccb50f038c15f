//! A head under a mistake.

use alloc::vec;
use alloc::vec::Vec;

use super::super::input::{ANY, HeadInput, RowFigures};
use super::super::{Mistake, Output, Precision};
use super::gather::{coefficients, target_of};
use super::norm::{RowModel, transformed};

/// The figures of all rows, with H gradients each; None of those that are not scored.
pub(in super::super) fn head(
    input: &HeadInput,
    precision: &Precision,
    mistake: Mistake,
    wants: &dyn Fn(Output) -> bool,
) -> Vec<Option<RowFigures>> {
    let model = RowModel {
        mistake,
        transform: input.transform,
        arithmetic: precision.arithmetic,
        output: precision.output,
        storage: input.storage,
    };
    let first = logits(input, mistake, 0);
    let first_norm = model.norm(&transformed(&model, &first));
    let of = |row: usize| {
        input.is_scored(row).then(|| {
            let x = logits(input, mistake, row);
            let y = transformed(&model, &x);
            let norm = model.norm(&y);
            let target = target_of(&input.targets, input.ignore, mistake, row);
            let target = target.filter(|&target| target < x.len());
            let mut figures = model.forward(&y, &norm, target, &|_| false);
            if wants(Output::HiddenGrads) {
                let norm = if mistake == Mistake::NormOfFirstRow { first_norm } else { norm };
                let scored = |row| input.is_scored(row);
                let c = coefficients(&input.coefficients, row, scored);
                let dx = model.grads(&x, &y, &norm, target, &c);
                figures.grads = hidden(input, mistake, &dx);
            }
            figures
        })
    };
    (0..input.targets.len()).map(of).collect()
}

/// Weight of a column and a hidden one.
fn weight(input: &HeadInput, mistake: Mistake, j: usize, k: usize) -> f64 {
    let at = if mistake == Mistake::WeightTransposed {
        k * input.vocab + j
    } else {
        j * input.hidden_size + k
    };
    input.weight.get(at).copied().unwrap_or(ANY)
}

fn used(input: &HeadInput, mistake: Mistake) -> usize {
    match mistake {
        Mistake::HiddenTailDropped(tile) => {
            input.hidden_size - input.hidden_size % usize::from(tile)
        }
        _ => input.hidden_size,
    }
}

#[allow(clippy::cast_precision_loss, reason = "H is small")]
fn logits(input: &HeadInput, mistake: Mistake, row: usize) -> Vec<f64> {
    let h = input.hidden_row(row);
    let width = match mistake {
        Mistake::TailDropped(tile) => input.vocab - input.vocab % usize::from(tile),
        Mistake::DropsLastColumn => input.vocab.saturating_sub(1),
        _ => input.vocab,
    };
    let of = |j: usize| {
        let products = h.iter().take(used(input, mistake)).enumerate();
        let product: f64 = products.map(|(k, h)| h * weight(input, mistake, j, k)).sum();
        let bias = match mistake {
            Mistake::NoBias => 0.0,
            Mistake::FirstBias => input.bias_of(0),
            Mistake::BiasEveryTile(tile) if input.bias.is_some() => {
                input.hidden_size.div_ceil(tile.into()) as f64 * input.bias_of(j)
            }
            _ => input.bias_of(j),
        };
        let x = product + bias;
        match mistake {
            Mistake::LogitsRounded(format) => format.round(x),
            _ => x,
        }
    };
    let mut x: Vec<f64> = (0..width).map(of).collect();
    if let Mistake::TailOfZeros(tile) = mistake {
        x.resize(input.vocab.next_multiple_of(tile.into()), 0.0);
    }
    x
}

fn hidden(input: &HeadInput, mistake: Mistake, dx: &[f64]) -> Vec<f64> {
    let mut d_hidden = vec![0.0; input.hidden_size];
    let used = used(input, mistake);
    for (k, d) in d_hidden.iter_mut().enumerate() {
        let terms = dx.iter().take(input.vocab).enumerate();
        let sum: f64 = terms.map(|(j, g)| g * weight(input, mistake, j, k)).sum();
        *d = if k < used { sum } else { ANY };
        if sum.is_nan() {
            // What may be anything makes the sum so.
            *d = if dx.iter().any(|g| super::super::input::is_any(*g)) { ANY } else { sum };
        }
    }
    d_hidden
}
