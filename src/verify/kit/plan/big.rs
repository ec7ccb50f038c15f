//! Rows beyond 2³¹ elements: where an index of 32 bits ends.

use alloc::vec;
use alloc::vec::Vec;

use super::super::call::{Call, Given, RowsGiven};
use super::super::random::Random;
use super::{Group, IGNORE};
use crate::Element;
use crate::verify::Transform;

/// Three rows of 40 columns, 2³⁰ + 64 elements apart: the last begins beyond 2³¹ and ends at its
/// vocabulary, without padding.
pub(super) fn group<E: Element>(random: &mut Random) -> Group<E> {
    const VOCAB: usize = 40;
    const STRIDE: u64 = (1 << 30) + 64;
    let name = "rows-beyond-2-31".into();
    let input = "3 x 40, stride 2^30 + 64: the last row begins beyond 2^31 elements".into();
    // A machine that cannot count so far gets no rows.
    let stride = usize::try_from(STRIDE).ok().filter(|stride| stride.checked_mul(3).is_some());
    let Some(stride) = stride else {
        return Group { calls: Vec::new(), relations: Vec::new() };
    };
    let mut logits = vec![E::ZERO; 2 * stride + VOCAB];
    for row in 0..3 {
        for x in logits.iter_mut().skip(row * stride).take(VOCAB) {
            #[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
            let value = (3.0 * random.normal()) as f32;
            *x = E::from_f32(value);
        }
    }
    let given = Given::Rows(RowsGiven {
        logits,
        vocab: VOCAB,
        stride,
        transform: Transform::NONE,
        targets: vec![3, 17, 39],
        ignore: IGNORE,
        coefficients: vec![0.5, -1.25, 0.75],
    });
    Group::of(Call { name, input, given })
}
