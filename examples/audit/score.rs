//! Log-probs out of logits, a chunk of rows at a time, as the dump has them or as another engine
//! may have seen them.

use std::iter::once;
use std::ops::Range;

use dpo_kernel::{
    Dispatch, Element, Error, IGNORE_INDEX, Layout, Logits as Rows, Span, Targets, TokenOut, bf16,
    f16, token_log_probs,
};

use super::dump::{Dump, Logits};
use super::manifest::Parts;
use super::storage::{Storage, Type};

/// Elements of a chunk: 32 MiB in f32.
const CHUNK: usize = 1 << 23;

/// How logits are looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct View {
    /// Before the transform.
    pub(crate) first: First,
    pub(crate) parts: Parts,
    /// Token t is scored by row t + `by`.
    pub(crate) by: isize,
}

/// What is done to each logit before the transform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum First {
    Nothing,
    /// Rounded to 16 bits.
    Round(Type),
    /// Moved by an arbitrary part of half the distance to its 16-bit neighbour: what rounding to
    /// this type may have taken.
    Dither(Type),
    /// Taken for capped ones: x becomes c · atanh(x / c).
    Uncap(f64),
}

impl View {
    /// As the dump states it.
    pub(crate) fn of(logits: &Logits) -> Self {
        Self { first: First::Nothing, parts: logits.parts, by: 0 }
    }
}

/// Rows of f32 without padding, and what each scores.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) data: Vec<f32>,
    pub(crate) vocab: usize,
    pub(crate) targets: Vec<u32>,
}

impl Block {
    /// Log-probs of the targets; NaN where there is none, and in rows that have none.
    pub(crate) fn log_probs(&self, first: First, parts: Parts) -> Result<Vec<f64>, String> {
        let rounded;
        let data = match first {
            First::Nothing => &self.data,
            First::Round(to) => {
                rounded = self.data.iter().map(|&x| round(x, to)).collect();
                &rounded
            }
            First::Dither(to) => {
                let dithered = |(index, &x)| dither(x, to, index);
                rounded = self.data.iter().enumerate().map(dithered).collect();
                &rounded
            }
            First::Uncap(cap) => {
                rounded = self.data.iter().map(|&x| uncap(x, cap)).collect();
                &rounded
            }
        };
        log_probs(data, self.vocab, &self.targets, parts).map_err(|error| error.to_string())
    }

    pub(crate) fn round(&mut self, to: Type) {
        self.data.iter_mut().for_each(|x| *x = round(*x, to));
    }

    /// With columns at −inf where the other rows have none, or −inf.
    pub(crate) fn mask(&mut self, by: &Self) {
        let rows = self.data.chunks_exact_mut(self.vocab.max(1));
        for (row, mask) in rows.zip(by.data.chunks_exact(by.vocab.max(1))) {
            for (column, x) in row.iter_mut().enumerate() {
                if mask.get(column).is_none_or(|&mask| mask == f32::NEG_INFINITY) {
                    *x = f32::NEG_INFINITY;
                }
            }
        }
    }
}

fn log_probs(data: &[f32], vocab: usize, targets: &[u32], parts: Parts) -> Result<Vec<f64>, Error> {
    let span = [Span::new(0, targets.len())];
    let layout = Layout::new(Targets::new(targets), &span, vocab)?;
    let logits = Rows::new(data, targets.len(), vocab)?.with_transform(parts.transform()?);
    let mut out = vec![f32::NAN; targets.len()];
    match token_log_probs(Dispatch::detect(), logits, &layout, TokenOut::new(&mut out)) {
        // Those rows are NaN, and all others are there.
        Ok(_) | Err(Error::NonFiniteRows { .. }) => Ok(out.into_iter().map(f64::from).collect()),
        Err(error) => Err(error),
    }
}

pub(crate) fn round(x: f32, to: Type) -> f32 {
    match to {
        Type::F32 => x,
        Type::F16 => f16::from_f32(x).to_f32(),
        Type::Bf16 => bf16::from_f32(x).to_f32(),
    }
}

