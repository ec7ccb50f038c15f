//! A batch of rows under a mistake: what is read of memory, and where results go.

use alloc::vec::Vec;

use super::super::input::{ANY, RowFigures, RowsInput, is_any};
use super::super::{Mistake, Output, Precision};
use super::grads::Coefficients;
use super::norm::{Norm, RowModel, transformed};

/// The figures of all rows; None of those that are not scored.
pub(in super::super) fn rows(
    input: &RowsInput,
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
    let first = gathered(input, mistake, 0);
    let first_norm = model.norm(&transformed(&model, &first));
    let of = |row: usize| {
        input.is_scored(row).then(|| {
            let x = gathered(input, mistake, row);
            // Nothing is left to sum, or nobody knows what is read.
            if x.is_empty() || x.iter().any(|x| is_any(*x)) {
                return RowFigures::any(input.vocab);
            }
            let mut y = transformed(&model, &x);
            if matches!(mistake, Mistake::MaskIsNumber(_)) {
                // The lowest number, divided by a temperature or multiplied by a scale, is −inf again.
                let most = precision.arithmetic.overflow();
                let beyond = y.iter_mut().filter(|y| **y <= -most);
                beyond.for_each(|y| *y = f64::NEG_INFINITY);
            }
            let norm = model.norm(&y);
            let target = target_of(&input.targets, input.ignore, mistake, row);
            let target = target.filter(|&target| target < x.len());
            let mut figures = model.forward(&y, &norm, target, wants);
            if wants(Output::LogitGrads) {
                let norm = if mistake == Mistake::NormOfFirstRow { first_norm } else { norm };
                figures.grads = row_grads(&model, input, (&x, &y), &norm, (row, target));
            }
            figures
        })
    };
    (0..input.rows()).map(of).collect()
}

fn row_grads(
    model: &RowModel,
    input: &RowsInput,
    (x, y): (&[f64], &[f64]),
    norm: &Norm,
    (row, target): (usize, Option<usize>),
) -> Vec<f64> {
    let mistake = model.mistake;
    let coefficients = coefficients(&input.coefficients, row, |row| input.is_scored(row));
    let mut grads = model.grads(x, y, norm, target, &coefficients);
    match mistake {
        // Where such kernels write is another matter.
        Mistake::Transposed | Mistake::StrideIsVocab | Mistake::IndexOf16Bits => grads.fill(ANY),
        // What is not read has no gradient, or is not written.
        Mistake::DropsFirstColumn => grads.insert(0, ANY),
        _ => {}
    }
    grads.resize(input.vocab, ANY);
    grads
}

#[allow(clippy::cast_precision_loss, reason = "few rows")]
pub(super) fn coefficients(
    all: &[f64],
    row: usize,
    is_scored: impl Fn(usize) -> bool,
) -> Coefficients {
    let at = |row: usize| all.get(row).copied().unwrap_or(ANY);
    Coefficients {
        own: at(row),
        first: at(0),
        rows: all.len() as f64,
        scored: (0..all.len()).filter(|&row| is_scored(row)).count() as f64,
    }
}

/// The target that a row scores; None where it has none that can be told.
pub(super) fn target_of(
    targets: &[u32],
    ignore: u32,
    mistake: Mistake,
    row: usize,
) -> Option<usize> {
    let at = |row: usize| targets.get(row).filter(|&&target| target != ignore);
    let own = at(row).map(|&target| target as usize);
    match mistake {
        Mistake::TargetOfNextRow => at(row + 1).map(|&target| target as usize),
        Mistake::TargetOfRowBefore => at(row.checked_sub(1)?).map(|&target| target as usize),
        Mistake::ColumnAfterTarget => own.map(|target| target + 1),
        Mistake::ColumnBeforeTarget | Mistake::DropsFirstColumn => own?.checked_sub(1),
        _ => own,
    }
}

/// The logits that a row's kernel reads.
fn gathered(input: &RowsInput, mistake: Mistake, row: usize) -> Vec<f64> {
    let RowsInput { x, vocab, stride, .. } = input;
    let (vocab, stride) = (*vocab, *stride);
    let rows = input.rows();
    let at = |index: usize| x.get(index).copied().unwrap_or(ANY);
    let up = |tile: u16| vocab.next_multiple_of(tile.into());
    let plain = |width: usize| (0..width).map(|j| at(row * stride + j)).collect::<Vec<_>>();
    match mistake {
        Mistake::StrideIsVocab => (0..vocab).map(|j| at(row * vocab + j)).collect(),
        Mistake::Transposed => (0..vocab).map(|j| at(j * rows + row)).collect(),
        Mistake::IndexOf16Bits => (0..vocab).map(|j| at((row * stride + j) % 65536)).collect(),
        Mistake::ReadsPadding => plain(stride),
        Mistake::DropsLastColumn => plain(vocab.saturating_sub(1)),
        Mistake::DropsFirstColumn => plain(vocab).into_iter().skip(1).collect(),
        Mistake::TailDropped(tile) => plain(vocab - vocab % usize::from(tile)),
        Mistake::TailOfZeros(tile) => {
            let mut x = plain(vocab);
            x.resize(up(tile), 0.0);
            x
        }
        Mistake::TailOfMemory(tile) => plain(up(tile)),
        _ => plain(vocab),
    }
}
