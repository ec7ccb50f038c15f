//! Where the largest logit is: the first of equals, in whichever block and tile, and at every
//! level.

use dpo_kernel::row::{BLOCK, Details, RowStats};
use dpo_kernel::{Dispatch, Transform, bf16, f16, verify};

use crate::common::levels::for_each_dispatch;
use crate::rows::{Store, stored, widen};
use crate::run::forward;

/// The order in which a row's tiles are folded.
#[derive(Clone, Copy, Debug)]
enum Order {
    Ascending,
    Descending,
}

fn in_tiles<E: Store>(
    dispatch: Dispatch,
    row: &[E],
    target: Option<u32>,
    (size, order): (usize, Order),
) -> usize {
    let mut stats = RowStats::<Details>::new(Transform::NONE, target);
    let mut tiles: Vec<usize> = (0..row.len()).step_by(size).collect();
    if let Order::Descending = order {
        tiles.reverse();
    }
    for first in tiles {
        stats.fold(dispatch, &row[first..row.len().min(first + size)], first as u32);
    }
    stats.details().argmax as usize
}

const WAYS: [(usize, Order); 6] = [
    (usize::MAX / 2, Order::Ascending),
    (BLOCK, Order::Ascending),
    (BLOCK, Order::Descending),
    (3 * BLOCK, Order::Ascending),
    (100, Order::Ascending),
    (100, Order::Descending),
];

/// Rows of 2,000 columns with peaks at some of them.
fn cases() -> Vec<(&'static str, Vec<f32>, u32)> {
    let row = |base: f32, peaks: &[(usize, f32)]| {
        let mut row: Vec<f32> = (0..2000).map(|i| base - (i % 7) as f32 * 0.25).collect();
        for &(at, value) in peaks {
            row[at] = value;
        }
        row
    };
    let masked_after = |at: usize| {
        let mut row = row(0.0, &[(at, 3.0)]);
        row[at + 1..].fill(f32::NEG_INFINITY);
        row
    };
    let only = |at: usize, value: f32| {
        let mut row = vec![f32::NEG_INFINITY; 2000];
        row[at] = value;
        row
    };
    // A block whose other columns are all masked.
    let alone_in_its_block = |at: usize, peaks: &[(usize, f32)]| {
        let mut row = row(0.0, peaks);
        let (target, block) = (row[at], at / BLOCK * BLOCK);
        row[block..block + BLOCK].fill(f32::NEG_INFINITY);
        row[at] = target;
        row
    };
    vec![
        (
            "the target alone in its block, above",
            alone_in_its_block(700, &[(9, 4.0), (700, 5.0)]),
            700,
        ),
        (
            "the target alone in its block, below",
            alone_in_its_block(700, &[(9, 5.0), (700, 4.0)]),
            700,
        ),
        ("the target alone, tied before", alone_in_its_block(700, &[(9, 5.0), (700, 5.0)]), 700),
        ("the target alone, tied after", alone_in_its_block(700, &[(700, 5.0), (1999, 5.0)]), 700),
        ("an early leader", row(0.0, &[(17, 5.0), (600, 4.0), (1999, 4.5)]), 3),
        ("a late leader", row(0.0, &[(17, 4.0), (600, 4.5), (1999, 5.0)]), 3),
        ("equals in a block", row(0.0, &[(70, 5.0), (71, 5.0), (500, 5.0)]), 3),
        ("equals in two blocks", row(0.0, &[(511, 5.0), (512, 5.0)]), 3),
        ("equals in the last columns", row(0.0, &[(1990, 5.0), (1999, 5.0)]), 3),
        ("in a block done again", row(0.0, &[(17, 5.0), (1300, 200.0), (1900, 199.0)]), 3),
        ("in two blocks done again", row(0.0, &[(600, 100.0), (1300, 300.0), (1301, 300.0)]), 3),
        ("before masked blocks", masked_after(100), 3),
        ("alone among masked columns", only(1234, -7.0), 1234),
        ("alone, not the target", only(1234, -7.0), 3),
        ("the target alone", row(0.0, &[(900, 5.0), (100, 4.0)]), 900),
        ("the target, tied before", row(0.0, &[(100, 5.0), (900, 5.0)]), 900),
        ("the target, tied after", row(0.0, &[(100, 5.0), (900, 5.0)]), 100),
        ("the target in the last quad", row(0.0, &[(1998, 5.0), (1999, 5.0)]), 1999),
        ("zeros", row(-1.0, &[(900, 0.0), (1500, 0.0)]), 3),
        ("a negative zero first", row(-1.0, &[(900, -0.0), (1500, 0.0)]), 3),
        ("negative zeros", row(-1.0, &[(900, -0.0), (901, -0.0)]), 3),
        ("all zeros", vec![0.0; 2000], 3),
        ("all equal, below", vec![-3.0; 2000], 0),
        ("rising", (0..2000).map(|i| i as f32 * 0.25).collect(), 3),
        ("huge", row(3e4, &[(800, 4e4), (1700, 4e4)]), 3),
        ("small", row(-1.0, &[(800, 1e-5), (1700, 2e-5)]), 3),
    ]
}

fn check<E: Store>(
    fold: impl Fn(Dispatch, &[E], Option<u32>, (usize, Order)) -> usize,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, row, target) in cases() {
        let row: Vec<E> = stored(&row);
        let expected = verify::argmax(&widen(&row)).unwrap();
        for_each_dispatch(|dispatch| {
            for way in WAYS {
                for target in [None, Some(target)] {
                    let found = fold(dispatch, &row, target, way);
                    if found != expected {
                        let place =
                            format!("{name}, {}, {dispatch:?}, {way:?}, {target:?}", E::NAME);
                        wrong.push(format!("{place}: {found}, not {expected}"));
                    }
                }
            }
        });
    }
    wrong
}

#[test]
fn is_the_first_of_equals_however_a_row_is_folded() {
    assert_eq!(check::<f32>(in_tiles), [""; 0]);
    assert_eq!(check::<f16>(in_tiles), [""; 0]);
    assert_eq!(check::<bf16>(in_tiles), [""; 0]);
}

#[test]
fn is_that_of_the_token_stage() {
    for (name, row, target) in cases() {
        let expected = verify::argmax(&widen(&row)).unwrap();
        for_each_dispatch(|dispatch| {
            let found = forward(dispatch, &row, target, Transform::NONE).unwrap().details.argmax;
            assert_eq!(found as usize, expected, "{name}, {dispatch:?}");
        });
    }
}

/// The last of equals, the first lane of the right vector, and the first tile's: each is seen.
#[test]
fn planted_faults_are_found() {
    let last = |_: Dispatch, row: &[f32], _: Option<u32>, _: (usize, Order)| {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter().rposition(|&x| x >= top).unwrap()
    };
    assert!(!check::<f32>(last).is_empty(), "the last of equals");
    let rounded = |dispatch: Dispatch, row: &[f32], target: Option<u32>, way: (usize, Order)| {
        in_tiles(dispatch, row, target, way) / 16 * 16
    };
    assert!(!check::<f32>(rounded).is_empty(), "the first lane");
    let first_tile = |dispatch: Dispatch, row: &[f32], target: Option<u32>, way: (usize, Order)| {
        in_tiles(
            dispatch,
            &row[..row.len().min(way.0)],
            target.filter(|&t| (t as usize) < way.0),
            way,
        )
    };
    assert!(!check::<f32>(first_tile).is_empty(), "the first tile's");
}