fn dither(x: f32, to: Type, index: usize) -> f32 {
    let bits = match to {
        Type::F32 => 23,
        Type::F16 => 10,
        Type::Bf16 => 7,
    };
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    // A power of two: the exponent alone, less the bits behind it.
    let distance = f32::from_bits(x.to_bits() & 0x7f80_0000) * 0.5_f32.powi(bits);
    let hash = (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x + distance * ((hash >> 40) as f32 / (1_u64 << 24) as f32 - 0.5)
}

fn uncap(x: f32, cap: f64) -> f32 {
    // Above the cap there is no such logit: NaN, which no log-prob agrees with.
    if x.is_finite() { (cap * (f64::from(x) / cap).atanh()) as f32 } else { x }
}

/// The target of each row under a view: that of token `row` − `by`, within its sequence.
pub(crate) fn targets(dump: &Dump, by: isize) -> Vec<u32> {
    let targets = dump.targets();
    if by == 0 {
        return targets;
    }
    let mut moved = vec![IGNORE_INDEX; targets.len()];
    let spans = dump.spans.clone().unwrap_or_else(|| once(0..dump.len()).collect());
    for span in spans {
        for token in span.clone() {
            let row = token.checked_add_signed(by).filter(|row| span.contains(row));
            if let Some((to, &target)) =
                row.and_then(|row| moved.get_mut(row)).zip(targets.get(token))
            {
                *to = target;
            }
        }
    }
    moved
}

/// Reads all rows, chunk by chunk.
pub(crate) fn each_block(
    logits: &Logits,
    targets: &[u32],
    mut f: impl FnMut(Range<usize>, Block) -> Result<(), String>,
) -> Result<(), String> {
    let (count, vocab) = (logits.rows.rows, logits.vocab);
    let step = (CHUNK / vocab.max(1)).max(1);
    for start in (0..count).step_by(step) {
        let rows = start..count.min(start + step);
        let block = block(logits, targets, rows.clone())?;
        f(rows, block)?;
    }
    Ok(())
}

/// Some rows.
pub(crate) fn block(logits: &Logits, targets: &[u32], rows: Range<usize>) -> Result<Block, String> {
    let (vocab, stride) = (logits.vocab, logits.rows.stride);
    let data = match logits.rows.read(rows.clone())? {
        Storage::F32(x) => packed(&x, vocab, stride),
        Storage::F16(x) => packed(&x, vocab, stride),
        Storage::Bf16(x) => packed(&x, vocab, stride),
    };
    let targets = targets.get(rows).unwrap_or_default().to_vec();
    Ok(Block { data, vocab, targets })
}

fn packed<E: Element>(x: &[E], vocab: usize, stride: usize) -> Vec<f32> {
    let rows = x.chunks_exact(stride.max(1));
    rows.flat_map(|row| row.iter().take(vocab)).map(|x| x.to_f32()).collect()
}

/// Log-probs of every token under each of the views, in one sweep over the file.
pub(crate) fn predict(
    dump: &Dump,
    logits: &Logits,
    views: &[View],
) -> Result<Vec<Vec<f64>>, String> {
    let mut found = vec![vec![f64::NAN; dump.len()]; views.len()];
    let all: Vec<_> = views.iter().map(|view| targets(dump, view.by)).collect();
    each_block(logits, &[], |rows, mut block| {
        for ((view, targets), found) in views.iter().zip(&all).zip(&mut found) {
            block.targets = targets.get(rows.clone()).unwrap_or_default().to_vec();
            let log_probs = block.log_probs(view.first, view.parts)?;
            for (row, x) in rows.clone().zip(log_probs) {
                let token = row.checked_add_signed(-view.by);
                if let Some(to) =
                    token.and_then(|token| found.get_mut(token)).filter(|_| !x.is_nan())
                {
                    *to = x;
                }
            }
        }
        Ok(())
    })
    .map_err(|message| format!("{}: {message}", dump.path.display()))?;
    Ok(found)
}

/// Log-probs under the mask of another dump's logits: its −inf, and the columns that it lacks.
pub(crate) fn predict_masked(
    dump: &Dump,
    logits: &Logits,
    by: &Logits,
) -> Result<Vec<f64>, String> {
    let (mut found, targets) = (vec![f64::NAN; dump.len()], targets(dump, 0));
    each_block(logits, &targets, |rows, mut chunk| {
        chunk.mask(&block(by, &[], rows.clone())?);
        for (to, x) in
            found.iter_mut().skip(rows.start).zip(chunk.log_probs(First::Nothing, logits.parts)?)
        {
            *to = x;
        }
        Ok(())
    })?;
    Ok(found)
}
