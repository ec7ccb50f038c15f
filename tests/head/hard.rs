//! Inputs that are hard for a head: confident targets, masked tiles, logits far from 0, bases that
//! move from tile to tile, lengths that fit nothing. Bits of log-probs, and gradients.

use dpo_kernel::gradient::Unscored;
use dpo_kernel::{Arithmetic, Dispatch, Element, bf16, f16};

use crate::case::{Case, DIRT, run};
use crate::forward::{bits, same_bits};
use crate::grads::check;

fn both<E: Element, W: Element>(case: &Case<E, W>) {
    same_bits(case, &[1, 5]);
    check(case, 20.0);
}

/// A row that misses certainty of its target by so much, in whatever tile that is.
pub fn confident<E: Element, W: Element>(vocab: usize, target: usize, miss: f64) -> Case<E, W> {
    let mut case = Case::<E, W>::new(1, 45, vocab, 7).with_targets(|_| target as u32);
    case.coefficients[0] = -0.75;
    let logits = case.written_out(Arithmetic::Portable);
    let others = logits.iter().enumerate().filter(|&(column, _)| column != target);
    let others: f64 = others.map(|(_, &x)| f64::from(x).exp()).sum();
    let lead = (others * (1.0 - miss) / miss).ln() - f64::from(logits[target]);
    case.with_bias_of(|column| if column == target { lead as f32 } else { 0.0 })
}

fn keeps_its_gradient<E: Element, W: Element>(vocab: usize, target: usize, miss: f64) {
    let case = confident::<E, W>(vocab, target, miss);
    both(&case);
    let found = run(&case, Dispatch::detect(), 1, Unscored::Keep);
    let said = -f64::from(found.log_probs[0]).exp_m1();
    assert!((said / miss - 1.0).abs() < 1e-5, "{said} of {miss}");
    // What f32 makes of c·(p − 1) by a difference is 0 or 1.19e-7: neither is near.
    let largest = found.grads[..45].iter().fold(0.0_f32, |a, d| a.max(d.abs()));
    assert!(f64::from(largest) > 0.1 * miss, "{largest}");
}

#[test]
fn confident_targets_keep_their_gradient_in_every_type() {
    for (vocab, target) in [(2, 0), (2, 1), (600, 511), (600, 512), (1537, 3), (1537, 1536)] {
        for miss in [1e-7, 1e-4, 3e-20] {
            keeps_its_gradient::<f32, f32>(vocab, target, miss);
            keeps_its_gradient::<bf16, bf16>(vocab, target, miss);
            keeps_its_gradient::<f16, f16>(vocab, target, miss);
            keeps_its_gradient::<f32, bf16>(vocab, target, miss);
        }
    }
}

/// Of 512 columns a tile: the first, all but the last, all but the first, one in the middle, every
/// other column, all but the target, all but another one.
#[test]
fn masked_tiles_are_nobody() {
    let masks: [fn(usize) -> bool; 7] = [
        |column| column < 512,
        |column| column < 1536,
        |column| column >= 512,
        |column| (512..1024).contains(&column),
        |column| column % 2 == 0,
        |column| column != 1537,
        |column| column != 700,
    ];
    for (i, is_masked) in masks.into_iter().enumerate() {
        let open: Vec<u32> = (0..1600).filter(|&column| !is_masked(column as usize)).collect();
        let case = Case::<f32, bf16>::new(7, 20, 1600, 5)
            .with_bias_of(|column| if is_masked(column) { f32::NEG_INFINITY } else { 0.5 })
            .with_targets(|row| open[row * 97 % open.len()]);
        both(&case);
        both(&case.with_transform(1.5, Some(6.0), 0.8));
        println!("mask {i}");
    }
}

/// A target that is masked: log p = −∞, and the other columns are pushed down as if it were open.
#[test]
fn masked_targets_have_no_share() {
    for transform in [None, Some((1.5, Some(6.0), 0.8)), Some((0.5, None, 1.0))] {
        for target in [3_u32, 600] {
            let mut case = Case::<f32, f32>::new(5, 20, 700, 5)
                .with_bias_of(|column| if column % 3 == 0 { f32::NEG_INFINITY } else { 0.0 })
                .with_targets(|row| if row == 2 { target } else { 4 });
            if let Some((scale, softcap, temperature)) = transform {
                case = case.with_transform(scale, softcap, temperature);
            }
            both(&case);
            let found = run(&case, Dispatch::detect(), 3, Unscored::Keep);
            assert_eq!(found.log_probs[2], f32::NEG_INFINITY);
            assert!(found.log_probs[3].is_finite(), "the control");
        }
    }
}

