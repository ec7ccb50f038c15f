//! The head: log-probs and gradients of hidden states, by the built-in product.

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    Adapted, Adapter, HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward,
    head_grads, head_token_log_probs, hidden_grads_in_place,
};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::{Dispatch, Element, IGNORE_INDEX, Layout, Span, TokenOut};

use super::digest::{Bits, Digest};
use super::logits::{bell, below, bits, transforms};

/// R and the most of H.
const ROWS: usize = 5;
const SIZE: usize = 40;

/// Heads of several shapes under every transform. Two tiles, three chains of the one product; the
/// other has a chain alone, for want of memory.
pub fn heads<E: Element + Bits>(
    dispatch: Dispatch,
    weights: &mut [E],
    numbers: &mut [f32],
) -> Digest {
    let mut digest = Digest::new();
    for (i, (size, vocab)) in
        [(1, 1), (3, 40), (16, 513), (20, 700), (SIZE, 33)].into_iter().enumerate()
    {
        for (j, transform) in transforms().into_iter().enumerate() {
            let seed = 1000 + (10 * i + j) as u32;
            let scale = 4.0 / (size as f32 + 4.0);
            fill(seed, &mut weights[..vocab * size], scale);
            let mut states = [E::ZERO; ROWS * SIZE];
            for (k, to) in states.iter_mut().enumerate() {
                *to = E::from_f32(2.0 * bell(bits(seed, !(k as u32))));
            }
            let mut bias = [0.0; 40];
            for (k, to) in bias.iter_mut().enumerate() {
                *to = if k == 7 { f32::NEG_INFINITY } else { bell(bits(seed + 50, k as u32)) };
            }
            let mut targets = [IGNORE_INDEX; ROWS];
            for (k, to) in targets.iter_mut().enumerate().filter(|(k, _)| *k != 2) {
                // The masked column is no target.
                *to = below(bits(seed + 60, k as u32), vocab.min(7)) as u32;
            }
            let spans = [Span::new(0, ROWS)];
            let layout = Layout::new(&targets, &spans, vocab).unwrap();
            let mut head = Linear::new(&weights[..vocab * size], vocab, size)
                .unwrap()
                .with_transform(transform)
                .with_panels(1);
            if vocab == bias.len() {
                head = head.with_bias(&bias).unwrap();
            }
            let hidden = Hidden::new(&states[..ROWS * size], ROWS, size).unwrap();
            let (mut log_probs, mut norms) = ([0.0; ROWS], [RowNorm::default(); ROWS]);
            let (mut details, mut sums) = ([RowDetails::default(); ROWS], [0.0; ROWS * SIZE]);
            let sums = &mut sums[..ROWS * size];
            let mut rows = [HeadRow::NEW; 3];
            let out =
                TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
            let view = HiddenMut::new(sums, ROWS, size).unwrap();
            let scratch = HeadScratch::new(&mut rows, numbers);
            head_forward(dispatch, hidden, &head, &layout, out, view, scratch).unwrap();
            let batch = GradBatch::new(&layout, &norms, &[0.5, -0.25, 0.0, 1.5, -1e-3]);
            let view = HiddenMut::new(sums, ROWS, size).unwrap();
            let scratch = HeadScratch::new(&mut rows, numbers);
            hidden_grads_in_place(dispatch, hidden, &head, &batch, view, scratch).unwrap();
            digest.add_all(&log_probs);
            for details in details {
                digest.add(details);
            }
            digest.add_all(sums);
        }
    }
    digest
}

/// Rank of the adapter.
const RANK: usize = 2;

