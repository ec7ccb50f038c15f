//! The crate at work: the stages one after another, as a host would call them.

use dpo_kernel::gradient::{
    GradBatch, Unscored, logit_grads, logit_grads_in_place, token_coefficients,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Dispatch, Element, Error, Layout, Logits, LogitsMut, PairBatch, PairLoss, PairOut,
    SequenceLogProb, TokenOut, preference_loss, sequence_log_probs, token_log_probs,
};

use super::manifest::{Entry, Manifest, Reference};
use super::storage::Storage;

/// What the crate found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) tokens: Vec<f32>,
    pub(crate) sequences: Vec<SequenceLogProb>,
    pub(crate) reference: Vec<f64>,
    pub(crate) losses: Vec<f64>,
    pub(crate) loss: f64,
    /// Written to f32.
    pub(crate) apart: Gradient,
    /// Written over the logits.
    pub(crate) in_place: Gradient,
    /// Elements of the scored rows.
    pub(crate) elements: usize,
    /// Those in place that are not the ones written to f32, rounded.
    pub(crate) differing: usize,
}

/// Of a gradient: its norms, and the entries that are expected.
#[derive(Debug)]
pub(crate) struct Gradient {
    pub(crate) l1: f64,
    pub(crate) l2: f64,
    pub(crate) entries: Vec<f64>,
}

pub(crate) fn run(
    manifest: &Manifest,
    storage: &Storage,
    dispatch: Dispatch,
) -> Result<Found, Error> {
    match storage {
        Storage::F32(data) => run_on(manifest, data, dispatch),
        Storage::F16(data) => run_on(manifest, data, dispatch),
        Storage::Bf16(data) => run_on(manifest, data, dispatch),
    }
}

#[allow(clippy::cast_precision_loss, reason = "there are few pairs")]
fn run_on<E: Element>(manifest: &Manifest, data: &[E], dispatch: Dispatch) -> Result<Found, Error> {
    let &Manifest { rows, vocab, stride, .. } = manifest;
    let transform = manifest.transform.transform()?;
    let (spans, pairs) = (&manifest.spans, &manifest.pairs);
    let mut order = vec![0; spans.len()];
    let layout = Layout::in_any_order(manifest.targets(), spans, vocab, &mut order)?;
    let logits = Logits::with_stride(data, rows, vocab, stride)?.with_transform(transform);

    let mut tokens = vec![f32::NAN; rows];
    let mut norms = vec![RowNorm::default(); rows];
    let out = TokenOut::new(&mut tokens).with_norms(&mut norms);
    token_log_probs(dispatch, logits, &layout, out)?;

    let mut sequences = vec![SequenceLogProb::default(); spans.len()];
    sequence_log_probs(&tokens, &layout, None, &mut sequences)?;
    let mut stored = sequences.clone();
    let reference = match &manifest.reference {
        Reference::Tokens(tokens) => {
            sequence_log_probs(tokens, &layout, None, &mut stored)?;
            dpo_kernel::Reference::Sequences(&stored)
        }
        Reference::Sequences(sums) => dpo_kernel::Reference::Sums(sums),
    };

    let divisor = pairs.len() as f64;
    let mut losses = vec![PairLoss::default(); pairs.len()];
    let mut d_log_probs = vec![0.0; spans.len()];
    let batch = PairBatch::new(pairs, &sequences, reference, divisor);
    let out = PairOut::new(&mut losses, &mut d_log_probs);
    let summary = preference_loss(&manifest.dpo, &batch, out)?;

    let mut coefficients = vec![0.0; rows];
    token_coefficients(&layout, &d_log_probs, None, None, &mut coefficients)?;
    // Zeros elsewhere, so that all of a buffer is the gradient.
    let batch = GradBatch::new(&layout, &norms, &coefficients).with_unscored(Unscored::Zero);
    let mut apart = vec![f32::NAN; rows * vocab];
    logit_grads(dispatch, logits, &batch, LogitsMut::new(&mut apart, rows, vocab)?)?;
    let apart = Logits::new(&apart, rows, vocab)?;

    let mut in_place = data.to_vec();
    let view = LogitsMut::with_stride(&mut in_place, rows, vocab, stride)?;
    logit_grads_in_place(dispatch, view.with_transform(transform), &batch)?;
    let in_place = Logits::with_stride(&in_place, rows, vocab, stride)?;

    let both = (0..rows).flat_map(|row| apart.row(row).iter().zip(in_place.row(row)));
    let rounded = |x: f32| E::from_f32(x).to_f32().to_bits();
    Ok(Found {
        reference: match reference {
            dpo_kernel::Reference::Sequences(x) => x.iter().map(|x| x.sum).collect(),
            dpo_kernel::Reference::Sums(x) => x.to_vec(),
            dpo_kernel::Reference::Free => Vec::new(),
        },
        losses: losses.iter().map(|x| x.loss).collect(),
        loss: summary.mean_loss(),
        apart: gradient(manifest, apart),
        in_place: gradient(manifest, in_place),
        elements: sequences.iter().map(|sequence| sequence.count).sum::<usize>() * vocab,
        differing: both.filter(|&(&x, y)| rounded(x) != y.to_f32().to_bits()).count(),
        tokens,
        sequences,
    })
}

fn gradient<E: Element>(manifest: &Manifest, grads: Logits<'_, E>) -> Gradient {
    let (mut l1, mut squares) = (0.0, 0.0);
    for x in (0..grads.rows()).flat_map(|row| grads.row(row)) {
        let x = f64::from(x.to_f32());
        l1 += x.abs();
        squares += x * x;
    }
    let entry = |e: &Entry| grads.row(e.row).get(e.column).map_or(f64::NAN, |x| x.to_f32().into());
    let entries = manifest.expected.entries.iter().map(entry).collect();
    Gradient { l1, l2: squares.sqrt(), entries }
}
