//! What fuzzing and random cases have found, each with the smallest input that shows it.

use dpo_kernel::verify::Transform;
use dpo_kernel::verify::cases::RowCase;

use crate::bodies::row::Cut;
use crate::bodies::{gradients, row};

fn whole(row: RowCase) -> Cut {
    Cut { row, cuts: Vec::new() }
}

/// Levels differ in which of two zeros their maximum keeps; statistics that leave the machine must
/// not.
#[test]
fn zeros_of_both_signs() {
    for target in [0, 2] {
        let row = RowCase {
            logits: vec![0.0, -0.0, 0.0, -0.0, -0.0],
            transform: Transform::NONE,
            target,
            coefficient: 1.0,
        };
        row::check(&whole(row)).unwrap();
    }
}

/// In the tail of a softcap, the error of its argument is one of the gradient.
#[test]
fn tails_of_softcaps() {
    for scale in [0.25, 0.75, 1.3125, 1.9375] {
        for i in 0..200_u16 {
            let row = RowCase {
                logits: vec![60.0 + 0.37 * f32::from(i), 0.0, 1.5],
                transform: Transform { scale, softcap: Some(3.0), temperature: 1.0 },
                target: usize::from(i % 2),
                coefficient: -1.0,
            };
            gradients::check(&whole(row)).unwrap();
        }
    }
}

/// The slope of a saturated softcap underflows before the gradient would.
#[test]
fn saturated_softcaps() {
    let row = RowCase {
        logits: vec![1000.0, -1000.0, 1020.0, 0.0],
        transform: Transform { scale: 1.0, softcap: Some(24.0), temperature: 0.0625 },
        target: 0,
        coefficient: 8.0,
    };
    gradients::check(&whole(row)).unwrap();
}

/// Many equal logits, whose terms all round the same way: 3.2e-7 of Z, where random rows have
/// 1.1e-7.
#[test]
fn rows_of_two_values() {
    let mut logits = vec![-14.625_529_f32; 339];
    logits[..13].fill(1.767_763);
    let row = RowCase { logits, transform: Transform::NONE, target: 20, coefficient: 1.0 };
    row::check(&whole(row.clone())).unwrap();
    gradients::check(&whole(row.clone())).unwrap();
    // Under a confident target its small log-prob and its 1 − p err with the sum of the others.
    let mut row = row;
    row.logits.push(40.0);
    row.target = 339;
    row::check(&whole(row.clone())).unwrap();
    gradients::check(&whole(row)).unwrap();
}