/// Trained heads with a bias and an adapter, their gradients in the weights' type behind the
/// weights. Of the last shape, with two tiles, there is no memory for the weights' gradient.
pub fn trained<E: Element + Bits>(
    dispatch: Dispatch,
    buffer: &mut [E],
    numbers: &mut [f32],
) -> Digest {
    let mut digest = Digest::new();
    for (i, (size, vocab)) in [(3, 40), (SIZE, 33), (15, 520)].into_iter().enumerate() {
        let seed = 2000 + 10 * i as u32;
        let (weights, grads) = buffer.split_at_mut(vocab * size);
        fill(seed, weights, 4.0 / (size as f32 + 4.0));
        let (mut states, mut bias) = ([E::ZERO; ROWS * SIZE], [0.0_f32; 520]);
        let (mut a, mut b) = ([0.0_f32; RANK * SIZE], [0.0_f32; 520 * RANK]);
        fill(seed + 1, &mut states, 2.0);
        fill(seed + 2, &mut bias, 1.0);
        fill(seed + 3, &mut a, 0.5);
        fill(seed + 4, &mut b, 0.5);
        let (states, a) = (&states[..ROWS * size], &a[..RANK * size]);
        let targets = [3, IGNORE_INDEX, 0, 32, 17];
        let spans = [Span::new(0, ROWS)];
        let layout = Layout::new(&targets, &spans, vocab).unwrap();
        let hidden = Hidden::new(states, ROWS, size).unwrap();
        let adapter = Adapter::new(a, &b[..vocab * RANK], RANK, size, vocab, 1.25).unwrap();
        let (mut rows, mut projected) = ([HeadRow::NEW; ROWS], [0.0; ROWS * RANK]);
        let view = HiddenMut::new(&mut projected, ROWS, RANK).unwrap();
        let scratch = HeadScratch::new(&mut rows, numbers);
        adapter.project(dispatch, hidden, &layout, view, scratch).unwrap();
        let projected = Hidden::new(&projected, ROWS, RANK).unwrap();
        let head = Linear::new(weights, vocab, size).unwrap().with_panels(1);
        let head = head.with_bias(&bias[..vocab]).unwrap();
        let head = Adapted::new::<E>(head, &adapter, projected).unwrap();
        let (mut log_probs, mut norms) = ([0.0; ROWS], [RowNorm::default(); ROWS]);
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let scratch = HeadScratch::new(&mut rows, numbers);
        head_token_log_probs(dispatch, hidden, &head, &layout, out, scratch).unwrap();
        let batch = GradBatch::new(&layout, &norms, &[0.5, -0.25, 0.0, 1.5, -1e-3]);
        let wide = size + RANK;
        let (mut of_states, mut of_bias) = ([0.0; ROWS * (SIZE + RANK)], [0.0; 520]);
        let (mut of_a, mut of_b) = ([0.0; RANK * SIZE], [0.0; 520 * RANK]);
        let (of_states, of_a) = (&mut of_states[..ROWS * wide], &mut of_a[..RANK * size]);
        let (of_bias, of_b) = (&mut of_bias[..vocab], &mut of_b[..vocab * RANK]);
        let view = HiddenMut::new(of_states, ROWS, wide).unwrap();
        let scratch = HeadScratch::new(&mut rows, numbers);
        if let Some(grads) = grads.get_mut(..vocab * size).filter(|_| vocab < 520) {
            let grads = HeadGrads::of_weights(grads, vocab, size).unwrap().with_bias(of_bias);
            let grads = grads.with_adapter(projected, of_b).unwrap();
            head_grads(dispatch, hidden, &head, &batch, view, grads, scratch).unwrap();
        } else {
            let grads = HeadGrads::of_adapter(projected, of_b).unwrap().with_bias(of_bias);
            head_grads(dispatch, hidden, &head, &batch, view, grads, scratch).unwrap();
        }
        let view = HiddenMut::new(of_states, ROWS, wide).unwrap();
        let scratch = HeadScratch::new(&mut rows, numbers);
        let into = Some(&mut *of_a);
        adapter.grads_in_place(dispatch, hidden, &layout, view, into, scratch).unwrap();
        digest.add_all(&log_probs);
        for grads in [&*of_states, of_a, of_b, of_bias] {
            digest.add_all(grads);
        }
        if vocab < 520 {
            digest.add_all(&grads[..vocab * size]);
        }
    }
    digest
}

fn fill<E: Element>(seed: u32, to: &mut [E], scale: f32) {
    for (k, to) in to.iter_mut().enumerate() {
        *to = E::from_f32(scale * bell(bits(seed, k as u32)));
    }
}
