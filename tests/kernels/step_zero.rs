//! Step 0: policy ≡ reference gives exactly ln 2 and ∓β/2, however the two were computed.

use dpo_kernel::row::{BLOCK, Details, RowStats};
use dpo_kernel::{
    Dispatch, Dpo, Logits, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Span,
    TokenOut, Transform, preference_loss, sequence_log_probs, token_log_probs,
};

use crate::common::levels::for_each_dispatch;
use crate::rows::{Params, Random, Store, for_each_element, normal_row};

/// Four sequences of ragged length over rows of V columns.
const LENGTHS: [usize; 4] = [3, 1, 5, 2];
const ROWS: usize = 11;

struct Tokens<E> {
    rows: Vec<Vec<E>>,
    targets: Vec<u32>,
}

fn tokens<E: Store>(vocab: usize, seed: u64) -> Tokens<E> {
    let mut random = Random::new(seed);
    let rows = (0..ROWS).map(|i| normal_row(vocab, 4.0, i as f64, random.bits())).collect();
    let targets = (0..ROWS).map(|_| u32::try_from(random.below(vocab)).unwrap()).collect();
    Tokens { rows, targets }
}

/// Where a batch puts its rows: order, stride, and how far the first element is from alignment.
#[derive(Clone, Copy, Debug)]
struct Layout {
    padding: usize,
    offset: usize,
    reversed: bool,
    gap: usize,
}

/// Sequence log-probs of a batch laid out so; everything around the rows is NaN.
fn laid_out<E: Store>(
    dispatch: Dispatch,
    tokens: &Tokens<E>,
    layout: Layout,
    transform: Transform,
) -> Vec<SequenceLogProb> {
    let vocab = tokens.rows[0].len();
    let stride = vocab + layout.padding;
    let total = ROWS + layout.gap * LENGTHS.len();
    let mut buffer = vec![E::POISON; layout.offset + total * stride];
    let mut targets = vec![0; total];
    let mut spans = vec![Span::default(); LENGTHS.len()];
    let mut order: Vec<usize> = (0..LENGTHS.len()).collect();
    if layout.reversed {
        order.reverse();
    }
    let mut at = 0;
    for sequence in order {
        let first: usize = LENGTHS[..sequence].iter().sum();
        spans[sequence] = Span::new(at, at + LENGTHS[sequence]);
        for row in first..first + LENGTHS[sequence] {
            let start = layout.offset + at * stride;
            buffer[start..start + vocab].copy_from_slice(&tokens.rows[row]);
            targets[at] = tokens.targets[row];
            at += 1;
        }
        at += layout.gap;
    }
    let logits = Logits::with_stride(&buffer[layout.offset..], total, vocab, stride)
        .unwrap()
        .with_transform(transform);
    let mut log_probs = vec![f32::NAN; total];
    let mut sorted = vec![0; spans.len()];
    let layout = dpo_kernel::Layout::in_any_order(&targets, &spans, vocab, &mut sorted).unwrap();
    token_log_probs(dispatch, logits, &layout, TokenOut::new(&mut log_probs)).unwrap();
    let mut out = vec![SequenceLogProb::default(); spans.len()];
    sequence_log_probs(&log_probs, &layout, None, &mut out).unwrap();
    out
}

/// The same from tiles of every row, beginning at multiples of [`BLOCK`], and with moments.
fn tiled<E: Store>(
    dispatch: Dispatch,
    tokens: &Tokens<E>,
    blocks: usize,
    transform: Transform,
) -> Vec<SequenceLogProb> {
    let log_prob = |row: usize| {
        let mut stats = RowStats::<Details>::new(transform, Some(tokens.targets[row]));
        for (i, tile) in tokens.rows[row].chunks(blocks * BLOCK).enumerate() {
            stats.fold(dispatch, tile, u32::try_from(i * blocks * BLOCK).unwrap());
        }
        stats.log_prob().unwrap() as f32
    };
    let mut row = 0;
    let mut sequence = |length: usize| {
        let mut found = SequenceLogProb::default();
        for _ in 0..length {
            found.sum += f64::from(log_prob(row));
            found.count += 1;
            row += 1;
        }
        found
    };
    LENGTHS.into_iter().map(&mut sequence).collect()
}

/// Exactly ln 2 and ∓β/2, bit for bit.
fn is_step_zero(policy: &[SequenceLogProb], reference: &[SequenceLogProb]) -> Result<(), String> {
    for beta in [0.1, 0.3, 1.0, 0.05] {
        let pairs = [Pair::new(0, 1), Pair::new(3, 2)];
        let mut losses = [PairLoss::default(); 2];
        let mut d_log_probs = [f64::NAN; 4];
        let out = PairOut::new(&mut losses, &mut d_log_probs);
        let batch = PairBatch::new(&pairs, policy, Reference::Sequences(reference), 1.0);
        let summary = preference_loss(&Dpo::new(beta).unwrap(), &batch, out).unwrap();
        let half = beta / 2.0;
        let loss_bits = losses.map(|loss| loss.loss.to_bits());
        let right = loss_bits == [std::f64::consts::LN_2.to_bits(); 2]
            && d_log_probs == [-half, half, half, -half]
            && losses.iter().all(|l| (l.d_chosen, l.d_rejected, l.margin) == (-half, half, 0.0))
            && summary.ties == 2
            && summary.correct == 0;
        if !right {
            return Err(format!("beta {beta}: {losses:?} {d_log_probs:?} {summary:?}"));
        }
    }
    Ok(())
}

fn exactly_ln_2<E: Store>(vocab: usize) {
    let tokens = tokens::<E>(vocab, vocab as u64);
    for params in [Params::NONE, Params { softcap: Some(30.0), temperature: 0.7, scale: 1.1 }] {
        let transform = params.kernel();
        for_each_dispatch(|dispatch| {
            let plain = Layout { padding: 0, offset: 0, reversed: false, gap: 0 };
            let policy = laid_out(dispatch, &tokens, plain, transform);
            for padding in [0, 1, 7, 64] {
                for offset in [0, 1, 3, 8] {
                    let reversed = padding % 2 == 1;
                    let layout = Layout { padding, offset, reversed, gap: offset % 3 };
                    let reference = laid_out(dispatch, &tokens, layout, transform);
                    is_step_zero(&policy, &reference)
                        .unwrap_or_else(|why| panic!("{dispatch:?} {layout:?}: {why}"));
                }
            }
            for blocks in [1, 2, 5] {
                let reference = tiled(dispatch, &tokens, blocks, transform);
                is_step_zero(&policy, &reference)
                    .unwrap_or_else(|why| panic!("{dispatch:?} {blocks} blocks: {why}"));
            }
        });
    }
}

#[test]
fn is_exactly_ln_2_in_any_layout() {
    for vocab in [1, 2, 17, 511, 513, 3000] {
        for_each_element!(exactly_ln_2(vocab));
    }
}

/// Portable and fused arithmetic are two functions: the control.
#[test]
fn planted_faults_are_caught() {
    let tokens = tokens::<f32>(3000, 1);
    let dispatch = Dispatch::detect();
    let policy = tiled(dispatch, &tokens, 1, Transform::NONE);
    is_step_zero(&policy, &policy).unwrap();
    for sequence in 0..4 {
        let mut wrong = policy.clone();
        wrong[sequence].sum = wrong[sequence].sum.next_up();
        assert!(is_step_zero(&policy, &wrong).is_err(), "one ulp passed");
    }
}