/// The lowest finite number as a mask: counted where it is the target's.
#[test]
fn targets_masked_with_a_number_are_counted() {
    for target in [2_u32, 530] {
        let case = Case::<f32, f32>::new(7, 20, 600, 5)
            .with_bias_of(|column| if column == target as usize { f32::MIN } else { 0.0 })
            .with_targets(|row| if row < 3 { target } else { 100 });
        same_bits(&case, &[1, 7]);
        let found = run(&case, Dispatch::detect(), 2, Unscored::Keep);
        assert_eq!(found.summary.map(|summary| summary.masked_tokens), Ok(2));
    }
}

#[test]
fn common_shifts_change_the_grid_alone() {
    for shift in [1e4, -1e4, 1300.5, -1299.75] {
        let case = Case::<f32, f32>::new(7, 20, 1200, 5).with_bias_of(|_| shift);
        both(&case);
        both(&Case::<bf16, bf16>::new(7, 20, 600, 5).with_bias_of(|_| shift));
        both(&case.with_transform(0.5, None, 2.0));
    }
}

/// Rows whose tiles rise and fall by a little, by more than f32 holds, and beyond the exact
/// reduction of the exponential: what was summed before is taken to the new base.
#[test]
fn bases_move_from_tile_to_tile() {
    for step in [3.0, 40.0, 95.0, 700.0, 2000.0] {
        for sign in [1.0, -1.0] {
            let case = Case::<f32, f32>::new(7, 20, 2100, 5)
                .with_bias_of(|column| sign * step * (column / 512) as f32)
                .with_targets(|row| [700, 1, 2050][row % 3]);
            both(&case);
            both(&case.with_transform(0.75, None, 1.5));
            let case = Case::<f32, f32>::new(4, 20, 2100, 5)
                .with_bias_of(|column| sign * step * ((column / 512) % 2) as f32);
            both(&case);
        }
    }
}

/// From a power of two to a logit of the row's own as base, where powers of two end, and from one
/// such logit to another: by e^(k·x), k what the transform multiplies by.
#[test]
fn bases_move_where_powers_of_two_end() {
    for (scale, temperature) in [(1.0, 1.0), (0.75, 0.5), (0.5, 2.0)] {
        let k = scale / temperature;
        for start in [1298.0, 3000.0, -1302.0, -3000.0] {
            for step in [3.0, -3.0] {
                let case = Case::<f32, f32>::new(4, 20, 2100, 5)
                    .with_bias_of(|column| (start + step * (column / 512) as f32) / k)
                    .with_targets(|row| [700, 1, 2050][row % 3])
                    .with_transform(scale, None, temperature);
                both(&case);
            }
        }
    }
}

#[test]
fn lengths_that_fit_nothing() {
    for vocab in [1, 2, 31, 33, 511, 512, 513, 1023, 1025, 1537] {
        both(&Case::<f32, f32>::new(1, 1, vocab, 3 + vocab as u64));
        both(&Case::<f32, bf16>::new(1, 257, vocab, 5 + vocab as u64).with_bias(2));
    }
    for size in [1, 2, 15, 31, 32, 33, 255, 256, 257, 511, 512, 513, 769] {
        both(&Case::<f32, f32>::new(14, size, 37, 4 + size as u64));
        both(&Case::<bf16, bf16>::new(1, size, 513, 6 + size as u64));
    }
}

/// Sequences of no rows, of one, and rows between them that nobody scores.
#[test]
fn ragged_spans() {
    let case = Case::<f32, f32>::new(23, 30, 600, 5).with_bias(1);
    for spans in [
        &[(0, 0), (2, 3), (3, 9), (9, 9), (12, 20)][..],
        &[(22, 23)],
        &[(0, 1), (1, 2), (2, 23)],
        &[],
    ] {
        let case = case.clone().with_spans(spans);
        both(&case);
        for unscored in [Unscored::Keep, Unscored::Zero] {
            let found = run(&case, Dispatch::detect(), 4, unscored);
            for row in (0..23).filter(|&row| !case.is_scored(row)) {
                let due = if unscored == Unscored::Zero { 0.0 } else { DIRT };
                assert_eq!(bits(&found.grads[row * 31..][..30]), [due.to_bits(); 30], "{row}");
            }
        }
    }
}

/// Fewer panels: less memory, the same bits.
#[test]
fn panels_change_no_bits() {
    for (size, vocab) in [(70, 1300), (300, 600), (20, 30)] {
        let case = Case::<bf16, f32>::new(14, size, vocab, 4).with_bias(9);
        let due = run(&case, Dispatch::detect(), 14, Unscored::Zero);
        for panels in [0, 1, 2, 3, 7, 15, 16, 99] {
            let case = Case { panels: Some(panels), ..case.clone() };
            let found = run(&case, Dispatch::detect(), 13, Unscored::Zero);
            assert_eq!(bits(&found.log_probs), bits(&due.log_probs), "{panels}");
            assert_eq!(bits(&found.grads), bits(&due.grads), "{panels}");
        }
    }
}
