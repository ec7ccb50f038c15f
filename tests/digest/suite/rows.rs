//! Rows: whole, special, by tiles and by shards, forward and backward.

use dpo_kernel::gradient::{GradBatch, logit_grads, tile_grads_in_place};
use dpo_kernel::row::RowNorm;
use dpo_kernel::row::{Details, RowStats};
use dpo_kernel::{
    Dispatch, Element, Layout, Logits, LogitsMut, Span, TokenOut, Transform, token_log_probs,
};

use super::Plan;
use super::digest::{Bits, Digest};
use super::logits::{below, bits, fill, transforms};

/// Rows of every length, kind and transform.
pub fn rows<E: Element + Bits>(
    plan: &Plan,
    dispatch: Dispatch,
    buffer: &mut [E],
    grads: &mut [f32],
) -> Digest {
    let mut digest = Digest::new();
    for (i, &vocab) in plan.vocabs.iter().enumerate() {
        // Each kind of row meets each transform at some length; short rows meet all at each.
        let all = transforms();
        let rounds = if vocab <= 64 { all.len() } else { 2 };
        for (j, &transform) in all.iter().cycle().skip(2 * i).take(rounds).enumerate() {
            let seed = (7 * i + 4 * j) as u32;
            fill(seed, 0, &mut buffer[..vocab]);
            let target = below(bits(seed, u32::MAX), vocab);
            row(plan, &mut digest, dispatch, buffer, vocab, grads, transform, target);
        }
    }
    digest
}

/// Rows with what a kernel may stumble over.
pub fn special<E: Element + Bits>(
    plan: &Plan,
    dispatch: Dispatch,
    buffer: &mut [E],
    grads: &mut [f32],
) -> Digest {
    const MASK: f32 = f32::NEG_INFINITY;
    let rows: [&[f32]; 18] = [
        &[0.0, f32::NAN, 1.0],
        &[0.0, f32::INFINITY, 1.0],
        &[f32::INFINITY, MASK, f32::NAN],
        &[MASK, MASK, MASK],
        &[MASK, 1.0, 2.0],
        &[1.0, MASK, MASK],
        &[3e38, -3e38, 3e38, 0.0],
        &[-3e38, -3e38, -2.9e38],
        &[1e-40, -1e-40, 3e-45, 0.0, -0.0],
        &[6e-8, -6e-8, 6.1e-5, 5.9e-5],
        &[700.0, 0.0, -700.0],
        &[0.0, 700.0, 699.0, MASK],
        &[-1e4, -1e4],
        &[1299.0, 1301.0, -1301.0],
        &[1316.9, 0.0, 1317.1],
        &[-0.0, 0.0, -0.0, 88.03],
        &[65504.0, 65488.0, -65504.0, MASK],
        &[2047.9, 2048.1, 2046.0],
    ];
    let mut digest = Digest::new();
    for transform in transforms() {
        for values in rows {
            let row_of = &mut buffer[..values.len()];
            for (to, &x) in row_of.iter_mut().zip(values) {
                *to = E::from_f32(x);
            }
            row(plan, &mut digest, dispatch, buffer, values.len(), grads, transform, 0);
        }
    }
    digest
}

/// The row `buffer[..vocab]`: statistics, log-prob, and gradients apart, in f32 and in place.
fn row<E: Element + Bits>(
    plan: &Plan,
    digest: &mut Digest,
    dispatch: Dispatch,
    buffer: &mut [E],
    vocab: usize,
    grads: &mut [f32],
    transform: Transform,
    target: usize,
) {
    let (row, spare) = buffer.split_at_mut(vocab);
    let target = target as u32;
    let mut stats: RowStats = RowStats::new(transform, Some(target));
    stats.fold(dispatch, row, 0);
    digest.add(stats.log_z());
    digest.add(stats.target_logit());
    digest.add(stats.log_prob());
    digest.add(stats.columns());
    if plan.details {
        let mut stats: RowStats<Details> = RowStats::new(transform, Some(target));
        stats.fold(dispatch, row, 0);
        digest.add(stats.log_z());
        digest.add(stats.details());
    }

    let logits = Logits::new(row, 1, vocab).unwrap().with_transform(transform);
    let (targets, spans) = ([target], [Span::new(0, 1)]);
    let layout = Layout::new(&targets, &spans, vocab).unwrap();
    let (mut log_probs, mut norms) = ([0.0], [RowNorm::default()]);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    let finite = token_log_probs(dispatch, logits, &layout, out);
    digest.add(u32::from(finite.is_ok()));
    digest.add_all(&log_probs);
    let Some(norm) = stats.norm() else { return };

    let c = [-0.05];
    let batch = GradBatch::new(&layout, &norms, &c);
    let grads = &mut grads[..vocab];
    logit_grads(dispatch, logits, &batch, LogitsMut::new(grads, 1, vocab).unwrap()).unwrap();
    digest.add_all(grads);
    if let Some(out) = spare.get_mut(..vocab) {
        let view = LogitsMut::new(out, 1, vocab).unwrap();
        logit_grads(dispatch, logits, &batch, view).unwrap();
        digest.add_all(out);
    }
    // Another coefficient, down to where small gradients vanish.
    let c = if target.is_multiple_of(2) { 2.5e-4 } else { -1e-32 };
    tile_grads_in_place(dispatch, row, 0, transform, target, norm, c).unwrap();
    digest.add_all(row);
}

/// Long rows in tiles: no machine needs to hold them, and they have the bits of whole rows.
pub fn long<E: Element + Bits>(
    plan: &Plan,
    dispatch: Dispatch,
    buffer: &mut [E],
    tile: usize,
) -> Digest {
    let mut digest = Digest::new();
    let starts = || (0..plan.long).step_by(tile);
    let len = |start: usize| tile.min(plan.long - start);
    let scaled = Transform::new(0.0625, None, 1.0).unwrap();
    for (seed, transform) in [(0, Transform::NONE), (2, scaled)] {
        let target = below(bits(seed, u32::MAX), plan.long) as u32;
        let mut stats: RowStats = RowStats::new(transform, Some(target));
        for start in starts() {
            let tile = &mut buffer[..len(start)];
            fill(seed, start, tile);
            stats.fold(dispatch, tile, start as u32);
        }
        digest.add(stats.log_z());
        digest.add(stats.log_prob());
        let Some(norm) = stats.norm() else { continue };
        for start in starts() {
            let tile = &mut buffer[..len(start)];
            fill(seed, start, tile);
            let first = start as u32;
            tile_grads_in_place(dispatch, tile, first, transform, target, norm, 0.5).unwrap();
            digest.add_all(tile);
        }
    }
    digest
}

/// Rows in shards of odd lengths, folded apart and merged from the last to the first.
pub fn shards<E: Element + Bits>(plan: &Plan, dispatch: Dispatch, buffer: &mut [E]) -> Digest {
    let mut digest = Digest::new();
    let vocab = plan.long.min(3001);
    let shard = plan.tile.min(700) - 87;
    for (seed, transform) in (0..).zip(transforms()) {
        let target = below(bits(seed, u32::MAX), vocab) as u32;
        let mut whole: RowStats<Details> = RowStats::new(transform, Some(target));
        for start in (0..vocab).step_by(shard).rev() {
            let tile = &mut buffer[..shard.min(vocab - start)];
            fill(seed, start, tile);
            let mut part = RowStats::new(transform, Some(target));
            part.fold(dispatch, tile, start as u32);
            whole.merge(&part).unwrap();
            digest.add(whole.log_z());
        }
        digest.add(whole.log_prob());
        digest.add(whole.details());
    }
    digest
}
